"""The attempts of one run have one mode, and their numbers are those of the run."""

from __future__ import annotations

from typing import Any

import pytest

from housekeeper_api.conditions import RunState
from housekeeper_operator.decisions.lifecycle import decide
from housekeeper_operator.decisions.run_status import Started, admitted, status_after
from housekeeper_operator.decisions.step import Decision, PolicyView, mode_of_run
from tests.unit.operator.builders import NOW, RunBuilder, ago, job, later, pod, policy, result, run

REMOVED = {"cleanup": {"removed": 400, "quarantined": 100}}
DRY = policy(mode="DryRun")


def step(of: RunBuilder, view: PolicyView) -> Decision:
    return decide(of.view(), view, job("job-2").view(), [], "", NOW)


def test_a_dry_run_stays_dry_in_its_further_attempts() -> None:
    dry = run().backoff(ago(seconds=1)).status(mode="DryRun")
    assert mode_of_run(dry.view(), "Enforce") == "DryRun"
    assert step(dry, policy()).start_attempt == 2


@pytest.mark.parametrize("told", [REMOVED, None])
def test_a_run_that_was_enforcing_does_not_become_dry(told: dict[str, Any] | None) -> None:
    first = run().backoff(later(seconds=9)).status(mode="Enforce", result=told)
    queued = first.queued("job-2")
    for of, deletes in ((first, False), (queued, True)):
        ended = step(of, DRY)
        assert (ended.state, ended.reason, ended.delete_job) == (RunState.FAILED, "LessDryThanPolicy", deletes)
        assert ("removed 400 items and quarantined 100" in ended.message) == (told is not None)
    assert step(queued, policy()) == Decision()


def test_a_restore_goes_on_whatever_the_policy_says_by_now() -> None:
    restore = run().restore_of("run-0").backoff(ago(seconds=1)).status(mode="Enforce")
    assert step(restore, DRY).start_attempt == 2


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [
        ("2026-12-06T03:00:00Z", "2026-11-29T03:00:00Z", "2026-12-06T03:00:00Z"),
        ("2026-11-29T03:00:00Z", "2026-12-06T03:00:00Z", "2026-12-06T03:00:00Z"),
        (None, "2026-12-06T03:00:00Z", "2026-12-06T03:00:00Z"),
    ],
)
def test_what_an_attempt_promised_to_keep_stays_promised(before: str | None, now: str, kept: str) -> None:
    numbers = {"scanned": 1, "matched": 1, "removed": 0, "bytesFreed": 0, "quarantined": 2}
    first = numbers if before is None else {**numbers, "restorableUntil": before}
    of = run().running(ago(minutes=1)).status(mode="Enforce", result={"cleanup": first})
    ended = pod().exited(0, message=result(cleanup={**numbers, "restorableUntil": now})).succeeded()
    decision = decide(of.view(), policy(), job().completed().view(), [ended.view()], "", NOW)
    after = of.patched(status_after(of.obj, of.view(), decision, [], NOW))
    assert after.obj["status"]["result"]["cleanup"]["restorableUntil"] == kept


@pytest.mark.parametrize(
    ("before", "started", "mode"),
    [(None, "DryRun", "DryRun"), (None, "Enforce", "Enforce"), ("Enforce", "DryRun", "Enforce")],
)
def test_a_run_that_was_enforcing_is_told_as_such(before: str | None, started: str, mode: str) -> None:
    of = run().queued().status(**({} if before is None else {"mode": before}))
    after = of.patched(admitted(of.obj, of.view(), Started(started), NOW))
    assert after.obj["status"]["mode"] == mode
