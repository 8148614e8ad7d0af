"""Many files' stat in one go: statx(2) into one buffer, and columns of numbers out of it.

A `stat_result` is twenty objects a file, most of which nobody looks at. Here the kernel writes the files of a block
side by side, and a column is a slice of the buffer with a stride. Where statx cannot be had (an old seccomp profile
refuses it), `os.stat` fills the same buffer.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from itertools import compress, repeat
from typing import Any, Final

BLOCK: Final = 512
"""Files at once: few enough that the buffer stays in a processor's cache."""

_RECORD: Final = 256
"""Bytes of a struct statx."""
_QUADS, _LONGS, _SHORTS = _RECORD // 8, _RECORD // 4, _RECORD // 2
# Places of the members in quads, longs and shorts; the structure is the same on every architecture.
_INODE, _SIZE, _BLOCKS, _DEVICE = 4, 5, 6, 17
_LINKS, _MODE = 4, 14
_SECONDS: Final = {"accessed": 8, "born": 10, "changed": 12, "modified": 14}
_MASK_BORN: Final = 0x800

_WANTED: Final = 0x7FF | _MASK_BORN
_NOFOLLOW: Final = 0x100
_UNIT: Final = 512
"""Bytes of what st_blocks counts, on every file system."""
_SECOND: Final = 1_000_000_000
_STATX: Final[Any] = getattr(ctypes.CDLL(None), "statx", None)

Marks = Sequence[int] | None
"""Which files of a block are asked about, a mark each; None: all."""


class Stats:
    """The stat of up to `BLOCK` files of one directory. Columns are lists in the order of the names."""

    __slots__ = ("_addresses", "_buffer", "_count", "_longs", "_quads", "_shorts", "_statx")

    def __init__(self, *, statx: bool = True) -> None:
        """`statx`: whether to use it where it works."""
        self._buffer = bytearray(_RECORD * BLOCK)
        view = memoryview(self._buffer)
        self._quads, self._longs, self._shorts = view.cast("q"), view.cast("I"), view.cast("H")
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
        self._addresses = [ctypes.c_void_p(start + _RECORD * place) for place in range(BLOCK)]
        self._count = 0
        self._statx = _STATX if statx else None
        if self._statx is not None and self._statx(-1, b"/", _NOFOLLOW, _WANTED, self._addresses[0]) != 0:
            self._statx = None

    def take(self, directory: int, names: Sequence[bytes]) -> dict[int, OSError]:
        """Stat `names`, at most `BLOCK`, in an open directory; links are not followed.

        Returns what could not be had, by place; such places hold nothing that means anything.
        """
        self._count = count = len(names)
        failed: Sequence[int] = range(count)
        if self._statx is not None:
            codes = list(
                map(self._statx, repeat(directory), names, repeat(_NOFOLLOW), repeat(_WANTED), self._addresses)
            )
            if not any(codes):
                return {}
            failed = list(compress(failed, codes))
        errors: dict[int, OSError] = {}
        for place in failed:
            try:
                self._put(place, os.stat(names[place], dir_fd=directory, follow_symlinks=False))
            except OSError as error:
                errors[place] = error
        return errors

    def _put(self, place: int, stat: os.stat_result) -> None:
        begin = place * _RECORD
        self._buffer[begin : begin + _RECORD] = bytes(_RECORD)
        struct.pack_into("=I", self._buffer, begin + 4 * _LINKS, stat.st_nlink)
        struct.pack_into("=H", self._buffer, begin + 2 * _MODE, stat.st_mode)
        struct.pack_into("=QQQ", self._buffer, begin + 8 * _INODE, stat.st_ino, stat.st_size, stat.st_blocks)
        for name, time in (
            ("modified", stat.st_mtime_ns),
            ("changed", stat.st_ctime_ns),
            ("accessed", stat.st_atime_ns),
        ):
            struct.pack_into("=qI", self._buffer, begin + 8 * _SECONDS[name], *divmod(time, _SECOND))
        device = os.major(stat.st_dev), os.minor(stat.st_dev)
        struct.pack_into("=II", self._buffer, begin + 8 * _DEVICE, *device)

    def _quad(self, place: int, marks: Marks = None) -> list[int]:
        return _marked(self._quads[place : _QUADS * self._count : _QUADS].tolist(), marks)

    def _long(self, place: int, marks: Marks = None) -> list[int]:
        return _marked(self._longs[place : _LONGS * self._count : _LONGS].tolist(), marks)

    def _time(self, name: str, marks: Marks) -> list[int]:
        place = _SECONDS[name]
        seconds, nanoseconds = self._quad(place, marks), self._long(2 * place + 2, marks)
        return [second * _SECOND + rest for second, rest in zip(seconds, nanoseconds, strict=True)]

    def inode(self, marks: Marks = None) -> list[int]:
        """Inode numbers."""
        return self._quad(_INODE, marks)

    def size(self, marks: Marks = None) -> list[int]:
        """Bytes as a reader sees them."""
        return self._quad(_SIZE, marks)

    def allocated(self, marks: Marks = None) -> list[int]:
        """Bytes on disk, so that sparse files count as they are."""
        return [blocks * _UNIT for blocks in self._quad(_BLOCKS, marks)]

    def links(self, marks: Marks = None) -> list[int]:
        """Names of the file."""
        return self._long(_LINKS, marks)

    def mode(self) -> list[int]:
        """Type and permission bits."""
        return self._shorts[_MODE : _SHORTS * self._count : _SHORTS].tolist()

    def device(self, marks: Marks = None) -> list[int]:
        """Numbers of the devices, as st_dev has them."""
        raw = self._quad(_DEVICE, marks)
        known = {one: os.makedev(*struct.unpack("=II", struct.pack("=q", one))) for one in set(raw)}
        return [known[one] for one in raw]

    def modified(self, marks: Marks = None) -> list[int]:
        """mtime, ns."""
        return self._time("modified", marks)

    def changed(self, marks: Marks = None) -> list[int]:
        """ctime, ns."""
        return self._time("changed", marks)

    def accessed(self, marks: Marks = None) -> list[int]:
        """atime, ns."""
        return self._time("accessed", marks)

    def born(self, marks: Marks = None) -> list[int]:
        """Birth time, ns; 0 where the file system does not keep it."""
        return self._time("born", marks)

    def modified_seconds(self) -> list[int]:
        """mtime in whole seconds, rounded down: what most decisions need, and half the price."""
        return self._quad(_SECONDS["modified"])

    def changed_seconds(self) -> list[int]:
        """ctime in whole seconds, rounded down."""
        return self._quad(_SECONDS["changed"])


def _marked(column: list[int], marks: Marks) -> list[int]:
    return column if marks is None else list(compress(column, marks))
