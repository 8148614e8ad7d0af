"""Fluent builders of what decisions see. Each builds the plain object of the API, and the view of it.

    pod().on("node-a").ran_for(5).exited(137, "OOMKilled").failed().view()

Every method returns a new builder.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from housekeeper_api import names
from housekeeper_api.conditions import GOOD_STATES, TERMINAL_STATES, RunState
from housekeeper_api.result import Cleanup, Result
from housekeeper_operator.decisions.step import PolicyView
from housekeeper_operator.decisions.views import JobView, Object, PodView, RunView, format_time

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def later(**span: float) -> datetime:
    return NOW + timedelta(**span)


class Builder:
    """An object under construction."""

    def __init__(self, obj: Object) -> None:
        self.obj = obj

    def _with(self, *path: str, value: Any) -> Self:
        """A copy in which the member at `path` is `value`."""
        obj = copy.deepcopy(self.obj)
        inner = obj
        for member in path[:-1]:
            inner = inner.setdefault(member, {})
        inner[path[-1]] = value
        return type(self)(obj)

    def _condition(self, kind: str, *, status: str = "True", since: datetime = NOW, **members: str) -> Self:
        old = self.obj.get("status", {}).get("conditions", [])
        item = {"type": kind, "status": status, "lastTransitionTime": format_time(since), **members}
        return self._with("status", "conditions", value=[*(one for one in old if one["type"] != kind), item])

    def named(self, name: str) -> Self:
        return self._with("metadata", "name", value=name)._with("metadata", "uid", value=f"uid-{name}")

    def created(self, when: datetime) -> Self:
        return self._with("metadata", "creationTimestamp", value=format_time(when))

    def annotated(self, key: str, value: str) -> Self:
        return self._with("metadata", "annotations", key, value=value)

    def deleting(self) -> Self:
        return self._with("metadata", "deletionTimestamp", value=format_time(NOW))

    def status(self, **members: Any) -> Self:
        return self._with("status", value={**self.obj.get("status", {}), **members})


class PodBuilder(Builder):
    """A worker's pod; at first it is Pending and has no node."""

    def _state(self, **state: Any) -> Self:
        return self._with("status", "containerStatuses", value=[{"name": names.CONTAINER, "state": state}])

    def on(self, node: str) -> Self:
        return self._with("spec", "nodeName", value=node)

    def deadline(self, seconds: int) -> Self:
        return self._with("spec", "activeDeadlineSeconds", value=seconds)

    def unschedulable(self, message: str) -> Self:
        return self._condition("PodScheduled", status="False", reason="Unschedulable", message=message)

    def waiting(self, reason: str, message: str = "") -> Self:
        return self._state(waiting={"reason": reason, "message": message})

    def running(self, since: datetime) -> Self:
        return self.status(phase="Running")._state(running={"startedAt": format_time(since)})

    def exited(
        self,
        code: int,
        reason: str = "",
        *,
        message: str = "",
        started: datetime | None = None,
        finished: datetime = NOW,
    ) -> Self:
        """The container has ended; the phase is told later (`failed`, `succeeded`)."""
        terminated: Object = {
            "exitCode": code,
            "reason": reason or ("Error" if code else "Completed"),
            "startedAt": format_time(started or finished - timedelta(seconds=5)),
            "finishedAt": format_time(finished),
        }
        return self._state(terminated=terminated | ({"message": message} if message else {}))

    def failed(self, reason: str = "", message: str = "") -> Self:
        told = {key: value for key, value in (("reason", reason), ("message", message)) if value}
        return self.status(phase="Failed", **told)

    def succeeded(self) -> Self:
        return self.status(phase="Succeeded")

    def disrupted(self, reason: str, message: str) -> Self:
        return self._condition("DisruptionTarget", reason=reason, message=message)

    def view(self) -> PodView:
        return PodView.of(self.obj)


class JobBuilder(Builder):
    """A Job; at first it is suspended, and nobody's."""

    def slot(self, when: datetime) -> Self:
        return self.annotated(names.SCHEDULED_TIMESTAMP_ANNOTATION, format_time(when))

    def started(self) -> Self:
        return self._with("spec", "suspend", value=False)

    def failed(self, reason: str = "BackoffLimitExceeded", message: str = "Job has reached its limit") -> Self:
        return self.started()._condition("Failed", reason=reason, message=message)

    def completed(self) -> Self:
        return self.started()._condition("Complete")

    def with_task(self, text: str) -> Self:
        return self._with("spec", "template", "metadata", "annotations", value={names.TASK_ANNOTATION: text})

    def view(self) -> JobView:
        return JobView.of(self.obj)


class RunBuilder(Builder):
    """A MaintenanceRun; at first it is made by hand, and nobody has looked at it."""

    def of(self, kind: str, policy: str) -> Self:
        return self._with("spec", "policyRef", value={"kind": kind, "name": policy})

    def mode(self, mode: str) -> Self:
        return self._with("spec", "mode", value=mode)

    def restore_of(self, run_: str, *paths: str) -> Self:
        """It brings back what another run quarantined."""
        asked = self._with("spec", "action", value="Restore")._with("spec", "restoreOf", value=run_)
        return asked._with("spec", "restorePaths", value=list(paths))

    def cancelled(self) -> Self:
        return self._with("spec", "cancel", value=True)

    def approving(self, digest: str) -> Self:
        return self._with("spec", "approve", value=digest)

    def slot(self, when: datetime) -> Self:
        """Made by the schedule."""
        scheduled = self._with("spec", "trigger", value="Schedule")
        return scheduled.annotated(names.SCHEDULED_TIMESTAMP_ANNOTATION, format_time(when))

    def attempt(self, job: str, **members: Any) -> Self:
        return self.status(attempts=[*self.obj.get("status", {}).get("attempts", []), {"job": job, **members}])

    def state(self, state: RunState, message: str = "…") -> Self:
        status = str(state in GOOD_STATES) if state in TERMINAL_STATES else "Unknown"
        return self._condition("Succeeded", status=status, reason=str(state), message=message, since=ago(minutes=1))

    def queued(self, job: str = "job-1") -> Self:
        return self.attempt(job).state(RunState.QUEUED)

    def admitted(self, since: datetime, job: str = "job-1") -> Self:
        return self.attempt(job, startTime=format_time(since)).state(RunState.ADMITTED)

    def running(self, since: datetime, job: str = "job-1") -> Self:
        return self.admitted(since, job).state(RunState.RUNNING).status(startTime=format_time(since))

    def backoff(self, until: datetime) -> Self:
        ended = self.attempt("job-1", completionTime=format_time(ago(seconds=30)), result="Failed", reason="Killed")
        return ended.state(RunState.BACKOFF).status(nextAttemptTime=format_time(until))

    def held(self, since: datetime, digest: str, *, approved: str = "", job: str = "job-1") -> Self:
        """An enforcing run whose plan is held; `approved`: the plan that this attempt was given."""
        given = {"approved": approved} if approved else {}
        started = format_time(since - timedelta(minutes=1))
        attempt = self.attempt(job, startTime=started, completionTime=format_time(since), result="Held", **given)
        told = {
            "cleanup": {"scanned": 9, "matched": 8, "removed": 0, "bytesFreed": 0, "planned": 7, "planDigest": digest}
        }
        return attempt.state(RunState.HELD).status(startTime=started, mode="Enforce", result=told)

    def ended(self, state: RunState, when: datetime, **status: Any) -> Self:
        return self.state(state).status(completionTime=format_time(when), **status)

    def recorded(self) -> Self:
        return self._condition("Recorded", reason="Counted", message="Counted.")

    def patched(self, patch: Object) -> Self:
        """As the API server has it after a merge patch of the status."""
        return self._with("status", value=merge(self.obj.get("status", {}), patch))

    def view(self) -> RunView:
        return RunView.of(self.obj)


def merge(target: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def _metadata(name: str, created: datetime) -> Object:
    return {
        "name": name,
        "namespace": "team",
        "uid": f"uid-{name}",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": format_time(created),
    }


def pod(name: str = "worker-x") -> PodBuilder:
    return PodBuilder({"metadata": _metadata(name, ago(minutes=1)), "spec": {}, "status": {"phase": "Pending"}})


def job(name: str = "job-1") -> JobBuilder:
    return JobBuilder({"metadata": _metadata(name, ago(minutes=1)), "spec": {"suspend": True}})


def run(name: str = "run-1") -> RunBuilder:
    return RunBuilder(
        {
            "apiVersion": names.API_VERSION,
            "kind": names.MAINTENANCE_RUN,
            "metadata": _metadata(name, ago(minutes=1)),
            "spec": {
                "policyRef": {"kind": "CleanupPolicy", "name": "backups"},
                "cancel": False,
                "trigger": "Manual",
                "ttl": "7d",
            },
        }
    )


def policy(**changes: Any) -> PolicyView:
    view = PolicyView(
        uid="uid-backups",
        problem="",
        mode="Enforce",
        suspended=False,
        timeout=timedelta(hours=1),
        pending_timeout=timedelta(minutes=15),
        starting_deadline=timedelta(hours=1),
        attempts=3,
        backoff=timedelta(seconds=30),
        max_backoff=timedelta(minutes=10),
        slots_since=ago(days=30),
    )
    return dataclasses.replace(view, **changes)


def result(outcome: str = "Succeeded", message: str = "Done.", **members: Any) -> str:
    """A worker's termination message."""
    cleanup = Cleanup(scanned=10, matched=8, removed=3, bytes_freed=4096)
    told = Result(outcome=outcome, message=message, mode="Enforce", duration_seconds=1.5, cleanup=cleanup)
    return json.dumps({**json.loads(told.to_json()), **members})


def held_result(message: str = "70 % of the selected files would go.", outcome: str = "Held", **members: Any) -> str:
    """What a worker says whose plan is held."""
    told: Object = json.loads(result(outcome, message))
    numbers = {"removed": 0, "planned": 7, "plannedBytes": 7168, "planDigest": f"sha256:{'a' * 64}", "planStored": "x"}
    told["cleanup"] |= {**numbers, **members}
    return json.dumps(told)
