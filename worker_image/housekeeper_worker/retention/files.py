"""Files as columns of numbers and joined names, not as an object each."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

from housekeeper_worker.retention.paths import Chunk, join, prefix
from housekeeper_worker.retention.records import Records

_COPIED: Final = ("inode", "size", "allocated", "modified", "changed", "links")
"""Columns as they are in `Records`."""


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

    def extend(self, directory: bytes, records: Records) -> None:
        """Add files of one directory."""
        if not len(records):
            return  # no names joined are one empty name
        self.chunks.append(Chunk(directory, b"\0".join(records.names), len(self), len(records)))
        number_of = {device: self._device_index(device) for device in set(records.device)}
        self.device.extend(map(number_of.__getitem__, records.device))
        for name in _COPIED:
            getattr(self, name).extend(getattr(records, name))

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
            begin = prefix(chunk.directory)
            for name in chunk.names.split(b"\0"):
                yield begin + name

    def path(self, index: int) -> bytes:
        """The path of one of them. Not for all: `paths` is."""
        low, high = 0, len(self.chunks)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.chunks[middle].first <= index else (low, middle)
        chunk = self.chunks[low]
        name = chunk.names.split(b"\0")[index - chunk.first]
        return join(chunk.directory, name)

    def records(self, chunk: Chunk) -> Records:
        """The files of a chunk of these."""
        found = Records()
        begin, end = chunk.first, chunk.first + chunk.length
        columns: dict[str, Iterable[int]] = {name: getattr(self, name)[begin:end] for name in _COPIED}
        columns["device"] = map(self.devices.__getitem__, self.device[begin:end])
        found.extend(chunk.names.split(b"\0"), **columns)
        return found

    def clear(self) -> None:
        """Forget all of them."""
        self.chunks = []
        for name in ("device", *_COPIED):
            setattr(self, name, array(getattr(self, name).typecode))
