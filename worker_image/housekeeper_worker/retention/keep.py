"""What `keep` keeps of one group: how many, of which hours, days, weeks, months and years, up to which size in all.

The meaning is restic's (`forget --keep-…`), rule by rule and OR-ed, with three differences: times in the future are not
there, the calendar is that of the policy's zone with hours of UTC, and equal times are told apart by path. Nothing here
walks item by item: a group is a sorted column of times, and whatever a rule keeps is found by bisection.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from housekeeper_api.quantities import format_bytes
from housekeeper_api.task import Keep
from housekeeper_worker.retention.buckets import UNITS, Find, Unit, finder
from housekeeper_worker.retention.times import cutoff, read_age

ALL: Final = -1
"""A count that never runs out."""

LAST: Final = 1 << 0
_COUNTED: Final[dict[Unit, int]] = {unit: 1 << (1 + number) for number, unit in enumerate(UNITS)}
WITHIN: Final = 1 << 6
_WITHIN: Final[dict[Unit, int]] = {unit: 1 << (7 + number) for number, unit in enumerate(UNITS)}
AT_LEAST: Final = 1 << 12
"""Kept by `atLeast` and by nothing else."""
FITS: Final = 1 << 13
"""`maxTotalSize` is the only rule, and this still fits."""
CAPPED: Final = 1 << 14
"""Something would have kept it, and it is beyond `maxTotalSize`. Stands alone."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """What `keep` says about each item of a group. A place is an index into the group, the oldest at 0."""

    keep: Keep
    masks: array[int]
    """For each place the bits of the rules that keep it; 0 and `CAPPED`: none does."""
    firsts: dict[int, list[int]]
    """For each bit of a bucket rule, the places that begin a bucket, newest first."""
    oldest: int
    """Bits of the bucket rules that keep place 0 though its bucket has another: as the oldest there is."""

    def keeps(self, place: int) -> bool:
        """Whether something keeps it."""
        return self.masks[place] not in {0, CAPPED}

    def reasons(self, place: int) -> list[str]:
        """What keeps it, such as `daily 2/7`; empty if nothing does."""
        return list(self._reasons(place)) if self.keeps(place) else []

    def _reasons(self, place: int) -> Iterator[str]:
        keep, mask = self.keep, self.masks[place]
        if mask & LAST:
            yield f"last {len(self.masks) - place}/{_number(keep.last)}"
        for unit in UNITS:
            if mask & _COUNTED[unit]:
                number, word = self._number(_COUNTED[unit], place, unit)
                yield f"{word} {number}/{_number(getattr(keep, unit))}"
        if mask & WITHIN:
            yield f"within {keep.within}"
        for unit in UNITS:
            if mask & _WITHIN[unit]:
                _, word = self._number(_WITHIN[unit], place, unit)
                yield f"{word} within {getattr(keep, _within(unit))}"
        if mask & AT_LEAST:
            yield f"atLeast {len(self.masks) - place}/{keep.at_least}"
        if mask & FITS:
            yield f"within maxTotalSize {format_bytes(keep.max_total_size or 0)}"

    def _number(self, bit: int, place: int, unit: Unit) -> tuple[int, str]:
        """Which bucket it is, counted from the newest, and what to call it."""
        firsts = self.firsts[bit]
        number = bisect_left(firsts, -place, key=lambda first: -first) + 1
        return number, f"oldest {unit}" if place == 0 and self.oldest & bit else unit


def keeping(times: Sequence[int], size: Callable[[int], int], keep: Keep, tz: dt.tzinfo) -> Kept:
    """Decide about a group: its times in nanoseconds, the oldest first, and for each place the bytes it takes.

    Raises `TaskError` for a duration that is none.
    """
    masks = array("H", bytes(2 * len(times)))
    kept = Kept(keep, masks, {}, 0)
    if not times:
        return kept
    if keep.last is not None:
        _mark_from(masks, 0 if keep.last == ALL else max(0, len(times) - keep.last), LAST)
    if keep.within is not None:
        _mark_from(masks, bisect_right(times, _line(times, keep.within, tz)), WITHIN)
    oldest = 0
    for unit in UNITS:
        count = getattr(keep, unit)
        if count is not None:
            oldest |= _mark_buckets(kept, times, finder(unit, tz), _COUNTED[unit], count, 0)
        duration = getattr(keep, _within(unit))
        if duration is not None:
            begin = bisect_right(times, _line(times, duration, tz))
            oldest |= _mark_buckets(kept, times, finder(unit, tz), _WITHIN[unit], ALL, begin)
    newest = max(0, len(times) - keep.at_least)
    if keep.max_total_size is not None:
        _cap(masks, size, keep, newest)
    for place in range(newest, len(masks)):
        if masks[place] in {0, CAPPED}:
            masks[place] = AT_LEAST
    return dataclasses.replace(kept, oldest=oldest)


def removal_reasons(keep: Keep, *, capped: bool) -> list[str]:
    """Why nothing keeps an item: the rules that it is not among, or the size that it is beyond."""
    if capped:
        return [f"beyond maxTotalSize {format_bytes(keep.max_total_size or 0)}"]
    rules = [("last", keep.last), *((unit, getattr(keep, unit)) for unit in UNITS)]
    reasons = [f"not among {word} {_number(count)}" for word, count in rules if count is not None]
    if keep.within is not None:
        reasons.append(f"not within {keep.within} of the newest")
    durations = [(unit, getattr(keep, _within(unit))) for unit in UNITS]
    reasons += [f"not {unit} within {duration}" for unit, duration in durations if duration is not None]
    return reasons or [f"not among atLeast {keep.at_least}"]


def _cap(masks: array[int], size: Callable[[int], int], keep: Keep, newest: int) -> None:
    """Take back what is beyond `maxTotalSize`. From `newest` on `atLeast` holds, and its sizes count."""
    alone = _is_only_size(keep)
    total = 0
    over = False
    for place in range(len(masks) - 1, -1, -1):
        if not alone and not masks[place] and place < newest:
            continue
        total += 0 if over else size(place)
        over = over or total > (keep.max_total_size or 0)
        if over:
            masks[place] = CAPPED
        elif alone:
            masks[place] = FITS


def _is_only_size(keep: Keep) -> bool:
    named = {field.name for field in dataclasses.fields(keep) if getattr(keep, field.name) is not None}
    return named <= {"max_total_size", "at_least"}


def _mark_buckets(kept: Kept, times: Sequence[int], find: Find, bit: int, count: int, begin: int) -> int:
    """Mark the newest of each bucket, for as many buckets as `count`, among places from `begin` on.

    If buckets are left over, the oldest of all is kept too: without that, a daily rule would lose the first day of a
    short history as soon as its newest item moves on. Returns `bit` if so.
    """
    firsts = kept.firsts[bit] = []
    place = len(times) - 1
    last: int | None = None
    while place >= begin and len(firsts) != count:
        bucket, since = find(times[place])
        if bucket != last:
            firsts.append(place)
            kept.masks[place] |= bit
            last = bucket
        place = bisect_left(times, since, 0, place) - 1
    if begin == 0 and len(firsts) != count and not kept.masks[0] & bit:
        firsts.append(0)
        kept.masks[0] |= bit
        return bit
    return 0


def _mark_from(masks: array[int], begin: int, bit: int) -> None:
    """Add a bit to each place from `begin` on, before any other bit is there or together with them."""
    for place in range(begin, len(masks)):
        masks[place] |= bit


def _line(times: Sequence[int], duration: str, tz: dt.tzinfo) -> int:
    """What is after it is within `duration` of the newest item (not of now: a group that nobody adds to stays)."""
    return cutoff(times[-1], read_age(duration), tz)


def _within(unit: Unit) -> str:
    return f"within_{unit}"


def _number(count: int | None) -> str:
    return "all" if count == ALL else str(count)
