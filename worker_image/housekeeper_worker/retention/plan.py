"""The plan: every file that is to go, as columns of numbers and joined names, not as an object each.

A million files in a thousand directories take about 85 MiB, most of it names.
"""

from __future__ import annotations

import hashlib
import os
import struct
from array import array
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Final, NamedTuple

from housekeeper_worker.retention.files import Files
from housekeeper_worker.retention.paths import in_path_order

_RECORD: Final = struct.Struct("=BQqqI")
"""Of one file in the digest: rule, inode, mtime in ns, size, length of the path; the path follows."""
_DIGEST_BATCH: Final = 4096


class Cause(NamedTuple):
    """Why files go: many share one."""

    rule: int
    """Number of the rule, from 0."""
    reasons: tuple[str, ...]
    group: Mapping[str, str]
    """What `groupBy` captured; empty without."""


class Plan(Files):
    """Files to remove."""

    __slots__ = ("cause", "causes", "rule")

    def __init__(self) -> None:
        super().__init__()
        self.rule = array("B")
        """Number of the rule, from 0."""
        self.cause = array("I")
        """Index into `causes`."""
        self.causes: list[Cause] = []

    def add_cause(self, cause: Cause) -> int:
        """The number of a new cause."""
        self.causes.append(cause)
        return len(self.causes) - 1

    def add(self, directory: bytes, cause: int, files: Sequence[tuple[str, os.stat_result]]) -> None:
        """Add files of one directory (name as `os.fsdecode` gives it, and stat) that go for one cause."""
        self.extend(directory, files)
        self.rule.extend([self.causes[cause].rule] * len(files))
        self.cause.extend([cause] * len(files))

    def take(self, files: Files, going: bytearray, causes: array[int]) -> None:
        """Add those of `files` that are marked in `going`, each with its cause. Leaves `files` empty."""
        taken = array("I", compress(causes, going))
        self.cause.extend(taken)
        self.rule.extend([self.causes[cause].rule for cause in taken])
        self.move_marked(files, going)

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
