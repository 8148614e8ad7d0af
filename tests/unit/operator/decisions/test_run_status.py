from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from housekeeper_api.conditions import TERMINAL_STATES, RunState
from housekeeper_api.maintenance_run import MaintenanceRunStatus
from housekeeper_operator.decisions import run_status
from housekeeper_operator.decisions.lifecycle import decide
from housekeeper_operator.decisions.run_status import Started, admitted, queued_again, recorded, status_after
from housekeeper_operator.decisions.step import Decision, PolicyView
from tests.unit.operator.builders import (
    NOW,
    JobBuilder,
    PodBuilder,
    RunBuilder,
    ago,
    held_result,
    job,
    later,
    pod,
    policy,
    result,
    run,
)
from tests.unit.operator.tasks import task

DIGEST = f"sha256:{'a' * 64}"
OTHER_DIGEST = f"sha256:{'b' * 64}"


def check(of: RunBuilder) -> RunBuilder:
    """What the API server would check: the status is one that the models know, and nothing of it would be pruned."""
    status = of.obj.get("status", {})
    model = MaintenanceRunStatus.model_validate_json(json.dumps(status))
    kept = model.to_object()
    for member, value in status.items():
        assert member in kept, member
        if member in {"queue", "attempts", "conditions"}:
            assert _members(value) <= _members(kept[member])
    return of


def _members(value: Any) -> set[str]:
    if isinstance(value, list):
        return set[str]().union(*map(_members, value))
    if isinstance(value, dict):
        return set(value) | set[str]().union(*map(_members, value.values()))
    return set()


def after(of: RunBuilder, decision: Decision, pods: tuple[PodBuilder, ...] = (), now: datetime = NOW) -> RunBuilder:
    patch = status_after(of.obj, of.view(), decision, [one.view() for one in pods], now)
    return check(of.patched(patch))


def live(
    of: RunBuilder,
    *,
    view: PolicyView | None,
    job: JobBuilder | None,
    pods: tuple[PodBuilder, ...],
    events: str = "",
    now: datetime = NOW,
) -> tuple[RunBuilder, Decision, bool]:
    """One step as the reconciler takes it: the run after it, what was decided, and whether a write was needed."""
    decision = decide(of.view(), view, job.view() if job else None, [one.view() for one in pods], events, now)
    if decision.start_attempt:
        patch = queued_again(of.obj, of.view(), f"job-{decision.start_attempt}", now)
    elif decision.state is RunState.ADMITTED:
        patch = admitted(of.obj, of.view(), Started("Enforce"), now)
    else:
        patch = status_after(of.obj, of.view(), decision, [one.view() for one in pods], now)
    return check(of.patched(patch)), decision, bool(patch)


def test_an_adopted_job_is_the_first_attempt() -> None:
    of = after(run(), Decision(adopt_job="clp-backups-1"))
    assert of.obj["status"]["attempts"] == [{"job": "clp-backups-1"}]
    assert of.view().state is RunState.QUEUED
    assert of.view().message == "Waits for admission."


def test_what_a_run_waits_for_is_cleared_when_it_goes_on() -> None:
    waiting = after(run().admitted(ago(minutes=1)), Decision(waiting=("Unschedulable", "No node takes the pod.")))
    assert waiting.obj["status"]["queue"] == {"reason": "Unschedulable", "message": "No node takes the pod."}
    running = after(waiting, Decision(state=RunState.RUNNING, message="Pod x on y.", started=NOW))
    assert "queue" not in running.obj["status"]
    early = after(run(), Decision(waiting=("PolicyNotFound", "There is none.")))
    queued = check(early.patched(queued_again(early.obj, early.view(), "job-1", NOW)))
    assert "queue" not in queued.obj["status"]


def test_the_first_start_stays_through_all_attempts() -> None:
    first = after(run().admitted(ago(minutes=9)), Decision(state=RunState.RUNNING, started=ago(minutes=8)))
    assert first.view().started == ago(minutes=8)
    second = after(first, Decision(state=RunState.RUNNING, started=ago(minutes=1)))
    assert second.view().started == ago(minutes=8)


def test_the_duration_is_from_the_first_start_to_the_end_of_the_worker() -> None:
    ended = pod().exited(0, message=result(), started=ago(seconds=61), finished=ago(seconds=1))
    of, _, _ = live(run().running(ago(seconds=61)), view=policy(), job=job().started(), pods=(ended,))
    assert of.obj["status"]["durationSeconds"] == 60
    assert of.view().completed == ago(seconds=1)


def test_a_short_run_that_was_never_seen_running_has_a_start_and_a_duration() -> None:
    ended = pod().exited(0, message=result(), started=ago(seconds=7), finished=ago(seconds=4))
    of, _, _ = live(run().admitted(ago(seconds=9)), view=policy(), job=job().started(), pods=(ended,))
    assert of.view().started == ago(seconds=7)
    assert of.obj["status"]["durationSeconds"] == 3


def test_a_clock_that_is_behind_makes_no_negative_duration() -> None:
    ended = pod().exited(0, message=result(), started=ago(hours=3), finished=ago(hours=2))
    of, _, _ = live(run().running(ago(seconds=5)), view=policy(), job=job().started(), pods=(ended,))
    assert of.obj["status"]["durationSeconds"] == 0


def test_a_run_that_never_started_took_no_time() -> None:
    of = after(run(), Decision(state=RunState.FAILED, reason="PolicyNotFound", message="There is none."))
    assert of.obj["status"]["durationSeconds"] == 0
    assert of.obj["status"]["queue"] == {"reason": "PolicyNotFound", "message": "There is none."}


def test_pods_are_shown_with_how_they_ended() -> None:
    old = pod("old").created(ago(minutes=9)).on("node-a").exited(137).failed("OutOfhugepages-2Mi")
    new = pod("new").on("node-b").exited(0, message=result())
    of, _, _ = live(run().running(ago(minutes=9)), view=policy(), job=job().started(), pods=(new, old))
    assert of.obj["status"]["attempts"][-1]["pods"] == [
        {"name": "old", "node": "node-a", "result": "OutOfhugepages2Mi"},
        {"name": "new", "node": "node-b", "result": "Completed"},
    ]


def test_what_an_earlier_attempt_removed_counts_for_the_run() -> None:
    failed = pod().exited(1, message=result("Failed", "I/O error")).failed()
    first = run().running(ago(minutes=1)).status(mode="Enforce")
    backoff, _, _ = live(first, view=policy(), job=job().failed(), pods=(failed,))
    assert backoff.view().state is RunState.BACKOFF
    queued, _, _ = live(backoff, view=policy(), job=job().failed(), pods=(), now=later(minutes=1))
    assert queued.view().attempt == 2
    again = check(queued.patched(admitted(queued.obj, queued.view(), Started("Enforce"), later(minutes=1))))
    cleanup = {"scanned": 7, "matched": 5, "removed": 4, "bytesFreed": 1000, "skipped": {"settling": 1}}
    done = pod().exited(0, message=result(cleanup=cleanup)).succeeded()
    of, _, _ = live(again, view=policy(), job=job().completed(), pods=(done,), now=later(minutes=2))
    kept = of.obj["status"]["result"]["cleanup"]
    assert (kept["removed"], kept["bytesFreed"]) == (3 + 4, 4096 + 1000)
    assert (kept["scanned"], kept["matched"]) == (3 + 7, 3 + 5), "what is gone by then was there when the run began"


def test_what_earlier_attempts_moved_purged_and_put_back_counts_too() -> None:
    def after(before: dict[str, Any], now: dict[str, Any]) -> Any:
        of = run().running(ago(minutes=1)).status(mode="Enforce", result=before)
        ended = pod().exited(0, message=result(**{"cleanup": None, **now})).succeeded()
        return live(of, view=policy(), job=job().completed(), pods=(ended,))[0].obj["status"]["result"]

    moved = {"scanned": 1, "matched": 1, "removed": 0, "bytesFreed": 0, "quarantined": 2, "bytesQuarantined": 20}
    first = {**moved, "restorableUntil": "2026-11-29T03:00:00Z", "purged": 3, "bytesPurged": 30}
    kept = after({"cleanup": first}, {"cleanup": moved})["cleanup"]
    assert (kept["quarantined"], kept["bytesQuarantined"], kept["purged"], kept["bytesPurged"]) == (4, 40, 3, 30)
    assert kept["restorableUntil"] == "2026-11-29T03:00:00Z"
    put_back = {"restored": 2, "bytesRestored": 20, "conflicts": 1, "directoriesMade": 1, "errorCount": 0}
    kept = after({"restore": put_back}, {"restore": {**put_back, "conflicts": 0}})["restore"]
    assert (kept["restored"], kept["bytesRestored"], kept["directoriesMade"], kept["conflicts"]) == (4, 40, 2, 0)


@pytest.mark.parametrize("mode", ["DryRun", "Enforce"])
def test_a_later_result_replaces_an_earlier_one_as_a_whole(mode: str) -> None:
    old = {
        "cleanup": {"scanned": 1, "matched": 1, "removed": 1, "bytesFreed": 1, "freedOnDisk": 9, "skipped": {"a": 1}}
    }
    of = run().running(ago(minutes=1)).status(mode=mode, result=old)
    cleanup = {"scanned": 2, "matched": 2, "removed": 2, "bytesFreed": 2, "skipped": {"b": 2}}
    ended = pod().exited(0, message=result(cleanup=cleanup)).succeeded()
    of, _, _ = live(of, view=policy(), job=job().completed(), pods=(ended,))
    kept = of.obj["status"]["result"]["cleanup"]
    assert kept["skipped"] == {"b": 2}
    assert "freedOnDisk" not in kept
    assert kept["removed"] == (3 if mode == "Enforce" else 2)


def test_admission_starts_the_attempt_and_ends_the_wait() -> None:
    waiting = run().queued().status(queue={"reason": "VolumeBusy", "message": "Waits for run x."})
    of = check(waiting.patched(admitted(waiting.obj, waiting.view(), Started("DryRun", "backups/pg", DIGEST), NOW)))
    assert (of.view().state, of.view().admitted) == (RunState.ADMITTED, NOW)
    assert of.obj["status"]["mode"] == "DryRun"
    assert "queue" not in of.obj["status"]


def test_a_replaced_job_takes_the_place_of_the_one_that_did_not_start() -> None:
    queued = run().queued("clp-backups-1")
    of = check(queued.patched(queued_again(queued.obj, queued.view(), "run-1-0123abcd-a1", NOW)))
    assert of.obj["status"]["attempts"] == [{"job": "run-1-0123abcd-a1"}]


def test_a_further_attempt_comes_after_the_one_that_ended() -> None:
    waiting = run().backoff(ago(seconds=1))
    of = check(waiting.patched(queued_again(waiting.obj, waiting.view(), "job-2", NOW)))
    assert [item["job"] for item in of.obj["status"]["attempts"]] == ["job-1", "job-2"]
    assert "nextAttemptTime" not in of.obj["status"]


@pytest.mark.parametrize("counted", [True, False])
def test_recorded_stands_beside_succeeded(counted: bool) -> None:
    ended = run().ended(RunState.SUCCEEDED, NOW)
    of = check(ended.patched(recorded(ended.obj, counted, NOW)))
    assert of.view().recorded
    assert of.view().state is RunState.SUCCEEDED
    assert recorded(of.obj, counted, later(minutes=1)) == {"conditions": of.obj["status"]["conditions"]}


def test_a_message_without_end_is_cut() -> None:
    decision = Decision(state=RunState.FAILED, reason="X", message="y" * 5000)
    of = after(run(), decision)
    assert len(of.view().message) == 1024
    assert len(of.obj["status"]["queue"]["message"]) == run_status.MAX_ATTEMPT_MESSAGE


# Laws, over whatever may be observed.

MOMENTS = st.integers(-7200, 7200).map(lambda seconds: NOW + timedelta(seconds=seconds))
TEXTS = st.one_of(st.sampled_from(["", "Evicted", "DeadlineExceeded", "OutOfhugepages-2Mi"]), st.text(max_size=30))
RESULTS = st.one_of(
    st.sampled_from(["Succeeded", "Failed", "TimedOut", "Cancelled", "Held", "CouldNotRun"]).map(result),
    st.builds(held_result, planDigest=st.sampled_from(["", DIGEST]), planStored=st.sampled_from(["", "there"])),
)


@st.composite
def some_pods(draw: st.DrawFn) -> PodBuilder:
    made = pod(draw(st.sampled_from(["a", "b"]))).created(draw(MOMENTS))
    if draw(st.booleans()):
        made = made.on("node-a")
    if draw(st.booleans()):
        made = made.deadline(draw(st.sampled_from([1, 4560])))
    if draw(st.booleans()):
        made = made.deleting()
    match draw(st.sampled_from(["nothing", "unschedulable", "waiting", "running", "exited", "exited"])):
        case "unschedulable":
            made = made.unschedulable(draw(TEXTS))
        case "waiting":
            made = made.waiting(draw(TEXTS), draw(TEXTS))
        case "running":
            made = made.running(draw(MOMENTS))
        case "exited":
            message = draw(st.one_of(TEXTS, RESULTS))
            made = made.exited(draw(st.integers(0, 255)), draw(TEXTS), message=message, finished=draw(MOMENTS))
    if draw(st.booleans()):
        made = draw(st.sampled_from([made.failed(draw(TEXTS), draw(TEXTS)), made.succeeded()]))
    return made


@st.composite
def some_jobs(draw: st.DrawFn) -> JobBuilder:
    made = job("job-1").created(draw(MOMENTS))
    if draw(st.booleans()):
        made = made.with_task(draw(st.sampled_from([task(), task(timeout_seconds=1.0), "garbled"])))
    if draw(st.booleans()):
        made = made.deleting()
    return draw(st.sampled_from([made, made.started(), made.started(), made.failed(), made.completed()]))


@st.composite
def some_runs(draw: st.DrawFn) -> RunBuilder:
    made = run().created(draw(MOMENTS))
    if draw(st.booleans()):
        made = made.slot(draw(MOMENTS))
    if draw(st.booleans()):
        made = made.cancelled()
    if draw(st.booleans()):
        made = made.mode(draw(st.sampled_from(["DryRun", "Enforce"])))
    if draw(st.booleans()):
        made = made.attempt("job-0", completionTime="2026-11-22T11:00:00Z", result="Failed")
    if draw(st.booleans()):
        made = made.approving(draw(st.sampled_from([DIGEST, OTHER_DIGEST])))
    if draw(st.booleans()):
        made = made.status(mode=draw(st.sampled_from(["DryRun", "Enforce"])))
    since = draw(MOMENTS)
    return draw(
        st.sampled_from(
            [
                made,
                made.queued(),
                made.admitted(since),
                made.running(since),
                made.running(since).state(RunState.CANCELLING),
                made.backoff(since),
                made.held(since, DIGEST),
                made.held(since, DIGEST, approved=OTHER_DIGEST),
                made.held(since, DIGEST).approving(DIGEST).queued("job-1"),
            ]
        )
    )


@st.composite
def some_policies(draw: st.DrawFn) -> PolicyView:
    return policy(
        problem=draw(st.sampled_from(["", "", "spec.timeZone: Mars/Base is not a time zone"])),
        mode=draw(st.sampled_from(["DryRun", "Enforce"])),
        suspended=draw(st.booleans()),
        attempts=draw(st.integers(1, 10)),
        backoff=timedelta(seconds=draw(st.integers(0, 86400))),
        hold_for=timedelta(seconds=draw(st.integers(1, 86400))),
        slots_since=draw(st.one_of(st.none(), MOMENTS)),
    )


WORLDS: dict[str, st.SearchStrategy[Any]] = {
    "of": some_runs(),
    "view": st.one_of(st.none(), some_policies()),
    "here": st.one_of(st.none(), some_jobs()),
    "pods": st.lists(some_pods(), max_size=3, unique_by=lambda one: one.obj["metadata"]["name"]).map(tuple),
    "events": TEXTS,
}


@given(**WORLDS)
@settings(max_examples=400)
def test_whatever_is_observed_the_status_is_one_that_the_api_takes(
    of: RunBuilder, view: PolicyView | None, here: JobBuilder | None, pods: tuple[PodBuilder, ...], events: str
) -> None:
    moved, decision, _ = live(of, view=view, job=here, pods=pods if here else (), events=events)
    if decision.state is not None:
        assert moved.view().state is decision.state
        assert moved.view().message
    if decision.state in TERMINAL_STATES:
        status = moved.obj["status"]
        assert status["durationSeconds"] >= 0
        assert "nextAttemptTime" not in status
        assert moved.view().completed is not None
    if decision.state is RunState.BACKOFF:
        assert moved.view().next_attempt is not None
        assert moved.view().attempt < 10


@given(**WORLDS)
@settings(max_examples=400)
def test_whatever_is_observed_a_step_taken_twice_is_taken_once(
    of: RunBuilder, view: PolicyView | None, here: JobBuilder | None, pods: tuple[PodBuilder, ...], events: str
) -> None:
    pods = pods if here else ()
    first, decision, _ = live(of, view=view, job=here, pods=pods, events=events)
    second, again, _ = live(first, view=view, job=here, pods=pods, events=events)
    if decision.state is not None:
        assert again.state is not decision.state
    # Where no state follows, nothing is left to write, and nothing ever ticks.
    if not (again.state or again.start_attempt or again.adopt_job):
        for moment in (NOW, NOW + timedelta(seconds=1)):
            _, third, wrote = live(second, view=view, job=here, pods=pods, events=events, now=moment)
            assert third.state is not None or not wrote


@given(**WORLDS)
@settings(max_examples=200)
def test_whatever_is_observed_the_next_look_lies_ahead(
    of: RunBuilder, view: PolicyView | None, here: JobBuilder | None, pods: tuple[PodBuilder, ...], events: str
) -> None:
    decision = decide(of.view(), view, here.view() if here else None, [one.view() for one in pods if here], events, NOW)
    if decision.again is not None and decision.state is None:
        assert decision.again > NOW


@given(**WORLDS)
@settings(max_examples=200)
def test_a_run_comes_to_an_end_whatever_was_observed(
    of: RunBuilder, view: PolicyView | None, here: JobBuilder | None, pods: tuple[PodBuilder, ...], events: str
) -> None:
    """From any state: once its Job is gone and its policy too, a run ends, and stays as it ended."""
    moved = of
    for day in range(1, 4):
        moved, _, _ = live(moved, view=None, job=None, pods=(), now=later(days=day))
    assert moved.view().terminal
    assert live(moved, view=view, job=here, pods=pods if here else (), events=events)[2] is False
