"""Which file system a volume is: something that stays when it is detached and attached again, on whatever node.

Device numbers do not, and neither does what statfs says on XFS, which is made of them. Where there is no UUID and no id
(NFS, FUSE), the root of the volume stands for it: its inode and the moment it was made.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from typing import Final, Literal, NamedTuple

from housekeeper_worker.volume.syscalls import birth_time

Kind = Literal["uuid", "fsid", "root", "none"]

_BTRFS: Final = 0x9123683E
_XFS: Final = 0x58465342
_FS_IOC_GETFSUUID: Final = 0x80111500
"""Linux 6.9; 17 bytes: the length, and the UUID."""
_EXT4_IOC_GETFSUUID: Final = 0x8008662C
"""Linux 6.0, ext4; length and flags, and the UUID."""
_XFS_IOC_FSGEOMETRY_V1: Final = 0x80705864
"""112 bytes, of which the UUID begins at 64."""

_libc = ctypes.CDLL(None, use_errno=True)


class FileSystem(NamedTuple):
    """What a file system is known by. `kind` says what the value is."""

    kind: Kind
    value: str
    """Hexadecimal, for `root` two numbers; empty for `none`."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


def file_system_of(fd: int) -> FileSystem:
    """Of the open root of a volume: its UUID where the kernel gives it, else what statfs says, where that is anything.

    Else the root's own inode and birth time; `none` where that is not known either.
    """
    kind = _type(fd)
    # Subvolumes of a btrfs have one UUID and the same inode numbers; their fsid, made of the UUID, tells them apart.
    uuid = b"" if kind == _BTRFS else _xfs_uuid(fd) if kind == _XFS else _uuid(fd)
    if any(uuid):
        return FileSystem("uuid", uuid.hex())
    number = os.fstatvfs(fd).f_fsid
    if number:
        return FileSystem("fsid", f"{number & 0xFFFFFFFFFFFFFFFF:016x}")
    born = _born(fd)
    return FileSystem("root", f"{os.fstat(fd).st_ino:x}-{born:x}") if born > 0 else FileSystem("none", "")


def _born(fd: int) -> int:
    try:
        return birth_time(fd, b".") or 0
    except OSError:
        return 0


def _type(fd: int) -> int:
    buffer = ctypes.create_string_buffer(256)
    if _libc.fstatfs(fd, buffer) != 0:
        return 0
    return int(struct.unpack_from("=I", buffer)[0])


def _uuid(fd: int) -> bytes:
    # The member for the size is set by the caller of the second, and by the kernel in the first.
    for request, before, begin in ((_FS_IOC_GETFSUUID, bytes(17), 1), (_EXT4_IOC_GETFSUUID, b"\x10" + bytes(23), 8)):
        try:
            answer = fcntl.ioctl(fd, request, before)
        except OSError:
            continue
        if (found := answer[begin : begin + 16]) and any(found):
            return found
    return b""


def _xfs_uuid(fd: int) -> bytes:
    try:
        return fcntl.ioctl(fd, _XFS_IOC_FSGEOMETRY_V1, bytes(112))[64:80]
    except OSError:
        return b""
