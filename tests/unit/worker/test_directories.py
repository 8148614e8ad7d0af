"""Directories that are one item each: which they are, how old and large, and how they count beside others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from housekeeper_api.result import Result
from housekeeper_api.task import ItemTime, Keep
from housekeeper_worker.retention.decide import Decided
from tests.unit.worker.builders import (
    OLD,
    age,
    as_user,
    carry_out,
    cleanup_task,
    counters,
    directories,
    files_below,
    item,
    rule,
    write,
)


def left(volume: Path) -> set[str]:
    """Directories and files right below the root, but for our own."""
    return {path.name for path in volume.iterdir()} - {".housekeeper"}


def trashed(volume: Path) -> set[bytes]:
    """What the trash holds, but for an empty journal."""
    trash = volume / ".housekeeper/trash"
    return {path for path in files_below(trash) if (trash / os.fsdecode(path)).stat().st_size} | {
        os.fsencode(path.name) for path in trash.iterdir() if path.is_dir()
    }


def test_a_directory_goes_as_a_whole_or_stays_as_a_whole(volume: Path, prefer_fallback: bool) -> None:
    item(volume / "old", "a", "deep/b", "deep/er/c")
    item(volume / "young", "a", "deep/b", days=1)
    write(volume / "file", days=OLD)
    dry = counters(carry_out(cleanup_task(volume, directories(), mode="DryRun"), prefer_fallback=prefer_fallback))
    assert left(volume) == {"old", "young", "file"}
    result = carry_out(cleanup_task(volume, directories()), prefer_fallback=prefer_fallback)
    done = counters(result)
    assert (result.outcome, left(volume)) == ("Succeeded", {"young", "file"})
    assert (done.matched, done.removed, done.skipped) == (2, 1, {})
    assert (dry.matched, dry.removed, dry.bytes_freed) == (2, 1, done.bytes_freed)
    assert "removed 1 of 2 selected items" in result.message
    assert trashed(volume) == set()
    assert (volume / ".housekeeper/trash").stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize(
    "change",
    [
        lambda top: os.utime(top / "deep/er/c"),
        lambda top: os.utime(top / "deep/er"),
        os.utime,
        lambda top: os.symlink("nowhere", top / "deep/link"),
        lambda top: (top / "deep/new").mkdir(),
    ],
    ids=["a file", "a sub-directory", "the directory itself", "a link", "a new directory"],
)
def test_its_time_is_the_newest_inside(volume: Path, change: Callable[[Path], object]) -> None:
    item(volume / "old", "a", "deep/er/c")
    change(volume / "old")
    assert counters(carry_out(cleanup_task(volume, directories()))).removed == 0


def test_its_size_is_all_that_is_inside_with_hard_links_once(volume: Path) -> None:
    decided: list[Decided] = []
    item(volume / "old", "a", "deep/b")
    os.link(volume / "old/a", volume / "old/deep/again")
    age(volume / "old", OLD)
    with open(volume / "old/sparse", "wb") as file:
        file.truncate(1 << 30)
    age(volume / "old", OLD)
    carry_out(cleanup_task(volume, directories(), mode="DryRun"), on_decision=decided.append)
    inside = [volume / "old", volume / "old/deep", volume / "old/a", volume / "old/deep/b", volume / "old/sparse"]
    assert decided[0].allocated == sum(path.stat().st_blocks * 512 for path in inside)
    assert decided[0].size == 3 * 5000 + (1 << 30)


@pytest.mark.parametrize(
    ("include", "exclude", "gone"),
    [
        (["*"], [], {"a", "b", "c"}),
        (["**"], [], {"a", "b", "c"}),
        (["**/x"], [], {"a/x", "b/x"}),
        (["a", "a/x"], [], {"a"}),
        (["*/x/**"], [], {"a/x/y"}),
        (["*"], ["a"], {"b", "c"}),
        (["*"], ["a/**"], {"b", "c"}),
        (["*"], ["**/y"], {"b", "c"}),
        (["*"], ["**/*.txt"], {"a", "b"}),
        (["*"], ["**/nothing"], {"a", "b", "c"}),
        (["a/**"], ["a/x"], set()),
        (["a/**", "b/*"], ["a/x"], {"b/x"}),
        (["none"], [], set()),
    ],
)
def test_the_topmost_that_the_globs_match_is_the_item(
    volume: Path, include: list[str], exclude: list[str], gone: set[str]
) -> None:
    for path in ("a/x/y/f", "b/x/f", "c/f.txt"):
        write(volume / path)
    age(volume, OLD)
    before = {os.fspath(path.relative_to(volume)) for path in volume.rglob("*")}
    done = counters(carry_out(cleanup_task(volume, directories(include, exclude))))
    after = {os.fspath(path.relative_to(volume)) for path in volume.rglob("*") if ".housekeeper" not in path.parts}
    assert done.removed == len(gone)
    assert {path for path in before - after if os.path.dirname(path) in {"", *after}} == gone


def test_neither_the_root_nor_the_path_is_an_item(volume: Path) -> None:
    item(volume / "start", "run/a")
    done = counters(carry_out(cleanup_task(volume, directories(["**"]), path="start")))
    assert done.removed == 1
    assert left(volume / "start") == set()


def test_keep_counts_directories(volume: Path) -> None:
    for number in range(6):
        item(volume / f"prod-{number}", "a", days=number + 1)
        item(volume / f"qa-{number}", "a", days=number + 1)
    item(volume / "other-1", "a")
    write(volume / "prod-0/.nocleanup", days=1)
    age(volume / "prod-0", 1)
    one = directories(older=None, group_by="(?P<env>prod|qa)-.*", keep=Keep(last=2))
    done = counters(carry_out(cleanup_task(volume, one)))
    # What is marked does not count: of prod 1 and 2 are kept.
    assert left(volume) == {"prod-0", "prod-1", "prod-2", "qa-0", "qa-1", "other-1"}
    assert (done.matched, done.removed, done.skipped) == (12, 7, {"marked": 1})


EXAMPLE = {"etl/101": 21, "etl/102": 20, "etl/103": 19, "etl/104": 18, "etl/105": 17, "web/7": 52}


def test_the_worked_example_of_the_documentation(volume: Path) -> None:
    for name, days in EXAMPLE.items():
        item(volume / "runs" / name, "log.txt", "out", days=days)
    for name, days in (("etl/103/KEEP", 19), ("etl/104/part-7.tmp", 18)):
        write(volume / "runs" / name, days=days)
        age(volume / "runs" / os.path.dirname(name), days)
    write(volume / "runs/etl/102/log.txt", days=2)
    one = directories(
        ["runs/*/*"],
        ["**/KEEP"],
        older="14d",
        group_by="runs/(?P<pipeline>[^/]*)/[^/]*",
        keep=Keep(last=2),
        ignore_incomplete=True,
        remove_empty_directories="EmptiedByThisRun",
    )
    decided: list[Decided] = []
    done = counters(carry_out(cleanup_task(volume, one), on_decision=decided.append))
    told = {one.path.decode().removeprefix("runs/"): one.reasons for one in decided}
    assert left(volume / "runs/etl") == {"102", "103", "104", "105"}
    assert told["etl/101"] == ("older than 14d", "not among last 2")
    assert (told["etl/105"][0], told["web/7"][0]) == ("last 2/2", "last 1/2")
    assert done.skipped == {"excluded": 1, "incomplete": 1}


def test_a_cap_counts_all_that_is_inside(volume: Path) -> None:
    for number in range(4):
        item(volume / f"run-{number}", "a", "b", days=number + 1)
    size = sum(path.stat().st_blocks * 512 for path in (volume / "run-0", *(volume / "run-0").iterdir()))
    one = directories(older=None, keep=Keep(max_total_size=2 * size))
    assert counters(carry_out(cleanup_task(volume, one))).removed == 2
    assert left(volume) == {"run-0", "run-1"}


def test_brakes_count_directories_as_items(volume: Path) -> None:
    for number in range(4):
        item(volume / f"run-{number}", *map(str, range(number * 20)))
    result = carry_out(cleanup_task(volume, directories(), max_percent=99))
    assert result.outcome == "Held"
    assert len(left(volume)) == 4


def test_bounds_on_the_size_are_about_all_that_is_inside(volume: Path) -> None:
    item(volume / "small", "a")
    item(volume / "large", "a", "b", "c")
    done = counters(carry_out(cleanup_task(volume, directories(min_size=10_000))))
    assert (done.matched, done.removed, left(volume)) == (1, 1, {"small"})


def test_other_times_are_the_newest_change_inside_and_the_birth_of_the_directory(volume: Path) -> None:
    item(volume / "d", "a", days=400)
    for source in ("ChangeTime", "BirthTime"):
        one = directories(time=ItemTime(source))
        assert counters(carry_out(cleanup_task(volume, one))).removed == 0
        assert counters(carry_out(cleanup_task(volume, one, mode="DryRun"), later=31)).removed == 1


def test_brakes_and_bytes_of_a_plan_know_what_is_inside(volume: Path) -> None:
    item(volume / "run-1", "a", "b")
    done = counters(carry_out(cleanup_task(volume, directories(), max_bytes=8192)))
    assert done.removed == 0
    assert done.planned_bytes == sum(path.stat().st_blocks * 512 for path in (volume / "run-1").iterdir()) + (
        (volume / "run-1").stat().st_blocks * 512
    )


def test_an_unreadable_directory_inside_keeps_the_whole_and_is_an_error(open_volume: Path) -> None:
    item(open_volume / "kept", "a", "closed/b")
    for path in (open_volume, open_volume / "kept"):
        os.chown(path, 65532, 65532)
    os.chmod(open_volume / "kept/closed", 0o700)
    result = as_user(65532, lambda: _told(carry_out(cleanup_task(open_volume, directories()))))
    assert result["outcome"] == "PartiallySucceeded"
    assert (result["removed"], result["skipped"]) == (0, {"unreadable": 1})
    assert "kept/closed" in result["errors"][0]


def _told(result: Result) -> dict[str, object]:
    done = counters(result)
    return {
        "outcome": result.outcome,
        "removed": done.removed,
        "skipped": done.skipped,
        "errors": done.errors,
        "message": result.message,
    }


def test_later_file_rules_do_not_see_what_is_inside(volume: Path) -> None:
    item(volume / "run-1", "a.log", days=1)
    write(volume / "run-1/old.log", days=OLD)
    write(volume / "old.log", days=OLD)
    os.utime(volume / "run-1", (time.time(),) * 2)
    rules = directories(["run-*"]), rule("logs", ["**/*.log"])
    done = counters(carry_out(cleanup_task(volume, *rules)))
    assert (done.matched, done.removed) == (2, 1)
    assert files_below(volume / "run-1") == {b"a.log", b"old.log"}


def test_what_belongs_to_an_earlier_file_rule_keeps_the_whole_and_is_cleaned_by_that_rule(volume: Path) -> None:
    item(volume / "run-1", "old.log", "deep/a.txt")
    item(volume / "run-2", "a.txt")
    rules = rule("logs", ["**/*.log"], older="30d"), directories(["run-*"])
    done = counters(carry_out(cleanup_task(volume, *rules)))
    assert (done.matched, done.removed, done.skipped) == (3, 2, {"excluded": 1})
    assert files_below(volume / "run-1") == {b"deep/a.txt"}
    assert left(volume) == {"run-1"}
    # Without a log nothing keeps it, but that it has just changed.
    age(volume / "run-1", OLD)
    assert counters(carry_out(cleanup_task(volume, *rules))).removed == 1


def test_an_earlier_directory_rule_has_the_first_say(volume: Path) -> None:
    item(volume / "run-1", "a", days=OLD)
    item(volume / "run-2", "a", days=OLD)
    rules = directories(["run-1"], older="60d"), rule("rest", ["*"], item_type="Directory")
    assert counters(carry_out(cleanup_task(volume, *rules))).removed == 1
    assert left(volume) == {"run-1"}
