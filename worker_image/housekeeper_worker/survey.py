"""Scan, select and decide: from the files of a volume to a plan. Reads only."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from itertools import compress

from housekeeper_worker.retention.decide import Lines, Verdict, decide, reason
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.retention.select import Selector
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.faults import classify, explain
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.scan import Walk, Window

OnDecision = Callable[[bytes, int, Verdict, os.stat_result], None]
"""Called with path, number of the rule, verdict and stat of each selected file."""

_BLOCK = 512


class Survey:
    """One pass over a volume. `plan` and `tally` are complete when `run` returned and nothing stopped it."""

    def __init__(
        self,
        root: VolumeRoot,
        selector: Selector,
        lines: Sequence[Lines],
        ages: Sequence[str],
        settle: str,
        stop: Stop,
        on_decision: OnDecision | None = None,
    ) -> None:
        self._root = root
        self._selector = selector
        self._lines = lines
        self._ages = ages
        self._settle = settle
        self._stop = stop
        self._on_decision = on_decision
        self.plan = Plan()
        self.tally = Tally()

    def run(self, start: bytes) -> None:
        """Look through everything below `start`, a directory relative to the root."""
        if self._selector.root is None:
            return
        walk = Walk(self._root, start, self._selector.root, self._stop, self._on_directory_error)
        for window in walk:
            self._look_through(window)
        self.tally.directories = walk.directories
        self.tally.mounts += walk.mounts
        self.tally.others = walk.others

    def _on_directory_error(self, path: bytes, error: OSError) -> None:
        fault = classify(error)
        if self.tally.wants_error(fault):
            self.tally.add_error(explain(fault, error, self._root, path, path))

    def _look_through(self, window: Window) -> None:
        files = window.files
        self.tally.scanned += len(files)
        if not files:
            return
        owners = window.scope.owners([entry.name for entry in files])
        for number in range(len(self._lines)):
            count = owners.count(number + 1)
            if count == len(files):
                self._decide_all(window, files, number)
            elif count:
                self._decide_all(window, list(compress(files, (owner == number + 1 for owner in owners))), number)

    def _decide_all(self, window: Window, entries: list[os.DirEntry[str]], number: int) -> None:
        """Stat and decide files that rule `number` takes, in order of inode, which is their order on a disk."""
        tally, plan, lines, stop = self.tally, self.plan, self._lines[number], self._stop
        entries.sort(key=_inode)
        clock = time.time_ns()
        names: list[bytes] = []
        young = 0
        for entry in entries:
            if stop.reason is not None:
                break
            try:
                stat = entry.stat(follow_symlinks=False)
            except OSError as error:
                self._on_file_error(window.directory, entry.name, error)
                continue
            if stat.st_ino != entry.inode() and self._root.is_mount(window.fd, entry.name):
                tally.mounts += 1
                continue
            tally.matched += 1
            verdict = decide(stat.st_mtime_ns, stat.st_ctime_ns, lines, clock)
            if verdict is Verdict.YOUNG:
                young += 1
            else:
                tally.verdicts[verdict] += 1
            if verdict is Verdict.REMOVE:
                names.append(os.fsencode(entry.name))
                plan.rule.append(number)
                plan.inode.append(stat.st_ino)
                plan.device.append(plan.device_index(stat.st_dev))
                plan.size.append(stat.st_size)
                plan.allocated.append(stat.st_blocks * _BLOCK)
                plan.modified.append(stat.st_mtime_ns)
                plan.changed.append(stat.st_ctime_ns)
                plan.links.append(stat.st_nlink)
            if tally.wants_sample(verdict):
                why = reason(verdict, self._ages[number], self._settle)
                tally.add_sample(_join(window.directory, entry.name), verdict, why)
            if self._on_decision is not None:
                self._on_decision(_join(window.directory, entry.name), number, verdict, stat)
        tally.verdicts[Verdict.YOUNG] += young
        if names:
            plan.add_chunk(window.directory, names)

    def _on_file_error(self, directory: bytes, name: str, error: OSError) -> None:
        if error.errno == errno.ENOENT:
            return  # it went while we looked: as if it had never been there
        self.tally.matched += 1
        fault = classify(error)
        if self.tally.wants_error(fault):
            self.tally.add_error(explain(fault, error, self._root, _join(directory, name), directory))


_inode = os.DirEntry.inode


def _join(directory: bytes, name: str) -> bytes:
    encoded = os.fsencode(name)
    return directory + b"/" + encoded if directory else encoded
