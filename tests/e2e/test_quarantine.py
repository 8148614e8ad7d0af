"""Quarantine and restore in pods, on a real volume: it comes back byte by byte, and nothing is overwritten."""

from __future__ import annotations

import itertools
import os
import shutil
from typing import Any

import pytest
import yaml

from tests.cluster.embedded.errors import ApiError
from tests.cluster.volumes import File, Volume
from tests.e2e.site import Site, cleanup_result, message, state

EXAMPLES = os.path.join(os.path.dirname(__file__), "..", "..", "examples")
OLD = 100.0
QUARANTINE = ".housekeeper/quarantine"


def example(name: str) -> dict[str, Any]:
    """The spec of an example."""
    with open(os.path.join(EXAMPLES, name), encoding="utf-8") as file:
        spec: dict[str, Any] = yaml.safe_load(file)["spec"]
    return spec


def exports(claim: str, **changes: object) -> dict[str, Any]:
    """The example's policy, for a claim."""
    spec = example("quarantine.yaml")
    spec["target"]["volume"]["persistentVolumeClaim"]["claimName"] = claim
    # Nearly all that these tests plant is meant to go.
    return {**spec, "settleTime": "0s", "brakes": {"maxPercent": 100}, **changes}


def snapshot(data: Volume) -> dict[str, tuple[bytes, int, int, int, int]]:
    """Of each file what it holds, mtime, mode, owner and group."""
    found = {}
    for name in data.names():
        if name.startswith(".housekeeper/"):
            continue
        path = os.path.join(data.path, name)
        stat = os.stat(path)
        with open(path, "rb") as file:
            found[name] = (file.read(), stat.st_mtime_ns, stat.st_mode, stat.st_uid, stat.st_gid)
    return found


def restored(run: dict[str, Any]) -> dict[str, Any]:
    """The counters of a restore."""
    counters: dict[str, Any] = run["status"]["result"]["restore"]
    return counters


def files() -> dict[str, float | File]:
    """Old exports of several customers, old scratch files, and young ones of both."""
    found: dict[str, float | File] = {
        f"exports/customer-{number % 4}/{number}.csv": File(OLD, size=1000 + number, mode=0o640) for number in range(40)
    }
    found |= {f"scratch/{number}": OLD for number in range(5)}
    return found | {"exports/customer-1/young.csv": 1.0, "scratch/young": 1.0}


def test_what_was_quarantined_comes_back_as_it_was(site: Site, volume) -> None:
    data = volume(files(), owner=65532)
    before = snapshot(data)
    site.create("CleanupPolicy", "exports", exports(data.claim))

    dry = site.run("dry", "CleanupPolicy", "exports")
    assert state(dry) == "Succeeded", message(dry)
    told = cleanup_result(dry)
    assert (told["removed"], told["quarantined"]) == (5, 40)
    assert "restorableUntil" not in told
    assert snapshot(data) == before
    assert not os.path.exists(os.path.join(data.path, ".housekeeper"))

    site.patch("CleanupPolicy", "exports", {"spec": {"mode": "Enforce"}})
    wet = site.run("wet", "CleanupPolicy", "exports")
    assert state(wet) == "Succeeded", message(wet)
    done = cleanup_result(wet)
    assert (done["removed"], done["quarantined"], done["purged"]) == (5, 40, 0)
    assert done["restorableUntil"] > wet["status"]["completionTime"]
    assert snapshot(data).keys() == {"exports/customer-1/young.csv", "scratch/young"}
    (quarantine,) = os.listdir(os.path.join(data.path, QUARANTINE))
    assert quarantine.startswith("wet.a1.")
    status = site.get("CleanupPolicy", "exports")["status"]
    assert (status["totals"]["removed"], status["lastRun"]["quarantined"]) == (5, 40)

    # By now a directory is gone, and of another customer somebody made a file again.
    shutil.rmtree(os.path.join(data.path, "exports", "customer-2"))
    data.add({"exports/customer-3/3.csv": 0.0})
    new = snapshot(data)["exports/customer-3/3.csv"]

    # The policy says DryRun again, as after a mishap: a restore is carried out all the same.
    site.patch("CleanupPolicy", "exports", {"spec": {"mode": "DryRun", "suspend": True}})
    looked = site.run("look", "CleanupPolicy", "exports", action="Restore", restoreOf="wet", mode="DryRun")
    assert (restored(looked)["restored"], restored(looked)["conflicts"]) == (39, 1)
    assert len(snapshot(data)) == 3

    part = site.run(
        "part", "CleanupPolicy", "exports", action="Restore", restoreOf="wet", restorePaths=["exports/customer-0/**"]
    )
    assert state(part) == "Succeeded", message(part)
    assert restored(part)["restored"] == 10

    whole = site.run("whole", "CleanupPolicy", "exports", action="Restore", restoreOf="wet")
    assert state(whole) == "PartiallySucceeded"
    assert (restored(whole)["restored"], restored(whole)["conflicts"]) == (29, 1)
    assert "exports/customer-3/3.csv: something else is there now" in message(whole)
    scratch = {f"scratch/{number}" for number in range(5)}
    after = snapshot(data)
    assert after.pop("exports/customer-3/3.csv") == new
    assert after == {
        name: was for name, was in before.items() if name not in scratch and name != "exports/customer-3/3.csv"
    }

    os.unlink(os.path.join(data.path, "exports/customer-3/3.csv"))
    rest = site.run("rest", "CleanupPolicy", "exports", action="Restore", restoreOf="wet")
    assert state(rest) == "Succeeded", message(rest)
    assert snapshot(data) == {name: was for name, was in before.items() if name not in scratch}
    assert os.listdir(os.path.join(data.path, QUARANTINE)) == []

    # Restores are on record by themselves, and are no runs of the policy.
    status = site.get("CleanupPolicy", "exports")["status"]
    assert (status["lastRun"]["name"], status["totals"]["runs"]) == ("wet", 2)


def test_what_was_promised_is_kept_and_then_purged(site: Site, volume) -> None:
    data = volume({"exports/a": OLD, "exports/b": OLD}, owner=65532)
    site.create("CleanupPolicy", "exports", exports(data.claim, mode="Enforce", quarantine={"keepFor": "1m"}))
    moved = site.run("moved", "CleanupPolicy", "exports")
    assert cleanup_result(moved)["quarantined"] == 2, message(moved)

    early = site.run("early", "CleanupPolicy", "exports")
    assert cleanup_result(early)["purged"] == 0
    assert len(os.listdir(os.path.join(data.path, QUARANTINE))) == 1

    numbers = itertools.count()

    def purged() -> dict[str, Any] | None:
        run = site.run(f"later-{next(numbers)}", "CleanupPolicy", "exports")
        return run if cleanup_result(run)["purged"] else None

    done = cleanup_result(site.wait_for(purged, 120, "run that purges"))
    assert (done["purged"], done["removed"], done["bytesPurged"]) == (2, 0, 8192)
    assert os.listdir(os.path.join(data.path, QUARANTINE)) == []
    assert site.get("CleanupPolicy", "exports")["status"]["totals"]["removed"] == 2

    late = site.run("late", "CleanupPolicy", "exports", action="Restore", restoreOf="moved")
    assert state(late) == "Failed"
    assert "there is no quarantine of moved on this volume" in message(late)


def test_a_run_that_can_be_restored_outlives_its_history(site: Site, volume) -> None:
    data = volume({"exports/a": OLD}, owner=65532)
    history = {"succeeded": 1, "failed": 1}
    site.create("CleanupPolicy", "exports", exports(data.claim, mode="Enforce", history=history))
    site.run("moved", "CleanupPolicy", "exports")
    for name in ("second", "third"):
        site.run(name, "CleanupPolicy", "exports")
    site.wait("MaintenanceRun", "second", lambda run: not run, 30, "gone")
    assert cleanup_result(site.get("MaintenanceRun", "moved"))["quarantined"] == 1


def test_projects_go_come_back_and_are_purged_as_a_whole(site: Site, volume) -> None:
    names = ("notes.txt", "src/main.c", "build/deep/out.o")
    data = volume(
        {f"projects/{one}/{name}": 400.0 for one in ("apollo", "gemini", "vega") for name in names}, owner=65532
    )
    data.add({"projects/young/notes.txt": 1.0, "projects/busy/notes.txt": 400.0, "projects/busy/editor.lck": 400.0})
    for one in ("apollo", "gemini", "vega", "busy"):
        for directory, below, inside in os.walk(os.path.join(data.path, "projects", one)):
            for name in (*below, *inside, "."):
                data.age(os.path.join(directory, name), 400.0)
    before = snapshot(data)
    spec = example("projects.yaml")
    spec["target"]["volume"]["persistentVolumeClaim"]["claimName"] = data.claim
    changes = {"mode": "Enforce", "settleTime": "0s", "quarantine": {"keepFor": "1m"}, "brakes": {"maxItems": 1}}
    site.create("CleanupPolicy", "projects", {**spec, **changes})

    site.start("held", "CleanupPolicy", "projects")
    held = site.in_state("held", "Held", "Failed", "Succeeded", timeout=90)
    assert state(held) == "Held", message(held)
    digest = cleanup_result(held)["planDigest"]
    assert snapshot(data) == before, "a held run moved something"
    with open(os.path.join(data.path, "projects/vega/src/main.c"), "rb"):
        site.patch("MaintenanceRun", "held", {"spec": {"approve": digest}})
        moved = site.ended("held")
    assert state(moved) == "Succeeded", message(moved)
    done = cleanup_result(moved)
    assert (done["removed"], done["bytesFreed"], done["quarantined"]) == (0, 0, 2)
    assert done["skipped"] == {"excluded": 1, "inUse": 1}
    assert done["bytesQuarantined"] >= 2 * len(names) * 4096
    left = {name.split("/")[1] for name in snapshot(data)}
    assert left == {"vega", "young", "busy"}

    back = site.run(
        "back", "CleanupPolicy", "projects", action="Restore", restoreOf="held", restorePaths=["projects/apollo"]
    )
    assert state(back) == "Succeeded", message(back)
    assert restored(back)["restored"] == 1
    after = snapshot(data)
    assert after == {name: was for name, was in before.items() if not name.startswith("projects/gemini/")}

    # What came back is old still. Nothing but the purge is wanted from here on.
    site.patch("CleanupPolicy", "projects", {"spec": {"settleTime": "1h"}})
    numbers = itertools.count()

    def purged() -> dict[str, Any] | None:
        run = site.run(f"later-{next(numbers)}", "CleanupPolicy", "projects")
        return run if cleanup_result(run)["purged"] else None

    last = cleanup_result(site.wait_for(purged, 120, "run that purges"))
    assert (last["purged"], last["removed"]) == (1, 0)
    assert last["bytesPurged"] >= len(names) * 4096
    assert os.listdir(os.path.join(data.path, QUARANTINE)) == []
    assert snapshot(data) == after


def test_the_example_of_a_restore_is_admitted_and_says_what_is_missing(site: Site, volume) -> None:
    data = volume({"exports/a": OLD}, owner=65532)
    site.create("CleanupPolicy", "exports", exports(data.claim, mode="Enforce"))
    site.run("moved", "CleanupPolicy", "exports")
    site.create("MaintenanceRun", "bring-exports-back", example("restore-run.yaml"))
    run = site.ended("bring-exports-back")
    assert state(run) == "Failed"
    assert "no quarantine of clp-exports-29922770" in message(run)
    assert "there is: moved" in message(run)
    with pytest.raises(ApiError, match="cannot be changed"):
        site.patch("MaintenanceRun", "bring-exports-back", {"spec": {"restoreOf": "moved"}})
