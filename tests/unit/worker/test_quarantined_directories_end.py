"""The end of a directory in quarantine: it comes back as it was, or is purged as a whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from housekeeper_api.result import Cleanup, Restoration, Result, as_dict
from housekeeper_api.task import TaskError
from housekeeper_worker.quarantine.place import path_of
from housekeeper_worker.restore import restorable
from housekeeper_worker.stop import Stop
from housekeeper_worker.volume.emptying import Emptying
from housekeeper_worker.volume.root import VolumeRoot
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
    KEPT_DAYS,
    put_back,
    quarantine_task,
    quarantined_directories,
    quarantines,
    quarantining,
)
from tests.unit.worker.scenarios import scene

RULE = quarantining(directories(["runs/*"]))
AFTER = KEPT_DAYS + 1


def restored(result: Result) -> Restoration:
    assert result.restore is not None, result
    return result.restore


def purged(volume: Path, **options: Any) -> Cleanup:
    """What a run tells to which nothing is old, when all that is in quarantine is due."""
    return counters(carry_out(quarantine_task(volume, rule(include=["nothing"]), **options), later=AFTER))


@pytest.fixture
def runs(volume: Path) -> Path:
    """A volume with three directories in quarantine, and a file."""
    for name in ("one", "two", "three"):
        item(volume / "runs" / name, "a", "deep/b", "deep/er/c")
    write(volume / "runs/file", days=OLD, content=b"x" * 5000)
    done = counters(carry_out(quarantine_task(volume, RULE, quarantining(rule()))))
    assert (done.quarantined, users_files(volume)) == (4, set())
    return volume


@pytest.mark.parametrize("uid", [0, UID], ids=["root", "unprivileged"])
def test_it_comes_back_as_it_was(open_volume: Path, prefer_fallback: bool, uid: int) -> None:
    item(open_volume / "runs/one", "a", "deep/b")
    os.symlink("a", open_volume / "runs/one/link")
    os.chmod(open_volume / "runs/one/deep", 0o1700)
    os.link(open_volume / "runs/one/a", open_volume / "runs/one/deep/again")
    age(open_volume / "runs", OLD)
    for path in (open_volume, *open_volume.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)

    def state() -> dict[str, tuple[int, ...]]:
        members = ("st_ino", "st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_nlink")
        every = [open_volume / "runs/one", *(open_volume / "runs/one").rglob("*")]
        return {os.fspath(path): tuple(getattr(os.lstat(path), name) for name in members) for path in every}

    before = state()

    def act() -> dict[str, Any]:
        carry_out(quarantine_task(open_volume, RULE), prefer_fallback=prefer_fallback)
        shutil.rmtree(open_volume / "runs")
        dry = put_back(open_volume, dry=True, prefer_fallback=prefer_fallback)
        return {"dry": as_dict(dry), "back": as_dict(put_back(open_volume, prefer_fallback=prefer_fallback))}

    told = as_user(uid, act)
    assert told["dry"]["restore"] == told["back"]["restore"]
    assert (told["back"]["outcome"], told["back"]["restore"]["restored"]) == ("Succeeded", 1)
    assert (told["back"]["restore"]["directoriesMade"], state()) == (1, before)
    assert quarantines(open_volume) == []


def test_what_is_there_by_now_is_never_overwritten(runs: Path) -> None:
    write(runs / "runs/one", content=b"new")
    (runs / "runs/two").mkdir()
    os.symlink("nowhere", runs / "runs/three")
    result = put_back(runs)
    assert (result.outcome, restored(result).restored, restored(result).conflicts) == ("PartiallySucceeded", 1, 3)
    assert (runs / "runs/one").read_bytes() == b"new"
    assert os.listdir(runs / "runs/two") == []
    assert os.readlink(runs / "runs/three") == "nowhere"
    assert set(quarantined_directories(runs)) == {"runs/one", "runs/two", "runs/three"}
    (runs / "runs/two").rmdir()
    assert restored(put_back(runs)).restored == 1
    assert files_below(runs / "runs/two") == {b"a", b"deep/b", b"deep/er/c"}


@pytest.mark.parametrize(
    ("paths", "back", "only_whole"),
    [
        (["runs/one"], {"one"}, 0),
        (["runs/one/**"], {"one"}, 0),
        (["runs/t*"], {"two", "three"}, 0),
        (["runs/**"], {"one", "two", "three", "file"}, 0),
        (["**"], {"one", "two", "three", "file"}, 0),
        (["runs/one", "runs/two/deep/b"], {"one"}, 1),
        (["runs/one/*"], set(), 1),
        (["runs/file"], {"file"}, 0),
    ],
)
def test_globs_say_what_comes_back_and_no_part_of_a_directory_does(
    runs: Path, paths: list[str], back: set[str], only_whole: int
) -> None:
    dry, result = put_back(runs, "run-1", *paths, dry=True), put_back(runs, "run-1", *paths)
    assert restored(dry).restored == restored(result).restored == len(back)
    assert set(os.listdir(runs / "runs")) == back
    whole = {"one", "two", "three"} - back
    assert set(quarantined_directories(runs)) == {f"runs/{name}" for name in whole}
    assert ("comes back only as a whole" in result.message) == bool(only_whole)
    if only_whole:
        assert f"asked for: {only_whole};" in result.message


def test_globs_that_take_nothing_are_told_what_they_might(runs: Path) -> None:
    with pytest.raises(TaskError, match=r"such as runs/"):
        put_back(runs, "run-1", "other/**")


def test_the_list_counts_what_is_in_them(runs: Path) -> None:
    (found,) = restorable(str(runs))
    every = sum(path.stat().st_blocks * 512 for path in quarantines(runs)[0].glob("*/**/*"))
    assert (found.contents.items, found.contents.allocated) == (4, every)


def test_it_is_purged_as_a_whole_when_its_time_is_over(runs: Path) -> None:
    every = sum(path.stat().st_blocks * 512 for path in quarantines(runs)[0].glob("*/**/*"))
    early = counters(carry_out(quarantine_task(runs, rule(include=["nothing"])), later=KEPT_DAYS - 0.01))
    assert (early.purged, len(quarantined_directories(runs))) == (0, 3)
    done = purged(runs)
    assert (done.purged, done.bytes_purged, done.removed, done.error_count) == (4, every, 0, 0)
    assert quarantines(runs) == []


def test_what_has_a_name_elsewhere_frees_nothing(volume: Path) -> None:
    item(volume / "runs/one", "a", "same")
    os.link(volume / "runs/one/same", volume / "elsewhere")
    age(volume / "runs/one", OLD)
    paths = ("runs/one", "runs/one/a")
    freed = sum((volume / path).stat().st_blocks * 512 for path in paths)
    moved = counters(carry_out(quarantine_task(volume, RULE)))
    assert moved.bytes_quarantined > freed
    assert purged(volume).bytes_purged == freed
    assert (volume / "elsewhere").read_bytes() == b"x" * 5000


def test_links_out_of_it_are_not_followed(volume: Path) -> None:
    outside = volume.parent / "outside"
    item(outside, "precious")
    item(volume / "runs/one", "a")
    os.symlink(outside, volume / "runs/one/link")
    age(volume / "runs/one", OLD)
    carry_out(quarantine_task(volume, RULE))
    assert purged(volume).purged == 1
    assert files_below(outside) == {b"precious"}


@pytest.mark.parametrize("how", ["reader", "exclusive lock", "marker"])
def test_what_somebody_uses_in_it_waits_and_can_be_restored(runs: Path, how: str) -> None:
    one = next(path for path in quarantines(runs)[0].glob("*/*") if path.is_dir())
    if how == "marker":
        write(one / "deep/.nocleanup")
        done = purged(runs)
        (one / "deep/.nocleanup").unlink()
    else:
        with holding(one / ("deep/b" if how == "reader" else "deep"), how):
            done = purged(runs)
    assert (done.purged, done.error_count) == (3, 0)
    assert any("is not purged yet" in note for note in done.notes), done.notes
    assert len(quarantined_directories(runs)) == 1
    assert restored(put_back(runs)).restored == 1
    assert files_below(runs / "runs") != set()


def test_nobody_looks_who_uses_it_where_the_policy_ignores_that(runs: Path) -> None:
    one = next(path for path in quarantines(runs)[0].glob("*/*") if path.is_dir())
    with holding(one / "deep/b", "reader"):
        assert purged(runs, open_files="Ignore").purged == 4


def test_what_cannot_be_emptied_is_not_begun_with(open_volume: Path) -> None:
    for name in ("one", "two"):
        item(open_volume / "runs" / name, "a", "deep/b")
    for path in (open_volume, *open_volume.rglob("*")):
        os.chown(path, UID, UID)
    as_user(UID, lambda: as_dict(carry_out(quarantine_task(open_volume, RULE))))
    one = next(open_volume.glob(".housekeeper/quarantine/*/0/*"))
    os.chmod(one / "deep", 0o500)
    told = as_user(UID, lambda: as_dict(carry_out(quarantine_task(open_volume, RULE), later=AFTER)))["cleanup"]
    assert (told["purged"], told["errorCount"]) == (1, 1)
    assert list(quarantined_directories(open_volume).values()) == [{b"a", b"deep/b"}]


def test_a_mount_that_came_into_it_stops_the_purge_of_it(volume: Path, prefer_fallback: bool) -> None:
    arguments = ["fallback"] if prefer_fallback else []
    told = scene("mounted_meanwhile", volume.parent, *arguments, module="tests.unit.worker.quarantine_scenes")
    held = told["held"]
    assert (held["outcome"], held["cleanup"]["purged"]) == ("PartiallySucceeded", 1)
    assert "is not purged yet (mount, deep)" in held["cleanup"]["errors"][0]
    assert (told["left"], told["outside"]) == ({"one": ["a", "deep/precious"]}, ["precious"])
    assert (told["after"]["cleanup"]["purged"], told["quarantines"]) == (1, 0)


def begin_purge(volume: Path) -> Path:
    """What a worker that was killed leaves of the first directory: without its name, and emptied in part."""
    (quarantine,) = quarantines(volume)
    one = next(path for path in sorted(quarantine.glob("*/*")) if path.is_dir())
    one.rename(one.with_name(f"{one.name}.0"))
    stop = Stop()
    with VolumeRoot.open(str(volume)) as root:
        path = path_of(os.fsencode(quarantine.name)) + b"/" + os.fsencode(one.parent.name)
        with root.directory(path, for_reading=True) as fd:
            emptying = Emptying(root, fd, stop)
            emptying._unlink = lambda *_: stop.now("Cancelled")
            emptying.empty(os.fsencode(one.name))
    return one


def test_no_half_of_a_directory_comes_back(runs: Path) -> None:
    one = begin_purge(runs)
    assert len(restorable(str(runs))) == 1
    assert restorable(str(runs))[0].contents.items == 3
    assert restored(put_back(runs)).restored == 3
    assert len(os.listdir(runs / "runs")) == 3
    assert list(one.parent.glob(f"{one.name}.*"))
    done = purged(runs)
    assert (done.purged, done.error_count) == (1, 0)
    assert quarantines(runs) == []


def test_what_a_purge_had_begun_the_next_one_finishes(runs: Path) -> None:
    begin_purge(runs)
    done = purged(runs)
    assert (done.purged, done.error_count, quarantines(runs)) == (4, 0, [])


def test_a_purge_that_is_stopped_goes_on_later(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Stop()
    unlink = Emptying._unlink

    def stopping(self: Emptying, *rest: Any) -> None:
        unlink(self, *rest)
        stop.now("Cancelled")

    monkeypatch.setattr(Emptying, "_unlink", stopping)
    first = carry_out(quarantine_task(runs, rule(include=["nothing"])), later=AFTER, stop=stop)
    monkeypatch.undo()
    assert first.outcome == "Cancelled"
    second = purged(runs)
    assert counters(first).purged + second.purged == 4
    assert quarantines(runs) == []


def test_what_is_no_directory_of_ours_stays_and_is_told(runs: Path) -> None:
    write(quarantines(runs)[0] / "0/stranger/inside")
    done = purged(runs)
    assert (done.purged, done.error_count) == (4, 1)
    assert files_below(quarantines(runs)[0]) == {b"0/stranger/inside", b"manifest.ndjson"}


def test_a_deep_tree_is_moved_restored_and_purged(memory_volume: Path) -> None:
    depth = 2_000
    fd = os.open(memory_volume, os.O_RDONLY)
    for name in ("runs", "deep", *["d"] * depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    task = quarantine_task(memory_volume, quarantining(directories(["runs/*"], older="1d")))
    assert counters(carry_out(task, later=2)).quarantined == 1
    assert restored(put_back(memory_volume)).restored == 1
    assert counters(carry_out(task, later=2)).quarantined == 1
    assert counters(carry_out(task, later=2 + AFTER)).purged == 1
    assert quarantines(memory_volume) == []
