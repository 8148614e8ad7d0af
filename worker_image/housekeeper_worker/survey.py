"""Scan, select and decide: from the files of a volume to a plan. Reads only."""

from __future__ import annotations

import contextlib
import errno
import os
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from types import MappingProxyType
from typing import Final

from housekeeper_api.task import Rule
from housekeeper_worker.conclusion import conclude
from housekeeper_worker.crew.scanning import HIRE_AFTER, Found, Giver, Taker
from housekeeper_worker.directories import Directories, Rules
from housekeeper_worker.errors import DiskFailing, MemberLost
from housekeeper_worker.pace import Pace
from housekeeper_worker.retention.candidates import Candidates
from housekeeper_worker.retention.decide import Decided, Lines, Verdict, decide, old_at_once, reason
from housekeeper_worker.retention.groups import narrowing
from housekeeper_worker.retention.incomplete import is_incomplete
from housekeeper_worker.retention.paths import join
from housekeeper_worker.retention.plan import Cause, Plan, Store
from housekeeper_worker.retention.records import Records
from housekeeper_worker.retention.select import Narrow, Selector
from housekeeper_worker.retention.sizes import Bounds, within
from housekeeper_worker.scratch import Scratch
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.blocks import Block, Blocks
from housekeeper_worker.volume.faults import MAX_IO_ERRORS, Fault, classify, explain
from housekeeper_worker.volume.item_times import Times
from housekeeper_worker.volume.marks import Marks
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.protected import WORDS, Protection
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.scan import Alone, Entry, Sharing, Walk, Window

OnDecision = Callable[[Decided], None]
"""Called with the decision about each selected file."""

_UNCOUNTED: Final = frozenset({Verdict.UNPARSABLE, Verdict.FUTURE})
"""Files that stay and do not count for their group."""


class Survey:
    """One pass over a volume. `plan` and `tally` are complete when `run` returned and nothing stopped it."""

    def __init__(
        self,
        root: VolumeRoot,
        selector: Selector,
        lines: Sequence[Lines],
        ages: Sequence[str | None],
        together: Mapping[int, Candidates],
        settle: str,
        now_ns: int,
        stop: Stop,
        on_decision: OnDecision | None = None,
        store: Store | None = None,
        processes: int = 1,
        *,
        sizes: Mapping[int, Bounds] = MappingProxyType({}),
        times: Mapping[int, Times] = MappingProxyType({}),
        at_once: bool = False,
        rules: Sequence[Rule] = (),
        operations_per_second: float = 0,
    ) -> None:
        """`store`: where the plan's records are kept; without, in memory. `processes`: how many may work at
        it; they begin when the first one sees that there is much to do, or `at_once`.

        `sizes` and `times`: bounds on the size, and how the times of files are had, for the rules that say it.
        `rules` are for items that are directories, for what is incomplete and for birth times; without them there is
        none of these.
        """
        self._root = root
        self._selector = selector
        self._lines = lines
        self._ages = [age or "" for age in ages]
        self._together = together
        """Rules whose items are decided when all of them are known, by number."""
        self._grouping = {number: one.grouping for number, one in together.items() if one.grouping.selects}
        self._sizes, self._times = sizes, times
        self._groups: dict[int, dict[str, int]] = {}
        """Of the window that is looked through: for each rule with `groupBy`, the group of each name it takes."""
        self._settle = settle
        self._stop = stop
        self._on_decision = on_decision
        self._now = now_ns
        # Whoever decides only when everything is known, or wants to see every decision, sees it in one process.
        self._processes = 1 if together or on_decision is not None else processes
        self._joined: list[Scratch] = []
        """Where other processes keep what they found."""
        self._rate = operations_per_second
        self._hire_after = 0 if at_once else HIRE_AFTER
        self._incomplete = {number for number, rule in enumerate(rules) if rule.ignore_incomplete}
        """Rules that leave alone what is incomplete."""
        self._births = any(rule.time.source == "BirthTime" for rule in rules)
        self._marks = Marks()
        self._begin(store)
        self._directories: Directories | None = None
        if any(rule.item_type == "Directory" for rule in rules):
            # One process alone: what is in an item has another scope than its path says.
            self._processes = 1
            known = Rules(rules, lines, self._ages, together, self._causes, settle, sizes)
            self._directories = Directories(
                root, known, self.plan, self.tally, stop, now_ns, on_decision, self.on_directory_error
            )

    def _begin(self, store: Store | None) -> None:
        self.plan = Plan(store)
        self.tally = Tally()
        # Each process has its part of the operations, from the beginning.
        pace = Pace(self._rate / self._processes, self._stop) if self._rate else None
        self._blocks = Blocks(
            self._root, self.tally, self._now, self._stop, self._on_file_error, pace, births=self._births
        )
        if self._on_decision is not None:
            self._blocks.on_protected = self._on_protected
        self._number = 0
        """The rule whose files are looked at."""
        self._causes = [
            self.plan.add_cause(Cause(number, (reason(Verdict.REMOVE, age, self._settle),), {}))
            for number, age in enumerate(self._ages)
        ]

    def run(self, start: bytes) -> None:
        """Look through everything below `start`, a directory relative to the root."""
        if self._processes == 1:
            self._walk(start, Alone())
        else:
            self._walk_together(start)
        self.plan.sort()
        for candidates in self._together.values():
            if self._stop.reason is None and not self.tally.stopped_by_fault:
                conclude(candidates, self.plan, self.tally, self._stop, self._on_decision)

    def _walk_together(self, start: bytes) -> None:
        """Walk with the help of other processes. Raises `CouldNotRun` where one of them has no room for the plan."""
        with contextlib.closing(Giver(self._processes, self._stop, self._help, self._hire_after)) as giver:
            self._walk(start, giver)
            try:
                for found, store in giver.conclude():
                    self._joined.append(store)
                    self.plan.join(found.parts, store)
                    self.tally.merge(found.tally)
            except MemberLost as error:
                self.tally.stopped_by_fault = str(error)

    def close(self) -> None:
        """Give back the scratch of other processes. The plan is of no use afterwards."""
        for store in self._joined:
            store.close()

    def _help(self, taker: Taker, scratch: Scratch) -> Found:
        """Walk for another process, in one of its own."""
        self._begin(scratch)
        self._walk(None, taker)
        scratch.flush()
        return Found(self.plan.parts, self.tally, scratch.written)

    def _walk(self, start: bytes | None, sharing: Sharing) -> None:
        if self._selector.root is None:
            self.tally.passed_by += start is not None
            return
        select = None if self._directories is None else self._directories.select
        walk = Walk(self._root, start, self._selector.root, self._stop, self.on_directory_error, sharing, select)
        try:
            for window in walk:
                self._look_through(window)
        except (DiskFailing, MemberLost) as error:
            self.tally.stopped_by_fault = str(error)
        self.tally.directories = walk.directories
        self.tally.mounts += walk.mounts
        self.tally.passed_by += walk.passed_by
        self.tally.others = walk.others
        self.tally.protected.update(walk.protected)

    def on_directory_error(self, path: bytes, error: OSError) -> None:
        """Count a directory that could not be listed. Raises `DiskFailing`."""
        self._count(error, path, path)

    def _look_through(self, window: Window) -> None:
        files = window.files
        self.tally.scanned += len(files)
        if self._directories is not None and window.items:
            self._directories.survey(window, lambda: self._marks.of(window.directory, window.fd))
        if not files:
            return
        narrows = bool(self._grouping or self._sizes)
        if not narrows and window.scope.only_owner is not None:
            self._look_at(window, files, window.scope.only_owner)
            return
        names = [entry.name for entry in files]
        owners = window.scope.owners(names, self._narrow(window, names) if narrows else None)
        for number in range(len(self._lines)):
            count = owners.count(number + 1)
            if count == len(files):
                self._look_at(window, files, number)
            elif count:
                self._look_at(window, list(compress(files, (owner == number + 1 for owner in owners))), number)

    def _look_at(self, window: Window, files: list[Entry], number: int) -> None:
        """Look at files that the rule `number` takes."""
        self._number = number
        act = self._gather_all if number in self._together else self._decide_all
        act(window, self._complete(window, files, number) if number in self._incomplete else files, number)

    def _complete(self, window: Window, entries: list[Entry], number: int) -> list[Entry]:
        """Those of the files of a rule that are not still being written."""
        try:
            marks = self._marks.of(window.directory, window.fd)
        except OSError as error:
            self.on_directory_error(window.directory, error)
            return []
        complete = [entry for entry in entries if not is_incomplete(entry.name, marks)]
        count = len(entries) - len(complete)
        self.tally.matched += count
        self.tally.uncounted += count
        self.tally.protected[Protection.INCOMPLETE] += count
        if count:
            for entry in entries:
                if self._on_decision is not None and is_incomplete(entry.name, marks):
                    path, why = join(window.directory, os.fsencode(entry.name)), WORDS[Protection.INCOMPLETE]
                    self._on_decision(Decided(path, number, Verdict.STAYS, (why,), {}, None, None, None))
        return complete

    def _narrow(self, window: Window, names: Sequence[str]) -> Narrow:
        self._groups = {}
        groups = narrowing(self._grouping, window.directory, names, self._groups)
        return within(self._sizes, lambda place: _size(window.files[place]), groups) if self._sizes else groups

    def _gather_all(self, window: Window, entries: list[Entry], number: int) -> None:
        """Take in files of a rule that decides when it knows all of them."""
        candidates, groups = self._together[number], self._groups.get(number)
        for block in self._blocks.of(window, entries):
            records = block.records()
            times: Sequence[int | None] = records.modified
            if number in self._times:
                times = self._times[number](block)
            if candidates.reads_names:
                paths = [os.fsdecode(join(window.directory, name)) for name in records.names]
                times = list(map(candidates.time, paths, records.modified))
            verdicts = [
                candidates.verdict(time_, modified, changed, block.clock)
                for time_, modified, changed in zip(times, records.modified, records.changed, strict=True)
            ]
            of = None if groups is None else [groups[os.fsdecode(name)] for name in records.names]
            if not _UNCOUNTED.isdisjoint(verdicts):
                self._leave_out(window.directory, number, records, times, verdicts, of)
                counts = [verdict not in _UNCOUNTED for verdict in verdicts]
                records, times = records.compressed(counts), list(compress(times, counts))
                verdicts, of = list(compress(verdicts, counts)), None if of is None else list(compress(of, counts))
            # What has no time is left out above.
            known = [time_ for time_ in times if time_ is not None]
            candidates.add(window.directory, records, times=known, verdicts=verdicts, groups=of)

    def _leave_out(
        self,
        directory: bytes,
        number: int,
        records: Records,
        times: Sequence[int | None],
        verdicts: Sequence[Verdict],
        groups: Sequence[int] | None,
    ) -> None:
        """Count the files of a block that have no time, or one in the future."""
        candidates, tally = self._together[number], self.tally
        for place, verdict in enumerate(verdicts):
            if verdict not in _UNCOUNTED:
                continue
            group = 0 if groups is None else groups[place]
            path = join(directory, records.names[place])
            why = candidates.reason(verdict)
            tally.verdicts[verdict] += 1
            if tally.wants_sample(verdict):
                tally.add_sample(path, verdict, why)
            if self._on_decision is not None:
                values, time_ = candidates.grouping.values(group), times[place]
                self._on_decision(_decided(path, number, verdict, why, records, place, values, time_))

    def _decide_all(self, window: Window, entries: list[Entry], number: int) -> None:
        """Decide files that rule `number` takes, each by itself."""
        going = Records()
        for block in self._blocks.of(window, entries):
            marks = self._decide_at_once(window.directory, block, number) if self._on_decision is None else None
            if marks is None:
                marks = self._decide_each(window.directory, block, number)
            if 1 in marks:
                found = block.records(marks)
                if going.names:
                    going.add(found)
                else:
                    going = found  # all there is of most directories, and no copy of it
        if going.names:
            going.cause = array("I", [self._causes[number]]) * len(going)
            self.plan.add(window.directory, going)

    def _decide_at_once(self, directory: bytes, block: Block, number: int) -> bytes | None:
        """Decide about files of which nobody wants to know more than their number; None: they are not alike enough."""
        stats, tally = block.stats, self.tally
        marks = old_at_once(stats.modified_seconds(), stats.changed_seconds, self._lines[number], block.clock)
        if marks is None:
            return None
        going = marks.count(1)
        tally.verdicts[Verdict.REMOVE] += going
        tally.verdicts[Verdict.YOUNG] += len(marks) - going
        for verdict, mark in ((Verdict.REMOVE, 1), (Verdict.YOUNG, 0)):
            place = marks.find(mark)
            while place >= 0 and tally.wants_sample(verdict):
                why = reason(verdict, self._ages[number], self._settle)
                tally.add_sample(join(directory, block.names[place]), verdict, why)
                place = marks.find(mark, place + 1)
        return marks

    def _decide_each(self, directory: bytes, block: Block, number: int) -> bytes:
        """Decide about files one by one. Returns marks of those that go."""
        tally, lines = self.tally, self._lines[number]
        records = block.records()
        verdicts = [
            decide(modified, changed, lines, block.clock)
            for modified, changed in zip(records.modified, records.changed, strict=True)
        ]
        tally.verdicts.update(verdicts)
        for place, verdict in enumerate(verdicts):
            wanted = tally.wants_sample(verdict)
            if wanted or self._on_decision is not None:
                path = join(directory, records.names[place])
                why = reason(verdict, self._ages[number], self._settle)
                if wanted:
                    tally.add_sample(path, verdict, why)
                if self._on_decision is not None:
                    self._on_decision(_decided(path, number, verdict, why, records, place))
        return bytes([verdict is Verdict.REMOVE for verdict in verdicts])

    def _on_protected(self, directory: bytes, records: Records, place: int, protection: Protection) -> None:
        if self._on_decision is not None:
            path = join(directory, records.names[place])
            self._on_decision(_decided(path, self._number, Verdict.KEPT, WORDS[protection], records, place))

    def _on_file_error(self, directory: bytes, name: bytes, error: OSError) -> None:
        if error.errno == errno.ENOENT:
            return  # it went while we looked: as if it had never been there
        self.tally.matched += 1
        self.tally.uncounted += 1
        self._count(error, join(directory, name), directory)

    def _count(self, error: OSError, path: bytes, directory: bytes) -> None:
        fault = classify(error)
        if self.tally.wants_error(fault):
            self.tally.add_error(explain(fault, error, self._root, path, directory))
        if self.tally.faults[Fault.IO] >= MAX_IO_ERRORS:
            raise DiskFailing(f"{MAX_IO_ERRORS} I/O errors, the last at {shown(path)}: the disk may fail")


def _size(entry: Entry) -> int | None:
    """Size of a file; None if it cannot be had."""
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return None


def _decided(
    path: bytes,
    number: int,
    verdict: Verdict,
    why: str,
    records: Records,
    place: int,
    group: Mapping[str, str] = MappingProxyType({}),
    time_: int | None = None,
) -> Decided:
    size, allocated, modified = records.size[place], records.allocated[place], records.modified[place]
    return Decided(path, number, verdict, (why,), group, size, allocated, modified if time_ is None else time_)
