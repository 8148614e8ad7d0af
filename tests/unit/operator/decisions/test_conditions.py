from __future__ import annotations

import json

import pytest

from housekeeper_api.cleanup_policy import CleanupPolicyStatus
from housekeeper_api.conditions import TERMINAL_STATES, RunState
from housekeeper_operator.decisions import conditions, policy_status
from housekeeper_operator.decisions.views import Object, format_time
from tests.unit.operator.builders import NOW, ago, later, run


def made(kind: str = "Ready", *, status: bool | None = True, reason: str = "Scheduled", message: str = "…") -> Object:
    return conditions.make(kind, status=status, reason=reason, message=message, generation=3)


def merged(*steps: tuple[Object, int]) -> list[Object]:
    """The conditions after these were merged one by one, each so many minutes from now."""
    found: list[Object] = []
    for item, minutes in steps:
        found = conditions.merged(found, [item], later(minutes=minutes))
    CleanupPolicyStatus.model_validate_json(json.dumps({"conditions": found}))
    return found


@pytest.mark.parametrize(("status", "text"), [(True, "True"), (False, "False"), (None, "Unknown")])
def test_a_status_is_one_of_three_words(status: bool | None, text: str) -> None:
    assert made(status=status)["status"] == text


def test_the_transition_time_moves_with_the_status_only() -> None:
    [item] = merged((made(), 0), (made(reason="Suspended", message="another"), 5))
    assert (item["reason"], item["lastTransitionTime"]) == ("Suspended", format_time(NOW))
    [item] = merged((made(), 0), (made(status=False), 5))
    assert item["lastTransitionTime"] == format_time(later(minutes=5))


def test_each_type_is_there_once_and_others_stay() -> None:
    found = merged((made("Running"), 0), (made("Foreign"), 1), (made("Ready"), 2), (made("Ready", status=False), 3))
    assert [(item["type"], item["status"]) for item in found] == [
        ("Foreign", "True"),
        ("Ready", "False"),
        ("Running", "True"),
    ]


def test_the_same_again_is_no_change() -> None:
    found = merged((made(), 0), (made("Running"), 0))
    assert conditions.merged(found, [made(), made("Running")], later(days=1)) == found


def test_a_message_without_end_is_cut() -> None:
    assert made(message="x" * 5000)["message"] == "x" * 1023 + "…"


def test_ready_says_what_the_schedule_does() -> None:
    ready = policy_status.ready(None, suspended=False, schedule="17 3 * * *", generation=3)
    assert (ready["status"], ready["reason"], ready["message"]) == (
        "True",
        "Scheduled",
        "Runs by the schedule 17 3 * * *.",
    )
    resting = policy_status.ready(None, suspended=True, schedule="17 3 * * *", generation=3)
    assert (resting["status"], resting["reason"]) == ("True", "Suspended")
    broken = policy_status.ready(("InvalidSpec", "spec.timeZone: …"), suspended=True, schedule="", generation=3)
    assert (broken["status"], broken["reason"], broken["message"]) == ("False", "InvalidSpec", "spec.timeZone: …")


def test_running_names_the_run_that_is_under_way() -> None:
    runs = [run("z").queued(), run("b").running(ago(minutes=1)), run("a").ended(RunState.FAILED, NOW)]
    item = policy_status.running([one.view() for one in runs], 3)
    assert (item["status"], item["message"]) == ("True", "Run b is under way.")
    assert policy_status.running([runs[0].view(), runs[2].view()], 3)["status"] == "False"


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES - {RunState.SKIPPED}))
def test_degraded_follows_the_last_run(state: RunState) -> None:
    status = {"lastRun": {"name": "run-1", "result": str(state), "message": "It is so."}}
    item = policy_status.degraded(status, 3)
    assert (item["status"] == "False") == (state in {RunState.SUCCEEDED, RunState.CANCELLED})
    assert item["reason"] == f"LastRun{state}"
    assert "run-1" in item["message"]


def test_nothing_is_degraded_before_the_first_run() -> None:
    assert policy_status.degraded({}, 3)["status"] == "False"
