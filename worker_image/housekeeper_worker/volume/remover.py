"""Removal of the files of one batch: each goes, if it still is the file that was planned, for good or by an act."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fcntl import F_GETLEASE, F_SETLEASE, F_WRLCK, fcntl
from itertools import compress
from types import MappingProxyType
from typing import Final

from housekeeper_api.task import OpenFiles
from housekeeper_worker.audit import FileEvent, file_lines
from housekeeper_worker.retention.links import Links
from housekeeper_worker.retention.paths import join
from housekeeper_worker.retention.records import Records
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.acts import Act
from housekeeper_worker.volume.batches import Batch, Share
from housekeeper_worker.volume.contents import MAX_LINKED, Contents
from housekeeper_worker.volume.directory_removal import DirectoryRemoval
from housekeeper_worker.volume.faults import MAX_IO_ERRORS, Fault, classify, classify_removal, explain
from housekeeper_worker.volume.lease import OPEN_FLAGS, Leases, Use, is_whole
from housekeeper_worker.volume.locking import locked
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.protected import marker_of
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.stats import bounded

Members = Callable[[int], str]
"""From the number of a cause to rule, group and reason as members of an audit line."""

_FREED: Final = 1
"""What became of a file: its name was the last one. 0 is for one that stays."""
_UNLINKED: Final = 2
"""It is still there under another name."""
_MOVED: Final = 3
"""It went by the act of its rule, and is still there."""
_ONE_NAME: Final = bytes([_UNLINKED])


class Remover:
    """Carries out batches, or shows what carrying them out would count.

    What it does is counted in `tally`, and told in lines of the audit, which whoever asked takes away.
    """

    def __init__(
        self,
        root: VolumeRoot,
        tally: Tally,
        stop: Stop,
        members: Members,
        open_files: OpenFiles,
        links: Callable[[], Links],
        *,
        audited: bool,
        accessed_before: Mapping[int, int] = MappingProxyType({}),
        act: Act | None = None,
        moved: Collection[int] = (),
    ) -> None:
        """`links`: makes a table of the files of which several names are planned.

        `accessed_before`: for causes by access time, by number, until when (ns) a file may have been read.

        `moved`: numbers of the causes whose files go by `act`. Only one process may have one.
        """
        self._root = root
        self.tally = tally
        self.stamp = ""
        """What the lines say about when they were written."""
        self.tells = audited
        """Whether the audit wants a line about each file, or only to know how many there were."""
        self._lines: list[str] = []
        self._counts: Counter[str] = Counter()
        self._stop = stop
        self._members = members
        self._leases = None if open_files == "Ignore" else Leases()
        self._strict = open_files == "Strict"
        self._accessed_before = accessed_before
        self._audited = audited
        self._table_of_links = links
        self._known_links: Links | None = None
        self._act = act
        self._moved_causes = moved
        self._io_errors = 0
        self.directories: DirectoryRemoval | None = None
        """Who removes directories that are items; None: there are none."""
        self.emptied: Callable[[bytes, int], None] | None = None
        """Called with a directory in which something was removed, and the number of the cause."""

    def take_lines(self) -> tuple[str, Counter[str]]:
        """The lines since the last call, and how many files there were of each event."""
        told = "".join(self._lines), self._counts
        self._lines, self._counts = [], Counter()
        return told

    @property
    def must_end(self) -> bool:
        """Whether no further file is to be looked at."""
        return self._stop.reason is not None or bool(self.tally.stopped_by_fault)

    def rehearse(self, batch: Batch, looked_at: int) -> None:
        """Count what would be removed. Changes no file. Openers of the first `looked_at` files are looked for."""
        for share in batch:
            if self._stop.reason is not None:
                return
            if self.directories is not None and self.directories.takes(share):
                self.directories.rehearse(share)
                continue
            records = share.records
            goes = bytearray(b"\x01" * len(records))
            if self._leases is not None:
                if looked_at:
                    self._look_for_openers(self._leases, share, goes, looked_at)
                self.tally.use[Use.NOT_LOOKED_AT] += max(0, len(records) - looked_at)
            looked_at = max(0, looked_at - len(records))
            if self._act is not None:
                moved = bytearray([went and cause in self._moved_causes for went, cause in self._causes(records, goes)])
                self._count_moved("wouldQuarantine", share, moved)
                goes = bytearray([went and not mark for went, mark in zip(goes, moved, strict=True)])
            self.tally.removed += goes.count(1)
            self.tally.bytes_freed += sum(compress(records.allocated, self._would_free(records, goes)))
            self._tell("wouldRemove", share, goes)

    @staticmethod
    def _causes(records: Records, marks: bytearray) -> Iterable[tuple[int, int]]:
        return zip(marks, records.cause, strict=True)

    def _count_moved(self, event: FileEvent, share: Share, marks: bytearray) -> None:
        """Count and tell of the marked files that they were moved. Bytes count with the first of a file's names."""
        records, tally = share.records, self.tally
        for place in compress(range(len(records)), marks):
            tally.quarantined += 1
            if records.links[place] > 1 and (one := self._place(records, place)) >= 0:
                if self._links.moved[one]:
                    continue
                self._links.moved[one] = 1
            tally.bytes_quarantined += records.allocated[place]
        self._tell(event, share, marks)

    def _look_for_openers(self, leases: Leases, share: Share, goes: bytearray, count: int) -> None:
        with contextlib.suppress(OSError), self._root.directory(share.directory, for_reading=False) as fd:
            for place, name in enumerate(share.records.names[:count]):
                try:
                    use = leases.look(fd, name, share.records.device[place])
                except OSError:
                    continue  # a dry run removes nothing, so there is nothing to tell but that it changed meanwhile
                if use is Use.OPEN or (self._strict and use is Use.UNKNOWN):
                    goes[place] = 0
                    self._stays_for(use, share, place)
                    fault = Fault.IN_USE if use is Use.OPEN else Fault.UNKNOWN_USE
                    self.tally.found_open.append((join(share.directory, name), fault))
                else:
                    self.tally.use[use] += 1

    def _would_free(self, records: Records, goes: bytearray) -> Sequence[int]:
        """Of the files that would go, those whose last name that is."""
        if max(records.links) <= 1:
            return goes
        columns = zip(goes, records.links, records.device, records.inode, strict=True)
        is_last = self._links.is_last
        return [mark and (links <= 1 or is_last(device, inode, links)) for mark, links, device, inode in columns]

    @property
    def _links(self) -> Links:
        """The files of which several names are planned; made when the first one of them is met."""
        if self._known_links is None:
            self._known_links = self._table_of_links()
        return self._known_links

    def _place(self, records: Records, place: int) -> int:
        return self._links.place(records.device[place], records.inode[place])

    def carry_out(self, batch: Batch, *, has_lock: bool = False) -> None:
        """Remove the files of a batch. `has_lock`: the directories are locked already, by whoever asks."""
        for share in batch:
            if self.must_end:
                return
            self._carry_out_share(share, has_lock=has_lock)

    def count_gone(self, share: Share) -> None:
        """Count and tell files that are not there any more as removed: by somebody who could not say so."""
        gone = bytearray(len(share.records))
        with contextlib.suppress(OSError), self._root.directory(share.directory, for_reading=False) as fd:
            for place, name in enumerate(share.records.names):
                try:
                    os.stat(name, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    gone[place] = _FREED
        self.tally.removed += gone.count(_FREED)
        self.tally.bytes_freed += sum(compress(share.records.allocated, gone))
        self._tell("removed", share, gone)

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
            self.stayed(error, fault, share, place)

    def _remove_all(self, directory: int, share: Share) -> None:
        """Remove files: openat, fstat, the lease, unlinkat, a look at the lease, close; no call more for most.

        What is not as most are is left to `_remove`, which begins again.
        """
        if self.directories is not None and self.directories.takes(share):
            self.directories.remove(directory, share)
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
                            gone[place] = _FREED
                            if fcntl(fd, F_GETLEASE) != F_WRLCK:
                                self.tally.use[Use.OPENED_MEANWHILE] += 1
                            continue
                    finally:
                        close(fd)
                except OSError:
                    if gone[place]:
                        continue
            if place and gone[place - 1]:
                self._io_errors = 0
            gone[place] = self._remove(directory, share, place)
            if self.tally.stopped_by_fault:
                break
        if gone[-1]:
            self._io_errors = 0
        if self._act is not None:
            self._count_moved("quarantined", share, bytearray([went == _MOVED for went in gone]))
            gone = gone.replace(bytes([_MOVED]), b"\0")
        self.tally.removed += len(gone) - gone.count(0)
        freed = gone if _UNLINKED not in gone else gone.replace(_ONE_NAME, b"\0")
        self.tally.bytes_freed += sum(compress(records.allocated, freed))
        if self.emptied is not None and any(gone):
            self.emptied(share.directory, records.cause[0])
        self._tell("removed", share, gone)

    def _remove(self, directory: int, share: Share, place: int) -> int:
        """Remove one file, or count why it stays. Returns 0, `_FREED`, `_UNLINKED` or `_MOVED`."""
        records = share.records
        name, device = records.names[place], records.device[place]
        fd, use = -1, Use.NOT_OPEN
        try:
            if self._leases is not None:
                fd = self._leases.open(directory, name, device)
            stat = os.stat(name, dir_fd=directory, follow_symlinks=False) if fd < 0 else os.fstat(fd)
            if not self._is_planned(stat, records, place):
                self.stayed(None, Fault.CHANGED, share, place)
                return 0
            if self._leases is not None:
                use = self._leases.take(fd, stat.st_dev)
                if use is not Use.NOT_OPEN and (use is Use.OPEN or self._strict):
                    self._stays_for(use, share, place)
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
            self._stays_for(Use.OPEN, share, place)
            return 0
        except OSError as error:
            self.stayed(error, classify_removal(error, directory, name), share, place)
            return 0
        finally:
            if fd >= 0:
                os.close(fd)
        if use is not Use.NOT_OPEN:
            self.tally.use[use] += 1
        if act is not None:
            return _MOVED
        return _FREED if last else _UNLINKED

    def _is_planned(self, stat: os.stat_result, records: Records, place: int) -> bool:
        changed = records.changed[place]
        if records.links[place] > 1 and (one := self._place(records, place)) >= 0:
            changed = self._links.changed[one] or changed
        return (
            stat.st_ino == records.inode[place]
            and stat.st_ctime_ns == changed
            and bounded(stat.st_mtime_ns) == records.modified[place]
            and stat.st_size == records.size[place]
            and stat.st_dev == records.device[place]
            and (not self._accessed_before or self._is_unread(stat, records.cause[place]))
        )

    def _is_unread(self, stat: os.stat_result, cause: int) -> bool:
        """Whether a file that goes because nobody has read it has not been read since."""
        line = self._accessed_before.get(cause)
        return line is None or stat.st_atime_ns < line

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
        if (one := self._place(share.records, place)) >= 0:
            self._links.changed[one] = after.st_ctime_ns
        return after.st_nlink == 0

    def _stays_for(self, use: Use, share: Share, place: int) -> None:
        """Count a file that stays because it is open, or because nobody can tell."""
        self.tally.use[use] += 1
        self.stayed(None, Fault.IN_USE if use is Use.OPEN else Fault.UNKNOWN_USE, share, place)

    def went(self, event: FileEvent, share: Share, place: int, use: Use, freed: int) -> None:
        """Count a directory that is gone, or would be."""
        self._io_errors = 0
        if self._leases is not None and (use is not Use.NOT_OPEN or event != "removed"):
            self.tally.use[use] += 1
        self.tally.removed += 1
        self.tally.bytes_freed += freed
        if self.emptied is not None and event == "removed":
            self.emptied(share.directory, share.records.cause[place])
        marks = bytearray(len(share.records))
        marks[place] = 1
        self._tell(event, share, marks, f',"freed":{freed}')

    def moved(self, event: str, share: Share, place: int, use: Use, contents: Contents) -> None:
        """Count a directory that was moved, or would be. Bytes count with the first name of a file that has several."""
        self._io_errors = 0
        if self._leases is not None and (use is not Use.NOT_OPEN or event != "quarantined"):
            self.tally.use[use] += 1
        self.tally.quarantined += 1
        known = (allocated for inode, (_, _, allocated) in contents.links.items() if inode in self._moved)
        self.tally.bytes_quarantined += contents.allocated - sum(known)
        if len(self._moved) < MAX_LINKED:
            self._moved.update(contents.links)
        marks = bytearray(len(share.records))
        marks[place] = 1
        self._tell(event, share, marks)

    def stayed(self, error: OSError | None, fault: Fault, share: Share, place: int, inside: bytes = b"") -> None:
        """Count a planned item that stayed, and look whether the run must end for it.

        `inside` is what in a directory is the matter, empty for the directory itself.
        """
        tally = self.tally
        tally.stayed[fault] += 1
        marks = bytearray(len(share.records))
        marks[place] = 1
        self._tell("skipped", share, marks, f',"skipped":"{fault}"')
        path = join(share.directory, share.records.names[place])
        if error is not None and tally.wants_error(fault):
            tally.add_error(explain(fault, error, self._root, path, join(path, inside) if inside else share.directory))
        self._io_errors = self._io_errors + 1 if fault is Fault.IO else 0
        if fault is Fault.READ_ONLY:
            tally.stopped_by_fault = "the volume is mounted read-only, or its file system went read-only after an error"
        elif self._io_errors >= MAX_IO_ERRORS:
            tally.stopped_by_fault = (
                f"{MAX_IO_ERRORS} I/O errors in a row, the last at {shown(path)}: the disk may fail"
            )

    def _tell(self, event: FileEvent, share: Share, marks: Sequence[int], more: str = "") -> None:
        """Add audit lines about the files that are marked."""
        count = len(marks) - marks.count(0)
        if not self._audited or not count:
            return
        self._counts[event] += count
        if self.tells:
            records = share.records.compressed(marks) if count < len(marks) else share.records
            self._lines.append(file_lines(self.stamp, event, share.directory, records, self._members, more))
