from __future__ import annotations

import json
import random
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from housekeeper_api.cleanup_policy import CleanupPolicyStatus
from housekeeper_api.conditions import GOOD_STATES, IDLE_STATES, TERMINAL_STATES, RunState
from housekeeper_api.health_check import HealthCheckStatus
from housekeeper_operator.decisions.totals import BATCH, RING, count, none_of, quarantined, to_count
from housekeeper_operator.decisions.views import Object, RunView, format_time
from tests.unit.operator.builders import NOW, RunBuilder, ago, run

CLEANUP = {"scanned": 100, "matched": 50, "removed": 7, "bytesFreed": 7000, "errorCount": 2}


def done(name: str = "run-1", state: RunState = RunState.SUCCEEDED, *, minutes: float = 1, **status: Any) -> RunBuilder:
    members = {"mode": "Enforce", "durationSeconds": 9, "result": {"cleanup": CLEANUP}} | status
    return run(name).ended(state, ago(minutes=minutes), **members)


def counted(status: Object, *runs: RunBuilder) -> Object:
    after = count(status, [(one.view(), one.obj) for one in runs])
    kind = HealthCheckStatus if any(one.view().policy_kind == "HealthCheck" for one in runs) else CleanupPolicyStatus
    kept = kind.model_validate_json(json.dumps(after)).to_object()
    assert set(after) <= set(kept), "the API server would prune it"
    assert set(after.get("lastRun") or ()) <= set(kept.get("lastRun") or ())
    return after


def test_a_run_is_told_and_added() -> None:
    status = counted({}, done())
    assert status["totals"] == {"runs": 1, "failures": 0, "removed": 7, "bytesFreed": 7000}
    assert status["lastRunTime"] == status["lastSuccessTime"] == format_time(ago(minutes=1))
    assert status["consecutiveFailures"] == 0
    assert status["lastRun"] == {
        "name": "run-1",
        "result": "Succeeded",
        "trigger": "Manual",
        "mode": "Enforce",
        "scanned": 100,
        "matched": 50,
        "removed": 7,
        "bytesFreed": 7000,
        "freed": "6.8 KiB",
        "quarantined": 0,
        "purged": 0,
        "errors": 2,
        "durationSeconds": 9,
        "message": "…",
    }


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES - IDLE_STATES))
def test_only_what_succeeded_ends_a_streak_of_failures(state: RunState) -> None:
    status = counted(
        {"consecutiveFailures": 2, "totals": {**none_of("CleanupPolicy"), "runs": 2, "failures": 2}}, done(state=state)
    )
    good = state in GOOD_STATES
    assert status["consecutiveFailures"] == (0 if good else 3)
    assert status["totals"]["failures"] == (2 if good else 3)
    assert ("lastSuccessTime" in status) == good
    assert status["totals"]["removed"] == 7  # a failed run too has removed what it has removed


def test_a_superseded_run_is_told_by_the_one_that_superseded_it() -> None:
    before = counted({}, done())
    after = counted(before, done("run-2", RunState.SUPERSEDED, minutes=0, result={"cleanup": {"removed": 0}}))
    assert {**after, "recordedRuns": []} == {**before, "recordedRuns": []}


def test_the_numbers_of_the_last_ten_runs_are_kept_newest_first() -> None:
    status: Object = {}
    for number in range(12):
        numbers = {**CLEANUP, "planned": number}
        of = done(f"run-{number}", minutes=90 - number, target="backups/pg", result={"cleanup": numbers})
        status = counted(status, of, of)
    assert status["recentTarget"] == "backups/pg"
    assert [item["planned"] for item in status["recentRuns"]] == list(range(11, 1, -1))
    newest = {"time": format_time(ago(minutes=79)), "scanned": 100, "matched": 50, "planned": 11, "removed": 7}
    assert status["recentRuns"][0] == newest


@pytest.mark.parametrize(
    ("now", "minutes"),
    [
        (ago(minutes=4), 4),
        (None, 9),
        (ago(days=999), 5),
        (ago(days=-999), 3),
    ],
    ids=["the worker's", "none told", "before it was there", "after it was gone"],
)
def test_the_next_run_is_compared_with_the_clock_of_the_worker(now: datetime | None, minutes: int) -> None:
    told = CLEANUP if now is None else {**CLEANUP, "now": format_time(now)}
    of = run().attempt("job-1", startTime=format_time(ago(minutes=9)))
    started = format_time(ago(minutes=9 if now is None else 5))
    of = of.ended(
        RunState.SUCCEEDED,
        ago(minutes=3),
        mode="Enforce",
        target="backups",
        startTime=started,
        result={"cleanup": told},
    )
    assert counted({}, of)["recentRuns"][0]["time"] == format_time(ago(minutes=minutes))


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES - GOOD_STATES))
def test_what_did_not_succeed_is_nothing_to_compare_with(state: RunState) -> None:
    assert "recentRuns" not in counted({}, done(state=state, target="backups"))


def test_dry_runs_are_compared_with_too() -> None:
    (numbers,) = counted({}, done(mode="DryRun", target="backups"))["recentRuns"]
    assert (numbers["scanned"], numbers["removed"]) == (100, 0)  # it left all of them


def test_what_is_in_quarantine_is_not_left_on_the_volume() -> None:
    moved = {**CLEANUP, "quarantined": 93}
    (numbers,) = counted({}, done(target="backups", result={"cleanup": moved}))["recentRuns"]
    assert (numbers["scanned"], numbers["removed"]) == (100, 100)


def test_another_target_begins_anew() -> None:
    status = counted({}, done("run-1", minutes=3, target="backups"), done("run-2", minutes=2, target="backups"))
    status = counted(status, done("run-3", minutes=1, target="backups/pg"))
    assert (status["recentTarget"], len(status["recentRuns"])) == ("backups/pg", 1)


def test_a_dry_run_removes_nothing() -> None:
    status = counted({}, done(mode="DryRun"))
    assert status["totals"] == {"runs": 1, "failures": 0, "removed": 0, "bytesFreed": 0}
    assert status["lastRun"]["removed"] == 7


def test_a_run_whose_numbers_are_lost_still_counts() -> None:
    status = counted({}, run().ended(RunState.FAILED, NOW))
    assert status["totals"] == {"runs": 1, "failures": 1, "removed": 0, "bytesFreed": 0}
    assert status["lastRun"]["mode"] == "DryRun"


def test_a_check_has_no_files() -> None:
    status = counted({}, done(result={"health": {"checks": []}}).of("HealthCheck", "node"))
    assert status["totals"] == {"runs": 1, "failures": 0}
    assert "removed" not in status["lastRun"]


def test_a_skipped_slot_is_told_and_enters_nothing_else() -> None:
    slot = ago(hours=2)
    skipped = run().slot(slot).ended(RunState.SKIPPED, NOW, queue={"reason": "StaleSlot", "message": "…"})
    status = counted({"lastScheduleTime": format_time(ago(days=1))}, skipped)
    assert status["lastSkip"] == {"time": format_time(slot), "reason": "StaleSlot", "message": "…"}
    assert status["lastScheduleTime"] == format_time(ago(days=1))
    assert "totals" not in status
    assert "lastRun" not in status


def test_a_cancelled_run_is_told_and_is_no_run_of_the_totals() -> None:
    status = counted({"consecutiveFailures": 1}, done(state=RunState.CANCELLED, result=None))
    assert status["lastRun"]["result"] == "Cancelled"
    assert status["consecutiveFailures"] == 1
    assert "totals" not in status


@pytest.mark.parametrize("state", [RunState.CANCELLED, RunState.SUPERSEDED])
def test_what_a_run_removed_before_it_was_stopped_is_removed(state: RunState) -> None:
    status = counted({}, done(), done("run-2", state, minutes=0))
    assert status["totals"] == {"runs": 1, "failures": 0, "removed": 14, "bytesFreed": 14000}
    assert counted({}, done(state=state, mode="DryRun")).get("totals") is None


def test_an_end_before_the_last_one_does_not_replace_it() -> None:
    status = counted(counted({}, done("late", minutes=1)), done("early", minutes=5).slot(ago(minutes=6)))
    assert status["lastRun"]["name"] == "late"
    assert status["lastRunTime"] == status["lastSuccessTime"] == format_time(ago(minutes=1))
    assert status["lastScheduleTime"] == format_time(ago(minutes=6))
    assert status["totals"]["runs"] == 2


def test_runs_count_in_the_order_of_their_end() -> None:
    runs = [done("c", RunState.FAILED, minutes=1), done("a", RunState.FAILED, minutes=3), done("b", minutes=2)]
    assert [view.name for view, _ in to_count({}, [(one.view(), one.obj) for one in runs])] == ["a", "b", "c"]
    assert counted({}, *runs)["consecutiveFailures"] == 1


def test_what_has_not_ended_or_is_recorded_is_not_counted() -> None:
    status: Object = {"observedGeneration": 1}
    runs = [run("a"), run("b").queued(), run("c").running(NOW), done("d").recorded()]
    assert counted(status, *runs) is status


def test_nothing_changes_where_all_is_counted() -> None:
    status = counted({}, done())
    assert counted(status, done()) is status


def test_a_run_that_is_never_marked_is_never_counted_again() -> None:
    stuck = done("stuck", minutes=1000)
    status = counted({}, stuck)
    for minute in range(300):
        other = done(f"run-{minute}", minutes=900 - minute)
        status = counted(status, stuck, other)
        assert len(status["recordedRuns"]) <= RING
    assert status["totals"]["runs"] == 301


@given(
    states=st.lists(st.sampled_from(sorted(TERMINAL_STATES)), min_size=1, max_size=150),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_however_often_runs_are_seen_each_counts_once(states: list[RunState], seed: int) -> None:
    """Marks are written late, in any order, and some only after many looks."""
    chance = random.Random(seed)
    runs = [done(f"run-{index}", state, minutes=len(states) - index) for index, state in enumerate(states)]
    views: dict[str, tuple[RunView, Object]] = {
        f"uid-run-{index}": (one.view(), one.obj) for index, one in enumerate(runs)
    }
    status: Object = {}
    for _ in range(1000):
        seen = list(views.items())
        chance.shuffle(seen)
        some = [pair for _, pair in seen[: chance.randint(1, len(seen))]]
        batch = to_count(status, some)
        assert len(batch) <= BATCH
        status = count(status, some)
        ring = status.get("recordedRuns", [])
        assert len(ring) == len(set(ring)) <= RING
        marked = [uid for uid in ring if uid in views and chance.random() < 0.5]
        for uid in marked:
            del views[uid]
        if not views:
            break
    assert not views
    totals = status.get("totals", none_of("CleanupPolicy"))
    ran = [state for state in states if state not in IDLE_STATES]
    assert totals["runs"] == len(ran)
    assert totals["failures"] == sum(state not in GOOD_STATES for state in ran)
    assert totals["removed"] == 7 * sum(state is not RunState.SKIPPED for state in states)


def test_what_was_purged_counts_as_removed_and_what_was_quarantined_does_not() -> None:
    cleanup = {**CLEANUP, "quarantined": 40, "bytesQuarantined": 10**6, "purged": 3, "bytesPurged": 500}
    status = counted({}, done(result={"cleanup": cleanup}))
    assert status["totals"] == {"runs": 1, "failures": 0, "removed": 10, "bytesFreed": 7500}
    assert (status["lastRun"]["quarantined"], status["lastRun"]["purged"]) == (40, 3)
    assert quarantined(done(result={"cleanup": cleanup}).obj) == 40
    assert quarantined(done(result={"cleanup": cleanup}, mode="DryRun").obj) == 0


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED])
def test_a_restore_is_no_run_of_the_policy(state: RunState) -> None:
    before = counted({}, done())
    restore = done("undo", state).restore_of("run-1")
    after = counted(before, restore)
    assert after == {**before, "recordedRuns": [*before["recordedRuns"], restore.view().uid]}
