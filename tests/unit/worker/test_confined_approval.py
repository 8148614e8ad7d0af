"""Approval by workers, as pods run them and as root: one holds, another carries out, whatever happened in between."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from housekeeper_api.result import Result
from housekeeper_api.task import Keep, Rule, Task
from tests.unit.worker.builders import OLD, cleanup_task, counters, give, rule, users_files, write
from tests.unit.worker.pods import Worker

MILLION = 1_000_000
DIRECTORIES = 1000


class Pods:
    """Workers of one user, to whom the volume belongs, one after the other."""

    def __init__(self, volume: Path, uid: int) -> None:
        self.volume = volume
        self._uid = uid
        self._count = 0

    def run(self, task: Task) -> Result:
        """What one leaves in its termination log."""
        self._count += 1
        directory = self.volume.parent / f"pod-{self._count}"
        directory.mkdir(mode=0o755)
        with Worker(directory, dataclasses.replace(task, run=f"run-{self._count}"), uid=self._uid).process as process:
            _, said = process.communicate(timeout=600)
        assert process.returncode in {0, 3, 4}, said.decode()[-2000:]
        return Result.from_json((directory / "termination-log").read_text())

    def held(self, *rules: Rule, **options: Any) -> str:
        """The digest of a plan that a brake holds."""
        result = self.run(cleanup_task(self.volume, *rules, max_items=0, **options))
        assert result.outcome == "Held", result.message
        return counters(result).plan_digest

    def approve(self, digest: str, *rules: Rule, **options: Any) -> Result:
        """Carry it out."""
        return self.run(cleanup_task(self.volume, *rules, max_items=0, approve=digest, **options))


@pytest.fixture
def pods(open_volume: Path, uid: int) -> Pods:
    return Pods(open_volume, uid)


@pytest.fixture
def logs(pods: Pods, uid: int) -> Pods:
    for name in ("a/1", "a/2", "b/1", "z"):
        write(pods.volume / name, days=OLD)
    write(pods.volume / "young")
    give(pods.volume, uid)
    return pods


def test_exactly_the_plan_is_carried_out(logs: Pods) -> None:
    digest = logs.held()
    result = logs.approve(digest)
    assert (result.outcome, counters(result).removed, counters(result).plan_digest) == ("Succeeded", 4, digest)
    assert users_files(logs.volume) == {b"young"}


def test_after_chown_the_plan_is_still_the_plan(logs: Pods) -> None:
    digest = logs.held()
    owner = logs.volume.stat().st_uid
    for path in (logs.volume / "a", logs.volume / "b", logs.volume / "z"):
        subprocess.run(["chown", "-R", f"{owner}:1234", path], check=True)
    os.chown(logs.volume / "z", 1234, 1234)
    assert counters(logs.approve(digest)).removed == 4


def test_what_is_new_or_replaced_stays(logs: Pods) -> None:
    digest = logs.held()
    write(logs.volume / "a/new", days=OLD)
    moment = (logs.volume / "a/1").stat().st_mtime_ns
    write(logs.volume / "replacement", days=OLD)
    os.utime(logs.volume / "replacement", ns=(moment, moment))
    os.replace(logs.volume / "replacement", logs.volume / "a/1")
    result = logs.approve(digest)
    assert (counters(result).removed, counters(result).skipped) == (3, {"notApproved": 2})
    assert users_files(logs.volume) == {b"young", b"a/new", b"a/1"}


def test_after_all_keepers_vanished_a_group_keeps_what_is_left_of_it(pods: Pods, uid: int) -> None:
    for age in range(10):
        write(pods.volume / f"dump-{age}", days=age + 1)
    give(pods.volume, uid)
    dumps = Rule("dumps", ("**",), (), keep=Keep(last=3))
    digest = pods.held(dumps)
    for age in range(3):
        os.unlink(pods.volume / f"dump-{age}")
    assert counters(pods.approve(digest, dumps)).removed == 4
    assert users_files(pods.volume) == {b"dump-3", b"dump-4", b"dump-5"}


def plant(volume: Path, directories: range) -> None:
    """Old files, a thousand in each directory."""
    for directory in directories:
        path = volume / f"{directory:04}"
        path.mkdir()
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        for number in range(MILLION // DIRECTORIES):
            name = f"{number:04}.log"
            os.mknod(name, 0o100644, dir_fd=fd)
            os.utime(name, (0, 0), dir_fd=fd)
        os.close(fd)


@pytest.fixture
def a_million(memory_volume: Path, uid: int) -> Iterator[Path]:
    """A million old files of the worker in a thousand directories of a tmpfs, made by two processes."""
    give(memory_volume, uid)
    children = []
    for half in (range(DIRECTORIES // 2), range(DIRECTORIES // 2, DIRECTORIES)):
        children.append(os.fork())
        if children[-1] == 0:
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)  # and no more: the inodes count for who makes them
            plant(memory_volume, half)
            os._exit(0)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    yield memory_volume
    subprocess.run(["rm", "-rf", memory_volume], check=True)


def test_a_plan_of_a_million_is_held_and_carried_out(a_million: Path, open_volume: Path, uid: int) -> None:
    """The confined worker does it in 128 MiB.

    The plan lies on another volume: its file on a tmpfs would be of the worker's own memory, which would not do.
    """
    pods, reports = Pods(a_million, uid), open_volume
    give(reports, uid)
    digest = pods.held(rule(), report=reports, timeout=600)
    result = pods.run(cleanup_task(a_million, max_items=0, approve=digest, report=reports, timeout=600))
    assert (result.outcome, counters(result).removed, counters(result).plan_digest) == ("Succeeded", MILLION, digest)
    assert users_files(a_million) == set()
