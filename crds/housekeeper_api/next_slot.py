"""When a CronJob's schedule fires next, as the CronJob controller reckons it.

The controller is the truth, so this walks the calendar the way its parser (robfig/cron v3) does: from the largest unit
to the smallest, days by the wall clock and hours by the clock on the wall after each hour that really passed. Where a
zone changes its clock, that is visible, and it is what the cluster does:

- A time that is skipped in spring does not fire; one that comes twice in autumn fires twice.
- Where the clock moves by half an hour (Australia/Lord_Howe), whole hours after the gap are missed on that day.
- Where midnight is skipped (America/Havana), a day may be passed over.

`tests/unit/api/test_next_slot.py` holds it against the parser itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from housekeeper_api import schedules
from housekeeper_api.schedules import Slots

HORIZON: Final = 5
"""Calendar years after which the controller gives up: such a schedule never fires."""
HOUR: Final = timedelta(hours=1)


def next_time(schedule: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The first time after `after` at which `schedule` fires, in UTC; None when that is more than five years away.

    `schedule` has five fields and no `H`. Raises `ValueError` when it cannot be read.
    """
    walk = _Walk(schedules.slots(schedule), zone, after)
    last_year = walk.local.year + HORIZON
    while walk.local.year <= last_year:
        if walk.to_month() and walk.to_day() and walk.to_hour() and walk.to_minute() and walk.to_second():
            return walk.moment
    return None


class _Walk:
    """A moment that moves forward. Each step returns False where a larger unit has begun and must be looked at anew."""

    def __init__(self, slots: Slots, zone: ZoneInfo, after: datetime) -> None:
        self._slots = slots
        self._zone = zone
        self._at_start = False
        """Whether the moment stands at the beginning of a unit; until the first step it is in the midst of all."""
        self._set(after.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1))

    def _set(self, moment: datetime) -> None:
        self.moment = moment
        self.local = moment.astimezone(self._zone)

    def _set_wall(self, wall: datetime) -> None:
        """Move to a time on the wall. Where that is skipped or comes twice, the choice is that of Go's `time.Date`."""
        guess = wall.replace(tzinfo=UTC)
        offset = (guess - _offset(guess, self._zone)).astimezone(self._zone).utcoffset()
        self._set(guess - (offset or timedelta()))

    def _begin(self, wall: datetime) -> None:
        """The first step goes back to the beginning of the unit, which is known not to suit."""
        if not self._at_start:
            self._at_start = True
            self._set_wall(wall)

    def to_month(self) -> bool:
        while self.local.month not in self._slots.months:
            self._begin(datetime(self.local.year, self.local.month, 1))  # noqa: DTZ001 a time on the wall
            wall = self.local.replace(tzinfo=None, fold=0)
            years, month = divmod(wall.month, 12)
            first = wall.replace(year=wall.year + years, month=month + 1, day=1)
            self._set_wall(first + timedelta(days=wall.day - 1))
            if self.local.month == 1:
                return False
        return True

    def to_day(self) -> bool:
        while not self._suits():
            self._begin(datetime(self.local.year, self.local.month, self.local.day))  # noqa: DTZ001 as above
            before = self.moment
            self._set_wall(self.local.replace(tzinfo=None, fold=0) + timedelta(days=1))
            if self.moment <= before:
                # A whole day is skipped (the date line moved over Pacific/Apia in 2011). The parser goes round for
                # ever here; what it would have done is not known.
                self._set(before + 24 * HOUR)
            hour = self.local.hour
            if hour:  # midnight is skipped on this day
                self._set(self.moment + (24 - hour if hour > 12 else -hour) * HOUR)
            if self.local.day == 1:
                return False
        return True

    def _suits(self) -> bool:
        day = self.local.day in self._slots.days
        weekday = self.local.isoweekday() % 7 in self._slots.weekdays
        return (day and weekday) if self._slots.both_days else (day or weekday)

    def to_hour(self) -> bool:
        while self.local.hour not in self._slots.hours:
            self._begin(self.local.replace(tzinfo=None, fold=0, minute=0, second=0))
            self._set(self.moment + HOUR)
            if self.local.hour == 0:
                return False
        return True

    def to_minute(self) -> bool:
        while self.local.minute not in self._slots.minutes:
            if not self._at_start:
                self._at_start = True
                self._set(self.moment.replace(second=0))
            self._set(self.moment + timedelta(minutes=1))
            if self.local.minute == 0:
                return False
        return True

    def to_second(self) -> bool:
        if self.moment.second == 0:
            return True
        self._at_start = True
        self._set(self.moment + timedelta(seconds=60 - self.moment.second))
        return False


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
