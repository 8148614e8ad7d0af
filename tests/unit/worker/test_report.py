"""Outcomes and sentences."""

from __future__ import annotations

import pytest

from housekeeper_api.result import CheckReport, Outcome
from housekeeper_worker import report
from housekeeper_worker.stop import Reason
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.faults import Fault


def tally_of(*, removed: int = 0, faults: dict[Fault, int] | None = None, stopped: str = "") -> Tally:
    tally = Tally(scanned=10, matched=10, removed=removed, stopped_by_fault=stopped)
    for fault, count in (faults or {}).items():
        tally.stayed[fault] += count
        for _ in range(count):
            if tally.wants_error(fault):
                tally.add_error(f"path: {fault}")
    return tally


@pytest.mark.parametrize(
    ("tally", "stop", "held", "lost", "outcome"),
    [
        (tally_of(removed=5), None, None, None, "Succeeded"),
        (tally_of(), None, None, None, "Succeeded"),
        (tally_of(removed=4, faults={Fault.CHANGED: 1}), None, None, None, "Succeeded"),
        (tally_of(removed=4, faults={Fault.PERMISSION: 1}), None, None, None, "PartiallySucceeded"),
        (tally_of(faults={Fault.PERMISSION: 5}), None, None, None, "CouldNotRun"),
        (tally_of(faults={Fault.IMMUTABLE: 5}), None, None, None, "PartiallySucceeded"),
        (tally_of(faults={Fault.READ_ONLY: 1}, stopped="read-only"), None, None, None, "CouldNotRun"),
        (tally_of(removed=3, faults={Fault.READ_ONLY: 1}, stopped="read-only"), None, None, None, "Failed"),
        (tally_of(stopped="5 I/O errors"), None, None, None, "Failed"),
        (tally_of(removed=3), "TimedOut", None, None, "TimedOut"),
        (tally_of(removed=3), "Cancelled", None, None, "Cancelled"),
        (tally_of(), None, "too much", None, "Held"),
        (tally_of(removed=3), "Cancelled", None, "lost", "Failed"),
    ],
)
def test_outcome(tally: Tally, stop: Reason | None, held: str | None, lost: str | None, outcome: Outcome) -> None:
    assert report.cleanup_outcome(tally, stop=stop, held=held, lost=lost) == outcome


def test_every_outcome_has_an_exit_code() -> None:
    outcomes: dict[Outcome, int] = {
        "Succeeded": 0,
        "Failed": 1,
        "TimedOut": 1,
        "Cancelled": 1,
        "CouldNotRun": 2,
        "PartiallySucceeded": 3,
        "Held": 4,
    }
    assert {outcome: int(report.exit_code(outcome)) for outcome in outcomes} == outcomes


def test_messages_stay_short() -> None:
    assert len(report.shortened("x" * 10_000)) == 512


@pytest.mark.parametrize("error", [RuntimeError(), KeyError("x"), MemoryError(), ValueError("a\n  b")])
def test_an_unforeseen_error_is_never_empty(error: BaseException) -> None:
    message = report.unexpected(error)
    assert type(error).__name__ in message
    assert "\n" not in message


def checks(*results: str) -> tuple[CheckReport, ...]:
    return tuple(CheckReport(f"c{n}", one, message="said") for n, one in enumerate(results))


@pytest.mark.parametrize(
    ("results", "stop", "outcome", "message"),
    [
        (["Passed"], None, "Succeeded", "1 check: 1 passed"),
        (
            ["Passed", "Failed", "Warning"],
            None,
            "Succeeded",
            "3 checks: 1 passed, 1 warning, 1 failed; c1 Failed: said",
        ),
        (["Passed", "Unknown"], None, "PartiallySucceeded", "2 checks: 1 passed, 1 unknown; c1 Unknown: said"),
        (["Unknown"], "TimedOut", "TimedOut", "time was up after 30 s: 1 check: 1 unknown"),
        (["Unknown"], "Cancelled", "Cancelled", "cancelled: 1 check: 1 unknown"),
    ],
)
def test_a_health_check_succeeds_when_it_was_carried_out(
    results: list[str], stop: Reason | None, outcome: Outcome, message: str
) -> None:
    result = report.health_result(checks(*results), stop=stop, mode="DryRun", seconds=1, timeout=30)
    assert result.outcome == outcome
    assert result.message.startswith(message)
