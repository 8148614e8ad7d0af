"""Out of quarantine: everything comes back as it was, and nothing is ever overwritten."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from housekeeper_api.result import as_dict
from housekeeper_api.task import TaskError
from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.restore import restorable
from housekeeper_worker.stop import Stop
from tests.unit.worker.builders import OLD, as_user, carry_out, write
from tests.unit.worker.confinement import UID
from tests.unit.worker.quarantines import (
    at_place,
    contents,
    in_quarantine,
    put_back,
    quarantine_task,
    quarantines,
)


def quarantined(volume: Path, *paths: str, run: str = "run-1") -> None:
    """Old files, each with its path as content, moved into quarantine."""
    for path in paths:
        write(volume / path, days=OLD, content=path.encode())
    result = carry_out(quarantine_task(volume, run=run))
    assert result.cleanup is not None
    assert result.cleanup.quarantined == len(paths)


def test_everything_comes_back_as_it_was(volume: Path, prefer_fallback: bool) -> None:
    write(volume / "a/b/one", days=OLD, content=b"1" * 5000)
    write(volume / "two", days=OLD)
    os.link(volume / "a/b/one", volume / "a/other")
    os.chmod(volume / "a/b/one", 0o640)
    os.chown(volume / "a/b/one", 5, 6)
    before = {path: os.stat(volume / path) for path in ("a/b/one", "a/other", "two")}
    carry_out(quarantine_task(volume))
    assert at_place(volume) == set()

    result = put_back(volume, prefer_fallback=prefer_fallback)
    assert result.outcome == "Succeeded"
    assert result.restore is not None
    assert (result.restore.restored, result.restore.conflicts, result.restore.directories_made) == (3, 0, 0)
    for path, was in before.items():
        now = os.stat(volume / path)
        for member in ("st_ino", "st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_nlink"):
            assert getattr(now, member) == getattr(was, member), (path, member)
    assert quarantines(volume) == []


def test_what_is_there_by_now_is_never_overwritten(volume: Path) -> None:
    quarantined(volume, "d/one", "d/two", "d/three", "e/f/four")
    write(volume / "d/one", content=b"new")
    os.symlink("nowhere", volume / "d/two")
    (volume / "d/three").mkdir()
    shutil.rmtree(volume / "e")
    (volume / "e").mkdir()
    os.symlink(volume.parent, volume / "e/f")
    dry, result = put_back(volume, dry=True), put_back(volume)
    assert result.outcome == "PartiallySucceeded"
    assert dry.restore is not None
    assert result.restore is not None
    assert (result.restore.restored, result.restore.conflicts) == (0, 4)
    assert (dry.restore.restored, dry.restore.conflicts) == (0, 4)
    assert "something else is there now" in result.message
    assert (volume / "d/one").read_bytes() == b"new"
    assert set(in_quarantine(volume)) == {b"d/one", b"d/two", b"d/three", b"e/f/four"}
    assert not (volume.parent / "four").exists()

    os.unlink(volume / "d/one")
    again = put_back(volume)
    assert again.restore is not None
    assert (again.restore.restored, again.restore.conflicts) == (1, 3)


def test_directories_that_are_gone_are_made_again_as_they_were(volume: Path) -> None:
    write(volume / "a/b/c/old", days=OLD)
    write(volume / "a/young")
    os.chown(volume / "a/b", 7, 8)
    os.chmod(volume / "a/b", 0o2700)
    carry_out(quarantine_task(volume))
    shutil.rmtree(volume / "a/b")
    dry = put_back(volume, dry=True)
    assert dry.restore is not None
    assert (dry.restore.restored, dry.restore.directories_made) == (1, 2)
    assert not (volume / "a/b").exists()
    result = put_back(volume)
    assert result.restore is not None
    assert (result.restore.restored, result.restore.directories_made) == (1, 2)
    stat = os.stat(volume / "a/b")
    assert (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (0o2700, 7, 8)
    assert (volume / "a/b/c/old").exists()


def test_a_worker_that_may_not_give_a_directory_away_keeps_it(open_volume: Path) -> None:
    write(open_volume / "a/old", days=OLD)
    os.chown(open_volume, UID, UID)
    os.chown(open_volume / "a", UID, UID)
    os.chmod(open_volume / "a", 0o700)
    os.chown(open_volume / "a/old", UID, UID)
    as_user(UID, lambda: as_dict(carry_out(quarantine_task(open_volume))))
    (manifest,) = open_volume.glob(".housekeeper/quarantine/*/manifest.ndjson")
    manifest.write_text(manifest.read_text().replace(f'"uid":{UID},"gid":{UID}', '"uid":7,"gid":8'))
    shutil.rmtree(open_volume / "a")
    told = as_user(UID, lambda: as_dict(put_back(open_volume)))
    assert told["outcome"] == "Succeeded"
    stat = os.stat(open_volume / "a")
    assert (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (0o700, UID, UID)


def test_another_users_file_comes_back_though_links_to_it_are_refused(open_volume: Path) -> None:
    """fs.protected_hardlinks lets nobody link a file that is not his and that he may not write."""
    write(open_volume / "d/old", days=OLD)
    os.chown(open_volume, UID, UID)
    os.chown(open_volume / "d", UID, UID)
    moved = as_user(UID, lambda: as_dict(carry_out(quarantine_task(open_volume))))
    assert moved["cleanup"]["quarantined"] == 1
    told = as_user(UID, lambda: as_dict(put_back(open_volume)))
    assert told["restore"]["restored"] == 1
    assert (open_volume / "d/old").exists()


def test_globs_say_what_comes_back(volume: Path) -> None:
    quarantined(volume, "a/one.log", "a/b/two.log", "a/b/three.txt", "c/four.log")
    result = put_back(volume, "run-1", "a/**/*.log", "c/*")
    assert result.restore is not None
    assert result.restore.restored == 3
    assert at_place(volume) == {b"a/one.log", b"a/b/two.log", b"c/four.log"}
    assert set(in_quarantine(volume)) == {b"a/b/three.txt"}
    with pytest.raises(TaskError, match="begins with a slash"):
        put_back(volume, "run-1", "/a")


def test_only_the_run_that_was_named_comes_back(volume: Path) -> None:
    quarantined(volume, "one")
    quarantined(volume, "two", run="run-2")
    put_back(volume, "run-2")
    assert at_place(volume) == {b"two"}
    with pytest.raises(CouldNotRun, match=r"no quarantine of run-2 on this volume: .* there is: run-1"):
        put_back(volume, "run-2")
    with pytest.raises(CouldNotRun, match="no quarantine of run-1"):
        put_back(volume, "run-1", namespace="other")
    put_back(volume, quarantines(volume)[0].name)
    assert at_place(volume) == {b"one", b"two"}


def test_a_second_attempt_that_finds_all_done_has_succeeded(volume: Path) -> None:
    quarantined(volume, "one")
    put_back(volume)
    result = put_back(volume, attempt=2)
    assert (result.outcome, result.message) == ("Succeeded", "restored 0 files (0 B)")


def test_of_two_files_of_one_name_the_newer_comes_back(volume: Path) -> None:
    quarantined(volume, "one")
    write(volume / "one", days=OLD, content=b"newer")
    carry_out(quarantine_task(volume), later=0.1)
    result = put_back(volume)
    assert result.restore is not None
    assert (result.restore.restored, result.restore.conflicts) == (1, 1)
    assert contents(volume) == {b"one": b"newer"}


def test_nothing_was_ever_quarantined(volume: Path) -> None:
    assert restorable(str(volume)) == []
    with pytest.raises(CouldNotRun, match="nothing was ever quarantined on this volume"):
        put_back(volume)


def test_another_users_quarantine_is_not_trusted(open_volume: Path) -> None:
    """Whoever owns it may have written anything into its manifest."""
    quarantined(open_volume, "one")
    os.chown(open_volume / ".housekeeper/quarantine", UID, UID)
    with pytest.raises(CouldNotRun, match="belongs to uid 65532"):
        put_back(open_volume)


@pytest.mark.parametrize("path", ["../outside", "/etc/outside", "a/../../outside", ".", "", "a//b"])
def test_a_forged_path_leads_nowhere(volume: Path, path: str) -> None:
    quarantined(volume, "one")
    manifest = quarantines(volume)[0] / "manifest.ndjson"
    manifest.write_text(manifest.read_text().replace('"path":"one"', f'"path":{json.dumps(path)}'))
    result = put_back(volume)
    assert result.outcome == "PartiallySucceeded"
    assert result.restore is not None
    assert (result.restore.restored, result.restore.error_count) == (0, 1)
    assert (quarantines(volume)[0] / "0/0").exists()


def test_a_restore_that_is_stopped_goes_on_later(volume: Path) -> None:
    quarantined(volume, "one", "two")
    stop = Stop()
    stop.now("Cancelled")
    assert put_back(volume, stop=stop).outcome == "Cancelled"
    assert put_back(volume).outcome == "Succeeded"
    assert at_place(volume) == {b"one", b"two"}


def test_the_list_says_until_when(volume: Path) -> None:
    quarantined(volume, "one", "two")
    quarantined(volume, "three", run="run-2")
    first, second = restorable(str(volume))
    assert (first.run, first.policy, first.contents.items, first.contents.allocated) == ("run-1", "policy", 2, 8192)
    assert first.until_ns - first.time_ns == 7 * 86400 * 10**9
    assert second.run == "run-2"


def test_the_audit_has_a_line_for_each_file(volume: Path, tmp_path: Path) -> None:
    quarantined(volume, "one", "two")
    write(volume / "two", content=b"new")
    audit = os.open(tmp_path / "audit", os.O_WRONLY | os.O_CREAT)
    put_back(volume, audit_fd=audit)
    os.close(audit)
    lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    told = {(line["event"], line["path"], line.get("skipped")) for line in lines if "path" in line}
    assert told == {("restored", "one", None), ("skipped", "two", "conflict")}
    whole = [line["event"] for line in lines if "path" not in line and line["event"] != "chain"]
    assert whole == ["start", "restore", "summary"]
