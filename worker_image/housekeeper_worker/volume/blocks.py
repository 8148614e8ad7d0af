"""Selected files of one window with their stat, a block at a time, without what is no item or is left alone."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from typing import Final, NamedTuple

from housekeeper_worker.pace import Pace
from housekeeper_worker.retention.records import Records
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.protected import Protection, any_reserved, protection_of_file
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.scan import Entry, Window
from housekeeper_worker.volume.stats import BLOCK, Columns, Stats

OnFileError = Callable[[bytes, bytes, OSError], None]
"""Called with a directory and the name of a file in it that has no stat."""

OnProtected = Callable[[bytes, Records, int, Protection], None]
"""Called with a directory, files in it, the place of one among them that is protected, and why."""

_COLUMNS: Final = ("inode", "device", "size", "allocated", "modified", "changed", "links")
"""Birth times are asked for where one is wanted, which is seldom."""
_inode = os.DirEntry.inode


class Block(NamedTuple):
    """Files of one directory. It is good until the next one is asked for."""

    names: list[bytes]
    stats: Stats
    clock: int
    """When they were looked at, or the run's `now` if that is later; ns since the epoch."""

    def records(self, marks: Sequence[int] | None = None) -> Records:
        """All files, or those that are marked, without a cause."""
        stats: Columns = self.stats
        names: Iterable[bytes] = self.names
        if marks is not None and 0 in marks:
            stats, names = self.stats.marked(marks), compress(names, marks)
        found = Records()
        found.extend(names, **{name: getattr(stats, name)() for name in _COLUMNS})
        return found


class Blocks:
    """Cuts windows into blocks, and counts what it leaves out."""

    def __init__(
        self,
        root: VolumeRoot,
        tally: Tally,
        now_ns: int,
        stop: Stop,
        on_error: OnFileError,
        pace: Pace | None = None,
        *,
        births: bool = False,
    ) -> None:
        """`births`: whether the birth times of files are wanted."""
        self._root = root
        self._tally = tally
        self._now = now_ns
        self._stop = stop
        self._on_error = on_error
        self._stats = Stats(births=births)
        self._pace = pace
        self._size = BLOCK if pace is None else min(BLOCK, pace.step)
        self.on_protected: OnProtected | None = None

    def of(self, window: Window, entries: list[Entry]) -> Iterator[Block]:
        """Blocks of `entries`, files of the window, in order of inode, which is their order on a disk."""
        entries.sort(key=_inode)
        inodes = array("Q", map(_inode, entries))
        joined = "\0".join([entry.name for entry in entries])
        names = os.fsencode(joined).split(b"\0")
        reserved = any_reserved(joined)
        for begin in range(0, len(names), self._size):
            if self._pace is not None:
                self._pace.spend(min(self._size, len(names) - begin))
            if self._stop.reason is not None:
                return
            clock = max(self._now, time.time_ns())
            block = names[begin : begin + self._size]
            known = inodes[begin : begin + self._size]
            while block and (marks := self._kept(window, block, known, reserved=reserved)) is not None:
                # Seldom: some are left out, and what is left is looked at once more.
                block, known = list(compress(block, marks)), array("Q", compress(known, marks))
                reserved = False
            self._tally.matched += len(block)
            if block:
                yield Block(block, self._stats, clock)

    def _kept(self, window: Window, names: list[bytes], inodes: array[int], *, reserved: bool) -> list[bool] | None:
        """Take the stat of files, and mark those that stay in the block; None: all do."""
        stats = self._stats
        errors = stats.take(window.fd, names)
        if errors:
            for place, error in errors.items():
                self._on_error(window.directory, names[place], error)
            return [place not in errors for place in range(len(names))]
        if stats.inode() != inodes and (marks := self._without_mounts(window, names, inodes)) is not None:
            return marks
        if reserved or stats.any_sticky():
            return self._without_protected(window.directory, names)
        return None

    def _without_mounts(self, window: Window, names: list[bytes], inodes: array[int]) -> list[bool] | None:
        """Marks of what nothing else is mounted over; None: all of them.

        The listing gives the inode below the mount and stat the one above, so only where they differ (some file
        systems number their listings otherwise) the kernel is asked.
        """
        marks = [
            listed == found or not self._root.is_mount(window.fd, name)
            for name, listed, found in zip(names, inodes, self._stats.inode(), strict=True)
        ]
        self._tally.mounts += marks.count(False)
        return marks if False in marks else None

    def _without_protected(self, directory: bytes, names: list[bytes]) -> list[bool] | None:
        """Marks of what does not stay whatever the rules say; None: all of them."""
        protections = [protection_of_file(name, mode) for name, mode in zip(names, self._stats.mode(), strict=True)]
        found = [protection for protection in protections if protection is not None]
        self._tally.protected.update(found)
        self._tally.matched += len(found)
        self._tally.uncounted += len(found)
        if found and self.on_protected is not None:
            records = Block(names, self._stats, 0).records()
            for place, protection in enumerate(protections):
                if protection is not None:
                    self.on_protected(directory, records, place, protection)
        return [protection is None for protection in protections] if found else None
