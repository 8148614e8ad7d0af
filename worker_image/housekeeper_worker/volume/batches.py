"""A plan cut into batches: what one process works on at a time, and what one intent line of the audit announces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from housekeeper_worker.retention.paths import join
from housekeeper_worker.retention.plan import Part, Plan
from housekeeper_worker.retention.records import Records


class Slice(NamedTuple):
    """Files of one part of a plan, from `begin` up to `end` in order of inodes."""

    part: int
    begin: int
    end: int


Cut = list[Slice]


class Share(NamedTuple):
    """Files of a batch that are in one directory, in order of their inodes."""

    directory: bytes
    records: Records


Batch = list[Share]


def cuts(plan: Plan, size: int, *, shared: bool = False) -> Iterator[Cut]:
    """The plan in its order, `size` files at a time at most.

    `shared`: for several processes, of which one has the lock of a directory. A directory is whole in one cut, or has
    cuts of its own; and parts with a file that has several names are never cut together with others.
    """
    cut: Cut = []
    room = size
    for number, part in enumerate(plan.parts):
        alone = shared and (part.length > size or _is_one_of_several(plan.parts, number))
        if cut and shared and (alone or part.length > room or plan.parts[cut[0].part].linked != part.linked):
            yield cut
            cut, room = [], size
        begin = 0
        while begin < part.length:
            end = min(begin + room, part.length)
            cut.append(Slice(number, begin, end))
            room -= end - begin
            begin = end
            if not room or alone:
                yield cut
                cut, room = [], size
    if cut:
        yield cut


def _is_one_of_several(parts: Sequence[Part], number: int) -> bool:
    """Whether other parts are of the same directory. They are neighbours then."""
    neighbours = (*parts[max(0, number - 1) : number], *parts[number + 1 : number + 2])
    return any(part.directory == parts[number].directory for part in neighbours)


class Reader:
    """Reads batches from a plan, several of one part in a row without reading it again."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._number = -1
        self._records = Records()

    def batch(self, cut: Cut) -> Batch:
        """The files of a cut."""
        return [self._share(*one) for one in cut]

    def _share(self, number: int, begin: int, end: int) -> Share:
        part = self._plan.parts[number]
        if number != self._number:
            self._records, self._number = self._plan.records(part).by_inode(), number
        whole = begin == 0 and end == part.length
        return Share(part.directory, self._records if whole else self._records.part(begin, end))


def files(cut: Cut) -> int:
    """How many files a cut has."""
    return sum(one.end - one.begin for one in cut)


def length(batch: Batch) -> int:
    """Files in it."""
    return sum(len(share.records) for share in batch)


def ends(batch: Batch) -> tuple[bytes, bytes]:
    """Paths of its first and of its last file."""
    first, last = batch[0], batch[-1]
    return join(first.directory, first.records.names[0]), join(last.directory, last.records.names[-1])
