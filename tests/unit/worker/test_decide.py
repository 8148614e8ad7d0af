"""One file's times, and what becomes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
