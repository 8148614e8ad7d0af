"""A plan cut into batches: what one process works on at a time, and what one intent line of the audit announces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from housekeeper_worker.retention.paths import join
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.retention.records import Records


class Share(NamedTuple):
    """Files of a batch that are in one directory, in order of their inodes."""

    directory: bytes
    records: Records
    is_part: bool
    """Whether others of its files are in another share."""


Batch = list[Share]


def batches(plan: Plan, size: int) -> Iterator[Batch]:
    """The plan in its order, `size` files at a time."""
    batch: Batch = []
    room = size
    several = _in_several_parts(plan)
    for part in plan.parts:
        records = plan.records(part).by_inode()
        begin, count = 0, len(records)
        while begin < count:
            end = min(begin + room, count)
            whole = begin == 0 and end == count
            share = records if whole else records.part(begin, end)
            batch.append(Share(part.directory, share, not whole or part.directory in several))
            room -= end - begin
            begin = end
            if not room:
                yield batch
                batch, room = [], size
    if batch:
        yield batch


def _in_several_parts(plan: Plan) -> frozenset[bytes]:
    seen: set[bytes] = set()
    several: set[bytes] = set()
    for part in plan.parts:
        (several if part.directory in seen else seen).add(part.directory)
    return frozenset(several)


def length(batch: Batch) -> int:
    """Files in it."""
    return sum(len(share.records) for share in batch)


def ends(batch: Batch) -> tuple[bytes, bytes]:
    """Paths of its first and of its last file."""
    first, last = batch[0], batch[-1]
    return join(first.directory, first.records.names[0]), join(last.directory, last.records.names[-1])
