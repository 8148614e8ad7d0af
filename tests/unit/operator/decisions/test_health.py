from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_api.health_check import HealthCheckStatus
from housekeeper_operator.decisions.health import fold_checks, healthy, summary
from housekeeper_operator.decisions.views import Object, format_time
from tests.unit.operator.builders import NOW, later

RESULTS = ["Passed", "Warning", "Failed", "Unknown"]


def report(name: str = "disk", result: str = "Passed", **members: str) -> Object:
    return {"name": name, "result": result, "value": "42", "unit": "percent", "message": f"{result}.", **members}


def fold(*results: str | None, before: list[Object] | None = None) -> list[Object]:
    """`status.checks` of one check after runs with these results; None is a run that gave none."""
    checks = before or []
    for minute, result in enumerate(results):
        reports = None if result is None else [report(result=result)]
        checks = fold_checks(checks, reports, ["disk"], "The worker was killed.", later(minutes=minute))
        HealthCheckStatus.model_validate_json(json.dumps({"checks": checks, "summary": summary(checks)}))
    return checks


@pytest.mark.parametrize(
    ("results", "failures", "successes"),
    [
        (["Passed"], 0, 1),
        (["Passed", "Warning"], 0, 2),
        (["Failed", "Failed"], 2, 0),
        (["Failed", "Unknown", "Failed"], 2, 0),
        (["Passed", "Unknown"], 0, 1),
        (["Failed", "Passed"], 0, 1),
        (["Passed", "Failed"], 1, 0),
        (["Failed", None], 1, 0),
    ],
)
def test_streaks_count_what_was_learned(results: list[str | None], failures: int, successes: int) -> None:
    [check] = fold(*results)
    assert (check["consecutiveFailures"], check["consecutiveSuccesses"]) == (failures, successes)


def test_the_transition_time_moves_with_the_result_only() -> None:
    assert fold("Passed", "Passed", "Passed")[0]["lastTransitionTime"] == format_time(NOW)
    assert fold("Passed", "Failed", "Failed")[0]["lastTransitionTime"] == format_time(later(minutes=1))
    without = [{"name": "disk", "result": "Passed"}]
    assert fold("Passed", before=without)[0]["lastTransitionTime"] == format_time(NOW)


def test_a_lost_run_leaves_every_check_unknown_and_says_why() -> None:
    [check] = fold("Passed", None)
    assert (check["result"], check["message"]) == ("Unknown", "The worker was killed.")
    assert "value" not in check


def test_checks_stand_in_the_order_of_the_specification_and_no_others() -> None:
    before = fold_checks([], [report("gone"), report("b")], ["gone", "b"], "", NOW)
    checks = fold_checks(
        before, [report("b"), report("extra"), report("a")], ["a", "b", "new"], "Not in its report.", NOW
    )
    assert [(item["name"], item["result"]) for item in checks] == [("a", "Passed"), ("b", "Passed"), ("new", "Unknown")]


def test_long_messages_are_cut() -> None:
    [check] = fold_checks([], [report(message="x" * 500)], ["disk"], "", NOW)
    assert len(check["message"]) == 128
    [check] = fold_checks([], None, ["disk"], "x" * 500, NOW)
    assert len(check["message"]) == 128


def test_the_summary_counts_each_result() -> None:
    checks = fold_checks([], [report(result, result) for result in RESULTS], RESULTS, "", NOW)
    assert summary(checks) == {"passing": 1, "warning": 1, "failing": 1, "unknown": 1}


def state(name: str, result: str, failures: int = 0, successes: int = 0) -> Object:
    return {"name": name, "result": result, "consecutiveFailures": failures, "consecutiveSuccesses": successes}


GOOD = state("good", "Passed", 0, 9)
CASES: dict[str, tuple[list[Object], str | None, tuple[bool | None, str]]] = {
    "all pass": ([GOOD], None, (True, "ChecksPassing")),
    "a warning is healthy": ([GOOD, state("a", "Warning", 0, 1)], "True", (True, "ChecksWarning")),
    "a first failure of a healthy one": ([GOOD, state("a", "Failed", 1)], "True", (True, "FailureThreshold")),
    "a first failure, and nothing was known": ([GOOD, state("a", "Failed", 1)], None, (None, "FailureThreshold")),
    "so many failures": ([GOOD, state("a", "Failed", 3)], "True", (False, "ChecksFailing")),
    "failing on": ([GOOD, state("a", "Failed", 30)], "False", (False, "ChecksFailing")),
    "recovered": ([GOOD, state("a", "Passed", 0, 2)], "False", (True, "ChecksPassing")),
    "recovered to a warning": ([GOOD, state("a", "Warning", 0, 2)], "False", (True, "ChecksWarning")),
    "not yet recovered": ([GOOD, state("a", "Passed", 0, 1)], "False", (False, "Recovering")),
    "fails again while it recovers": ([GOOD, state("a", "Failed", 1)], "False", (False, "Recovering")),
    "nobody knows whether it recovered": ([GOOD, state("a", "Unknown", 3)], "False", (False, "Recovering")),
    "recovered beside one that never could be carried out": (
        [state("a", "Passed", 0, 2), state("never", "Unknown")],
        "False",
        (None, "ChecksUnknown"),
    ),
    "one could not be carried out": ([GOOD, state("a", "Unknown", 0, 4)], "True", (None, "ChecksUnknown")),
    "a failure weighs more than what is not known": (
        [state("a", "Failed", 3), state("b", "Unknown")],
        "Unknown",
        (False, "ChecksFailing"),
    ),
}


@pytest.mark.parametrize(("checks", "was", "expected"), CASES.values(), ids=CASES)
def test_says_whether_it_is_healthy(checks: list[Object], was: str | None, expected: tuple[bool | None, str]) -> None:
    verdict = healthy(checks, was, failure_threshold=3, success_threshold=2)
    assert verdict[:2] == expected
    assert verdict[2]


def test_names_the_checks_that_fail_and_counts_the_rest() -> None:
    checks = [{**state(f"check-{index}", "Failed", 3), "message": "Full."} for index in range(7)]
    _, _, message = healthy(checks, None, failure_threshold=3, success_threshold=1)
    assert message.startswith("check-0: Full.; check-1: Full.;")
    assert message.endswith("; and 2 more")


@given(
    runs=st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(RESULTS)), min_size=1, max_size=12),
    thresholds=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_laws_of_health(runs: list[dict[str, str]], thresholds: tuple[int, int]) -> None:
    checks: list[Object] = []
    was: str | None = None
    for results in runs:
        reports = [report(name, result) for name, result in results.items()]
        checks = fold_checks(checks, reports, ["a", "b", "c"], "lost", NOW)
        levels: dict[str, Any] = {"failure_threshold": thresholds[0], "success_threshold": thresholds[1]}
        status, reason, message = healthy(checks, was, **levels)
        tripped = any(item["result"] == "Failed" and item["consecutiveFailures"] >= thresholds[0] for item in checks)
        if tripped:
            assert status is False
        if status is True:
            assert all(item["result"] != "Unknown" for item in checks)
        if status is False and was != "False":
            assert tripped
        text = "Unknown" if status is None else str(status)
        # Looking at it again, with no run in between, changes nothing.
        assert healthy(checks, text, **levels) == (status, reason, message)
        was = text
    # Whatever was before: when all pass often enough, it is healthy.
    for _ in range(thresholds[1]):
        checks = fold_checks(checks, [report(name) for name in "abc"], ["a", "b", "c"], "", NOW)
    assert healthy(checks, was, failure_threshold=thresholds[0], success_threshold=thresholds[1])[0] is True
