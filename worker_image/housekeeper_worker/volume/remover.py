"""Removal of the files of one batch: each goes, if it still is the file that was planned, for good or by an act."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping
from fcntl import F_GETLEASE, F_SETLEASE, F_WRLCK, fcntl
from types import MappingProxyType

from housekeeper_worker.retention.records import Records
from housekeeper_worker.stop import Stop
from housekeeper_worker.volume.acts import Act
from housekeeper_worker.volume.batches import Batch, Share
from housekeeper_worker.volume.directory_removal import DirectoryRemoval
from housekeeper_worker.volume.faults import Fault, classify, classify_removal
from housekeeper_worker.volume.lease import OPEN_FLAGS, Leases, Use, is_whole
from housekeeper_worker.volume.locking import locked
from housekeeper_worker.volume.outcomes import FREED, MOVED, UNLINKED, Outcomes
from housekeeper_worker.volume.protected import marker_of
from housekeeper_worker.volume.rehearsal import Rehearsal
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.stats import bounded


class Remover:
    """Carries out batches: what it does is counted and told by `outcomes`."""

    def __init__(
        self,
        root: VolumeRoot,
        outcomes: Outcomes,
        stop: Stop,
        leases: Leases | None,
        *,
        strict: bool,
        accessed_before: Mapping[int, int | None] = MappingProxyType({}),
        act: Act | None = None,
        moved: Collection[int] = (),
        directories: DirectoryRemoval | None = None,
    ) -> None:
        """`leases`: None where nobody wants to know of openers; `strict`: what is not known of them keeps a file.

        `accessed_before`: for causes by access time, by number, until when (ns) a file may have been read; None: until
        it was looked at. `moved`:
        numbers of the causes whose files go by `act`; only one process may have one. `directories`: who removes
        directories that are items; None: there are none.
        """
        self._root = root
        self.outcomes = outcomes
        self.rehearsal = Rehearsal(
            root, outcomes, stop, leases, strict=strict, moved=moved if act is not None else (), directories=directories
        )
        """How the same batches are shown without a change."""
        self._stop = stop
        self._leases = leases
        self._strict = strict
        self._accessed_before = accessed_before
        self._act = act
        self._moved_causes = moved
        self._directories = directories

    @property
    def must_end(self) -> bool:
        """Whether no further file is to be looked at."""
        return self._stop.reason is not None or bool(self.outcomes.tally.stopped_by_fault)

    def carry_out(self, batch: Batch, *, has_lock: bool = False) -> None:
        """Remove the files of a batch. `has_lock`: the directories are locked already, by whoever asks."""
        for share in batch:
            if self.must_end:
                return
            self._carry_out_share(share, has_lock=has_lock)

    def _carry_out_share(self, share: Share, *, has_lock: bool) -> None:
        # The root carries a lock of our own.
        has_lock = has_lock or not share.directory
        try:
            with (
                self._root.directory(share.directory, for_reading=True) as directory,
                contextlib.nullcontext(True) if has_lock else locked(directory, exclusive=True) as free,
            ):
                fault = Fault.MARKED if marker_of(directory) else Fault.LOCKED
                if free and fault is not Fault.MARKED:
                    self._remove_all(directory, share)
                    return
            error = None
        except OSError as caught:
            error, fault = caught, classify(caught)
        for place in range(len(share.records)):
            self.outcomes.stayed(error, fault, share, place)

    def _remove_all(self, directory: int, share: Share) -> None:
        """Remove files: openat, fstat, the lease, unlinkat, a look at the lease, close; no call more for most.

        What is not as most are is left to `_remove`, which begins again.
        """
        if self._directories is not None and self._directories.takes(share):
            self._directories.remove(directory, share)
            return
        records, stop = share.records, self._stop
        gone = bytearray(len(records))
        quick = self._leases is not None and not self._accessed_before and self._act is None
        columns = (
            records.names,
            records.inode,
            records.device,
            records.size,
            records.modified,
            records.changed,
            records.links,
        )
        open_, fstat, unlink, close, flags = os.open, os.fstat, os.unlink, os.close, OPEN_FLAGS
        place = -1
        for name, inode, device, size, modified, changed, links in zip(*columns, strict=True):
            if stop.reason is not None:
                break
            place += 1
            if quick and links == 1:
                try:
                    fd = open_(name, flags, dir_fd=directory)
                    try:
                        stat = fstat(fd)
                        # Inode, device, links, size: places are cheaper than names.
                        if (
                            stat[1] == inode
                            and stat[2] == device
                            and stat[3] == 1
                            and stat[6] == size
                            and stat.st_ctime_ns == changed
                            and stat.st_mtime_ns == modified
                        ):
                            fcntl(fd, F_SETLEASE, F_WRLCK)
                            unlink(name, dir_fd=directory)
                            gone[place] = FREED
                            if fcntl(fd, F_GETLEASE) != F_WRLCK:
                                self.outcomes.tally.use[Use.OPENED_MEANWHILE] += 1
                            continue
                    finally:
                        close(fd)
                except OSError:
                    if gone[place]:
                        continue
            if place and gone[place - 1]:
                self.outcomes.went_well()
            gone[place] = self._remove(directory, share, place)
            if self.outcomes.tally.stopped_by_fault:
                break
        self.outcomes.removed(share, gone)

    def _remove(self, directory: int, share: Share, place: int) -> int:
        """Remove one file, or count why it stays. Returns 0, `FREED`, `UNLINKED` or `MOVED`."""
        records = share.records
        name, device = records.names[place], records.device[place]
        fd, use = -1, Use.NOT_OPEN
        try:
            if self._leases is not None:
                fd = self._leases.open(directory, name, device)
            stat = os.stat(name, dir_fd=directory, follow_symlinks=False) if fd < 0 else os.fstat(fd)
            if not self._is_planned(stat, records, place):
                self.outcomes.stayed(None, Fault.CHANGED, share, place)
                return 0
            if self._leases is not None:
                use = self._leases.take(fd, stat.st_dev)
                if use is not Use.NOT_OPEN and (use is Use.OPEN or self._strict):
                    self.outcomes.stays_for(use, share, place)
                    return 0
            act = self._act if records.cause[place] in self._moved_causes else None
            if stat.st_nlink != 1:
                last = self._let_go_one_of_several(act, directory, share, place, fd, stat)
            else:
                last = True
                if act is None:
                    os.unlink(name, dir_fd=directory)
                else:
                    act.take(directory, share.directory, name, stat)
            if fd >= 0 and use is Use.NOT_OPEN and not is_whole(fd):
                use = Use.OPENED_MEANWHILE
        except BlockingIOError:
            # Somebody holds a lease of his own on it. He has been asked to give it back; nobody waits for that here.
            self.outcomes.stays_for(Use.OPEN, share, place)
            return 0
        except OSError as error:
            self.outcomes.stayed(error, classify_removal(error, directory, name), share, place)
            return 0
        finally:
            if fd >= 0:
                os.close(fd)
        if use is not Use.NOT_OPEN:
            self.outcomes.tally.use[use] += 1
        if act is not None:
            return MOVED
        return FREED if last else UNLINKED

    def _is_planned(self, stat: os.stat_result, records: Records, place: int) -> bool:
        changed = records.changed[place]
        if records.links[place] > 1 and (one := self.outcomes.place(records, place)) >= 0:
            changed = self.outcomes.links.changed[one] or changed
        return (
            stat.st_ino == records.inode[place]
            and stat.st_ctime_ns == changed
            and bounded(stat.st_mtime_ns) == records.modified[place]
            and stat.st_size == records.size[place]
            and stat.st_dev == records.device[place]
            and (not self._accessed_before or self._is_unread(stat, records, place))
        )

    def _is_unread(self, stat: os.stat_result, records: Records, place: int) -> bool:
        """Whether a file that goes because nobody has read it has not been read since."""
        cause = records.cause[place]
        if cause not in self._accessed_before:
            return True
        line = self._accessed_before[cause]
        return bounded(stat.st_atime_ns) <= records.time[place] if line is None else stat.st_atime_ns < line

    def _let_go_one_of_several(
        self, act: Act | None, directory: int, share: Share, place: int, fd: int, stat: os.stat_result
    ) -> bool:
        """Let one name of a file go that has several. Returns whether it was the last one.

        Our own unlink or rename moves the ctime that the other planned names of the file are compared with, so it is
        read again through a descriptor that outlives the name: `fd`, or, if that is -1, one made for it.
        """
        name = share.records.names[place]
        held = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory) if fd < 0 else fd
        try:
            if act is None:
                os.unlink(name, dir_fd=directory)
            else:
                act.take(directory, share.directory, name, stat)
            after = os.fstat(held)
        finally:
            if held != fd:
                os.close(held)
        if (one := self.outcomes.place(share.records, place)) >= 0:
            self.outcomes.links.changed[one] = after.st_ctime_ns
        return after.st_nlink == 0
