"""How a run's attempt ends, what follows it, and what is left behind."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from housekeeper_api.conditions import RunState
from housekeeper_operator.decisions.lifecycle import (
    REASON_GRACE,
    backoff,
    is_left_over,
)
from housekeeper_operator.decisions.step import mode_of_run
from tests.unit.operator.builders import (
    NOW,
    JobBuilder,
    PodBuilder,
    ago,
    job,
    later,
    pod,
    policy,
    result,
    run,
)
from tests.unit.operator.decisions.steps import changes, step

# The end of an attempt.


def test_a_result_is_harvested() -> None:
    ended = pod().exited(0, message=result(), started=ago(seconds=9))
    decision = step(run().running(ago(seconds=9)), job=job().started(), pods=(ended,))
    assert (decision.state, decision.message) == (RunState.SUCCEEDED, "Done.")
    assert decision.outcome is not None
    assert decision.outcome.result is not None


def test_a_worker_that_was_never_seen_at_work_still_started() -> None:
    ended = pod().exited(0, message=result(), started=ago(seconds=2))
    assert step(run().admitted(ago(seconds=5)), job=job().started(), pods=(ended,)).started == ago(seconds=2)


def test_a_worker_that_says_nothing_is_judged_when_its_pod_has_a_reason() -> None:
    killed = pod().exited(137)
    of = run().running(ago(minutes=5))
    assert changes(step(of, job=job().started(), pods=(killed,))) == {"again": NOW + REASON_GRACE}
    evicted = killed.failed("Evicted", "The node was low on resource: memory.")
    assert step(of, job=job().started(), pods=(evicted,)).reason == "Evicted"
    # The reason does not come: it is judged by what there is.
    assert step(of, job=job().started(), pods=(killed,), now=NOW + REASON_GRACE).reason == "Killed"


def test_a_failed_attempt_that_another_may_mend_is_tried_again() -> None:
    killed = pod().exited(137, "OOMKilled").failed()
    decision = step(run().running(ago(minutes=5)), job=job().failed(), pods=(killed,))
    assert (decision.state, decision.reason) == (RunState.BACKOFF, "OOMKilled")
    assert decision.next_attempt == decision.again == later(seconds=30)
    assert decision.message.startswith("Attempt 1 of 3 failed (OOMKilled): ")


def test_what_no_attempt_can_mend_is_not_tried_again() -> None:
    held = pod().exited(4, message=result("Held", "60 % would go.")).failed()
    decision = step(run().running(ago(minutes=5)), job=job().failed(), pods=(held,))
    assert (decision.state, decision.reason) == (RunState.FAILED, "Held")


def test_the_last_attempt_decides() -> None:
    killed = pod().exited(137, "OOMKilled").failed()
    of = run().attempt("a1").attempt("a2").running(ago(minutes=5), "a3")
    assert step(of, job=job().failed(), pods=(killed,)).state is RunState.FAILED


def test_a_run_without_its_policy_is_harvested_and_not_tried_again() -> None:
    killed = pod().exited(137, "OOMKilled").failed()
    assert step(run().running(ago(minutes=5)), job=job().failed(), pods=(killed,), policy=None).state is RunState.FAILED


@pytest.mark.parametrize("slot", [True, False])
def test_a_job_deleted_while_it_ran_loses_the_result_and_settles_the_slots(slot: bool) -> None:
    of = (run("clp-backups-1").slot(ago(minutes=2)) if slot else run()).running(ago(minutes=1))
    decision = step(of)
    assert (decision.state, decision.reason, decision.settle_slots) == (RunState.FAILED, "JobDeleted", slot)


def test_a_pod_deleted_before_it_was_read_is_tried_again() -> None:
    decision = step(run().running(ago(minutes=1)), job=job().failed())
    assert (decision.state, decision.reason) == (RunState.BACKOFF, "PodDeleted")


def test_a_pod_deleted_after_it_was_done_is_not_done_again() -> None:
    assert step(run().running(ago(minutes=1)), job=job().completed()).state is RunState.SUCCEEDED


def test_the_newest_pod_counts() -> None:
    old = pod("old").created(ago(minutes=9)).exited(137).failed()
    new = pod("new").created(ago(minutes=1)).running(ago(seconds=5))
    assert step(run().running(ago(minutes=9)), job=job().started(), pods=(old, new)).state is None


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        (later(seconds=10), {"again": later(seconds=10)}),
        (NOW, {"start_attempt": 2}),
        (ago(hours=9), {"start_attempt": 2}),
    ],
)
def test_the_next_attempt_is_made_when_it_is_due(until: datetime, expected: dict[str, Any]) -> None:
    assert changes(step(run().backoff(until), job=job().failed())) == expected


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 30), (2, 60), (3, 120), (6, 600), (10, 600), (1000, 600)])
def test_the_wait_doubles_up_to_its_bound(attempt: int, seconds: int) -> None:
    assert backoff(attempt, timedelta(seconds=30), timedelta(minutes=10)) == timedelta(seconds=seconds)


def test_no_backoff_is_no_wait() -> None:
    assert backoff(9, timedelta(), timedelta(minutes=10)) == timedelta()


# Cancelled while it is under way.


@pytest.mark.parametrize("pods", [(), (pod(),), (pod().on("node-a").waiting("ContainerCreating"),)])
def test_a_run_cancelled_before_its_worker_started_ends_at_once(pods: tuple[PodBuilder, ...]) -> None:
    decision = step(run().admitted(ago(seconds=5)).cancelled(), job=job().started(), pods=pods)
    assert changes(decision) == {"delete_job": True, "state": RunState.CANCELLED, "reason": "Cancelled"}


def test_a_worker_at_work_is_stopped_once_so_that_it_can_still_report() -> None:
    here = pod().running(ago(minutes=1)).deadline(4560)
    of = run().running(ago(minutes=1)).cancelled()
    decision = step(of, job=job().started(), pods=(here,))
    assert decision.state is RunState.CANCELLING
    assert decision.stop_pod == here.view()
    cancelling = of.state(RunState.CANCELLING)
    again = step(cancelling, job=job().started(), pods=(here.deadline(1),))
    assert (again.state, again.stop_pod, again.delete_job) == (None, None, False)


CANCELLED = {
    "it reports": (
        pod().exited(1, message=result("Cancelled", "Stopped after 3 files.")).failed("DeadlineExceeded", "…"),
        (RunState.CANCELLED, "Cancelled. Stopped after 3 files."),
    ),
    "it does not report": (
        pod().exited(137).failed("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
        (RunState.CANCELLED, "before it could report"),
    ),
    "it was done before": (pod().exited(0, message=result()).succeeded(), (RunState.SUCCEEDED, "Done.")),
    "it had died before": (
        pod().exited(137, "OOMKilled").failed(),
        (RunState.CANCELLED, "Cancelled. The worker was killed"),
    ),
}


@pytest.mark.parametrize(("ended", "expected"), CANCELLED.values(), ids=CANCELLED)
def test_a_cancelled_run_ends_without_another_attempt(ended: PodBuilder, expected: tuple[RunState, str]) -> None:
    of = run().running(ago(minutes=1)).state(RunState.CANCELLING).cancelled()
    decision = step(of, job=job().failed(), pods=(ended,))
    assert decision.state is expected[0]
    assert expected[1] in decision.message
    assert "spec.timeout" not in decision.message
    assert decision.next_attempt is None


# What is left behind.


@pytest.mark.parametrize(
    ("here", "pods", "left_over"),
    [
        (job(), (), True),
        (job().started(), (), True),
        (job().started(), (pod().on("node-a"),), True),
        (job().started(), (pod().running(NOW),), True),
        (job().started(), (pod().exited(0, message=result()),), False),
        (job().completed(), (), False),
        (job().failed(), (), False),
        (job().deleting(), (), False),
    ],
)
def test_the_job_of_an_ended_run_goes_unless_its_worker_has_ended(
    here: JobBuilder, pods: tuple[PodBuilder, ...], left_over: bool
) -> None:
    assert is_left_over(here.view(), [one.view() for one in pods]) is left_over


@pytest.mark.parametrize(("of_run", "mode"), [(None, "Enforce"), ("Enforce", "Enforce"), ("DryRun", "DryRun")])
def test_a_restore_is_carried_out_whatever_the_mode_of_the_policy(of_run: str | None, mode: str) -> None:
    asked = run().restore_of("wet") if of_run is None else run().restore_of("wet").mode(of_run)
    assert step(asked, policy=policy(mode="DryRun")).start_attempt == 1
    assert mode_of_run(asked.view(), "DryRun") == mode_of_run(asked.view(), "Enforce") == mode
