"""The end of a run that is told to stop: in time, with true numbers, whatever its other processes do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

import pytest

from tests.unit.worker.approving import held, plans
from tests.unit.worker.builders import OLD, cleanup_task, files_below, users_files, write
from tests.unit.worker.pods import Worker

STOPS_IN: Final = 5.0
"""Seconds, which a pod that is being deleted can count on."""
MANY: Final = 6000
"""Files whose audit does not fit into a pipe, so that a worker whose audit nobody reads stands still in mid-run."""


TO_LOOK_AT: Final = 30_000


def looking(volume: Path, directory: Path) -> tuple[Worker, int]:
    """A worker that looks through `TO_LOOK_AT` old files, and its second process.

    It is slowed down to 4,000 files a second, so that its walk is not over when it is told to stop.
    """
    for number in range(TO_LOOK_AT):
        path = volume / f"d{number % 300}/{number}"
        if number < 300:
            path.parent.mkdir()
        path.touch()
        os.utime(path, (0, 0))
    worker = Worker(directory, cleanup_task(volume, processes=2, operations_per_second=4_000))
    while not (others := others_of(worker.process.pid)):
        assert worker.process.poll() is None
    return worker, others[0]


def others_of(pid: int) -> list[int]:
    """The other processes of a run."""
    return [int(one) for one in Path("/proc", str(pid), "task", str(pid), "children").read_text().split()]


@pytest.mark.parametrize(
    "sent", [None, signal.SIGSTOP, signal.SIGTERM], ids=["which hears", "which does not hear", "which heard it first"]
)
def test_with_a_second_process_a_run_ends_in_time(
    memory_volume: Path, tmp_path: Path, sent: signal.Signals | None
) -> None:
    for number in range(MANY):
        write(memory_volume / f"d{number % 40}/old-{number}", days=OLD)
    worker = Worker(tmp_path, cleanup_task(memory_volume, processes=2))
    told = [worker.next_line()]
    while told[-1]["event"] != "removed":
        told.append(worker.next_line())
    (other,) = others_of(worker.process.pid)
    if sent is not None:
        os.kill(other, sent)
    began = time.monotonic()
    worker.process.terminate()
    code, result, rest = worker.end()
    took = time.monotonic() - began
    assert (code, result.outcome, result.message[:18]) == (1, "Cancelled", "cancelled: removed")
    gone = MANY - len(files_below(memory_volume))
    assert 0 < gone < MANY
    assert result.cleanup is not None
    assert result.cleanup.removed == gone == sum(line["event"] == "removed" for line in told + rest)
    assert took < STOPS_IN
    assert not Path("/proc", str(other)).exists()
    assert ("stopped: " in result.message) == ("did not end in 3 s" in result.message) == (sent is signal.SIGSTOP)


@pytest.mark.parametrize("approved", [False, True], ids=["by brakes", "by approval"])
def test_a_second_process_that_alone_is_told_to_end_fails_the_run(
    memory_volume: Path, tmp_path: Path, approved: bool
) -> None:
    """As earlyoom tells it. What it left is not done, so an approval of it is not used up."""
    for number in range(MANY):
        write(memory_volume / f"d{number % 40}/old-{number}", days=OLD)
    digest = held(memory_volume) if approved else None
    worker = Worker(tmp_path, cleanup_task(memory_volume, processes=2, approve=digest))
    told = [worker.next_line()]
    while told[-1]["event"] != "removed":
        told.append(worker.next_line())
    (other,) = others_of(worker.process.pid)
    os.kill(other, signal.SIGTERM)
    code, result, rest = worker.end()
    assert (code, result.outcome) == (1, "Failed")
    assert f"process {other} of this run was told to end by signal 15 (Terminated)" in result.message
    gone = MANY - len(users_files(memory_volume))
    assert 0 < gone < MANY
    assert result.cleanup is not None
    assert result.cleanup.removed == gone == sum(line["event"] == "removed" for line in told + rest)
    assert bool(plans(memory_volume)) == approved


@pytest.mark.parametrize("hears", [True, False], ids=["which hears", "which does not hear"])
def test_so_it_does_while_it_looks(memory_volume: Path, tmp_path: Path, hears: bool) -> None:
    worker, other = looking(memory_volume, tmp_path)
    if not hears:
        os.kill(other, signal.SIGSTOP)
    began = time.monotonic()
    worker.process.terminate()
    code, result, _ = worker.end()
    took = time.monotonic() - began
    assert (code, result.outcome) == (1, "Cancelled")
    assert result.cleanup is not None
    assert (result.cleanup.removed, len(files_below(memory_volume))) == (0, TO_LOOK_AT)
    assert took < STOPS_IN


def test_a_second_process_that_alone_is_told_to_end_while_it_looks_fails_the_run(
    memory_volume: Path, tmp_path: Path
) -> None:
    """What it had not looked through is in no plan, and nobody waits for it."""
    worker, other = looking(memory_volume, tmp_path)
    os.kill(other, signal.SIGTERM)
    code, result, _ = worker.end()
    assert (code, result.outcome) == (1, "Failed")
    assert f"process {other} of this run was" in result.message
    assert "signal 15 (Terminated)" in result.message
    assert result.cleanup is not None
    assert (result.cleanup.removed, len(files_below(memory_volume))) == (0, TO_LOOK_AT)
