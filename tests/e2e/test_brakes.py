"""Each brake in a pod: nothing is removed, and the resource says which of them tripped."""

from __future__ import annotations

import os

import yaml

from tests.e2e.site import Site, cleanup_result, message, state

EXAMPLE = os.path.join(os.path.dirname(__file__), "..", "..", "examples", "dumps-with-brakes.yaml")

OLD, YOUNG = 60, 1


def test_every_brake_that_trips_is_named_and_nothing_is_removed(site: Site, volume) -> None:
    files = {f"{number}.log": OLD for number in range(9)} | {"new.log": YOUNG}
    data = volume(files, owner=65532)
    brakes = {"maxPercent": 50, "maxItems": 5, "maxBytes": "4Ki"}
    site.cleanup_policy("logs", data.claim, brakes=brakes)
    run = site.run("braked", "CleanupPolicy", "logs")
    assert "90.0 % is more than brakes.maxPercent 50" in message(run)
    assert "9 files are more than brakes.maxItems 5" in message(run)
    assert "is more than brakes.maxBytes 4.0 KiB" in message(run)
    done = cleanup_result(run)
    assert (done["removed"], done["planned"], done["skipped"]) == (0, 9, {"held": 9})
    assert done["planDigest"].startswith("sha256:")
    assert data.names() == set(files)


def test_with_fail_the_run_has_failed_and_nothing_is_stored(site: Site, volume) -> None:
    data = volume({f"{number}.log": OLD for number in range(3)}, owner=65532)
    site.cleanup_policy("logs", data.claim, mode="Enforce", brakes={"maxPercent": 100, "maxItems": 2, "onTrip": "Fail"})
    run = site.run("failing", "CleanupPolicy", "logs")
    assert state(run) == "Failed"
    assert "3 files are more than brakes.maxItems 2" in message(run)
    assert data.names() == {"0.log", "1.log", "2.log"}


def test_without_the_marker_nothing_is_looked_at(site: Site, volume) -> None:
    data = volume({"old.log": OLD}, owner=65532)
    target = {"volume": {"persistentVolumeClaim": {"claimName": data.claim}, "expectMarker": ".volume-id"}}
    site.cleanup_policy("logs", data.claim, mode="Enforce", target=target)
    run = site.run("unmarked", "CleanupPolicy", "logs")
    assert state(run) == "Failed"
    assert run["status"]["attempts"][0]["reason"] == "CouldNotRun"
    assert "expectMarker: .volume-id is not there" in message(run)
    assert data.names() == {"old.log"}


def test_the_marker_lets_it_go_and_stays(site: Site, volume) -> None:
    data = volume({"old.log": OLD, ".volume-id": OLD}, owner=65532)
    target = {"volume": {"persistentVolumeClaim": {"claimName": data.claim}, "expectMarker": ".volume-id"}}
    site.cleanup_policy("logs", data.claim, mode="Enforce", target=target)
    run = site.run("marked", "CleanupPolicy", "logs")
    assert state(run) == "Succeeded", message(run)
    assert data.names() == {".volume-id"}


def test_the_example_removes_a_usual_amount_and_keeps_its_marker(site: Site, volume) -> None:
    files = {f"new{number}.dump": YOUNG for number in range(9)} | {"old.dump": OLD, ".volume-id": OLD}
    data = volume(files, owner=65532)
    with open(EXAMPLE, encoding="utf-8") as file:
        spec = yaml.safe_load(file)["spec"]
    spec["target"]["volume"]["persistentVolumeClaim"]["claimName"] = data.claim
    site.create("CleanupPolicy", "dumps", {**spec, "mode": "Enforce", "settleTime": "0s"})
    run = site.run("usual", "CleanupPolicy", "dumps")
    assert state(run) == "Succeeded", message(run)
    assert data.names() == set(files) - {"old.dump"}
