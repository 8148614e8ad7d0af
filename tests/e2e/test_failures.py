"""Whatever ends a worker, the run says which, and what to do."""

from __future__ import annotations

import os
import signal

from tests.e2e.processes import worker_pids
from tests.e2e.site import Site, message, state


def last_attempt(run: dict) -> dict:
    return run["status"]["attempts"][-1]


def cpu_checks(count: int, sample: str) -> list[dict]:
    """Checks that take longer together than each of them may."""
    return [{"name": f"cpu{n}", "type": "CPU", "cpu": {"sample": sample}} for n in range(count)]


def test_a_pod_that_is_deleted_is_an_interruption(site: Site) -> None:
    site.slow_check("slow", 60)
    site.start("deleted", "HealthCheck", "slow")
    pod = site.running_pod("deleted")
    site.delete("Pod", pod["metadata"]["name"])
    run = site.ended("deleted")
    assert state(run) == "Failed"
    assert last_attempt(run)["reason"] in {"Interrupted", "PodDeleted"}
    assert message(run)


def test_a_worker_killed_by_a_signal_is_named(site: Site) -> None:
    site.slow_check("slow", 60)
    site.start("killed", "HealthCheck", "slow")
    pod = site.running_pod("killed")
    for pid in worker_pids(pod):
        os.kill(pid, signal.SIGKILL)
    run = site.ended("killed")
    assert state(run) == "Failed"
    assert last_attempt(run)["reason"] == "Killed"
    assert "137" in message(run)


def test_an_interrupted_attempt_is_tried_again(site: Site) -> None:
    site.slow_check("slow", 5, retry={"attempts": 2, "backoff": "1s", "maxBackoff": "1s"})
    site.start("again", "HealthCheck", "slow")
    pod = site.running_pod("again")
    for pid in worker_pids(pod):
        os.kill(pid, signal.SIGKILL)
    run = site.ended("again")
    assert state(run) == "Succeeded", message(run)
    assert [attempt["result"] for attempt in run["status"]["attempts"]] == ["Failed", "Succeeded"]
    assert site.get("HealthCheck", "slow")["status"]["totals"]["runs"] == 1


def test_out_of_memory_names_the_limit_to_raise(site: Site) -> None:
    site.slow_check("greedy", 5, pod={"resources": {"limits": {"memory": "7Mi"}, "requests": {"memory": "4Mi"}}})
    run = site.run("oom", "HealthCheck", "greedy")
    assert state(run) == "Failed"
    assert last_attempt(run)["reason"] == "OOMKilled", run["status"]
    assert "spec.pod.resources.limits.memory" in message(run)


def test_the_worker_keeps_its_time_limit(site: Site) -> None:
    site.health_check("slow", *cpu_checks(4, "2s"), timeout="3s")
    run = site.run("late", "HealthCheck", "slow")
    assert state(run) == "TimedOut", message(run)
    assert last_attempt(run)["reason"] == "TimedOut"


def test_a_stopped_worker_meets_the_deadline_of_its_pod(site: Site) -> None:
    site.health_check("hung", *cpu_checks(4, "2s"), timeout="3s", pendingTimeout="10s")
    site.start("hung", "HealthCheck", "hung")
    pod = site.running_pod("hung")
    for pid in worker_pids(pod):
        os.kill(pid, signal.SIGSTOP)
    run = site.ended("hung", timeout=150)
    assert state(run) == "TimedOut", message(run)
    assert last_attempt(run)["reason"] == "DeadlineExceeded"
    assert "did not end by itself" in message(run)


def test_an_evicted_pod_names_what_to_request(site: Site) -> None:
    # More log than its ephemeral storage allows: the kubelet's own eviction.
    site.slow_check("evicted", 55, pod={"resources": {"limits": {"ephemeral-storage": "1"}}})
    run = site.run("evicted", "HealthCheck", "evicted", timeout=120)
    assert state(run) == "Failed"
    assert last_attempt(run)["reason"] == "Evicted", run["status"]
    assert "evicted" in message(run)


def test_an_unschedulable_pod_says_why(site: Site) -> None:
    site.slow_check("nowhere", 5, pendingTimeout="10s", pod={"nodeSelector": {"disk": "golden"}})
    run = site.run("nowhere", "HealthCheck", "nowhere")
    assert state(run) == "Failed"
    assert last_attempt(run)["reason"] == "Unschedulable"
    assert "node selector" in message(run) or "affinity" in message(run)
    site.wait_for(lambda: not site.list("Pod"), 60, "end of the pod that never ran")


def test_a_claim_that_does_not_exist_is_named(site: Site) -> None:
    site.cleanup_policy("unbound", "no-such-claim", pendingTimeout="10s")
    run = site.run("unbound", "CleanupPolicy", "unbound")
    assert state(run) == "Failed"
    assert "no-such-claim" in message(run)


def test_a_run_can_be_cancelled_while_it_runs(site: Site) -> None:
    site.slow_check("slow", 60)
    site.start("stop", "HealthCheck", "slow")
    site.running_pod("stop")
    site.patch("MaintenanceRun", "stop", {"spec": {"cancel": True}})
    run = site.ended("stop")
    assert state(run) == "Cancelled", message(run)
    assert site.get("HealthCheck", "slow")["status"]["consecutiveFailures"] == 0


def test_a_run_of_a_policy_that_does_not_exist_waits_and_then_says_so(site: Site) -> None:
    site.start("early", "HealthCheck", "later")
    waiting = site.wait(
        "MaintenanceRun", "early", lambda run: bool(run.get("status", {}).get("queue")), 20, "told why it waits"
    )
    assert waiting["status"]["queue"]["reason"] == "PolicyNotFound"
    site.slow_check("later", 1)
    run = site.ended("early")
    assert state(run) == "Succeeded", message(run)
