"""The status of a run after one step: the decision written in the words of the API."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from housekeeper_api.conditions import GOOD_STATES, TERMINAL_STATES, ConditionType, RunState
from housekeeper_api.maintenance_run import MAX_ATTEMPTS
from housekeeper_api.quantities import format_bytes
from housekeeper_operator.decisions import conditions
from housekeeper_operator.decisions.outcome import word
from housekeeper_operator.decisions.step import Decision
from housekeeper_operator.decisions.views import Object, PodView, RunView, format_time, parse_time

MAX_ATTEMPT_MESSAGE = 1024
"""As much as a condition says: there may be a command at its end."""
MAX_PODS = 10
_DONE = ("removed", "removedDirectories", "bytesFreed", "quarantined", "bytesQuarantined", "purged", "bytesPurged")
_RESTORED = ("restored", "bytesRestored", "directoriesMade")
QUEUED_MESSAGE = "Waits for admission."
_TOLD_IN_QUEUE: Final = frozenset({RunState.SKIPPED, RunState.CANCELLED, RunState.FAILED})
"""States whose cause `status.queue` goes on telling where the run ended without an attempt."""


@dataclasses.dataclass(frozen=True, slots=True)
class Started:
    """What a Job was started with."""

    mode: str
    target: str = ""
    """Claim and directory, or empty for a check."""
    approved: str = ""
    """Digest of the approved plan, or empty."""


def status_after(run: Object, view: RunView, decision: Decision, pods: list[PodView], now: datetime) -> Object:
    """The status members that change, for a merge patch. Empty when nothing does.

    A message that was shown for a state of waiting is cleared by null when the state changes.
    """
    status: Object = {}
    attempts = [dict(item) for item in view.attempts]
    old_status = run.get("status") or {}
    if decision.adopt_job:
        attempts = [{"job": decision.adopt_job}]
        decision = dataclasses.replace(decision, state=RunState.QUEUED, message=QUEUED_MESSAGE)
    if decision.drop_attempt:
        attempts = attempts[:-1]
    if decision.outcome is not None and attempts:
        attempts[-1] |= {
            "completionTime": format_time(decision.outcome.finished or now),
            "result": str(decision.outcome.state),
            "reason": decision.outcome.reason,
            "message": decision.outcome.message[:MAX_ATTEMPT_MESSAGE],
        }
        if decision.outcome.result is not None:
            old_result = old_status.get("result") or {}
            status["result"] = _replacing(old_result, _with_earlier(old_result, decision.outcome.result, old_status))
    if decision.state in {RunState.RUNNING, RunState.CANCELLING} or decision.outcome is not None:
        shown = _pods(pods)
        if shown and attempts:
            attempts[-1]["pods"] = shown
    if decision.started is not None and not old_status.get("startTime"):
        status["startTime"] = format_time(decision.started)
    if attempts != [dict(item) for item in view.attempts]:
        status["attempts"] = attempts[-MAX_ATTEMPTS:]
    if decision.waiting is not None and decision.waiting != (view.queue_reason, view.queue_message):
        status["queue"] = {"reason": decision.waiting[0], "message": decision.waiting[1][:MAX_ATTEMPT_MESSAGE]}
    if decision.next_attempt is not None:
        status["nextAttemptTime"] = format_time(decision.next_attempt)
    if decision.state is not None:
        status |= _state(run, view, decision.state, decision, now)
    return {member: value for member, value in status.items() if value != old_status.get(member)}


def queued_again(run: Object, view: RunView, job: str, now: datetime) -> Object:
    """The status when the Job of a further attempt (or of the first, or a replaced one) stands in the queue."""
    attempts = [dict(item) for item in view.attempts]
    if attempts and "completionTime" not in attempts[-1]:
        attempts[-1] = {"job": job}
    else:
        attempts.append({"job": job})
    return {"attempts": attempts[-MAX_ATTEMPTS:]} | _state(
        run, view, RunState.QUEUED, Decision(message=QUEUED_MESSAGE), now
    )


def admitted(run: Object, view: RunView, started: Started, now: datetime) -> Object:
    """The status when the Job was started."""
    attempts = [dict(item) for item in view.attempts]
    attempts[-1]["startTime"] = format_time(now)
    if started.approved:
        attempts[-1]["approved"] = started.approved
    # What has been Enforce stays so, whatever became of the Job of this attempt: its numbers are not would-be ones.
    modes = {started.mode, (run.get("status") or {}).get("mode")}
    status = {"attempts": attempts, "mode": "Enforce" if "Enforce" in modes else started.mode, "queue": None}
    if started.target:
        status["target"] = started.target
    return status | _state(run, view, RunState.ADMITTED, Decision(message="Its Job was started."), now)


def recorded(run: Object, counted: bool, now: datetime) -> Object:
    """The status when its policy has counted it, or there is no policy to count it."""
    item = conditions.make(
        ConditionType.RECORDED,
        status=True,
        reason="Counted" if counted else "NoPolicy",
        message="Counted in the status of its policy." if counted else "There is no policy to count it.",
        generation=_generation(run),
    )
    existing = (run.get("status") or {}).get("conditions") or []
    return {"conditions": conditions.merged(existing, [item], now)}


def _generation(run: Object) -> int:
    return int(run["metadata"].get("generation") or 0)


def _state(run: Object, view: RunView, state: RunState, decision: Decision, now: datetime) -> Object:
    generation = _generation(run)
    terminal = state in TERMINAL_STATES
    item = conditions.make(
        ConditionType.SUCCEEDED,
        status=(state in GOOD_STATES) if terminal else None,
        reason=str(state),
        message=decision.message or str(state),
        generation=generation,
    )
    old = run.get("status") or {}
    changed: Object = {
        "conditions": conditions.merged(old.get("conditions") or [], [item], now),
        "observedGeneration": generation,
    }
    if state is not RunState.BACKOFF and old.get("nextAttemptTime"):
        changed["nextAttemptTime"] = None
    if not terminal:
        if old.get("queue") and decision.waiting is None:
            changed["queue"] = None
        return changed
    started = view.started or decision.started
    ended = decision.outcome.finished if decision.outcome is not None else None
    completed = ended or now
    took = completed - started - _held_for(view, completed) if started is not None else timedelta()
    changed |= {
        "completionTime": format_time(completed),
        "durationSeconds": max(0, int(took.total_seconds())),
    }
    if state in _TOLD_IN_QUEUE and decision.outcome is None:
        changed["queue"] = {"reason": decision.reason, "message": decision.message[:MAX_ATTEMPT_MESSAGE]}
    else:
        changed["queue"] = None
    return changed


def _held_for(view: RunView, completed: datetime) -> timedelta:
    """How long its plan was held: days in which nobody worked are no duration of the run."""
    held = timedelta()
    for number, attempt in enumerate(view.attempts):
        since = parse_time(attempt.get("completionTime"))
        if attempt.get("result") == RunState.HELD and since is not None:
            following = view.attempts[number + 1] if number + 1 < len(view.attempts) else {}
            held += max(timedelta(), (parse_time(following.get("startTime")) or completed) - since)
    return held


def _pods(pods: Iterable[PodView]) -> list[Object]:
    """The newest pods, as the status shows them: oldest first."""
    ordered = sorted(pods, key=lambda pod: (pod.created, pod.name))[-MAX_PODS:]
    return [
        {"name": pod.name, "node": pod.node}
        | ({"result": word(pod.reason or pod.termination_reason or pod.phase)} if pod.ended else {})
        for pod in ordered
    ]


def _with_earlier(before: Object, result: Object, status: Object) -> Object:
    """`result` with what earlier attempts of the run did: an attempt that follows one that failed half-way does not see
    those files any more, and they were removed, quarantined or restored all the same."""
    if (first := before.get("restore")) and (second := result.get("restore")) and status.get("mode") == "Enforce":
        return {**result, "restore": {**second, **_sums(first, second, _RESTORED)}}
    earlier, cleanup = before.get("cleanup"), result.get("cleanup")
    if not earlier or not cleanup or status.get("mode") != "Enforce":
        return result
    done = _sums(earlier, cleanup, _DONE)
    # What an earlier attempt took away this one did not see, and the run as a whole did.
    gone = earlier.get("removed", 0) + earlier.get("quarantined", 0)
    seen = {member: cleanup[member] + gone for member in ("scanned", "matched") if member in cleanup}
    # Both as the API writes times, which sort as text. What either attempt promised is kept.
    latest = max(cleanup.get("restorableUntil") or "", earlier.get("restorableUntil") or "")
    until = {"restorableUntil": latest} if latest else {}
    return {**result, "cleanup": {**cleanup, **seen, **done, **until, "freed": format_bytes(done["bytesFreed"])}}


def _sums(first: Object, second: Object, members: Iterable[str]) -> dict[str, int]:
    return {member: first.get(member, 0) + second.get(member, 0) for member in members}


def _replacing(before: Object, after: Object) -> Object:
    """The merge patch that turns `before` into `after`: what is gone is null, at every depth."""
    patch: Object = dict.fromkeys(before.keys() - after.keys())
    for member, value in after.items():
        old = before.get(member)
        patch[member] = _replacing(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return patch
