"""How an ended run is counted into the status of its policy: once, in the order of its end.

A pure fold: the status before and the ended run give the status after. What runs have been counted stands in the status
itself (`recordedRuns`), written by the same patch as the totals, so that a crash between the two is impossible.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from housekeeper_api.conditions import GOOD_STATES, RunState
from housekeeper_api.fields.status import MAX_RECENT_RUNS
from housekeeper_api.quantities import format_bytes
from housekeeper_operator.decisions.views import Object, RunView, format_time, parse_time

RING: Final = 64
"""How many uids of counted runs the status remembers."""
BATCH: Final = RING // 2
"""How many runs one patch counts at most."""
MAX_LAST_MESSAGE: Final = 1024
"""As much as a condition says: there may be a command at its end."""


def unrecorded(runs: Iterable[tuple[RunView, Object]]) -> list[tuple[RunView, Object]]:
    """Ended runs that do not say yet that they are counted, in the order of their end."""
    pending = [(view, run) for view, run in runs if view.terminal and not view.recorded]
    return sorted(pending, key=lambda item: (item[0].completed or item[0].created, item[0].name))


def to_count(status: Object, runs: Iterable[tuple[RunView, Object]]) -> list[tuple[RunView, Object]]:
    """Ended runs that are not counted yet, in the order in which they count, one batch.

    What is counted must stay in the ring until its run says so too; a batch is never larger than the room for it.
    """
    pending = unrecorded(runs)
    counted = set(status.get("recordedRuns") or ())
    waiting = sum(view.uid in counted for view, _ in pending)
    return [(view, run) for view, run in pending if view.uid not in counted][: min(BATCH, max(0, RING - waiting))]


def count(status: Object, runs: Iterable[tuple[RunView, Object]]) -> Object:
    """The status after `to_count(status, runs)`; `status` itself where nothing is to be counted."""
    known = [*runs]
    batch = to_count(status, known)
    for view, run in batch:
        status = count_run(status, view, run)
    if not batch:
        return status
    needed = {view.uid for view, _ in unrecorded(known)}
    ring = list(status["recordedRuns"])
    spare = len(ring) - RING
    for uid in [uid for uid in ring if uid not in needed][: max(0, spare)]:
        ring.remove(uid)
    return {**status, "recordedRuns": ring}


def count_run(status: Object, view: RunView, run: Object) -> Object:
    """`status` with an ended run counted; `status` itself when it was already. The ring is not cut here.

    Skipped and cancelled runs are told (`lastSkip`, `lastRun`) and are neither runs nor failures in the totals. A
    superseded one is told by the run that superseded it. What any of them removed, in an earlier attempt or before it
    was stopped, is removed all the same. A dry run removes nothing, so it adds nothing to `removed` and `bytesFreed`.
    A restore is no run of the policy: it stands on its own record alone.
    """
    counted = list(status.get("recordedRuns") or ())
    if view.uid in counted:
        return status
    after = {**status, "recordedRuns": [*counted, view.uid]}
    if view.restores:
        return after
    ended = format_time(view.completed or view.created)
    if view.state is RunState.SKIPPED:
        skip = {
            "time": format_time(view.slot) if view.slot is not None else ended,
            "reason": _reason(run),
            "message": view.message[:MAX_LAST_MESSAGE],
        }
        if skip["time"] >= (status.get("lastSkip") or skip)["time"]:
            after["lastSkip"] = skip
        return after
    if view.slot is not None:
        after["lastScheduleTime"] = _later(format_time(view.slot), status.get("lastScheduleTime"))
    if view.policy_kind == "CleanupPolicy" and (done := removed_and_freed(run)) != (0, 0):
        totals = {**none_of(view.policy_kind), **(status.get("totals") or {})}
        totals["removed"] += done[0]
        totals["bytesFreed"] += done[1]
        after["totals"] = totals
    if view.state is RunState.SUPERSEDED:
        return after
    if ended >= (status.get("lastRunTime") or ended):
        after["lastRun"] = last_run(view, run)
        after["lastRunTime"] = ended
    if view.state is RunState.CANCELLED:
        return after
    totals = {**none_of(view.policy_kind), **(after.get("totals") or {})}
    totals["runs"] += 1
    if view.state in GOOD_STATES:
        after["lastSuccessTime"] = _later(ended, status.get("lastSuccessTime"))
        after["consecutiveFailures"] = 0
    else:
        totals["failures"] += 1
        after["consecutiveFailures"] = int(status.get("consecutiveFailures") or 0) + 1
    if view.policy_kind == "CleanupPolicy":
        after |= _recent(status, view, run)
    after["totals"] = totals
    return after


def _recent(status: Object, view: RunView, run: Object) -> Object:
    """`recentRuns` with a run that succeeded in front; of another target than those before it, it is the first."""
    told = run.get("status") or {}
    cleanup, target = (told.get("result") or {}).get("cleanup"), told.get("target")
    if view.state not in GOOD_STATES or not cleanup or not target:
        return {}
    numbers: Object = {member: int(cleanup.get(member, 0)) for member in ("scanned", "matched", "planned")}
    # Of what it saw this is not there any more: quarantine is out of every run's sight.
    gone = int(cleanup.get("removed", 0)) + quarantined(run) if told.get("mode") == "Enforce" else 0
    item = {"time": format_time(_clock_of(view, cleanup)), **numbers, "removed": gone}
    before = list(status.get("recentRuns") or ()) if status.get("recentTarget") == target else []
    return {"recentTarget": target, "recentRuns": [item, *before][:MAX_RECENT_RUNS]}


def _clock_of(view: RunView, cleanup: Object) -> datetime:
    """By which a run took all ages. The kubelet's clock says when its worker was there: what lies outside is not true,
    and a message that others can write must not stop later runs."""
    now = parse_time(cleanup.get("now")) or view.admitted or view.completed or view.created
    return min(max(now, view.started or now), view.completed or now)


def _later(this: str, other: str | None) -> str:
    """The later of two times in the form of the API, which sorts as text."""
    return max(this, other or this)


def none_of(kind: str) -> Object:
    """The totals of a policy or check that has not run yet."""
    members = ("runs", "failures", "removed", "bytesFreed") if kind == "CleanupPolicy" else ("runs", "failures")
    return dict.fromkeys(members, 0)


def removed_and_freed(run: Object) -> tuple[int, int]:
    """Files removed and allocated bytes freed by a run, out of quarantine too.

    Zeros for a dry run, a check, or a lost result. What went into quarantine is neither removed nor free yet.
    """
    status = run.get("status") or {}
    cleanup = (status.get("result") or {}).get("cleanup")
    if not cleanup or status.get("mode") != "Enforce":
        return 0, 0
    removed = int(cleanup.get("removed", 0)) + int(cleanup.get("purged", 0))
    return removed, int(cleanup.get("bytesFreed", 0)) + int(cleanup.get("bytesPurged", 0))


def quarantined(run: Object) -> int:
    """Files that a run moved into quarantine; 0 for a dry run."""
    status = run.get("status") or {}
    cleanup = (status.get("result") or {}).get("cleanup") or {}
    return int(cleanup.get("quarantined", 0)) if status.get("mode") == "Enforce" else 0


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
        for member in ("scanned", "matched", "removed", "bytesFreed", "quarantined", "purged"):
            summary[member] = int(cleanup.get(member, 0))
        if "planned" in cleanup:
            summary["planned"] = int(cleanup["planned"])
        summary["freed"] = format_bytes(summary["bytesFreed"])
        summary["errors"] = int(cleanup.get("errorCount", 0))
    return summary


def _reason(run: Object) -> str:
    return str(((run.get("status") or {}).get("queue") or {}).get("reason") or "Skipped")
