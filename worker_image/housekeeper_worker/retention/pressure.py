"""Pressure: of what the rules let go, the oldest part whose removal makes a volume as empty as wanted, and no more."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from housekeeper_api.task import Pressure
from housekeeper_worker.retention.order import oldest_first
from housekeeper_worker.retention.paths import in_path_order, prefix
from housekeeper_worker.retention.plan import Plan

_FEW_STAGES: Final = 20
_MANY_STAGES: Final = 200


class Level(NamedTuple):
    """How much of one thing is used. `whole` 0: nobody knows how much there is."""

    used: int
    whole: int

    def above(self, percent: int) -> bool:
        """Whether strictly more than `percent` is used."""
        return self.whole > 0 and 100 * self.used > percent * self.whole

    def excess(self, percent: int) -> int:
        """How much must become free until no more than `percent` is used."""
        return max(0, self.used - percent * self.whole // 100)

    def without(self, freed: int) -> Level:
        """The level after so much became free."""
        return Level(max(0, self.used - freed), self.whole)

    def __str__(self) -> str:
        tenths = 1000 * self.used // self.whole if self.whole else 0
        return f"{tenths // 10}.{tenths % 10} %"


class Fill(NamedTuple):
    """How full a volume is."""

    size: Level
    """In bytes."""
    inodes: Level


class Need(NamedTuple):
    """What must become free; 0: nothing of the kind."""

    size: int
    inodes: int


class Prefix(NamedTuple):
    """The part of a plan that goes."""

    order: array[int]
    """Indices as in `Aged`, the oldest first."""
    size: int
    """Bytes that are free without it: of files all of whose names are in it, and that go."""
    inodes: int
    """Such files."""
    reaches: bool
    """Whether that is what was needed."""


def need(pressure: Pressure, fill: Fill) -> Need | None:
    """What must become free; None if the volume is not fuller than it may be.

    What is not above high need not reach low: only what was scarce counts.
    """
    high, low = pressure.high_percent, pressure.low_percent
    size, inodes = (level.excess(low) if level.above(high) else 0 for level in fill)
    return Need(size, inodes) if size or inodes else None


class Aged(NamedTuple):
    """The files of a plan in the order of their times. An index counts files part by part, in a part by name."""

    firsts: array[int]
    """For each part the index of its first file."""
    order: array[int]
    """Indices, the oldest first, equal times by path bytes."""
    allocated: array[int]
    inodes: dict[int, tuple[int, int, int]]
    """Of files with several names: device, inode, and how many names."""


def by_age(plan: Plan, timed: Container[int]) -> Aged:
    """Order a plan. `timed`: numbers of the rules whose records have a time; of others it is the modification time."""
    aged = Aged(array("I"), array("I"), array("q"), {})
    times = array("q")
    for part in plan.parts:
        first = len(times)
        aged.firsts.append(first)
        records = plan.records(part)
        # What is in a part is of one rule.
        times.extend(records.time if plan.causes[records.cause[0]].rule in timed else records.modified)
        aged.allocated.extend(records.allocated)
        if max(records.links) > 1:
            for place, links in enumerate(records.links):
                if links > 1:
                    aged.inodes[first + place] = records.device[place], records.inode[place], links
    aged.order.extend(oldest_first(times, range(len(times)), lambda: _ranks(plan, aged.firsts)).indices)
    return aged


def _ranks(plan: Plan, firsts: Sequence[int]) -> Sequence[int]:
    def files(numbers: Iterable[int]) -> list[tuple[bytes, int]]:
        return sorted(
            (name, firsts[number] + place)
            for number in numbers
            for place, name in enumerate(plan.records(plan.parts[number]).names)
        )

    parts = sorted(range(len(plan.parts)), key=lambda number: prefix(plan.parts[number].directory))
    grouped = groupby(parts, key=lambda number: plan.parts[number].directory)
    ranks = array("I", bytes(4 * len(plan)))
    for rank, (_, index) in enumerate(in_path_order((directory, files(numbers)) for directory, numbers in grouped)):
        ranks[index] = rank
    return ranks


def located(plan: Plan, aged: Aged, indices: Iterable[int]) -> Iterator[tuple[int, bytes, bytes, int, int]]:
    """Index, directory, name, device and cause of some files, by index."""
    for number, group in groupby(sorted(indices), key=lambda index: bisect_right(aged.firsts, index) - 1):
        records = plan.records(plan.parts[number])
        for index in group:
            place = index - aged.firsts[number]
            yield index, plan.parts[number].directory, records.names[place], records.device[place], records.cause[place]


def shortest_prefix(aged: Aged, wanted: Need, stays: Container[int] = frozenset()) -> Prefix:
    """The oldest files, no more than are needed, or all of them.

    A file with several names is estimated to take nothing until the last of them is among it. One that `stays` is among
    it and frees nothing: else a large file that is always open would stand in the way for ever.
    """
    size = inodes = 0
    names: Counter[tuple[int, int]] = Counter()
    for count, index in enumerate(aged.order, start=1):
        if index in stays:
            continue
        if index in aged.inodes:
            *inode, links = aged.inodes[index]
            names[inode[0], inode[1]] += 1
            if names[inode[0], inode[1]] < links:
                continue
        size += aged.allocated[index]
        inodes += 1
        if size >= wanted.size and inodes >= wanted.inodes:
            return Prefix(aged.order[:count], size, inodes, reaches=True)
    return Prefix(aged.order, size, inodes, reaches=False)


def stage_length(count: int, batch: int) -> int:
    """Files between two looks at how full the volume is: a twentieth of few, a two-hundredth of many.

    Never between multiples of `batch`, unless it is less than one.
    """
    return max(1, min(-(-count // _FEW_STAGES), batch, count), batch * (count // (_MANY_STAGES * batch)))


def arranged(plan: Plan, aged: Aged, order: Sequence[int], stage: int) -> Plan:
    """A plan of the files in `order`, indices as in `aged`: `stage` files by `stage` files, by directory within each.

    So that whoever stops after a stage leaves nothing that is older than what went.
    """
    stages = array("i", [-1]) * len(plan)
    for number, index in enumerate(order):
        stages[index] = number // stage
    return plan.staged(lambda part: stages[aged.firsts[part] : aged.firsts[part] + plan.parts[part].length])
