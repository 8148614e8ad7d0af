"""Schedules: five cron fields as the CronJob controller reads them (robfig/cron's ParseStandard), and `H`.

`H` stands for a value that is picked by a stable hash, so that a thousand policies do not start at once: `H`, `H/5`
(every five, from a picked start), `H(0-29)` (within a range), `H(0-29)/10`. Standard library only.

What differs between the controller's parser and others that read the same text is refused here or written out by
`resolve`, so that one resolved schedule means one thing to all of them.
"""

from __future__ import annotations

import calendar
import dataclasses
import datetime as dt
import functools
import hashlib
import re
import zoneinfo
from typing import Final

MAX_LENGTH: Final = 128

FIELDS_NEEDED: Final = "a schedule has five fields (minute, hour, day of month, month, day of week), such as H 3 * * *"

_MONTHS: Final = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS: Final = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]

# Hours that a change to or from daylight saving time may skip or repeat.
_DST_HOURS: Final = frozenset({0, 1, 2})
# A fixed span, so that what H becomes depends on the zone alone and never on the day it is asked.
_DST_YEARS: Final = range(2024, 2031)


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    """One of the five fields: its bounds, its names, and how far `H` without a range goes."""

    title: str
    low: int
    high: int
    names: dict[str, int]
    hash_high: int


_FIELDS: Final = (
    _Field("minute", 0, 59, {}, 59),
    _Field("hour", 0, 23, {}, 23),
    _Field("day of month", 1, 31, {}, 28),  # every month has a 28th
    _Field("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}, 12),
    _Field("day of week", 0, 6, {name: number for number, name in enumerate(_DAYS)}, 6),
)
_HOUR: Final = 1
_DAY_OF_MONTH: Final = 2
_MONTH: Final = 3
_DAY_OF_WEEK: Final = 4

_ITEM: Final = re.compile(
    r"(?:(?P<star>\*)|(?P<hash>H)(?:\((?P<hash_low>\w+)-(?P<hash_high>\w+)\))?|(?P<low>\w+)(?:-(?P<high>\w+))?)"
    r"(?:/(?P<step>[0-9]{1,4}))?\Z",
    re.ASCII,
)


@dataclasses.dataclass(frozen=True, slots=True)
class _Item:
    """One member of a field's list. `low` and `high` are the bounds, of `H` too."""

    text: str
    kind: str
    low: int
    high: int
    step: int | None

    def values(self) -> set[int]:
        return set(range(self.low, self.high + 1, self.step or 1))


@dataclasses.dataclass(frozen=True, slots=True)
class Slots:
    """What the five fields of a resolved schedule allow."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """Sunday is 0."""
    both_days: bool
    """Whether a day has to suit both day fields (one of them is `*`); else either one is enough."""


def validate(schedule: str) -> None:
    """Check a schedule, `H` allowed. Raises `ValueError` with one sentence: what is wrong and what to write."""
    fields = _parse(schedule)
    _refuse_ambiguous_days(fields)
    _refuse_never(fields)


def resolve(
    schedule: str, *, namespace: str, name: str, field: str = "schedule", time_zone: str, kind: str = "CleanupPolicy"
) -> str:
    """The schedule with every `H` replaced by a number, the same for ever for the same kind, namespace, name and field.

    Each of the five fields takes its own bits of the hash. In a zone with daylight saving time `H` never picks the
    hours 0 to 2 (with a step of 1 to 3 hours there is no such start, and every run but one a year is as wished).
    Raises `ValueError` for what `validate` refuses, for an unknown time zone, and for a range of which nothing is left.
    """
    validate(schedule)
    digest = hashlib.sha256(f"{kind}/{namespace}/{name}/{field}".encode()).digest()
    resolved = []
    for index, items in enumerate(_parse(schedule)):
        bits = int.from_bytes(digest[index * 4 : index * 4 + 4], "big")
        avoided = _DST_HOURS if index == _HOUR and _needs_dst(items, time_zone) else frozenset[int]()
        resolved.append(",".join(_resolve_item(item, index, bits, avoided, time_zone) for item in items))
    return " ".join(resolved)


def slots(schedule: str) -> Slots:
    """What a schedule without `H` allows. Raises `ValueError` for what `validate` refuses, and for an `H`."""
    validate(schedule)
    fields = _parse(schedule)
    if any(item.kind == "hash" for items in fields for item in items):
        raise ValueError(f"{schedule!r} has an H that is not resolved")
    minutes, hours, days, months, weekdays = (
        frozenset[int]().union(*(item.values() for item in items)) for items in fields
    )
    both = any(
        item.kind == "star" and item.step in {None, 1}
        for index in (_DAY_OF_MONTH, _DAY_OF_WEEK)
        for item in fields[index]
    )
    return Slots(minutes, hours, days, months, weekdays, both_days=both)


@functools.cache
def has_daylight_saving(time_zone: str) -> bool:
    """Whether the clocks of an IANA zone change. Raises `ValueError` for a zone that is not known."""
    zone = load_time_zone(time_zone)
    noons = (
        dt.datetime(year, month, day, 12, tzinfo=zone)
        for year in _DST_YEARS
        for month in range(1, 13)
        for day in (1, 15)
    )
    return len({noon.utcoffset() for noon in noons}) > 1


def load_time_zone(time_zone: str) -> zoneinfo.ZoneInfo:
    """The zone of an IANA name. Raises `ValueError` with a sentence."""
    # Names that exist on some machines only, or that say what this machine's zone is.
    if time_zone.partition("/")[0].lower() not in {"posix", "right", "local", "localtime", "posixrules", "factory"}:
        try:
            return zoneinfo.ZoneInfo(time_zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass  # told below, in our words
    raise ValueError(f"{time_zone} is not a time zone of the IANA database; write one such as Etc/UTC or Europe/Berlin")


def _parse(schedule: str) -> list[list[_Item]]:
    if schedule.startswith("@"):
        raise ValueError(f"{FIELDS_NEEDED}; {schedule.partition(' ')[0]} is not supported")
    texts = schedule.split(" ")
    texts = [text for text in texts if text]
    if schedule != schedule.strip() or len(texts) != len(_FIELDS):
        raise ValueError(f"{FIELDS_NEEDED}; this one has {len(texts)}" if len(texts) != len(_FIELDS) else FIELDS_NEEDED)
    return [_parse_field(text, field) for text, field in zip(texts, _FIELDS, strict=True)]


def _parse_field(text: str, field: _Field) -> list[_Item]:
    members = text.split(",")
    items = [_parse_item(member, field) for member in members]
    if len(items) > 1 and "*" in members:
        raise ValueError(f"{field.title} {text!r}: * stands alone, because with it the other members change nothing")
    return items


def _parse_item(text: str, field: _Field) -> _Item:
    match = _ITEM.match(text)
    if match is None:
        raise ValueError(
            f"{field.title} {text!r}: write a number, a range a-b, *, H or H(a-b), each with /step if wished; "
            "L, W, # and ? are not supported"
        )
    if match["star"]:
        kind, low, high = "star", field.low, field.high
    elif match["hash"]:
        kind, low, high = "hash", field.low, field.hash_high
        if match["step"]:
            high = field.high
        if match["hash_low"]:
            low, high = _number(match["hash_low"], text, field), _number(match["hash_high"], text, field)
    else:
        low = high = _number(match["low"], text, field)
        kind = "number"
        if match["high"]:
            kind, high = "range", _number(match["high"], text, field)
        elif match["step"]:
            kind, high = "range", field.high  # as the controller reads N/step
    if low > high:
        raise ValueError(f"{field.title} {text!r}: the range ends before it begins; write it as two, such as 22-23,0-5")
    step = int(match["step"]) if match["step"] else None
    if step is not None and not 1 <= step <= high - low + 1:
        raise ValueError(f"{field.title} {text!r}: a step here is 1 to {high - low + 1}")
    return _Item(text, kind, low, high, step)


def _number(text: str, item: str, field: _Field) -> int:
    number = field.names.get(text.upper())
    if number is None:
        if not text.isdigit():
            names = f" or {next(iter(field.names))} to {list(field.names)[-1]}" if field.names else ""
            unsupported = "; L and W are not supported" if text.upper().endswith(("L", "W")) else ""
            raise ValueError(f"{field.title} {item!r}: {text} is not a number{names}{unsupported}")
        number = int(text)
    if not field.low <= number <= field.high:
        sunday = "; Sunday is 0 or SUN" if field.title == "day of week" and number == 7 else ""
        raise ValueError(f"{field.title} {item!r}: {text} is not within {field.low} to {field.high}{sunday}")
    return number


def _refuse_ambiguous_days(fields: list[list[_Item]]) -> None:
    """Refuse `*/n` in one day field beside a restricted other one: some readers say "both", the controller "either"."""
    for this, other in ((_DAY_OF_MONTH, _DAY_OF_WEEK), (_DAY_OF_WEEK, _DAY_OF_MONTH)):
        for item in fields[this]:
            if item.kind == "star" and (item.step or 1) > 1 and not _is_star(fields[other]):
                wanted = f"{item.low}-{item.high}/{item.step}"
                raise ValueError(
                    f"{_FIELDS[this].title} {item.text!r} together with {_FIELDS[other].title} "
                    f"{_text(fields[other])!r} is read differently by different programs; write {wanted} if a day "
                    "that matches either is meant, or leave one of the two fields at *"
                )


def _refuse_never(fields: list[list[_Item]]) -> None:
    """Refuse days that no month of the schedule has, such as 30 February."""
    if _is_star(fields[_DAY_OF_MONTH]) or not _is_star(fields[_DAY_OF_WEEK]):
        return  # with a day of week besides, either one is enough
    first_day = min(_latest_start(item) for item in fields[_DAY_OF_MONTH])
    months = set[int]().union(*(item.values() for item in fields[_MONTH]))
    if first_day > max(calendar.monthrange(2024, month)[1] for month in months):
        raise ValueError(
            f"{_text(fields[_DAY_OF_MONTH])} as day of month never comes in month {_text(fields[_MONTH])}: "
            "this schedule would never run"
        )


def _latest_start(item: _Item) -> int:
    """The first value of an item; of `H`, the latest that may be picked."""
    if item.kind != "hash":
        return item.low
    return item.high if item.step is None else min(item.low + item.step - 1, item.high)


def _is_star(items: list[_Item]) -> bool:
    return len(items) == 1 and items[0].kind == "star" and items[0].step in {None, 1}


def _text(items: list[_Item]) -> str:
    return ",".join(item.text for item in items)


def _needs_dst(items: list[_Item], time_zone: str) -> bool:
    return any(item.kind == "hash" for item in items) and has_daylight_saving(time_zone)


def _resolve_item(item: _Item, index: int, bits: int, avoided: frozenset[int], time_zone: str) -> str:
    if item.kind == "range" and item.step is not None:
        # N/step is written out: what its end is differs between programs in the day of week.
        return item.text if "-" in item.text else f"{item.low}-{item.high}/{item.step}"
    if item.kind != "hash":
        return item.text
    if item.step is None:
        starts = [value for value in range(item.low, item.high + 1) if value not in avoided]
        if not starts:
            raise ValueError(
                f"{_FIELDS[index].title} {item.text!r}: in {time_zone} H never picks the hours 0 to 2, which a change "
                "of the clocks skips or repeats; write a later range, such as H(3-5), or a fixed hour"
            )
        return str(starts[bits % len(starts)])
    every = range(item.low, min(item.low + item.step - 1, item.high) + 1)
    starts = [value for value in every if avoided.isdisjoint(range(value, item.high + 1, item.step))] or list(every)
    start = starts[bits % len(starts)]
    return f"{start}-{item.high}/{item.step}" if start + item.step <= item.high else str(start)
