"""Condition types and reasons of all three kinds: each a documented constant, listed in the reference."""

from __future__ import annotations

from enum import StrEnum


class ConditionType(StrEnum):
    """Types of condition."""

    READY = "Ready"
    """Policy, check: the specification is understood and its CronJob is as it says."""
    RUNNING = "Running"
    """Policy, check: a run of it is admitted and has not ended."""
    HELD = "Held"
    """Clean-up policy: a plan of it is held by a brake and waits for approval; the message names the run."""
    DEGRADED = "Degraded"
    """Policy, check: it is carried out, but not as wished; the last run did not succeed."""
    HEALTHY = "Healthy"
    """Check: True, False, or Unknown when the checks could not be carried out."""
    SUCCEEDED = "Succeeded"
    """Run: Unknown until it ended, then True or False for ever."""
    RECORDED = "Recorded"
    """Run: counted in the totals of its policy, exactly once."""


class ReadyReason(StrEnum):
    """Reasons of `Ready`."""

    SCHEDULED = "Scheduled"
    """The CronJob is in place."""
    SUSPENDED = "Suspended"
    """In place, and suspended as the specification says. Runs by hand still work."""
    INVALID_SPEC = "InvalidSpec"
    """The specification cannot be carried out; the message names the field and says what to write."""
    NAME_CONFLICT = "NameConflict"
    """An object of the name that is needed exists and is not ours; it was left alone."""
    FORBIDDEN = "Forbidden"
    """The API server does not let the operator make the CronJob: a quota, a webhook, missing rights."""


class RunState(StrEnum):
    """Reasons of `Succeeded`: the state of a run."""

    QUEUED = "Queued"
    """Waits for its turn; `status.queue` says for what."""
    ADMITTED = "Admitted"
    """Its Job is started; the pod does not run yet."""
    RUNNING = "Running"
    """Its pod runs."""
    BACKOFF = "Backoff"
    """An attempt failed; `status.nextAttemptTime` says when the next one is made."""
    HELD = "Held"
    """A brake tripped, and nothing of the plan was removed: it waits for `spec.approve`. The message says which brake,
    how much would go, how to approve it, and what earlier attempts removed, if any did."""
    CANCELLING = "Cancelling"
    """Is being ended, because `spec.cancel` was set."""
    SUCCEEDED = "Succeeded"
    """Ended: all was done."""
    PARTIALLY_SUCCEEDED = "PartiallySucceeded"
    """Ended: all was done but for items that are listed as errors."""
    FAILED = "Failed"
    """Ended: the last attempt failed; the message says why and what to do."""
    CANCELLED = "Cancelled"
    """Ended: because `spec.cancel` was set."""
    TIMED_OUT = "TimedOut"
    """Ended: because an attempt took longer than its `timeout`."""
    SKIPPED = "Skipped"
    """Ended without an attempt: the message says why."""
    SUPERSEDED = "Superseded"
    """Ended while its plan was held: a later run of the policy made a plan of its own, or carried this one out."""
    EXPIRED = "Expired"
    """Ended while its plan was held: nobody approved it within the policy's `holdFor`."""


ACTIVE_STATES = frozenset({RunState.ADMITTED, RunState.RUNNING, RunState.CANCELLING})
"""States of a run that takes part of the limits: its Job is not suspended."""
WAITING_STATES = frozenset({RunState.QUEUED, RunState.BACKOFF, RunState.HELD})
"""States of a run that has no place in the queue's limits, holds no volume, and has not ended."""
GOOD_STATES = frozenset({RunState.SUCCEEDED, RunState.PARTIALLY_SUCCEEDED})
IDLE_STATES = frozenset({RunState.SKIPPED, RunState.CANCELLED, RunState.SUPERSEDED})
"""States of an ended run that did not do its work because somebody did not want it to, or another did it."""
TERMINAL_STATES = frozenset(RunState) - ACTIVE_STATES - WAITING_STATES
