"""What decisions see of an object: the few members that matter, read once from the plain dict of the API.

A view never fails on an object that the API server accepted: what is absent is None or empty.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from housekeeper_api import names
from housekeeper_api.conditions import ACTIVE_STATES, TERMINAL_STATES, ConditionType, RunState
from housekeeper_api.quantities import parse_quantity
from housekeeper_api.task import Task, TaskError

Object = dict[str, Any]

_EXPONENT: Final = re.compile(r"^[0-9]{1,19}([.][0-9]{1,19})?[eE][+]?[0-9]{1,2}$")
EPOCH: Final = datetime.fromtimestamp(0, UTC)
FAR: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Times from here on are none: anybody may write one into an annotation, and adding a span to it must not overflow."""


def parse_time(text: str | None) -> datetime | None:
    """A time of the Kubernetes API (RFC 3339) in UTC, or None when absent or not a time from 1970 to the year 9000."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return moment if EPOCH <= moment < FAR else None


def format_time(moment: datetime) -> str:
    """A time as the Kubernetes API writes it: RFC 3339 in UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(obj: Object, wanted: str) -> Object | None:
    """The condition of type `wanted` in `obj.status.conditions`, or None."""
    for item in (obj.get("status") or {}).get("conditions") or ():
        if item.get("type") == wanted:
            found: Object = item
            return found
    return None


def controller_of(obj: Object) -> Object | None:
    """The owner reference with `controller: true`, or None."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Object = reference
            return found
    return None


def is_controlled_by(obj: Object, owner: Object) -> bool:
    """Whether `owner` (by uid, never by name) is the controller of `obj`."""
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == owner["metadata"]["uid"]


@dataclasses.dataclass(frozen=True, slots=True)
class PodView:
    """One pod of an attempt."""

    name: str
    uid: str
    created: datetime
    phase: str
    node: str
    reason: str
    """`status.reason`: Evicted, DeadlineExceeded, NodeLost … or empty."""
    message: str
    deleting: bool
    active_deadline: int | None
    started: datetime | None
    """When the worker's container started; None while it never did."""
    finished: datetime | None
    exit_code: int | None
    """Of the worker's container; None while it has not ended."""
    termination_reason: str
    """Completed, Error, OOMKilled, ContainerStatusUnknown … or empty."""
    termination_message: str
    waiting_reason: str
    """ImagePullBackOff, CreateContainerConfigError … or empty."""
    waiting_message: str
    unschedulable: str
    """Message of PodScheduled=False, or empty."""
    disrupted: str
    """Reason and message of DisruptionTarget, or empty."""

    @property
    def ended(self) -> bool:
        """Whether the worker in it will never say more than it has."""
        return self.exit_code is not None or self.over

    @property
    def over(self) -> bool:
        """Whether the kubelet has said its last word too: it names the reason a moment after the container's end."""
        return self.phase in {"Succeeded", "Failed"}

    @classmethod
    def of(cls, pod: Object) -> PodView:
        """Read a pod as the API gives it."""
        meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
        state: Object = {}
        for item in status.get("containerStatuses") or ():
            if item.get("name") == names.CONTAINER:
                state = item.get("state") or {}
        terminated = state.get("terminated") or {}
        running = state.get("running") or {}
        waiting = state.get("waiting") or {}
        scheduled = condition(pod, "PodScheduled") or {}
        disruption = condition(pod, "DisruptionTarget") or {}
        started = parse_time(running.get("startedAt") or terminated.get("startedAt"))
        return cls(
            name=meta["name"],
            uid=meta.get("uid", ""),
            created=parse_time(meta.get("creationTimestamp")) or EPOCH,
            phase=status.get("phase", "Pending"),
            node=spec.get("nodeName", ""),
            reason=status.get("reason", ""),
            message=status.get("message", ""),
            deleting="deletionTimestamp" in meta,
            active_deadline=spec.get("activeDeadlineSeconds"),
            # A container that could not be started ends with the start of the epoch as its start.
            started=None if started == EPOCH else started,
            finished=parse_time(terminated.get("finishedAt")),
            exit_code=terminated.get("exitCode"),
            termination_reason=terminated.get("reason", ""),
            termination_message=terminated.get("message", ""),
            waiting_reason=waiting.get("reason", ""),
            waiting_message=waiting.get("message", ""),
            unschedulable=scheduled.get("message", "") if scheduled.get("status") == "False" else "",
            disrupted=f"{disruption.get('reason', '')}: {disruption.get('message', '')}"
            if disruption.get("status") == "True"
            else "",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class JobView:
    """One Job: one attempt of one run."""

    name: str
    uid: str
    created: datetime
    suspended: bool
    template_hash: str
    recorded: bool
    deleting: bool
    finished: datetime | None
    """When it became Complete or Failed."""
    complete: bool
    """Whether its pod ended with exit code 0."""
    failure_reason: str
    """Reason of Failed (or FailureTarget): BackoffLimitExceeded, DeadlineExceeded … or empty."""
    failure_message: str
    slot: datetime | None
    """The slot that the CronJob controller made it for; None for a Job of ours or made by hand."""
    timeout: timedelta | None
    """Of the task that it was started with; None before that."""
    target_claim: str
    """The claim that it cleans, or empty."""

    @classmethod
    def of(cls, job: Object) -> JobView:
        """Read a Job as the API gives it."""
        meta, spec = job["metadata"], job.get("spec") or {}
        annotations = meta.get("annotations") or {}
        failed, complete = condition(job, "Failed") or {}, condition(job, "Complete") or {}
        target = condition(job, "FailureTarget") or {}
        ended = failed if failed.get("status") == "True" else complete if complete.get("status") == "True" else None
        cause = failed if failed.get("status") == "True" else target if target.get("status") == "True" else {}
        created = parse_time(meta.get("creationTimestamp")) or EPOCH
        return cls(
            name=meta["name"],
            uid=meta.get("uid", ""),
            created=created,
            suspended=bool(spec.get("suspend")),
            template_hash=annotations.get(names.TEMPLATE_HASH_ANNOTATION, ""),
            recorded=(meta.get("labels") or {}).get(names.RECORDED_LABEL) == "true",
            deleting="deletionTimestamp" in meta,
            finished=None if ended is None else parse_time(ended.get("lastTransitionTime")) or created,
            complete=complete.get("status") == "True",
            failure_reason=cause.get("reason", ""),
            failure_message=cause.get("message", ""),
            slot=parse_time(annotations.get(names.SCHEDULED_TIMESTAMP_ANNOTATION)),
            timeout=_timeout_of_task(spec),
            target_claim=target_claim((spec.get("template") or {}).get("spec") or {}),
        )


def target_claim(pod_spec: Object) -> str:
    """The claim that a worker's pod cleans, or empty."""
    for volume in pod_spec.get("volumes") or ():
        if volume.get("name") == names.TARGET_VOLUME:
            return str((volume.get("persistentVolumeClaim") or {}).get("claimName", ""))
    return ""


def target_name(claim: str, path: str) -> str:
    """Claim and directory as `status.target` names them: `backups/postgres`."""
    return f"{claim}/{path}" if path else claim


def claim_capacity(claim: Object) -> int | None:
    """Bytes of a bound PersistentVolumeClaim; None while it is not bound, or if it does not say."""
    text = str(((claim.get("status") or {}).get("capacity") or {}).get("storage", ""))
    try:
        # What an API server writes may have an exponent, which nobody is asked to write.
        return int(Decimal(text)) if _EXPONENT.search(text) else int(parse_quantity(text))
    except (ValueError, ArithmeticError):
        return None


def _timeout_of_task(job_spec: Object) -> timedelta | None:
    metadata = (job_spec.get("template") or {}).get("metadata") or {}
    task = (metadata.get("annotations") or {}).get(names.TASK_ANNOTATION)
    try:
        return timedelta(seconds=Task.from_json(task).timeout_seconds) if task else None
    except (TaskError, OverflowError, ValueError):
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class RunView:
    """One MaintenanceRun."""

    name: str
    namespace: str
    uid: str
    created: datetime
    policy_kind: str
    policy: str
    mode: str | None
    cancel: bool
    approve: str | None
    """Digest of the plan that a person approved."""
    trigger: str
    state: RunState | None
    """None: no reconcile has seen it yet."""
    message: str
    admitted: datetime | None
    """When the current attempt was admitted; None while it is queued."""
    recorded: bool
    slot: datetime | None
    attempts: tuple[Object, ...]
    next_attempt: datetime | None
    started: datetime | None
    completed: datetime | None
    queue_reason: str
    queue_message: str
    carried_mode: str
    """Mode in which it was carried out, or empty."""
    digest: str
    """Of the plan of the last attempt that told one, or empty."""
    restores: bool
    """Whether it brings back what another run quarantined."""
    restore_of: str
    """Name of that run, or empty."""
    restore_paths: tuple[str, ...]
    restorable_until: datetime | None
    """Until when what it quarantined can be restored; None if it quarantined nothing."""
    done: tuple[int, int]
    """Items that its attempts removed or purged, and that they quarantined; zeros of a dry run."""

    @property
    def done_before(self) -> str:
        """What its attempts removed until now, as a sentence; empty where that is nothing."""
        removed, quarantined = self.done
        if not removed and not quarantined:
            return ""
        moved = f" and quarantined {quarantined}" if quarantined else ""
        return f"Earlier attempts removed {removed} items{moved}."

    @property
    def active(self) -> bool:
        """Whether it takes part of the limits."""
        return self.state in ACTIVE_STATES

    @property
    def of_slot(self) -> bool:
        """Whether the schedule made it, and not a person."""
        return self.trigger == "Schedule" and self.slot is not None

    @property
    def replaced(self) -> bool:
        """Whether the operator made the current Job of a slot anew, in place of the CronJob's."""
        return self.slot is not None and bool(self.attempts) and self.job != self.name

    @property
    def terminal(self) -> bool:
        """Whether it has ended, for ever."""
        return self.state in TERMINAL_STATES

    @property
    def attempt(self) -> int:
        """Number of the current attempt, from 1; 0 before the first."""
        return len(self.attempts)

    @property
    def tries(self) -> int:
        """Number of the current attempt since the last held plan, from 1: an approval is tried as often as a run."""
        held = [number for number, attempt in enumerate(self.attempts) if attempt.get("result") == RunState.HELD]
        return len(self.attempts) - (held[-1] + 1 if held else 0)

    @property
    def was_held(self) -> bool:
        """Whether a plan of its own was held before: then its approval came while it was."""
        return any(attempt.get("result") == RunState.HELD for attempt in self.attempts)

    @property
    def approved(self) -> str:
        """Digest of the approved plan that the current attempt was given, or empty."""
        return str(self.attempts[-1].get("approved") or "") if self.attempts else ""

    @property
    def attempt_ended(self) -> datetime | None:
        """When the current attempt ended."""
        return parse_time(self.attempts[-1].get("completionTime")) if self.attempts else None

    @property
    def job(self) -> str:
        """Name of the Job of the current attempt, or empty."""
        return str(self.attempts[-1]["job"]) if self.attempts else ""

    @classmethod
    def of(cls, run: Object) -> RunView:
        """Read a MaintenanceRun as the API gives it."""
        meta, spec, status = run["metadata"], run["spec"], run.get("status") or {}
        succeeded = condition(run, ConditionType.SUCCEEDED) or {}
        recorded = condition(run, ConditionType.RECORDED) or {}
        queue = status.get("queue") or {}
        attempts = tuple(status.get("attempts") or ())
        return cls(
            name=meta["name"],
            namespace=meta["namespace"],
            uid=meta["uid"],
            created=parse_time(meta.get("creationTimestamp")) or EPOCH,
            policy_kind=spec["policyRef"]["kind"],
            policy=spec["policyRef"]["name"],
            mode=spec.get("mode"),
            cancel=bool(spec.get("cancel")),
            approve=spec.get("approve"),
            trigger=spec.get("trigger", "Manual"),
            state=_state(succeeded),
            message=succeeded.get("message", ""),
            admitted=parse_time(attempts[-1].get("startTime")) if attempts else None,
            recorded=recorded.get("status") == "True",
            slot=parse_time((meta.get("annotations") or {}).get(names.SCHEDULED_TIMESTAMP_ANNOTATION)),
            attempts=attempts,
            next_attempt=parse_time(status.get("nextAttemptTime")),
            started=parse_time(status.get("startTime")),
            completed=parse_time(status.get("completionTime")),
            queue_reason=queue.get("reason", ""),
            queue_message=queue.get("message", ""),
            carried_mode=status.get("mode", ""),
            digest=((status.get("result") or {}).get("cleanup") or {}).get("planDigest", ""),
            restores=spec.get("action") == "Restore",
            restore_of=str(spec.get("restoreOf") or ""),
            restore_paths=tuple(spec.get("restorePaths") or ()),
            restorable_until=parse_time(((status.get("result") or {}).get("cleanup") or {}).get("restorableUntil")),
            done=_done(status),
        )


def _done(status: Object) -> tuple[int, int]:
    cleanup = (status.get("result") or {}).get("cleanup") or {}
    if status.get("mode") != "Enforce":
        return 0, 0
    return int(cleanup.get("removed", 0)) + int(cleanup.get("purged", 0)), int(cleanup.get("quarantined", 0))


def _state(succeeded: Object) -> RunState | None:
    """The state of a run from its condition. What a later release ended, in whatever way, has ended."""
    if succeeded.get("reason") in set(RunState):
        return RunState(succeeded["reason"])
    return {"True": RunState.SUCCEEDED, "False": RunState.FAILED}.get(succeeded.get("status", ""))
