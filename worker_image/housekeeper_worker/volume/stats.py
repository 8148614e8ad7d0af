"""Many files' stat in one go: statx(2) into one buffer, and columns of numbers out of it.

A `stat_result` is twenty objects a file, most of which nobody looks at. Here the kernel writes the files of a block
side by side, and a column is a slice of the buffer with a stride. Where statx cannot be had (an old seccomp profile
refuses it), `os.stat` fills the same buffer.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from array import array
from collections.abc import Sequence
from itertools import compress, repeat
from typing import Any, Final

from housekeeper_worker import lanes

BLOCK: Final = 1024
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
# Without giving up the interpreter's lock for each file: nobody else here waits for it, and it costs as much as a call.
_STATX: Final[Any] = getattr(ctypes.PyDLL(None), "statx", None)
_EACH: Final = struct.Struct(f"{_RECORD}s" * BLOCK)
_MOST: Final = (1 << 63) - 1
_MOST_SECONDS: Final = _MOST // _SECOND - 1


def bounded(time: int) -> int:
    """A time in nanoseconds as a column has it.

    Some file systems keep seconds that no 64 bits of nanoseconds can say, and whoever may write a file may set them:
    what lies before the year 1678 or after 2262 becomes the first or the last moment between.
    """
    return max(-_MOST, min(time, _MOST))


class Columns:
    """What is known of some files, a column for each kind of number; in the order in which the files were named."""

    __slots__ = ("_count", "_longs", "_quads", "_shorts")

    def __init__(self, records: bytes | bytearray, count: int) -> None:
        """`records`: `count` of them or more, side by side."""
        view = memoryview(records)
        self._quads, self._longs, self._shorts = view.cast("q"), view.cast("I"), view.cast("H")
        self._count = count

    def _quad(self, place: int, code: str = "q") -> array[int]:
        # A slice with a stride becomes bytes, and these an array, without an object for each number.
        return array(code, self._quads[place : _QUADS * self._count : _QUADS].tobytes())

    def _long(self, place: int) -> array[int]:
        return array("I", self._longs[place : _LONGS * self._count : _LONGS].tobytes())

    def _time(self, name: str) -> array[int]:
        place = _SECONDS[name]
        seconds = self._quad(place, "Q")
        if seconds and max(seconds) > _MOST_SECONDS:  # or below 0, which is large without a sign
            each = zip(self._quad(place), self._long(2 * place + 2), strict=True)
            return array("q", [bounded(second * _SECOND + rest) for second, rest in each])
        # The nanoseconds are the half of their quad that comes first.
        rest = lanes.number(self._quad(place + 1)) >> (32 if sys.byteorder == "big" else 0)
        return lanes.column(lanes.number(seconds) * _SECOND + rest, self._count)

    def inode(self) -> array[int]:
        """Inode numbers."""
        return self._quad(_INODE, "Q")

    def size(self) -> array[int]:
        """Bytes as a reader sees them."""
        return self._quad(_SIZE)

    def allocated(self) -> array[int]:
        """Bytes on disk, so that sparse files count as they are."""
        return lanes.column(lanes.number(self._quad(_BLOCKS)) * _UNIT, self._count)

    def links(self) -> array[int]:
        """Names of the file."""
        return self._long(_LINKS)

    def mode(self) -> list[int]:
        """Type and permission bits."""
        return self._shorts[_MODE : _SHORTS * self._count : _SHORTS].tolist()

    def device(self) -> array[int]:
        """Numbers of the devices, as st_dev has them."""
        raw = self._quad(_DEVICE)
        known = {one: os.makedev(*struct.unpack("=II", struct.pack("=q", one))) for one in set(raw)}
        if len(known) == 1:
            return array("Q", known.values()) * len(raw)
        return array("Q", map(known.__getitem__, raw))

    def modified(self) -> array[int]:
        """mtime, ns."""
        return self._time("modified")

    def changed(self) -> array[int]:
        """ctime, ns."""
        return self._time("changed")

    def accessed(self) -> array[int]:
        """atime, ns."""
        return self._time("accessed")

    def born(self) -> array[int]:
        """Birth time, ns; 0 where the file system does not keep it."""
        return self._time("born")

    def modified_seconds(self) -> list[int]:
        """mtime in whole seconds, rounded down: what most decisions need, and half the price."""
        return self._quad(_SECONDS["modified"]).tolist()

    def changed_seconds(self) -> list[int]:
        """ctime in whole seconds, rounded down."""
        return self._quad(_SECONDS["changed"]).tolist()


class Stats(Columns):
    """The stat of up to `BLOCK` files of one directory."""

    __slots__ = ("_addresses", "_buffer", "_statx")

    def __init__(self, *, statx: bool = True) -> None:
        """`statx`: whether to use it where it works."""
        self._buffer = bytearray(_RECORD * BLOCK)
        super().__init__(self._buffer, 0)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
        self._addresses = [ctypes.c_void_p(start + _RECORD * place) for place in range(BLOCK)]
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

    def marked(self, marks: Sequence[int]) -> Columns:
        """Those of the files that are marked, a mark each. They stay what they are when others are taken."""
        records = b"".join(compress(_EACH.unpack_from(self._buffer), marks))
        return Columns(records, len(records) // _RECORD)
