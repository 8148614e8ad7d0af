"""Times that are written in names: `prod-20260115-030000.dump`."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Callable
from typing import Final

from housekeeper_api.task import TaskError
from housekeeper_api.time_formats import NUMBERS, directives
from housekeeper_worker.retention.times import unix_seconds

_SECOND: Final = 1_000_000_000
_MONTHS: Final = {name: number for number, name in enumerate(calendar.month_abbr) if name}

Reader = Callable[[str], int | None]
"""From a path to nanoseconds since the epoch; None: there is no time in it, or more than one."""


def reader(text: str, tz: dt.tzinfo) -> Reader:
    """A reader of the format `text`, for times of the zone `tz` where they name none. Raises `TaskError`.

    The format may stand anywhere in the name, though not as a part of a longer number; with a slash in it, anywhere in
    the path. A name in which two different times can be read says nothing: nobody knows which one is meant. Of a local
    time that is there twice, or not at all, the later reading counts, since what is younger rather stays.
    """
    try:
        parts = directives(text)
    except ValueError as error:
        raise TaskError(f"spec.rules: time.format {text!r} {error}") from None
    expression = "".join(f"(?P<{part[1]}>{NUMBERS[part]})" if part in NUMBERS else re.escape(part) for part in parts)
    # Looked ahead for, so that readings that overlap are all found.
    before = "(?<![0-9])" if parts[0] in NUMBERS else ""
    after = "(?![0-9])" if parts[-1] in NUMBERS else ""
    times = re.compile(f"{before}(?={expression}{after})")
    whole_path = "/" in text

    def read(path: str) -> int | None:
        name = path if whole_path else path.rpartition("/")[2]
        found = {time for match in times.finditer(name) if (time := _moment(match.groupdict(), tz)) is not None}
        return found.pop() if len(found) == 1 else None

    return read


def _moment(found: dict[str, str], tz: dt.tzinfo) -> int | None:
    """The time that the directives say, in nanoseconds; None if there is no such day or time of day."""
    if "s" in found:
        return int(found["s"]) * _SECOND
    try:
        year = int(found["Y"]) if "Y" in found else _century(int(found["y"]))
        month = _MONTHS[found["b"]] if "b" in found else int(found.get("m", "1"))
        hour, minute, second = (int(found.get(directive, "0")) for directive in "HMS")
        local = dt.datetime(year, month, int(found.get("d", "1")), hour, minute, min(second, 59), tzinfo=tz)
        if "j" in found:
            local = _day_of_year(local, int(found["j"]))
        if "z" in found:
            local = local.replace(tzinfo=_offset(found["z"]))
        moments = [unix_seconds(local.replace(fold=fold)) for fold in (0, 1)]
    except (ValueError, KeyError, OverflowError):
        return None
    # What cannot be stored as nanoseconds of 64 bits is centuries away, and no time of a file.
    return max(moments) * _SECOND if abs(max(moments)) < _FARTHEST and second <= 60 else None


_FARTHEST: Final = 9_000_000_000


def _century(year: int) -> int:
    """Two digits as POSIX reads them: 69 to 99 are of the last century."""
    return year + (1900 if year >= 69 else 2000)


def _day_of_year(first: dt.datetime, number: int) -> dt.datetime:
    day = first + dt.timedelta(days=number - 1)
    if number < 1 or day.year != first.year:
        raise ValueError(number)
    return day


def _offset(text: str) -> dt.tzinfo:
    if text == "Z":
        return dt.UTC
    digits = text[1:].replace(":", "")
    offset = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return dt.timezone(-offset if text[0] == "-" else offset)
