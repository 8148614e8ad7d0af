"""Examples as they stand, but for claim, schedule and mode: what each does to a volume, says and records."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.volumes import File, Volume
from tests.e2e.processes import worker_pids
from tests.e2e.site import NEVER, Object, Site, cleanup_result, condition_is, message, state

EXAMPLES = Path(__file__).parents[2] / "examples"
MIB = 1 << 20
PLANTED = {
    "tmp/old": 2.0,
    "tmp/young": 0.5,
    "tmp/deep/.keep": 90.0,
    "src/a.tmp": 3.0,
    "runs/etl/1/part.tmp": 3.0,
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


def _previews(*numbers: int) -> dict[str, File]:
    """Files of a MiB each, so many days old."""
    return {f"previews/{number % 3}/{number:02}.png": File(number, MIB) for number in numbers}


def test_a_claim_is_emptied_by_its_own_capacity(site: Site, volume: Any, mounted: Callable[[str], str]) -> None:
    """A claim of 20 MiB in a file system that has plenty of room: 15 MiB are 75 %, 18 are 90 %, and 12 are 60 %."""
    data = volume(_previews(*range(2, 17)), path=mounted("size=200M"), capacity="20Mi")
    site.create("CleanupPolicy", "previews", example("pressure-of-claim", data.claim, mode="Enforce"))
    idle = site.run("idle", "CleanupPolicy", "previews")
    assert state(idle) == "Succeeded", message(idle)
    assert "the claim is 75.0 % full, not above pressure.highPercent 80" in message(idle)
    assert cleanup_result(idle)["skipped"] == {"spared": 15}
    assert removed(audit_of(site, idle)) == {}

    # What no rule selects takes room too, though it never is what goes.
    data.add({**_previews(17, 18), "other": File(90, MIB)})
    before = files(data)
    dry = site.run("dry", "CleanupPolicy", "previews", mode="DryRun")
    assert state(dry) == "Succeeded", message(dry)
    assert (cleanup_result(dry)["removed"], files(data)) == (6, before)

    run = site.run("wet", "CleanupPolicy", "previews")
    assert state(run) == "Succeeded", message(run)
    gone = _previews(*range(13, 19)).keys()
    assert files(data) == before - gone
    audit = audit_of(site, run)
    assert removed(audit) == dict.fromkeys(gone, "previews")
    (pressure,) = (line for line in audit if line["event"] == "pressure")
    assert (pressure["of"], pressure["bytes"], pressure["planned"]) == ("Claim", [18 * MIB, 20 * MIB], 6)
    done = cleanup_result(run)
    assert (done["removed"], done["bytesFreed"], done["skipped"]) == (6, 6 * MIB, {"spared": 11})
    assert "the claim was 90.0 % full and is 60.0 % full" in message(run)
    status = site.get("CleanupPolicy", "previews")["status"]
    assert (status["totals"]["removed"], status["lastRun"]["name"]) == (6, "wet")


def test_files_go_by_the_rights_of_the_application(site: Site, volume: Any) -> None:
    """Into each directory one alone lets of the uid and the three gids that the example names."""
    owners = {"sessions": (1000, 5), "uploads/own": (5, 1000), "uploads/web": (5, 2000), "uploads/mail": (5, 3000)}
    old, young = (
        {f"{directory}/{name}": File(age, owner=owner, group=group) for directory, (owner, group) in owners.items()}
        for name, age in (("old", 60.0), ("young", 1.0))
    )
    # Of a `local` volume the kubelet would change the group, if the fsGroup were the pod's own.
    data = volume({**old, **young}, kind="local")
    for directory, (owner, group) in owners.items():
        path = os.path.join(data.path, directory)
        os.chown(path, owner, group)
        os.chmod(path, 0o700 if directory == "sessions" else 0o770)
    before = _belongings(data)

    site.create("CleanupPolicy", "stranger", example("application-files", data.claim, mode="Enforce", pod={}))
    refused = site.run("refused", "CleanupPolicy", "stranger")
    assert (state(refused), cleanup_result(refused)["errorCount"]) == ("PartiallySucceeded", len(owners))
    assert "errors: permission 4; sessions: no permission to read it: it belongs to uid 1000" in message(refused)
    assert removed(audit_of(site, refused)) == {}
    assert _belongings(data) == before

    site.create("CleanupPolicy", "application-files", example("application-files", data.claim, mode="Enforce"))
    run = site.run("wet", "CleanupPolicy", "application-files")
    assert state(run) == "Succeeded", message(run)
    assert _belongings(data) == {path: before[path] for path in young}
    assert removed(audit_of(site, run)) == {path: path.partition("/")[0] for path in old}
    done = cleanup_result(run)
    assert (done["removed"], done["errorCount"]) == (len(old), 0)
    # The kernel tells of a user's own files alone whether they are open.
    assert done["openFiles"] == {"notOpen": 1, "unknown": 3}
    status = site.get("CleanupPolicy", "application-files")["status"]
    assert (status["totals"]["removed"], status["lastRun"]["name"]) == (len(old), "wet")


def _belongings(volume: Volume) -> dict[str, tuple[int, int, int]]:
    """Path of each file → owner, group and change time (ns)."""
    found = {name: os.stat(os.path.join(volume.path, name)) for name in files(volume)}
    return {name: (stat.st_uid, stat.st_gid, stat.st_ctime_ns) for name, stat in found.items()}


def test_the_newest_stay_whatever_age_and_size_say(site: Site, volume: Any) -> None:
    stays = {
        # An export that broke down long ago, one that is new, one that runs.
        **{f"exports/stopped/{age}.csv": age for age in (100, 110, 120)},
        **{f"exports/new/{age}.csv": age for age in (40, 50)},
        **{f"exports/running/{age}.csv": age for age in range(1, 6)},
        # The newest two stay, though it is 80 MiB; all that fits stays.
        **{f"crashes/shop/{age}.core": File(age, 40 * MIB, solid=True) for age in (1, 2)},
        **{f"crashes/huge/{age}.core": File(age, 80 * MIB, solid=True) for age in (1, 2)},
        **{f"crashes/tiny/{age}.core": File(age, MIB) for age in range(1, 9)},
        "exports/README": 900,
    }
    exports = {"exports/stopped/130.csv": 130, "exports/stopped/140.csv": 140, "exports/running/31.csv": 31}
    crashes = {"crashes/shop/3.core": File(3, 40 * MIB, solid=True), "crashes/shop/4.core": File(4, MIB)}
    data = volume(stays | exports | crashes)
    site.create("CleanupPolicy", "keep-at-least", example("keep-at-least", data.claim, mode="Enforce"))
    dry = site.run("dry", "CleanupPolicy", "keep-at-least", mode="DryRun")
    assert state(dry) == "Succeeded", message(dry)
    assert (cleanup_result(dry)["removed"], files(data)) == (5, {*stays, *exports, *crashes})

    run = site.run("wet", "CleanupPolicy", "keep-at-least")
    assert state(run) == "Succeeded", message(run)
    assert files(data) == set(stays)
    audit = audit_of(site, run)
    assert removed(audit) == dict.fromkeys(exports, "exports") | dict.fromkeys(crashes, "crash-reports")
    reasons = {line["rule"]: line["reason"] for line in audit if line["event"] == "removed"}
    assert reasons == {
        "exports": "older than 30d, not among atLeast 3",
        "crash-reports": "beyond maxTotalSize 64.0 MiB",
    }
    assert cleanup_result(run)["removed"] == 5
    status = site.get("CleanupPolicy", "keep-at-least")["status"]
    assert (status["totals"]["removed"], status["lastRun"]["name"]) == (5, "wet")


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
