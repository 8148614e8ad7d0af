"""Where the line between old and young lies."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_api.durations import Duration
from housekeeper_api.task import TaskError
from housekeeper_worker.retention.times import NEVER, cutoff, read_age, zone

SECOND = 1_000_000_000


def ns(text: str) -> int:
    """An RFC 3339 time as nanoseconds."""
    return int(dt.datetime.fromisoformat(text).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("now", "age", "zone_name", "line"),
    [
        ("2026-11-22T12:00:00+00:00", "30d", "Etc/UTC", "2026-10-23T12:00:00+00:00"),
        ("2026-11-22T12:00:00+00:00", "2w", "Etc/UTC", "2026-11-08T12:00:00+00:00"),
        ("2026-11-22T12:00:00+00:00", "36h", "Etc/UTC", "2026-11-21T00:00:00+00:00"),
        ("2026-11-22T12:00:00+00:00", "90m", "Etc/UTC", "2026-11-22T10:30:00+00:00"),
        ("2026-03-31T12:00:00+00:00", "1mo", "Etc/UTC", "2026-03-03T12:00:00+00:00"),
        ("2024-03-31T12:00:00+00:00", "1mo", "Etc/UTC", "2024-03-02T12:00:00+00:00"),
        ("2026-05-31T12:00:00+00:00", "1mo", "Etc/UTC", "2026-05-01T12:00:00+00:00"),
        ("2026-01-15T12:00:00+00:00", "13mo", "Etc/UTC", "2024-12-15T12:00:00+00:00"),
        ("2024-02-29T12:00:00+00:00", "1y", "Etc/UTC", "2023-03-01T12:00:00+00:00"),
        ("2024-02-29T12:00:00+00:00", "4y", "Etc/UTC", "2020-02-29T12:00:00+00:00"),
        # Berlin: summer time began on 29 March 2026 and ended on 25 October 2026.
        ("2026-03-30T12:00:00+02:00", "1d", "Europe/Berlin", "2026-03-29T12:00:00+02:00"),
        ("2026-03-29T12:00:00+02:00", "1d", "Europe/Berlin", "2026-03-28T12:00:00+01:00"),
        ("2026-03-29T12:00:00+02:00", "24h", "Europe/Berlin", "2026-03-28T11:00:00+01:00"),
        ("2026-10-26T12:00:00+01:00", "1d", "Europe/Berlin", "2026-10-25T12:00:00+01:00"),
        ("2026-10-25T12:00:00+01:00", "1d", "Europe/Berlin", "2026-10-24T12:00:00+02:00"),
        # 02:30 does not exist on 29 March, and exists twice on 25 October: the earlier moment, for less is old then.
        ("2026-03-30T02:30:00+02:00", "1d", "Europe/Berlin", "2026-03-29T01:30:00+01:00"),
        ("2026-10-26T02:30:00+01:00", "1d", "Europe/Berlin", "2026-10-25T02:30:00+02:00"),
        # The policy's zone decides which day it is.
        ("2026-03-31T23:30:00+00:00", "1mo", "Asia/Tokyo", "2026-02-28T23:30:00+00:00"),
    ],
)
def test_steps_in_the_calendar_of_the_zone(now: str, age: str, zone_name: str, line: str) -> None:
    assert cutoff(ns(now), read_age(age), zone(zone_name)) == ns(line)


def test_nanoseconds_are_kept() -> None:
    assert cutoff(ns("2026-11-22T12:00:00+00:00") + 123_456_789, read_age("1d"), zone("UTC")) % SECOND == 123_456_789


@pytest.mark.parametrize("age", ["999999y", "999999mo", "3000y"])
def test_nothing_is_older_than_the_calendar(age: str) -> None:
    assert cutoff(ns("2026-11-22T12:00:00+00:00"), read_age(age), zone("Europe/Berlin")) == NEVER


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "/etc/localtime", "a\0b"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(TaskError, match=r"spec.timeZone: .* IANA"):
        zone(name)


def test_an_unreadable_age_is_refused() -> None:
    with pytest.raises(TaskError, match="'soon': a duration is"):
        read_age("soon")


AGES = st.builds(Duration, st.integers(0, 2000), st.sampled_from(["ms", "s", "m", "h", "d", "w", "mo", "y"]))
NOWS = st.integers(ns("1990-01-01T00:00:00+00:00"), ns("2060-01-01T00:00:00+00:00"))
ZONES = st.sampled_from(["Etc/UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe"])


@given(now=NOWS, age=AGES, zone_name=ZONES)
def test_the_line_is_never_later_than_now(now: int, age: Duration, zone_name: str) -> None:
    assert cutoff(now, age, zone(zone_name)) <= now


@given(now=NOWS, age=AGES, zone_name=ZONES)
def test_a_greater_number_is_never_a_later_line(now: int, age: Duration, zone_name: str) -> None:
    tz = zone(zone_name)
    assert cutoff(now, Duration(age.number + 1, age.unit), tz) <= cutoff(now, age, tz)


@given(now=NOWS, days=st.integers(0, 4000))
def test_days_without_clock_changes_have_24_hours(now: int, days: int) -> None:
    assert cutoff(now, Duration(days, "d"), zone("Etc/UTC")) == now - days * 86_400 * SECOND
