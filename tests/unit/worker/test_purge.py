"""The end of a quarantine: after what was promised, and not before; the policy's own, and nobody else's."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from housekeeper_worker.stop import Stop
from tests.unit.worker.builders import OLD, carry_out, cleanup_task, rule, write
from tests.unit.worker.quarantines import (
    at_place,
    in_quarantine,
    put_back,
    quarantine_task,
    quarantines,
)


@pytest.fixture
def quarantined(volume: Path) -> Path:
    """A volume with three old files in quarantine for a week, two of them names of one."""
    write(volume / "d/one", days=OLD, content=b"x" * 5000)
    write(volume / "two", days=OLD)
    os.link(volume / "two", volume / "three")
    carry_out(quarantine_task(volume))
    assert at_place(volume) == set()
    return volume


@pytest.mark.parametrize(("later", "purged"), [(0.0, 0), (6.99, 0), (7.01, 3), (400.0, 3)])
def test_it_is_kept_for_as_long_as_was_promised(quarantined: Path, later: float, purged: int) -> None:
    result = carry_out(quarantine_task(quarantined), later=later)
    assert result.outcome == "Succeeded"
    assert result.cleanup is not None
    assert (result.cleanup.purged, result.cleanup.removed, result.cleanup.bytes_freed) == (purged, 0, 0)
    assert result.cleanup.bytes_purged == (8192 + 4096 if purged else 0)
    assert len(in_quarantine(quarantined)) == 3 - purged
    assert bool(quarantines(quarantined)) == (not purged)
    if purged:
        assert "purged 3 from quarantine (12.0 KiB)" in result.message


@pytest.mark.parametrize(("days", "later", "purged"), [(1, 6.99, 0), (1, 7.01, 3), (30, 7.01, 0), (30, 30.01, 3)])
def test_a_policy_that_is_edited_may_promise_more_but_not_less(
    quarantined: Path, days: float, later: float, purged: int
) -> None:
    result = carry_out(quarantine_task(quarantined, days=days), later=later)
    assert result.cleanup is not None
    assert result.cleanup.purged == purged


def test_a_marker_at_the_root_keeps_what_is_set_aside(quarantined: Path) -> None:
    write(quarantined / ".nocleanup")
    result = carry_out(quarantine_task(quarantined, run="later"), later=8)
    assert result.cleanup is not None
    assert (result.cleanup.purged, len(in_quarantine(quarantined))) == (0, 3)
    assert any(".nocleanup at the volume's root" in note for note in result.cleanup.notes)
    (quarantined / ".nocleanup").unlink()
    assert put_back(quarantined).outcome == "Succeeded"


def test_a_policy_that_only_removes_by_now_purges_too(quarantined: Path) -> None:
    result = carry_out(quarantine_task(quarantined, rule()), later=8)
    assert result.cleanup is not None
    assert result.cleanup.purged == 3


def test_others_quarantines_are_not_touched(quarantined: Path) -> None:
    result = carry_out(quarantine_task(quarantined, policy="other"), later=8)
    assert result.cleanup is not None
    assert (result.cleanup.purged, len(in_quarantine(quarantined))) == (0, 3)
    carry_out(cleanup_task(quarantined), later=8)
    assert len(in_quarantine(quarantined)) == 3


def test_a_dry_run_purges_nothing(quarantined: Path) -> None:
    carry_out(quarantine_task(quarantined, mode="DryRun"), later=8)
    assert len(in_quarantine(quarantined)) == 3


def test_a_run_that_is_held_purges_nothing(quarantined: Path) -> None:
    write(quarantined / "old", days=OLD)
    result = carry_out(quarantine_task(quarantined, max_percent=0), later=8)
    assert result.outcome == "Held"
    assert len(in_quarantine(quarantined)) == 3


def test_a_run_that_is_stopped_purges_no_further(quarantined: Path) -> None:
    stop = Stop()
    stop.now("Cancelled")
    carry_out(quarantine_task(quarantined), later=8, stop=stop)
    assert len(in_quarantine(quarantined)) == 3


def test_what_was_moved_while_a_run_waited_says_nothing_about_the_clock(volume: Path) -> None:
    write(volume / "one", days=OLD)
    carry_out(quarantine_task(volume, run="first", days=0))
    began = time.time_ns()
    write(volume / "two", days=OLD)
    carry_out(quarantine_task(volume, run="waited-for"))
    result = carry_out(quarantine_task(volume, run="waiting", days=0), now_ns=began)
    assert result.cleanup is not None
    assert not any("the clock is behind" in note for note in result.cleanup.notes)
    assert (result.cleanup.purged, set(in_quarantine(volume))) == (1, {b"two"})


def test_a_clock_that_is_behind_a_quarantine_stops_the_purge(quarantined: Path) -> None:
    write(quarantined / "later", days=-19)
    carry_out(quarantine_task(quarantined, run="run-2", days=30), later=60)  # purges the first, and makes one then
    write(quarantined / "now", days=OLD)
    carry_out(quarantine_task(quarantined, run="run-3"), later=0)
    before = in_quarantine(quarantined)
    assert set(before) == {b"later", b"now"}
    result = carry_out(quarantine_task(quarantined), later=8)
    assert result.cleanup is not None
    assert result.cleanup.purged == 0
    assert any("the clock is behind the quarantine run-2" in note for note in result.cleanup.notes)
    assert in_quarantine(quarantined) == before


def test_what_is_moved_by_this_run_is_not_purged_by_it(volume: Path) -> None:
    write(volume / "old", days=OLD)
    result = carry_out(quarantine_task(volume, days=0), later=1)
    assert result.cleanup is not None
    assert (result.cleanup.quarantined, result.cleanup.purged) == (1, 0)


def test_what_is_not_ours_in_a_quarantine_stays_and_is_told(quarantined: Path) -> None:
    (quarantine,) = quarantines(quarantined)
    write(quarantine / "0/directory/inside")
    result = carry_out(quarantine_task(quarantined), later=8)
    assert result.outcome == "PartiallySucceeded"
    assert result.cleanup is not None
    assert (result.cleanup.purged, result.cleanup.error_count) == (3, 1)
    assert (quarantine / "0/directory/inside").exists()
    assert (quarantine / "manifest.ndjson").exists()


def test_a_link_in_a_quarantine_is_not_followed(quarantined: Path) -> None:
    outside = quarantined.parent / "outside"
    write(outside / "0")
    (quarantine,) = quarantines(quarantined)
    os.symlink(outside, quarantine / "7")
    os.symlink(outside / "0", quarantine / "0/7")
    carry_out(quarantine_task(quarantined), later=8)
    assert (outside / "0").exists()


@pytest.mark.parametrize("text", ["", "{", '{"schemaVersion":2}\n', "[]\n", '{"schemaVersion":1}\n'])
def test_a_manifest_that_cannot_be_read_keeps_everything(quarantined: Path, text: str) -> None:
    (quarantine,) = quarantines(quarantined)
    (quarantine / "manifest.ndjson").write_text(text)
    result = carry_out(quarantine_task(quarantined), later=8)
    assert result.cleanup is not None
    assert result.cleanup.purged == 0
    assert len(list(quarantine.glob("0/*"))) == 3


@pytest.mark.parametrize(("age", "left"), [(0.0, 1), (2.0, 0)])
def test_what_was_begun_and_never_used_goes_after_a_while(volume: Path, age: float, left: int) -> None:
    carry_out(quarantine_task(volume))
    begun = volume / ".housekeeper/quarantine/run-0.a1.00000000"
    write(begun / "manifest.ndjson", content=b'{"schemaVers')
    for path in (begun.parent.parent, begun.parent, begun):
        os.chmod(path, 0o700)
    then = time.time() - age * 3600
    os.utime(begun, (then, then))
    carry_out(quarantine_task(volume))
    assert len(quarantines(volume)) == left


def test_what_came_back_is_not_purged(quarantined: Path) -> None:
    put_back(quarantined, "run-1", "two")
    result = carry_out(quarantine_task(quarantined, rule(older="1y")), later=8)
    assert result.cleanup is not None
    assert (result.cleanup.purged, at_place(quarantined)) == (2, {b"two"})
