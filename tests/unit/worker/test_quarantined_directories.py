"""Directories into quarantine, each by one rename and as a whole; nothing that somebody uses or that changed."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from housekeeper_api.result import as_dict
from housekeeper_api.task import Keep
from housekeeper_worker.quarantine import acting
from housekeeper_worker.quarantine.moving import Moving
from housekeeper_worker.volume.acts import Going
from tests.unit.worker.builders import (
    OLD,
    age,
    as_user,
    carry_out,
    counters,
    directories,
    files_below,
    item,
    rule,
    users_files,
    write,
)
from tests.unit.worker.confinement import UID
from tests.unit.worker.openers import holding
from tests.unit.worker.quarantines import (
    lines_of,
    put_back,
    quarantine_task,
    quarantined_directories,
    quarantines,
    quarantining,
)
from tests.unit.worker.scenarios import scene
from tests.unit.worker.seccomp import RENAMEAT2, forbid
from tests.unit.worker.test_directories import left
from tests.unit.worker.test_trash import CHANGES, tick

RULE = quarantining(directories())


@pytest.fixture(params=[[], ["fallback"]], ids=["openat2", "component-wise"])
def arguments(request: pytest.FixtureRequest) -> list[str]:
    """Both ways to open what is below a root, in a scene."""
    return list(request.param)


@pytest.mark.parametrize("uid", [0, UID], ids=["root", "unprivileged"])
def test_a_directory_goes_as_a_whole_and_nothing_is_freed(open_volume: Path, prefer_fallback: bool, uid: int) -> None:
    item(open_volume / "runs/old", "a", "deep/b", "deep/er/c")
    item(open_volume / "runs/young", "a", days=1)
    for path in (open_volume, *open_volume.rglob("*")):
        os.chown(path, uid, uid)
    inode = (open_volume / "runs/old").stat().st_ino
    allocated = sum(path.stat().st_blocks * 512 for path in (open_volume / "runs/old").rglob("*"))
    allocated += (open_volume / "runs/old").stat().st_blocks * 512
    one = quarantining(directories(["runs/*"]))

    def act() -> list[Any]:
        return [
            as_dict(carry_out(quarantine_task(open_volume, one, mode=mode), prefer_fallback=prefer_fallback))
            for mode in ("DryRun", "Enforce")
        ]

    dry, done = as_user(uid, act)
    for told in (dry["cleanup"], done["cleanup"]):
        assert (told["matched"], told["removed"], told["bytesFreed"]) == (2, 0, 0)
        assert (told["quarantined"], told["bytesQuarantined"]) == (1, allocated)
        assert (told["skipped"], told["openFiles"]) == ({}, {"notOpen": 1})
    assert "would quarantine 1 " in dry["message"]
    assert f"to be restored until {done['cleanup']['restorableUntil']}" in done["message"]
    assert users_files(open_volume) == {b"runs/young/a"}
    assert quarantined_directories(open_volume) == {"runs/old": {b"a", b"deep/b", b"deep/er/c"}}
    (quarantine,) = quarantines(open_volume)
    assert os.stat(quarantine / "0/0").st_ino == inode
    _, _, above, line = lines_of(quarantine)
    assert above["directory"] == {"path": "runs"}
    assert (line["path"], line["itemType"], line["bytes"], line["inode"]) == (
        "runs/old",
        "Directory",
        allocated,
        inode,
    )
    assert not (open_volume / ".housekeeper/trash").exists()


def test_rules_of_all_kinds_work_side_by_side(volume: Path, tmp_path: Path) -> None:
    for number in range(5):
        item(volume / f"keep/{number}", "a", "b")
        item(volume / f"away/{number}", "a", "b")
        item(volume / "files", *(f"{name}-{number}" for name in ("keep", "away")))
    rules = (
        quarantining(directories(["keep/*"])),
        directories(["away/*"]),
        quarantining(rule("files", ["files/keep-*"])),
        rule("others", ["files/*"]),
    )
    audit = os.open(tmp_path / "audit", os.O_WRONLY | os.O_CREAT)
    done = counters(carry_out(quarantine_task(volume, *rules), audit_fd=audit))
    os.close(audit)
    assert (done.quarantined, done.removed, done.skipped) == (10, 10, {})
    assert users_files(volume) == set()
    assert set(quarantined_directories(volume)) == {f"keep/{number}" for number in range(5)}
    lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    told = {event: sum(line["event"] == event for line in lines) for event in ("removed", "quarantined")}
    assert told == {"removed": 10, "quarantined": 10}
    back = put_back(volume)
    assert back.restore is not None
    assert back.restore.restored == 10
    assert "restored 10 items" in back.message


def test_a_file_with_names_in_several_directories_counts_once(volume: Path) -> None:
    """Backups that link what did not change."""
    item(volume / "one", "a", "same")
    item(volume / "two", "a")
    os.link(volume / "one/same", volume / "two/same")
    age(volume, OLD)
    every = {(stat.st_dev, stat.st_ino): stat.st_blocks * 512 for stat in map(os.stat, volume.rglob("*"))}
    for mode in ("DryRun", "Enforce"):
        done = counters(carry_out(quarantine_task(volume, RULE, mode=mode)))
        assert (done.quarantined, done.bytes_quarantined) == (2, sum(every.values()))


def test_what_files_left_for_the_quarantine_is_no_empty_directory(volume: Path) -> None:
    item(volume / "runs/only", "a")
    one = dataclasses.replace(quarantining(directories(["runs/*"])), remove_empty_directories="EmptiedByThisRun")
    done = counters(carry_out(quarantine_task(volume, one)))
    assert (done.quarantined, done.removed_directories) == (1, 0)
    assert left(volume) == {"runs"}


def test_keep_rules_count_directories_as_items(volume: Path) -> None:
    for number in range(6):
        item(volume / f"backup-{number}", "a", days=number + 1)
    one = quarantining(directories(["backup-*"], older=None, keep=Keep(last=2)))
    assert counters(carry_out(quarantine_task(volume, one))).quarantined == 4
    assert left(volume) == {"backup-0", "backup-1"}


class _Interfered(Moving):
    """Quarantine in which something happens after the plan was made, or right after a rename."""

    before: Callable[[], object] = staticmethod(lambda: None)
    after: Callable[[], object] = staticmethod(lambda: None)

    def prepare(self, files: list[Going]) -> None:
        type(self).before()
        super().prepare(files)

    def take_directory(self, at: int, directory: bytes, name: bytes, inode: int) -> None:
        super().take_directory(at, directory, name, inode)
        type(self).after()


@pytest.fixture
def interfere(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], None]:
    """Let something happen `before` the batch of a plan is begun, or `after` each rename."""

    def set_up(when: str, act: Callable[[], object]) -> None:
        monkeypatch.setattr(_Interfered, when, staticmethod(act))
        monkeypatch.setattr(acting, "Moving", _Interfered)

    return set_up


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_since_the_plan_stays(
    volume: Path, what: str, interfere: Callable[[str, Callable[[], object]], None]
) -> None:
    skipped, change = CHANGES[what]
    item(volume / "d", "a", "deep/b")
    changed: set[bytes] = set()

    def act() -> None:
        tick(volume)
        change(volume / "d")
        changed.update(users_files(volume))

    interfere("before", act)
    done = counters(carry_out(quarantine_task(volume, RULE)))
    assert (done.quarantined, done.removed, done.skipped, done.restorable_until) == (0, 0, skipped, None)
    assert users_files(volume) == changed
    assert quarantined_directories(volume) == {}


@pytest.mark.parametrize("how", ["reader", "writer", "lease"])
def test_an_open_file_inside_keeps_the_whole(volume: Path, how: str) -> None:
    item(volume / "free", "a")
    item(volume / "kept", "a", "deep/b")
    with holding(volume / "kept/deep/b", how, namespaces=True):
        done = counters(carry_out(quarantine_task(volume, RULE)))
    assert (done.quarantined, done.skipped, done.open_files) == (1, {"inUse": 1}, {"notOpen": 1, "open": 1})
    assert files_below(volume / "kept") == {b"a", b"deep/b"}


def test_a_file_that_is_opened_right_after_the_rename_brings_the_directory_back(
    volume: Path, interfere: Callable[[str, Callable[[], object]], None]
) -> None:
    item(volume / "d", "a", "deep/b")
    held: list[int] = []

    def opened() -> None:
        held.append(os.open(quarantines(volume)[0] / "0/0/deep/b", os.O_RDONLY))

    interfere("after", opened)
    done = counters(carry_out(quarantine_task(volume, RULE)))
    os.close(held[0])
    assert (done.quarantined, done.skipped) == (0, {"inUse": 1})
    assert files_below(volume / "d") == {b"a", b"deep/b"}


def test_what_cannot_be_put_back_at_once_is_in_quarantine_and_told(
    volume: Path, interfere: Callable[[str, Callable[[], object]], None]
) -> None:
    item(volume / "d", "a")

    def changed() -> None:
        write(quarantines(volume)[0] / "0/0/new")
        write(volume / "d/other")

    interfere("after", changed)
    result = carry_out(quarantine_task(volume, RULE))
    done = counters(result)
    assert (result.outcome, done.quarantined, done.error_count) == ("PartiallySucceeded", 1, 1)
    assert "d: somebody used it while it went into quarantine" in done.errors[0]
    assert quarantined_directories(volume) == {"d": {b"a", b"new"}}
    assert put_back(volume).outcome == "PartiallySucceeded"  # nothing is overwritten
    os.rename(volume / "d", volume / "moved")
    assert put_back(volume).outcome == "Succeeded"
    assert files_below(volume / "d") == {b"a", b"new"}


@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.EPERM])
@pytest.mark.parametrize("there", [None, "a file", "an empty directory", "a directory", "a link"])
def test_without_renameat2_it_goes_and_comes_back_and_overwrites_nothing(
    volume: Path, answer: int, there: str | None
) -> None:
    item(volume / "d", "a", "deep/b")

    def act() -> Any:
        forbid(RENAMEAT2, answer=answer)
        done = carry_out(quarantine_task(volume, RULE))
        match there:
            case "a file":
                write(volume / "d")
            case "an empty directory":
                (volume / "d").mkdir()
            case "a directory":
                write(volume / "d/new")
            case "a link":
                (volume / "d").symlink_to("elsewhere")
        was = sorted(os.listdir(volume))
        return as_dict(done), as_dict(put_back(volume)), was == sorted(os.listdir(volume))

    done, back, same = as_user(0, act)
    assert done["cleanup"]["quarantined"] == 1
    restored = (back["restore"]["restored"], back["restore"]["conflicts"])
    if there is None:
        assert restored == (1, 0)
        assert files_below(volume / "d") == {b"a", b"deep/b"}
    else:
        assert (restored, same) == ((0, 1), True)
        assert quarantined_directories(volume) == {"d": {b"a", b"deep/b"}}


def test_a_directory_of_a_lower_layer_stays_whole(volume: Path, arguments: list[str]) -> None:
    told = scene("layers", volume.parent, *arguments, module="tests.unit.worker.quarantine_scenes")
    done = told["result"]["cleanup"]
    assert (done["quarantined"], done["removed"], done["skipped"]) == (1, 0, {"unmovable": 1})
    assert "below: stays, for it cannot be moved into quarantine" in done["errors"][0]
    assert (told["left"], told["moved"]) == (["a"], ["above"])


def test_on_a_full_volume_directories_stay_whole(tmp_path: Path, arguments: list[str]) -> None:
    told = scene("full", tmp_path, *arguments, module="tests.unit.worker.quarantine_scenes")
    assert told["first"]["cleanup"]["skipped"] == {"noSpace": 10}
    assert told["whole"] == [["a", "deep/b"]] * 10
    assert told["again"]["cleanup"]["quarantined"] == told["back"]["restore"]["restored"] == 10
