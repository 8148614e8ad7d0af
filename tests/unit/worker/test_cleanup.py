"""Whole runs on real directories: what goes, what stays, and what is told about it."""

from __future__ import annotations

import os
import resource
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from housekeeper_api.result import Result
from housekeeper_api.task import Keep, Rule, TaskError
from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.retention.decide import Verdict
from housekeeper_worker.stop import Stop
from tests.unit.worker.builders import (
    OLD,
    carry_out,
    cleanup_task,
    counters,
    directories,
    files_below,
    rule,
    users_files,
    write,
)


@pytest.fixture
def mixed(volume: Path) -> Path:
    """Three old files and three young ones."""
    for directory in ("", "a", "a/b"):
        write(volume / directory / "old.dump", days=OLD, content=b"x" * 5000)
        write(volume / directory / "young.dump", days=2)
    return volume


def test_removes_what_is_older_and_nothing_else(mixed: Path, prefer_fallback: bool) -> None:
    result = carry_out(cleanup_task(mixed), prefer_fallback=prefer_fallback)
    assert result.outcome == "Succeeded"
    assert files_below(mixed) == {b"young.dump", b"a/young.dump", b"a/b/young.dump"}
    done = counters(result)
    assert (done.scanned, done.matched, done.removed, done.bytes_freed) == (6, 6, 3, 3 * 8192)
    assert (done.skipped, done.errors, done.error_count) == ({}, (), 0)


def test_a_dry_run_counts_what_enforce_then_removes(mixed: Path) -> None:
    before = files_below(mixed)
    dry = counters(carry_out(cleanup_task(mixed, mode="DryRun")))
    assert files_below(mixed) == before
    assert dry.freed_on_disk is None
    real = counters(carry_out(cleanup_task(mixed)))
    assert (dry.scanned, dry.matched, dry.removed, dry.bytes_freed, dry.sample) == (
        real.scanned,
        real.matched,
        real.removed,
        real.bytes_freed,
        real.sample,
    )


def test_a_second_run_finds_nothing_to_do(mixed: Path) -> None:
    carry_out(cleanup_task(mixed))
    again = carry_out(cleanup_task(mixed))
    assert again.outcome == "Succeeded"
    assert counters(again).removed == 0
    assert len(files_below(mixed)) == 3


def test_a_tripped_brake_removes_nothing_and_says_what_to_do(mixed: Path) -> None:
    for mode in ("DryRun", "Enforce"):
        result = carry_out(cleanup_task(mixed, mode=mode, max_percent=49))
        assert result.outcome == "Held"
        assert "would remove 3 of 6 selected files" in result.message
        assert "50.0 % is more than brakes.maxPercent 49" in result.message
        done = counters(result)
        assert (done.removed, done.bytes_freed, done.skipped) == (0, 0, {"held": 3})
        assert done.plan_digest.startswith("sha256:")
    assert len(users_files(mixed)) == 6


def test_the_bytes_of_a_plan_are_what_removing_it_would_free(volume: Path) -> None:
    for name in ("one", "several", "shared"):
        write(volume / "d" / name, days=OLD, content=b"x" * 8192)
    (volume / "e").mkdir()
    os.link(volume / "d/several", volume / "e/several")
    os.link(volume / "d/shared", volume / "e/shared.keep")
    task = cleanup_task(volume, rule(exclude=("**/*.keep",)), mode="DryRun")
    done = counters(carry_out(task))
    assert (done.planned, done.planned_bytes, done.bytes_freed) == (4, 2 * 8192, 2 * 8192)
    held = carry_out(cleanup_task(volume, rule(exclude=("**/*.keep",)), mode="DryRun", max_bytes=16383))
    assert "16.0 KiB is more than brakes.maxBytes 16.0 KiB (16384 and 16383 bytes)" in held.message


def test_the_sample_shows_both_decisions_with_reasons(mixed: Path) -> None:
    sample = counters(carry_out(cleanup_task(mixed, mode="DryRun"))).sample
    told = {(one["path"], one["decision"], one["reason"]) for one in sample}
    assert ("a/b/old.dump", "Remove", "older than 30d") in told
    assert ("young.dump", "Keep", "not older than 30d") in told


def test_files_that_changed_lately_settle(volume: Path) -> None:
    write(volume / "content", days=OLD)
    os.chmod(volume / "content", 0o600)
    result = carry_out(cleanup_task(volume, settle=600))
    assert files_below(volume) == {b"content"}
    assert counters(result).skipped == {"settling": 1}


def test_settled_files_go(volume: Path) -> None:
    write(volume / "content", days=OLD)
    assert counters(carry_out(cleanup_task(volume, settle=600), later=1)).removed == 1


@pytest.mark.parametrize(("fs_group", "word"), [(2000, "fsGroup 2000"), (None, "an fsGroup of another pod")])
def test_a_volume_that_looks_freshly_changed_by_ctime_alone_is_explained(
    volume: Path, fs_group: int | None, word: str
) -> None:
    for number in range(10):
        write(volume / str(number), days=OLD)
    result = carry_out(cleanup_task(volume, settle=600, fs_group=fs_group))
    assert "10 of 10 old files had owner, mode or links changed within 10m" in result.message
    assert word in result.message


@pytest.mark.parametrize(
    ("one", "left"),
    [
        (rule(), {b"after/file"}),
        (directories(), {b"after/file"}),
        (rule(older=None, keep=Keep(last=1)), {b"after/file", b"before/file"}),
    ],
    ids=["age", "directories", "keep"],
)
def test_times_beyond_all_reason_are_times(memory_volume: Path, one: Rule, left: set[bytes]) -> None:
    """Whoever may write one file must not be able to stop every clean-up."""
    for name, seconds in (("after", 99_999_999_999), ("before", -99_999_999_999)):
        (memory_volume / name).mkdir()
        write(memory_volume / name / "file")
        os.utime(memory_volume / name / "file", (seconds, seconds))
        os.utime(memory_volume / name, (seconds, seconds))
    result = carry_out(cleanup_task(memory_volume, one), later=1)
    assert (result.outcome, counters(result).skipped) == ("Succeeded", {"future": 1})
    assert {path for path in files_below(memory_volume) if not path.startswith(b".housekeeper/")} == left


def test_future_times_are_kept_and_counted(volume: Path) -> None:
    write(volume / "future", days=-3)
    result = carry_out(cleanup_task(volume, rule(older="1s")))
    assert files_below(volume) == {b"future"}
    assert counters(result).skipped == {"future": 1}


def test_own_directory_and_lost_and_found_are_left_alone(volume: Path) -> None:
    for path in (".housekeeper/plans/p", "lost+found/#1", "a/.housekeeper/x", ".housekeeper2/x"):
        write(volume / path, days=OLD)
    result = carry_out(cleanup_task(volume))
    assert files_below(volume) == {b".housekeeper/plans/p", b"lost+found/#1"}
    assert counters(result).scanned == 2


def test_links_and_special_files_are_no_items(volume: Path) -> None:
    write(volume.parent / "outside", days=OLD)
    os.symlink(volume.parent / "outside", volume / "link")
    os.symlink(volume.parent, volume / "directory-link")
    os.mkfifo(volume / "pipe")
    for name in ("link", "directory-link", "pipe"):
        os.utime(volume / name, (0, 0), follow_symlinks=False)
    result = carry_out(cleanup_task(volume))
    assert counters(result).scanned == 0
    assert len(files_below(volume)) == 3
    assert (volume.parent / "outside").exists()


def test_path_starts_below_the_root_and_globs_begin_at_the_root(volume: Path) -> None:
    for path in ("postgres/a.dump", "postgres/x/b.dump", "mysql/a.dump", "a.dump"):
        write(volume / path, days=OLD)
    carry_out(cleanup_task(volume, rule(include=["postgres/*.dump"]), path="postgres"))
    assert files_below(volume) == {b"postgres/x/b.dump", b"mysql/a.dump", b"a.dump"}


def test_globs_that_forget_the_path_get_a_hint(volume: Path) -> None:
    write(volume / "postgres/x/a.dump", days=OLD)
    result = carry_out(cleanup_task(volume, rule(include=["x/*.dump", "*/x/*.log"]), path="postgres"))
    assert "the whole path from the volume's root" in result.message


@pytest.mark.parametrize(
    "name",
    [
        b"caf\xe9",
        b"new\nline",
        b"\xff\xfe\x80",
        b"n" * 255,
        b"-rf",
        b" ",
        b"a;b|c$(d)",
        b"quote\"'",
        "emoji-🧹".encode(),
    ],
)
def test_any_name_goes_and_is_told(volume: Path, name: bytes) -> None:
    write(os.fsencode(volume) + b"/" + name, days=OLD)
    result = carry_out(cleanup_task(volume, rule(include=["*"])))
    assert counters(result).removed == 1
    assert files_below(volume) == set()
    assert "\n" not in counters(result).sample[0]["path"]
    assert Result.from_json(result.to_json(max_bytes=3072)).outcome == "Succeeded"


def test_hard_links_count_with_the_last_name(volume: Path) -> None:
    write(volume / "a/one", days=OLD, content=b"x" * 10_000)
    (volume / "b").mkdir()
    os.link(volume / "a/one", volume / "a/two")
    os.link(volume / "a/one", volume / "b/three")
    some = cleanup_task(volume, rule(include=["a/*"]))
    dry = counters(carry_out(cleanup_task(volume, rule(include=["a/*"]), mode="DryRun")))
    assert (dry.removed, dry.bytes_freed) == (2, 0)
    real = counters(carry_out(some))
    assert (real.removed, real.bytes_freed, real.skipped) == (2, 0, {})
    last = counters(carry_out(cleanup_task(volume)))
    assert (last.removed, last.bytes_freed) == (1, 12288)


def test_all_names_of_one_file_go_in_one_run(volume: Path, prefer_fallback: bool) -> None:
    write(volume / "a/one", days=OLD, content=b"x" * 10_000)
    (volume / "b").mkdir()
    for name in ("a/two", "b/three", "b/four"):
        os.link(volume / "a/one", volume / name)
    dry = counters(carry_out(cleanup_task(volume, mode="DryRun"), prefer_fallback=prefer_fallback))
    real = counters(carry_out(cleanup_task(volume), prefer_fallback=prefer_fallback))
    assert (dry.removed, dry.bytes_freed) == (real.removed, real.bytes_freed) == (4, 12288)
    assert files_below(volume) == set()


def test_sparse_files_count_what_they_occupy(volume: Path) -> None:
    write(volume / "sparse", days=OLD)
    os.truncate(volume / "sparse", 1 << 30)
    os.utime(volume / "sparse", (0, 0))
    assert counters(carry_out(cleanup_task(volume))).bytes_freed == 4096


def test_a_tree_two_thousand_levels_deep_needs_few_descriptors(open_volume: Path, prefer_fallback: bool) -> None:
    volume = open_volume
    at = os.open(volume, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(2000):
        os.mkdir("directory-x", dir_fd=at)
        below = os.open("directory-x", os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("old", os.O_WRONLY | os.O_CREAT, dir_fd=at))
    os.utime("old", (0, 0), dir_fd=at)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (at + 8, before[1]))
    try:
        result = carry_out(cleanup_task(volume), prefer_fallback=prefer_fallback)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (counters(result).removed, result.outcome) == (1, "Succeeded")
    assert os.listdir(at) == []
    os.close(at)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("missing", "path missing of the volume does not exist: check spec.target.volume.path"),
        ("file", "is no directory"),
        ("link", "leads through a symbolic link"),
        ("link/inside", "leads through a symbolic link"),
        ("..", "must be relative to the volume's root"),
        ("a/../b", "must be relative to the volume's root"),
        ("/etc", "must be relative to the volume's root"),
        (".housekeeper/plans", "holds Housekeeper's own files"),
    ],
)
def test_a_path_that_cannot_be_entered_is_explained(
    volume: Path, path: str, sentence: str, prefer_fallback: bool
) -> None:
    write(volume / "file")
    write(volume / "real/inside/x", days=OLD)
    os.symlink("real", volume / "link")
    with pytest.raises(CouldNotRun, match=sentence):
        carry_out(cleanup_task(volume, path=path), prefer_fallback=prefer_fallback)
    assert (volume / "real/inside/x").exists()


@pytest.mark.parametrize(("root", "sentence"), [("missing", "does not exist"), ("file", "is not a directory")])
def test_a_root_that_is_no_directory_is_explained(volume: Path, root: str, sentence: str) -> None:
    write(volume / "file")
    with pytest.raises(CouldNotRun, match=sentence):
        carry_out(cleanup_task(volume / root))


def test_an_unknown_zone_is_a_wrong_task(volume: Path) -> None:
    with pytest.raises(TaskError, match=r"spec\.timeZone"):
        carry_out(cleanup_task(volume, zone="Nowhere/City"))


def test_a_run_that_was_stopped_before_it_began_removes_nothing(mixed: Path) -> None:
    stop = Stop()
    stop.now("Cancelled")
    result = carry_out(cleanup_task(mixed), stop=stop)
    assert result.outcome == "Cancelled"
    assert result.message.startswith("cancelled: removed 0 of")
    assert len(files_below(mixed)) == 6


NAMES = st.sampled_from(["a", "b.x", "c.log", "d"])
TREES = st.dictionaries(
    st.builds(
        lambda directories, name: "/".join([*directories, name]),
        st.lists(st.sampled_from(["p", "q"]), max_size=2),
        NAMES,
    ),
    st.integers(0, 60),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(tree=TREES, limit=st.integers(0, 100), include=st.sampled_from(["**", "**/*.x", "p/**", "*"]))
def test_kept_and_removed_together_are_what_was_selected(tree: dict[str, int], limit: int, include: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for path, days in tree.items():
            write(Path(directory, path), days=days)
        before = files_below(Path(directory))
        decided: dict[bytes, Verdict] = {}
        task = cleanup_task(directory, rule(include=[include]), max_percent=limit)
        result = carry_out(task, on_decision=lambda one: decided.update({one.path: one.verdict}))
        after = files_below(Path(directory))
        going = {path for path, verdict in decided.items() if verdict is Verdict.REMOVE}
        assert set(decided) <= before
        assert before - after == (set() if result.outcome == "Held" else going)
        assert len(decided) == counters(result).matched
        assert len(before - after) * 100 <= limit * len(decided)
        assert going == {path for path in decided if tree[path.decode()] >= 30}  # 30 days ago, when it was written
        assert counters(carry_out(task)).removed == 0


def test_files_by_the_hundred_are_decided_as_each_by_itself(volume: Path) -> None:
    """Old, young, future and settling files in one directory, more than are looked at in one go."""
    for number in range(1200):
        write(volume / f"{number:04}", days=(OLD, 1, OLD, 3)[number % 4])
    write(volume / "future", days=-5)
    listened: dict[bytes, Verdict] = {}
    task = cleanup_task(volume, mode="DryRun")
    carry_out(task, on_decision=lambda one: listened.update({one.path: one.verdict}))
    done = counters(carry_out(task))
    assert (done.matched, done.removed, done.skipped) == (1201, 600, {"future": 1})
    assert list(listened.values()).count(Verdict.REMOVE) == 600
    for number in range(0, 1200, 8):
        os.chmod(volume / f"{number:04}", 0o600)
    settled = counters(carry_out(cleanup_task(volume, settle=60)))
    assert settled.skipped == {"future": 1, "settling": 600}
    assert counters(carry_out(cleanup_task(volume, settle=60), later=1)).removed == 600
    assert len(files_below(volume)) == 601
