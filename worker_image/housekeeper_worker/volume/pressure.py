"""How full a volume is, before and while files of it are removed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from housekeeper_api.task import Pressure
from housekeeper_worker.retention.pressure import Fill, Level, Need
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.protected import RESERVED_DIRECTORIES
from housekeeper_worker.volume.root import OWN_DIRECTORY, VolumeRoot
from housekeeper_worker.volume.syscalls import syncfs

LEAST_WINDOW: Final = 1 << 20
MOST_WINDOW: Final = 1 << 30
"""Bytes: by the estimate so much must have gone, a tenth of what is wanted but for these bounds, before the volume is
looked at for whether it gets emptier."""
_TRUE_TENTHS: Final = 1
"""Tenths of the estimate that must be there then."""
_POOR_WINDOWS: Final = 2
"""Such windows in a row after which nobody believes in the next."""
_PATIENCE: Final = 3
_PAUSE_SECONDS: Final = 1.0
"""Some file systems (XFS, btrfs) free later what was removed: so often, and so long each, they are waited for."""

_ALLOCATION_UNIT: Final = 512
_UNKNOWN: Final = Level(0, 0)


class Usage(NamedTuple):
    """What lies below a root."""

    allocated: int
    """Bytes on disk of files and directories, each file once whatever its names."""
    unreadable: int
    """Directories that could not be looked into: there is at least so much more."""


def fill_of_file_system(fd: int) -> Fill:
    """How full the file system of the open directory `fd` is, as df has it: what is reserved for root is not there."""
    stat = os.fstatvfs(fd)
    used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    inodes = stat.f_files - stat.f_ffree
    return Fill(
        Level(used, used + stat.f_bavail * stat.f_frsize),
        Level(inodes, inodes + stat.f_favail) if stat.f_files else _UNKNOWN,
    )


def usage_below(root: VolumeRoot, stop: Stop) -> Usage:
    """Count what lies below a root: a stat for every file, and it ends early if the run must.

    As everywhere, mounts are not entered, and Housekeeper's own directory and what file systems keep for themselves
    are not seen.
    """
    allocated = unreadable = 0
    several: set[tuple[int, int]] = set()
    stack = [b""]
    while stack and stop.reason is None:
        path = stack.pop()
        try:
            with root.directory(path, for_reading=True, on_walk=True) as fd, os.scandir(fd) as entries:
                allocated += os.fstat(fd).st_blocks * _ALLOCATION_UNIT
                for entry in entries:
                    name = os.fsencode(entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name not in RESERVED_DIRECTORIES and (path or name != OWN_DIRECTORY):
                            stack.append(path + b"/" + name if path else name)
                        continue
                    with contextlib.suppress(FileNotFoundError):
                        stat = entry.stat(follow_symlinks=False)
                        inode = stat.st_dev, stat.st_ino
                        if stat.st_nlink > 1 and inode in several:
                            continue
                        if stat.st_nlink > 1:
                            several.add(inode)
                        allocated += stat.st_blocks * _ALLOCATION_UNIT
        except PermissionError:
            unreadable += 1
        except OSError:
            continue  # a mount, or gone meanwhile; what is broken the survey has told
    return Usage(allocated, unreadable)


class Gauge:
    """Looks at a volume while files of it go, and says when to end: it is as empty as wanted, or gets no emptier."""

    def __init__(
        self, root: int, pressure: Pressure, fill: Fill, need: Need, stage: int, stop: Stop, counted: int = 0
    ) -> None:
        """`fill`: as it is before the first removal. `need`: what is to become free.

        `counted`: bytes that the run had freed by then, of what an earlier one had begun with. They are no relief.
        """
        self.stage = stage
        """Files between two looks."""
        self.fill = fill
        """As of the last look."""
        self.handled = 0
        """Files that had their turn."""
        self.stalled = False
        self._root = root
        self._pressure = pressure
        self._before = fill
        self._need = need
        self._stop = stop
        self._next = stage
        self._window = min(max(need.size // 10, LEAST_WINDOW), MOST_WINDOW)
        self._counted = counted
        self._estimated = counted
        """The estimate when the window began."""
        self._free_at_start = self._free = _free(root)
        self._poor = 0

    @property
    def freed(self) -> int:
        """Bytes that are free now and were not before, whoever freed them; less than 0 if others wrote more."""
        return _free(self._root) - self._free_at_start

    def estimated(self, tally: Tally) -> int:
        """Bytes that should be free now and were not before."""
        return tally.bytes_freed - self._counted

    def is_low(self) -> bool:
        """Whether what was scarce no longer is, as of the last look."""
        low = self._pressure.low_percent
        scarce = ((self._need.size, self.fill.size), (self._need.inodes, self.fill.inodes))
        return not any(wanted and level.above(low) for wanted, level in scarce)

    def enough(self, handled: int, tally: Tally) -> bool:
        """Whether to end. `handled`: files since the last question; `tally.bytes_freed` is what should be free."""
        self.handled += handled
        if self.handled < self._next:
            return False
        self._next = self.handled + self.stage
        self.look(tally)
        return self.is_low() or self._is_stalled(tally)

    def look(self, tally: Tally) -> None:
        """See how full the volume is."""
        if self._pressure.of == "Claim":
            # What lies below the root is not counted again: what went is known.
            self.fill = self._before._replace(size=self._before.size.without(self.estimated(tally)))
        else:
            self.fill = fill_of_file_system(self._root)

    def look_at_the_end(self, tally: Tally, *, all_gone: bool) -> None:
        """See how full it is after the last removal. `all_gone`: the estimate says low, so that waiting may help."""
        self.look(tally)
        if all_gone and not self.is_low() and self._pressure.of == "FileSystem":
            for _ in self._waits():
                self.look(tally)
                # What went is free by now, so that nothing is left to wait for. Of inodes nobody can tell.
                if self.is_low() or (not self._need.inodes and self.freed >= self.estimated(tally)):
                    return

    def _is_stalled(self, tally: Tally) -> bool:
        """Whether what goes is not what becomes free: held open, or shared with a snapshot or another file.

        Of a claim that cannot be told, and does not matter. It shares its file system with whoever writes there
        meanwhile, and how full it is is what lies below its root.
        """
        if self._pressure.of == "Claim":
            return False
        estimate = tally.bytes_freed - self._estimated
        if estimate < self._window:
            return False
        if self._is_true(estimate) or any(self._is_true(estimate) for _ in self._waits()):
            self._poor = 0
        else:
            self._poor += 1
        self._estimated, self._free = tally.bytes_freed, _free(self._root)
        self.stalled = self._poor >= _POOR_WINDOWS
        return self.stalled

    def _is_true(self, estimate: int) -> bool:
        return 10 * (_free(self._root) - self._free) >= _TRUE_TENTHS * estimate

    def _waits(self) -> Iterator[None]:
        """Moments at which more may be free than just before."""
        with contextlib.suppress(OSError):
            syncfs(self._root)
        yield
        for _ in range(_PATIENCE):
            if not self._stop.wait(_PAUSE_SECONDS):
                return
            yield


def _free(root: int) -> int:
    stat = os.fstatvfs(root)
    return stat.f_bfree * stat.f_frsize
