"""How an ended run is counted into the status of its policy: once, in the order of its end.

A pure fold: the status before and the ended run give the status after. What runs have been counted stands in the status
itself (`recordedRuns`), written by the same patch as the totals, so that a crash between the two is impossible.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from housekeeper_api.conditions import GOOD_STATES, RunState
from housekeeper_operator.decisions.views import Object, RunView, format_time

RING: Final = 64
"""How many uids of counted runs the status remembers. At most half of it is counted by one patch."""
BATCH: Final = RING // 2
MAX_LAST_MESSAGE: Final = 512


def order(runs: Iterable[tuple[RunView, Object]]) -> list[tuple[RunView, Object]]:
    """Ended runs that are not recorded, in the order in which they count, one batch."""
    pending = [(view, run) for view, run in runs if view.terminal and not view.recorded]
    return sorted(pending, key=lambda item: (item[0].completed or item[0].created, item[0].name))[:BATCH]


def count_run(status: Object, view: RunView, run: Object) -> Object:
    """The members of a policy's status that change when an ended run is counted; `status` itself when it was already.

    Skipped and cancelled runs are told (`lastSkip`, `lastRun`) and enter no total. A dry run removes nothing, so it
    adds nothing to `removed` and `bytesFreed`.
    """
    counted = list(status.get("recordedRuns") or ())
    if view.uid in counted:
        return status
    after = dict(status)
    after["recordedRuns"] = [*counted, view.uid][-RING:]
    ended = format_time(view.completed or view.created)
    if view.slot is not None:
        slot = format_time(view.slot)
        after["lastScheduleTime"] = max(slot, after.get("lastScheduleTime") or slot)
    if view.state is RunState.SKIPPED:
        reason = _reason(run)
        after["lastSkip"] = {"time": ended, "reason": reason, "message": view.message[:MAX_LAST_MESSAGE]}
        return after
    after["lastRun"] = last_run(view, run)
    after["lastRunTime"] = ended
    if view.state is RunState.CANCELLED:
        return after
    totals = {**none_of("CleanupPolicy"), **(status.get("totals") or {})}
    totals["runs"] += 1
    good = view.state in GOOD_STATES
    if good:
        after["lastSuccessTime"] = ended
        after["consecutiveFailures"] = 0
    else:
        totals["failures"] += 1
        after["consecutiveFailures"] = int(status.get("consecutiveFailures") or 0) + 1
    removed, freed = removed_and_freed(run)
    totals["removed"] += removed
    totals["bytesFreed"] += freed
    if view.policy_kind == "HealthCheck":
        totals = {key: totals[key] for key in none_of("HealthCheck")}
    after["totals"] = totals
    return after


def none_of(kind: str) -> Object:
    """The totals of a policy or check that has not run yet."""
    members = ("runs", "failures", "removed", "bytesFreed") if kind == "CleanupPolicy" else ("runs", "failures")
    return dict.fromkeys(members, 0)


def removed_and_freed(run: Object) -> tuple[int, int]:
    """Files removed and allocated bytes freed by a run; zeros for a dry run, a check, or a lost result."""
    status = run.get("status") or {}
    cleanup = (status.get("result") or {}).get("cleanup")
    if not cleanup or status.get("mode") != "Enforce":
        return 0, 0
    return int(cleanup.get("removed", 0)), int(cleanup.get("bytesFreed", 0))


def last_run(view: RunView, run: Object) -> Object:
    """`status.lastRun` of the policy."""
    status = run.get("status") or {}
    cleanup = (status.get("result") or {}).get("cleanup") or {}
    summary: Object = {
        "name": view.name,
        "result": str(view.state),
        "trigger": view.trigger,
        "durationSeconds": int(status.get("durationSeconds") or 0),
        "message": view.message[:MAX_LAST_MESSAGE],
    }
    if view.policy_kind == "CleanupPolicy":
        summary["mode"] = status.get("mode", "DryRun")
        for member in ("scanned", "matched", "removed", "bytesFreed"):
            summary[member] = int(cleanup.get(member, 0))
        summary["errors"] = int(cleanup.get("errorCount", 0))
    return summary


def _reason(run: Object) -> str:
    return str(((run.get("status") or {}).get("queue") or {}).get("reason") or "Skipped")
