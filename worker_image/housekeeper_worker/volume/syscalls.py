"""System calls that Python 3.11 does not offer: openat2(2), statx(2), renameat2(2), syncfs(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Final, NamedTuple

_SYS_OPENAT2: Final = 437  # one number on every architecture that Linux supports, but alpha
_RENAME_NOREPLACE: Final = 0x1

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08

_AT_SYMLINK_NOFOLLOW: Final = 0x100
_AT_EMPTY_PATH: Final = 0x1000
_STATX_BASIC_STATS: Final = 0x7FF
_STATX_MNT_ID: Final = 0x1000
_STATX_BTIME: Final = 0x800
_ATTRIBUTE_IMMUTABLE: Final = 0x10
_ATTRIBUTE_APPEND: Final = 0x20

_EAGAIN_TRIES: Final = 16
_HAS_NO_RENAMEAT2: Final = {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP}

_libc = ctypes.CDLL(None, use_errno=True)
_statx = getattr(_libc, "statx", None)
_renameat2 = getattr(_libc, "renameat2", None)
_statx_buffer = ctypes.create_string_buffer(256)


def openat2(directory: int, path: bytes, flags: int, resolve: int) -> int:
    """Open `path` relative to the descriptor `directory`. Returns a descriptor that is not inherited.

    Raises OSError: ENOSYS or EPERM where the kernel or a seccomp profile does not have it, EXDEV at a mount or above
    the start, ELOOP at a symbolic link.
    """
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, resolve)
    for _ in range(_EAGAIN_TRIES):
        result: int = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(directory),
            ctypes.c_char_p(path),
            ctypes.c_char_p(how),
            ctypes.c_size_t(len(how)),
        )
        if result >= 0:
            return result
        number = ctypes.get_errno()
        # EAGAIN: a rename or mount elsewhere raced with the look-up, and the kernel could not tell that it stayed
        # beneath. EINTR: the handler has run when Python gets here.
        if number not in {errno.EAGAIN, errno.EINTR}:
            break
    raise OSError(number, os.strerror(number), path)


class Extended(NamedTuple):
    """What statx tells beyond stat."""

    mount_id: int | None
    """Number of the mount; None where the kernel (before 5.8) does not tell it."""
    immutable: bool
    append_only: bool


def statx(directory: int, path: bytes = b"") -> Extended:
    """Mount and attributes of `path` below `directory`, or of the descriptor itself. Links are not followed.

    Raises OSError; ENOSYS where the C library has no statx.
    """
    if _statx is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    flags = _AT_SYMLINK_NOFOLLOW | (0 if path else _AT_EMPTY_PATH)
    if _statx(directory, path, flags, _STATX_BASIC_STATS | _STATX_MNT_ID, _statx_buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    raw = _statx_buffer.raw
    mask, _block_size, attributes = struct.unpack_from("=IIQ", raw, 0)
    (mount_id,) = struct.unpack_from("=Q", raw, 144)
    return Extended(
        mount_id=mount_id if mask & _STATX_MNT_ID else None,
        immutable=bool(attributes & _ATTRIBUTE_IMMUTABLE),
        append_only=bool(attributes & _ATTRIBUTE_APPEND),
    )


def birth_time(directory: int, path: bytes) -> int | None:
    """When the file `path` below `directory` was made, ns; None where the file system does not tell. Links are not
    followed. Raises OSError; ENOSYS where the C library has no statx."""
    if _statx is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if _statx(directory, path, _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, _statx_buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    (mask,) = struct.unpack_from("=I", _statx_buffer, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", _statx_buffer, 80)
    return int(seconds * 1_000_000_000 + nanoseconds) if mask & _STATX_BTIME else None


def syncfs(fd: int) -> None:
    """Write out the file system of `fd`. Raises OSError."""
    if _libc.syncfs(ctypes.c_int(fd)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def rename_no_replace(source: int, name: bytes, target: int, new_name: bytes) -> None:
    """Rename `name` in the directory `source` to `new_name` in `target`, if nothing of that name is there.

    Raises OSError: EEXIST where something is; ENOSYS, EPERM or EINVAL where the kernel, a seccomp profile or the file
    system does not have it.
    """
    if _renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), name)
    if _renameat2(source, name, target, new_name, _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def rename_directory(source: int, name: bytes, target: int, new_name: bytes) -> None:
    """The same for a directory, also where renameat2 is not to be had.

    A directory replaces nothing but an empty directory, and in that there is nothing to lose; with renameat2 not even
    that. Raises OSError: EEXIST or ENOTEMPTY where something is, ENOTDIR where `name` is no directory, or what is there
    is none.
    """
    # The slash lets the kernel refuse anything else that was exchanged for it, and that would replace a file.
    name += b"/"
    try:
        rename_no_replace(source, name, target, new_name)
    except OSError as error:
        if error.errno not in _HAS_NO_RENAMEAT2:
            raise
        os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
