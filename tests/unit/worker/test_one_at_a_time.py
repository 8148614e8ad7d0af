"""Two workers at one volume: writers alone, readers together, and nothing stays locked."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from housekeeper_api.task import Mode
from housekeeper_worker.stop import Stop
from housekeeper_worker.volume.locking import wait_for_root
from tests.unit.worker.builders import OLD, carry_out, cleanup_task, files_below, write
from tests.unit.worker.pods import Worker


@contextmanager
def lock(volume: Path, operation: int) -> Iterator[None]:
    """The lock that another worker would hold."""
    fd = os.open(volume, os.O_RDONLY)
    try:
        fcntl.flock(fd, operation)
        yield
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("held", "mode"), [(fcntl.LOCK_EX, "Enforce"), (fcntl.LOCK_EX, "DryRun"), (fcntl.LOCK_SH, "Enforce")]
)
def test_a_second_worker_waits_and_says_so(volume: Path, tmp_path: Path, held: int, mode: Mode) -> None:
    write(volume / "old", days=OLD)
    with lock(volume, held):
        worker = Worker(tmp_path, cleanup_task(volume, mode=mode))
        assert worker.process.stderr is not None
        assert b"another worker is at this volume: waiting" in worker.process.stderr.readline()
        assert files_below(volume) == {b"old"}
    code, result, _ = worker.end()
    assert (code, result.outcome) == (0, "Succeeded")
    assert "s for another worker at this volume" in result.message


def test_dry_runs_do_not_wait_for_each_other(volume: Path) -> None:
    write(volume / "old", days=OLD)
    with lock(volume, fcntl.LOCK_SH):
        result = carry_out(cleanup_task(volume, mode="DryRun"))
    assert result.outcome == "Succeeded"
    assert "waited" not in result.message


def test_the_wait_is_bounded_by_the_timeout(volume: Path, tmp_path: Path) -> None:
    write(volume / "old", days=OLD)
    with lock(volume, fcntl.LOCK_EX):
        code, result, _ = Worker(tmp_path, cleanup_task(volume, timeout=0.5)).end()
    assert (code, result.outcome) == (1, "TimedOut")
    assert "for another worker at this volume" in result.message
    assert files_below(volume) == {b"old"}


def test_a_killed_worker_leaves_nothing_locked(volume: Path, tmp_path: Path) -> None:
    for number in range(6000):  # more than a pipe takes of the audit, so that it stands still in mid-run
        write(volume / str(number), days=OLD)
    worker = Worker(tmp_path, cleanup_task(volume))
    while worker.next_line()["event"] != "removed":
        pass
    fd = os.open(volume, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)
    worker.process.kill()
    worker.process.communicate()
    result = carry_out(cleanup_task(volume))
    assert result.outcome == "Succeeded"
    assert "waited" not in result.message
    assert files_below(volume) == set()


def test_without_locks_a_worker_goes_on(volume: Path) -> None:
    """A path descriptor stands for a file system that has none: both answer with an error that is no conflict."""
    fd = os.open(volume, os.O_PATH)
    assert wait_for_root(fd, exclusive=True, stop=Stop(), on_wait=lambda: None) is None
    os.close(fd)
