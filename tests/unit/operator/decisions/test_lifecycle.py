"""A run from its beginning to a worker at work."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from housekeeper_api.conditions import TERMINAL_STATES, RunState
from housekeeper_operator.decisions.lifecycle import (
    POD_START_GRACE,
    POLICY_GRACE,
    POLICY_POLL,
    STOP_GRACE,
    WORKER_GRACE,
)
from housekeeper_operator.decisions.step import Decision, PolicyView, effective_mode
from tests.unit.operator.builders import (
    NOW,
    JobBuilder,
    PodBuilder,
    RunBuilder,
    ago,
    job,
    later,
    pod,
    policy,
    run,
)
from tests.unit.operator.decisions.steps import changes, step
from tests.unit.operator.tasks import task

SLOT = ago(minutes=2)
SLOT_RUN = run("clp-backups-1").slot(SLOT)
SLOT_JOB = job("clp-backups-1").slot(SLOT)

# A new run.


def test_a_run_by_hand_gets_its_first_job() -> None:
    assert changes(step(run())) == {"start_attempt": 1}


def test_the_job_of_a_slot_is_adopted() -> None:
    assert changes(step(SLOT_RUN, job=SLOT_JOB)) == {"adopt_job": "clp-backups-1"}


def test_a_job_made_from_the_cron_job_by_hand_is_adopted_even_while_the_schedule_rests() -> None:
    assert changes(step(run("by-hand"), job=job("by-hand"), policy=policy(suspended=True))) == {"adopt_job": "by-hand"}


@pytest.mark.parametrize(
    ("view", "slot", "reason"),
    [
        (policy(suspended=True), SLOT, "Suspended"),
        (policy(slots_since=SLOT + timedelta(seconds=1)), SLOT, "StaleSlot"),
        (policy(), ago(hours=1, seconds=1), "StartingDeadlineExceeded"),
    ],
)
@pytest.mark.parametrize("state", [None, RunState.QUEUED])
def test_a_slot_that_must_not_run_is_skipped_and_its_job_goes(
    view: PolicyView, slot: datetime, reason: str, state: RunState | None
) -> None:
    of = run("clp-backups-1").slot(slot)
    decision = step(of.queued("clp-backups-1") if state else of, job=SLOT_JOB, policy=view)
    assert changes(decision) == {"delete_job": True, "state": RunState.SKIPPED, "reason": reason}


@pytest.mark.parametrize("slots_since", [SLOT, None], ids=["at the watermark", "without a watermark"])
def test_a_slot_that_is_not_older_than_the_watermark_runs(slots_since: datetime | None) -> None:
    assert step(SLOT_RUN, job=SLOT_JOB, policy=policy(slots_since=slots_since)).adopt_job


def test_a_slot_runs_up_to_its_starting_deadline() -> None:
    of = run("clp-backups-1").slot(ago(hours=1))
    assert step(of, job=job("clp-backups-1")).adopt_job


@pytest.mark.parametrize("gone", [None, SLOT_JOB.deleting()], ids=["gone", "going"])
def test_a_slot_whose_job_was_deleted_settles_the_slots_until_now(gone: JobBuilder | None) -> None:
    expected = {"settle_slots": True, "state": RunState.SKIPPED, "reason": "JobDeleted"}
    assert changes(step(SLOT_RUN, job=gone)) == expected
    assert changes(step(SLOT_RUN.queued("clp-backups-1"), job=gone)) == expected


def test_a_run_waits_a_while_for_its_policy() -> None:
    decision = step(run().created(ago(seconds=5)), policy=None)
    assert decision.waiting is not None
    assert decision.waiting[0] == "PolicyNotFound"
    assert decision.state is None
    assert decision.again == NOW + POLICY_POLL
    almost = NOW - POLICY_GRACE + timedelta(seconds=1)
    assert step(run().created(almost), policy=None).again == later(seconds=1)


def test_a_run_whose_policy_does_not_come_fails() -> None:
    decision = step(run().created(NOW - POLICY_GRACE), policy=None)
    assert changes(decision) == {"state": RunState.FAILED, "reason": "PolicyNotFound"}
    assert "no CleanupPolicy backups in namespace team" in decision.message


def test_a_run_is_never_less_dry_than_its_policy() -> None:
    decision = step(run().mode("Enforce"), policy=policy(mode="DryRun"))
    assert (decision.state, decision.reason) == (RunState.FAILED, "LessDryThanPolicy")
    assert "Set spec.mode: Enforce in the policy first." in decision.message


@pytest.mark.parametrize(
    ("of_run", "of_policy", "mode"),
    [
        (None, "DryRun", "DryRun"),
        (None, "Enforce", "Enforce"),
        ("DryRun", "Enforce", "DryRun"),
        ("Enforce", "Enforce", "Enforce"),
        ("Enforce", "DryRun", "DryRun"),
    ],
)
def test_the_drier_mode_counts(of_run: str | None, of_policy: str, mode: str) -> None:
    assert effective_mode(of_run, of_policy) == mode


# Whatever the state: a policy that cannot be carried out, a cancel, a policy that goes.


@pytest.mark.parametrize(
    ("of", "deletes"),
    [(run(), True), (run().queued(), True), (SLOT_RUN.queued(), True), (run().backoff(later(seconds=9)), False)],
    ids=["new", "queued", "queued slot", "backoff"],
)
def test_a_policy_that_cannot_be_carried_out_fails_what_waits(of: RunBuilder, deletes: bool) -> None:
    decision = step(of, job=job(), policy=policy(problem="spec.timeZone: Mars/Base is not a time zone"))
    assert (decision.state, decision.reason, decision.delete_job) == (RunState.FAILED, "InvalidSpec", deletes)
    assert "spec.timeZone" in decision.message


@pytest.mark.parametrize(
    ("of", "deletes"),
    [(run(), True), (SLOT_RUN, True), (run().queued(), True), (run().backoff(later(seconds=9)), False)],
    ids=["new", "new slot", "queued", "backoff"],
)
def test_a_run_that_waits_is_cancelled_at_once(of: RunBuilder, deletes: bool) -> None:
    decision = step(of.cancelled(), job=job())
    assert changes(decision) == {"state": RunState.CANCELLED, "reason": "Cancelled"} | (
        {"delete_job": True} if deletes else {}
    )


@pytest.mark.parametrize("of", [run().queued(), run().backoff(later(seconds=9))], ids=["queued", "backoff"])
def test_a_run_that_waits_goes_with_its_policy(of: RunBuilder) -> None:
    decision = step(of, job=job(), policy=None)
    assert (decision.state, decision.reason) == (RunState.CANCELLED, "PolicyDeleted")


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES))
def test_a_run_that_has_ended_never_changes(state: RunState) -> None:
    of = run().admitted(ago(minutes=5)).ended(state, ago(minutes=1)).cancelled()
    killed = pod().exited(137).failed()
    for here in (None, job(), job().failed(), job().completed()):
        assert step(of, job=here, pods=(killed,), now=later(days=30)) == Decision()


# In the queue.


def test_a_queued_run_waits_for_admission() -> None:
    assert changes(step(run().queued(), job=job())) == {}


def test_a_queued_slot_is_looked_at_when_its_deadline_has_passed() -> None:
    decision = step(SLOT_RUN.queued("clp-backups-1"), job=SLOT_JOB)
    assert changes(decision) == {"again": SLOT + timedelta(hours=1, seconds=1)}


def test_a_job_that_runs_already_is_admitted() -> None:
    decision = step(run().queued(), job=job().started())
    assert changes(decision) == {"state": RunState.ADMITTED, "reason": "Admitted"}


def test_a_job_that_replaces_a_slots_is_not_stale_because_of_that() -> None:
    of = SLOT_RUN.queued("clp-backups-1-0123abcd-a1")
    assert step(of, job=job(), policy=policy(slots_since=NOW)).state is None


def test_a_job_that_replaces_a_slots_is_missed_without_settling_slots_again() -> None:
    decision = step(SLOT_RUN.queued("clp-backups-1-0123abcd-a1"))
    assert changes(decision) == {"state": RunState.SKIPPED, "reason": "JobDeleted"}


def test_a_further_attempt_of_a_slot_is_bound_to_no_deadline() -> None:
    of = run("clp-backups-1").slot(ago(hours=5)).attempt("clp-backups-1", completionTime="x").queued("second")
    assert changes(step(of, job=job(), policy=policy(suspended=True))) == {}


# Started.


def test_a_pod_is_waited_for_without_a_word_at_first() -> None:
    decision = step(run().admitted(ago(seconds=5)), job=job().started())
    assert changes(decision) == {"again": ago(seconds=5) + POD_START_GRACE}


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        ((), "PodNotCreated"),
        ((pod(),), "Unscheduled"),
        ((pod().unschedulable("0/1 nodes are available"),), "Unschedulable"),
        ((pod().on("node-a").waiting("ErrImagePull", "not found"),), "ImagePullFailed"),
    ],
)
def test_says_what_a_started_run_waits_for_and_only_once(pods: tuple[PodBuilder, ...], reason: str) -> None:
    of = run().admitted(NOW - POD_START_GRACE)
    decision = step(of, job=job().started(), pods=pods)
    assert decision.waiting is not None
    assert decision.waiting[0] == reason
    assert decision.again == NOW - POD_START_GRACE + timedelta(minutes=15)
    told = of.status(queue={"reason": reason, "message": "as it was at first"})
    assert step(told, job=job().started(), pods=pods).waiting is None


def test_an_unschedulable_pod_is_told_at_once() -> None:
    decision = step(run().admitted(NOW), job=job().started(), pods=(pod().unschedulable("0/1 nodes"),))
    assert decision.waiting is not None


def test_gives_up_when_no_worker_started_in_time() -> None:
    decision = step(run().admitted(ago(minutes=15)), job=job().started(), pods=(pod(),))
    assert (decision.state, decision.reason, decision.delete_job) == (RunState.FAILED, "Unscheduled", True)
    assert decision.next_attempt is None


def test_a_worker_that_starts_makes_the_run_running() -> None:
    started = ago(seconds=3)
    decision = step(run().admitted(ago(seconds=5)), job=job().started(), pods=(pod().on("node-a").running(started),))
    assert changes(decision) == {
        "state": RunState.RUNNING,
        "reason": "Running",
        "started": started,
        "again": started + timedelta(hours=1) + WORKER_GRACE,
    }
    assert decision.message == "Pod worker-x on node-a."


def test_a_running_worker_is_left_alone_until_it_is_overdue() -> None:
    since = NOW - timedelta(hours=1) - WORKER_GRACE
    decision = step(run().running(since), job=job().started(), pods=(pod().running(since),), now=ago(seconds=1))
    assert changes(decision) == {"again": NOW}


def test_an_overdue_worker_is_stopped_once_and_told_when_it_does_not_end() -> None:
    since = NOW - timedelta(hours=1) - WORKER_GRACE
    here = pod().on("node-a").running(since)
    decision = step(run().running(since), job=job().started(), pods=(here.deadline(4560),))
    assert changes(decision) == {"stop_pod": here.deadline(4560).view(), "again": NOW + STOP_GRACE}
    stopped = (here.deadline(1),)
    assert changes(step(run().running(since), job=job().started(), pods=stopped)) == {"again": NOW + STOP_GRACE}
    decision = step(run().running(since), job=job().started(), pods=stopped, now=NOW + STOP_GRACE)
    assert decision.waiting is not None
    assert decision.waiting[0] == "NotStopping"
    told = run().running(since).status(queue={"reason": "NotStopping", "message": decision.waiting[1]})
    assert changes(step(told, job=job().started(), pods=stopped, now=NOW + STOP_GRACE)) == {}


def test_a_worker_that_runs_keeps_the_timeout_that_it_was_given() -> None:
    since = ago(minutes=30)
    started = job().started().with_task(task(timeout_seconds=3600.0))
    of, pods = run().running(since), (pod().running(since),)
    assert step(of, job=started, pods=pods, policy=policy(timeout=timedelta(minutes=1))).stop_pod is None
    assert step(of, job=started, pods=pods, policy=None).again == since + timedelta(hours=1) + WORKER_GRACE
