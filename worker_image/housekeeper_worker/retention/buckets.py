"""Hours, days, weeks, months and years as buckets that items fall into, found run by run instead of item by item.

Items come newest first. Of one that begins a bucket, `find` gives the bucket's number and the moment since when
everything up to it falls into the same bucket, so that whoever walks can leap there. Hours are those of UTC; days, ISO
weeks, months and years those of the calendar in a time zone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from housekeeper_worker.retention.times import unix_seconds

Unit = Literal["hourly", "daily", "weekly", "monthly", "yearly"]
UNITS: Final[tuple[Unit, ...]] = ("hourly", "daily", "weekly", "monthly", "yearly")

_SECOND: Final = 1_000_000_000
_HOUR: Final = 3600 * _SECOND
_LONGEST_STEP_BACK: Final = 26 * 3600
"""Seconds: longer than any clock was ever put back."""


class Run(NamedTuple):
    """A bucket and since when all that is not newer than the moment asked about is in it."""

    bucket: int
    since: int
    """Nanoseconds since the epoch."""


Find = Callable[[int], Run]
"""From a moment in nanoseconds to its run."""


def finder(unit: Unit, tz: dt.tzinfo) -> Find:
    """How to find the runs of one kind of bucket."""
    if unit == "hourly":
        return _hour
    start = _STARTS[unit]
    return lambda moment: _run(moment, tz, start)


def _hour(moment: int) -> Run:
    hour = moment // _HOUR
    return Run(hour, hour * _HOUR)


def _run(moment: int, tz: dt.tzinfo, start: Callable[[dt.date], tuple[int, dt.date]]) -> Run:
    seconds = moment // _SECOND
    local = dt.datetime.fromtimestamp(seconds, tz)
    bucket, first = start(local.date())
    if tz is dt.UTC:
        return Run(bucket, (first.toordinal() - _EPOCH) * 86_400 * _SECOND)
    if _was_put_back(local, seconds, tz):
        # A clock put back over midnight (in Newfoundland at 00:01) shows yesterday again, so that this day and the one
        # before take turns. Second by second nothing can be leapt over.
        return Run(bucket, seconds * _SECOND)
    midnight = dt.datetime(first.year, first.month, first.day, tzinfo=tz)
    # Midnight may be there twice, or be left out: with the later reading nothing of the day before gets in.
    return Run(bucket, max(unix_seconds(midnight.replace(fold=fold)) for fold in (0, 1)) * _SECOND)


def _was_put_back(local: dt.datetime, seconds: int, tz: dt.tzinfo) -> bool:
    before = dt.datetime.fromtimestamp(seconds - _LONGEST_STEP_BACK, tz)
    return (local.utcoffset() or dt.timedelta()) < (before.utcoffset() or dt.timedelta())


_EPOCH: Final = dt.date(1970, 1, 1).toordinal()


def _day(date: dt.date) -> tuple[int, dt.date]:
    return date.toordinal(), date


def _week(date: dt.date) -> tuple[int, dt.date]:
    # An ISO week is told by its Monday: the last days of a year may be in the first week of the next, or the other
    # way round, and the Monday does not care.
    monday = date - dt.timedelta(days=date.weekday())
    return monday.toordinal(), monday


def _month(date: dt.date) -> tuple[int, dt.date]:
    return date.year * 12 + date.month - 1, date.replace(day=1)


def _year(date: dt.date) -> tuple[int, dt.date]:
    return date.year, date.replace(month=1, day=1)


_STARTS: Final[dict[str, Callable[[dt.date], tuple[int, dt.date]]]] = {
    "daily": _day,
    "weekly": _week,
    "monthly": _month,
    "yearly": _year,
}
