"""The rows of the table: what is measured, against what, and what it should be."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.benchmarks.measure import Measured, drop_caches, run
from tests.benchmarks.trees import OLD_DAYS, YOUNG_DAYS, Ground, Memory, Shape

_DAYS: Final = (OLD_DAYS + YOUNG_DAYS) // 2
_MIB: Final = 1 << 20


@dataclass(frozen=True)
class Target:
    """Limits of a row; at most so much."""

    must: float
    moonshot: float


@dataclass
class Outcome:
    """What a row came to."""

    row: str
    value: float
    unit: str
    target: Target | None
    ours: list[Measured] = field(default_factory=list)
    rival: list[Measured] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class Bench:
    """Where, how often and how large."""

    work: Path
    """A directory for images, results and what programs print."""
    ground: Ground
    runs: int
    scale: float
    cold: bool
    """Whether caches may be dropped."""

    def shape(self, files: int, directories: int) -> Shape:
        """A shape in the scale of this bench."""
        return Shape(max(1, int(files * self.scale)), max(1, int(directories * self.scale)) if directories > 1 else 1)

    def ours(self, root: Path, mode: str, *, memory: bool = False, one_cpu: bool = False) -> Measured:
        """A worker as in its pod, with every protection and its audit in a file."""
        task = self.work / "task.json"
        task.write_text(json.dumps(_task(root, mode)))
        environment = {
            "HOUSEKEEPER_TASK_FILE": str(task),
            "HOUSEKEEPER_TERMINATION_LOG": str(self.work / "result.json"),
            # As in an image, where everything is compiled already.
            "PYTHONDONTWRITEBYTECODE": "",
        }
        command = [*_pinned(one_cpu), sys.executable, "-m", "housekeeper_worker"]
        return run(command, out=self.work / "audit", environment=environment, memory=memory)

    def rival(self, root: Path, *more: str, one_cpu: bool = False) -> Measured:
        """`find` with the same age."""
        command = [*_pinned(one_cpu), "find", str(root), "-type", "f", "-mtime", f"+{_DAYS - 1}", *more]
        return run(command, out=self.work / "found")


def _pinned(one_cpu: bool) -> list[str]:
    return ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if one_cpu else []


def _task(root: Path, mode: str) -> dict[str, object]:
    rule = {"name": "old", "include": ["**"], "exclude": [], "removeOlderThan": f"{_DAYS}d"}
    return {
        "schemaVersion": 1,
        "run": "bench",
        "namespace": "bench",
        "policy": "bench",
        "attempt": 1,
        "mode": mode,
        "timeZone": "Etc/UTC",
        "timeoutSeconds": 36_000.0,
        "cleanup": {
            "root": str(root),
            "path": "",
            "rules": [rule],
            # The trees have just been made, so that the ctime of every file is fresh.
            "settleSeconds": 0.0,
            "openFiles": "Protect",
            "brakes": {"maxPercent": 100},
        },
    }


def _compared(name: str, target: Target, ours: list[Measured], rival: list[Measured], note: str = "") -> Outcome:
    ratio = _median(ours) / _median(rival)
    return Outcome(name, ratio, "of find", target, ours, rival, note)


def _median(each: Sequence[Measured]) -> float:
    return statistics.median(one.seconds for one in each)


def scan(bench: Bench, name: str, target: Target, *, cold: bool = False, one_cpu: bool = False) -> Outcome:
    """A dry run over a million files against `find -mtime`."""
    ours: list[Measured] = []
    rival: list[Measured] = []
    shape = bench.shape(1_000_000, 1_000)
    with bench.ground.planted(shape) as root:
        bench.rival(root)
        for _ in range(bench.runs):
            for is_ours in (False, True):
                if cold:
                    drop_caches()
                if is_ours:
                    ours.append(bench.ours(root, "DryRun", one_cpu=one_cpu))
                else:
                    rival.append(bench.rival(root, one_cpu=one_cpu))
    return _compared(name, target, ours, rival, f"{shape}, {bench.ground.name}")


def remove(
    bench: Bench,
    name: str,
    target: Target,
    shape: Shape,
    ground: Ground | None = None,
    *,
    one_cpu: bool = False,
) -> Outcome:
    """Removal of half of a tree against `find -delete` on another that is the same."""
    ours: list[Measured] = []
    rival: list[Measured] = []
    ground = ground or bench.ground
    cold = bench.cold and not isinstance(ground, Memory)
    for _ in range(bench.runs):
        for is_ours in (False, True):
            with ground.planted(shape) as root:
                if cold:
                    drop_caches()
                if is_ours:
                    ours.append(bench.ours(root, "Enforce", one_cpu=one_cpu))
                else:
                    rival.append(bench.rival(root, "-delete", one_cpu=one_cpu))
                _must_be_half(root, shape)
    return _compared(name, target, ours, rival, f"{shape}, {ground.name}, {'cold' if cold else 'warm'}")


def _must_be_half(root: Path, shape: Shape) -> None:
    """Whoever is fast because it does something else is told."""
    left = sum(len(names) for _, _, names in os.walk(root))
    if left != shape.files // 2:
        raise RuntimeError(f"{left} of {shape.files} files are left, not half of them")


def groups(bench: Bench) -> Iterator[Outcome]:
    """GFS over a million items after the scan."""
    count = int(1_000_000 * bench.scale)
    command = [sys.executable, "-m", "tests.benchmarks.groups", str(count)]
    found = []
    for _ in range(bench.runs):
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        found.append((float(told[0]), float(told[1])))
    seconds = statistics.median(one[0] for one in found)
    yield Outcome("gfs", seconds, "s", Target(3.0 * bench.scale, 1.5 * bench.scale), note=f"{count:,} items")
    yield Outcome("gfs-memory", max(one[1] for one in found), "bytes an item", Target(100, 100))


def memory(bench: Bench) -> Outcome:
    """The most that all processes of a dry run and of a removal take."""
    shape = bench.shape(1_000_000, 1_000)
    with bench.ground.planted(shape) as root:
        peak = max(bench.ours(root, mode, memory=True).peak_bytes for mode in ("DryRun", "Enforce"))
    return Outcome("memory", peak / _MIB, "MiB", Target(64, 40), note=str(shape))


def start(bench: Bench) -> Outcome:
    """From the start of the process to the end of a run over one file: the first decision and a little more."""
    with Memory().planted(Shape(1, 1)) as root:
        bench.ours(root, "DryRun")
        each = [bench.ours(root, "DryRun") for _ in range(max(bench.runs, 5))]
    return Outcome("cold-start", _median(each) * 1000, "ms", Target(250, 120), each)


def growth(bench: Bench, sizes: Sequence[int]) -> Outcome:
    """Seconds a file of the largest tree against those of a tree of a hundred thousand files: 1 is linear."""
    each = []
    for files in sizes:
        shape = bench.shape(files, max(10, files // 1_000))
        with bench.ground.planted(shape) as root:
            bench.ours(root, "DryRun")
            measured = [bench.ours(root, "DryRun") for _ in range(bench.runs)]
        each.append((shape.files, _median(measured)))
    told = ", ".join(f"{files:,}: {seconds:.2f} s" for files, seconds in each)
    (few, first), (many, last) = each[1], each[-1]
    return Outcome("growth", (last / many) / (first / few), "of linear", Target(1.25, 1.0), note=told)


Measure = Callable[[Bench], Iterator[Outcome]]


def table(sizes: Sequence[int]) -> dict[str, Measure]:
    """Every row by its name."""

    def one(measure: Callable[[Bench], Outcome]) -> Measure:
        return lambda bench: iter([measure(bench)])

    one_cpu = Target(1.8, 1.3)
    return {
        "scan-warm": one(lambda b: scan(b, "scan-warm", Target(0.9, 0.65))),
        "scan-cold": one(lambda b: scan(b, "scan-cold", Target(0.7, 0.5), cold=True)),
        "remove": one(lambda b: remove(b, "remove", Target(1.2, 0.9), b.shape(1_000_000, 1_000))),
        "remove-tmpfs": one(lambda b: remove(b, "remove-tmpfs", Target(1.8, 1.3), b.shape(1_000_000, 1_000), Memory())),
        "remove-wide": one(lambda b: remove(b, "remove-wide", Target(1.5, 1.0), b.shape(300_000, 1))),
        "scan-warm-1cpu": one(lambda b: scan(b, "scan-warm-1cpu", one_cpu, one_cpu=True)),
        "scan-cold-1cpu": one(lambda b: scan(b, "scan-cold-1cpu", one_cpu, cold=True, one_cpu=True)),
        "remove-1cpu": one(lambda b: remove(b, "remove-1cpu", one_cpu, b.shape(1_000_000, 1_000), one_cpu=True)),
        "remove-tmpfs-1cpu": one(
            lambda b: remove(b, "remove-tmpfs-1cpu", one_cpu, b.shape(1_000_000, 1_000), Memory(), one_cpu=True)
        ),
        "remove-wide-1cpu": one(lambda b: remove(b, "remove-wide-1cpu", one_cpu, b.shape(300_000, 1), one_cpu=True)),
        "gfs": groups,
        "memory": one(memory),
        "cold-start": one(start),
        "growth": one(lambda b: growth(b, sizes)),
    }


@contextmanager
def told(name: str) -> Iterator[None]:
    """Say what is being measured, and how long that took."""
    began = time.monotonic()
    sys.stderr.write(f"{name} … ")
    sys.stderr.flush()
    yield
    sys.stderr.write(f"{time.monotonic() - began:.0f} s\n")
