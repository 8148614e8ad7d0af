"""Brakes: each trips strictly above its limit, all that tripped are named, and each can be off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_api.task import Brakes, PastRun
from housekeeper_worker.retention.brakes import Numbers, off_for_want_of_runs, percent, sentence, tripped


def past(*planned: int, scanned: int = 1000) -> tuple[PastRun, ...]:
    return tuple(PastRun(number, scanned, 500, each, each) for number, each in enumerate(planned))


@pytest.mark.parametrize(
    ("limit", "planned", "selected", "trips"),
    [
        (50, 50, 100, False),
        (50, 51, 100, True),
        (50, 1, 2, False),
        (33, 1, 3, True),
        (0, 0, 0, False),
        (0, 0, 10, False),
        (0, 1, 10, True),
        (100, 10, 10, False),
    ],
)
def test_the_percent_brake_trips_strictly_above(limit: int, planned: int, selected: int, trips: bool) -> None:
    clauses = tripped(Brakes(limit), Numbers(selected, selected, planned, 0), None)
    assert [f"brakes.maxPercent {limit}" in clause for clause in clauses] == [True] * trips


@given(limit=st.integers(0, 100), selected=st.integers(0, 10**9), data=st.data())
def test_a_plan_that_passes_never_exceeds_its_brake(limit: int, selected: int, data: st.DataObject) -> None:
    planned = data.draw(st.integers(0, selected))
    if not tripped(Brakes(limit), Numbers(selected, selected, planned, 0), None):
        assert planned == 0 or planned / selected <= limit / 100


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(1, 3, "33.4"), (501, 1000, "50.1"), (50001, 100000, "50.1"), (0, 0, "0.0")]
)
def test_percentages_never_look_like_less(part: int, whole: int, text: str) -> None:
    assert percent(part, whole) == text


@pytest.mark.parametrize(
    ("brakes", "planned", "planned_bytes", "clauses"),
    [
        (Brakes(100), 1000, 2**40, []),
        (Brakes(100, max_items=10), 10, 0, []),
        (Brakes(100, max_items=10), 11, 0, ["11 files are more than brakes.maxItems 10"]),
        (Brakes(100, max_items=0), 1, 0, ["1 files are more than brakes.maxItems 0"]),
        (Brakes(100, max_bytes=4096), 9, 4096, []),
        (Brakes(100, max_bytes=4096), 9, 8192, ["8.0 KiB is more than brakes.maxBytes 4.0 KiB"]),
        (
            Brakes(100, max_bytes=2**40),
            9,
            2**40 + 1,
            ["1.0 TiB is more than brakes.maxBytes 1.0 TiB (1099511627777 and 1099511627776 bytes)"],
        ),
        (
            Brakes(50, max_items=5, max_bytes=0),
            600,
            1,
            [
                "60.0 % is more than brakes.maxPercent 50",
                "600 files are more than brakes.maxItems 5",
                "1 B is more than brakes.maxBytes 0 B",
            ],
        ),
    ],
)
def test_items_and_bytes_trip_strictly_above_and_all_are_named(
    brakes: Brakes, planned: int, planned_bytes: int, clauses: list[str]
) -> None:
    found = Numbers(1000, 1000, planned, planned_bytes)
    assert tripped(brakes, found, None) == clauses
    assert all(clause in sentence(found, clauses) for clause in clauses)


@pytest.mark.parametrize(
    ("planned", "quarantined", "would"),
    [(3, 0, "remove 3"), (3, 3, "quarantine 3"), (3, 1, "remove 2 and quarantine 1"), (0, 0, "remove 0")],
)
def test_what_is_held_says_how_it_would_go(planned: int, quarantined: int, would: str) -> None:
    told = sentence(Numbers(9, 5, planned, 0, quarantined=quarantined), ["why"])
    assert told.startswith(f"the plan would {would} of 5 selected files ")


@pytest.mark.parametrize(
    ("runs", "planned", "trips"),
    [
        (None, 10**6, False),
        ((), 10**6, False),
        (past(1, 1), 10**6, False),  # two runs say nothing about what is usual
        (past(1, 1, 1), 12, False),  # ten times little is little
        (past(0, 0, 0), 100, False),
        (past(0, 0, 0), 101, True),
        (past(20, 10, 30), 200, False),
        (past(20, 10, 30), 201, True),
        (past(20, 20, 20, 9000), 201, True),  # one exception does not make it usual
        (past(20, 30), 10**6, False),
    ],
)
def test_ten_times_the_median_of_the_past_runs_trips(
    runs: tuple[PastRun, ...] | None, planned: int, trips: bool
) -> None:
    clauses = tripped(Brakes(100), Numbers(10**7, 10**7, planned, 0), runs)
    assert ["the median of the last" in clause for clause in clauses] == [True] * trips


@pytest.mark.parametrize(
    ("runs", "scanned", "trips"),
    [
        (None, 0, False),
        ((), 0, False),
        (past(0, scanned=9), 0, False),
        (past(0, scanned=10), 0, True),
        (past(0, scanned=10), 1, False),
        (past(1000, scanned=1000), 0, False),  # it had removed all of them
        ((*past(0, scanned=0), *past(0, scanned=1000)), 0, False),  # it was empty last time too
    ],
)
def test_an_empty_volume_that_was_full_trips(runs: tuple[PastRun, ...] | None, scanned: int, trips: bool) -> None:
    clauses = tripped(Brakes(0), Numbers(scanned, 0, 0, 0), runs)
    assert ["nothing is there" in clause for clause in clauses] == [True] * trips


@pytest.mark.parametrize(
    ("runs", "said"),
    [(None, "no numbers of past runs"), ((), "(now 0)"), (past(1, 1), "(now 2)"), (past(1, 1, 1), None)],
)
def test_what_had_nothing_to_compare_with_is_said(runs: tuple[PastRun, ...] | None, said: str | None) -> None:
    note = off_for_want_of_runs(runs)
    assert (note is None) == (said is None)
    assert said is None or said in (note or "")


@given(
    brakes=st.builds(
        Brakes,
        max_percent=st.integers(0, 100),
        max_items=st.none() | st.integers(0, 50),
        max_bytes=st.none() | st.integers(0, 50),
    ),
    runs=st.none() | st.lists(st.integers(0, 50), max_size=10).map(lambda planned: past(*planned)),
    selected=st.integers(0, 1000),
    planned_bytes=st.integers(0, 100),
    data=st.data(),
)
def test_a_plan_that_may_go_is_below_each_limit(
    brakes: Brakes, runs: tuple[PastRun, ...] | None, selected: int, planned_bytes: int, data: st.DataObject
) -> None:
    planned = data.draw(st.integers(0, selected))
    if tripped(brakes, Numbers(selected, selected, planned, planned_bytes), runs):
        return
    assert planned * 100 <= brakes.max_percent * selected
    assert brakes.max_items is None or planned <= brakes.max_items
    assert brakes.max_bytes is None or planned_bytes <= brakes.max_bytes
    if runs is not None and len(runs) >= 3 and planned > 100:
        ordered = sorted(run.planned for run in runs)
        assert planned <= 10 * ordered[len(ordered) // 2]
