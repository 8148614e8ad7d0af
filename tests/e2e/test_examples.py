"""Examples as they stand, but for claim, schedule and mode: what each does to a volume, says and records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.volumes import File, Volume
from tests.e2e.processes import worker_pids
from tests.e2e.site import NEVER, Object, Site, cleanup_result, condition_is, message, state

EXAMPLES = Path(__file__).parents[2] / "examples"
PLANTED = {
    "tmp/old": 2.0,
    "tmp/young": 0.5,
    "tmp/deep/.keep": 90.0,
    "src/a.tmp": 3.0,
    "src/a.c": 90.0,
    "cache/old": 8.0,
    "home/.cache/young": 6.0,
    "logs/app.log.1": 40.0,
    "logs/deep/b.log": 31.0,
    "logs/current.log": 90.0,
    "logs/new.log": 3.0,
    "elsewhere/c.log": 90.0,
    "recordings/show/one.mkv": 60.0,
    "recordings/show/two.wav": 60.0,
    "recordings/show/notes.txt": 60.0,
}
"""Path → age in days."""


def example(name: str, claim: str = "", **changes: object) -> dict[str, Any]:
    """The spec of an example, for a claim; what was made a moment ago counts as settled."""
    spec: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())["spec"]
    if claim:
        spec["target"]["volume"]["persistentVolumeClaim"]["claimName"] = claim
        spec |= {"schedule": NEVER, "settleTime": "0s"}
    return {**spec, **changes}


def audit_of(site: Site, run: Object) -> list[dict[str, Any]]:
    """The lines of the pod's log that are its audit."""
    pod = run["status"]["attempts"][-1]["pods"][0]["name"]
    _, log = site.api.raw("GET", f"{site.path('Pod', pod)}/log")
    return [line for line in map(json.loads, log.splitlines()) if "event" in line]


def removed(audit: list[dict[str, Any]]) -> dict[str, str]:
    """Path → rule of what an audit says is gone."""
    return {line["path"]: line["rule"] for line in audit if line["event"] == "removed"}


def files(volume: Volume) -> set[str]:
    """What is on a volume, without Housekeeper's own directory."""
    return {name for name in volume.names() if not name.startswith(".housekeeper/")}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("temporary-files", {"tmp/old": "temporary", "src/a.tmp": "temporary", "cache/old": "caches"}),
        ("old-logs", {"logs/app.log.1": "rotated", "logs/deep/b.log": "rotated"}),
        ("recordings", {"recordings/show/one.mkv": "old", "recordings/show/two.wav": "old"}),
    ],
)
def test_what_it_selects_goes(site: Site, volume: Any, name: str, expected: dict[str, str]) -> None:
    data = volume(PLANTED)
    before = files(data)
    spec = example(name, data.claim, mode="Enforce")
    spec.setdefault("brakes", {"maxPercent": 100})
    site.create("CleanupPolicy", name, spec)

    # The example of a run by hand is for the first of them, and is drier than the policy.
    by_hand = example("run-now")
    by_hand["policyRef"]["name"] = name
    site.create("MaintenanceRun", f"{name}-now", by_hand)
    dry = site.ended(f"{name}-now")
    assert state(dry) == "Succeeded", message(dry)
    assert (cleanup_result(dry)["removed"], files(data)) == (len(expected), before)

    run = site.run("wet", "CleanupPolicy", name)
    assert state(run) == "Succeeded", message(run)
    assert files(data) == before - set(expected)
    assert removed(audit_of(site, run)) == expected
    assert (cleanup_result(run)["removed"], cleanup_result(run)["audit"]["complete"]) == (len(expected), True)
    status = site.get("CleanupPolicy", name)["status"]
    assert (status["totals"]["removed"], status["lastRun"]["name"]) == (len(expected), "wet")


def test_birth_and_change_decide_where_modification_says_nothing(site: Site, volume: Any) -> None:
    snapshots = {f"snapshots/{age}.tar": float(age) for age in (1, 3, 400, 500)}
    data = volume({"uploads/big": File(90, 1 << 30), "uploads/small": File(90, 100), **snapshots})
    spec = example("uploads", data.claim, mode="Enforce")
    site.create("CleanupPolicy", "uploads", spec)
    run = site.run("first", "CleanupPolicy", "uploads")
    assert state(run) == "Succeeded", message(run)
    gone = {"snapshots/400.tar": "snapshots", "snapshots/500.tar": "snapshots"}
    assert removed(audit_of(site, run)) == gone
    assert files(data) == {"uploads/big", "uploads/small", "snapshots/1.tar", "snapshots/3.tar"}

    for rule in spec["rules"][:2]:
        rule["removeOlderThan"] = "1s"
    site.patch("CleanupPolicy", "uploads", {"spec": {"rules": spec["rules"]}})
    run = site.run("second", "CleanupPolicy", "uploads")
    assert state(run) == "Succeeded", message(run)
    assert removed(audit_of(site, run)) == {"uploads/big": "large", "uploads/small": "small"}
    assert files(data) == {"snapshots/1.tar", "snapshots/3.tar"}
    assert site.get("CleanupPolicy", "uploads")["status"]["totals"]["removed"] == 4


def test_limits_bound_processes_and_pace(site: Site, volume: Any) -> None:
    """4,000 files: two seconds to look at them and two to remove them, by the main process and one helper."""
    count = 4_000
    data = volume({f"builds/{number % 40}/cache/{number}": File(30, 0) for number in range(count)} | {"kept": 30.0})
    site.create(
        "CleanupPolicy", "shared", example("shared-storage", data.claim, mode="Enforce", brakes={"maxPercent": 100})
    )
    site.start("paced", "CleanupPolicy", "shared")
    pod = site.running_pod("paced")
    site.wait_for(lambda: len(worker_pids(pod)) == 2, 30, "two processes of the worker")

    run = site.ended("paced")
    assert state(run) == "Succeeded", message(run)
    assert files(data) == {"kept"}
    assert cleanup_result(run)["removed"] == count
    assert run["status"]["durationSeconds"] >= 3.5
    assert len(removed(audit_of(site, run))) == count
    assert site.get("CleanupPolicy", "shared")["status"]["totals"]["removed"] == count


def test_one_process_is_one(site: Site, volume: Any) -> None:
    count = 4_000
    data = volume({f"builds/{number % 40}/cache/{number}": File(30, 0) for number in range(count)})
    limits = {"processes": 1, "operationsPerSecond": 1000}
    spec = example("shared-storage", data.claim, mode="Enforce", brakes={"maxPercent": 100}, limits=limits)
    site.create("CleanupPolicy", "shared", spec)
    site.start("alone", "CleanupPolicy", "shared")
    pod = site.running_pod("alone")
    seen: set[int] = set()

    def ended() -> bool:
        seen.update(_pids(pod))
        return condition_is(site.get("MaintenanceRun", "alone"), "Succeeded", "True")

    site.wait_for(ended, 60, "the end of the run")
    assert len(seen) == 1
    assert site.ended("alone")["status"]["durationSeconds"] >= 7
    assert files(data) == set()


def _pids(pod: Object) -> list[int]:
    """Those of the worker while it is there."""
    try:
        return worker_pids(pod)
    except AssertionError:
        return []


def test_the_health_check_measures_all_three(site: Site, volume: Any) -> None:
    data = volume({"a": 1.0})
    spec = example("health")
    spec["volumes"][0]["persistentVolumeClaim"]["claimName"] = data.claim
    site.create("HealthCheck", "workspace", {**spec, "schedule": NEVER})
    run = site.run("look", "HealthCheck", "workspace")
    assert state(run) == "Succeeded", message(run)
    checks = {check["name"]: check for check in run["status"]["result"]["health"]["checks"]}
    assert set(checks) == {"memory", "cpu", "disk"}
    assert {check["result"] for check in checks.values()} <= {"Passed", "Warning", "Failed"}, checks
    assert site.get("HealthCheck", "workspace")["status"]["lastRun"]["name"] == "look"
