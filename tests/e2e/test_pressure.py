"""Pressure on small volumes of their own: nothing goes before they are full, and then the oldest, as far as needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import yaml

from tests.cluster.volumes import File
from tests.e2e.site import Site, cleanup_result, condition_of, message, state

EXAMPLE = os.path.join(os.path.dirname(__file__), "..", "..", "examples", "pressure.yaml")
MIB = 1 << 20


def example(claim: str, **changes: object) -> dict[str, Any]:
    """The spec of the example, for a claim."""
    with open(EXAMPLE, encoding="utf-8") as file:
        spec = yaml.safe_load(file)["spec"]
    spec["target"]["volume"]["persistentVolumeClaim"]["claimName"] = claim
    return {**spec, "schedule": "0 3 29 2 *", "settleTime": "0s", **changes}


def cached(count: int, first: int = 1) -> dict[str, File]:
    """So many files of a MiB, each a day older than the one before."""
    return {f"cache/{number % 3}/{number:02}": File(number + 2, MIB) for number in range(first, first + count)}


def test_a_cache_may_fill_its_volume_and_no_more(site: Site, volume, mounted: Callable[[str], str]) -> None:
    files = cached(16)
    data = volume(files | {"cache/tiny": 90.0, "other": File(90, MIB)}, path=mounted("size=20M"))
    site.create("CleanupPolicy", "cache", example(data.claim, mode="Enforce"))

    # 17 of 20 MiB and some KiB: the tiny file makes it more than 85 %.
    dry = site.run("dry", "CleanupPolicy", "cache", mode="DryRun")
    assert state(dry) == "Succeeded", message(dry)
    assert "and without these files" in message(dry)
    assert len(data.names()) == 18

    run = site.run("wet", "CleanupPolicy", "cache")
    assert state(run) == "Succeeded", message(run)
    done = cleanup_result(run)
    gone = {f"cache/{number % 3}/{number:02}" for number in (14, 15, 16)}
    assert data.names() == {*files, "cache/tiny", "other"} - gone
    assert (done["matched"], done["removed"], done["skipped"]) == (16, 3, {"spared": 13})
    assert cleanup_result(dry)["removed"] == 3

    again = site.run("again", "CleanupPolicy", "cache")
    assert cleanup_result(again)["removed"] == 0
    assert "not above pressure.highPercent 85" in message(again)

    # What is in use stays, and what is younger goes in its place.
    data.add(cached(4, 20))
    with open(os.path.join(data.path, "cache/2/23"), "rb"):
        busy = site.run("busy", "CleanupPolicy", "cache")
    assert state(busy) == "Succeeded", message(busy)
    assert cleanup_result(busy)["skipped"]["inUse"] == 1
    assert {"cache/2/23"} == data.names() & {f"cache/{number % 3}/{number}" for number in range(20, 24)}


def test_a_claim_is_measured_against_its_capacity(site: Site, volume) -> None:
    """The claim says 1Gi, whatever the file system below has."""
    data = volume(cached(40), owner=65532)
    rules = [{"name": "old", "select": {"include": ["**"]}, "removeOlderThan": "1d"}]
    site.cleanup_policy(
        "claim",
        data.claim,
        mode="Enforce",
        rules=rules,
        pressure={"highPercent": 3, "lowPercent": 1, "of": "Claim"},
    )
    run = site.run("claim", "CleanupPolicy", "claim")
    assert state(run) == "Succeeded", message(run)
    # 1 % of 1 GiB is ten files, and the directories that they are in.
    assert data.names() == set(cached(10))
    assert "the claim was 3.9 % full and is 0.9 % full" in message(run)
    assert cleanup_result(run)["skipped"] == {"spared": 10}


def test_a_volume_that_keeps_no_access_times_is_refused(site: Site, volume, mounted: Callable[[str], str]) -> None:
    data = volume(cached(2), path=mounted("size=20M,noatime"))
    site.create("CleanupPolicy", "cache", example(data.claim, mode="Enforce", retry={"attempts": 1}))
    run = site.run("cache", "CleanupPolicy", "cache")
    assert state(run) == "Failed"
    assert "mounted noatime" in message(run)
    assert len(data.names()) == 2


def test_a_file_that_is_too_small_is_not_selected(site: Site, volume) -> None:
    """An interrupted dump is not the one that `last` keeps."""
    data = volume({"a.dump": 3, "b.dump": 2, "c.dump": File(1, 0)}, owner=65532)
    rule = {"name": "dumps", "select": {"include": ["*.dump"], "minSize": "1"}, "keep": {"last": 1}}
    site.cleanup_policy("dumps", data.claim, mode="Enforce", rules=[rule])
    run = site.run("dumps", "CleanupPolicy", "dumps")
    assert state(run) == "Succeeded", message(run)
    assert data.names() == {"b.dump", "c.dump"}
    assert (cleanup_result(run)["scanned"], cleanup_result(run)["matched"]) == (3, 2)


def test_what_is_odd_is_noted_on_the_run(site: Site, volume) -> None:
    data = volume({"tomorrow": -1, "old": 40}, owner=65532)
    site.cleanup_policy("odd", data.claim)
    run = site.run("odd", "CleanupPolicy", "odd")
    assert "one file stays and does not count: tomorrow: its time lies in the future" in cleanup_result(run)["notes"]
    assert condition_of(run, "Succeeded")["status"] == "True"
