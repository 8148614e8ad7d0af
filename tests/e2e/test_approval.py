"""Plans that a brake holds: what is removed before anybody approves (nothing), and after (exactly the plan)."""

from __future__ import annotations

import json
import os
import pathlib
import re
from typing import Any

import pytest
import yaml

from tests.cluster.embedded.errors import ApiError
from tests.e2e.site import EVERY_MINUTE, Object, Site, cleanup_result, condition_is, condition_of, message, state

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "approval.yaml"
FILES = {"a.log": 60.0, "b.log": 60.0, "c.log": 60.0, "d.log": 60.0, "new.log": 1.0}
"""Four of five are to go, which is more than half."""
OLD = {name for name, age in FILES.items() if age > 30}
WRONG = f"sha256:{'0' * 64}"
CAREFUL = {"mode": "Enforce", "brakes": {"maxPercent": 50}}


def files(volume: Any) -> set[str]:
    """What is on the volume, without Housekeeper's own directory."""
    return {name for name in volume.names() if not name.startswith(".housekeeper/")}


def stored(volume: Any) -> list[pathlib.Path]:
    """The plans that are kept on a volume."""
    return sorted(pathlib.Path(volume.path).rglob("*.plan"))


def digest_of(run: Object) -> str:
    return str(cleanup_result(run)["planDigest"])


def held(site: Site, name: str, policy: str = "backups") -> Object:
    """Start a run, and wait until its plan is held."""
    site.start(name, "CleanupPolicy", policy)
    run = site.in_state(name, "Held", "Failed", "Succeeded", timeout=90)
    assert state(run) == "Held", message(run)
    return run


def approve(site: Site, name: str, digest: str) -> None:
    site.patch("MaintenanceRun", name, {"spec": {"approve": digest}})


def events(site: Site, regarding: str) -> dict[str, str]:
    """Reason → type of the Events about an object."""
    return {event["reason"]: event["type"] for event in site.events(regarding)}


def policy_held(site: Site, status: str) -> Object:
    """The policy, when its condition Held is so."""
    return site.wait("CleanupPolicy", "backups", lambda obj: condition_is(obj, "Held", status), 30, f"Held={status}")


def created_by(text: str) -> Object:
    """What the command in a message would create."""
    found = re.search(r"echo '(.*?)' \| kubectl create", text)
    assert found, text
    made: Object = json.loads(found[1])
    return made


def test_exactly_the_held_plan_is_carried_out_in_another_pod(site: Site, volume, cluster) -> None:
    data = volume(FILES)
    site.cleanup_policy("backups", data.claim, **CAREFUL)
    run = held(site, "large")
    digest = digest_of(run)
    assert files(data) == set(FILES)
    assert condition_of(run, "Succeeded")["status"] == "Unknown"
    assert (cleanup_result(run)["planned"], cleanup_result(run)["removed"]) == (4, 0)
    assert len(stored(data)) == 1
    assert "large" in condition_of(policy_held(site, "True"), "Held")["message"]
    for regarding in ("large", "backups"):
        told = site.wait_for(lambda name=regarding: events(site, name).get("Held"), 10, f"Event of {regarding}")
        assert told == "Warning"

    # Meanwhile one of them is written again, and another one grows old: neither is in the plan as it was approved.
    data.age("b.log", 90)
    data.add({"late.log": 60})
    with pytest.raises(ApiError, match="is not the digest of the plan that is held"):
        approve(site, "large", WRONG)
    command = re.search(r"kubectl -n .*? -p '.*?'", message(run))
    assert command, message(run)
    cluster.run("sh", "-c", command[0])

    done = site.ended("large")
    assert state(done) == "Succeeded", message(done)
    assert files(data) == {"b.log", "late.log", "new.log"}
    assert cleanup_result(done)["removed"] == 3
    attempts = done["status"]["attempts"]
    assert [attempt["result"] for attempt in attempts] == ["Held", "Succeeded"]
    assert attempts[1]["approved"] == digest
    assert events(site, "large").get("Approved") == "Normal"
    pods = {attempt["pods"][0]["name"] for attempt in attempts}
    assert len(pods) == 2
    assert stored(data) == []
    policy = policy_held(site, "False")
    assert policy["status"]["totals"]["runs"] == 1
    assert policy["status"]["totals"]["removed"] == 3
    with pytest.raises(ApiError, match="was given already"):
        approve(site, "large", WRONG)


def test_a_held_run_lets_others_pass_and_a_later_plan_supersedes_it(site: Site, volume) -> None:
    data = volume(FILES)
    site.cleanup_policy("backups", data.claim, **CAREFUL)
    held(site, "first")
    dry = site.run("dry", "CleanupPolicy", "backups", mode="DryRun")
    assert state(dry) == "Failed", "it would be held, and a dry run's plan is not kept on the target"
    assert state(site.get("MaintenanceRun", "first")) == "Held"

    held(site, "second")
    first = site.ended("first")
    assert (state(first), condition_of(first, "Succeeded")["status"]) == ("Superseded", "False")
    assert "second" in message(first)
    assert "second" in condition_of(policy_held(site, "True"), "Held")["message"]

    site.patch("CleanupPolicy", "backups", {"spec": {"brakes": {"maxPercent": 100}}})
    third = site.run("third", "CleanupPolicy", "backups")
    assert state(third) == "Succeeded", message(third)
    assert state(site.ended("second")) == "Superseded"
    assert files(data) == {"new.log"}
    assert policy_held(site, "False")["status"]["totals"]["runs"] == 2, "the dry one and the third"


def test_the_schedule_goes_on_while_a_plan_is_held(site: Site, volume) -> None:
    data = volume(FILES)
    site.cleanup_policy("backups", data.claim, schedule=EVERY_MINUTE, **CAREFUL)

    def second() -> Object | None:
        runs = [run for run in site.runs_of("backups") if state(run) in {"Held", "Superseded"}]
        return runs[1] if len(runs) > 1 else None

    newer = site.wait_for(second, 150, "second held run of the schedule")
    older = site.runs_of("backups")[0]["metadata"]["name"]
    assert state(site.ended(older)) == "Superseded"
    assert files(data) == set(FILES)
    site.patch("CleanupPolicy", "backups", {"spec": {"suspend": True}})
    newer = site.get("MaintenanceRun", newer["metadata"]["name"])
    approve(site, newer["metadata"]["name"], digest_of(newer))
    assert state(site.ended(newer["metadata"]["name"])) == "Succeeded", "also while the schedule rests"
    assert files(data) == {"new.log"}


def test_a_held_plan_expires(site: Site, volume) -> None:
    data = volume(FILES)
    site.cleanup_policy("backups", data.claim, holdFor="5s", **CAREFUL)
    held(site, "late")
    run = site.ended("late")
    assert (state(run), condition_of(run, "Succeeded")["status"]) == ("Expired", "False")
    assert files(data) == set(FILES)
    policy = policy_held(site, "False")
    assert condition_of(policy, "Degraded")["reason"] == "LastRunExpired"
    assert policy["status"]["totals"] == {"runs": 1, "failures": 1, "removed": 0, "bytesFreed": 0}
    with pytest.raises(ApiError, match="create a run with its digest"):
        approve(site, "late", digest_of(run))


def test_a_held_run_is_cancelled(site: Site, volume) -> None:
    data = volume(FILES)
    site.cleanup_policy("backups", data.claim, **CAREFUL)
    held(site, "unwanted")
    site.patch("MaintenanceRun", "unwanted", {"spec": {"cancel": True}})
    assert state(site.ended("unwanted")) == "Cancelled"
    assert files(data) == set(FILES)
    policy_held(site, "False")


def test_what_is_approved_while_the_operator_is_away_is_carried_out_when_it_is_back(
    site: Site, volume, operator
) -> None:
    data = volume(FILES)
    site.cleanup_policy("backups", data.claim, **CAREFUL)
    run = held(site, "patient")
    with operator.dead():
        approve(site, "patient", digest_of(run))
    done = site.ended("patient")
    assert state(done) == "Succeeded", message(done)
    assert files(data) == {"new.log"}


def test_an_approval_waits_for_a_policy_that_became_dry(site: Site, volume) -> None:
    data = volume(FILES)
    site.cleanup_policy("backups", data.claim, **CAREFUL)
    run = held(site, "blocked")
    site.patch("CleanupPolicy", "backups", {"spec": {"mode": "DryRun"}})
    site.ready("CleanupPolicy", "backups")
    approve(site, "blocked", digest_of(run))
    site.wait(
        "MaintenanceRun",
        "blocked",
        lambda obj: obj["status"].get("queue", {}).get("reason") == "PolicyIsDryRun",
        30,
        "told that its policy is dry",
    )
    assert files(data) == set(FILES)
    site.patch("CleanupPolicy", "backups", {"spec": {"mode": "Enforce"}})
    assert state(site.ended("blocked")) == "Succeeded"
    assert files(data) == {"new.log"}


def test_rules_that_were_narrowed_meanwhile_narrow_what_was_approved(site: Site, volume) -> None:
    data = volume({**FILES, "a.log": 400})
    site.cleanup_policy("backups", data.claim, **CAREFUL)
    run = held(site, "large")
    rules = [{"name": "old", "select": {"include": ["**"]}, "removeOlderThan": "1y"}]
    site.patch("CleanupPolicy", "backups", {"spec": {"rules": rules}})
    approve(site, "large", digest_of(run))
    assert state(site.ended("large")) == "Succeeded"
    assert files(data) == set(FILES) - {"a.log"}


def test_a_lost_plan_is_held_anew_and_approved_by_another_run(site: Site, volume) -> None:
    data = volume(FILES)
    site.cleanup_policy("backups", data.claim, **CAREFUL)
    run = held(site, "lost")
    for path in stored(data):
        path.unlink()
    approve(site, "lost", digest_of(run))
    again = site.wait(
        "MaintenanceRun",
        "lost",
        lambda obj: state(obj) == "Held" and digest_of(obj) != digest_of(run),
        90,
        "held anew",
    )
    assert files(data) == set(FILES)
    assert "spec.approve is used up" in message(again)
    made = created_by(message(again))
    site.create("MaintenanceRun", "anew", made["spec"])
    done = site.ended("anew")
    assert state(done) == "Succeeded", message(done)
    assert files(data) == {"new.log"}
    assert state(site.ended("lost")) == "Superseded"


def test_a_dry_runs_plan_is_approved_from_the_report_volume(site: Site, volume) -> None:
    """The example, with the test's claims."""
    policy, approval = yaml.safe_load_all(EXAMPLE.read_text())
    data = volume({f"backups/{number}": 365.0 if number < 4 else 1.0 for number in range(10)})
    reports = volume({"housekeeper/here": 1})
    spec = policy["spec"]
    spec["target"]["volume"]["persistentVolumeClaim"]["claimName"] = data.claim
    spec["report"]["persistentVolumeClaim"]["claimName"] = reports.claim
    site.create("CleanupPolicy", "careful", {**spec, "schedule": "0 3 29 2 *", "settleTime": "0s"})
    dry = site.run("dry", "CleanupPolicy", "careful")
    assert (state(dry), condition_of(dry, "Succeeded")["status"]) == ("Failed", "False")
    digest = digest_of(dry)
    (plan,) = stored(reports)
    where = os.path.relpath(plan, reports.path)
    assert where == f"housekeeper/{site.namespace}/careful/plans/{digest.removeprefix('sha256:')}.plan"
    assert len(data.names()) == 10, "nothing was removed, and nothing was written beside it"
    assert created_by(message(dry))["spec"]["approve"] == digest

    refused = site.run("too-early", "CleanupPolicy", "careful", approve=digest)
    assert refused["status"]["queue"]["reason"] == "LessDryThanPolicy"
    site.patch("CleanupPolicy", "careful", {"spec": {"mode": "Enforce"}})
    site.create("MaintenanceRun", "careful-approved", {**approval["spec"], "approve": digest})
    done = site.ended("careful-approved")
    assert state(done) == "Succeeded", message(done)
    assert {name for name in data.names() if name.startswith("backups/")} == {
        f"backups/{number}" for number in range(4, 10)
    }


def test_the_numbers_of_past_runs_travel_with_the_next_task(site: Site, volume) -> None:
    data = volume({**FILES, "below/a.log": 60})
    site.cleanup_policy("backups", data.claim)
    for number in range(2):
        site.run(f"dry-{number}", "CleanupPolicy", "backups")
    recent = site.get("CleanupPolicy", "backups")["status"]["recentRuns"]
    assert [(item["scanned"], item["planned"]) for item in recent] == [(6, 5), (6, 5)]
    third = site.run("dry-2", "CleanupPolicy", "backups")
    job = site.get("Job", third["status"]["attempts"][0]["job"])
    task = json.loads(job["spec"]["template"]["metadata"]["annotations"]["housekeeper.dev/task"])
    assert [item["planned"] for item in task["cleanup"]["state"]] == [5, 5]

    site.patch("CleanupPolicy", "backups", {"spec": {"target": {"volume": {"path": "below"}}}})
    moved = site.run("dry-3", "CleanupPolicy", "backups")
    job = site.get("Job", moved["status"]["attempts"][0]["job"])
    task = json.loads(job["spec"]["template"]["metadata"]["annotations"]["housekeeper.dev/task"])
    assert task["cleanup"]["state"] == []
    status = site.get("CleanupPolicy", "backups")["status"]
    assert (status["recentTarget"], len(status["recentRuns"])) == (f"{data.claim}/below", 1)


def test_a_worker_has_scratch_beside_its_read_only_root(site: Site, volume, operator) -> None:
    data = volume(FILES)
    with operator.with_values({"worker.scratchSize": "64Mi"}):
        site.cleanup_policy("backups", data.claim)
        run = site.run("dry", "CleanupPolicy", "backups")
        assert state(run) == "Succeeded", message(run)
        pod = site.get("Pod", run["status"]["attempts"][0]["pods"][0]["name"])
    assert {"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}} in pod["spec"]["volumes"]
    limit = {"name": "HOUSEKEEPER_SCRATCH_LIMIT", "value": str(64 << 20)}
    assert pod["spec"]["containers"][0]["env"] == [limit]
