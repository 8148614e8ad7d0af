"""Ages in calendar steps. What `removeOlderThan` means, and where the line between old and young lies."""

from __future__ import annotations

import calendar
import datetime as dt
from typing import Final

from housekeeper_api.durations import Duration
from housekeeper_api.task import TaskError

NEVER: Final = -(2**63)
"""A line before every time that a file system can store."""
FOREVER: Final = 2**63
"""A line after every such time."""

_SECOND: Final = 1_000_000_000
_MILLISECOND: Final = 1_000_000


def zone(name: str) -> dt.tzinfo:
    """The IANA time zone `name`. Raises `TaskError`."""
    if name in {"UTC", "Etc/UTC"}:
        return dt.UTC  # most policies: saves reading the database
    import zoneinfo  # noqa: PLC0415 - and importing what reads it

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise TaskError(f"spec.timeZone: {name!r} is not known; write an IANA name, such as Europe/Berlin") from None


def read_age(text: str) -> Duration:
    """A duration of a rule. Raises `TaskError`."""
    try:
        return Duration.parse(text)
    except ValueError as error:
        raise TaskError(f"spec.rules: {text!r}: {error}") from None


def cutoff(now_ns: int, age: Duration, tz: dt.tzinfo) -> int:
    """The line in nanoseconds since the epoch: what is strictly before it is older than `age`.

    h, m, s and ms are absolute. d, w, mo and y are steps of the calendar in `tz`, at the same time of day; a month
    without that day rolls over into the next (31 March less one month is 3 March, as in restic's and Go's AddDate). If
    the time of day does not exist then, or exists twice, the earlier moment counts: less is old. A negative
    age is a step into the future.
    """
    if age.unit in {"h", "m", "s", "ms"}:
        return now_ns - age.milliseconds * _MILLISECOND
    seconds, rest = divmod(now_ns, _SECOND)
    local = dt.datetime.fromtimestamp(seconds, tz)
    months = {"mo": 1, "y": 12}.get(age.unit, 0) * age.number
    days = {"d": 1, "w": 7}.get(age.unit, 0) * age.number
    year, month = divmod(local.year * 12 + local.month - 1 - months, 12)
    beyond = FOREVER if age.number < 0 else NEVER
    if not dt.MINYEAR <= year <= dt.MAXYEAR:
        return beyond
    first = dt.datetime(year, month + 1, 1, local.hour, local.minute, local.second, tzinfo=tz)
    try:
        then = first + dt.timedelta(days=local.day - 1 - days)
        moments = [int(unix_seconds(then.replace(fold=fold))) for fold in (0, 1)]
    except OverflowError:
        return beyond
    return max(min(moments) * _SECOND + rest, NEVER)


def unix_seconds(moment: dt.datetime) -> int:
    """Seconds since the epoch of a local time with a zone. Of a time that is there twice, `fold` says which."""
    offset = moment.utcoffset() or dt.timedelta()
    return calendar.timegm(moment.timetuple()) - int(offset.total_seconds())
