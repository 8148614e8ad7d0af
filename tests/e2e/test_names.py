"""What is ours, and what only looks like it."""

from __future__ import annotations

from tests.e2e.site import Site, condition_of, state

LABELS = {
    "app.kubernetes.io/managed-by": "housekeeper",
    "housekeeper.dev/kind": "HealthCheck",
    "housekeeper.dev/policy": "real",
}
POD = {
    "restartPolicy": "Never",
    "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "worker",
            "image": "housekeeper-worker:dev",
            "command": ["sleep", "1"],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}


def test_a_policy_and_a_check_of_one_name_live_side_by_side(site: Site, volume) -> None:
    data = volume({"a.log": 60}, owner=65532)
    site.cleanup_policy("twin", data.claim)
    site.slow_check("twin", 1)
    assert state(site.run("clean", "CleanupPolicy", "twin")) == "Succeeded"
    assert state(site.run("check", "HealthCheck", "twin")) == "Succeeded"
    assert {job["metadata"]["name"] for job in site.list("CronJob")} == {"clp-twin", "hck-twin"}
    assert site.get("CleanupPolicy", "twin")["status"]["lastRun"]["name"] == "clean"
    assert site.get("HealthCheck", "twin")["status"]["lastRun"]["name"] == "check"
    site.delete("HealthCheck", "twin")
    site.wait_for(lambda: site.find("CronJob", "hck-twin") is None, 30, "end of the check's CronJob")
    assert site.find("CronJob", "clp-twin") is not None
    assert site.find("MaintenanceRun", "clean") is not None


def test_an_object_that_only_carries_our_labels_is_left_alone(site: Site) -> None:
    site.slow_check("real", 1)
    site.ready("HealthCheck", "real")
    site.create("Job", "hck-real-29000000", {"suspend": True, "template": {"spec": POD}}, labels=LABELS)
    site.create(
        "CronJob",
        "stranger",
        {
            "schedule": "0 3 29 2 *",
            "jobTemplate": {"metadata": {"labels": LABELS}, "spec": {"suspend": True, "template": {"spec": POD}}},
        },
        labels=LABELS,
    )
    # The operator has dealt with everything before when it has dealt with this.
    assert state(site.run("after", "HealthCheck", "real")) == "Succeeded"
    assert site.get("Job", "hck-real-29000000")["spec"]["suspend"] is True
    assert site.find("MaintenanceRun", "hck-real-29000000") is None
    assert site.find("CronJob", "stranger") is not None
    site.delete("HealthCheck", "real")
    site.wait_for(lambda: site.find("CronJob", "hck-real") is None, 30, "end of the check's CronJob")
    assert site.find("Job", "hck-real-29000000") is not None
    assert site.find("CronJob", "stranger") is not None


def test_a_cron_job_of_the_name_that_is_needed_is_told_and_not_touched(site: Site) -> None:
    spec = {"schedule": "0 3 29 2 *", "jobTemplate": {"spec": {"template": {"spec": POD}}}}
    before = site.create("CronJob", "hck-taken", spec)
    site.slow_check("taken", 1)
    blocked = site.wait(
        "HealthCheck", "taken", lambda obj: condition_of(obj, "Ready").get("status") == "False", 30, "not Ready"
    )
    assert condition_of(blocked, "Ready")["reason"] == "NameConflict"
    assert "hck-taken" in condition_of(blocked, "Ready")["message"]
    after = site.get("CronJob", "hck-taken")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_a_specification_that_only_the_operator_can_judge_is_a_condition(site: Site, volume) -> None:
    data = volume({"a.log": 60}, owner=65532)
    site.cleanup_policy("mars", data.claim, timeZone="Mars/Olympus_Mons")
    policy = site.wait(
        "CleanupPolicy", "mars", lambda obj: condition_of(obj, "Ready").get("status") == "False", 30, "not Ready"
    )
    assert condition_of(policy, "Ready")["reason"] == "InvalidSpec"
    assert "spec.timeZone" in condition_of(policy, "Ready")["message"]
    run = site.run("anyway", "CleanupPolicy", "mars")
    assert state(run) == "Failed"
    site.patch("CleanupPolicy", "mars", {"spec": {"timeZone": "Europe/Berlin"}})
    site.ready("CleanupPolicy", "mars")
