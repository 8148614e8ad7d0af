"""The plan: every file that is to go, as columns of numbers and joined names, not as an object each.

A million files in a thousand directories take about 85 MiB, most of it names.
"""

from __future__ import annotations

import hashlib
import os
import struct
from array import array
from collections.abc import Sequence
from typing import Final

from housekeeper_worker.retention.paths import Chunk, in_path_order

_RECORD: Final = struct.Struct("=BQqqI")
"""Of one file in the digest: rule, inode, mtime in ns, size, length of the path; the path follows."""
_ALLOCATION_UNIT: Final = 512
"""Bytes of what st_blocks counts, on every file system."""
_DIGEST_BATCH: Final = 4096


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

    def add(self, directory: bytes, rule: int, files: Sequence[tuple[str, os.stat_result]]) -> None:
        """Add files of one directory (name as `os.fsdecode` gives it, and stat) that go by `rule`."""
        names = os.fsencode("\0".join([name for name, _ in files]))
        self.chunks.append(Chunk(directory, names, len(self.rule), len(files)))
        stats = [stat for _, stat in files]
        self.rule.extend([rule] * len(files))
        self.inode.extend([stat.st_ino for stat in stats])
        self.device.extend([self._device_index(stat.st_dev) for stat in stats])
        self.size.extend([stat.st_size for stat in stats])
        self.allocated.extend([stat.st_blocks * _ALLOCATION_UNIT for stat in stats])
        self.modified.extend([stat.st_mtime_ns for stat in stats])
        self.changed.extend([stat.st_ctime_ns for stat in stats])
        self.links.extend([stat.st_nlink for stat in stats])

    def _device_index(self, device: int) -> int:
        if device not in self.devices:
            self.devices.append(device)
        return self.devices.index(device)

    def digest(self, rules: bytes, now_ns: int, file_system: int) -> str:
        """`sha256:…` over the records in order of path bytes, the rules, `now` and the file system's id.

        Equal plans have equal digests, in whatever order the directories were listed.
        """
        sha = hashlib.sha256()
        sha.update(struct.pack("=qQQ", now_ns, file_system & 0xFFFFFFFFFFFFFFFF, len(self)))
        sha.update(struct.pack("=Q", len(rules)) + rules)
        parts: list[bytes] = []
        for path, index in in_path_order(self.chunks):
            parts.append(
                _RECORD.pack(self.rule[index], self.inode[index], self.modified[index], self.size[index], len(path))
            )
            parts.append(path)
            if len(parts) >= _DIGEST_BATCH:
                sha.update(b"".join(parts))
                parts.clear()
        sha.update(b"".join(parts))
        return f"sha256:{sha.hexdigest()}"
