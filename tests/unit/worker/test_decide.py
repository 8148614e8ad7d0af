"""One file's times, and what becomes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_api.task import Brakes
from housekeeper_worker.retention.brakes import percent, tripped
from housekeeper_worker.retention.decide import Lines, Verdict, decide, decision, is_old, reason

LINES = Lines(old_before=1000, settled_until=2000)
NOW = 3000


@pytest.mark.parametrize(
    ("modified", "changed", "verdict"),
    [
        (999, 999, Verdict.REMOVE),
        (1000, 1000, Verdict.YOUNG),  # exactly as old as the rule says is not older
        (999, 2000, Verdict.REMOVE),
        (999, 2001, Verdict.SETTLING_BY_CHANGE_TIME),
        (3000, 3000, Verdict.YOUNG),
        (3001, 3000, Verdict.FUTURE),
        (-5, 0, Verdict.REMOVE),
    ],
)
def test_verdict(modified: int, changed: int, verdict: Verdict) -> None:
    assert decide(modified, changed, LINES, NOW) is verdict


def test_a_settle_time_longer_than_the_age_protects_by_modification_time() -> None:
    assert decide(900, 900, Lines(old_before=1000, settled_until=500), NOW) is Verdict.SETTLING


TIMES = st.integers(-(2**40), 2**40)


@given(modified=TIMES, changed=TIMES, old=TIMES, settled=TIMES, clock=TIMES)
def test_nothing_goes_that_is_not_old_and_settled_by_both_times(
    modified: int, changed: int, old: int, settled: int, clock: int
) -> None:
    lines = Lines(old, settled)
    verdict = decide(modified, changed, lines, clock)
    assert (verdict is Verdict.REMOVE) == (modified < old and modified <= settled and changed <= settled)
    assert is_old(modified, lines) == (verdict not in {Verdict.YOUNG, Verdict.FUTURE})


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_has_words(verdict: Verdict) -> None:
    assert decision(verdict) in {"Keep", "Remove"}
    assert reason(verdict, "30d", "10m")


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
    sentence = tripped(Brakes(limit), planned=planned, selected=selected)
    assert (sentence is not None) == trips
    assert sentence is None or "spec.brakes.maxPercent" in sentence


@given(limit=st.integers(0, 100), selected=st.integers(0, 10**9), data=st.data())
def test_a_plan_that_passes_never_exceeds_its_brake(limit: int, selected: int, data: st.DataObject) -> None:
    planned = data.draw(st.integers(0, selected))
    if tripped(Brakes(limit), planned=planned, selected=selected) is None:
        assert planned == 0 or planned / selected <= limit / 100


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(1, 3, "33.4"), (501, 1000, "50.1"), (50001, 100000, "50.1"), (0, 0, "0.0")]
)
def test_percentages_never_look_like_less(part: int, whole: int, text: str) -> None:
    assert percent(part, whole) == text
