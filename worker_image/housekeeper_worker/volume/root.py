"""The root of a volume, opened once; everything below it is opened relative to its descriptor, and never leaves it.

openat2 with RESOLVE_BENEATH, NO_SYMLINKS, NO_MAGICLINKS and NO_XDEV holds that in the kernel. Where it is missing
(older seccomp profiles answer ENOSYS or EPERM) directories are opened one component at a time with O_NOFOLLOW, and the
mount of each is compared with the root's, which bind mounts of one file system do not pass either. Where that cannot
be had, nothing runs: there is no weaker walk.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Literal, Self

from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.volume.ownership import unreadable
from housekeeper_worker.volume.syscalls import (
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    openat2,
    statx,
)

Method = Literal["openat2", "one component at a time"]

OWN_DIRECTORY: Final = b".housekeeper"
"""At the root of a volume: ours. No rule, count or check sees it."""

_DIRECTORY: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | _DIRECTORY
_PATH: Final = os.O_PATH | _DIRECTORY
_RESOLVE: Final = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
_UNSUPPORTED: Final = {errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG}

_PIECE: Final = 4000
"""Longest path for one call, in bytes; the kernel's limit is 4095. Deeper directories are reached in several."""


class VolumeRoot:
    """An open volume. `method` says how directories below it are opened. Use it in a `with` statement."""

    def __init__(self, path: str, fd: int, method: Method, mount_id: int | None) -> None:
        self.path = path
        self.fd = fd
        self.method: Method = method
        self.device = os.fstat(fd).st_dev
        self.exclusive = False
        """Whether this worker has the root for itself, to remove."""
        self._mount_id = mount_id
        self._anchor_path = b""
        self._anchor: int | None = None

    @classmethod
    def open(cls, path: str, *, prefer_fallback: bool = False) -> Self:
        """Open `path`, which may itself be a symbolic link: it is the user's word for where the volume is.

        `prefer_fallback` opens one component at a time even where the kernel has openat2. Raises `CouldNotRun`.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise CouldNotRun(f"{path} does not exist: check where the volume is mounted, or --root") from None
        except NotADirectoryError:
            raise CouldNotRun(f"{path} is not a directory: a volume's root must be one") from None
        except PermissionError:
            raise CouldNotRun(unreadable(path, _stat_or_none(path))) from None
        except OSError as error:
            raise CouldNotRun(f"{path} cannot be opened: {error.strerror}") from error
        try:
            method, mount_id = _probe(fd, path, prefer_fallback=prefer_fallback)
            return cls(path, fd, method, mount_id)
        except BaseException:
            os.close(fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop_anchor()
        os.close(self.fd)

    @contextlib.contextmanager
    def directory(self, path: bytes, *, for_reading: bool, on_walk: bool = False) -> Iterator[int]:
        """A descriptor of the directory `path` (relative to the root, empty for the root), closed afterwards.

        `on_walk`: it may be opened from the one that the walk had opened before it, so that a walk into the depth costs
        one step a level. That one may have been moved since, out of the volume even. Whoever looks may be led astray by
        that; whoever changes something never says so, and comes from the root each time.

        Raises OSError: EXDEV where a mount begins, ELOOP or ENOTDIR where something else stands now, ENOENT, EACCES.
        """
        flags = _READ if for_reading else _PATH
        fd = self._open_on_walk(path, flags) if on_walk else self._open(path, flags)
        try:
            self._must_be_same_device(fd, path)
            yield fd
        finally:
            os.close(fd)

    def open_below(self, start: int, path: bytes) -> int:
        """A descriptor, to be closed, of the directory `path` below the open directory `start`; to be read.

        Raises OSError as `directory` does. `start` may have been renamed since it was opened.
        """
        fd = self._open_below(start, path, _READ)
        try:
            self._must_be_same_device(fd, path)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _must_be_same_device(self, fd: int, path: bytes) -> None:
        if os.fstat(fd).st_dev != self.device:
            # A btrfs subvolume: another file system as far as a user can tell, though no mount lies between.
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)

    def owner(self, path: bytes) -> os.stat_result | None:
        """Owner and mode of the directory `path`, to explain an error; None where not even that can be told."""
        try:
            fd = self._open(path, _PATH)
        except OSError:
            return None
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def _open(self, path: bytes, flags: int) -> int:
        return self._open_below(self.fd, path or b".", flags)

    def _open_on_walk(self, path: bytes, flags: int) -> int:
        if not path:
            return self._open(path, flags)
        if self._anchor is not None and path.startswith(self._anchor_path + b"/"):
            fd = self._open_below(self._anchor, path[len(self._anchor_path) + 1 :], flags)
        else:
            fd = self._open(path, flags)
        self._drop_anchor()
        self._anchor_path, self._anchor = path, os.dup(fd)
        return fd

    def _drop_anchor(self) -> None:
        if self._anchor is not None:
            os.close(self._anchor)
            self._anchor = None

    def _open_below(self, start: int, path: bytes, flags: int) -> int:
        pieces = _pieces(path) if self.method == "openat2" else path.split(b"/")
        fd = start
        try:
            for piece in pieces[:-1]:
                fd = self._replace(fd, start, self._step(fd, piece, _PATH))
            return self._step(fd, pieces[-1], flags)
        finally:
            if fd != start:
                os.close(fd)

    @staticmethod
    def _replace(fd: int, start: int, following: int) -> int:
        if fd != start:
            os.close(fd)
        return following

    def _step(self, fd: int, piece: bytes, flags: int) -> int:
        if self.method == "openat2":
            return openat2(fd, piece, flags, _RESOLVE)
        following = os.open(piece, flags, dir_fd=fd)
        try:
            self._must_be_same_mount(following, piece)
        except BaseException:
            os.close(following)
            raise
        return following

    def _must_be_same_mount(self, fd: int, piece: bytes) -> None:
        if statx(fd).mount_id != self._mount_id:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), piece)

    def is_mount(self, directory: int, name: bytes) -> bool:
        """Whether `name`, no directory, is a mount of its own, such as a file bound over another."""
        try:
            if self.method == "openat2":
                os.close(openat2(directory, name, os.O_PATH | os.O_NOFOLLOW, _RESOLVE))
                return False
            return statx(directory, name).mount_id != self._mount_id
        except OSError as error:
            return error.errno == errno.EXDEV


def _probe(fd: int, path: str, *, prefer_fallback: bool) -> tuple[Method, int | None]:
    if not prefer_fallback:
        try:
            os.close(openat2(fd, b".", _READ, _RESOLVE))
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise CouldNotRun(f"{path} cannot be read: {error.strerror}") from error
        else:
            return "openat2", None
    try:
        mount_id = statx(fd).mount_id
    except OSError:
        mount_id = None
    if mount_id is None:
        raise CouldNotRun(
            "neither openat2 (Linux 5.6) nor statx with mount ids (Linux 5.8) is allowed here, so mounts and links "
            "could not be told from the volume: use a newer kernel or the runtime's default seccomp profile"
        )
    return "one component at a time", mount_id


def _pieces(path: bytes) -> list[bytes]:
    """`path` cut at slashes into pieces that one call takes."""
    if len(path) <= _PIECE:
        return [path]
    pieces, start = [], 0
    while len(path) - start > _PIECE:
        end = path.rindex(b"/", start, start + _PIECE)
        pieces.append(path[start:end])
        start = end + 1
    return [*pieces, path[start:]]


def _stat_or_none(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
