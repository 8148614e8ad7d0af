"""The operator dies and comes back, or another takes over: nothing is lost, nothing happens twice."""

from __future__ import annotations

import time

from tests.e2e.site import EVERY_MINUTE, Site, message, state


def test_a_result_that_came_while_the_operator_was_dead_is_harvested_once(site: Site, operator) -> None:
    site.slow_check("slow", 8)
    site.start("orphan", "HealthCheck", "slow")
    pod = site.running_pod("orphan")
    with operator.dead():
        site.wait(
            "Pod", pod["metadata"]["name"], lambda obj: obj.get("status", {}).get("phase") == "Succeeded", 40, "ended"
        )
        assert state(site.get("MaintenanceRun", "orphan")) in {"Admitted", "Running"}
    run = site.ended("orphan")
    assert state(run) == "Succeeded", message(run)
    status = site.get("HealthCheck", "slow")["status"]
    assert status["totals"]["runs"] == 1
    assert status["lastRun"]["name"] == "orphan"
    assert len(run["status"]["attempts"]) == 1
    assert len(site.list("Job")) == 1


def test_a_running_slot_whose_run_is_deleted_is_stopped_and_not_adopted_again(site: Site) -> None:
    site.slow_check("slow", 40, schedule=EVERY_MINUTE)
    (job,) = site.wait_for(lambda: site.list("Job"), 80, "Job of a slot")
    name = job["metadata"]["name"]
    site.running_pod(name)
    site.delete("MaintenanceRun", name)
    site.wait_for(lambda: site.find("Job", name) is None, 30, "end of the Job whose run was deleted")
    site.patch("HealthCheck", "slow", {"spec": {"suspend": True}})
    assert site.find("MaintenanceRun", name) is None


def test_a_policy_deleted_while_the_operator_is_down_takes_all_along(site: Site, operator) -> None:
    site.slow_check("gone", 1)
    site.run("one", "HealthCheck", "gone")
    with operator.dead():
        site.delete("HealthCheck", "gone")
        for kind in ("CronJob", "MaintenanceRun", "Job", "Pod"):
            site.wait_for(lambda kind=kind: not site.list(kind), 30, f"end of every {kind}")


def test_a_slot_fires_while_the_operator_is_down_and_runs_when_it_is_back(site: Site, operator) -> None:
    site.slow_check("minutely", 1, schedule=EVERY_MINUTE)
    site.ready("HealthCheck", "minutely")
    with operator.dead():
        (job,) = site.wait_for(lambda: site.list("Job"), 80, "Job of a slot")
        assert job["spec"]["suspend"] is True
    run = site.ended(job["metadata"]["name"])
    assert state(run) == "Succeeded", message(run)


def test_the_other_replica_takes_over_within_twenty_seconds_and_nothing_runs_twice(site: Site, operator) -> None:
    with operator.replicas(2):
        site.slow_check("slow", 25)
        site.start("across", "HealthCheck", "slow")
        site.running_pod("across")
        leader = operator.leader()
        operator.kill(leader)
        began = time.monotonic()
        site.wait_for(lambda: operator.leader() not in {leader, ""}, 30, "another leader")
        assert time.monotonic() - began <= 20
        site.start("next", "HealthCheck", "slow")
        site.wait("MaintenanceRun", "next", lambda obj: bool(obj.get("status")), 20, "seen by the new leader")
        run = site.ended("across")
        assert state(run) == "Succeeded", message(run)
        assert len(run["status"]["attempts"]) == 1
        assert state(site.ended("next")) == "Succeeded"
        assert site.get("HealthCheck", "slow")["status"]["totals"]["runs"] == 2
        pods = [pod["metadata"]["labels"]["housekeeper.dev/run"] for pod in site.list("Pod")]
        assert sorted(pods) == ["across", "next"]
