"""An approval that could not do all of it is not used up, and one that is done with is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from housekeeper_worker.stop import Stop
from tests.unit.worker.builders import (
    OLD,
    as_user,
    carry_out,
    cleanup_task,
    counters,
    directories,
    files_below,
    item,
    rule,
    users_files,
    write,
)
from tests.unit.worker.openers import holding
from tests.unit.worker.test_approval import approve, held, plans

SETTLE = 600.0


@pytest.fixture
def logs(volume: Path) -> Path:
    for number in range(10):
        write(volume / f"{number % 3}/{number}", days=OLD)
    return volume


def test_what_settles_may_go_by_the_same_approval_later(logs: Path) -> None:
    digest = held(logs)
    for path in users_files(logs):
        os.chown(os.fsencode(logs) + b"/" + path, 1234, 1234)
    result = approve(logs, digest, settle=SETTLE)
    assert (result.outcome, counters(result).removed) == ("Succeeded", 0)
    assert "10 approved files stay for what may pass (settling 10), so the plan is kept" in result.message
    assert plans(logs) != set()
    later = carry_out(cleanup_task(logs, max_items=0, approve=digest, settle=SETTLE), later=1)
    assert (later.outcome, counters(later).removed) == ("Succeeded", 10)
    assert "the plan is kept" not in later.message
    assert files_below(logs) == set()


def test_what_was_open_may_go_by_the_same_approval_later(logs: Path) -> None:
    digest = held(logs)
    with holding(logs / "0/3", "reader"):
        result = approve(logs, digest)
    assert counters(result).removed == 9
    assert "1 approved files stay for what may pass (inUse 1)" in result.message
    assert counters(approve(logs, digest)).removed == 1
    assert plans(logs) == set()


def test_what_was_open_is_known_again_whatever_its_time_is(memory_volume: Path) -> None:
    """A tmpfs keeps seconds that no 64 bits of nanoseconds hold."""
    write(memory_volume / "old")
    os.utime(memory_volume / "old", (-99_999_999_999, -99_999_999_999))
    digest = held(memory_volume)
    with holding(memory_volume / "old", "reader"):
        result = approve(memory_volume, digest)
    assert "1 approved files stay for what may pass (inUse 1)" in result.message
    assert counters(approve(memory_volume, digest)).removed == 1


def test_a_locked_directory_and_one_that_cannot_be_read_keep_the_plan(open_volume: Path) -> None:
    for name in ("a/1", "b/1", "c/1"):
        write(open_volume / name, days=OLD)
    for path in (open_volume, *open_volume.iterdir(), *open_volume.glob("*/*")):
        os.chown(path, 65532, 65532)
    digest = str(as_user(65532, lambda: held(open_volume)))
    os.chmod(open_volume / "b", 0)
    with holding(open_volume / "a", "exclusive lock"):
        message = str(as_user(65532, lambda: approve(open_volume, digest).message))
    assert "2 approved files stay for what may pass (locked 1, permission 1)" in message
    (open_volume / "b").chmod(0o700)
    assert as_user(65532, lambda: counters(approve(open_volume, digest)).removed) == 2
    assert plans(open_volume) == set()


def test_a_directory_that_is_used_keeps_the_plan(volume: Path) -> None:
    item(volume / "run-1", "a")
    item(volume / "run-2", "a")
    digest = held(volume, directories(["run-*"]))
    with holding(volume / "run-1/a", "reader"):
        assert "1 approved files stay" in approve(volume, digest, directories(["run-*"])).message
    assert counters(approve(volume, digest, directories(["run-*"]))).removed == 1
    assert not any(path.endswith(b".plan") for path in plans(volume))


def test_what_is_gone_or_changed_is_not_waited_for(logs: Path) -> None:
    digest = held(logs)
    os.unlink(logs / "0/0")
    write(logs / "1/1", days=OLD, content=b"another")
    # Something that is locked, and not in the plan, is not waited for either.
    write(logs / "new/1", days=OLD)
    with holding(logs / "new", "exclusive lock"):
        result = approve(logs, digest)
    assert (counters(result).removed, counters(result).skipped) == (8, {"locked": 1, "notApproved": 1})
    assert "the plan is kept" not in result.message
    assert plans(logs) == set()


def test_nor_is_what_the_rules_keep_by_now(logs: Path) -> None:
    digest = held(logs)
    result = approve(logs, digest, rule(exclude=["2/2"]))
    assert (counters(result).removed, "the plan is kept" in result.message) == (9, False)
    assert plans(logs) == set()


def test_a_run_that_was_stopped_leaves_the_plan(logs: Path) -> None:
    digest = held(logs)
    stop = Stop()
    stop.now("Cancelled")
    assert carry_out(cleanup_task(logs, max_items=0, approve=digest), stop=stop).outcome == "Cancelled"
    assert counters(approve(logs, digest)).removed == 10
