"""Items of a group in order of time, in little memory: a number an item, and room to sort some of them at once."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Final

_SLOT: Final = 1 << 15
"""Items that are sorted at once, if their times are spread evenly."""


def oldest_first(times: Sequence[int], members: Sequence[int], ranks: Callable[[], Sequence[int]]) -> array[int]:
    """`members`, indices into `times`, by time, the oldest first; equal times by path bytes.

    `ranks` gives for every index its place among all paths by their bytes. It is asked only if there are equal times,
    for on most volumes there are none.
    """
    order = array("I")
    for slot in _slots(times, members):
        order.extend(_sorted(times, slot, ranks))
    return order


def _slots(times: Sequence[int], members: Sequence[int]) -> Iterator[Sequence[int]]:
    """The members in parts, each of which is older than the next."""
    count = len(members) // _SLOT + 1
    if count == 1:
        yield members
        return
    moments = array("q", map(times.__getitem__, members))
    oldest = min(moments)
    # A power of two, so that a shift, and no division, tells the slot.
    shift = ((max(moments) - oldest) // count).bit_length()
    slots = [array("I") for _ in range(count + 1)]
    into = [slot.append for slot in slots]
    for moment, index in zip(moments, members, strict=True):
        into[(moment - oldest) >> shift](index)
    del moments
    yield from slots


def _sorted(times: Sequence[int], members: Sequence[int], ranks: Callable[[], Sequence[int]]) -> list[int]:
    # Floats compare several times faster than integers of that size. They tell times apart to a quarter of a
    # microsecond, so what they call equal is looked at again.
    keys = list(map(float, map(times.__getitem__, members)))
    by_key = dict(zip(keys, members, strict=True))
    if len(by_key) == len(keys):
        keys.sort()
        return list(map(by_key.__getitem__, keys))
    places = sorted(range(len(members)), key=keys.__getitem__)
    keys = [keys[place] for place in places]
    order = [members[place] for place in places]
    _sort_again(order, keys, times, ranks)
    return order


def _sort_again(
    order: list[int], keys: Sequence[float], times: Sequence[int], ranks: Callable[[], Sequence[int]]
) -> None:
    """Sort what has equal keys by time, and by path where the time is equal too."""
    begin = 0
    for end in range(1, len(keys) + 1):
        if end == len(keys) or keys[end] != keys[begin]:
            if end - begin > 1:
                run = order[begin:end]
                if len({times[index] for index in run}) == len(run):
                    run.sort(key=times.__getitem__)
                else:
                    by_path = ranks()
                    run.sort(key=lambda index: (times[index], by_path[index]))
                order[begin:end] = run
            begin = end
