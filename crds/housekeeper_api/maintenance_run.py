"""MaintenanceRun: one execution of a policy or check, whatever caused it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from housekeeper_api import names
from housekeeper_api.durations import Duration
from housekeeper_api.fields.base import Column, Model, Resource, StatusModel
from housekeeper_api.fields.execution import TimeToLive
from housekeeper_api.fields.rules import ATOMIC_LIST, Rule, TransitionRule
from housekeeper_api.fields.status import MAX_TARGET, Conditions
from housekeeper_api.fields.values import (
    CamelCase,
    Count,
    Glob,
    Message,
    ObjectName,
    PolicyName,
    StatusName,
    Timestamp,
)
from housekeeper_api.run_result import RunResult

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


MAX_ATTEMPTS: Final = 20
"""Attempts that a status holds: `retry.attempts` is at most ten, and an approval is tried as often anew."""


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
