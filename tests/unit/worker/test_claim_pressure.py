"""Pressure of a claim: what counts as relief, and what does not stand in its way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from housekeeper_api.result import Cleanup, Result
from housekeeper_api.task import OpenFiles, Pressure
from tests.unit.worker.builders import carry_out, cleanup_task, directories, item, write
from tests.unit.worker.test_directories import left

KIB = 1 << 10


def counters(result: Result) -> Cleanup:
    assert result.cleanup is not None, result
    return result.cleanup


@pytest.mark.parametrize("open_files", ["Protect", "Strict", "Ignore"])
def test_a_directory_is_no_file_that_nobody_can_tell_about(volume: Path, open_files: OpenFiles) -> None:
    """A lease on it tells nothing, and so under Strict everything would have to go."""
    for number in range(6):
        item(volume / f"run-{number}", days=number + 1)
        write(volume / f"run-{number}/a", days=number + 1, content=b"x" * 100 * KIB)
        moment = (volume / f"run-{number}/a").stat().st_mtime_ns
        os.utime(volume / f"run-{number}", ns=(moment, moment))
    pressure = Pressure(85, 70, "Claim", 700 * KIB)
    task = cleanup_task(volume, directories(older="12h"), open_files=open_files, pressure=pressure, mode="DryRun")
    assert (counters(carry_out(task)).removed, counters(carry_out(task)).planned) == (2, 2)
    task = cleanup_task(volume, directories(older="12h"), open_files=open_files, pressure=pressure)
    assert counters(carry_out(task)).removed == 2
    assert left(volume) == {f"run-{number}" for number in range(4)}
