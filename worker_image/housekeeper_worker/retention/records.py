"""Files of one directory as columns of numbers, and as the bytes that a plan keeps of them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from typing import Final

COLUMNS: Final = {
    "inode": "Q",
    "device": "Q",
    "size": "q",
    "allocated": "q",
    "modified": "q",
    "changed": "q",
    "born": "q",
    "time": "q",
    "links": "I",
    "cause": "I",
}
"""Name and type of each column, in the order of `to_bytes`."""
RECORD_BYTES: Final = sum(array(code).itemsize for code in COLUMNS.values())
_MANY_LEFT_OUT: Final = 32
"""One in so many left out is many: fewer are taken out of copies one by one."""
_PIECE: Final = 16 * 1024
"""Bytes of names at a time."""


class Records:
    """Files of one directory. The columns and `names` are parallel."""

    __slots__ = ("names", *COLUMNS)

    inode: array[int]
    device: array[int]
    """As st_dev has it."""
    size: array[int]
    allocated: array[int]
    """Bytes on disk."""
    modified: array[int]
    """mtime, ns."""
    changed: array[int]
    """ctime, ns."""
    born: array[int]
    """Birth time, ns; 0: not known."""
    time: array[int]
    """What its rule holds to be its time, ns; 0 where that is the modification time."""
    links: array[int]
    cause: array[int]
    """Number of the cause in the plan."""

    def __init__(self) -> None:
        self.names: list[bytes] = []
        for name, code in COLUMNS.items():
            setattr(self, name, array(code))

    def __len__(self) -> int:
        return len(self.names)

    def extend(self, names: Iterable[bytes], **columns: Iterable[int]) -> None:
        """Add files. What is not given of the columns is 0."""
        first = len(self.names)
        self.names.extend(names)
        count = len(self.names) - first
        for name in COLUMNS:
            column: array[int] = getattr(self, name)
            given = columns.get(name)
            if given is None:
                column.frombytes(bytes(count * column.itemsize))
            else:
                column.extend(given)

    def add(self, others: Records) -> None:
        """Add other files of the same directory."""
        self.names.extend(others.names)
        for name in COLUMNS:
            getattr(self, name).extend(getattr(others, name))

    def compressed(self, marks: Sequence[int]) -> Records:
        """Those that are marked."""
        marks = bytes(marks)
        if marks.count(0) <= len(marks) // _MANY_LEFT_OUT:
            found = self.part(0, len(self))
            place = marks.rfind(0)
            while place >= 0:
                del found.names[place]
                for name in COLUMNS:
                    del getattr(found, name)[place]
                place = marks.rfind(0, 0, place)
            return found
        found = Records()
        found.names = list(compress(self.names, marks))
        for name in COLUMNS:
            getattr(found, name).extend(compress(getattr(self, name), marks))
        return found

    def part(self, begin: int, end: int) -> Records:
        """Those from `begin` up to `end`."""
        found = Records()
        found.names = self.names[begin:end]
        for name in COLUMNS:
            setattr(found, name, getattr(self, name)[begin:end])
        return found

    def by_name(self) -> Records:
        """The same in order of name bytes."""
        if sorted(self.names) == self.names:
            return self
        return self.picked(sorted(range(len(self.names)), key=self.names.__getitem__))

    def by_inode(self) -> Records:
        """The same in order of inodes, which is their order on a disk."""
        inodes = self.inode.tolist()
        if sorted(inodes) == inodes:
            return self
        return self.picked(sorted(range(len(self.names)), key=self.inode.__getitem__))

    def picked(self, order: Sequence[int]) -> Records:
        """Those at some places, in that order."""
        found = Records()
        found.names = [self.names[place] for place in order]
        for name in COLUMNS:
            getattr(found, name).extend(map(getattr(self, name).__getitem__, order))
        return found

    def to_bytes(self) -> bytes:
        """The names joined by NUL and the columns, for `from_bytes`."""
        return b"".join((b"\0".join(self.names), *(getattr(self, name).tobytes() for name in COLUMNS)))

    @classmethod
    def pieces(cls, read: Callable[[int, int], bytes], size: int, count: int) -> Iterator[Records]:
        """What `to_bytes` made of `count` files, some at a time. `read` gives bytes of the whole `size`."""
        names_end = size - count * RECORD_BYTES
        position = first = 0
        rest = b""
        while first < count:
            data = rest + read(position, min(_PIECE, names_end - position))
            position = min(position + _PIECE, names_end)
            names = data.split(b"\0")
            rest = names.pop() if position < names_end else b""
            if names:
                yield cls._piece(read, names_end, names, first, count)
                first += len(names)

    @classmethod
    def _piece(
        cls, read: Callable[[int, int], bytes], start: int, names: list[bytes], first: int, count: int
    ) -> Records:
        found = cls()
        found.names = names
        for name in COLUMNS:
            column: array[int] = getattr(found, name)
            width = column.itemsize
            column.frombytes(read(start + first * width, len(names) * width))
            start += count * width
        return found

    @classmethod
    def from_bytes(cls, data: bytes, count: int) -> Records:
        """What `to_bytes` made of `count` files, at least one."""
        found = cls()
        end = len(data) - count * RECORD_BYTES
        found.names = data[:end].split(b"\0")
        for name in COLUMNS:
            column: array[int] = getattr(found, name)
            begin, end = end, end + count * column.itemsize
            column.frombytes(data[begin:end])
        return found
