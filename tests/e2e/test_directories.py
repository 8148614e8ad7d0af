"""Directories as one item, on a real volume: whole or not at all, in use or not, and what an earlier run left."""

from __future__ import annotations

import os
from typing import Any

import yaml

from tests.cluster.volumes import Volume
from tests.e2e.site import Site, cleanup_result, message, state

EXAMPLES = os.path.join(os.path.dirname(__file__), "..", "..", "examples")


def example(name: str, claim: str, **changes: object) -> dict[str, Any]:
    """The spec of an example, for a claim; what was made a moment ago counts as settled."""
    with open(os.path.join(EXAMPLES, name), encoding="utf-8") as file:
        spec: dict[str, Any] = yaml.safe_load(file)["spec"]
    spec["target"]["volume"]["persistentVolumeClaim"]["claimName"] = claim
    return {**spec, "settleTime": "0s", **changes}


def grow_old(data: Volume, ages: dict[str, float]) -> None:
    """Let directories, with all that is in them, be so many days old."""
    for path, days in ages.items():
        for directory, below, names in os.walk(os.path.join(data.path, path)):
            for name in (*below, *names, "."):
                data.age(os.path.join(directory, name), days)


def visible(data: Volume) -> set[str]:
    """Paths of all files but our own."""
    return {name for name in data.names() if not name.startswith(".housekeeper")}


def trashed(data: Volume) -> list[str]:
    """What is in the trash besides the journal."""
    return sorted(set(os.listdir(os.path.join(data.path, ".housekeeper/trash"))) - {"journal"})


def test_finished_runs_go_as_a_whole(site: Site, volume) -> None:
    etl = {f"runs/etl/{number:02}/{name}": 1.0 for number in range(16) for name in ("log.txt", "out/part-0")}
    extra = {"runs/etl/13/KEEP": 1.0, "runs/etl/14/out/part-1.tmp": 1.0, "runs/web/1/log.txt": 1.0, "notes.txt": 1.0}
    data = volume(etl | extra, owner=65532)
    # The lower the number, the younger; all but the first are older than two weeks.
    grow_old(data, {f"runs/etl/{number:02}": 10.0 + number * 10 for number in range(16)} | {"runs/web/1": 400.0})
    data.age("runs/etl/15/log.txt", 1.0)
    site.create("CleanupPolicy", "finished-runs", example("finished-runs.yaml", data.claim))

    dry = site.run("dry", "CleanupPolicy", "finished-runs")
    assert state(dry) == "Succeeded", message(dry)
    assert data.names() == etl.keys() | extra.keys(), "a dry run removed something"
    said = cleanup_result(dry)

    site.patch("CleanupPolicy", "finished-runs", {"spec": {"mode": "Enforce"}})
    wet = site.run("wet", "CleanupPolicy", "finished-runs")
    assert state(wet) == "Succeeded", message(wet)
    done = cleanup_result(wet)
    # Run 15 has a file of yesterday, so that it is the newest; with 0 to 8 these are ten. 9 to 12 go.
    left = {f"runs/etl/{number:02}/{name}" for number in (*range(9), 13, 14, 15) for name in ("log.txt", "out/part-0")}
    assert visible(data) == left | extra.keys()
    assert (done["matched"], done["removed"], done["skipped"]) == (17, 4, {"excluded": 1, "incomplete": 1})
    assert {key: said[key] for key in ("matched", "removed", "bytesFreed")} == {
        key: done[key] for key in ("matched", "removed", "bytesFreed")
    }
    assert trashed(data) == []


def test_emptied_directories_go_where_the_rule_says_so(site: Site, volume) -> None:
    data = volume({"runs/a/1/x": 1.0, "runs/a/2/x": 1.0, "runs/b/1/x": 1.0}, owner=65532)
    os.mkdir(os.path.join(data.path, "runs/was-empty"))
    grow_old(data, {"runs/a": 60.0, "runs/b": 1.0})
    rule = {
        "name": "runs",
        "select": {"itemType": "Directory", "include": ["runs/*/*"]},
        "removeOlderThan": "30d",
        "removeEmptyDirectories": "EmptiedByThisRun",
    }
    site.cleanup_policy(
        "runs", data.claim, mode="Enforce", rules=[rule], settleTime="0s", brakes={"maxPercent": 100}, path="runs"
    )
    run = site.run("runs", "CleanupPolicy", "runs")
    assert state(run) == "Succeeded", message(run)
    assert sorted(os.listdir(os.path.join(data.path, "runs"))) == ["b", "was-empty"]
    done = cleanup_result(run)
    assert (done["removed"], done["removedDirectories"]) == (2, 1)


def test_browser_profiles_in_use_stay(site: Site, volume) -> None:
    profiles = {f"profiles/chrome_profile_{name}/Default/Cookies": 1.0 for name in ("free", "open", "locked", "crash")}
    kept = {"profiles/alice/Cache/data_0": 40.0, "profiles/alice/Cookies": 40.0}
    data = volume(profiles | kept, owner=65532)
    for name in ("locked", "crash"):
        link = os.path.join(data.path, f"profiles/chrome_profile_{name}/SingletonLock")
        os.symlink("browser-0-17", link)
        os.lchown(link, 65532, 65532)
    grow_old(data, {"profiles": 10.0})
    data.age("profiles/chrome_profile_locked/Default/Cookies", 2.0)
    spec = example("browser-profiles.yaml", data.claim, mode="Enforce", brakes={"maxPercent": 100})
    site.create("CleanupPolicy", "browser-profiles", spec)
    with open(os.path.join(data.path, "profiles/chrome_profile_open/Default/Cookies"), "rb"):
        run = site.run("profiles", "CleanupPolicy", "browser-profiles")
    assert state(run) == "Succeeded", message(run)
    # Its links were made a moment ago, and their change times cannot be set: the crashed one is not told apart yet.
    assert cleanup_result(run)["skipped"] == {"inUse": 3}
    assert visible(data) == {
        "profiles/chrome_profile_open/Default/Cookies",
        "profiles/chrome_profile_locked/Default/Cookies",
        "profiles/chrome_profile_locked/SingletonLock",
        "profiles/chrome_profile_crash/Default/Cookies",
        "profiles/chrome_profile_crash/SingletonLock",
        "profiles/alice/Cookies",
    }


def test_a_worker_that_is_killed_leaves_no_half_directory(site: Site, volume) -> None:
    files = {f"runs/{number}/d{part % 50}/{part}": 1.0 for number in range(4) for part in range(2_000)}
    data = volume(files, owner=65532)
    grow_old(data, {"runs": 60.0})
    rule = {
        "name": "runs",
        "select": {"itemType": "Directory", "include": ["runs/*"]},
        "removeOlderThan": "30d",
    }
    site.cleanup_policy(
        "runs", data.claim, mode="Enforce", rules=[rule], settleTime="0s", timeout="1s", brakes={"maxPercent": 100}
    )
    first = site.run("first", "CleanupPolicy", "runs")
    assert state(first) in {"TimedOut", "Succeeded", "Failed"}, message(first)
    by_run: dict[str, int] = {}
    for name in visible(data):
        by_run[name.split("/")[1]] = by_run.get(name.split("/")[1], 0) + 1
    assert set(by_run.values()) <= {2_000}, "half of a directory is seen"
    site.patch("CleanupPolicy", "runs", {"spec": {"timeout": "5m"}})
    second = site.run("second", "CleanupPolicy", "runs")
    assert state(second) == "Succeeded", message(second)
    assert visible(data) == set()
    assert trashed(data) == []
