"""Held plans: what a run says while a brake holds it, and what becomes of it.

    Held ──approved──▶ Queued (a new attempt, which carries out exactly that plan)
      │ ◀──────────────── (until that starts, if the policy becomes dry or invalid)
      ├─▶ Superseded (a later run made a plan of its own, or carried this one out)
      ├─▶ Expired    (nobody approved it within `holdFor`)
      └─▶ Cancelled

A held run has no place in the queue and no volume; it lives in its status alone, so a restarted operator goes on with
it. `spec.approve` is given once. If the attempt that it let through is held anew, because the plan was lost, the run
stays held and says how another run can approve the new plan.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from housekeeper_api import names
from housekeeper_api.conditions import GOOD_STATES, RunState
from housekeeper_api.quantities import format_bytes
from housekeeper_api.result import PLAN_DIGEST
from housekeeper_operator.decisions.outcome import Outcome
from housekeeper_operator.decisions.step import Decision, PolicyView
from housekeeper_operator.decisions.views import EPOCH, RunView, format_time

MAX_SAID: Final = 300
"""How much of the worker's own sentence a held run repeats, so that the command after it is never cut."""


@dataclasses.dataclass(frozen=True, slots=True)
class Successor:
    """A later run that makes a held plan pointless."""

    run: str
    carried_out: bool
    """Whether it carried out the very plan that is held; else it made a plan of its own."""


def judged(run: RunView, policy: PolicyView | None, outcome: Outcome, now: datetime) -> Outcome:
    """The outcome of an attempt that a brake held: Held where its plan can be approved, else Failed."""
    cleanup = (outcome.result or {}).get("cleanup") or {}
    digest = str(cleanup.get("planDigest") or "")
    # The command below names the digest.
    said = (outcome.said or outcome.message).replace(f"; to carry out exactly this, approve {digest}", "")
    if not PLAN_DIGEST.fullmatch(digest):
        return dataclasses.replace(outcome, state=RunState.FAILED)
    if run.carried_mode != "Enforce":
        message = f"A dry run, and its plan would be held: {_clipped(said)}"
        if cleanup.get("planStored"):
            message += f" To carry out exactly this plan: {_command_to_create(run, digest)}"
        return dataclasses.replace(outcome, state=RunState.FAILED, message=message)
    if not cleanup.get("planStored"):
        message = f"A brake tripped, and the plan could not be stored, so there is nothing to approve: {_clipped(said)}"
        return dataclasses.replace(outcome, state=RunState.FAILED, message=message)
    planned, size = int(cleanup.get("planned", 0)), format_bytes(int(cleanup.get("plannedBytes", 0)))
    message = f"{_clipped(said)} Held are {planned} items ({size}). "
    if run.done_before:
        message += f"{run.done_before} "
    if run.approved:
        message += f"spec.approve is used up. To carry out exactly the new plan: {_command_to_create(run, digest)}"
    else:
        message += f"To carry out exactly this plan: {_command_to_approve(run, digest)}"
    if policy is not None:
        # A worker that is given the plan by another run counts from when the plan was begun.
        since = run.admitted if run.approved and run.admitted is not None else outcome.finished or now
        message += f" It expires {format_time(since + policy.hold_for)}."
    return dataclasses.replace(outcome, message=message)


def held(run: RunView, policy: PolicyView | None, successor: Successor | None, now: datetime) -> Decision:
    """The next step of a run whose plan is held."""
    if run.cancel:
        return Decision(
            state=RunState.CANCELLED,
            reason="Cancelled",
            message=f"Cancelled while its plan was held. {_done(run)}",
        )
    if policy is None:
        return Decision(
            state=RunState.CANCELLED,
            reason="PolicyDeleted",
            message=f"{run.policy_kind} {run.policy} was deleted while this run's plan was held.",
        )
    if successor is not None:
        did = "carried out this plan" if successor.carried_out else "made a newer plan"
        return Decision(
            state=RunState.SUPERSEDED,
            reason=str(RunState.SUPERSEDED),
            message=f"Run {successor.run} {did}. {_done(run)}",
        )
    waiting, in_time = None, False
    if run.approve is not None and not run.approved:
        waiting = _in_the_way(run, run.approve, policy)
        if waiting is None:
            # Before the expiry: it was held when it was approved, even if nobody was there to see it.
            return Decision(start_attempt=run.attempt + 1)
        in_time = run.approve == run.digest
    expires = (run.attempt_ended or run.created) + policy.hold_for
    if now >= expires and not policy.problem and not in_time:
        return Decision(
            state=RunState.EXPIRED,
            reason=str(RunState.EXPIRED),
            message=f"Nobody approved its plan in time (spec.holdFor of the policy). {_done(run)}",
        )
    changed = waiting is not None and waiting[0] != run.queue_reason
    return Decision(waiting=waiting if changed else None, again=expires if now < expires else None)


def held_again(run: RunView, policy: PolicyView) -> Decision | None:
    """The step back of an approved plan whose policy was edited before its attempt started; None where it goes on.

    The approval is given once, so it is not spent on a policy that cannot be carried out, or not in mode Enforce.
    """
    if run.approve is None or run.attempt < 2 or run.attempts[-2].get("result") != RunState.HELD:
        return None
    waiting = _in_the_way(run, run.approve, policy)
    if waiting is None:
        return None
    return Decision(
        delete_job=True,
        drop_attempt=True,
        state=RunState.HELD,
        reason=waiting[0],
        message=waiting[1],
        waiting=waiting,
    )


def successor_of(run: RunView, others: Iterable[RunView]) -> Successor | None:
    """What replaces the held plan of `run` among the runs of its policy: one that made a plan later, or carried it out.

    Only what was to remove something counts: a dry run leaves a held plan as it is.
    """
    for other in others:
        if other.uid == run.uid or other.carried_mode != "Enforce" or not other.digest or other.attempt_ended is None:
            continue
        if other.approved == run.digest and other.digest == run.digest:
            if other.state in GOOD_STATES:
                return Successor(other.name, carried_out=True)
            continue
        own_plan = not other.approved or other.approved != other.digest
        if own_plan and _order(other) > _order(run):
            return Successor(other.name, carried_out=False)
    return None


def _order(run: RunView) -> tuple[datetime, datetime, str]:
    """When the plan of a run was made. Runs of one policy never overlap; the rest is for what has the same second."""
    return run.admitted or EPOCH, run.attempt_ended or EPOCH, run.name


def _in_the_way(run: RunView, approve: str, policy: PolicyView) -> tuple[str, str] | None:
    """Why an approval is not followed, as (reason, message) of `status.queue`; None if it is."""
    if approve != run.digest:
        command = _command_to_create(run, run.digest)
        message = (
            f"spec.approve is not the digest of the held plan and cannot be changed. To carry out that plan: {command}"
        )
        return "WrongDigest", message
    if policy.problem:
        return "InvalidSpec", f"Approved, and waits until its policy can be carried out again: {policy.problem}"
    if policy.mode != "Enforce":
        what = f"{run.policy_kind} {run.policy}"
        message = f"Approved, and waits until {what} is in mode Enforce again: a run is never less dry than its policy."
        return "PolicyIsDryRun", message
    return None


def _command_to_approve(run: RunView, digest: str) -> str:
    patch = json.dumps({"spec": {"approve": digest}}, separators=(",", ":"))
    return f"kubectl -n {run.namespace} patch mrun {run.name} --type=merge -p {shlex.quote(patch)}"


def _command_to_create(run: RunView, digest: str) -> str:
    manifest = {
        "apiVersion": names.API_VERSION,
        "kind": names.MAINTENANCE_RUN,
        "metadata": {"generateName": "approve-", "namespace": run.namespace},
        "spec": {"policyRef": {"kind": run.policy_kind, "name": run.policy}, "approve": digest},
    }
    return f"echo {shlex.quote(json.dumps(manifest, separators=(',', ':')))} | kubectl create -f -"


def _done(run: RunView) -> str:
    """What a run that ends while it is held has done: an attempt may have got half-way before a brake tripped."""
    return run.done_before or "Nothing was removed."


def _clipped(said: str) -> str:
    said = said.rstrip(".")
    return f"{said}." if len(said) < MAX_SAID else f"{said[: MAX_SAID - 1]}…"
