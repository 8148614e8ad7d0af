"""The decisions that a result shows as examples: none says Remove of what the run let stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from housekeeper_api.result import Result
from housekeeper_api.task import Mode
from housekeeper_worker.retention.decide import Decided
from housekeeper_worker.stop import Stop
from tests.unit.worker.approving import approve, held
from tests.unit.worker.builders import OLD, age, carry_out, cleanup_task, counters, directories, item, rule, write
from tests.unit.worker.openers import holding
from tests.unit.worker.quarantines import quarantine_task

MODES: list[Mode] = ["DryRun", "Enforce"]
IN_USE = ("Keep", "inUse: a process has it open")
GOES = ("Remove", "older than 30d")


def samples(result: Result) -> dict[str, tuple[str, str]]:
    """Decision and reason of each example."""
    return {one["path"]: (one["decision"], one["reason"]) for one in counters(result).sample}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_file_that_is_open_is_no_example_of_what_goes(volume: Path, mode: Mode, processes: int) -> None:
    for name in ("a/held", "a/free", "b/free", "free"):
        write(volume / name, days=OLD)
    with holding(volume / "a/held", "reader"):
        result = carry_out(cleanup_task(volume, mode=mode, processes=processes))
    assert counters(result).skipped == {"inUse": 1}
    assert samples(result) == {"a/held": IN_USE, "a/free": GOES, "b/free": GOES, "free": GOES}


@pytest.mark.parametrize("mode", MODES)
def test_nor_is_a_directory_that_is_in_use(volume: Path, mode: Mode) -> None:
    for name in ("profile-1", "profile-2"):
        item(volume / name, "Cookies")
    os.symlink(f"{os.uname().nodename}-{os.getpid()}", volume / "profile-1/SingletonLock")
    age(volume / "profile-1", OLD)
    result = carry_out(cleanup_task(volume, directories(), mode=mode))
    assert samples(result) == {"profile-1": IN_USE, "profile-2": GOES}


def test_nor_what_would_be_quarantined(volume: Path) -> None:
    for name in ("held", "free"):
        write(volume / name, days=OLD)
    with holding(volume / "held", "reader"):
        result = carry_out(quarantine_task(volume))
    assert samples(result) == {"held": IN_USE, "free": GOES}


def test_nor_what_nobody_approved(volume: Path) -> None:
    write(volume / "approved", days=OLD)
    digest = held(volume, rule(include=["*"]))
    write(volume / "later", days=OLD)
    result = approve(volume, digest, rule(include=["*"]))
    assert counters(result).skipped == {"notApproved": 1}
    assert samples(result) == {
        "approved": GOES,
        "later": ("Keep", "notApproved: it is not in the plan that was approved, or is another file by now"),
    }


def test_nor_what_a_run_did_not_come_to(volume: Path) -> None:
    write(volume / "old", days=OLD)
    stop = Stop()

    def on_decision(_: Decided) -> None:
        stop.now("TimedOut")

    result = carry_out(cleanup_task(volume), stop=stop, on_decision=on_decision)
    assert samples(result) == {"old": ("Keep", "the run ended before it came to this")}


def test_nor_what_a_brake_stopped_for_good(volume: Path) -> None:
    write(volume / "old", days=OLD)
    result = carry_out(cleanup_task(volume, max_items=0, on_trip="Fail"))
    assert result.outcome == "Failed"
    assert samples(result) == {"old": ("Keep", "a brake tripped, so that nothing went")}


def test_a_plan_that_is_held_is_shown_as_it_waits_for_approval(volume: Path) -> None:
    write(volume / "old", days=OLD)
    assert samples(carry_out(cleanup_task(volume, max_items=0))) == {"old": GOES}
