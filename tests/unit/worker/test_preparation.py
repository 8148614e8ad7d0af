"""What must be so before a volume is looked at: the marker is there, and the clock has not gone back."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from housekeeper_api.task import PastRun
from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.logs import timestamp
from tests.unit.worker.builders import OLD, carry_out, cleanup_task, files_below, write

SECOND = 1_000_000_000


@pytest.mark.parametrize("marker", [".volume-id", "data/.volume-id", "odd [x]{a,b}*?!^-\\é"])
def test_the_marker_lets_the_run_go_and_is_never_removed(volume: Path, marker: str, prefer_fallback: bool) -> None:
    write(volume / marker, days=OLD)
    write(volume / "data/old", days=OLD)
    write(volume / "odd x", days=OLD)
    result = carry_out(cleanup_task(volume, expect_marker=marker), prefer_fallback=prefer_fallback)
    assert result.outcome == "Succeeded"
    assert files_below(volume) == {os.fsencode(marker)}


def _none(_: Path) -> None:
    pass


def _a_directory(volume: Path) -> None:
    (volume / "d/id").mkdir(parents=True)


def _a_link(volume: Path) -> None:
    write(volume / "d/real")
    (volume / "d/id").symlink_to("real")


def _behind_a_link(volume: Path) -> None:
    write(volume / "real/id")
    (volume / "d").symlink_to("real")


def _below_a_file(volume: Path) -> None:
    write(volume / "d")


@pytest.mark.parametrize(
    ("arrange", "said"),
    [
        (_none, "is not there"),
        (_a_directory, "is no regular file"),
        (_a_link, "is no regular file"),
        (_behind_a_link, "is not there"),
        (_below_a_file, "is not there"),
    ],
)
@pytest.mark.parametrize("mode", ["DryRun", "Enforce"])
def test_without_the_marker_nothing_is_looked_at(volume: Path, arrange: object, said: str, mode: str) -> None:
    arrange(volume)
    write(volume / "old", days=OLD)
    with pytest.raises(CouldNotRun, match=said) as caught:
        carry_out(cleanup_task(volume, mode=mode, expect_marker="d/id"))
    assert "target.volume.expectMarker: d/id" in str(caught.value)
    assert (volume / "old").exists()


def test_a_clock_behind_the_last_run_stops_it(volume: Path) -> None:
    write(volume / "old", days=OLD)
    now = time.time_ns()
    runs = (PastRun(now - 90 * SECOND, 1, 1, 0, 0), PastRun(now + 90 * SECOND, 1, 1, 0, 0))
    with pytest.raises(CouldNotRun, match=r"8\d s before the last run|90 s before the last run"):
        carry_out(cleanup_task(volume, state=runs))
    done = carry_out(cleanup_task(volume, state=runs[:1]), now_ns=now)
    assert done.outcome == "Succeeded"
    assert done.cleanup is not None
    assert done.cleanup.now == f"{timestamp(now)[:19]}Z"


@pytest.mark.parametrize(("ahead", "goes"), [(59, True), (61, False)])
def test_the_clocks_of_two_nodes_may_differ_by_a_minute(volume: Path, ahead: int, goes: bool) -> None:
    now = time.time_ns()
    task = cleanup_task(volume, state=(PastRun(now + ahead * SECOND, 1, 1, 0, 0),))
    with nullcontext() if goes else pytest.raises(CouldNotRun, match="61 s before the last run"):
        assert carry_out(task, now_ns=now).outcome == "Succeeded"
