"""MaintenanceRun: one execution of a policy or check, whatever caused it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from housekeeper_api import names
from housekeeper_api.durations import Duration
from housekeeper_api.fields.base import Column, Model, Resource, StatusModel
from housekeeper_api.fields.execution import TimeToLive
from housekeeper_api.fields.rules import ATOMIC_LIST, MapList, Rule, TransitionRule
from housekeeper_api.fields.status import MAX_TARGET, CheckStatus, Conditions
from housekeeper_api.fields.values import (
    MAX_INTEGER,
    CamelCase,
    Clipped,
    Count,
    Glob,
    Message,
    ObjectName,
    PolicyName,
    ShortMessage,
    StatusName,
    Timestamp,
)

_HELD = (
    "has(self.status) && has(self.status.conditions) && "
    "self.status.conditions.exists(c, c.type == 'Succeeded' && c.reason == 'Held')"
)
_DIGEST_KNOWN = (
    "has(self.status.result) && has(self.status.result.cleanup) && has(self.status.result.cleanup.planDigest)"
)
# Spelled out with has(): what an optional (`.?`) yields has no bounds, and the cost of a rule is then without limits.
_APPROVED_LATER = "has(self.spec.approve) && !has(oldSelf.spec.approve)"
_IMMUTABLE = "cannot be changed after the run was created; create another MaintenanceRun"


PlanDigest = Annotated[str, Field(max_length=71, pattern="^sha256:[0-9a-f]{64}$")]


class PolicyReference(Model):
    """The policy or check that is carried out, of the same namespace."""

    kind: Literal["CleanupPolicy", "HealthCheck"]
    """Kind of the policy."""
    name: PolicyName
    """Name of the policy."""


def _unchanged(field: str, *, optional: bool = False) -> TransitionRule:
    cel = f"self.{field} == oldSelf.{field}"
    if optional:
        cel = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {cel})"
    return TransitionRule(cel, _IMMUTABLE, field_path=f".{field}")


class MaintenanceRunSpec(Model):
    """What is carried out. Nothing of it changes afterwards, but `cancel` may be set, and `approve` once."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.policyRef.kind == 'CleanupPolicy' || !has(self.mode)",
            lambda self: self.policy_ref.kind == "CleanupPolicy" or self.mode is None,
            "is only for a CleanupPolicy; leave it out for a HealthCheck",
            field_path=".mode",
            reason="FieldValueForbidden",
        ),
        Rule(
            "!has(self.approve) || self.policyRef.kind == 'CleanupPolicy'",
            lambda self: self.approve is None or self.policy_ref.kind == "CleanupPolicy",
            "is only for a CleanupPolicy: a HealthCheck has no plan",
            field_path=".approve",
            reason="FieldValueForbidden",
        ),
        Rule(
            "!has(self.approve) || self.action == 'Run'",
            lambda self: self.approve is None or self.action == "Run",
            "is only for action: Run; a Restore has no plan",
            field_path=".approve",
            reason="FieldValueForbidden",
        ),
        Rule(
            "!has(self.approve) || !has(self.mode) || self.mode == 'Enforce'",
            lambda self: self.approve is None or self.mode != "DryRun",
            "is carried out in mode Enforce; leave out mode, or the approval",
            field_path=".approve",
            reason="FieldValueForbidden",
        ),
        Rule(
            "self.action != 'Restore' || has(self.restoreOf)",
            lambda self: self.action != "Restore" or self.restore_of is not None,
            "is needed for a Restore: the run whose quarantine comes back",
            field_path=".restoreOf",
            reason="FieldValueRequired",
        ),
        Rule(
            "self.action == 'Restore' || !has(self.restoreOf) && size(self.restorePaths) == 0",
            lambda self: self.action == "Restore" or (self.restore_of is None and not self.restore_paths),
            "restoreOf and restorePaths are only for action: Restore",
            field_path=".action",
        ),
        Rule(
            "self.action != 'Restore' || self.policyRef.kind == 'CleanupPolicy'",
            lambda self: self.action != "Restore" or self.policy_ref.kind == "CleanupPolicy",
            "Restore needs a CleanupPolicy, which names the volume",
            field_path=".policyRef",
        ),
    )
    transitions: ClassVar[tuple[TransitionRule, ...]] = (
        _unchanged("action"),
        _unchanged("policyRef"),
        _unchanged("mode", optional=True),
        _unchanged("restoreOf", optional=True),
        _unchanged("restorePaths"),
        _unchanged("trigger"),
        _unchanged("ttl"),
        TransitionRule(
            "self.cancel || !oldSelf.cancel",
            "a cancelled run stays cancelled; create another MaintenanceRun",
            field_path=".cancel",
        ),
        TransitionRule(
            "!has(oldSelf.approve) || (has(self.approve) && self.approve == oldSelf.approve)",
            "was given already and cannot be changed; create another MaintenanceRun with the digest to approve",
            field_path=".approve",
        ),
    )

    action: Literal["Run", "Restore"] = "Run"
    """Run: carry the policy out. Restore: bring back what a run of it quarantined; the policy then only says on which
    volume and in which pod."""
    policy_ref: PolicyReference
    """What is carried out."""
    restore_of: ObjectName | None = None
    """Of a Restore: name of the MaintenanceRun whose quarantine comes back. The run itself may be gone."""
    restore_paths: Annotated[tuple[Glob, ...], Field(max_length=16), ATOMIC_LIST] = ()
    """Of a Restore: globs of what comes back, over the path below the root. Empty: everything."""
    mode: Literal["DryRun", "Enforce"] | None = None
    """Overrides the policy's mode. A run may be a dry run of an enforcing policy, never the other way round. Absent:
    the policy's; of a Restore, Enforce whatever the policy says."""
    cancel: bool = False
    """True ends the run as soon as possible. It cannot be taken back."""
    approve: PlanDigest | None = None
    """Digest of a plan (`sha256:…`): carry out exactly that plan, less what has changed since and what the rules would
    keep by now. Of a held run, the digest in its message. A new run may carry the digest of any stored plan: a dry
    run's on the report volume, or one whose run has expired. It is given once."""
    trigger: Literal["Manual", "Schedule"] = "Manual"
    """What caused the run. Schedule is the operator's."""
    ttl: TimeToLive = Duration(7, "d")
    """Age after its end at which the run is removed."""


class QueueState(StatusModel):
    """Why the run is not running yet."""

    reason: CamelCase
    """One word for programs."""
    message: Message
    """One sentence for people."""


class AttemptPod(StatusModel):
    """A pod of an attempt."""

    name: StatusName
    """Name of the pod."""
    node: StatusName | None = None
    """Node that it ran on."""
    result: CamelCase | None = None
    """How it ended."""


class Attempt(StatusModel):
    """One attempt: one Job."""

    job: StatusName
    """Name of the Job."""
    approved: Annotated[str, Field(max_length=128)] | None = None
    """Digest of the approved plan that it was given to carry out. Absent: it made its own."""
    start_time: Timestamp | None = None
    """When it was admitted."""
    completion_time: Timestamp | None = None
    """When it ended."""
    result: CamelCase | None = None
    """How it ended."""
    reason: CamelCase | None = None
    """One word for programs: why, such as OOMKilled or Evicted."""
    message: Message | None = None
    """One sentence for people."""
    pods: Annotated[tuple[AttemptPod, ...], Field(max_length=10), ATOMIC_LIST] = ()
    """Its pods."""


class Decision(StatusModel):
    """What was decided about one file, and why."""

    path: Annotated[str, Clipped(1024)]
    """Path below the root of the volume."""
    decision: Literal["Keep", "Remove"]
    """Whether it stays."""
    reason: ShortMessage
    """Why."""


class Audit(StatusModel):
    """Where it is written what was done to each file, and by what that can be recognised."""

    to: Literal["Log", "File"]
    """The log of the worker's pod, or a file on the report volume."""
    path: Annotated[str, Clipped(512)] | None = None
    """Of a file: below the directory of the report volume."""
    lines: Count = 0
    """Lines up to the head."""
    head: Annotated[str, Field(max_length=64)] | None = None
    """Hash of the last block of its chain: what `housekeeper verify-audit --head` takes."""
    complete: bool = False
    """Whether there is a line about every file that was removed, would be, or stayed though it should have gone."""
    unrecorded: Count = 0
    """Files removed after the last line that is safe, because no more could be written."""


MAX_SAMPLE: Final = 20
MAX_ERRORS: Final = 5
MAX_NOTES: Final = 5
MAX_SKIP_REASONS: Final = 32
MAX_CHECKS: Final = 32
MAX_ATTEMPTS: Final = 20
"""Attempts that a status holds: `retry.attempts` is at most ten, and an approval is tried as often anew."""


class CleanupResult(StatusModel):
    """Result of a clean-up. In a dry run, what would have been done."""

    scanned: Count
    """Files seen below the root."""
    matched: Count
    """Files that a rule selected."""
    removed: Count
    """Files removed."""
    removed_directories: Count = 0
    """Directories removed because this run had emptied them. Not counted in a dry run."""
    bytes_freed: Count
    """Allocated bytes of what was removed."""
    freed: Annotated[str, Field(max_length=16)] | None = None
    """The same for people, such as 2.2 MiB."""
    freed_on_disk: Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)] | None = None
    """Bytes that became free on the file system meanwhile, whoever freed them. Absent in a dry run."""
    skipped: Annotated[dict[str, Count], Field(max_length=MAX_SKIP_REASONS)] = Field(default_factory=dict)
    """Files that a rule would remove and that stayed, by reason."""
    open_files: Annotated[dict[str, Count], Field(max_length=MAX_SKIP_REASONS)] = Field(default_factory=dict)
    """Files of the plan by what is known about their openers: `notOpen`; `open`, which stayed; `unknown`;
    `openedMeanwhile`, while they were removed; in a dry run `notLookedAt`. Empty where nobody asked."""
    errors: Annotated[tuple[ShortMessage, ...], Field(max_length=MAX_ERRORS), ATOMIC_LIST] = ()
    """The first errors, each with the path and what to do."""
    error_count: Count = 0
    """Number of all errors."""
    plan_digest: Annotated[str, Field(max_length=128)] | None = None
    """Digest of the plan that was carried out, or is held: what `approve` names."""
    planned: Count = 0
    """Files of the whole plan, whether they went or not."""
    planned_bytes: Count = 0
    """Allocated bytes of these."""
    plan_stored: Annotated[str, Clipped(512)] | None = None
    """Where the plan waits for approval. Absent if it does not."""
    notes: Annotated[tuple[ShortMessage, ...], Field(max_length=MAX_NOTES), ATOMIC_LIST] = ()
    """What else to know: a brake that is off, a plan that was lost, files whose time is in the future or not known."""
    sample: Annotated[tuple[Decision, ...], Field(max_length=MAX_SAMPLE), ATOMIC_LIST] = ()
    """Some of the decisions."""
    audit: Audit | None = None
    """Where the audit is. Absent where there is none."""
    now: Timestamp | None = None
    """The worker's clock when it began, by which all ages were taken. Ages in an audit or a plan count from it."""
    quarantined: Count = 0
    """Items (files, and directories that are one) moved into the quarantine; they are not in `removed`."""
    bytes_quarantined: Count = 0
    """Allocated bytes of what was quarantined, which are not free yet."""
    restorable_until: Timestamp | None = None
    """Until then at least, what was quarantined can be restored, and the run is not removed. Absent if nothing was."""
    purged: Count = 0
    """Items that were in quarantine long enough and went for good; they are not in `removed`."""
    bytes_purged: Count = 0
    """Allocated bytes of what was purged."""


class HealthResult(StatusModel):
    """Result of a HealthCheck."""

    checks: Annotated[tuple[CheckStatus, ...], Field(max_length=MAX_CHECKS), MapList("name")] = ()
    """Each check's result."""


class RestoreResult(StatusModel):
    """Result of a Restore. In a dry run, what would have been done."""

    restored: Count
    """Items that are where they were."""
    bytes_restored: Count
    """Allocated bytes of them."""
    conflicts: Count = 0
    """Items that stay in quarantine because something else is at their place now. Nothing is ever overwritten."""
    directories_made: Count = 0
    """Directories that were gone and were made again."""
    errors: Annotated[tuple[ShortMessage, ...], Field(max_length=MAX_ERRORS), ATOMIC_LIST] = ()
    """The first errors and conflicts, each with the path and what to do."""
    error_count: Count = 0
    """Number of all errors, without the conflicts."""
    audit: Audit | None = None
    """Where the audit is. Absent where there is none."""


class RunResult(StatusModel):
    """What came out. At most one member is set."""

    cleanup: CleanupResult | None = None
    """Of a CleanupPolicy."""
    health: HealthResult | None = None
    """Of a HealthCheck."""
    restore: RestoreResult | None = None
    """Of a Restore."""


class MaintenanceRunStatus(StatusModel):
    """How far the run is, and what came out."""

    observed_generation: Count | None = None
    """Generation of the specification that this status is about."""
    conditions: Conditions = ()
    """Conditions by type. The reason of `Succeeded` is the state of the run."""
    queue: QueueState | None = None
    """Why it is not running yet."""
    attempts: Annotated[tuple[Attempt, ...], Field(max_length=MAX_ATTEMPTS), ATOMIC_LIST] = ()
    """Attempts, in order: up to ten until a plan is held, and ten more once it is approved."""
    next_attempt_time: Timestamp | None = None
    """When the next attempt is made, after a failed one."""
    mode: Literal["DryRun", "Enforce"] | None = None
    """Mode in which it was carried out."""
    start_time: Timestamp | None = None
    """When its worker first started. Absent if none did."""
    completion_time: Timestamp | None = None
    """When it ended."""
    duration_seconds: Count | None = None
    """From start to end, without the time in which its plan was held."""
    target: Annotated[str, Field(max_length=MAX_TARGET)] | None = None
    """Claim and directory that it worked on, such as `backups/postgres`. Absent for a HealthCheck."""
    result: RunResult | None = None
    """What came out."""


class MaintenanceRun(Resource):
    """One execution of a CleanupPolicy or HealthCheck: queue entry, live state, result and record.
    Create one to run something now."""

    transitions: ClassVar[tuple[TransitionRule, ...]] = (
        TransitionRule(
            f"!({_APPROVED_LATER}) || ({_HELD})",
            "can be given when a run is created, and to one that is Held; for another plan create a run with its "
            "digest",
            field_path=".spec.approve",
        ),
        TransitionRule(
            f"!({_APPROVED_LATER} && {_HELD}) || "
            f"({_DIGEST_KNOWN} && self.status.result.cleanup.planDigest == self.spec.approve)",
            "is not the digest of the plan that is held; that is in the run's message and in "
            "status.result.cleanup.planDigest",
            field_path=".spec.approve",
            reason="FieldValueInvalid",
        ),
    )
    short_name: ClassVar = "mrun"
    columns: ClassVar = (
        Column(name="Policy", json_path=".spec.policyRef.name", description="What is carried out."),
        Column(name="Trigger", json_path=".spec.trigger", description="What caused it."),
        Column(
            name="State",
            json_path='.status.conditions[?(@.type=="Succeeded")].reason',
            description="State of the run.",
        ),
        Column(
            name="Removed",
            json_path=".status.result.cleanup.removed",
            type="integer",
            description="Files removed; in a dry run, that would be.",
        ),
        Column(
            name="Freed",
            json_path=".status.result.cleanup.freed",
            description="Bytes freed; in a dry run, that would be.",
        ),
        Column(
            name="Started", json_path=".status.startTime", type="date", description="When its worker first started."
        ),
        Column(
            name="Duration",
            json_path=".status.durationSeconds",
            type="integer",
            description="Seconds from start to end.",
        ),
        Column(name="Kind", json_path=".spec.policyRef.kind", description="Kind of the policy.", wide=True),
        Column(name="Mode", json_path=".status.mode", description="DryRun or Enforce.", wide=True),
        Column(
            name="Message",
            json_path='.status.conditions[?(@.type=="Succeeded")].message',
            description="What to know about the state.",
            wide=True,
        ),
        Column(name="Age", json_path=".metadata.creationTimestamp", type="date", description="Since it was created."),
    )

    api_version: Literal["housekeeper.dev/v1alpha1"] = "housekeeper.dev/v1alpha1"
    kind: Literal["MaintenanceRun"] = names.MAINTENANCE_RUN
    spec: MaintenanceRunSpec
    """What is wanted."""
    status: MaintenanceRunStatus | None = None
    """What became of it; the operator's."""
