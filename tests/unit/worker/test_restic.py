"""`simulate` gives the answers of `restic forget`, where ours are meant to be the same.

What restic keeps is stated here once more, from its documents: as sets of buckets, where the engine bisects a sorted
column. In UTC, with different times and none in the future, there is no exception, so each answer must be the same.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Callable, Hashable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from housekeeper_api.task import Keep
from housekeeper_worker.retention.decide import Verdict
from housekeeper_worker.simulation import Item, Simulation
from tests.unit.worker.builders import cleanup_task, rule

Moment = dt.datetime
NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)

CALENDAR: dict[str, Callable[[Moment], Hashable]] = {
    "hourly": lambda time: time.strftime("%Y-%m-%d %H"),
    "daily": lambda time: time.strftime("%Y-%m-%d"),
    "weekly": lambda time: time.strftime("%G-W%V"),
    "monthly": lambda time: time.strftime("%Y-%m"),
    "yearly": lambda time: time.strftime("%Y"),
}


def earlier(time: Moment, span: str) -> Moment:
    """A span before a time, as Go's AddDate has it: days that a month has not are those of the next."""
    number, unit = re.fullmatch("([0-9]+)([a-z]+)", span).groups()
    count = int(number)
    if unit in {"h", "d", "w"}:
        return time - dt.timedelta(hours=count * {"h": 1, "d": 24, "w": 168}[unit])
    months = time.year * 12 + time.month - 1 - count * {"mo": 1, "y": 12}[unit]
    return time.replace(year=months // 12, month=months % 12 + 1, day=1) + dt.timedelta(days=time.day - 1)


def newest_of_each(times: list[Moment], bucket: Callable[[Moment], Hashable]) -> list[Moment]:
    """The newest of each bucket, newest first."""
    found: dict[Hashable, Moment] = {}
    for time in sorted(times):
        found[bucket(time)] = time
    return sorted(found.values(), reverse=True)


def kept_by_restic(times: list[Moment], keep: Keep) -> set[Moment]:
    """What `restic forget` with these options would keep of snapshots taken at these times."""
    if not times:
        return set()
    oldest, newest = min(times), max(times)
    kept: set[Moment] = set()
    for option, bucket in {"last": lambda time: time, **CALENDAR}.items():
        count = getattr(keep, option)
        if count is not None:
            buckets = newest_of_each(times, bucket)
            kept.update(buckets if count == -1 else buckets[:count])
            # "If there are not enough snapshots to keep one for each …, the oldest snapshot is kept additionally."
            if count == -1 or len(buckets) < count:
                kept.add(oldest)
    if keep.within is not None:
        kept.update(time for time in times if time > earlier(newest, keep.within))
    for option, bucket in CALENDAR.items():
        span = getattr(keep, f"within_{option}")
        if span is not None:
            within = [time for time in times if time > earlier(newest, span)]
            kept.update(newest_of_each(within, bucket))
            if oldest in within:
                kept.add(oldest)
    return kept


def kept_by_simulate(times: list[Moment], keep: Keep, *, zone: str = "Etc/UTC") -> set[Moment]:
    task = cleanup_task("", dataclasses.replace(rule(), remove_older_than=None, keep=keep), zone=zone)
    assert task.cleanup is not None
    items = [
        Item(f"{number % 3}/{number}.dump", round(time.timestamp()) * 10**9, 1) for number, time in enumerate(times)
    ]
    decided, _ = Simulation(task, task.cleanup).decide(items, round(NOW.timestamp()) * 10**9)
    assert all(one is not None and one.verdict in {Verdict.KEPT, Verdict.REMOVE} for one in decided)
    verdicts = [one.verdict for one in decided if one is not None]
    return {time for time, verdict in zip(times, verdicts, strict=True) if verdict is Verdict.KEPT}


COUNTS = st.none() | st.sampled_from([-1, 1, 2, 3, 5, 30])
SPANS = st.none() | st.sampled_from(["1h", "36h", "1d", "3d", "2w", "1mo", "13mo", "1y", "5y"])
KEEPS = st.builds(
    Keep,
    last=COUNTS,
    within=SPANS,
    **dict.fromkeys(CALENDAR, COUNTS),
    **{f"within_{unit}": SPANS for unit in CALENDAR},
).filter(lambda keep: keep != Keep())
AROUND = ["2024-02-29", "2024-12-30", "2026-01-01", "2026-03-31", "2026-10-25", "2021-01-03"]
MINUTES = st.one_of(
    st.builds(
        lambda day, minutes: dt.datetime.fromisoformat(f"{day}T00:00Z") + dt.timedelta(minutes=minutes),
        st.sampled_from(AROUND),
        st.integers(-9000, 9000),
    ),
    st.integers(0, 10 * 365 * 24 * 60).map(lambda minutes: NOW - dt.timedelta(minutes=minutes)),
)


@settings(max_examples=300, deadline=None)
@given(times=st.lists(MINUTES, max_size=40, unique=True), keep=KEEPS)
@example(
    times=[dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC), dt.datetime(2023, 3, 1, 12, tzinfo=dt.UTC)],
    keep=Keep(within="1y"),
)
def test_the_answers_are_those_of_restic(times: list[Moment], keep: Keep) -> None:
    assert kept_by_simulate(times, keep) == kept_by_restic(times, keep)


@settings(max_examples=100, deadline=None)
@given(times=st.lists(MINUTES, max_size=25, unique=True), keep=KEEPS, data=st.data())
def test_the_order_in_which_items_come_does_not_matter(times: list[Moment], keep: Keep, data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(["Etc/UTC", "Europe/Berlin", "America/St_Johns"]))
    shuffled = data.draw(st.permutations(times))
    assert kept_by_simulate(shuffled, keep, zone=zone) == kept_by_simulate(times, keep, zone=zone)


def test_what_the_documents_of_restic_promise() -> None:
    """One snapshot each Sunday: four daily ones are of four weeks, and five yearly ones begin with the first of all."""
    sundays = [dt.datetime(2014, 9, 7, 11, 30, tzinfo=dt.UTC) + number * dt.timedelta(weeks=1) for number in range(60)]
    assert sorted(kept_by_simulate(sundays, Keep(daily=4))) == sundays[-4:]
    assert kept_by_simulate(sundays, Keep(last=-1)) == set(sundays)
    assert kept_by_simulate(sundays, Keep(yearly=5)) == {
        sundays[0],
        sundays[-1],
        dt.datetime(2014, 12, 28, 11, 30, tzinfo=dt.UTC),
    }


@pytest.mark.parametrize("unit", CALENDAR)
def test_a_history_that_is_too_short_keeps_its_oldest(unit: str) -> None:
    times = [NOW - dt.timedelta(minutes=minutes) for minutes in (1, 2, 3)]
    for keep, count in ((Keep(**{unit: 1}), 1), (Keep(**{unit: 2}), 2), (Keep(**{f"within_{unit}": "1y"}), 2)):
        assert len(kept_by_simulate(times, keep)) == count
        assert kept_by_simulate(times, keep) == kept_by_restic(times, keep)
