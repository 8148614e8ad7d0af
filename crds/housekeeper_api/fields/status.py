"""Parts of the status that several kinds have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from housekeeper_api.fields.base import StatusModel
from housekeeper_api.fields.rules import ATOMIC_LIST, MapList
from housekeeper_api.fields.values import CamelCase, Count, Message, ShortMessage, StatusName, Timestamp

MAX_RECORDED_RUNS = 64
"""Length of the ring of run uids that the totals already count."""


class Condition(StatusModel):
    """One condition, as everywhere in Kubernetes."""

    type: Annotated[str, Field(min_length=1, max_length=64)]
    """What it is about."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: Count | None = None
    """Generation of the object that this was said of."""
    last_transition_time: Timestamp
    """When `status` last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z][A-Za-z0-9]*$")]
    """One word for programs."""
    message: Message
    """One sentence for people; where something is wrong, it says what to do."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16), MapList("type")]


MAX_TARGET = 1024
"""Longest target of a run: a claim's name, a slash, and a path."""
MAX_RECENT_RUNS = 10


class RecentRun(StatusModel):
    """Numbers of one concluded run, which the brakes compare the next plan with."""

    time: Timestamp
    """Its clock, by which it took all ages. A later run whose clock is over a minute behind this does not begin."""
    scanned: Count
    """Files seen."""
    matched: Count
    """Files that a rule selected."""
    planned: Count
    """Files that its plan would remove."""
    removed: Count
    """Files of these that it took away, into quarantine too; 0 for a dry run."""


class LastRun(StatusModel):
    """Summary of the last finished run."""

    name: StatusName
    """Name of the MaintenanceRun."""
    result: CamelCase
    """How it ended: Succeeded, PartiallySucceeded, Failed, TimedOut, Expired or Cancelled."""
    trigger: CamelCase | None = None
    """What caused it: Schedule or Manual."""
    mode: Literal["DryRun", "Enforce"] | None = None
    """DryRun: the numbers say what would have been removed."""
    scanned: Count | None = None
    """Files seen."""
    matched: Count | None = None
    """Files that a rule selected."""
    planned: Count | None = None
    """Files that its plan would remove."""
    removed: Count | None = None
    """Files removed."""
    bytes_freed: Count | None = None
    """Allocated bytes of what was removed."""
    freed: Annotated[str, Field(max_length=16)] | None = None
    """The same for people, such as 2.2 MiB."""
    quarantined: Count | None = None
    """Items moved into the quarantine."""
    purged: Count | None = None
    """Items that were in quarantine long enough and went for good."""
    errors: Count | None = None
    """Number of errors."""
    duration_seconds: Count | None = None
    """How long it took, from its start to its end, without the time in which its plan was held."""
    message: Message | None = None
    """One sentence about it."""


class Skip(StatusModel):
    """Why a slot of the schedule was not carried out: the answer to "why didn't it run?"."""

    time: Timestamp
    """The slot."""
    reason: CamelCase
    """One word for programs."""
    message: Message
    """One sentence for people."""


class CleanupTotals(StatusModel):
    """Sums over all runs since the policy was created. Each run is counted once."""

    runs: Count = 0
    """Finished runs, but for those that were skipped, cancelled or superseded."""
    failures: Count = 0
    """Runs that did not succeed."""
    removed: Count = 0
    """Files removed, and files purged from quarantine, by runs that were cancelled or superseded too; dry runs do not
    count."""
    bytes_freed: Count = 0
    """Allocated bytes of what was removed or purged; dry runs do not count."""


class HealthTotals(StatusModel):
    """Sums over all runs since the check was created. Each run is counted once."""

    runs: Count = 0
    """Finished runs."""
    failures: Count = 0
    """Runs that could not be carried out."""


class ScheduledStatus(StatusModel):
    """What the status of a policy and of a check have in common."""

    observed_generation: Count | None = None
    """Generation of the specification that this status is about."""
    conditions: Conditions = ()
    """Conditions by type."""
    schedule: Annotated[str, Field(max_length=256)] | None = None
    """The schedule with every H replaced by the number it became."""
    next_run_time: Timestamp | None = None
    """Next slot of the schedule. Absent while suspended."""
    last_schedule_time: Timestamp | None = None
    """Last slot whose run has ended, skipped ones included."""
    last_run_time: Timestamp | None = None
    """When the last run ended."""
    last_success_time: Timestamp | None = None
    """When the last run ended that succeeded."""
    last_run: LastRun | None = None
    """Summary of the last finished run."""
    consecutive_failures: Count = 0
    """Runs that did not succeed, since the last that did."""
    last_skip: Skip | None = None
    """The last slot that was not carried out, and why."""
    recorded_runs: Annotated[
        tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=MAX_RECORDED_RUNS), ATOMIC_LIST
    ] = ()
    """Uids of the runs counted last, so that none is counted twice."""


class CheckStatus(StatusModel):
    """Result of one check."""

    name: Annotated[str, Field(max_length=63)]
    """Name of the check."""
    result: Literal["Passed", "Warning", "Failed", "Unknown"]
    """Unknown: it could not be carried out."""
    value: Annotated[str, Field(max_length=32)] | None = None
    """What was measured, a decimal number."""
    unit: Annotated[str, Field(max_length=16)] | None = None
    """Unit of the value: percent or bytes."""
    message: ShortMessage | None = None
    """One sentence for people."""
