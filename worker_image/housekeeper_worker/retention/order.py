"""Items of a group in order of time, in little memory: some numbers an item, and room to sort some of them at once.

A time and the index of its item are packed into the 64 bits of a float, the time above: such floats are in the order of
their bits, and Python compares floats several times faster than integers of that size. As many bits of a time as there
is no room for are compared afterwards, where the others are equal.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from operator import lt
from typing import Final, NamedTuple

from housekeeper_worker import lanes

_PIECE: Final = 1 << 14
"""Items that are sorted at once."""
_SAMPLES: Final = 64
"""Keys of a piece by which it is found out how to cut all of them alike."""
_KEY_BITS: Final = 61
_NORMAL: Final = 1 << _KEY_BITS
"""Set in every key: without, some would be floats so small that a processor may be told to take them for 0."""
_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1
_FEW: Final = 64
"""So many items are sorted faster as they are."""


class Ordered(NamedTuple):
    """Items, the oldest first, equal times by path bytes. The columns are parallel."""

    indices: array[int]
    times: array[int]


def oldest_first(times: array[int], members: Sequence[int], ranks: Callable[[], Sequence[int]]) -> Ordered:
    """Order `members`, indices into `times`, each once and ascending.

    `ranks` gives for every index its place among all paths by their bytes. It is asked once, and only if there are
    equal times, for on most volumes there are none.
    """
    ordered = Ordered(array("I"), array("q"))
    ranks = cache(ranks)
    for part, exponent in _roughly(times, members):
        indices = part
        moments = list(map(times.__getitem__, indices))
        if not all(map(lt, moments, islice(moments, 1, None))):
            indices = _sorted_again(indices, [moment >> exponent for moment in moments], times, ranks)
            moments = list(map(times.__getitem__, indices))
        ordered.indices.extend(indices)
        ordered.times.extend(array("q", moments))
    return ordered


def _roughly(times: array[int], members: Sequence[int]) -> Iterator[tuple[array[int], int]]:
    """The members in parts, each older than the next, by time up to that power of two, whose multiples cut the time."""
    if len(members) <= _FEW:
        yield array("I", sorted(members, key=times.__getitem__)), 0
        return
    keys = _Keys(times, members)
    for slot in _slots(keys):
        yield keys.indices(slot), keys.exponent


class _Keys:
    """Keys of items: floats that are in order of time, as exactly as there is room, and then of index."""

    def __init__(self, times: array[int], members: Sequence[int]) -> None:
        self._members = members
        is_whole = len(members) == len(times)
        self._moments = times if is_whole else array("q", map(times.__getitem__, members))
        self._index_bits = len(times).bit_length()
        oldest, newest = min(self._moments), max(self._moments)
        # A power of two more than the span needs, for the oldest becomes a multiple of 2 to the exponent.
        self.exponent = max(0, (newest - oldest).bit_length() + 1 - (_KEY_BITS - self._index_bits))
        """A key has the time divided by two to the power of this, rounded down."""
        self._origin = oldest >> self.exponent << self.exponent

    def pieces(self) -> Iterator[array[float]]:
        """All keys, `_PIECE` at a time, each piece in order. Only once."""
        for begin in range(0, len(self._members), _PIECE):
            moments = self._moments[begin : begin + _PIECE]
            indices = array("Q", self._members[begin : begin + _PIECE])
            count = len(indices)
            # Times from the lowest on that there can be, so that none is below 0.
            ages = lanes.number(moments) ^ lanes.everywhere(_SIGN, count)
            ages -= lanes.everywhere(self._origin + _SIGN, count)
            # What leaves a lane below gets into the next, at the top.
            rough = (ages >> self.exponent) & lanes.everywhere(_ALL >> self.exponent, count)
            keys = rough << self._index_bits | lanes.number(indices) | lanes.everywhere(_NORMAL, count)
            piece = array("d", lanes.column(keys, count).tobytes()).tolist()
            piece.sort()
            yield array("d", piece)
        self._moments = array("q")

    def indices(self, keys: list[float]) -> array[int]:
        """The indices that are in some keys."""
        found = lanes.number(array("Q", array("d", keys).tobytes()))
        mask = lanes.everywhere((1 << self._index_bits) - 1, len(keys))
        return lanes.halves(found & mask, len(keys))

    def floor(self, key: float) -> float:
        """The lowest key of the time that this one is of."""
        (bits,) = array("Q", array("d", [key]).tobytes())
        (floor,) = array("d", array("Q", [bits >> self._index_bits << self._index_bits]).tobytes())
        return floor


def _slots(keys: _Keys) -> Iterator[list[float]]:
    """All keys in parts, each of which is older than the next, and in order. Equal times are in one part."""
    pieces = list(keys.pieces())
    samples = sorted(key for piece in pieces for key in piece[:: len(piece) // _SAMPLES + 1])
    begins = [0] * len(pieces)
    for cut in range(1, len(pieces) + 1):
        is_last = cut == len(pieces)
        line = None if is_last else keys.floor(samples[len(samples) * cut // len(pieces)])
        slot = array("d")
        for number, piece in enumerate(pieces):
            begin = begins[number]
            begins[number] = end = len(piece) if line is None else bisect_left(piece, line, begin)
            slot.extend(piece[begin:end])
        if slot:
            found = slot.tolist()
            found.sort()  # runs in order, which it finds and merges
            yield found


def _sorted_again(
    order: Sequence[int], rough: Sequence[int], times: Sequence[int], ranks: Callable[[], Sequence[int]]
) -> array[int]:
    """`order` with what has equal rough times sorted by time, and by path where the time is equal too."""
    found = array("I", order)
    begin = 0
    for end in range(1, len(rough) + 1):
        if end == len(rough) or rough[end] != rough[begin]:
            if end - begin > 1:
                run = found[begin:end].tolist()
                if len({times[index] for index in run}) == len(run):
                    run.sort(key=times.__getitem__)
                else:
                    by_path = ranks()
                    run.sort(key=lambda index: (times[index], by_path[index]))
                found[begin:end] = array("I", run)
            begin = end
    return found
