"""Moving files and whole directories into quarantine: first the manifest, synced, then one rename each."""

from __future__ import annotations

import contextlib
import errno
import itertools
import operator
import os
import time
from collections.abc import Sequence
from typing import Final, Self

from housekeeper_worker.logs import timestamp
from housekeeper_worker.quarantine import manifest
from housekeeper_worker.quarantine.manifest import Header
from housekeeper_worker.quarantine.place import DIRECTORY, OPEN_DIRECTORY, new_name
from housekeeper_worker.volume.acts import Going, Unmovable
from housekeeper_worker.volume.own import own_directory
from housekeeper_worker.volume.root import VolumeRoot
from housekeeper_worker.volume.syscalls import rename_directory, rename_no_replace

_HAS_NOT: Final = {errno.ENOSYS, errno.EINVAL, errno.EPERM}
_OF_THE_FILE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
"""Of preparing: what is told as it would be of the file itself."""
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_SECOND: Final = 1_000_000_000

_directory = operator.attrgetter("directory")


class Moving:
    """The act of rules with `action: Quarantine`. Use it in a `with` statement. Nothing is made before it is needed.

    Nothing in quarantine can be overwritten: each batch goes into a directory that was just made, in which each number
    is used once; where the kernel can, it refuses besides.
    """

    def __init__(
        self,
        root: VolumeRoot,
        rules: frozenset[int],
        header: Header,
        now_ns: int,
    ) -> None:
        """`rules`: numbers of the rules that it is the act of."""
        self.rules = rules
        self.name = new_name(header.run, header.attempt)
        """Of the quarantine in `.housekeeper/quarantine`."""
        self._root = root
        self._header = header
        self._now = now_ns
        self._stack = contextlib.ExitStack()
        self._directory = self._manifest = self._batch_fd = -1
        self._batch = -1
        self._places: dict[tuple[bytes, bytes], bytes] = {}
        """Of the batch at hand: the number of each file, by directory and name."""
        self._failure: OSError | None = None
        """Why the batch at hand cannot be moved."""
        self._last_batch_ns = 0
        self._no_replace = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_batch()
        self._stack.close()

    @property
    def restorable_until(self) -> str:
        """RFC 3339, whole seconds: until when what was moved is kept."""
        until = self._last_batch_ns + int(self._header.keep_seconds * _SECOND)
        return timestamp(until)[:19] + "Z"

    def prepare(self, files: Sequence[Going]) -> None:
        """Write the manifest of a batch that is to be moved, and make the directory for it."""
        self._close_batch()
        self._places, self._failure = {}, None
        if not files:
            return
        try:
            if self._manifest < 0:
                self._begin()
            places = self._write(files)
            name = b"%d" % self._batch
            os.mkdir(name, 0o700, dir_fd=self._directory)
            self._batch_fd = os.open(name, OPEN_DIRECTORY, dir_fd=self._directory)
            self._places = places
        except OSError as error:
            self._failure = error if error.errno in _OF_THE_FILE else _unmovable(error)

    def _begin(self) -> None:
        """Make the quarantine and its manifest, for good: nothing is moved before both would outlast a power cut."""
        with contextlib.ExitStack() as stack:
            above = stack.enter_context(own_directory(self._root, DIRECTORY, create=True))
            with contextlib.suppress(FileExistsError):  # made by an earlier batch, whose manifest could not be written
                os.mkdir(self.name, 0o700, dir_fd=above)
            directory = os.open(self.name, OPEN_DIRECTORY, dir_fd=above)
            stack.callback(os.close, directory)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(manifest.NAME, dir_fd=directory)
            lines = os.open(manifest.NAME, _WRITE, 0o600, dir_fd=directory)
            stack.callback(os.close, lines)
            _write_all(lines, manifest.header_line(self._header))
            for fd in (lines, directory, above):
                os.fsync(fd)
            self._stack = stack.pop_all()
        self._directory, self._manifest = directory, lines

    def _write(self, files: Sequence[Going]) -> dict[tuple[bytes, bytes], bytes]:
        """Write down and sync a batch. Returns the place of each file. Raises OSError, with the manifest as before."""
        self._batch += 1
        self._last_batch_ns = max(self._now, time.time_ns())
        places: dict[tuple[bytes, bytes], bytes] = {}
        lines = [manifest.batch_line(self._batch, self._last_batch_ns)]
        told: set[bytes] = set()
        for directory, several in itertools.groupby(files, key=_directory):
            if not self._tell_parents(directory, told, lines):
                continue
            prefix = directory + b"/" if directory else b""
            for _, name, members in several:
                number = len(places)
                places[directory, name] = b"%d" % number
                lines.append(manifest.item_line(self._batch, number, prefix + name, members))
        before = os.fstat(self._manifest).st_size
        try:
            _write_all(self._manifest, "".join(lines).encode())
            os.fsync(self._manifest)
        except OSError:
            # Nothing of it was moved. Half a line in the middle would be damage.
            os.ftruncate(self._manifest, before)
            raise
        return places

    def _tell_parents(self, directory: bytes, told: set[bytes], lines: list[str]) -> bool:
        """Add what a directory and those above it are like. Returns whether the directory is still there."""
        components = directory.split(b"/") if directory else []
        for length in range(1, len(components) + 1):
            path = b"/".join(components[:length])
            if path in told:
                continue
            owner = self._root.owner(path)
            if owner is None:
                return False
            told.add(path)
            lines.append(manifest.parent_line(path, owner))
        return True

    def take(self, at: int, directory: bytes, name: bytes, stat: os.stat_result) -> None:
        """Move one file. Raises OSError; what was exchanged in the last moment is moved back."""
        number = self._place_of(directory, name)
        try:
            self._rename(at, name, self._batch_fd, number)
        except OSError as error:
            raise _unmovable(error) if error.errno == errno.EXDEV else error from None
        moved = os.stat(number, dir_fd=self._batch_fd, follow_symlinks=False)
        if (moved.st_ino, moved.st_size, moved.st_mtime_ns) != (stat.st_ino, stat.st_size, stat.st_mtime_ns):
            if _is_copy(moved, stat):
                return
            self._rename(self._batch_fd, number, at, name, keep=True)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    def _place_of(self, directory: bytes, name: bytes) -> bytes:
        number = self._places.get((directory, name))
        if number is None:
            # Its directory was gone or closed when the batch was written down.
            raise self._failure or OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return number

    def take_directory(self, at: int, directory: bytes, name: bytes, inode: int) -> None:
        """Move one directory with all that is in it. Raises OSError, as `take`."""
        number = self._place_of(directory, name)
        try:
            rename_directory(at, name, self._batch_fd, number)
        except OSError as error:
            raise _unmovable(error) if error.errno == errno.EXDEV else error from None
        if os.stat(number, dir_fd=self._batch_fd, follow_symlinks=False).st_ino != inode:
            rename_directory(self._batch_fd, number, at, name)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    def bring_back(self, at: int, directory: bytes, name: bytes) -> None:
        """Move a directory back that was just moved. Raises OSError; then it is in quarantine, as its line says."""
        rename_directory(self._batch_fd, self._place_of(directory, name), at, name)

    def _rename(self, source: int, name: bytes, target: int, new_name: bytes, *, keep: bool = False) -> None:
        """`keep`: never without the kernel's own refusal to overwrite."""
        if self._no_replace or keep:
            try:
                rename_no_replace(source, name, target, new_name)
            except OSError as error:
                if error.errno not in _HAS_NOT or keep:
                    raise
                # EPERM may be the file's own; then it comes again.
                self._no_replace = error.errno == errno.EPERM
            else:
                return
        os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)

    def _close_batch(self) -> None:
        if self._batch_fd >= 0:
            os.close(self._batch_fd)
            self._batch_fd = -1


def _is_copy(moved: os.stat_result, stat: os.stat_result) -> bool:
    """Whether only the inode changed: an overlay copies a file up when it is renamed."""
    return (moved.st_size, moved.st_mtime_ns, moved.st_mode) == (stat.st_size, stat.st_mtime_ns, stat.st_mode)


def _unmovable(error: OSError) -> Unmovable:
    why = error.strerror or os.strerror(error.errno or 0)
    if error.errno == errno.EXDEV:
        why = "the file system does not move it from there (another quota project or subvolume, or a lower layer)"
    return Unmovable(error.errno, why)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
