"""One file's times, and what becomes of it."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_worker.retention.decide import Lines, Verdict, decide, decision, is_old, old_at_once, reason

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


SECOND = 1_000_000_000
MOMENTS = st.integers(-3, 6) | st.sampled_from([2**40, 2**62 // SECOND, -(2**62) // SECOND])


@given(
    st.lists(st.tuples(MOMENTS, MOMENTS, st.integers(0, SECOND - 1)), min_size=1, max_size=40),
    st.tuples(MOMENTS, MOMENTS, MOMENTS),
    st.integers(0, SECOND - 1),
)
def test_many_at_once_are_decided_as_each_alone(
    files: list[tuple[int, int, int]], lines_and_clock: tuple[int, int, int], rest: int
) -> None:
    old_before, settled_until, clock = (second * SECOND + rest for second in lines_and_clock)
    lines = Lines(old_before, settled_until)
    modified, changed = (array("q", column) for column in list(zip(*files, strict=True))[:2])
    marks = old_at_once(modified, lambda: changed, lines, clock)
    verdicts = [decide(m * SECOND + part, c * SECOND + part, lines, clock) for m, c, part in files]
    if marks is not None:
        assert [Verdict.REMOVE if mark else Verdict.YOUNG for mark in marks] == verdicts


def test_what_is_alike_enough_is_decided_at_once() -> None:
    lines = Lines(1000 * SECOND + 1, 2000 * SECOND)
    marks = old_at_once(
        array("q", [999, 1001, 0, 2500]), lambda: array("q", [1999, 2500, 5, 2500]), lines, 3000 * SECOND
    )
    assert marks == b"\1\0\1\0"


@pytest.mark.parametrize(
    ("modified", "changed"),
    [(1000, 1000), (3000, 1000), (999, 2000), (-1, 1000), (2**62, 1000)],
    ids=["in the second of the line", "in this second", "perhaps settling", "before 1970", "of no time"],
)
def test_what_is_close_to_a_line_is_not_decided_at_once(modified: int, changed: int) -> None:
    lines = Lines(1000 * SECOND + 1, 2000 * SECOND)
    assert old_at_once(array("q", [999, modified]), lambda: array("q", [1999, changed]), lines, 3000 * SECOND) is None
