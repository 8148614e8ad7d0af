"""Many files' stat in one go: fstatat(2) or statx(2) into one buffer, and columns of numbers out of it.

A `stat_result` is twenty objects a file, most of which nobody looks at. Here the kernel writes the files of a block
side by side, and a column is a slice of the buffer with a stride. fstatat is the cheaper call, and its structure is
another one on each architecture; statx knows birth times, too. Where neither can be had, `os.stat` fills the buffer.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import compress, repeat
from typing import Any, Final, NamedTuple

from housekeeper_worker import lanes

BLOCK: Final = 1024
"""Files at once: few enough that the buffer stays in a processor's cache."""


class Layout(NamedTuple):
    """A structure that the kernel writes, and where the members in it are."""

    size: int
    """Bytes of all of it."""
    inode: int
    """This and the next in units of 8 bytes, as the seconds of times are; nanoseconds follow them."""
    length: int
    blocks: int
    device: int
    links: int
    """In units of 4 bytes."""
    mode: int
    """In units of 2 bytes."""
    seconds: Mapping[str, int]


STATX: Final = Layout(256, 4, 5, 6, 17, 4, 14, {"accessed": 8, "born": 10, "changed": 12, "modified": 14})
"""struct statx, the same everywhere."""
_STAT_SECONDS: Final = {"accessed": 9, "modified": 11, "changed": 13}
STAT: Final = {
    "x86_64": Layout(144, 1, 6, 8, 0, 4, 12, _STAT_SECONDS),
    "aarch64": Layout(128, 1, 6, 8, 0, 5, 8, _STAT_SECONDS),
}
"""struct stat, by the name of the machine."""
_HIGH: Final = 1 if sys.byteorder == "little" else 0
"""Where the higher byte of a short is."""
_IS_STICKY: Final = bytes(bool(high << 8 & stat.S_ISVTX) for high in range(256))

_WANTED: Final = 0xFFF  # all that there is in struct stat, and the birth time
_NOFOLLOW: Final = 0x100
_UNIT: Final = 512
"""Bytes of what st_blocks counts, on every file system."""
_SECOND: Final = 1_000_000_000
# Without giving up the interpreter's lock for each file: nobody else here waits for it, and it costs as much as a call.
_LIBRARY: Final = ctypes.PyDLL(None)
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

    __slots__ = ("_count", "_layout", "_longs", "_quads", "_shorts")

    def __init__(self, records: bytes | bytearray, count: int, layout: Layout) -> None:
        """`records`: `count` of them or more, side by side."""
        view = memoryview(records)
        self._quads, self._longs, self._shorts = view.cast("q"), view.cast("I"), view.cast("H")
        self._count = count
        self._layout = layout

    def _quad(self, place: int, code: str = "q") -> array[int]:
        # A slice with a stride becomes bytes, and these an array, without an object for each number.
        step = self._layout.size // 8
        return array(code, self._quads[place : step * self._count : step].tobytes())

    def _long(self, place: int) -> array[int]:
        step = self._layout.size // 4
        return array("I", self._longs[place : step * self._count : step].tobytes())

    def _time(self, name: str) -> array[int]:
        place = self._layout.seconds[name]
        seconds = self._quad(place, "Q")
        if seconds and max(seconds) > _MOST_SECONDS:  # or below 0, which is large without a sign
            each = zip(self._quad(place), self._long(2 * place + 2), strict=True)
            return array("q", [bounded(second * _SECOND + rest) for second, rest in each])
        # The nanoseconds are the half of their quad that comes first.
        rest = lanes.number(self._quad(place + 1)) >> (32 if sys.byteorder == "big" else 0)
        return lanes.column(lanes.number(seconds) * _SECOND + rest, self._count)

    def inode(self) -> array[int]:
        """Inode numbers."""
        return self._quad(self._layout.inode, "Q")

    def size(self) -> array[int]:
        """Bytes as a reader sees them."""
        return self._quad(self._layout.length)

    def allocated(self) -> array[int]:
        """Bytes on disk, so that sparse files count as they are."""
        return lanes.column(lanes.number(self._quad(self._layout.blocks)) * _UNIT, self._count)

    def links(self) -> array[int]:
        """Names of the file."""
        return self._long(self._layout.links)

    def mode(self) -> list[int]:
        """Type and permission bits."""
        return self._mode().tolist()

    def _mode(self) -> memoryview:
        step = self._layout.size // 2
        return self._shorts[self._layout.mode : step * self._count : step]

    def any_sticky(self) -> bool:
        """Whether the mode of one of them has the sticky bit."""
        return 1 in self._mode().tobytes()[_HIGH::2].translate(_IS_STICKY)

    def device(self) -> array[int]:
        """Numbers of the devices, as st_dev has them."""
        if self._layout is not STATX:
            return self._quad(self._layout.device, "Q")
        raw = self._quad(self._layout.device)
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
        """Birth time, ns; 0 where the file system does not keep it. For a `Stats` that was made to know it."""
        return self._time("born")

    def modified_seconds(self) -> array[int]:
        """mtime in whole seconds, rounded down: what most decisions need, and half the price."""
        return self._quad(self._layout.seconds["modified"])

    def changed_seconds(self) -> array[int]:
        """ctime in whole seconds, rounded down."""
        return self._quad(self._layout.seconds["changed"])


class Stats(Columns):
    """The stat of up to `BLOCK` files of one directory."""

    __slots__ = ("_buffer", "_call", "_each")

    def __init__(self, *, births: bool = False, calls: Collection[str] = ("fstatat", "statx")) -> None:
        """`births`: whether birth times are wanted. `calls`: what may be used where it works."""
        layout = STATX
        self._buffer = bytearray(layout.size * BLOCK)
        self._call: _Call | None = None
        for name, written in _ways(births=births):
            if name in calls and (made := _made(name, written)):
                layout, (self._buffer, self._call) = written, made
                break
        super().__init__(self._buffer, 0, layout)
        self._each = struct.Struct(f"{layout.size}s" * BLOCK)

    def take(self, directory: int, names: Sequence[bytes]) -> dict[int, OSError]:
        """Stat `names`, at most `BLOCK`, in an open directory; links are not followed.

        Returns what could not be had, by place; such places hold nothing that means anything.
        """
        self._count = count = len(names)
        failed: Sequence[int] = range(count)
        if self._call is not None:
            codes = self._call(directory, names)
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

    def _put(self, place: int, found: os.stat_result) -> None:
        layout, buffer = self._layout, self._buffer
        begin = place * layout.size
        buffer[begin : begin + layout.size] = bytes(layout.size)
        for member, number in (
            (layout.inode, found.st_ino),
            (layout.length, found.st_size),
            (layout.blocks, found.st_blocks),
        ):
            struct.pack_into("=Q", buffer, begin + 8 * member, number)
        struct.pack_into("=I", buffer, begin + 4 * layout.links, found.st_nlink)
        struct.pack_into("=H", buffer, begin + 2 * layout.mode, found.st_mode)
        for name, time in (
            ("modified", found.st_mtime_ns),
            ("changed", found.st_ctime_ns),
            ("accessed", found.st_atime_ns),
        ):
            struct.pack_into("=qI", buffer, begin + 8 * layout.seconds[name], *divmod(time, _SECOND))
        if layout is STATX:
            device = os.major(found.st_dev), os.minor(found.st_dev)
            struct.pack_into("=II", buffer, begin + 8 * layout.device, *device)
        else:
            struct.pack_into("=Q", buffer, begin + 8 * layout.device, found.st_dev)

    def marked(self, marks: Sequence[int]) -> Columns:
        """Those of the files that are marked, a mark each. They stay what they are when others are taken."""
        records = b"".join(compress(self._each.unpack_from(self._buffer), marks))
        return Columns(records, len(records) // self._layout.size, self._layout)


_Call = Callable[[int, Sequence[bytes]], list[int]]
"""From a directory and names to a code for each; 0: its stat is in the buffer."""


def _ways(*, births: bool) -> Iterator[tuple[str, Layout]]:
    """Calls, the best first, and what they write."""
    layout = STAT.get(os.uname().machine)
    if layout is not None and not births:
        yield "fstatat", layout
    yield "statx", STATX


def _made(name: str, layout: Layout) -> tuple[bytearray, _Call] | None:
    """A buffer, and a call that fills it; None where there is none, or it is refused, or writes something else."""
    function: Any = getattr(_LIBRARY, name, None)
    if function is None:
        return None
    buffer = bytearray(layout.size * BLOCK)
    whole = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    # What a call takes as it is, where each other kind of pointer is made into this first.
    places = [ctypes.byref(whole, layout.size * place) for place in range(BLOCK)]

    def fstatat(directory: int, names: Sequence[bytes]) -> list[int]:
        return list(map(function, repeat(directory), names, places, repeat(_NOFOLLOW)))

    def statx(directory: int, names: Sequence[bytes]) -> list[int]:
        return list(map(function, repeat(directory), names, repeat(_NOFOLLOW), repeat(_WANTED), places))

    call = fstatat if name == "fstatat" else statx
    if any(call(-1, [b"/"])):
        return None
    columns, known = Columns(buffer, 1, layout), os.stat("/")
    found = columns.inode()[0], columns.device()[0], columns.mode()[0]
    return (buffer, call) if found == (known.st_ino, known.st_dev, known.st_mode) else None
