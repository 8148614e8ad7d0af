from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_api.conditions import GOOD_STATES, IDLE_STATES, TERMINAL_STATES, RunState
from housekeeper_operator.decisions.history import surplus
from housekeeper_operator.decisions.views import RunView, format_time
from tests.unit.operator.builders import NOW, RunBuilder, ago, run

WEEK = timedelta(days=7)


def ended(name: str, state: RunState, hours: float) -> RunBuilder:
    return run(name).ended(state, ago(hours=hours)).recorded()


def removed(runs: list[RunBuilder], *, succeeded: int = 3, failed: int = 5, ttl: timedelta = WEEK) -> list[str]:
    gone, _ = surplus([one.view() for one in runs], succeeded=succeeded, failed=failed, ttl=ttl, now=NOW)
    return sorted(one.name for one in gone)


def test_keeps_the_newest_of_both_sorts() -> None:
    good = [ended(f"good-{hours}", RunState.SUCCEEDED, hours) for hours in (5, 1, 3, 2, 4)]
    bad = [ended(f"bad-{hours}", RunState.FAILED, hours) for hours in (1, 2, 3)]
    assert removed([*good, *bad], succeeded=3, failed=2) == ["bad-3", "good-4", "good-5"]


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES))
def test_partly_succeeded_is_good_and_all_else_is_not(state: RunState) -> None:
    here = [ended("it", state, 1)]
    assert removed(here, succeeded=0, failed=1) == (["it"] if state in GOOD_STATES else [])
    assert removed(here, succeeded=1, failed=0) == ([] if state in GOOD_STATES else ["it"])


def test_what_has_not_ended_or_is_not_counted_stays() -> None:
    waiting = [run("new"), run("queued").queued(), run("running").running(ago(minutes=1))]
    uncounted = run("uncounted").ended(RunState.SUCCEEDED, ago(days=30))
    assert removed([*waiting, uncounted], succeeded=0, failed=0) == []


def test_skipped_and_cancelled_runs_push_no_failure_out() -> None:
    failure = ended("failure", RunState.FAILED, 50)
    skipped = [ended(f"skipped-{hours}", RunState.SKIPPED, hours) for hours in (1, 2, 3)]
    assert removed([failure, *skipped], failed=2) == ["skipped-3"]


def test_nothing_outlives_its_ttl_and_the_next_end_is_told() -> None:
    runs = [ended("old", RunState.SUCCEEDED, 7 * 24), ended("young", RunState.SUCCEEDED, 7 * 24 - 1)]
    gone, due = surplus([one.view() for one in runs], succeeded=3, failed=3, ttl=WEEK, now=NOW)
    assert [one.name for one in gone] == ["old"]
    assert due == NOW + timedelta(hours=1)


def test_nothing_is_due_where_nothing_is_kept() -> None:
    assert surplus([], succeeded=3, failed=3, ttl=WEEK, now=NOW) == ([], None)


RUNS = st.lists(
    st.tuples(st.sampled_from(sorted(TERMINAL_STATES)), st.integers(0, 300), st.booleans()), max_size=20
).map(
    lambda items: [
        ended(f"run-{index}", state, hours) if recorded else run(f"run-{index}").ended(state, ago(hours=hours))
        for index, (state, hours, recorded) in enumerate(items)
    ]
)


def _end(view: RunView) -> datetime:
    assert view.completed is not None
    return view.completed


@given(runs=RUNS, succeeded=st.integers(0, 5), failed=st.integers(0, 5))
def test_laws_of_history(runs: list[RunBuilder], succeeded: int, failed: int) -> None:
    views = [one.view() for one in runs]
    gone, due = surplus(views, succeeded=succeeded, failed=failed, ttl=WEEK, now=NOW)
    kept = [view for view in views if view not in gone and view.recorded]
    for of_sort, most in (
        (lambda view: view.state in GOOD_STATES, succeeded),
        (lambda view: view.state in IDLE_STATES, failed),
        (lambda view: view.state not in GOOD_STATES | IDLE_STATES, failed),
    ):
        kept_ends = sorted(_end(view) for view in kept if of_sort(view))
        gone_ends = sorted(_end(view) for view in gone if of_sort(view))
        assert len(kept_ends) <= most
        assert not kept_ends or not gone_ends or gone_ends[-1] <= kept_ends[0]
        if len(kept_ends) < most:
            assert all(end + WEEK <= NOW for end in gone_ends)
    assert all(view.recorded for view in gone)
    assert due is None if not kept else due is not None and due > NOW
    # What is left needs no second look.
    left = [view for view in views if view not in gone]
    assert surplus(left, succeeded=succeeded, failed=failed, ttl=WEEK, now=NOW) == ([], due)


def test_a_run_whose_quarantine_can_be_restored_stays_and_takes_nobodys_place() -> None:
    def holding(name: str, hours: float, until: str) -> RunBuilder:
        return ended(name, RunState.SUCCEEDED, hours).status(result={"cleanup": {"restorableUntil": until}})

    later, earlier = format_time(NOW + timedelta(days=2)), format_time(ago(minutes=1))
    runs = [holding("restorable", 24 * 30, later), holding("over", 24 * 30, earlier)]
    runs += [ended(f"good-{hours}", RunState.SUCCEEDED, hours) for hours in (1, 2, 3)]
    assert removed(runs, succeeded=2) == ["good-3", "over"]
    _, due = surplus([runs[0].view()], succeeded=0, failed=0, ttl=WEEK, now=NOW)
    assert due == NOW + timedelta(days=2)
