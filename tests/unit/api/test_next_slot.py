"""`next_time` and the resolved schedules against the parser that the CronJob controller uses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from housekeeper_api import schedules
from housekeeper_api.next_slot import next_time
from tests.unit.api.cron_oracle import CronOracle, Question

ZONES = [
    "Africa/Cairo",
    "America/Havana",  # midnight is skipped in spring
    "America/New_York",
    "America/Sao_Paulo",  # midnight was skipped, until 2019
    "Antarctica/Troll",  # by two hours
    "Asia/Beirut",  # midnight is skipped in spring
    "Asia/Kolkata",  # half an hour beside the others, and no change
    "Australia/Lord_Howe",  # by half an hour
    "Etc/UTC",
    "Europe/Berlin",
    "Pacific/Apia",
]
SCHEDULES = [
    "* * * * *",
    "*/7 * * * *",
    "0 * * * *",
    "0 0 * * *",
    "30 0 * * *",
    "15 1 * * *",
    "0 2 * * *",
    "30 2 * * *",
    "45 1-3 * * *",
    "0 3 * * *",
    "17 3 * * 0",
    "0 */2 * * *",
    "59 23 * * *",
    "0 0 1 * *",
    "0 0 * * 0",
    "30 1 13 * 5",  # either day
    "0 4 1-31/2 * 1",
    "0 5 */3 * *",
    "0 0 * * */2",
    "0 0 31 * *",
    "0 0 29 2 *",
    "30 0 * MAR,APR,SEP-NOV SUN",
    "10-50/20 22-23,0-3 * * *",
]


@pytest.fixture(scope="module")
def oracle() -> Iterator[CronOracle]:
    with CronOracle() as running:
        yield running


def slots(question: Question) -> list[datetime]:
    found: list[datetime] = []
    moment: datetime | None = question.after
    zone = ZoneInfo(question.zone)
    while moment is not None and len(found) < question.count:
        moment = next_time(question.schedule, zone, moment)
        if moment is not None:
            found.append(moment)
    return found


def changes_of_the_clock(zone: str, years: range) -> list[datetime]:
    """The days in which a zone changes its clock; the first day of the first year where it never does."""
    days = (datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day) for year in years for day in range(365))
    tz = ZoneInfo(zone)
    found = [
        day for day in days if day.astimezone(tz).utcoffset() != (day + timedelta(days=1)).astimezone(tz).utcoffset()
    ]
    return found or [datetime(years.start, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize("zone", ZONES)
def test_fires_when_the_controller_does_around_changes_of_the_clock(oracle: CronOracle, zone: str) -> None:
    starts = [
        day + timedelta(hours=hours, seconds=seconds)
        for day in changes_of_the_clock(zone, range(2026, 2028))
        for hours, seconds in ((-20, 0), (1, 1800), (13, 60), (16, 0))
    ]
    questions = [Question(schedule, zone, start, 4) for schedule in SCHEDULES for start in starts]
    wrong = [
        (question, want, got) for question in questions if (got := slots(question)) != (want := oracle.slots(question))
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("America/Sao_Paulo", datetime(2018, 11, 3, 9, tzinfo=UTC)),
        ("Asia/Beirut", datetime(2025, 3, 29, 9, tzinfo=UTC)),
        ("Africa/Cairo", datetime(2024, 4, 25, 9, tzinfo=UTC)),
    ],
)
def test_fires_when_the_controller_does_where_midnight_is_missing(oracle: CronOracle, zone: str, day: datetime) -> None:
    questions = [Question(schedule, zone, day) for schedule in SCHEDULES]
    assert [slots(question) for question in questions] == [oracle.slots(question) for question in questions]


def _item(low: int, high: int) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    ranges = st.tuples(numbers, numbers).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(numbers, numbers, st.integers(1, high)).map(
        lambda item: f"{min(item[:2])}-{max(item[:2])}/{min(item[2], max(item[:2]) - min(item[:2]) + 1)}"
    )
    return st.one_of(numbers.map(str), ranges, stepped)


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    stars = st.one_of(st.just("*"), st.integers(1, high - low + 1).map(lambda step: f"*/{step}"))
    return st.one_of(stars, st.lists(_item(low, high), min_size=1, max_size=3).map(",".join))


def _accepted(schedule: str) -> bool:
    try:
        schedules.validate(schedule)
    except ValueError:
        return False
    return True


ANY_SCHEDULE = (
    st.tuples(_field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), _field(0, 6)).map(" ".join).filter(_accepted)
)
MOMENTS = st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 bounds


@given(schedule=ANY_SCHEDULE, zone=st.sampled_from(ZONES), after=MOMENTS)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.filter_too_much])
def test_fires_when_the_controller_does(oracle: CronOracle, schedule: str, zone: str, after: datetime) -> None:
    question = Question(schedule, zone, after.replace(microsecond=0))
    assert slots(question) == oracle.slots(question)


@given(
    schedule=st.sampled_from(
        ["H 3 * * *", "H/5 * * * *", "H H * * *", "H H(3-5) H * *", "H(0-29)/10 H/4 * * H", "H 5/2 * H 1/2"]
    ),
    zone=st.sampled_from(ZONES),
    name=st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True),
    kind=st.sampled_from(["CleanupPolicy", "HealthCheck"]),
)
@settings(deadline=None, max_examples=60)
def test_the_controller_takes_what_h_becomes(
    oracle: CronOracle, schedule: str, zone: str, name: str, kind: str
) -> None:
    resolved = schedules.resolve(schedule, namespace="team", name=name, time_zone=zone, kind=kind)
    question = Question(resolved, zone, datetime(2026, 3, 27, 12, 34, 56, tzinfo=UTC), 12)
    expected = oracle.slots(question)
    assert len(expected) == 12
    assert slots(question) == expected


@pytest.mark.parametrize(
    "schedule", ["0 3 * *", "H 3 * * *", "@daily", "0 0 L * *", "0 0 30 2 *", "61 * * * *", "0 0 * * 7", ""]
)
def test_refuses_what_is_no_resolved_schedule(schedule: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        next_time(schedule, ZoneInfo("Etc/UTC"), datetime(2026, 1, 1, tzinfo=UTC))


def test_tells_of_no_slot_that_is_more_than_five_years_away() -> None:
    # 2100 is no leap year: after 2096 comes 2104.
    after = datetime(2096, 3, 1, tzinfo=UTC)
    assert next_time("0 0 29 2 *", ZoneInfo("Etc/UTC"), after) is None


def test_a_fraction_of_a_second_does_not_bring_a_past_slot_back() -> None:
    after = datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
    assert next_time("* * * * *", ZoneInfo("Etc/UTC"), after) == datetime(2026, 1, 1, 12, 1, tzinfo=UTC)
    just_before = datetime(2026, 1, 1, 11, 59, 59, 999999, tzinfo=UTC)
    assert next_time("* * * * *", ZoneInfo("Etc/UTC"), just_before) == datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def test_a_day_that_a_zone_left_out_is_passed_over() -> None:
    # The parser itself never ends here, so there is nothing to compare with.
    zone, after = ZoneInfo("Pacific/Apia"), datetime(2011, 12, 30, 9, tzinfo=UTC)
    assert next_time("0 12 1 * *", zone, after) == datetime(2011, 12, 31, 22, tzinfo=UTC)
