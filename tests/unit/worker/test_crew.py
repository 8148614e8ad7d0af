"""Several processes at one run: the same plan, the same numbers, and none left behind, whatever becomes of one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from housekeeper_api.result import Result
from housekeeper_api.task import Mode, Rule
from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.stop import Stop, stopping_on_signals
from housekeeper_worker.volume.scan import WINDOW
from tests.unit.worker.builders import OLD, carry_out, cleanup_task, counters, files_below, rule, write
from tests.unit.worker.test_stopping import STOPS_IN

NOW: Final = time.time_ns() + 3_600_000_000_000


def numbers(result: Result) -> dict[str, Any]:
    """All that must be the same, however many worked at it. Which decisions are shown as examples may differ.

    So may the audit: its lines have times, and come in other blocks.
    """
    told = dataclasses.asdict(counters(result))
    del told["sample"], told["freed_on_disk"], told["plan_digest"], told["audit"], told["now"]
    return {**told, "outcome": result.outcome}


def children() -> set[int]:
    return {int(pid) for pid in Path("/proc/self/task", str(os.getpid()), "children").read_text().split()}


@pytest.fixture(autouse=True)
def nobody_is_left_behind() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def plant(volume: Path) -> None:
    """Directories of many kinds: deep, wide, empty, protected, and files with two names across them."""
    for number in range(30):
        for age, count in ((OLD, 6), (1, 3)):
            for file in range(count):
                write(volume / f"d{number % 7}/e{number}/f{file}-{age}", days=age)
    for number in range(5):
        os.link(volume / f"d{number}/e{number}/f1-40", volume / f"d6/link-{number}")
    write(volume / "/".join(["deep"] * 60) / "old", days=OLD)
    write(volume / "marked/.nocleanup")
    write(volume / "marked/below/old", days=OLD)
    write(volume / "d1/sticky", days=OLD)
    (volume / "d1/sticky").chmod(0o1644)
    (volume / "d1/link").symlink_to("nowhere")
    (volume / "empty").mkdir()


def lines_of(audit: Path) -> Counter[str]:
    """What an audit says about files, without when."""
    told: Counter[str] = Counter()
    for line in audit.read_text().splitlines():
        found = json.loads(line)
        if found["event"] in {"removed", "wouldRemove", "skipped"}:
            del found["ts"]
            told[json.dumps(found, sort_keys=True)] += 1
    return told


def work(
    volume: Path, audit: Path, *rules: Rule, mode: Mode = "DryRun", processes: int, stop: Stop | None = None
) -> tuple[Result, Counter[str]]:
    """A run at one moment, and what its audit says."""
    fd = os.open(audit, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    task = cleanup_task(volume, *rules, mode=mode, processes=processes)
    result = carry_out(task, now_ns=NOW, audit_fd=fd, stop=stop)
    os.close(fd)
    return result, lines_of(audit)


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_plan_and_count_what_one_does(volume: Path, tmp_path: Path, processes: int) -> None:
    plant(volume)
    rules = rule("f", ["**/f*"], ["**/f5*"]), rule("rest", ["**"], older="20d")
    alone, told_alone = work(volume, tmp_path / "alone", *rules, processes=1)
    together, told_together = work(volume, tmp_path / "together", *rules, processes=processes)
    assert numbers(together) == numbers(alone)
    assert told_together == told_alone
    assert sum(told_alone.values()) == counters(alone).removed == 186
    assert counters(together).plan_digest == counters(alone).plan_digest


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_remove_what_one_does(volume: Path, tmp_path: Path, processes: int) -> None:
    plant(volume)
    (tmp_path / "other").mkdir()
    subprocess.run(["cp", "-a", f"{volume}/.", tmp_path / "other"], check=True)
    alone, told_alone = work(tmp_path / "other", tmp_path / "alone", mode="Enforce", processes=1)
    together, told_together = work(volume, tmp_path / "together", mode="Enforce", processes=processes)
    assert numbers(together) == numbers(alone)
    assert sum(told_together.values()) == sum(told_alone.values()) == counters(together).removed
    assert files_below(volume) == files_below(tmp_path / "other")


def _of_one_size(volume: Path) -> tuple[Rule, ...]:
    for directory in range(6):
        for file in range(700):
            write(volume / f"d{directory}/f{file}", days=OLD)
    return (rule("old"),)


def _by_two_rules(volume: Path) -> tuple[Rule, ...]:
    for directory in range(4):
        for file in range(600):
            write(volume / f"d{directory}/f{file}.{'tmp' if file % 3 else 'log'}", days=OLD)
    return rule("tmp", ["**/*.tmp"]), rule("log", ["**/*.log"])


def _with_links(volume: Path) -> tuple[Rule, ...]:
    for directory in range(4):
        for file in range(600):
            write(volume / f"d{directory}/f{file}.{'tmp' if file % 3 else 'log'}", days=OLD)
        os.link(volume / f"d{directory}/f0.log", volume / f"d{directory}/other.log")
    return rule("tmp", ["**/*.tmp"]), rule("log", ["**/*.log"])


@pytest.mark.parametrize("plant_rules", [_of_one_size, _by_two_rules, _with_links])
def test_processes_do_not_lock_each_other_out(
    memory_volume: Path, tmp_path: Path, plant_rules: Callable[[Path], tuple[Rule, ...]]
) -> None:
    """Directories that end within a batch, or are planned in several parts."""
    rules = plant_rules(memory_volume)
    result, _ = work(memory_volume, tmp_path / "audit", *rules, mode="Enforce", processes=2)
    assert (counters(result).skipped, files_below(memory_volume)) == ({}, set())


def test_a_large_directory_is_divided(memory_volume: Path, tmp_path: Path) -> None:
    """More entries than one window has, some of them names of one file, sub-directories, or nothing to look at."""
    (memory_volume / "large/sub").mkdir(parents=True)
    fd = os.open(memory_volume / "large", os.O_RDONLY)
    long_ago = time.time() - OLD * 86_400
    for number in range(WINDOW + 3_000):
        os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        if number % 2:
            os.utime(f"f{number}", (long_ago, long_ago), dir_fd=fd)
    for number in range(1, 500, 2):
        os.link(f"f{number}", f"g{number}", src_dir_fd=fd, dst_dir_fd=fd)
    os.close(fd)
    write(memory_volume / "large/sub/old", days=OLD)
    alone, told_alone = work(memory_volume, tmp_path / "alone", processes=1)
    together, told_together = work(memory_volume, tmp_path / "together", processes=2)
    assert numbers(together) == numbers(alone)
    assert told_together == told_alone
    assert counters(together).plan_digest == counters(alone).plan_digest
    done, _ = work(memory_volume, tmp_path / "done", mode="Enforce", processes=2)
    assert (counters(done).removed, counters(done).skipped) == (counters(alone).removed, {})
    assert len(files_below(memory_volume)) == (WINDOW + 3_000) // 2


@contextlib.contextmanager
def watcher(volume: Path, act: Callable[[int], None]) -> Iterator[None]:
    """Another process that waits until something of the volume is removed, and then does `act` with our number."""
    runner, files = os.getpid(), len(files_below(volume))
    pid = os.fork()
    if pid == 0:
        try:
            while len(files_below(volume)) == files:
                pass
            act(runner)
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)  # for a run that removes nothing
        os.waitpid(pid, 0)


def kill_the_others(runner: int) -> None:
    for pid in Path("/proc", str(runner), "task", str(runner), "children").read_text().split():
        if int(pid) != os.getpid():
            os.kill(int(pid), signal.SIGKILL)


def many(volume: Path) -> int:
    for directory in range(40):
        for number in range(100):
            write(volume / f"d{directory}/f{number}", days=OLD)
    return 4_000


def test_a_process_that_is_killed_ends_the_run_with_true_numbers(memory_volume: Path, tmp_path: Path) -> None:
    files = many(memory_volume)
    with watcher(memory_volume, kill_the_others):
        result, told = work(memory_volume, tmp_path / "audit", mode="Enforce", processes=2)
    left = len(files_below(memory_volume))
    assert counters(result).removed == sum(told.values()) == files - left
    if left:
        assert result.outcome == "Failed"
        assert "was ended by signal 9" in result.message
    again, _ = work(memory_volume, tmp_path / "again", mode="Enforce", processes=2)
    assert (again.outcome, counters(again).removed) == ("Succeeded", left)


def test_a_process_that_is_killed_while_it_looks_ends_the_run_before_anything_goes(
    memory_volume: Path, tmp_path: Path
) -> None:
    many(memory_volume)
    runner = os.getpid()
    pid = os.fork()
    if pid == 0:
        others = Path("/proc", str(runner), "task", str(runner), "children")
        try:
            while len(others.read_text().split()) < 2:
                pass
            kill_the_others(runner)
        finally:
            os._exit(0)
    result, told = work(memory_volume, tmp_path / "audit", mode="Enforce", processes=2)
    os.waitpid(pid, 0)
    left = len(files_below(memory_volume))
    assert counters(result).removed == sum(told.values()) == 4_000 - left
    if result.outcome != "Succeeded":
        assert (result.outcome, left) == ("Failed", 4_000)
        assert "was ended by signal 9" in result.message


def test_a_stop_reaches_every_process_and_what_was_done_is_told(memory_volume: Path, tmp_path: Path) -> None:
    files = many(memory_volume)
    began = tmp_path / "began"
    began.write_text("inf")

    def terminate(runner: int) -> None:
        began.write_text(str(time.monotonic()))
        os.kill(runner, signal.SIGTERM)

    with stopping_on_signals(60) as stop, watcher(memory_volume, terminate):
        result, told = work(memory_volume, tmp_path / "audit", mode="Enforce", processes=2, stop=stop)
        took = time.monotonic() - float(began.read_text())
    left = len(files_below(memory_volume))
    assert counters(result).removed == sum(told.values()) == files - left
    assert result.outcome == ("Cancelled" if stop.reason else "Succeeded")
    assert took < STOPS_IN


def test_scratch_that_is_full_ends_the_run_before_anything_goes(
    memory_volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for directory in range(30):
        for number in range(500):
            write(memory_volume / f"d{directory}/{number:080}", days=OLD)
    before = files_below(memory_volume)
    small = tmp_path / "scratch"
    small.mkdir()
    monkeypatch.setenv("HOUSEKEEPER_SCRATCH", str(small))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", small], check=True)
    try:
        for processes in (1, 2):
            with pytest.raises(CouldNotRun, match=r"does not fit into the scratch directory .* No space left"):
                work(memory_volume, tmp_path / "audit", mode="Enforce", processes=processes)
    finally:
        subprocess.run(["umount", small], check=True)
    assert files_below(memory_volume) == before
