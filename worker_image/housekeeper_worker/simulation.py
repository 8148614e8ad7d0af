"""What a policy would decide about items that somebody writes down: no file is looked at."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import Any, Final, NamedTuple

from housekeeper_api.durations import Duration
from housekeeper_api.task import Cleanup, PastRun, Task
from housekeeper_worker.cleanup import candidates, lines
from housekeeper_worker.errors import InvalidItems
from housekeeper_worker.retention import brakes
from housekeeper_worker.retention.candidates import Candidates
from housekeeper_worker.retention.decide import Decided, Verdict
from housekeeper_worker.retention.groups import narrowing
from housekeeper_worker.retention.incomplete import is_incomplete, marked
from housekeeper_worker.retention.select import Scope, Selector
from housekeeper_worker.retention.sizes import size_bounds, within
from housekeeper_worker.retention.times import cutoff, zone
from housekeeper_worker.volume.protected import RESERVED_DIRECTORIES, is_reserved
from housekeeper_worker.volume.root import OWN_DIRECTORY

_SECOND: Final = 1_000_000_000
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MAX_RUNS: Final = 100_000
_PAST_RUNS: Final = 10
_RESERVED: Final = ("protected: file systems keep files of such names for themselves",)
_INCOMPLETE: Final = "incomplete: it is still being written, as its name or a sibling's says"


class Item(NamedTuple):
    """One line."""

    path: str
    """As it was written; bytes that are no UTF-8 as `os.fsdecode` has them."""
    time: int
    """Nanoseconds since the epoch."""
    size: int
    """Bytes, of which all are taken to be allocated."""


def read_items(rows: Iterable[str], tz: dt.tzinfo) -> list[Item]:
    """Items, one JSON object a line. Raises `InvalidItems`, which names the line."""
    items: list[Item] = []
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        try:
            item = _item(json.loads(row), tz)
        except (ValueError, RecursionError) as error:
            raise InvalidItems(f"line {number}: {error}") from None
        if item.path in seen:
            raise InvalidItems(f"line {number}: path: {item.path!r} is there twice")
        seen.add(item.path)
        items.append(item)
    return items


def _item(row: Any, tz: dt.tzinfo) -> Item:
    members = row if isinstance(row, dict) else {}
    path, size = members.get("path"), members.get("size", 0)
    if not isinstance(path, str) or not _is_relative(path):
        raise ValueError(f"path: {path!r} must be a path below the volume's root, such as a/b.dump")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**63:
        raise ValueError(f"size: {size!r} must be a whole number of bytes")
    return Item(path, read_time(members.get("time"), tz), size)


def _is_relative(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return "\0" not in path and not {"", ".", ".."} & set(path.split("/"))


def read_time(value: Any, tz: dt.tzinfo) -> int:
    """A time, in seconds since 1970 or as in RFC 3339, as nanoseconds; without an offset it is one of `tz`.

    Raises `ValueError`.
    """
    try:
        found = _nanoseconds(value, tz)
    except (ValueError, TypeError, OverflowError):
        found = 2**63
    if abs(found) >= 2**63:
        raise ValueError(f"time: {value!r} must be a time such as 2026-01-31T03:00:00Z, or seconds since 1970")
    return found


def _nanoseconds(value: Any, tz: dt.tzinfo) -> int:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return round(value * _SECOND)
    moment = dt.datetime.fromisoformat(value)
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=tz)
    return (moment - _EPOCH) // dt.timedelta(microseconds=1) * 1000


class Replayed(NamedTuple):
    """One run of a replay."""

    now: int
    present: list[Item]
    """What is there afterwards."""
    removed: list[Item]
    held: str | None
    """Why nothing was removed, if a brake held it."""


class Simulation:
    """A policy, ready to decide. Raises `TaskError`."""

    def __init__(self, task: Task, what: Cleanup) -> None:
        self._task = task
        self._what = what
        self.zone = zone(task.time_zone)
        self._selector = Selector(what.rules)
        self._scopes: dict[bytes, Scope | None] = {b"": self._selector.root}
        self._sizes = size_bounds(what.rules)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a run would do besides and this does not, in sentences."""
        if self._what.pressure is None:
            return ()
        high = self._what.pressure.high_percent
        return (f"pressure is not simulated: what says Remove goes, the oldest first, if the volume is above {high} %",)

    def decide(
        self, items: Sequence[Item], now_ns: int, past: Sequence[PastRun] | None = None
    ) -> tuple[list[Decided | None], str | None]:
        """A decision about each item, None if no rule selects it; and why a run would be held, if it would.

        `past`: runs before it, the newest first, that its plan is compared with.
        """
        decided: list[Decided | None] = [None] * len(items)
        rules = candidates(self._task, self._what, lines(self._task, self._what, now_ns), every_rule=True)
        numbers: dict[int, list[int]] = {number: [] for number in rules}
        incomplete = _incomplete(items) if any(rule.ignore_incomplete for rule in self._what.rules) else set()
        for rule, group, number in self._selected(items, rules):
            item, gathering = items[number], rules[rule]
            path = os.fsencode(item.path)
            if number in incomplete and self._what.rules[rule].ignore_incomplete:
                values = gathering.grouping.values(group)
                decided[number] = Decided(
                    path, rule, Verdict.STAYS, (_INCOMPLETE,), values, item.size, item.size, item.time
                )
                continue
            time = gathering.time(item.path, item.time)
            verdict = gathering.verdict(time, item.time, item.time, now_ns)
            if is_reserved(path.rpartition(b"/")[2]):
                values = gathering.grouping.values(group)
                decided[number] = Decided(path, rule, Verdict.KEPT, _RESERVED, values, item.size, item.size, item.time)
            elif time is None or verdict is Verdict.FUTURE:
                why, values = (gathering.reason(verdict),), gathering.grouping.values(group)
                when = item.time if time is None else time
                decided[number] = Decided(path, rule, verdict, why, values, item.size, item.size, when)
            else:
                numbers[rule].append(number)
                gathering.imagine(path, item.size, group, item.time, time, verdict)
        planned = planned_bytes = quarantined = 0
        for rule, gathering in rules.items():
            for one in gathering.groups():
                going = compress(one.order, gathering.going(one, all_listed=True))
                sizes = list(map(gathering.files.allocated.__getitem__, going))
                planned, planned_bytes = planned + len(sizes), planned_bytes + sum(sizes)
                quarantined += len(sizes) if self._what.rules[rule].action == "Quarantine" else 0
                for place, index in enumerate(one.order):
                    number = numbers[rule][index]
                    path = os.fsencode(items[number].path)
                    decided[number] = gathering.decided(one, place, path, all_listed=True)
        selected = sum(one is not None for one in decided)
        not_counting = selected - sum(map(len, numbers.values()))
        numbers_found = brakes.Numbers(len(items), selected, planned, planned_bytes, not_counting, quarantined)
        names = self._what.rules
        clauses = brakes.tripped(self._what.brakes, numbers_found, past)
        clauses += brakes.emptying((names[number].name, one) for number, one in rules.items())
        return decided, brakes.sentence(numbers_found, clauses) if clauses else None

    def _selected(self, items: Sequence[Item], rules: dict[int, Candidates]) -> Iterator[tuple[int, int, int]]:
        """Rule, group and number of each item that a rule selects."""
        directories: dict[bytes, list[int]] = {}
        for number, item in enumerate(items):
            directories.setdefault(os.fsencode(item.path).rpartition(b"/")[0], []).append(number)
        groupings = {number: one.grouping for number, one in rules.items() if one.grouping.selects}
        start = os.fsencode(self._what.path)
        for directory, numbers in directories.items():
            scope = self._scope(directory)
            if scope is None or (start and not (directory + b"/").startswith(start + b"/")):
                continue
            names = [items[number].path.rpartition("/")[2] for number in numbers]
            groups: dict[int, dict[str, int]] = {}
            narrow = narrowing(groupings, directory, names, groups) if groupings else None
            if self._sizes:
                narrow = within(self._sizes, [items[number].size for number in numbers].__getitem__, narrow)
            owners = scope.item_owners(names, narrow)
            for number, name, owner in zip(numbers, names, owners, strict=True):
                if owner:
                    yield owner - 1, groups.get(owner - 1, {}).get(name, 0), number

    def _scope(self, directory: bytes) -> Scope | None:
        if directory not in self._scopes:
            above, _, name = directory.rpartition(b"/")
            scope = self._scope(above)
            text = os.fsdecode(name)
            invisible = text in RESERVED_DIRECTORIES or directory == OWN_DIRECTORY
            self._scopes[directory] = None if scope is None or invisible else scope.below(text)
        return self._scopes[directory]

    def replay(self, items: Sequence[Item], now_ns: int, until_ns: int, every: Duration) -> Iterator[Replayed]:
        """Run after run from `now_ns` to `until_ns`.

        An item is there from its time on. Days and longer are steps of the calendar. What a brake would hold is not
        removed, and nobody approves it. Raises `InvalidItems` where that would be too many runs.
        """
        if self._moment(now_ns, every, _MAX_RUNS) <= until_ns:
            raise InvalidItems(f"--every: that is more than {_MAX_RUNS} runs: take longer steps, or an earlier --until")
        return self._replay(list(items), now_ns, until_ns, every)

    def _moment(self, now_ns: int, every: Duration, step: int) -> int:
        return cutoff(now_ns, Duration(-step * every.number, every.unit), self.zone)

    def _replay(self, left: list[Item], now_ns: int, until_ns: int, every: Duration) -> Iterator[Replayed]:
        past: tuple[PastRun, ...] = ()
        for step in range(_MAX_RUNS):
            now = self._moment(now_ns, every, step)
            if now > until_ns:
                return
            present = [item for item in left if item.time <= now]
            decided, held = self.decide(present, now, past)
            going = {
                item.path
                for item, one in zip(present, decided, strict=True)
                if held is None and one is not None and one.verdict is Verdict.REMOVE
            }
            if held is None:
                selected = sum(one is not None for one in decided)
                past = (PastRun(now, len(present), selected, len(going), len(going)), *past)[:_PAST_RUNS]
            left = [item for item in left if item.path not in going]
            stays = [item for item in present if item.path not in going]
            yield Replayed(now, stays, [item for item in present if item.path in going], held)


def _incomplete(items: Sequence[Item]) -> set[int]:
    """Numbers of items that are still being written: by their own name, or a sibling's."""
    marks = marked(item.path for item in items)
    return {number for number, item in enumerate(items) if is_incomplete(item.path, marks)}
