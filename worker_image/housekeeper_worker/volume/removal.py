"""Removal: each file of a plan, if it still is the file that was planned."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Final

from housekeeper_api.task import OpenFiles
from housekeeper_worker.audit import Audit
from housekeeper_worker.retention.paths import Chunk
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.faults import MAX_IO_ERRORS, Fault, classify, classify_removal, explain
from housekeeper_worker.volume.lease import Leases, Use, breaks_ignored, is_whole
from housekeeper_worker.volume.locking import locked
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.protected import marker_of
from housekeeper_worker.volume.root import VolumeRoot

BATCH: Final = 500
"""Files between two intent lines of the audit."""
REHEARSED: Final = 2_000
"""Files of a plan whose openers a dry run looks for: enough for most plans, and nothing that slows a large one down."""
_Inode = tuple[int, int]


@dataclasses.dataclass(slots=True)
class _Links:
    """A file with several names, some of which this run removes."""

    removed: int
    changed: int
    """ctime after our own last unlink, which moved it."""


class Removal:
    """Carries out a plan, or shows what carrying it out would count."""

    def __init__(
        self,
        root: VolumeRoot,
        plan: Plan,
        tally: Tally,
        audit: Audit,
        stop: Stop,
        members: Callable[[int], str],
        open_files: OpenFiles,
    ) -> None:
        """`members`: for each cause of the plan, rule, group and reason as members of an audit line."""
        self._root = root
        self._plan = plan
        self._tally = tally
        self._audit = audit
        self._stop = stop
        self._members = members
        self._leases = None if open_files == "Ignore" else Leases()
        self._strict = open_files == "Strict"
        self._links: dict[_Inode, _Links] = {}
        self._io_errors = 0
        self._stays: set[int] = set()
        """In a dry run: files of the plan that would stay, for they are open."""

    def rehearse(self) -> None:
        """Count what would be removed, and write it to the audit. Changes no file.

        The openers of the first `REHEARSED` files are looked for, each for a moment.
        """
        plan, tally = self._plan, self._tally
        begin = 0
        if self._leases is not None:
            begin = self._rehearse_openers(self._leases)
            if len(plan) > begin:
                tally.use[Use.NOT_LOOKED_AT] = len(plan) - begin
        for chunk in plan.chunks:
            if self._stop.reason is not None:
                return
            names = chunk.names.split(b"\0") if self._audit.on else []
            for index in range(chunk.first, chunk.first + chunk.length):
                if index in self._stays:
                    continue
                tally.removed += 1
                if plan.links[index] <= 1 or self._is_last_link(index):
                    tally.bytes_freed += plan.allocated[index]
                if names:
                    self._audit.file(
                        "wouldRemove", _join(chunk.directory, names[index - chunk.first]), self._line(index)
                    )
        self._audit.flush()

    def _rehearse_openers(self, leases: Leases) -> int:
        """Look for openers of the first files of the plan. Returns how many were looked at."""
        seen = 0
        with breaks_ignored():
            for chunk in self._plan.chunks:
                if seen >= REHEARSED or self._stop.reason is not None:
                    break
                names = chunk.names.split(b"\0")[: REHEARSED - seen]
                with contextlib.suppress(OSError), self._root.directory(chunk.directory, for_reading=False) as fd:
                    for offset, name in enumerate(names):
                        self._rehearse_opener(leases, fd, chunk, name, chunk.first + offset)
                seen += len(names)
        return seen

    def _rehearse_opener(self, leases: Leases, directory: int, chunk: Chunk, name: bytes, index: int) -> None:
        device = self._plan.devices[self._plan.device[index]]
        try:
            use = leases.look(directory, name, device)
        except OSError:
            return  # a dry run removes nothing, so there is nothing to tell but that it changed meanwhile
        if use is Use.OPEN or (self._strict and use is Use.UNKNOWN):
            self._stays.add(index)
            self._stays_for(use, chunk, name, index)
        else:
            self._tally.use[use] += 1

    def _stays_for(self, use: Use, chunk: Chunk, name: bytes, index: int) -> None:
        """Count a file that stays because it is open, or because nobody can tell."""
        self._tally.use[use] += 1
        self.stayed(None, Fault.IN_USE if use is Use.OPEN else Fault.UNKNOWN_USE, chunk, name, index)

    def _is_last_link(self, index: int) -> bool:
        """Whether with this name all names of the file would be gone."""
        links = self._links.setdefault(self._inode(index), _Links(0, 0))
        links.removed += 1
        return links.removed == self._plan.links[index]

    def carry_out(self) -> None:
        """Remove the files of the plan, until all are gone or the run must stop. Raises `AuditLost`."""
        free_before = self._free()
        try:
            with breaks_ignored():
                for batch in self._batches():
                    if self._must_end():
                        break
                    self._announce(batch)
                    for chunk in batch:
                        self._remove_chunk(chunk)
                        if self._must_end():
                            break
            self._audit.flush()
        finally:
            freed = self._free() - free_before
            self._tally_openers()
            # Others write to the volume too. What is less free than before tells nothing about this run.
            self._tally.freed_on_disk = freed if freed >= 0 else None

    def _tally_openers(self) -> None:
        """Count the removed files without openers: all but those that were counted one by one."""
        use = self._tally.use
        if self._leases is None:
            use.clear()
        else:
            stayed = self._tally.stayed[Fault.UNKNOWN_USE]
            counted = use[Use.UNKNOWN] - stayed + use[Use.OPENED_MEANWHILE]
            use[Use.NOT_OPEN] = self._tally.removed - counted

    def _must_end(self) -> bool:
        return self._stop.reason is not None or bool(self._tally.stopped_by_fault)

    def _free(self) -> int:
        stat = os.fstatvfs(self._root.fd)
        return stat.f_bfree * stat.f_frsize

    def _batches(self) -> Iterator[list[Chunk]]:
        """The plan in its order, cut into batches of `BATCH` files."""
        batch: list[Chunk] = []
        room = BATCH
        for chunk in self._plan.chunks:
            names = chunk.names.split(b"\0")
            start = 0
            while start < chunk.length:
                count = min(room, chunk.length - start)
                part = b"\0".join(names[start : start + count])
                batch.append(Chunk(chunk.directory, part, chunk.first + start, count))
                start += count
                room -= count
                if not room:
                    yield batch
                    batch, room = [], BATCH
        if batch:
            yield batch

    def _announce(self, batch: list[Chunk]) -> None:
        if self._audit.on:
            first = _join(batch[0].directory, batch[0].names.split(b"\0", 1)[0])
            last = _join(batch[-1].directory, batch[-1].names.rsplit(b"\0", 1)[-1])
            self._audit.intent(first, last, sum(chunk.length for chunk in batch))

    def _remove_chunk(self, chunk: Chunk) -> None:
        names = chunk.names.split(b"\0")
        try:
            with (
                self._root.directory(chunk.directory, for_reading=True) as directory,
                # The root carries a lock of our own.
                locked(directory, exclusive=True) if chunk.directory else contextlib.nullcontext(True) as free,
            ):
                fault = Fault.MARKED if marker_of(directory) else Fault.LOCKED
                if free and fault is not Fault.MARKED:
                    self._remove_names(directory, chunk, names)
                    return
            error = None
        except OSError as caught:
            error, fault = caught, classify(caught)
        for offset, name in enumerate(names):
            self.stayed(error, fault, chunk, name, chunk.first + offset)

    def _remove_names(self, directory: int, chunk: Chunk, names: list[bytes]) -> None:
        for offset, name in enumerate(names):
            self._remove(directory, chunk, name, chunk.first + offset)
            if self._must_end():
                return

    def _remove(self, directory: int, chunk: Chunk, name: bytes, index: int) -> None:
        """Remove one file: openat, fstat, the lease, unlinkat, a look at the lease, close; no call more for most."""
        fd, use = -1, Use.NOT_OPEN
        try:
            if self._leases is not None:
                fd = self._leases.open(directory, name, self._plan.devices[self._plan.device[index]])
            stat = os.stat(name, dir_fd=directory, follow_symlinks=False) if fd < 0 else os.fstat(fd)
            if not self._is_planned(stat, index):
                self.stayed(None, Fault.CHANGED, chunk, name, index)
                return
            if self._leases is not None:
                use = self._leases.take(fd, stat.st_dev)
                if use is not Use.NOT_OPEN and (use is Use.OPEN or self._strict):
                    self._stays_for(use, chunk, name, index)
                    return
            if stat.st_nlink == 1:
                last = True
                os.unlink(name, dir_fd=directory)
            else:
                last = self._unlink_one_of_several(directory, name, fd, index)
            if fd >= 0 and use is Use.NOT_OPEN and not is_whole(fd):
                use = Use.OPENED_MEANWHILE
        except BlockingIOError:
            # Somebody holds a lease of his own on it. He has been asked to give it back; nobody waits for that here.
            self._stays_for(Use.OPEN, chunk, name, index)
            return
        except OSError as error:
            self.stayed(error, classify_removal(error, directory, name), chunk, name, index)
            return
        finally:
            if fd >= 0:
                os.close(fd)
        self._io_errors = 0
        if use is not Use.NOT_OPEN:
            self._tally.use[use] += 1
        self._tally.removed += 1
        if last:
            self._tally.bytes_freed += self._plan.allocated[index]
        if self._audit.on:
            self._audit.file("removed", _join(chunk.directory, name), self._line(index))

    def _is_planned(self, stat: os.stat_result, index: int) -> bool:
        plan = self._plan
        changed = plan.changed[index]
        if plan.links[index] > 1 and (links := self._links.get(self._inode(index))) is not None:
            changed = links.changed
        return (
            stat.st_ino == plan.inode[index]
            and stat.st_ctime_ns == changed
            and stat.st_mtime_ns == plan.modified[index]
            and stat.st_size == plan.size[index]
            and stat.st_dev == plan.devices[plan.device[index]]
        )

    def _unlink_one_of_several(self, directory: int, name: bytes, fd: int, index: int) -> bool:
        """Remove one name of a file that has several. Returns whether it was the last one.

        Our own unlink moves the ctime that the other planned names of the file are compared with, so it is read again
        through a descriptor that outlives the name: `fd`, or, if that is -1, one made for it.
        """
        held = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory) if fd < 0 else fd
        try:
            os.unlink(name, dir_fd=directory)
            after = os.fstat(held)
        finally:
            if held != fd:
                os.close(held)
        links = self._links.setdefault(self._inode(index), _Links(0, 0))
        links.removed += 1
        links.changed = after.st_ctime_ns
        return after.st_nlink == 0

    def _inode(self, index: int) -> _Inode:
        return self._plan.device[index], self._plan.inode[index]

    def stayed(self, error: OSError | None, fault: Fault, chunk: Chunk, name: bytes, index: int) -> None:
        """Count a planned file that stayed, and look whether the run must end for it."""
        tally = self._tally
        tally.stayed[fault] += 1
        path = _join(chunk.directory, name)
        if self._audit.on:
            self._audit.file("skipped", path, f'{self._line(index)},"skipped":"{fault}"')
        if error is not None and tally.wants_error(fault):
            tally.add_error(explain(fault, error, self._root, path, chunk.directory))
        self._io_errors = self._io_errors + 1 if fault is Fault.IO else 0
        if fault is Fault.READ_ONLY:
            tally.stopped_by_fault = "the volume is mounted read-only, or its file system went read-only after an error"
        elif self._io_errors >= MAX_IO_ERRORS:
            tally.stopped_by_fault = (
                f"{MAX_IO_ERRORS} I/O errors in a row, the last at {shown(path)}: the disk may fail"
            )

    def _line(self, index: int) -> str:
        plan = self._plan
        return (
            f'{self._members(plan.cause[index])},"size":{plan.size[index]},"bytes":{plan.allocated[index]},'
            f'"inode":{plan.inode[index]},"mtimeNs":{plan.modified[index]}'
        )


def _join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name
