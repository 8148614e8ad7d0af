"""The plan: every file that is to go, as columns of numbers and joined names, not as an object each.

A million files in a thousand directories take about 85 MiB, most of it names.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

_RECORD: Final = struct.Struct("=BQqqI")
"""Of one file in the digest: rule, inode, mtime in ns, size, length of the path; the path follows."""
_DIGEST_BATCH: Final = 4096


class Chunk(NamedTuple):
    """Files of one directory that were looked at together."""

    directory: bytes
    names: bytes
    """Joined by NUL."""
    first: int
    """Index of the first of them in the columns."""
    length: int


class Plan:
    """Files to remove. Columns are parallel; a file's place in them is its index, in the order of the scan."""

    __slots__ = ("allocated", "changed", "chunks", "device", "devices", "inode", "links", "modified", "rule", "size")

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.rule = array("B")
        """Number of the rule, from 0."""
        self.inode = array("Q")
        self.devices: list[int] = []
        """Device numbers that occur. A volume has one, an overlay a few."""
        self.device = array("H")
        """Index into `devices`."""
        self.size = array("q")
        self.allocated = array("q")
        """Bytes on disk: 512-byte blocks, so that sparse files count as they are."""
        self.modified = array("q")
        """mtime, ns."""
        self.changed = array("q")
        """ctime, ns."""
        self.links = array("I")

    def __len__(self) -> int:
        return len(self.rule)

    def add_chunk(self, directory: bytes, names: list[bytes]) -> None:
        """Name the files whose columns were appended since the last chunk."""
        count = len(names)
        self.chunks.append(Chunk(directory, b"\0".join(names), len(self.rule) - count, count))

    def device_index(self, device: int) -> int:
        """Index of `device` in `devices`, which it joins if it is new."""
        try:
            return self.devices.index(device)
        except ValueError:
            self.devices.append(device)
            return len(self.devices) - 1

    def digest(self, rules: bytes, now_ns: int, file_system: int) -> str:
        """`sha256:…` over the records in order of path bytes, the rules, `now` and the file system's id.

        Equal plans have equal digests, in whatever order the directories were listed.
        """
        sha = hashlib.sha256()
        sha.update(struct.pack("=qQQ", now_ns, file_system & 0xFFFFFFFFFFFFFFFF, len(self)))
        sha.update(struct.pack("=Q", len(rules)) + rules)
        parts: list[bytes] = []
        for path, index in self.in_path_order():
            parts.append(
                _RECORD.pack(self.rule[index], self.inode[index], self.modified[index], self.size[index], len(path))
            )
            parts.append(path)
            if len(parts) >= _DIGEST_BATCH:
                sha.update(b"".join(parts))
                parts.clear()
        sha.update(b"".join(parts))
        return f"sha256:{sha.hexdigest()}"

    def in_path_order(self) -> Iterator[tuple[bytes, int]]:
        """Path and index of every file, by path bytes, with the names of few directories in memory at a time.

        Directories sorted by their path and a slash come in the order of their contents; a directory's own files wait
        on a stack while those of its sub-directories pass.
        """
        stack: list[_Sorted] = []
        for prefix, chunks in self._by_directory():
            while stack:
                if prefix.startswith(stack[-1].prefix):
                    yield from stack[-1].before(prefix)
                    break
                yield from stack.pop().rest()
            stack.append(_Sorted(prefix, chunks))
        while stack:
            yield from stack.pop().rest()

    def _by_directory(self) -> Iterator[tuple[bytes, list[Chunk]]]:
        order = sorted(range(len(self.chunks)), key=lambda number: _prefix(self.chunks[number].directory))
        group: list[Chunk] = []
        for number in order:
            chunk = self.chunks[number]
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
