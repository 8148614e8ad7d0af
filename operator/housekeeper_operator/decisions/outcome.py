"""Why an attempt ended, in words that tell the user what to do.

The sources are read in this order, because each later one knows less: the worker's termination message, its exit code,
the reason of the pod, the condition of the Job, and at last Unknown. The result is never empty.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import datetime
from typing import Final

from housekeeper_api.conditions import RunState
from housekeeper_api.exit_codes import ExitCode
from housekeeper_api.harvest import run_result
from housekeeper_api.result import Result, ResultError
from housekeeper_operator.decisions.views import JobView, Object, PodView

MAX_MESSAGE: Final = 1024
"""Longest message in a condition, characters."""

KILLED: Final = 128 + 9
TERMINATED: Final = 128 + 15


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended."""

    state: RunState
    """The state that the run takes when no further attempt follows. Held: if its plan can be approved (`approval`)."""
    reason: str
    """CamelCase cause: OOMKilled, Evicted, ImagePullBackOff, PermissionDenied …"""
    message: str
    retryable: bool
    result: Object | None = None
    """`status.result` of the run, or None where the worker's numbers are lost."""
    said: str = ""
    """What the worker itself said, or empty."""
    finished: datetime | None = None


STATES: Final = {
    "Succeeded": RunState.SUCCEEDED,
    "PartiallySucceeded": RunState.PARTIALLY_SUCCEEDED,
    "Failed": RunState.FAILED,
    "TimedOut": RunState.TIMED_OUT,
    "Cancelled": RunState.FAILED,
    "Held": RunState.HELD,
    "CouldNotRun": RunState.FAILED,
}
RETRYABLE: Final = frozenset({"Failed", "TimedOut", "Cancelled"})
"""What another attempt may mend. A held plan, or a volume that is not as the policy says, waits for a person."""


def of_pod(pod: PodView, job: JobView | None) -> Outcome:
    """The outcome of a pod that has ended."""
    outcome = _of_message(pod) or _of_exit(pod) or _of_pod_reason(pod) or _of_job(job)
    if outcome is None:
        outcome = Outcome(
            RunState.FAILED,
            "Unknown",
            f"Pod {pod.name} ended in phase {pod.phase} and left neither a message nor an exit code; "
            f"look at the node {pod.node or '(none)'} and its kubelet's log.",
            retryable=True,
        )
    return dataclasses.replace(
        outcome, reason=word(outcome.reason), message=_clip(outcome.message), finished=pod.finished
    )


def is_conclusive(pod: PodView) -> bool:
    """Whether nothing more can come of a pod that has ended.

    The end of the container is told a second or two before the phase, and only with the phase comes the reason: until
    then a worker that was stopped at its deadline or evicted looks as if somebody had killed it.
    """
    if pod.over:
        return True
    result = _read(pod)
    return result is not None and result.outcome != "Cancelled"


def word(reason: str, default: str = "Unknown") -> str:
    """A reason of the kubelet as one of ours: letters and digits (`OutOfhugepages-2Mi` has others), at most 64."""
    return re.sub(r"[^A-Za-z0-9]", "", reason).lstrip("0123456789")[:64] or default


def of_vanished_pod(job: JobView | None, pod_name: str) -> Outcome:
    """The outcome of an attempt whose pod is gone before its result could be read."""
    if job is None:
        return Outcome(
            RunState.FAILED,
            "JobDeleted",
            "Its Job was deleted while it ran, and its result with it. What the worker did until then stands only in "
            "the log of the pod, where your cluster keeps logs.",
            retryable=False,
        )
    name = pod_name or "of the Job"
    if job.complete:
        return Outcome(
            RunState.SUCCEEDED,
            "Succeeded",
            f"Done, but pod {name} was deleted before its numbers could be read.",
            retryable=False,
        )
    return _of_job(job) or Outcome(
        RunState.FAILED,
        "PodDeleted",
        f"Pod {name} was deleted before its result could be read (node removed, drained or taken down by hand).",
        retryable=True,
    )


def not_started(pod: PodView | None, job_events: str, waited_seconds: float) -> Outcome:
    """The outcome of an attempt whose worker did not start within `pendingTimeout`: says what it waited for."""
    reason, why = pending_reason(pod, job_events)
    return Outcome(
        RunState.FAILED,
        reason,
        _clip(f"No worker started within {waited_seconds:.0f} s (spec.pendingTimeout). {why}"),
        retryable=False,
    )


def pending_reason(pod: PodView | None, events: str) -> tuple[str, str]:
    """Why a pod has not started, as (reason, sentence). `events` is the newest warning about it, or empty."""
    if pod is None:
        if events:
            return "PodNotCreated", f"The Job could not make its pod: {events}"
        return "PodNotCreated", "The Job has not made its pod yet; is the Job controller running?"
    if pod.unschedulable and "persistentvolumeclaim" in pod.unschedulable.lower():
        advice = "Make the claim, correct its name, or see why it is not bound: kubectl describe persistentvolumeclaim."
        return "VolumeNotReady", f"The volume is not there: {pod.unschedulable} {advice}"
    if pod.unschedulable:
        why = f"No node takes the pod: {pod.unschedulable}"
        return "Unschedulable", f"{why} Check spec.pod (resources, nodeSelector) and where the volume can be attached."
    if pod.waiting_reason in {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}:
        why = f"The worker image cannot be pulled ({pod.waiting_reason}): {pod.waiting_message}"
        return "ImagePullFailed", f"{why} Check the chart's worker.image and spec.pod.imagePullSecrets."
    if pod.waiting_reason and pod.waiting_reason not in {"ContainerCreating", "PodInitializing"}:
        return word(pod.waiting_reason), f"The container cannot be made: {pod.waiting_message or pod.waiting_reason}"
    if not pod.node:
        return "Unscheduled", "The pod has no node yet; is the scheduler running?"
    if events:
        return "ContainerCreating", f"Node {pod.node} has not started the container: {events}"
    return "ContainerCreating", f"Node {pod.node} has not started the container yet (image, volume or network)."


def _of_message(pod: PodView) -> Outcome | None:
    result = _read(pod)
    if result is None:
        return None
    reason: str = result.outcome
    message = result.message or f"The worker says {result.outcome} and gives no reason."
    numbers = _numbers(result, pod)
    if result.outcome == "Cancelled":
        # The worker only knows that it was told to stop; the pod may know by whom.
        cause = _of_pod_reason(pod)
        if cause is not None:
            return dataclasses.replace(
                cause, message=f"{cause.message} The worker: {message}", result=numbers, said=message
            )
        reason = "Interrupted"
        return Outcome(
            RunState.FAILED, reason, f"Interrupted: its pod was told to stop. {message}", True, numbers, message
        )
    if result.outcome == "Failed" and _is_braked(result):
        # `brakes.onTrip: Fail`: another attempt would meet the same plan.
        return Outcome(RunState.FAILED, "Held", message, False, numbers, message)
    return Outcome(STATES[result.outcome], reason, message, result.outcome in RETRYABLE, numbers, message)


def _is_braked(result: Result) -> bool:
    skipped: object = result.cleanup.skipped if result.cleanup is not None else None
    return isinstance(skipped, dict) and bool(skipped.get("held"))


def _read(pod: PodView) -> Result | None:
    """The worker's result, or None when it left none that can be read."""
    if not pod.termination_message:
        return None
    try:
        result = Result.from_json(pod.termination_message)
    except (ResultError, RecursionError):
        return None
    return result if isinstance(result.outcome, str) and result.outcome in STATES else None


def _numbers(result: Result, pod: PodView) -> Object | None:
    """`status.result`, or None where the worker reported neither a clean-up nor checks."""
    numbers = run_result(result, pod.finished or pod.created)
    return None if numbers is None else numbers.to_object()


def _of_exit(pod: PodView) -> Outcome | None:
    """Without a message that can be read: what the exit code says, unless the pod's reason explains it better."""
    if pod.exit_code is None:
        return None
    if pod.termination_reason == "OOMKilled":
        return Outcome(
            RunState.FAILED,
            "OOMKilled",
            f"The worker was killed for want of memory (pod {pod.name}). Raise spec.pod.resources.limits.memory.",
            retryable=True,
        )
    if pod.reason in {"Evicted", "DeadlineExceeded"}:
        return None
    if pod.started is None and pod.termination_reason in {"StartError", "ContainerCannotRun"}:
        return Outcome(
            RunState.FAILED,
            pod.termination_reason,
            f"The container of pod {pod.name} could not be started: {_last_words(pod)} "
            "Check the chart's worker.image and spec.pod.",
            retryable=True,
        )
    said = f" Its last words: {_last_words(pod)}" if pod.termination_message.strip() else ""
    log = f"See kubectl logs {pod.name}.{said}"
    match pod.exit_code:
        case ExitCode.SUCCEEDED:
            return Outcome(RunState.SUCCEEDED, "Succeeded", f"Done, but its numbers were lost. {log}", retryable=False)
        case ExitCode.PARTIAL:
            return Outcome(
                RunState.PARTIALLY_SUCCEEDED,
                "PartiallySucceeded",
                f"Done but for some items, and its numbers were lost. {log}",
                retryable=False,
            )
        case ExitCode.COULD_NOT_RUN:
            return Outcome(RunState.FAILED, "CouldNotRun", f"Nothing was done. {log}", retryable=False)
        case ExitCode.HELD:
            return Outcome(
                RunState.FAILED, "Held", f"A brake tripped; nothing of the plan was removed. {log}", retryable=False
            )
        case ExitCode.INVALID_TASK:
            return Outcome(
                RunState.FAILED,
                "InvalidTask",
                f"The worker does not understand its task: operator and worker image do not fit together, or the Job "
                f"was started by hand. {log}",
                retryable=False,
            )
        case code if code in {KILLED, TERMINATED}:
            if pod.disrupted or pod.reason:
                return None
            return Outcome(
                RunState.FAILED,
                "Killed",
                f"The worker was killed (exit code {code}) before it could report: its pod was deleted, its node shut "
                f"down, or somebody sent a signal. {log}",
                retryable=True,
            )
        case code:
            return Outcome(
                RunState.FAILED, "WorkerError", f"The worker ended with exit code {code}. {log}", retryable=True
            )


def _of_pod_reason(pod: PodView) -> Outcome | None:
    match pod.reason:
        case "Evicted":
            return Outcome(
                RunState.FAILED,
                "Evicted",
                f"Node {pod.node} evicted the pod: {pod.message} Set spec.pod.resources.requests to what the run "
                "needs, or spec.pod.priorityClassName.",
                retryable=True,
            )
        case "DeadlineExceeded":
            if pod.started is None:
                return Outcome(
                    RunState.FAILED,
                    "DeadlineExceeded",
                    f"Pod {pod.name} reached its deadline before the worker started: "
                    f"{pod.waiting_message or pod.message or pending_reason(pod, '')[1]}",
                    retryable=False,
                )
            return Outcome(
                RunState.TIMED_OUT,
                "DeadlineExceeded",
                f"The worker did not end by itself at spec.timeout, and the kubelet stopped pod {pod.name} at its "
                "deadline: it hung, or its storage did. See its log.",
                retryable=True,
            )
        case "":
            if pod.disrupted:
                return Outcome(RunState.FAILED, "Disrupted", f"Pod {pod.name} was stopped: {pod.disrupted}", True)
            if pod.phase == "Succeeded":
                message = f"Done, but its numbers were lost with the state of pod {pod.name}."
                return Outcome(RunState.SUCCEEDED, "Succeeded", message, retryable=False)
            return None
        case reason:
            return Outcome(RunState.FAILED, reason, pod.message or f"Pod {pod.name}: {reason}.", retryable=True)


def _of_job(job: JobView | None) -> Outcome | None:
    """What the Job says. That its one attempt failed (BackoffLimitExceeded) explains nothing."""
    if job is None or job.failure_reason in {"", "BackoffLimitExceeded"}:
        return None
    timed_out = job.failure_reason == "DeadlineExceeded"
    return Outcome(
        RunState.TIMED_OUT if timed_out else RunState.FAILED,
        word(job.failure_reason),
        f"Job {job.name} failed: {job.failure_message}",
        retryable=True,
    )


def _last_words(pod: PodView) -> str:
    return pod.termination_message.strip()[:300]


def _clip(message: str) -> str:
    # Half a pair of surrogates (JSON can spell one) has no UTF-8.
    message = message.encode(errors="replace").decode()
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"
