"""Putting files back by link and unlink, and directories by a rename that replaces nothing, so that nothing is ever
overwritten; killed anywhere, the next goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import stat as modes
from collections.abc import Iterator, Mapping
from typing import Final

from housekeeper_worker.audit import Audit, path_member
from housekeeper_worker.quarantine.manifest import Item, Parent, Reading
from housekeeper_worker.quarantine.place import OPEN_DIRECTORY, Quarantine, path_of, remove_if_empty
from housekeeper_worker.quarantine.wanted import Wanted
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.acts import Unmovable
from housekeeper_worker.volume.faults import HARMLESS, MAX_IO_ERRORS, Fault, classify_removal, explain
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.syscalls import rename_directory, rename_no_replace

_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK}
_NO_RENAME: Final = {errno.ENOSYS, errno.EINVAL}
_NO_DIRECTORY: Final = {errno.ENOTDIR, errno.ELOOP}
MAX_CONFLICTS: Final = 3
"""Examples of conflicts that are shown."""


@dataclasses.dataclass(slots=True)
class Restored:
    """What came back; in a dry run, what would."""

    wanted: int = 0
    """Files of the manifests that the globs take, wherever they are by now."""
    first_other: bytes = b""
    """The first one that no glob takes; empty if there is none."""
    files: int = 0
    """Items: files, and directories that went as one."""
    whole: int = 0
    """Directories among them."""
    only_whole: int = 0
    """Directories that hold what may have been asked for, and come back only as a whole."""
    allocated: int = 0
    """Bytes on disk."""
    conflicts: int = 0
    directories: int = 0
    """Directories that were gone."""
    damaged: int = 0
    """Lines of manifests that could not be read."""
    examples: list[str] = dataclasses.field(default_factory=list)
    """A sentence for each of the first conflicts."""


class Restoration:
    """Puts back what is in quarantines, as far as it is wanted."""

    def __init__(
        self, root: VolumeRoot, wanted: Wanted, tally: Tally, audit: Audit, stop: Stop, *, dry_run: bool
    ) -> None:
        """Errors are counted in `tally`."""
        self.done = Restored()
        self._root = root
        self._wanted = wanted
        self._tally = tally
        self._audit = audit
        self._stop = stop
        self._dry_run = dry_run
        self._missing: set[bytes] = set()
        """In a dry run: directories that would be made."""

    def restore(self, above: int, found: Quarantine) -> None:
        """Put back the files of one quarantine, which is removed when nothing is left in it. Raises `AuditLost`."""
        self._audit.event("restore", quarantine=shown(found.name), of=found.header.run)
        reading = Reading(found.manifest)
        with contextlib.ExitStack() as stack:
            batch, batch_fd = b"", -1
            for item in reading:
                if self._stop.reason is not None or self._tally.stopped_by_fault:
                    break
                if not (taken := self._takes(item)) and not (item.is_directory and self._wanted.reaches(item.path)):
                    self.done.first_other = self.done.first_other or item.path
                    continue
                self.done.wanted += 1
                if item.place[0] != batch:
                    stack.close()
                    batch, batch_fd = item.place[0], self._open_batch(stack, found, item.place[0])
                if batch_fd >= 0:
                    self._restore(found, batch_fd, item, reading.parents, taken=taken)
        self.done.damaged += reading.damaged
        if not self._dry_run:
            try:
                remove_if_empty(above, found.name, found.fd)
            except OSError as error:
                self._count(error, path_of(found.name))
        self._audit.flush()

    def _takes(self, item: Item) -> bool:
        """Whether an item is wanted. A directory is, too, if everything in it is."""
        return self._wanted.takes(item.path) or (item.is_directory and self._wanted.takes_all_in(item.path))

    def _open_batch(self, stack: contextlib.ExitStack, found: Quarantine, name: bytes) -> int:
        try:
            fd = os.open(name, OPEN_DIRECTORY, dir_fd=found.fd)
        except FileNotFoundError:
            return -1  # nothing of it was moved, or all of it is back
        except OSError as error:
            self._count(error, path_of(found.name) + b"/" + name)
            return -1
        stack.callback(os.close, fd)
        return fd

    def _restore(
        self, found: Quarantine, batch: int, item: Item, parents: Mapping[bytes, Parent], *, taken: bool
    ) -> None:
        """Put one item back. One that is not `taken` is a directory of which some files may be wanted."""
        number = item.place[1]
        try:
            stat = os.stat(number, dir_fd=batch, follow_symlinks=False)
        except FileNotFoundError:
            return  # it was not moved, or is back
        except OSError as error:
            self._count(error, item.path)
            return
        if not taken:
            self.done.only_whole += 1
            return
        directory, _, name = item.path.rpartition(b"/")
        try:
            with self._parent(directory, parents) as at:
                free = at < 0 or _is_free(at, name, stat)
                back = free and (self._dry_run or _put_back(batch, number, at, name, stat))
        except OSError as error:
            if error.errno in _NO_DIRECTORY:
                self._conflict(item.path, f"{shown(directory)} is no directory any more")
            else:
                self._count(error, item.path)
            return
        if not back:
            self._conflict(item.path, "something else is there now")
            return
        self.done.files += 1
        self.done.whole += item.is_directory
        size, allocated = (item.size, item.allocated) if item.is_directory else (stat.st_size, stat.st_blocks * 512)
        self.done.allocated += allocated
        if self._audit.on:
            event = "wouldRestore" if self._dry_run else "restored"
            place = b"/".join((found.name, *item.place)).decode()
            self._tell(event, item.path, f'"place":"{place}","inode":{stat.st_ino},"size":{size}')

    @contextlib.contextmanager
    def _parent(self, path: bytes, parents: Mapping[bytes, Parent]) -> Iterator[int]:
        """The directory that a file goes back to, made again if it is gone; -1 in a dry run that would make it."""
        try:
            opened = contextlib.ExitStack()
            at = opened.enter_context(self._root.directory(path, for_reading=False))
        except FileNotFoundError:
            if self._dry_run:
                self._count_missing(path)
                yield -1
                return
            self._make(path, parents)
            opened = contextlib.ExitStack()
            at = opened.enter_context(self._root.directory(path, for_reading=False))
        with opened:
            yield at

    def _make(self, path: bytes, parents: Mapping[bytes, Parent]) -> None:
        """Make a directory and those above it again, as they were where that is permitted."""
        components = path.split(b"/")
        for length in range(1, len(components) + 1):
            above, one = b"/".join(components[: length - 1]), b"/".join(components[:length])
            with self._root.directory(above, for_reading=False) as at:
                try:
                    os.mkdir(components[length - 1], 0o700, dir_fd=at)
                except FileExistsError:
                    continue
            self.done.directories += 1
            if (parent := parents.get(one)) is not None:
                with self._root.directory(one, for_reading=True) as fd:
                    # Owner and group each by itself: a worker may give a directory to its own groups at most.
                    for owner in ((parent.uid, -1), (-1, parent.gid)):
                        with contextlib.suppress(PermissionError):
                            os.chown(fd, *owner)
                    os.fchmod(fd, parent.mode)

    def _count_missing(self, path: bytes) -> None:
        components = path.split(b"/")
        for length in range(len(components), 0, -1):
            one = b"/".join(components[:length])
            if one in self._missing or self._root.owner(one) is not None:
                return
            self._missing.add(one)
            self.done.directories += 1

    def _tell(self, event: str, path: bytes, members: str) -> None:
        self._audit.files(
            f'{{"ts":"{self._audit.stamp}","event":"{event}",{path_member(path)},{members}}}\n', {event: 1}
        )

    def _conflict(self, path: bytes, why: str) -> None:
        self.done.conflicts += 1
        if len(self.done.examples) < MAX_CONFLICTS:
            sentence = f"{shown(path)}: {why}; it stays in quarantine: move that away and restore again"
            self.done.examples.append(sentence[:256])
        if self._audit.on:
            self._tell("skipped", path, '"skipped":"conflict"')

    def _count(self, error: OSError, path: bytes) -> None:
        tally, directory = self._tally, path.rpartition(b"/")[0]
        fault = Fault.UNMOVABLE if isinstance(error, Unmovable) else classify_removal(error, self._root.fd, directory)
        if fault in HARMLESS:
            fault = Fault.OTHER  # to a clean-up; here it is what a person asked for and does not get
        if self._audit.on:
            self._tell("skipped", path, f'"skipped":"{fault}"')
        if tally.wants_error(fault):
            if fault is Fault.UNMOVABLE:
                tally.add_error(f"{shown(path)}: {error.strerror}")
            else:
                tally.add_error(explain(fault, error, self._root, path, directory))
        if fault is Fault.READ_ONLY:
            tally.stopped_by_fault = "the volume is mounted read-only, or its file system went read-only"
        elif tally.faults[Fault.IO] >= MAX_IO_ERRORS:
            tally.stopped_by_fault = f"{MAX_IO_ERRORS} I/O errors, the last at {shown(path)}: the disk may fail"


def _is_free(directory: int, name: bytes, stat: os.stat_result) -> bool:
    """Whether an item could go to `name`, or is there already."""
    try:
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return True
    return (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)


def _put_back(batch: int, number: bytes, directory: int, name: bytes, stat: os.stat_result) -> bool:
    """Put one item back. Returns False if something else is there. Raises OSError; then it is still in quarantine.

    A worker that is killed between link and unlink leaves the file at both places, which the next one finds out.
    """
    if modes.S_ISDIR(stat.st_mode):
        return _put_directory_back(batch, number, directory, name)
    try:
        os.link(number, name, src_dir_fd=batch, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        if not _is_free(directory, name, stat):
            return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _rename_back(batch, number, directory, name)
    os.unlink(number, dir_fd=batch)
    return True


def _put_directory_back(batch: int, number: bytes, directory: int, name: bytes) -> bool:
    """The same for a directory, which has one name at any moment."""
    try:
        rename_directory(batch, number, directory, name)
    except OSError as error:
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
            raise
        return False
    return True


def _rename_back(batch: int, number: bytes, directory: int, name: bytes) -> bool:
    """The same where links cannot be had: another user's file (fs.protected_hardlinks), or a file system without."""
    try:
        rename_no_replace(batch, number, directory, name)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_RENAME:
            raise
        why = "this file system can neither link it nor rename it without the danger of overwriting: move it by hand"
        raise Unmovable(error.errno, why) from error
    return True
