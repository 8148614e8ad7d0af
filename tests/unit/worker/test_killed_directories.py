"""SIGKILL at two hundred moments of runs that remove directories: half of one is never seen, the next run finishes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from housekeeper_api.task import Task
from tests.unit.worker.builders import as_user, carry_out, cleanup_task, directories, files_below, give, item, rule
from tests.unit.worker.confinement import become
from tests.unit.worker.test_killed import KILLS

STEPS = frozenset(
    {
        "open",
        "os.remove",
        "os.rmdir",
        "os.rename",
        "os.mkdir",
        "os.scandir",
        "os.truncate",
        "fcntl.fcntl",
        "fcntl.flock",
    }
)
"""Events of the interpreter before the calls that a run makes on a volume."""


def is_step(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an event is one of a run's steps. What it works on are names in bytes; imports name files by texts."""
    return event in STEPS and not (isinstance(arguments[0], str) and arguments[0].startswith("/"))


def plant(volume: Path, uid: int) -> None:
    """Old directories with sub-directories, beside each other and apart; young ones; old files to be emptied of."""
    for number in range(4):
        item(volume / f"run-{number}", "a", "deep/b", "deep/er/c", "deep/er/d")
        item(volume / f"apart-{number}/run", "a", "x/y/z", "x/w")
    item(volume / "run-young", "a", "deep/b", days=1)
    item(volume / "files/deep", "a", "b")
    give(volume, uid)


def a_task(volume: Path) -> Task:
    """Removes all that is old."""
    runs = directories(["run-*", "apart-*/run"], remove_empty_directories="EmptiedByThisRun")
    return cleanup_task(volume, runs, rule(remove_empty_directories="EmptiedByThisRun"))


def visible(volume: Path) -> dict[str, set[bytes]]:
    """What each directory that may be an item holds, by its path; those that are not there are left out."""
    paths = [*volume.glob("run-*"), *volume.glob("apart-*/run")]
    return {os.fspath(path.relative_to(volume)): files_below(path) for path in paths}


def child(volume: Path, uid: int, steps: int) -> int:
    """A run in a child that kills itself before its step number `steps`. The status it ends with."""
    pid = os.fork()
    if pid == 0:
        become(uid)
        left = steps

        def on_event(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if is_step(event, arguments):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(on_event)
        try:
            carry_out(a_task(volume))
        except BaseException:  # noqa: BLE001 - there is nobody else to say it
            traceback.print_exc()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return status


def count_steps(volume: Path, uid: int) -> list[str]:
    """The steps of a whole run. In a child, for a hook cannot be taken away again."""

    def act() -> list[str]:
        steps: list[str] = []

        def on_event(event: str, arguments: tuple[Any, ...]) -> None:
            if is_step(event, arguments):
                steps.append(event)

        sys.addaudithook(on_event)
        carry_out(a_task(volume))
        return list(steps)

    return list(as_user(uid, act))


def test_killed_anywhere_a_directory_is_whole_or_not_there(memory_volume: Path, uid: int) -> None:
    seen = killed_often(memory_volume, uid, KILLS // 2, random.Random(uid))
    assert min(seen["broughtBack"], seen["finished"]) > 5, seen


def killed_often(volume: Path, uid: int, kills: int, chance: random.Random) -> Counter[str]:
    """Kill so many runs, each on a tree made anew, and let another finish. How often these told of which event."""
    plant(volume, uid)
    steps = count_steps(volume, uid)
    renames = [number for number, event in enumerate(steps) if event == "os.rename"]
    assert len(renames) > 8, "the runs to be killed do not rename"
    # A third of them is killed right after a rename, before anything else is done.
    moments = [chance.randrange(len(steps)) if number % 3 else chance.choice(renames) + 1 for number in range(kills)]
    seen: Counter[str] = Counter()
    for moment in moments:
        shutil.rmtree(volume)
        volume.mkdir()
        plant(volume, uid)
        whole = visible(volume)
        status = child(volume, uid, moment)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        left = visible(volume)
        assert left.items() <= whole.items(), "half of a directory is seen"
        assert left["run-young"] == whole["run-young"]
        trash = volume / ".housekeeper/trash"
        waiting = [path.name for path in trash.iterdir() if path.is_dir()] if trash.exists() else []
        result = as_user(uid, lambda: _told(volume))
        assert result["outcome"] == "Succeeded", result
        assert visible(volume) == {"run-young": whole["run-young"]}
        # What the killed run had emptied, the next one did not empty, so that it stays.
        assert {path for path in files_below(volume) if not path.startswith((b".", b"run-young"))} == set()
        assert {path.name: path.stat().st_size for path in trash.iterdir()} == {"journal": 0}
        # What had been emptied in part was finished; what had only been renamed came back, and went in its turn.
        finished, back = (result["events"].get(event, 0) for event in ("finished", "broughtBack"))
        assert result["removed"] == len(left) - 1 + result["files"] + finished + back
        assert back <= len(waiting)
        seen.update(result["events"])
    return seen


def _told(volume: Path) -> dict[str, Any]:
    files = sum(1 for name in ("a", "b") if (volume / "files/deep" / name).exists())
    # A moment later: what is brought back has changed, and must settle like anything else.
    audit = os.memfd_create("audit")
    result = carry_out(a_task(volume), later=0.01, audit_fd=audit)
    lines = os.pread(audit, 1 << 20, 0).splitlines()
    os.close(audit)
    assert result.cleanup is not None
    return {
        "outcome": result.outcome,
        "message": result.message,
        "removed": result.cleanup.removed,
        "files": files,
        "events": Counter(json.loads(line)["event"] for line in lines),
        "skipped": result.cleanup.skipped,
    }
