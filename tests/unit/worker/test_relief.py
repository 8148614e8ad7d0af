"""What counts as relief of pressure, and what does not stand in its way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from housekeeper_api.task import OpenFiles, Pressure
from housekeeper_worker.retention.pressure import Fill, Level, Need
from housekeeper_worker.stop import stopping_on_signals
from housekeeper_worker.tally import Tally
from housekeeper_worker.volume.pressure import Gauge
from tests.unit.worker.builders import carry_out, cleanup_task, counters, directories, item, rule, write
from tests.unit.worker.test_directories import left
from tests.unit.worker.test_trash_left import leave

KIB = 1 << 10
MIB = 1 << 20


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


@pytest.fixture
def interrupted(volume: Path) -> Path:
    """Six files, a day apart, and a larger one in the trash, which an earlier run left."""
    item(volume / "d", "a")
    write(volume / "d/b", content=b"x" * 400 * KIB)
    leave(volume, committed=True)
    for number in range(6):
        write(volume / str(number), days=number + 1, content=b"x" * 100 * KIB)
    return volume


def test_what_an_earlier_run_left_is_no_relief_of_this_one(interrupted: Path) -> None:
    """It was not counted either when the claim was looked at: nothing in `.housekeeper` is."""
    pressure = Pressure(80, 50, "Claim", 700 * KIB)
    result = carry_out(cleanup_task(interrupted, rule(older="12h"), pressure=pressure))
    assert left(interrupted) == {"0", "1", "2"}
    assert "was 86.2 % full and is 43.4 % full" in result.message
    assert counters(result).removed == 4  # and what was finished


def test_what_could_not_be_relieved_is_told_without_it(interrupted: Path) -> None:
    pressure = Pressure(80, 50, "Claim", 700 * KIB)
    result = carry_out(cleanup_task(interrupted, rule(older="132h"), pressure=pressure))
    assert left(interrupted) == {"0", "1", "2", "3", "4"}
    assert "freed 100 KiB; the rules let no more go" in result.message


def test_nobody_waits_for_room_that_an_earlier_run_made(memory_volume: Path) -> None:
    """Of the bytes that the run has counted all were free before it measured, and more than it wants is not there."""
    write(memory_volume / "young")
    fd = os.open(memory_volume, os.O_RDONLY | os.O_DIRECTORY)
    full = Fill(Level(95, 100), Level(0, 0))
    with stopping_on_signals(2.5) as stop:
        gauge = Gauge(fd, Pressure(1, 0, "FileSystem"), full, Need(50, 0), 500, stop, counted=1 << 30)
        gauge.look_at_the_end(Tally(bytes_freed=1 << 30), all_gone=True)
    os.close(fd)
    assert not gauge.is_low()
    assert stop.reason is None


def test_who_writes_to_the_same_file_system_does_not_stop_the_relief_of_a_claim(memory_volume: Path) -> None:
    """Nothing gets free there, as if others took it at once, and yet the claim gets emptier."""
    fd = os.open(memory_volume, os.O_RDONLY | os.O_DIRECTORY)
    full = Fill(Level(95 * MIB, 100 * MIB), Level(0, 0))
    with stopping_on_signals(60) as stop:
        gauge = Gauge(fd, Pressure(85, 50, "Claim"), full, Need(45 * MIB, 0), 1, stop)
        ends = [gauge.enough(1, Tally(bytes_freed=number * 6 * MIB)) for number in range(1, 9)]
    os.close(fd)
    assert ends == [*[False] * 7, True]
    assert not gauge.stalled
