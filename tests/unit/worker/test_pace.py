"""A limit on operations: as many as it says, spread over the time, and no wait beyond a stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from housekeeper_worker.pace import Pace
from housekeeper_worker.stop import Stop, stopping_on_signals
from tests.unit.worker.builders import OLD, carry_out, cleanup_task, files_below, write


@pytest.mark.parametrize(("rate", "step"), [(0.5, 1), (4, 1), (400, 100), (1_000_000, 250_000)])
def test_work_comes_in_steps_of_a_quarter_of_a_second(rate: float, step: int) -> None:
    assert Pace(rate, Stop()).step == step


def test_the_next_operations_wait_for_the_last_ones() -> None:
    pace = Pace(1_000, Stop())
    began = time.monotonic()
    for _ in range(5):
        pace.spend(50)
    assert 0.2 <= time.monotonic() - began < 2


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_keeps_the_pace_that_it_is_given(volume: Path, processes: int) -> None:
    for number in range(150):
        write(volume / f"d{number % 3}/f{number}", days=OLD)
    began = time.monotonic()
    result = carry_out(cleanup_task(volume, processes=processes, operations_per_second=300))
    # Half a second to look at them and half to remove them, but for the first step of each.
    assert time.monotonic() - began > 0.4
    assert result.cleanup is not None
    assert (result.cleanup.removed, files_below(volume)) == (150, set())


def test_nobody_waits_beyond_a_stop(volume: Path) -> None:
    for number in range(20):
        write(volume / f"f{number}", days=OLD)
    with stopping_on_signals(60) as stop:
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        began = time.monotonic()
        result = carry_out(cleanup_task(volume, operations_per_second=1), stop=stop)
        timer.join()
    assert time.monotonic() - began < 5
    assert result.outcome == "Cancelled"
    assert len(files_below(volume)) == 20
