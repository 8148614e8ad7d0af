"""`removeEmptyDirectories`: what this run emptied goes, and nothing else that is empty."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Final

import pytest

from housekeeper_api.result import Cleanup
from housekeeper_api.task import RemoveEmptyDirectories, Rule
from tests.unit.worker.builders import OLD, as_user, carry_out, cleanup_task, counters, directories, item, rule, write
from tests.unit.worker.openers import holding
from tests.unit.worker.quarantines import quarantine_task, quarantining

EMPTIED: Final = "EmptiedByThisRun"


def below(volume: Path) -> set[str]:
    """Paths of all directories."""
    found = {os.fspath(path.relative_to(volume)) for path in volume.rglob("*") if path.is_dir()}
    return {path for path in found if not path.startswith(".housekeeper")}


def clean(volume: Path, *rules: Rule, path: str = "") -> Cleanup:
    return counters(carry_out(cleanup_task(volume, *(rules or (rule(remove_empty_directories=EMPTIED),)), path=path)))


def test_directories_go_from_the_bottom_up_if_this_run_emptied_them(volume: Path) -> None:
    for path in ("a/b/c/old", "a/b/old", "d/old", "e/f/old"):
        write(volume / path, days=OLD)
    write(volume / "d/young")
    (volume / "was-empty/below").mkdir(parents=True)
    (volume / "e/was-empty").mkdir()
    done = clean(volume)
    assert below(volume) == {"d", "e", "e/was-empty", "was-empty", "was-empty/below"}
    assert (done.removed, done.removed_directories) == (4, 4)


def test_never_is_the_default(volume: Path) -> None:
    write(volume / "a/old", days=OLD)
    assert clean(volume, rule()).removed_directories == 0
    assert below(volume) == {"a"}


def test_each_rule_speaks_for_itself(volume: Path) -> None:
    write(volume / "a/x.log", days=OLD)
    write(volume / "b/x.txt", days=OLD)
    clean(volume, rule("logs", ["**/*.log"], remove_empty_directories=EMPTIED), rule("rest"))
    assert below(volume) == {"b"}


@pytest.mark.parametrize(("first", "left"), [(EMPTIED, {"a", "a/b"}), ("Never", set())])
def test_the_rule_that_empties_a_directory_speaks_for_it(
    volume: Path, first: RemoveEmptyDirectories, left: set[str]
) -> None:
    """Files of a directory go in the order of the rules."""
    write(volume / "a/b/x.tmp", days=OLD)
    write(volume / "a/b/x.log", days=OLD)
    last: RemoveEmptyDirectories = "Never" if first == EMPTIED else EMPTIED
    each = ("tmp", ["**/*.tmp"], first), ("log", ["**/*.log"], last)
    done = clean(volume, *(rule(name, include, remove_empty_directories=which) for name, include, which in each))
    assert (done.removed, below(volume)) == (2, left)


def test_what_leaves_for_the_quarantine_empties_no_directory(volume: Path) -> None:
    write(volume / "a/x.tmp", days=OLD)
    write(volume / "a/x.log", days=OLD)
    each = [rule(kind, [f"**/*.{kind}"], remove_empty_directories=EMPTIED) for kind in ("tmp", "log")]
    done = counters(carry_out(quarantine_task(volume, each[0], quarantining(each[1]))))
    assert (done.removed, done.quarantined, below(volume)) == (1, 1, {"a"})


def test_a_directory_to_which_something_may_come_back_stays_whatever_goes_after_it(volume: Path) -> None:
    for path in ("a/x.log", "a/x.tmp", "b/x.log", "b/sub/y.tmp"):
        write(volume / path, days=OLD)
    tmp = rule("tmp", ["**/*.tmp"], remove_empty_directories=EMPTIED)
    done = counters(carry_out(quarantine_task(volume, quarantining(rule("log", ["**/*.log"])), tmp)))
    assert (done.removed, done.quarantined, below(volume)) == (2, 2, {"a", "b"})


@pytest.mark.parametrize(("path", "left"), [("", set()), ("a", {"a"}), ("a/b", {"a", "a/b"})])
def test_neither_the_root_nor_the_path_goes(volume: Path, path: str, left: set[str]) -> None:
    write(volume / "a/b/c/old", days=OLD)
    clean(volume, path=path)
    assert below(volume) == left
    assert volume.is_dir()


def test_what_removed_directories_leave_empty_goes_too(volume: Path) -> None:
    item(volume / "runs/2025/run-1", "a")
    item(volume / "runs/2026/run-1", "a")
    item(volume / "runs/2026/run-2", "a", days=1)
    one = directories(["runs/*/run-*"], remove_empty_directories=EMPTIED)
    assert clean(volume, one).removed_directories == 1
    assert below(volume) == {"runs", "runs/2026", "runs/2026/run-2"}


def test_a_directory_with_a_marker_or_a_link_is_not_empty(volume: Path) -> None:
    write(volume / "marked/deep/old", days=OLD)
    write(volume / "linked/old", days=OLD)
    os.symlink("nowhere", volume / "linked/link")
    write(volume / "marked/deep/x/old", days=OLD)
    write(volume / "marked/deep/x/.nocleanup")
    clean(volume)
    assert below(volume) == {"marked", "marked/deep", "marked/deep/x", "linked"}


def test_a_locked_directory_stays(volume: Path) -> None:
    write(volume / "a/b/old", days=OLD)
    with holding(volume / "a", "path only"):
        assert clean(volume).removed_directories == 2
    write(volume / "c/old", days=OLD)
    with holding(volume / "c", "shared lock"):
        assert clean(volume).removed_directories == 0


def test_a_directory_that_may_not_go_is_an_error_and_nothing_is_forced(open_volume: Path) -> None:
    write(open_volume / "a/b/old", days=OLD)
    os.chown(open_volume / "a/b", 65532, 65532)

    def act() -> list[object]:
        result = carry_out(cleanup_task(open_volume, rule(remove_empty_directories=EMPTIED)))
        return [result.outcome, counters(result).removed, counters(result).removed_directories, result.message]

    outcome, removed, gone, message = as_user(65532, act)
    assert (outcome, removed, gone) == ("PartiallySucceeded", 1, 0)
    assert "a/b: no permission in its directory a" in str(message)
    assert stat.S_ISDIR(os.stat(open_volume / "a/b").st_mode)


def test_a_dry_run_neither_removes_nor_counts_them(volume: Path) -> None:
    write(volume / "a/old", days=OLD)
    one = rule(remove_empty_directories=EMPTIED)
    done = counters(carry_out(cleanup_task(volume, one, mode="DryRun")))
    assert (done.removed, done.removed_directories, below(volume)) == (1, 0, {"a"})


def test_the_audit_tells_each_before_and_after(volume: Path) -> None:
    write(volume / "a/b/old", days=OLD)
    read, written = os.pipe()
    carry_out(cleanup_task(volume, rule(remove_empty_directories=EMPTIED)), audit_fd=written)
    os.close(written)
    with os.fdopen(read) as pipe:
        lines = [line for line in map(json.loads, pipe) if line["event"] != "chain"]
    told = [(line["event"], line.get("path") or line["first"]["path"]) for line in lines[1:-1]]
    assert told == [
        ("intent", "a/b/old"),
        ("removed", "a/b/old"),
        ("intent", "a/b"),
        ("removedDirectory", "a/b"),
        ("intent", "a"),
        ("removedDirectory", "a"),
    ]
