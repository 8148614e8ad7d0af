"""The life of one run: from what is observed to the next step, as one pure function.

    (new) ── Queued ──admit──▶ Admitted ──▶ Running ──▶ Succeeded | PartiallySucceeded | Failed | TimedOut
               ▲ │                 │           │
               │ └─▶ Skipped       └── Cancelling ──▶ Cancelled
               ├──── Backoff ◀──── (attempt failed, and another may mend it)
               └──── Held ◀─────── (a brake tripped; `approval`) ──▶ Superseded | Expired

Admission itself is the queue's (`admission`). Every step can be taken twice: the names of Jobs follow from the run, and
the status says which attempt is under way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from housekeeper_api.conditions import RunState
from housekeeper_operator.decisions import approval
from housekeeper_operator.decisions import outcome as outcomes
from housekeeper_operator.decisions.approval import Successor
from housekeeper_operator.decisions.outcome import Outcome
from housekeeper_operator.decisions.step import Decision, PolicyView, failed
from housekeeper_operator.decisions.views import JobView, PodView, RunView

POLICY_GRACE: Final = timedelta(minutes=2)
"""How long a run waits for its policy to appear: `kubectl apply -f` of both sends them in any order."""
POLICY_POLL: Final = timedelta(seconds=2)
"""How often it looks meanwhile: until the policy owns it, nothing connects the two."""
WORKER_GRACE: Final = timedelta(seconds=30)
"""How long after `timeout` the worker may take to report, before its pod is stopped."""
POD_START_GRACE: Final = timedelta(seconds=30)
"""How long a running Job may be without a pod before that is told."""
REASON_GRACE: Final = timedelta(seconds=10)
"""How long after the end of a worker its pod's reason is waited for, where the worker itself gave none."""
STOP_GRACE: Final = timedelta(seconds=60)
"""How long a worker that is stopped for being overdue may take to end before that is told."""


def decide(
    run: RunView,
    policy: PolicyView | None,
    job: JobView | None,
    pods: Sequence[PodView],
    events: str,
    now: datetime,
    *,
    successor: Successor | None = None,
) -> Decision:
    """The next step of a run; none once it has ended.

    `job` is the Job of the current attempt, None when there is none. `pods` are that Job's. `events` is the newest
    warning about what the attempt waits for, or empty. `successor` is what replaces a held plan.
    """
    if run.terminal:
        return Decision()
    match run.state:
        case None:
            return _new(run, policy, job, now)
        case RunState.QUEUED:
            return _queued(run, policy, job, now)
        case RunState.BACKOFF:
            return _backoff(run, policy, now)
        case RunState.HELD:
            return approval.held(run, policy, successor, now)
        case _:
            return _active(run, policy, job, pods, events, now)


def slot_problem(
    slot: datetime | None, policy: PolicyView, now: datetime, *, replaced: bool = False
) -> tuple[str, str] | None:
    """Why the Job of a slot must not run, as (reason, message), or None.

    `replaced`: the operator made another Job for the slot, and settled all slots until then by doing so.
    """
    if policy.suspended:
        return "Suspended", "The policy is suspended (spec.suspend)."
    if slot is None:
        return None
    if policy.slots_since is not None and slot < policy.slots_since and not replaced:
        message = (
            f"The slot {slot:%Y-%m-%d %H:%M} UTC is older than the last change of schedule, time zone or suspend, or "
            "than a queued Job that was deleted."
        )
        return "StaleSlot", message
    if now > slot + policy.starting_deadline:
        return (
            "StartingDeadlineExceeded",
            f"The slot {slot:%Y-%m-%d %H:%M} UTC could not start within spec.startingDeadline.",
        )
    return None


def _new(run: RunView, policy: PolicyView | None, job: JobView | None, now: datetime) -> Decision:
    if run.cancel:
        return Decision(
            delete_job=True,
            state=RunState.CANCELLED,
            reason="Cancelled",
            message="Cancelled before it was queued.",
        )
    if policy is None:
        if now < run.created + POLICY_GRACE:
            message = f"{run.policy_kind} {run.policy} does not exist (yet) in namespace {run.namespace}."
            again = min(now + POLICY_POLL, run.created + POLICY_GRACE)
            return Decision(waiting=("PolicyNotFound", message), again=again)
        return failed("PolicyNotFound", f"There is no {run.policy_kind} {run.policy} in namespace {run.namespace}.")
    if run.of_slot:
        if job is None or job.deleting:
            return Decision(
                settle_slots=True, state=RunState.SKIPPED, reason="JobDeleted", message="Its Job was deleted."
            )
        if (problem := slot_problem(run.slot, policy, now)) is not None:
            return Decision(delete_job=True, state=RunState.SKIPPED, reason=problem[0], message=problem[1])
    if policy.problem:
        return _invalid(run, policy)
    if (refused := less_dry(run, policy)) is not None:
        return refused
    if job is not None and not job.deleting:
        # Made by the CronJob for a slot, or from it by hand (`kubectl create job --from=cronjob/…`).
        return Decision(adopt_job=job.name)
    return Decision(start_attempt=1)


def less_dry(run: RunView, policy: PolicyView) -> Decision | None:
    """The end of a run that would remove something although its policy is dry; None where that is not so.

    Also of one whose earlier attempts were in mode Enforce: it is not rehearsed to its end.
    """
    if run.restores or policy.mode != "DryRun":
        return None
    if run.carried_mode == "Enforce":
        message = (
            f"{run.policy_kind} {run.policy} is in mode DryRun by now, and earlier attempts of this run were in mode "
            f"Enforce: it ends without another. {run.done_before or 'Nothing was removed.'}"
        )
        return dataclasses.replace(failed("LessDryThanPolicy", message), delete_job=True)
    if run.mode != "Enforce" and run.approve is None:
        return None
    message = (
        f"{run.policy_kind} {run.policy} is in mode DryRun, and a run is never less dry than its policy. "
        "Set spec.mode: Enforce in the policy first."
    )
    return dataclasses.replace(failed("LessDryThanPolicy", message), delete_job=True)


def _queued(run: RunView, policy: PolicyView | None, job: JobView | None, now: datetime) -> Decision:
    if job is not None and not job.suspended and not job.deleting:
        # First of all: what is started already is to be stopped and read, whatever else holds.
        return Decision(state=RunState.ADMITTED, reason="Admitted", message="Its Job was started.")
    if run.cancel:
        return Decision(
            delete_job=True, state=RunState.CANCELLED, reason="Cancelled", message="Cancelled in the queue."
        )
    if policy is None:
        return Decision(
            delete_job=True,
            state=RunState.CANCELLED,
            reason="PolicyDeleted",
            message=f"{run.policy_kind} {run.policy} was deleted while this run was queued.",
        )
    first_of_slot = run.of_slot and run.attempt <= 1
    if job is None or job.deleting:
        return Decision(
            settle_slots=first_of_slot and not run.replaced,
            state=RunState.SKIPPED if first_of_slot else RunState.CANCELLED,
            reason="JobDeleted",
            message="Its Job was deleted while it was queued.",
        )
    if first_of_slot and (problem := slot_problem(run.slot, policy, now, replaced=run.replaced)) is not None:
        return Decision(delete_job=True, state=RunState.SKIPPED, reason=problem[0], message=problem[1])
    if (back := approval.held_again(run, policy)) is not None:
        return back
    if policy.problem:
        return _invalid(run, policy)
    if (run.approve is not None or run.carried_mode == "Enforce") and (refused := less_dry(run, policy)) is not None:
        # The policy became dry while an approved plan, or the rest of one, was queued: it is not rehearsed instead.
        return refused
    if first_of_slot and run.slot is not None:
        return Decision(again=run.slot + policy.starting_deadline + timedelta(seconds=1))
    return Decision()


def _backoff(run: RunView, policy: PolicyView | None, now: datetime) -> Decision:
    if run.cancel:
        return Decision(
            state=RunState.CANCELLED, reason="Cancelled", message="Cancelled while waiting for the next attempt."
        )
    if policy is None:
        return Decision(
            state=RunState.CANCELLED,
            reason="PolicyDeleted",
            message=f"{run.policy_kind} {run.policy} was deleted before the next attempt.",
        )
    if policy.problem:
        # The Job of the last attempt stays: its pod's log tells why that failed.
        return dataclasses.replace(_invalid(run, policy), delete_job=False)
    if run.carried_mode == "Enforce" and (refused := less_dry(run, policy)) is not None:
        return dataclasses.replace(refused, delete_job=False)
    if run.next_attempt is not None and now < run.next_attempt:
        return Decision(again=run.next_attempt)
    return Decision(start_attempt=run.attempt + 1)


def _active(
    run: RunView,
    policy: PolicyView | None,
    job: JobView | None,
    pods: Sequence[PodView],
    events: str,
    now: datetime,
) -> Decision:
    pod = max(pods, key=lambda item: (item.created, item.name), default=None)
    if pod is not None and pod.ended:
        settled = (pod.finished or pod.started or pod.created) + REASON_GRACE
        if now < settled and not outcomes.is_conclusive(pod):
            return Decision(again=settled)
        ended = _ended(run, policy, outcomes.of_pod(pod, job), now)
        # A short worker may never have been seen at work.
        return dataclasses.replace(ended, started=pod.started)
    known_pod = str((run.attempts[-1].get("pods") or [{"name": ""}])[0]["name"]) if run.attempts else ""
    if job is None:
        ended = _ended(run, policy, outcomes.of_vanished_pod(None, known_pod), now)
        return dataclasses.replace(ended, settle_slots=run.slot is not None)
    if job.finished is not None and pod is None:
        return _ended(run, policy, outcomes.of_vanished_pod(job, known_pod), now)
    if run.cancel:
        return _cancel(run, pod)
    if pod is not None and pod.started is not None:
        return _running(run, job.timeout or (policy.timeout if policy is not None else None), pod, now)
    return _pending(run, policy, pod, events, now)


def _cancel(run: RunView, pod: PodView | None) -> Decision:
    if pod is None or pod.started is None:
        return Decision(
            delete_job=True,
            state=RunState.CANCELLED,
            reason="Cancelled",
            message="Cancelled before its worker was seen to start.",
        )
    entering = run.state is not RunState.CANCELLING
    return Decision(
        stop_pod=pod if pod.active_deadline != 1 and not pod.deleting else None,
        state=RunState.CANCELLING if entering else None,
        reason="Cancelling" if entering else "",
        message="The worker is told to stop." if entering else "",
        started=pod.started,
    )


def _running(run: RunView, timeout: timedelta | None, pod: PodView, now: datetime) -> Decision:
    """`timeout` is that of the task which the worker was given: a policy edited since does not shorten it."""
    assert pod.started is not None  # noqa: S101 the caller looked
    decision = Decision()
    if run.state is RunState.ADMITTED:
        decision = Decision(
            state=RunState.RUNNING, reason="Running", message=f"Pod {pod.name} on {pod.node}.", started=pod.started
        )
    if timeout is None:
        return decision
    stop_at = pod.started + timeout + WORKER_GRACE
    if now < stop_at:
        return dataclasses.replace(decision, again=stop_at)
    if pod.active_deadline != 1 and not pod.deleting:
        return dataclasses.replace(decision, stop_pod=pod, again=now + STOP_GRACE)
    if now < stop_at + STOP_GRACE:
        return dataclasses.replace(decision, again=stop_at + STOP_GRACE)
    message = f"Pod {pod.name} is overdue and was told to stop, but does not end; is its node {pod.node} up?"
    return dataclasses.replace(
        decision, waiting=None if run.queue_reason == "NotStopping" else ("NotStopping", message)
    )


def _pending(run: RunView, policy: PolicyView | None, pod: PodView | None, events: str, now: datetime) -> Decision:
    since = run.admitted or run.created
    if policy is None:
        return Decision(
            delete_job=True,
            state=RunState.CANCELLED,
            reason="PolicyDeleted",
            message=f"{run.policy_kind} {run.policy} was deleted before a worker was seen to start.",
        )
    give_up = since + policy.pending_timeout
    if now >= give_up:
        outcome = outcomes.not_started(pod, events, policy.pending_timeout.total_seconds())
        return dataclasses.replace(_ended(run, policy, outcome, now), delete_job=True)
    waiting = outcomes.pending_reason(pod, events)
    fresh = now < since + POD_START_GRACE and waiting[0] in {"PodNotCreated", "ContainerCreating", "Unscheduled"}
    changed = waiting[0] != run.queue_reason
    return Decision(
        waiting=waiting if changed and not fresh else None,
        again=min(give_up, since + POD_START_GRACE if now < since + POD_START_GRACE else give_up),
    )


def _ended(run: RunView, policy: PolicyView | None, outcome: Outcome, now: datetime) -> Decision:
    if run.cancel:
        return _ended_cancelled(outcome)
    if outcome.state is RunState.HELD:
        outcome = approval.judged(run, policy, outcome, now)
    if policy is not None and outcome.retryable and run.tries < policy.attempts:
        wait = backoff(run.tries, policy.backoff, policy.max_backoff)
        return Decision(
            state=RunState.BACKOFF,
            reason=outcome.reason,
            message=f"Attempt {run.tries} of {policy.attempts} failed ({outcome.reason}): {outcome.message}",
            outcome=outcome,
            next_attempt=now + wait,
            again=now + wait,
        )
    return Decision(state=outcome.state, reason=outcome.reason, message=outcome.message, outcome=outcome)


def _ended_cancelled(outcome: Outcome) -> Decision:
    """What was finished before the cancel took hold stands as it is; all else counts as cancelled."""
    if outcome.state not in {RunState.FAILED, RunState.TIMED_OUT, RunState.HELD}:
        return Decision(state=outcome.state, reason=outcome.reason, message=outcome.message, outcome=outcome)
    if outcome.said:
        message = f"Cancelled. {outcome.said}"
    elif outcome.reason == "DeadlineExceeded":
        message = "Cancelled. The worker was stopped before it could report; what it did until then stands in its log."
    else:
        message = f"Cancelled. {outcome.message}"
    outcome = dataclasses.replace(outcome, state=RunState.CANCELLED, reason="Cancelled", message=message)
    return Decision(state=RunState.CANCELLED, reason="Cancelled", message=message, outcome=outcome)


def backoff(attempt: int, first: timedelta, longest: timedelta) -> timedelta:
    """How long to wait after the given failed attempt (from 1): doubles each time, at most `longest`."""
    return min(longest, first * int(2 ** min(attempt - 1, 30)))


def is_left_over(job: JobView, pods: Sequence[PodView]) -> bool:
    """Whether the Job of a run that has ended must go: it could still start, or waits for what will not come.

    Its run was ended by a process that stopped before it could delete the Job. A queued Job would keep its CronJob from
    firing for ever.
    """
    return job.finished is None and not job.deleting and not any(pod.ended for pod in pods)


def _invalid(run: RunView, policy: PolicyView) -> Decision:
    message = f"{run.policy_kind} {run.policy} cannot be carried out: {policy.problem}"
    return dataclasses.replace(failed("InvalidSpec", message), delete_job=True)
