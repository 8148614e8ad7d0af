"""SIGKILL at two hundred moments of runs: the audit tells all but the batch in flight, and another run finishes."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

from tests.unit.worker.builders import OLD, as_user, carry_out, cleanup_task, files_below, give, write
from tests.unit.worker.confinement import become

KILLS = 200
STEPS = frozenset({"open", "os.remove", "os.scandir", "fcntl.fcntl", "fcntl.flock"})
"""Events of the interpreter before the calls that a run makes on a volume."""


def is_step(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an event is one of a run's steps. What it works on are names in bytes; imports name files by texts."""
    return event in STEPS and not isinstance(arguments[0], str)


def plant(volume: Path) -> set[bytes]:
    """Old and young files in several directories, some with two names, one of them young enough. Returns what stays."""
    for number in range(24):
        write(volume / f"d{number % 3}/old-{number}", days=OLD)
        write(volume / f"d{number % 3}/e/young-{number}", days=1)
    for number in range(6):
        os.link(volume / f"d0/old-{number * 3}", volume / f"d1/old-other-{number}")
    return {path for path in files_below(volume) if b"young" in path}


def count_steps(volume: Path) -> int:
    """How many steps a whole run takes. In a child, for a hook cannot be taken away again."""

    def act() -> int:
        steps = 0

        def on_event(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal steps
            steps += is_step(event, arguments)

        sys.addaudithook(on_event)
        carry_out(cleanup_task(volume))
        return steps

    return int(as_user(0, act))


def run_until(volume: Path, audit: Path, step: int, *, uid: int, processes: int) -> None:
    """A run that kills itself before its step number `step`, in whichever of its processes that comes first."""
    child = os.fork()
    if child == 0:
        fd = os.open(audit, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        become(uid)
        left, first = step, os.getpid()

        def on_event(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if not is_step(event, arguments):
                return
            left -= 1
            if left < 0:
                os.kill(first, signal.SIGKILL)
                signal.pause()  # another process dies with the first one

        sys.addaudithook(on_event)
        try:
            carry_out(cleanup_task(volume, processes=processes), audit_fd=fd)
        except BaseException:  # noqa: BLE001 - there is nobody else to say it
            traceback.print_exc()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_anywhere_nothing_else_is_gone_and_the_next_run_finishes(
    memory_volume: Path, uid: int, processes: int
) -> None:
    audit = memory_volume.parent / "audit"
    outside = memory_volume.parent / "outside"
    write(outside / "old", days=OLD)
    plant(memory_volume)
    steps = count_steps(memory_volume)
    chance = random.Random(uid)
    for _ in range(KILLS // 2):
        young = plant(memory_volume)
        give(memory_volume, uid)
        before = files_below(memory_volume)
        run_until(memory_volume, audit, chance.randrange(steps // processes), uid=uid, processes=processes)
        left = files_below(memory_volume)
        gone = before - left
        lines = [json.loads(line) for line in audit.read_bytes().split(b"\n")[:-1]]
        told = {line["path"].encode() for line in lines if line["event"] == "removed"}
        announced = sum(line["count"] for line in lines if line["event"] == "intent")
        assert young <= left
        assert told <= gone
        assert len(gone) <= announced
        result = carry_out(cleanup_task(memory_volume))
        assert result.outcome == "Succeeded"
        # Another process has the lock until it, too, is dead.
        assert processes > 1 or "waited" not in result.message
        assert result.cleanup is not None
        assert result.cleanup.removed == len(before) - len(young) - len(gone)
        assert files_below(memory_volume) == young
    assert files_below(outside) == {b"old"}
