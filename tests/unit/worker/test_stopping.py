"""The end of a run that is told to stop: in time, with true numbers, whatever its other processes do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

import pytest

from tests.unit.worker.builders import OLD, cleanup_task, files_below, write
from tests.unit.worker.pods import Worker

STOPS_IN: Final = 5.0
"""Seconds, which a pod that is being deleted can count on."""
MANY: Final = 6000
"""Files whose audit does not fit into a pipe, so that a worker whose audit nobody reads stands still in mid-run."""


def others_of(pid: int) -> list[int]:
    """The other processes of a run."""
    return [int(one) for one in Path("/proc", str(pid), "task", str(pid), "children").read_text().split()]


@pytest.mark.parametrize("hears", [True, False], ids=["which hears", "which does not hear"])
def test_with_a_second_process_a_run_ends_in_time(memory_volume: Path, tmp_path: Path, hears: bool) -> None:
    for number in range(MANY):
        write(memory_volume / f"d{number % 40}/old-{number}", days=OLD)
    worker = Worker(tmp_path, cleanup_task(memory_volume, processes=2))
    told = [worker.next_line()]
    while told[-1]["event"] != "removed":
        told.append(worker.next_line())
    (other,) = others_of(worker.process.pid)
    if not hears:
        os.kill(other, signal.SIGSTOP)
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
    assert ("did not end in 3 s" in result.message) == (not hears)


@pytest.mark.parametrize("hears", [True, False], ids=["which hears", "which does not hear"])
def test_so_it_does_while_it_looks(memory_volume: Path, tmp_path: Path, hears: bool) -> None:
    """A walk slowed down to 4,000 files a second, so that it is not over when it is told to stop."""
    for number in range(30_000):
        path = memory_volume / f"d{number % 300}/{number}"
        if number < 300:
            path.parent.mkdir()
        path.touch()
    task = cleanup_task(memory_volume, processes=2, operations_per_second=4_000)
    worker = Worker(tmp_path, task)
    while not (others := others_of(worker.process.pid)):
        assert worker.process.poll() is None
    if not hears:
        os.kill(others[0], signal.SIGSTOP)
    began = time.monotonic()
    worker.process.terminate()
    code, result, _ = worker.end()
    took = time.monotonic() - began
    assert (code, result.outcome) == (1, "Cancelled")
    assert result.cleanup is not None
    assert (result.cleanup.removed, len(files_below(memory_volume))) == (0, 30_000)
    assert took < STOPS_IN
