"""What the next step of a run is decided from, and what such a decision is."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

from housekeeper_api.conditions import RunState
from housekeeper_api.task import Mode
from housekeeper_operator.decisions.outcome import Outcome
from housekeeper_operator.decisions.views import PodView, RunView


@dataclasses.dataclass(frozen=True, slots=True)
class PolicyView:
    """What a run needs to know of its policy."""

    uid: str
    problem: str
    """Why it cannot be carried out, or empty."""
    mode: str
    suspended: bool
    timeout: timedelta
    pending_timeout: timedelta
    starting_deadline: timedelta
    attempts: int
    backoff: timedelta
    max_backoff: timedelta
    slots_since: datetime | None
    """Slots before this are stale."""
    hold_for: timedelta = timedelta(days=7)
    """How long a held plan waits for approval."""


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """One step. Members are carried out in the order of their declaration."""

    start_attempt: int = 0
    """Make the Job of this attempt (from 1) and enter Queued."""
    adopt_job: str = ""
    """Enter Queued with this Job, which its CronJob made."""
    stop_pod: PodView | None = None
    """Lower this pod's deadline to 1 s, so that the kubelet ends it and it can still be read."""
    delete_job: bool = False
    """Delete the Job of the current attempt."""
    drop_attempt: bool = False
    """Forget the current attempt, which never started."""
    settle_slots: bool = False
    """Slots up to now are settled: none of them may fire."""
    state: RunState | None = None
    reason: str = ""
    message: str = ""
    outcome: Outcome | None = None
    """Of the attempt that just ended."""
    next_attempt: datetime | None = None
    started: datetime | None = None
    waiting: tuple[str, str] | None = None
    """Reason and message of `status.queue`."""
    again: datetime | None = None
    """When to look again even if nothing is heard."""


def effective_mode(run_mode: str | None, policy_mode: str) -> Mode:
    """The drier of both."""
    return "Enforce" if policy_mode == "Enforce" and run_mode != "DryRun" else "DryRun"


def mode_of_run(run: RunView, policy_mode: str) -> Mode:
    """The mode in which a run is carried out. A restore is what a person asked for, whatever the policy's mode is.

    A dry run stays one in its further attempts, whatever its policy says by then: would-be numbers and real ones are
    never added up. One that was Enforce goes on only in a policy that still is (`lifecycle.less_dry`).
    """
    if run.carried_mode == "DryRun":
        return "DryRun"
    return effective_mode(run.mode, "Enforce" if run.restores else policy_mode)


def failed(reason: str, message: str) -> Decision:
    """The run ends as Failed."""
    return Decision(state=RunState.FAILED, reason=reason, message=message)
