"""Files as columns of numbers and joined names, not as an object each."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Final

from housekeeper_worker.retention.paths import Chunk

_ALLOCATION_UNIT: Final = 512
"""Bytes of what st_blocks counts, on every file system."""
_COLUMNS: Final = ("inode", "device", "size", "allocated", "modified", "changed", "links")


class Files:
    """Files that were looked at. Columns are parallel; a file's place in them is its index, in order of the scan."""

    __slots__ = ("allocated", "changed", "chunks", "device", "devices", "inode", "links", "modified", "size")

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
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
        return len(self.inode)

    def extend(self, directory: bytes, files: Sequence[tuple[str, os.stat_result]]) -> None:
        """Add files of one directory: name as `os.fsdecode` gives it, and stat."""
        names = os.fsencode("\0".join([name for name, _ in files]))
        self.chunks.append(Chunk(directory, names, len(self), len(files)))
        stats = [stat for _, stat in files]
        self.inode.extend([stat.st_ino for stat in stats])
        self.device.extend([self._device_index(stat.st_dev) for stat in stats])
        self.size.extend([stat.st_size for stat in stats])
        self.allocated.extend([stat.st_blocks * _ALLOCATION_UNIT for stat in stats])
        self.modified.extend([stat.st_mtime_ns for stat in stats])
        self.changed.extend([stat.st_ctime_ns for stat in stats])
        self.links.extend([stat.st_nlink for stat in stats])

    def append(self, directory: bytes, name: bytes, size: int, time: int) -> None:
        """Add one file that is nowhere: each such is its own inode, takes its size and changed at its time."""
        self.chunks.append(Chunk(directory, name, len(self), 1))
        self.inode.append(len(self))
        self.device.append(self._device_index(0))
        self.size.append(size)
        self.allocated.append(size)
        self.modified.append(time)
        self.changed.append(time)
        self.links.append(1)

    def _device_index(self, device: int) -> int:
        if device not in self.devices:
            self.devices.append(device)
        return self.devices.index(device)

    def paths(self) -> Iterator[bytes]:
        """The path of each, in order of the index."""
        for chunk in self.chunks:
            prefix = chunk.directory + b"/" if chunk.directory else b""
            for name in chunk.names.split(b"\0"):
                yield prefix + name

    def path(self, index: int) -> bytes:
        """The path of one of them. Not for all: `paths` is."""
        low, high = 0, len(self.chunks)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.chunks[middle].first <= index else (low, middle)
        chunk = self.chunks[low]
        name = chunk.names.split(b"\0")[index - chunk.first]
        return chunk.directory + b"/" + name if chunk.directory else name

    def move_marked(self, files: Files, marks: bytearray) -> None:
        """Add those of `files` that are marked. Column by column, so that nothing is there twice; empties `files`."""
        first = len(self)
        renumbered = array("H", [self._device_index(device) for device in files.devices])
        files.device = array("H", [renumbered[device] for device in files.device])
        for column in _COLUMNS:
            getattr(self, column).extend(compress(getattr(files, column), marks))
            setattr(files, column, array(getattr(files, column).typecode))
        for chunk in files.chunks:
            wanted = marks[chunk.first : chunk.first + chunk.length]
            count = wanted.count(1)
            if count:
                names = b"\0".join(compress(chunk.names.split(b"\0"), wanted))
                self.chunks.append(Chunk(chunk.directory, names, first, count))
                first += count
        files.chunks = []
