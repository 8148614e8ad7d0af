"""What holds whatever is kept, and a plain reading of the rules beside the fast one."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from housekeeper_api.durations import Duration
from housekeeper_api.task import Keep
from housekeeper_worker.retention.times import cutoff, zone
from tests.unit.worker.keeping import HOUR, SECOND, group, ns


def plain(times: Sequence[int], keep: Keep, zone_name: str) -> list[bool]:
    """The rules once more, read item by item as restic reads them."""
    tz = zone(zone_name)

    def local(time: int) -> dt.datetime:
        return dt.datetime.fromtimestamp(time // SECOND, tz)

    units: dict[str, Callable[[int], object]] = {
        "hourly": lambda time: time // HOUR,
        "daily": lambda time: local(time).date(),
        "weekly": lambda time: local(time).isocalendar()[:2],
        "monthly": lambda time: (local(time).year, local(time).month),
        "yearly": lambda time: local(time).year,
    }
    left = {unit: getattr(keep, unit) or 0 for unit in units}
    last: dict[str, object] = {}
    answers: list[bool] = []
    newest_first = list(times)[::-1]
    for number, time in enumerate(newest_first):
        oldest = number == len(times) - 1
        stays = keep.last == -1 or number < (keep.last or 0) or number < keep.at_least
        stays |= keep.within is not None and time > cutoff(newest_first[0], Duration.parse(keep.within), tz)
        for unit, bucket in units.items():
            if left[unit] and (unit not in last or last[unit] != bucket(time) or oldest):
                stays = True
                last[unit] = bucket(time)
                left[unit] -= 1 if left[unit] > 0 else 0
            within = getattr(keep, f"within_{unit}")
            key = f"within {unit}"
            if (
                within is not None
                and time > cutoff(newest_first[0], Duration.parse(within), tz)
                and (key not in last or last[key] != bucket(time) or oldest)
            ):
                stays = True
                last[key] = bucket(time)
        answers.append(stays)
    return answers[::-1]


COUNTS = st.none() | st.sampled_from([-1, 1, 2, 3, 7])
SPANS = st.none() | st.sampled_from(["1h", "36h", "1d", "3d", "2w", "1mo", "1y", "5y"])
KEEPS = st.builds(
    Keep,
    last=COUNTS,
    hourly=COUNTS,
    daily=COUNTS,
    weekly=COUNTS,
    monthly=COUNTS,
    yearly=COUNTS,
    within=SPANS,
    within_hourly=SPANS,
    within_daily=SPANS,
    within_weekly=SPANS,
    within_monthly=SPANS,
    within_yearly=SPANS,
    at_least=st.integers(0, 3),
)
ZONES = st.sampled_from(
    ["Etc/UTC", "Europe/Berlin", "America/St_Johns", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia"]
)
# Around changes of clocks and New Year, and anywhere.
AROUND = [
    ns(text)
    for text in ("2007-11-04T02:31", "2011-12-30T10:00", "2018-02-18T02:00", "2026-10-25T01:00", "2026-01-01T00:00")
]
MOMENTS = st.one_of(
    st.builds(
        lambda around, minutes: around + minutes * 60 * SECOND, st.sampled_from(AROUND), st.integers(-5000, 5000)
    ),
    st.integers(ns("1995-01-01T00:00"), ns("2026-11-22T00:00")),
)
GROUPS = st.lists(MOMENTS, max_size=40).map(sorted)


def _refers_to_something(keep: Keep) -> bool:
    return keep != Keep(at_least=keep.at_least)


@settings(max_examples=300, deadline=None)
@given(times=GROUPS, keep=KEEPS.filter(_refers_to_something), zone_name=ZONES)
def test_leaping_and_walking_keep_the_same(times: list[int], keep: Keep, zone_name: str) -> None:
    decided = group(times, keep, zone_name)
    assert [decided.keeps(place) for place in range(len(times))] == plain(times, keep, zone_name)
    assert [bool(decided.reasons(place)) for place in range(len(times))] == plain(times, keep, zone_name)


@settings(max_examples=200, deadline=None)
@given(times=GROUPS, keep=KEEPS, zone_name=ZONES, cap=st.none() | st.integers(0, 30))
def test_twice_is_once(times: list[int], keep: Keep, zone_name: str, cap: int | None) -> None:
    keep = _with_cap(keep, cap)
    once = group(times, keep, zone_name)
    left = [time for place, time in enumerate(times) if once.keeps(place)]
    twice = group(left, keep, zone_name)
    assert all(twice.keeps(place) for place in range(len(left)))


@settings(max_examples=200, deadline=None)
@given(times=GROUPS.filter(bool), keep=KEEPS, zone_name=ZONES, later=st.integers(0, 400 * 24))
def test_a_newer_item_never_brings_back_what_was_removed(
    times: list[int], keep: Keep, zone_name: str, later: int
) -> None:
    before = group(times, keep, zone_name)
    after = group([*times, times[-1] + later * HOUR], keep, zone_name)
    for place in range(len(times)):
        assert before.keeps(place) or not after.keeps(place)


@settings(max_examples=200, deadline=None)
@given(times=GROUPS.filter(bool), keep=KEEPS, zone_name=ZONES, data=st.data())
def test_a_partial_listing_never_removes_more(
    times: list[int], keep: Keep, zone_name: str, data: st.DataObject
) -> None:
    missing = data.draw(st.integers(0, len(times) - 1))
    whole = group(times, keep, zone_name)
    part = group(times[:missing] + times[missing + 1 :], keep, zone_name)
    for place in range(len(times)):
        if place != missing and whole.keeps(place):
            assert part.keeps(place - (place > missing))


@settings(max_examples=200, deadline=None)
@given(data=st.data(), keep=KEEPS, cap=st.integers(0, 60), floor=st.integers(0, 3))
def test_a_size_is_never_exceeded_but_by_the_floor(data: st.DataObject, keep: Keep, cap: int, floor: int) -> None:
    times = data.draw(GROUPS)
    sizes = data.draw(st.lists(st.integers(0, 20), min_size=len(times), max_size=len(times)))
    decided = group(times, _with_cap(keep, cap, floor), sizes=sizes)
    stays = [place for place in range(len(times)) if decided.keeps(place)]
    assert stays[-floor:] == list(range(len(times)))[-floor:] or not floor
    assert sum(sizes[place] for place in stays) <= cap or len(stays) <= floor


def _with_cap(keep: Keep, cap: int | None, floor: int | None = None) -> Keep:
    return dataclasses.replace(keep, max_total_size=cap, at_least=keep.at_least if floor is None else floor)
