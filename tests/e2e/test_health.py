"""Checks on the real node and in the pod's own limits."""

from __future__ import annotations

from tests.e2e.site import Site, condition_of, message, state


def by_name(site: Site, name: str) -> dict[str, dict]:
    return {check["name"]: check for check in site.get("HealthCheck", name)["status"]["checks"]}


def test_memory_cpu_and_filesystem_are_measured_with_three_valued_results(site: Site, volume) -> None:
    data = volume({"a.log": 1}, owner=65532)
    site.health_check(
        "node",
        {"name": "mem", "type": "Memory", "memory": {"used": {"warnAbove": "99%", "failAbove": "100%"}}},
        {"name": "cpu", "type": "CPU", "cpu": {"sample": "1s"}},
        {
            "name": "disk",
            "type": "Filesystem",
            "filesystem": {
                "volume": "data",
                "used": {"warnAbove": "0%", "failAbove": "100%"},
                "inodesUsed": {"failAbove": "100%"},
            },
        },
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": data.claim}}],
    )
    run = site.run("measure", "HealthCheck", "node")
    assert state(run) == "Succeeded", message(run)
    checks = by_name(site, "node")
    assert checks["mem"]["result"] == "Passed", checks
    assert checks["cpu"]["result"] == "Passed"
    assert checks["disk"]["result"] == "Warning"
    status = site.get("HealthCheck", "node")
    assert status["status"]["summary"] == {"passing": 2, "warning": 1, "failing": 0, "unknown": 0}
    assert condition_of(status, "Healthy")["status"] == "True"
    assert float(checks["disk"]["value"]) > 0


def test_memory_is_that_of_the_pod_where_it_has_a_limit(site: Site) -> None:
    # A worker in 64 MiB uses much more of that than of a node with gigabytes.
    site.health_check(
        "small",
        {"name": "mem", "type": "Memory", "memory": {"used": {"warnAbove": "1%"}}},
        pod={"resources": {"limits": {"memory": "64Mi"}}},
    )
    site.run("small", "HealthCheck", "small")
    assert by_name(site, "small")["mem"]["result"] == "Warning"
    assert float(by_name(site, "small")["mem"]["value"]) > 8


def test_health_turns_false_after_the_threshold_and_true_again(site: Site, volume) -> None:
    data = volume({"a.log": 1}, owner=65532)
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": data.claim}}]

    def disk(limit: str) -> dict:
        return {"name": "disk", "type": "Filesystem", "filesystem": {"volume": "data", "used": {"failAbove": limit}}}

    site.health_check("flappy", disk("0%"), volumes=volumes, failureThreshold=2)
    assert state(site.run("one", "HealthCheck", "flappy")) == "Succeeded"
    status = site.get("HealthCheck", "flappy")
    assert by_name(site, "flappy")["disk"]["result"] == "Failed"
    assert condition_of(status, "Healthy")["status"] != "False"
    site.run("two", "HealthCheck", "flappy")
    status = site.get("HealthCheck", "flappy")
    assert condition_of(status, "Healthy")["status"] == "False"
    assert "disk" in condition_of(status, "Healthy")["message"]
    assert by_name(site, "flappy")["disk"]["consecutiveFailures"] == 2
    site.wait_for(
        lambda: [event for event in site.events("flappy") if event["type"] == "Warning"], 20, "Event about the change"
    )
    site.patch("HealthCheck", "flappy", {"spec": {"checks": [disk("100%")]}})
    site.run("three", "HealthCheck", "flappy")
    assert condition_of(site.get("HealthCheck", "flappy"), "Healthy")["status"] == "True"


def test_a_check_that_could_not_be_carried_out_is_unknown(site: Site) -> None:
    site.health_check(
        "lost",
        {"name": "disk", "type": "Filesystem", "filesystem": {"volume": "data", "used": {"failAbove": "90%"}}},
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "no-such-claim"}}],
        pendingTimeout="10s",
    )
    run = site.run("lost", "HealthCheck", "lost")
    assert state(run) == "Failed"
    assert by_name(site, "lost")["disk"]["result"] == "Unknown"
    assert condition_of(site.get("HealthCheck", "lost"), "Healthy")["status"] == "Unknown"
