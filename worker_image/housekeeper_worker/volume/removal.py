"""Removal: each file of a plan, if it still is the file that was planned."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Final

from housekeeper_worker.audit import Audit
from housekeeper_worker.retention.paths import Chunk
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.faults import MAX_IO_ERRORS, Fault, classify, classify_removal, explain
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.root import VolumeRoot

BATCH: Final = 500
"""Files between two intent lines of the audit."""
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
        self, root: VolumeRoot, plan: Plan, tally: Tally, audit: Audit, stop: Stop, members: Callable[[int], str]
    ) -> None:
        """`members`: for each cause of the plan, rule, group and reason as members of an audit line."""
        self._root = root
        self._plan = plan
        self._tally = tally
        self._audit = audit
        self._stop = stop
        self._members = members
        self._links: dict[_Inode, _Links] = {}
        self._io_errors = 0

    def rehearse(self) -> None:
        """Count what would be removed, and write it to the audit. Touches no file."""
        plan, tally = self._plan, self._tally
        for chunk in plan.chunks:
            if self._stop.reason is not None:
                return
            names = chunk.names.split(b"\0") if self._audit.on else []
            for index in range(chunk.first, chunk.first + chunk.length):
                tally.removed += 1
                if plan.links[index] <= 1 or self._is_last_link(index):
                    tally.bytes_freed += plan.allocated[index]
                if names:
                    self._audit.file(
                        "wouldRemove", _join(chunk.directory, names[index - chunk.first]), self._line(index)
                    )
        self._audit.flush()

    def _is_last_link(self, index: int) -> bool:
        """Whether with this name all names of the file would be gone."""
        links = self._links.setdefault(self._inode(index), _Links(0, 0))
        links.removed += 1
        return links.removed == self._plan.links[index]

    def carry_out(self) -> None:
        """Remove the files of the plan, until all are gone or the run must stop. Raises `AuditLost`."""
        free_before = self._free()
        try:
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
            # Others write to the volume too. What is less free than before tells nothing about this run.
            self._tally.freed_on_disk = freed if freed >= 0 else None

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
            with self._root.directory(chunk.directory, for_reading=False) as directory:
                for offset, name in enumerate(names):
                    self._remove(directory, chunk, name, chunk.first + offset)
                    if self._must_end():
                        return
        except OSError as error:
            fault = classify(error)
            for offset, name in enumerate(names):
                self.stayed(error, fault, chunk, name, chunk.first + offset)

    def _remove(self, directory: int, chunk: Chunk, name: bytes, index: int) -> None:
        try:
            stat = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not self._is_planned(stat, index):
                self.stayed(None, Fault.CHANGED, chunk, name, index)
                return
            last = True
            if stat.st_nlink == 1:
                os.unlink(name, dir_fd=directory)
            else:
                last = self._unlink_one_of_several(directory, name, index)
        except OSError as error:
            self.stayed(error, classify_removal(error, directory, name), chunk, name, index)
            return
        self._io_errors = 0
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

    def _unlink_one_of_several(self, directory: int, name: bytes, index: int) -> bool:
        """Remove one name of a file that has several. Returns whether it was the last one.

        Our own unlink moves the ctime that the other planned names of the file are compared with, so it is read again
        through a descriptor that outlives the name.
        """
        held = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            os.unlink(name, dir_fd=directory)
            after = os.fstat(held)
        finally:
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
