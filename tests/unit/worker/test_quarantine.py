"""Into quarantine: what a rule says is moved, with a manifest, and never removed instead."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_api.result import as_dict
from housekeeper_api.task import TaskError
from housekeeper_worker.quarantine import manifest
from housekeeper_worker.quarantine.manifest import Header, Item, Reading
from tests.unit.worker.builders import OLD, as_user, carry_out, cleanup_task, files_below, give, rule, write
from tests.unit.worker.confinement import UID
from tests.unit.worker.openers import holding
from tests.unit.worker.quarantines import (
    at_place,
    in_quarantine,
    lines_of,
    put_back,
    quarantine_task,
    quarantines,
    quarantining,
)
from tests.unit.worker.scenarios import scene
from tests.unit.worker.seccomp import LINKAT, RENAMEAT2, forbid
from tests.unit.worker.ways import Way


def test_what_is_old_is_moved_and_nothing_is_freed(volume: Path, prefer_fallback: bool) -> None:
    write(volume / "a/b/old", days=OLD, content=b"x" * 5000)
    write(volume / "a/b/young")
    inode = os.stat(volume / "a/b/old").st_ino
    result = carry_out(quarantine_task(volume), prefer_fallback=prefer_fallback)
    assert result.outcome == "Succeeded"
    assert result.cleanup is not None
    assert (result.cleanup.removed, result.cleanup.bytes_freed, result.cleanup.quarantined) == (0, 0, 1)
    assert result.cleanup.bytes_quarantined == 8192
    assert at_place(volume) == {b"a/b/young"}
    assert in_quarantine(volume) == {b"a/b/old": b"x" * 5000}
    (quarantine,) = quarantines(volume)
    assert quarantine.name.startswith("run-1.a1.")
    assert os.stat(quarantine / "0/0").st_ino == inode
    assert f"to be restored until {result.cleanup.restorable_until}" in result.message


def test_the_manifest_says_what_went_and_why(volume: Path) -> None:
    write(volume / "a/b/old", days=OLD, content=b"x" * 5000)
    os.chmod(volume / "a", 0o2700)
    os.chown(volume / "a/b", 1, 2)
    before = time.time_ns()
    carry_out(quarantine_task(volume, days=2))
    (quarantine,) = quarantines(volume)
    header, batch, *rest = lines_of(quarantine)
    assert header == {
        "schemaVersion": 1,
        "run": "run-1",
        "namespace": "default",
        "policy": "policy",
        "attempt": 1,
        "keepForSeconds": 2 * 86400,
    }
    assert batch["batch"] == 0
    assert before <= batch["timeNs"] <= time.time_ns()
    stat = os.stat(quarantine / "0/0")
    assert rest == [
        {"directory": {"path": "a"}, "mode": 0o2700, "uid": 0, "gid": 0},
        {"directory": {"path": "a/b"}, "mode": 0o755, "uid": 1, "gid": 2},
        {
            "place": "0/0",
            "path": "a/b/old",
            "rule": "old",
            "reason": "older than 30d",
            "size": 5000,
            "bytes": 8192,
            "inode": stat.st_ino,
            "mtimeNs": stat.st_mtime_ns,
        },
    ]


def test_nobody_else_may_look_in(open_volume: Path) -> None:
    os.chown(open_volume, UID, UID)
    write(open_volume / "old", days=OLD)
    os.chown(open_volume / "old", UID, UID)
    as_user(UID, lambda: as_dict(carry_out(quarantine_task(open_volume))))
    (quarantine,) = quarantines(open_volume)
    for directory in (quarantine / "0", quarantine, quarantine.parent, quarantine.parent.parent):
        stat = os.stat(directory)
        assert (stat.st_mode & 0o7777, stat.st_uid) == (0o700, UID)
    assert os.stat(quarantine / "manifest.ndjson").st_mode & 0o777 == 0o600


def test_a_dry_run_says_so_and_makes_nothing(volume: Path) -> None:
    for number in range(3):
        write(volume / f"{number}", days=OLD, content=b"x" * 100)
    os.link(volume / "0", volume / "other")
    result = carry_out(quarantine_task(volume, mode="DryRun"))
    assert result.cleanup is not None
    assert (result.cleanup.removed, result.cleanup.quarantined, result.cleanup.restorable_until) == (0, 4, None)
    assert result.cleanup.bytes_quarantined == 3 * 4096
    assert "would quarantine 4" in result.message
    assert os.listdir(volume) == [name for name in os.listdir(volume) if name != ".housekeeper"]


def test_rules_that_remove_and_rules_that_quarantine_work_side_by_side(volume: Path, tmp_path: Path) -> None:
    for number in range(30):
        write(volume / f"d{number % 3}/{number}.{'tmp' if number % 2 else 'log'}", days=OLD)
    rules = rule("tmp", ["**/*.tmp"]), quarantining(rule("log", ["**/*.log"]))
    audit = os.open(tmp_path / "audit", os.O_WRONLY | os.O_CREAT)
    result = carry_out(quarantine_task(volume, *rules), audit_fd=audit)
    assert result.cleanup is not None
    assert (result.cleanup.removed, result.cleanup.quarantined) == (15, 15)
    assert {path.rpartition(b".")[2] for path in in_quarantine(volume)} == {b"log"}
    lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    told = {event: sum(line["event"] == event for line in lines) for event in ("removed", "quarantined")}
    assert told == {"removed": 15, "quarantined": 15}


def test_odd_and_long_names_are_in_the_manifest_alone(volume: Path) -> None:
    names = [b"\xff\xfe", b"new\nline", b'quote"', b"n" * 255, "ü".encode() * 127, b"0", b"manifest.ndjson"]
    for name in names:
        write(os.path.join(os.fsencode(volume), b"d", name), days=OLD, content=name)
    carry_out(quarantine_task(volume))
    assert in_quarantine(volume) == {b"d/" + name: name for name in names}
    assert put_back(volume).outcome == "Succeeded"
    assert at_place(volume) == {b"d/" + name for name in names}


def test_all_names_of_a_file_go_and_its_bytes_count_once(volume: Path) -> None:
    write(volume / "a", days=OLD, content=b"x" * 5000)
    for name in "bcd":
        os.link(volume / "a", volume / name)
    result = carry_out(quarantine_task(volume))
    assert result.cleanup is not None
    assert (result.cleanup.quarantined, result.cleanup.skipped) == (4, {})
    assert result.cleanup.bytes_quarantined == 8192


def test_a_thousand_and_one_files_take_directories_of_five_hundred(volume: Path) -> None:
    for number in range(1001):
        write(volume / f"d/{number}", days=OLD)
    result = carry_out(quarantine_task(volume))
    assert result.cleanup is not None
    assert result.cleanup.quarantined == 1001
    (quarantine,) = quarantines(volume)
    assert [len(list((quarantine / f"{batch}").iterdir())) for batch in range(3)] == [500, 500, 1]


def test_our_own_directory_is_no_rules_business(volume: Path) -> None:
    write(volume / "old", days=OLD)
    carry_out(quarantine_task(volume))
    before = files_below(volume)
    result = carry_out(cleanup_task(volume), later=1000)
    assert result.cleanup is not None
    assert (result.cleanup.scanned, files_below(volume)) == (0, before)


def test_a_file_in_use_stays(volume: Path) -> None:
    write(volume / "old", days=OLD)
    with holding(volume / "old", "reader"):
        result = carry_out(quarantine_task(volume))
    assert result.cleanup is not None
    assert (result.cleanup.skipped, at_place(volume)) == ({"inUse": 1}, {b"old"})


def test_a_task_without_a_time_to_keep_is_refused(volume: Path) -> None:
    write(volume / "old", days=OLD)
    with pytest.raises(TaskError, match="quarantineSeconds"):
        carry_out(cleanup_task(volume, quarantining()))
    assert at_place(volume) == {b"old"}


@pytest.mark.parametrize("kind", ["another user's", "a link", "a file"])
def test_a_directory_of_ours_that_is_not_ours_is_not_used(volume: Path, kind: str) -> None:
    write(volume / "old", days=OLD)
    own, elsewhere = volume / ".housekeeper", volume.parent / "elsewhere"
    elsewhere.mkdir()
    match kind:
        case "another user's":
            own.mkdir()
            os.chown(own, 1234, 1234)
        case "a link":
            own.symlink_to(elsewhere)
        case "a file":
            own.write_text("")
    result = carry_out(quarantine_task(volume))
    assert result.outcome == "PartiallySucceeded"
    assert result.cleanup is not None
    assert (result.cleanup.skipped, result.cleanup.removed) == ({"unmovable": 1}, 0)
    assert (volume / "old").exists()
    assert list(elsewhere.iterdir()) == []
    if kind == "another user's":
        assert "belongs to uid 1234" in result.message


def test_where_ours_may_not_be_made_the_message_says_what_to_do(open_volume: Path) -> None:
    write(open_volume / "d/old", days=OLD)
    os.chown(open_volume / "d", UID, UID)
    told = as_user(UID, lambda: as_dict(carry_out(quarantine_task(open_volume))))
    assert told["cleanup"]["skipped"] == {"unmovable": 1}
    assert "make it once by hand, mode 0700, owned by the worker's uid 65532" in told["message"]
    assert (open_volume / "d/old").exists()


def test_on_a_full_volume_what_cannot_be_moved_stays(open_volume: Path, uid: int) -> None:
    told = scene("full_quarantine", open_volume.parent, way=Way(uid))
    assert told["result"]["outcome"] == "PartiallySucceeded"
    assert told["result"]["cleanup"]["skipped"]["noSpace"] == told["planned"] - told["result"]["cleanup"]["quarantined"]
    assert told["result"]["cleanup"]["removed"] == 0
    assert told["whole"]
    assert told["again"]["cleanup"]["quarantined"] == told["result"]["cleanup"]["skipped"]["noSpace"]
    assert told["restored"]["restore"]["restored"] == told["planned"]


@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.EPERM])
@pytest.mark.parametrize(
    "forbidden", [(RENAMEAT2,), (LINKAT,), (RENAMEAT2, LINKAT)], ids=["renameat2", "linkat", "both"]
)
def test_without_some_system_calls(open_volume: Path, forbidden: tuple[int, ...], answer: int, uid: int) -> None:
    """Moving needs neither; putting back needs one of both, and refuses without: plain rename might overwrite."""
    for number in range(3):
        write(open_volume / f"d/{number}", days=OLD)
    give(open_volume, uid)

    def act() -> Any:
        forbid(*forbidden, answer=answer)
        done = carry_out(quarantine_task(open_volume))
        return as_dict(done), as_dict(put_back(open_volume))

    done, back = as_user(uid, act)
    assert done["cleanup"]["quarantined"] == 3
    if len(forbidden) == 2:
        assert (back["restore"]["restored"], back["restore"]["errorCount"], len(in_quarantine(open_volume))) == (
            0,
            3,
            3,
        )
    else:
        assert back["restore"]["restored"] == 3
        assert at_place(open_volume) == {b"d/0", b"d/1", b"d/2"}


def _is_name(name: bytes) -> bool:
    return b"/" not in name and b"\0" not in name and name not in {b".", b".."}


@given(st.lists(st.binary(min_size=1, max_size=255).filter(_is_name), min_size=1, max_size=5))
def test_any_path_comes_out_of_a_manifest_as_it_went_in(names: list[bytes]) -> None:
    path = b"/".join(names)
    fd = os.memfd_create("manifest")
    try:
        os.write(fd, manifest.header_line(Header("run", "", "policy", 1, 60)))
        text = manifest.batch_line(7, 5) + manifest.item_line(7, 3, path, '"size":1,"bytes":2,"inode":3')
        os.write(fd, text.encode())
        os.write(fd, b'{"batch":8,"torn')
        assert manifest.last_time(fd) == 5
        assert list(Reading(fd)) == [Item((b"7", b"3"), path, 3, 1, 2)]
    finally:
        os.close(fd)
