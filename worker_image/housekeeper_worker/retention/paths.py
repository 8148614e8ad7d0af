"""Many files as few objects: the names of a directory joined, and everything in order of path bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Chunk(NamedTuple):
    """Files of one directory that were looked at together."""

    directory: bytes
    names: bytes
    """Joined by NUL."""
    first: int
    """Index of the first of them in the columns."""
    length: int


def in_path_order(chunks: Sequence[Chunk]) -> Iterator[tuple[bytes, int]]:
    """Path and index of every file, by path bytes, with the names of few directories in memory at a time.

    Directories sorted by their path and a slash come in the order of their contents; a directory's own files wait
    on a stack while those of its sub-directories pass.
    """
    stack: list[_Sorted] = []
    for prefix, group in _by_directory(chunks):
        while stack:
            if prefix.startswith(stack[-1].prefix):
                yield from stack[-1].before(prefix)
                break
            yield from stack.pop().rest()
        stack.append(_Sorted(prefix, group))
    while stack:
        yield from stack.pop().rest()


def _by_directory(chunks: Sequence[Chunk]) -> Iterator[tuple[bytes, list[Chunk]]]:
    order = sorted(range(len(chunks)), key=lambda number: _prefix(chunks[number].directory))
    group: list[Chunk] = []
    for number in order:
        chunk = chunks[number]
        if group and group[0].directory != chunk.directory:
            yield _prefix(group[0].directory), group
            group = []
        group.append(chunk)
    if group:
        yield _prefix(group[0].directory), group


class _Sorted:
    """Files of one directory by name, given out bit by bit."""

    __slots__ = ("_files", "_next", "prefix")

    def __init__(self, prefix: bytes, chunks: list[Chunk]) -> None:
        self.prefix = prefix
        self._files = [
            (name, chunk.first + offset) for chunk in chunks for offset, name in enumerate(chunk.names.split(b"\0"))
        ]
        self._files.sort()
        self._next = 0

    def before(self, path: bytes) -> Iterator[tuple[bytes, int]]:
        """Files that come before `path`, which begins with this directory's prefix."""
        limit = path[len(self.prefix) :]
        while self._next < len(self._files) and self._files[self._next][0] < limit:
            name, index = self._files[self._next]
            self._next += 1
            yield self.prefix + name, index

    def rest(self) -> Iterator[tuple[bytes, int]]:
        """All files that are left."""
        for name, index in self._files[self._next :]:
            yield self.prefix + name, index


def _prefix(directory: bytes) -> bytes:
    return directory + b"/" if directory else b""
