"""Many files as few objects: the names of a directory joined, and everything in order of path bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Chunk(NamedTuple):
    """Files of one directory that were looked at together."""

    directory: bytes
    names: bytes
    """Joined by NUL."""
    first: int
    """Index of the first of them in the columns."""
    length: int


def prefix(directory: bytes) -> bytes:
    """What the paths of a directory's files begin with: also what directories are ordered by."""
    return directory + b"/" if directory else b""


def join(directory: bytes, name: bytes) -> bytes:
    """The path of a file."""
    return directory + b"/" + name if directory else name


def in_path_order(directories: Iterable[tuple[bytes, Iterable[tuple[bytes, T]]]]) -> Iterator[tuple[bytes, T]]:
    """Path of every file, by path bytes, with whatever comes with it.

    `directories` come in the order of their prefixes, each with its files by name. A directory's own files wait on a
    stack while those of its sub-directories pass.
    """
    stack: list[_Waiting[T]] = []
    for directory, files in directories:
        begin = prefix(directory)
        while stack:
            if begin.startswith(stack[-1].prefix):
                yield from stack[-1].before(begin)
                break
            yield from stack.pop().rest()
        stack.append(_Waiting(begin, files))
    while stack:
        yield from stack.pop().rest()


def indices_by_name(chunks: Sequence[Chunk]) -> Iterator[tuple[bytes, list[tuple[bytes, int]]]]:
    """Chunks for `in_path_order`: each directory with the names and indices of its files."""
    order = sorted(chunks, key=lambda chunk: prefix(chunk.directory))
    for directory, group in groupby(order, key=lambda chunk: chunk.directory):
        files = [
            (name, chunk.first + offset) for chunk in group for offset, name in enumerate(chunk.names.split(b"\0"))
        ]
        files.sort()
        yield directory, files


class _Waiting(Generic[T]):
    """Files of one directory by name, given out bit by bit."""

    __slots__ = ("_files", "_next", "prefix")

    def __init__(self, begin: bytes, files: Iterable[tuple[bytes, T]]) -> None:
        self.prefix = begin
        self._files = iter(files)
        self._next = next(self._files, None)

    def before(self, path: bytes) -> Iterator[tuple[bytes, T]]:
        """Files that come before `path`, which begins with this directory's prefix."""
        limit = path[len(self.prefix) :]
        while self._next is not None and self._next[0] < limit:
            yield self.prefix + self._next[0], self._next[1]
            self._next = next(self._files, None)

    def rest(self) -> Iterator[tuple[bytes, T]]:
        """All files that are left."""
        if self._next is not None:
            yield self.prefix + self._next[0], self._next[1]
        for name, one in self._files:
            yield self.prefix + name, one
