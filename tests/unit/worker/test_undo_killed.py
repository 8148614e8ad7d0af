"""SIGKILL at hundreds of moments of moving, putting back and purging: nothing is lost, and the next run finishes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from housekeeper_api.result import Result
from tests import leftovers
from tests.unit.worker.builders import OLD, as_user, carry_out, rule, write
from tests.unit.worker.confinement import become
from tests.unit.worker.quarantines import (
    KEPT_DAYS,
    contents,
    in_quarantine,
    put_back,
    quarantine_task,
    quarantines,
    quarantining,
)

KILLS = 100
"""Of each kind, for each user."""
STEPS = frozenset(
    {
        "open",
        "os.remove",
        "os.rename",
        "os.link",
        "os.mkdir",
        "os.rmdir",
        "os.chmod",
        "os.chown",
        "os.listdir",
        "os.scandir",
        "os.truncate",
        "fcntl.fcntl",
        "fcntl.flock",
    }
)
"""Events of the interpreter before the calls that a run makes on a volume."""


def is_step(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an event is one of a run's steps. It works on relative names; imports name files from the top."""
    return event in STEPS and not (isinstance(arguments[0], str) and arguments[0].startswith("/"))


@pytest.fixture
def memory_volume(uid: int) -> Iterator[Path]:
    """An empty directory on a tmpfs, which belongs to the worker."""
    with tempfile.TemporaryDirectory(prefix=leftovers.prefix(), dir="/dev/shm") as directory:
        os.chmod(directory, 0o755)  # noqa: S103 - so that the worker's user can pass
        root = Path(directory, "volume")
        root.mkdir()
        os.chown(root, uid, uid)
        yield root


def plant(volume: Path, uid: int) -> dict[bytes, bytes]:
    """Old files in several directories, some with two names, beside young ones. Returns what each old one holds."""
    for number in range(18):
        for path, days in (f"d{number % 3}/old-{number}", OLD), (f"d{number % 3}/e/old-{number}", OLD):
            write(volume / path, days=days, content=path.encode())
        write(volume / f"d{number % 3}/young-{number}", days=-1000)
    for number in range(6):
        other = volume / f"d1/old-other-{number}"
        if not other.exists():
            os.link(volume / f"d0/old-{number * 3}", other)
    for directory, _, names in os.walk(volume):
        for name in (".", *names):
            os.chown(os.path.join(directory, name), uid, uid, follow_symlinks=False)
    return {path: content for path, content in contents(volume).items() if b"old" in path}


def count_steps(act: Callable[[], Result], uid: int) -> int:
    """How many steps `act` takes. In a child, for a hook cannot be taken away again."""

    def counted() -> int:
        steps = 0

        def on_event(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal steps
            steps += is_step(event, arguments)

        sys.addaudithook(on_event)
        act()
        return steps

    return int(as_user(uid, counted))


def killed(act: Callable[[], Result], step: int, uid: int) -> None:
    """Let `act` kill itself before its step number `step`."""
    child = os.fork()
    if child == 0:
        become(uid)
        left = step

        def on_event(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if not is_step(event, arguments):
                return
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(on_event)
        try:
            act()
        except BaseException:  # noqa: BLE001 - there is nobody else to say it
            traceback.print_exc()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def outcome(act: Callable[[], Result], uid: int) -> str:
    """How a whole run ends."""
    return str(as_user(uid, lambda: act().outcome))


def assert_whole(volume: Path, files: dict[bytes, bytes]) -> None:
    """Each file is at its place, or in quarantine with a line that says where it was."""
    there = {path: {content} for path, content in contents(volume).items()}
    for path, content in in_quarantine(volume).items():
        there.setdefault(path, set()).add(content)
    lost = [path for path, content in files.items() if content not in there.get(path, ())]
    assert not lost


def test_killed_while_it_moves(memory_volume: Path, uid: int) -> None:
    chance = random.Random(uid)
    plant(memory_volume, uid)
    rules = quarantining(rule(include=["**/old-*"]))

    def act() -> Result:
        return carry_out(quarantine_task(memory_volume, rules))

    steps = count_steps(act, uid)
    for _ in range(KILLS):
        shutil.rmtree(memory_volume / ".housekeeper", ignore_errors=True)
        files = plant(memory_volume, uid)
        killed(act, chance.randrange(steps), uid)
        assert_whole(memory_volume, files)
        assert outcome(act, uid) == "Succeeded"
        assert in_quarantine(memory_volume) == files
        assert not any(b"old" in path for path in contents(memory_volume))


def test_killed_while_it_puts_back(memory_volume: Path, uid: int) -> None:
    chance = random.Random(uid)
    rules = quarantining(rule(include=["**/old-*"]))

    def act() -> Result:
        return put_back(memory_volume)

    def quarantine() -> Result:
        return carry_out(quarantine_task(memory_volume, rules))

    def prepare() -> dict[bytes, bytes]:
        files = plant(memory_volume, uid)
        assert outcome(quarantine, uid) == "Succeeded"
        shutil.rmtree(memory_volume / "d1/e")
        return files

    prepare()
    steps = count_steps(act, uid)
    for _ in range(KILLS):
        files = prepare()
        killed(act, chance.randrange(steps), uid)
        assert_whole(memory_volume, files)
        assert outcome(lambda: put_back(memory_volume, attempt=2), uid) == "Succeeded"
        assert contents(memory_volume).items() >= files.items()
        # At most the directory itself is left, which a purge takes along an hour later.
        assert [list(quarantine.iterdir()) for quarantine in quarantines(memory_volume)] in ([], [[]])
        shutil.rmtree(memory_volume / ".housekeeper")


def test_killed_while_it_purges(memory_volume: Path, uid: int) -> None:
    chance = random.Random(uid)
    rules = quarantining(rule(include=["**/old-*"]))
    promised = 20.0

    def purge() -> Result:
        return carry_out(quarantine_task(memory_volume, rules), later=KEPT_DAYS + 1)

    def prepare() -> dict[bytes, bytes]:
        """A quarantine that is due, and one that is not."""
        shutil.rmtree(memory_volume / ".housekeeper", ignore_errors=True)
        plant(memory_volume, uid)
        outcome(lambda: carry_out(quarantine_task(memory_volume, rules)), uid)
        files = plant(memory_volume, uid)
        outcome(lambda: carry_out(quarantine_task(memory_volume, rules, run="run-2", days=promised)), uid)
        return files

    prepare()
    steps = count_steps(purge, uid)
    for _ in range(KILLS):
        files = prepare()
        killed(purge, chance.randrange(steps), uid)
        assert_whole(memory_volume, files)
        assert outcome(purge, uid) == "Succeeded"
        assert [path.name.partition(".")[0] for path in quarantines(memory_volume)] == ["run-2"]
        assert in_quarantine(memory_volume) == files
