"""Files of which a plan has several names: what must be known of one name when another goes.

Backups that share files by hard links have millions of them, so this is columns of numbers, 21 bytes a file, and
a file of which the plan has one name alone costs nothing after the table is made.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from housekeeper_worker.retention.records import Records

_BUCKET: Final = 1 << 16
"""Files that are sorted at once."""


class Links:
    """Inodes that occur more than once. Its columns are parallel; `place` says where one is."""

    __slots__ = ("_buckets", "_firsts", "changed", "gone", "moved")

    def __init__(self, files: Iterable[Records], most: int) -> None:
        """From all planned files, of which `most` at most have several names."""
        count = most // _BUCKET + 1
        buckets: dict[int, list[array[int]]] = {}
        for records in files:
            for device, inode, links in zip(records.device, records.inode, records.links, strict=True):
                if links > 1:
                    if device not in buckets:
                        buckets[device] = [array("Q") for _ in range(count)]
                    buckets[device][inode % count].append(inode)
        self._buckets: dict[int, list[array[int]]] = {}
        self._firsts: dict[int, list[int]] = {}
        total = 0
        for device, each in buckets.items():
            self._buckets[device], self._firsts[device] = [], []
            for number, inodes in enumerate(each):
                several = _several(inodes)
                each[number] = array("Q")
                self._buckets[device].append(several)
                self._firsts[device].append(total)
                total += len(several)
        self.gone = array("I", bytes(4 * total))
        """Names that went for good, or would."""
        self.moved = bytearray(total)
        """1 where a name went into quarantine, or would."""
        self.changed = array("q", bytes(8 * total))
        """ctime after our own last unlink or rename of a name, which moved it; 0 before the first."""

    def __len__(self) -> int:
        return len(self.gone)

    def place(self, device: int, inode: int) -> int:
        """Where in the columns a file is; -1: the plan has one name of it."""
        if device not in self._buckets:
            return -1
        buckets = self._buckets[device]
        number = inode % len(buckets)
        inodes = buckets[number]
        place = bisect_left(inodes, inode)
        if place == len(inodes) or inodes[place] != inode:
            return -1
        return self._firsts[device][number] + place

    def is_last(self, device: int, inode: int, links: int) -> bool:
        """Count a name of a file with so many `links` as gone. Returns whether it was the last one."""
        place = self.place(device, inode)
        if place < 0:
            return False
        self.gone[place] += 1
        return self.gone[place] == links


def _several(inodes: array[int]) -> array[int]:
    """Those that are there more than once, in order."""
    order = sorted(inodes)
    return array("Q", sorted({one for one, other in pairwise(order) if one == other}))
