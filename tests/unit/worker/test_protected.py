"""What is left alone whatever the rules say: markers, locks, names of file systems, sticky files."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from housekeeper_worker.volume.protected import any_reserved, protection_of_file
from tests.unit.worker.builders import OLD, carry_out, cleanup_task, counters, files_below, rule, write
from tests.unit.worker.openers import holding
from tests.unit.worker.test_removal import interrupted


def test_a_directory_with_a_marker_stays_with_all_that_is_below(volume: Path, prefer_fallback: bool) -> None:
    for path in ("marked/old", "marked/below/old", "other/old", "old"):
        write(volume / path, days=OLD)
    write(volume / "marked/.nocleanup")
    done = counters(carry_out(cleanup_task(volume), prefer_fallback=prefer_fallback))
    assert files_below(volume) == {b"marked/.nocleanup", b"marked/old", b"marked/below/old"}
    assert (done.scanned, done.removed, done.skipped) == (2, 2, {"marked": 1})


@pytest.mark.parametrize("marker", ["file", "directory", "link to nothing"])
def test_anything_of_that_name_is_a_marker(volume: Path, marker: str) -> None:
    write(volume / "d/old", days=OLD)
    match marker:
        case "file":
            write(volume / "d/.nocleanup")
        case "directory":
            (volume / "d/.nocleanup").mkdir()
        case _:
            os.symlink("nothing", volume / "d/.nocleanup")
    assert counters(carry_out(cleanup_task(volume))).skipped == {"marked": 1}
    assert (volume / "d/old").exists()


@pytest.mark.parametrize("where", ["", "a", "a/b"])
def test_a_marker_above_the_path_where_the_walk_starts_counts(volume: Path, where: str) -> None:
    write(volume / "a/b/c/old", days=OLD)
    write(volume / where / ".nocleanup")
    assert counters(carry_out(cleanup_task(volume, path="a/b"))).skipped == {"marked": 1}
    assert (volume / "a/b/c/old").exists()


def test_a_marker_that_comes_between_plan_and_removal_counts(volume: Path) -> None:
    write(volume / "d/one", days=OLD)
    write(volume / "d/two", days=OLD)
    tally = interrupted(volume, lambda: write(volume / "d/.nocleanup"))
    assert (tally.removed, tally.skipped(), tally.error_count) == (0, {"marked": 2}, 0)


@pytest.mark.parametrize("directory", ["lost+found", ".snapshot", ".zfs"])
def test_directories_of_file_systems_are_not_entered(volume: Path, directory: str) -> None:
    for where in ("", "deep/er"):
        write(volume / where / directory / "old", days=OLD)
    write(volume / "deep/old", days=OLD)
    done = counters(carry_out(cleanup_task(volume)))
    assert (done.scanned, done.removed, done.skipped) == (1, 1, {"reserved": 2})
    below = counters(carry_out(cleanup_task(volume, path=f"deep/er/{directory}")))
    assert (below.removed, below.skipped) == (0, {"reserved": 1})


def test_reserved_directories_count_only_where_a_rule_could_take_something(volume: Path) -> None:
    write(volume / "lost+found/old", days=OLD)
    write(volume / "logs/old", days=OLD)
    assert counters(carry_out(cleanup_task(volume, rule(include=["logs/**"])))).skipped == {}


@pytest.mark.parametrize("name", [".nfs000000000123", ".fuse_hidden0000001"])
def test_files_that_a_file_system_hides_stay(volume: Path, name: str) -> None:
    write(volume / "d" / name, days=OLD)
    write(volume / "d/old.nfs", days=OLD)
    done = counters(carry_out(cleanup_task(volume)))
    assert files_below(volume) == {b"d/" + name.encode()}
    assert (done.matched, done.removed, done.skipped) == (2, 1, {"reserved": 1})


def test_sticky_files_stay(volume: Path) -> None:
    write(volume / "sticky", days=OLD)
    write(volume / "plain", days=OLD)
    os.chmod(volume / "sticky", 0o1644)
    for mode in ("DryRun", "Enforce"):
        done = counters(carry_out(cleanup_task(volume, mode=mode)))
        assert (done.removed, done.skipped) == (1, {"sticky": 1})
    assert files_below(volume) == {b"sticky"}


@pytest.mark.parametrize("names", [["a", ".nfs1"], ["a", ".fuse_hidden1"], ["a", "b"], ["nfs"]])
def test_the_quick_look_sees_whatever_the_close_look_sees(names: list[str]) -> None:
    close = any(protection_of_file(name.encode(), 0o100644) for name in names)
    assert any_reserved("\0".join(names)) is close


@pytest.mark.parametrize("how", ["exclusive lock", "shared lock"])
def test_a_directory_that_a_program_has_locked_stays_with_all_that_is_below(
    volume: Path, how: str, prefer_fallback: bool
) -> None:
    for path in ("locked/old", "locked/below/old", "other/old"):
        write(volume / path, days=OLD)
    with holding(volume / "locked", how):
        done = counters(carry_out(cleanup_task(volume), prefer_fallback=prefer_fallback))
    assert files_below(volume) == {b"locked/old", b"locked/below/old"}
    assert (done.removed, done.skipped) == (1, {"locked": 1})
    assert counters(carry_out(cleanup_task(volume))).removed == 2


def test_a_lock_above_the_path_where_the_walk_starts_counts(volume: Path) -> None:
    write(volume / "a/b/old", days=OLD)
    with holding(volume / "a", "shared lock"):
        assert counters(carry_out(cleanup_task(volume, path="a/b"))).skipped == {"locked": 1}
    assert counters(carry_out(cleanup_task(volume, path="a/b"))).removed == 1


@pytest.mark.parametrize(("how", "skipped"), [("exclusive lock", {"locked": 1}), ("shared lock", {})])
def test_a_dry_run_sees_exclusive_locks(volume: Path, how: str, skipped: dict[str, int]) -> None:
    write(volume / "locked/old", days=OLD)
    with holding(volume / "locked", how):
        assert counters(carry_out(cleanup_task(volume, mode="DryRun"))).skipped == skipped


def test_a_lock_that_comes_between_plan_and_removal_counts(volume: Path) -> None:
    write(volume / "d/one", days=OLD)
    with contextlib.ExitStack() as stack:
        tally = interrupted(volume, lambda: stack.enter_context(holding(volume / "d", "shared lock")))
    assert (tally.removed, tally.skipped(), tally.error_count) == (0, {"locked": 1}, 0)
