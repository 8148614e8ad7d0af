"""A policy on a real volume: dry run, enforce, and what must never happen."""

from __future__ import annotations

import os

from tests.e2e.site import Site, cleanup_result, message, state

DAY = 86_400


def many_files(count: int) -> dict[str, int]:
    """Relative paths and ages in days: half of them are older than 30 days, in 50 directories."""
    return {f"d{number % 50:02}/f{number:05}.log": (60 if number % 2 else 3) for number in range(count)}


def test_enforce_removes_exactly_what_the_dry_run_said(site: Site, volume) -> None:
    files = many_files(5_000)
    data = volume(files, owner=65532)
    site.cleanup_policy("logs", data.claim, mode="Enforce")

    dry = site.run("dry", "CleanupPolicy", "logs", mode="DryRun")
    assert state(dry) == "Succeeded", message(dry)
    assert data.names() == set(files), "a dry run removed something"
    said = cleanup_result(dry)
    assert (said["scanned"], said["matched"], said["removed"]) == (5_000, 5_000, 2_500)

    wet = site.run("wet", "CleanupPolicy", "logs")
    assert state(wet) == "Succeeded", message(wet)
    done = cleanup_result(wet)
    assert data.names() == {path for path, age in files.items() if age == 3}
    assert {key: done[key] for key in ("scanned", "matched", "removed", "bytesFreed")} == {
        key: said[key] for key in ("scanned", "matched", "removed", "bytesFreed")
    }
    policy = site.get("CleanupPolicy", "logs")["status"]
    assert policy["totals"] == {"runs": 2, "failures": 0, "removed": 2_500, "bytesFreed": done["bytesFreed"]}
    assert policy["lastRun"]["name"] == "wet"
    assert policy["lastRun"]["removed"] == 2_500


def test_a_dry_run_mounts_the_volume_read_only(site: Site, volume) -> None:
    data = volume({"a.log": 60}, owner=65532)
    site.cleanup_policy("logs", data.claim)
    site.run("dry", "CleanupPolicy", "logs")
    (pod,) = site.list("Pod", labelSelector="housekeeper.dev/run=dry")
    (mount,) = [m for m in pod["spec"]["containers"][0]["volumeMounts"] if m["name"] == "target"]
    assert mount["readOnly"] is True
    assert data.names() == {"a.log"}


def test_a_run_is_never_less_dry_than_its_policy(site: Site, volume) -> None:
    data = volume({"a.log": 60}, owner=65532)
    site.cleanup_policy("logs", data.claim, mode="DryRun")
    run = site.run("wet", "CleanupPolicy", "logs", mode="Enforce")
    assert state(run) == "Failed"
    assert "never less dry" in message(run)
    assert data.names() == {"a.log"}


def test_a_tripped_brake_removes_nothing_and_says_so(site: Site, volume) -> None:
    data = volume({f"old{n}.log": 60 for n in range(9)} | {"new.log": 1}, owner=65532)
    site.cleanup_policy("logs", data.claim, mode="Enforce", brakes={"maxPercent": 50})
    site.start("braked", "CleanupPolicy", "logs")
    run = site.in_state("braked", "Held", "Failed", "Succeeded", timeout=90)
    assert state(run) == "Held"
    assert "brake" in message(run).lower()
    assert "90" in message(run)
    assert len([name for name in data.names() if name.endswith(".log")]) == 10
    assert run["status"]["attempts"][0]["reason"] == "Held"


def test_a_brake_that_fails_the_run_is_not_tried_again_and_leaves_nothing_to_approve(site: Site, volume) -> None:
    data = volume({f"old{n}.log": 60 for n in range(9)} | {"new.log": 1}, owner=65532)
    retry = {"attempts": 3, "backoff": "1s", "maxBackoff": "1s"}
    brakes = {"maxPercent": 50, "onTrip": "Fail"}
    site.cleanup_policy("logs", data.claim, mode="Enforce", brakes=brakes, retry=retry)
    run = site.run("braked", "CleanupPolicy", "logs")
    assert state(run) == "Failed"
    assert len(run["status"]["attempts"]) == 1
    assert run["status"]["attempts"][0]["reason"] == "Held"
    assert len(data.names()) == 10


def test_files_of_another_uid_are_reported_with_the_uid_and_the_field(site: Site, volume) -> None:
    data = volume({"logs/a.log": 60, "logs/b.log": 1}, owner=4711)
    site.cleanup_policy("logs", data.claim, mode="Enforce")
    run = site.run("foreign", "CleanupPolicy", "logs")
    assert state(run) in {"PartiallySucceeded", "Failed"}
    said = message(run) + " ".join(cleanup_result(run).get("errors", []))
    assert "4711" in said
    assert "spec.pod.securityContext.runAsUser" in said
    assert data.names() == {"logs/a.log", "logs/b.log"}

    site.patch("CleanupPolicy", "logs", {"spec": {"pod": {"securityContext": {"runAsUser": 4711}}}})
    run = site.run("owner", "CleanupPolicy", "logs")
    assert state(run) == "Succeeded", message(run)
    assert data.names() == {"logs/b.log"}


def test_a_path_that_does_not_exist_is_named(site: Site, volume) -> None:
    data = volume({"a.log": 60}, owner=65532)
    site.cleanup_policy("logs", data.claim, mode="Enforce", path="no/such/place")
    run = site.run("lost", "CleanupPolicy", "logs")
    assert state(run) == "Failed"
    assert "no/such/place" in message(run)
    assert data.names() == {"a.log"}


def test_a_symlink_in_place_of_a_directory_leads_nowhere(site: Site, volume) -> None:
    outside = volume({"precious.log": 60}, owner=65532)
    data = volume({"in/a.log": 60}, owner=65532)
    os.symlink(outside.path, os.path.join(data.path, "escape"))
    os.symlink("../../../../../../../etc", os.path.join(data.path, "etc"))
    site.cleanup_policy("logs", data.claim, mode="Enforce")
    run = site.run("link", "CleanupPolicy", "logs")
    assert state(run) == "Succeeded", message(run)
    assert outside.names() == {"precious.log"}
    assert "in/a.log" not in data.names()
    assert os.path.islink(os.path.join(data.path, "escape"))

    site.cleanup_policy("through", data.claim, mode="Enforce", path="escape")
    run = site.run("through-link", "CleanupPolicy", "through")
    assert state(run) == "Failed"
    assert "escape" in message(run)
    assert outside.names() == {"precious.log"}


def test_file_names_of_any_bytes_are_removed_and_reported(site: Site, volume) -> None:
    data = volume({"plain.log": 1}, owner=65532)
    odd = [b"not-utf8-\xff\xfe.log", b"with\nnewline.log", b"x" * 251 + b".log", b"-rf *.log", b'quote"\\.log']
    for name in odd:
        path = os.path.join(os.fsencode(data.path), name)
        with open(path, "wb") as file:
            file.write(b"x" * 100)
        os.chown(path, 65532, 65532)
        data.age(path, 60)
    site.cleanup_policy("logs", data.claim, mode="Enforce", settleTime="0s")
    run = site.run("odd", "CleanupPolicy", "logs")
    assert state(run) == "Succeeded", message(run)
    assert cleanup_result(run)["removed"] == len(odd)
    assert os.listdir(os.fsencode(data.path)) == [b"plain.log"]


def test_what_changed_a_moment_ago_is_left_alone(site: Site, volume) -> None:
    data = volume({"settled.log": 60, "fresh.log": 60}, owner=65532)
    os.chmod(os.path.join(data.path, "fresh.log"), 0o600)  # its ctime is now
    site.cleanup_policy("logs", data.claim, mode="Enforce", settleTime="10m")
    run = site.run("settle", "CleanupPolicy", "logs")
    # Every file of this test was made a moment ago, and its ctime cannot be set.
    assert cleanup_result(run)["removed"] == 0
    assert sum(cleanup_result(run)["skipped"].values()) == 2
    assert data.names() == {"settled.log", "fresh.log"}


def test_a_file_that_a_process_on_the_node_has_open_stays(site: Site, volume) -> None:
    data = volume({"held.log": 60, "free.log": 60, "marked/old.log": 60, "marked/.nocleanup": 60}, owner=65532)
    site.cleanup_policy("logs", data.claim, mode="Enforce", openFiles="Strict", brakes={"maxPercent": 100})
    with open(os.path.join(data.path, "held.log"), "rb"):
        dry = cleanup_result(site.run("dry", "CleanupPolicy", "logs", mode="DryRun"))
        run = site.run("held", "CleanupPolicy", "logs")
    assert (dry["removed"], dry["openFiles"]) == (1, {"notOpen": 1, "open": 1})
    assert state(run) == "Succeeded", message(run)
    done = cleanup_result(run)
    assert (done["removed"], done["skipped"], done["openFiles"]) == (
        1,
        {"inUse": 1, "marked": 1},
        {"notOpen": 1, "open": 1},
    )
    assert data.names() == {"held.log", "marked/old.log", "marked/.nocleanup"}


def test_exclude_wins_and_rules_take_the_first_match(site: Site, volume) -> None:
    data = volume({"a/x.tmp": 40, "a/keep/x.tmp": 40, "b/x.log": 40, "b/y.log": 80, "c/none.bin": 400}, owner=65532)
    site.cleanup_policy(
        "mixed",
        data.claim,
        mode="Enforce",
        settleTime="0s",
        rules=[
            {"name": "tmp", "select": {"include": ["**/*.tmp"], "exclude": ["**/keep/**"]}, "removeOlderThan": "30d"},
            {"name": "logs", "select": {"include": ["**/*.log"]}, "removeOlderThan": "60d"},
        ],
    )
    run = site.run("mixed", "CleanupPolicy", "mixed")
    assert state(run) == "Succeeded", message(run)
    assert data.names() == {"a/keep/x.tmp", "b/x.log", "c/none.bin"}
