"""Scan, select and decide: from the files of a volume to a plan. Reads only."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from types import MappingProxyType
from typing import Final

from housekeeper_worker.conclusion import conclude
from housekeeper_worker.errors import DiskFailing
from housekeeper_worker.retention.candidates import Candidate, Candidates
from housekeeper_worker.retention.decide import Decided, Lines, Verdict, decide, is_old, is_settled, reason
from housekeeper_worker.retention.groups import narrowing
from housekeeper_worker.retention.plan import Cause, Plan
from housekeeper_worker.retention.select import Narrow, Selector
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.faults import MAX_IO_ERRORS, Fault, classify, explain
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.protected import any_protected, protection_of_file
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.scan import Walk, Window

OnDecision = Callable[[Decided], None]
"""Called with the decision about each selected file."""

Entry = os.DirEntry[str]

_BLOCK: Final = 256
"""Files between two looks at whether the run must end."""


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
    ) -> None:
        self._root = root
        self._selector = selector
        self._lines = lines
        self._ages = [age or "" for age in ages]
        self._together = together
        """Rules whose items are decided when all of them are known, by number."""
        self._grouping = {number: one.grouping for number, one in together.items() if one.grouping.selects}
        self._groups: dict[int, dict[str, int]] = {}
        """Of the window that is looked through: for each rule with `groupBy`, the group of each name it takes."""
        self._settle = settle
        self._now = now_ns
        self._stop = stop
        self._on_decision = on_decision
        self.plan = Plan()
        self.tally = Tally()
        self._causes = [
            self.plan.add_cause(Cause(number, (reason(Verdict.REMOVE, age, settle),), {}))
            for number, age in enumerate(self._ages)
        ]

    def run(self, start: bytes) -> None:
        """Look through everything below `start`, a directory relative to the root."""
        if self._selector.root is None:
            return
        walk = Walk(self._root, start, self._selector.root, self._stop, self.on_directory_error)
        try:
            for window in walk:
                self._look_through(window)
        except DiskFailing as error:
            self.tally.stopped_by_fault = str(error)
        self.tally.directories = walk.directories
        self.tally.mounts += walk.mounts
        self.tally.others = walk.others
        self.tally.protected.update(walk.protected)
        for candidates in self._together.values():
            if self._stop.reason is None and not self.tally.stopped_by_fault:
                conclude(candidates, self.plan, self.tally, self._stop, self._on_decision)

    def on_directory_error(self, path: bytes, error: OSError) -> None:
        """Count a directory that could not be listed. Raises `DiskFailing`."""
        self._count(error, path, path)

    def _look_through(self, window: Window) -> None:
        files = window.files
        self.tally.scanned += len(files)
        if not files:
            return
        names = [entry.name for entry in files]
        owners = window.scope.owners(names, self._narrow(window, names) if self._grouping else None)
        for number in range(len(self._lines)):
            count = owners.count(number + 1)
            if not count:
                continue
            act = self._gather_all if number in self._together else self._decide_all
            if count == len(files):
                act(window, files, number)
            else:
                act(window, list(compress(files, (owner == number + 1 for owner in owners))), number)

    def _narrow(self, window: Window, names: Sequence[str]) -> Narrow:
        self._groups = {}
        return narrowing(self._grouping, window.directory, names, self._groups)

    def _gather_all(self, window: Window, entries: list[Entry], number: int) -> None:
        """Take in files of a rule that decides when it knows all of them."""
        candidates, groups, tally = self._together[number], self._groups.get(number), self.tally
        found: list[Candidate] = []
        for block, stats, clock in self._blocks(window, entries):
            for entry, stat in zip(block, stats, strict=True):
                name = entry.name
                group = 0 if groups is None else groups[name]
                path = os.fsdecode(_join(window.directory, name)) if candidates.reads_names else ""
                modified = stat.st_mtime_ns
                time_ = candidates.time(path, modified)
                verdict = candidates.verdict(time_, modified, stat.st_ctime_ns, clock)
                if time_ is not None and verdict is not Verdict.FUTURE:
                    found.append(Candidate(name, stat, group, time_, verdict))
                    continue
                candidates.protect(group)
                tally.verdicts[verdict] += 1
                why = reason(verdict, "", self._settle)
                if tally.wants_sample(verdict):
                    tally.add_sample(_join(window.directory, name), verdict, why)
                if self._on_decision is not None:
                    told, values = _join(window.directory, name), candidates.grouping.values(group)
                    self._on_decision(_decided(told, number, verdict, why, stat, values, time_))
        if found:
            candidates.add(window.directory, found)

    def _decide_all(self, window: Window, entries: list[Entry], number: int) -> None:
        """Decide files that rule `number` takes, each by itself."""
        going: list[tuple[str, os.stat_result]] = []
        for block, stats, clock in self._blocks(window, entries):
            self._decide_block(window, block, stats, number, clock, going)
        if going:
            self.plan.add(window.directory, self._causes[number], going)

    def _blocks(self, window: Window, entries: list[Entry]) -> Iterator[tuple[list[Entry], list[os.stat_result], int]]:
        """Files with their stat and when it was taken, in order of inode, which is their order on a disk."""
        entries.sort(key=_inode)
        for begin in range(0, len(entries), _BLOCK):
            if self._stop.reason is not None:
                break
            block = entries[begin : begin + _BLOCK]
            clock = max(self._now, time.time_ns())
            try:
                stats = [entry.stat(follow_symlinks=False) for entry in block]
            except OSError:
                block, stats = self._stat_one_by_one(window, block)
            if [stat.st_ino for stat in stats] != [entry.inode() for entry in block]:
                block, stats = self._without_mounts(window, block, stats)
            self.tally.matched += len(block)
            if any_protected([entry.name for entry in block], stats):
                block, stats = self._without_protected(block, stats)
            yield block, stats, clock

    def _decide_block(
        self,
        window: Window,
        block: list[Entry],
        stats: list[os.stat_result],
        number: int,
        clock: int,
        going: list[tuple[str, os.stat_result]],
    ) -> None:
        """Decide about files, and add those that go to `going`."""
        tally, lines = self.tally, self._lines[number]
        modified = [stat.st_mtime_ns for stat in stats]
        if self._only_counts(Verdict.YOUNG) and max(modified, default=0) <= clock:
            # Mostly the most, and nobody wants to see them one by one: counted in one go.
            old = [is_old(time_, lines) for time_ in modified]
            block, stats = list(compress(block, old)), list(compress(stats, old))
            tally.verdicts[Verdict.YOUNG] += old.count(False)
            # Likewise the old ones, if even the one that changed last is settled.
            latest = [max(stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats]
            if latest and self._only_counts(Verdict.REMOVE) and is_settled(max(latest), lines):
                tally.verdicts[Verdict.REMOVE] += len(stats)
                going.extend(zip([entry.name for entry in block], stats, strict=True))
                return
        for entry, stat in zip(block, stats, strict=True):
            verdict = decide(stat.st_mtime_ns, stat.st_ctime_ns, lines, clock)
            tally.verdicts[verdict] += 1
            if verdict is Verdict.REMOVE:
                going.append((entry.name, stat))
            if tally.wants_sample(verdict):
                why = reason(verdict, self._ages[number], self._settle)
                tally.add_sample(_join(window.directory, entry.name), verdict, why)
            if self._on_decision is not None:
                why = reason(verdict, self._ages[number], self._settle)
                self._on_decision(_decided(_join(window.directory, entry.name), number, verdict, why, stat))

    def _only_counts(self, verdict: Verdict) -> bool:
        """Whether decisions of this kind are only counted: nobody listens, and there are examples enough."""
        return self._on_decision is None and not self.tally.wants_sample(verdict)

    def _stat_one_by_one(self, window: Window, block: list[Entry]) -> tuple[list[Entry], list[os.stat_result]]:
        """What can be had of a block in which some file cannot."""
        found: list[Entry] = []
        stats: list[os.stat_result] = []
        for entry in block:
            try:
                stats.append(entry.stat(follow_symlinks=False))
            except OSError as error:
                self._on_file_error(window.directory, entry.name, error)
            else:
                found.append(entry)
        return found, stats

    def _without_mounts(
        self, window: Window, block: list[Entry], stats: list[os.stat_result]
    ) -> tuple[list[Entry], list[os.stat_result]]:
        """The block without files that something else is mounted over.

        The listing gives the inode below the mount and stat the one above, so only where they differ (some file
        systems number their listings otherwise) the kernel is asked.
        """
        keep = [
            stat.st_ino == entry.inode() or not self._root.is_mount(window.fd, entry.name)
            for entry, stat in zip(block, stats, strict=True)
        ]
        self.tally.mounts += keep.count(False)
        return list(compress(block, keep)), list(compress(stats, keep))

    def _without_protected(
        self, block: list[Entry], stats: list[os.stat_result]
    ) -> tuple[list[Entry], list[os.stat_result]]:
        """The block without files that stay whatever the rules say."""
        protections = [protection_of_file(entry.name, stat) for entry, stat in zip(block, stats, strict=True)]
        self.tally.protected.update(protection for protection in protections if protection is not None)
        keep = [protection is None for protection in protections]
        return list(compress(block, keep)), list(compress(stats, keep))

    def _on_file_error(self, directory: bytes, name: str, error: OSError) -> None:
        if error.errno == errno.ENOENT:
            return  # it went while we looked: as if it had never been there
        self.tally.matched += 1
        self._count(error, _join(directory, name), directory)

    def _count(self, error: OSError, path: bytes, directory: bytes) -> None:
        fault = classify(error)
        if self.tally.wants_error(fault):
            self.tally.add_error(explain(fault, error, self._root, path, directory))
        if self.tally.faults[Fault.IO] >= MAX_IO_ERRORS:
            raise DiskFailing(f"{MAX_IO_ERRORS} I/O errors, the last at {shown(path)}: the disk may fail")


_inode = os.DirEntry.inode


def _decided(
    path: bytes,
    number: int,
    verdict: Verdict,
    why: str,
    stat: os.stat_result,
    group: Mapping[str, str] = MappingProxyType({}),
    time_: int | None = None,
) -> Decided:
    allocated = stat.st_blocks * 512
    when = stat.st_mtime_ns if time_ is None else time_
    return Decided(path, number, verdict, (why,), group, stat.st_size, allocated, when)


def _join(directory: bytes, name: str) -> bytes:
    encoded = os.fsencode(name)
    return directory + b"/" + encoded if directory else encoded
