"""Measuring one program: how long it took, how much processor time, and how much memory with all its children."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SAMPLE_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Measured:
    """One run of a program."""

    seconds: float
    processor_seconds: float
    """User and system time, children's included."""
    peak_bytes: int = 0
    """Most proportional set size that was seen, children's included; 0 where nobody looked."""


def drop_caches() -> None:
    """Write out everything and forget what is read from disks. For root only."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def run(
    command: Sequence[str | Path], *, out: Path, environment: Mapping[str, str] | None = None, memory: bool = False
) -> Measured:
    """Run a program to its end; its output goes to the file `out`. Raises CalledProcessError.

    With `memory` it is looked at many times a second, which costs it time.
    """
    with out.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.PIPE, env={**os.environ, **(environment or {})}
        )
        peak = _Peak(process.pid) if memory else None
        stderr = process.stderr.read() if process.stderr is not None else b""
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.stderr is not None:
        process.stderr.close()
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, list(map(str, command)), stderr=stderr)
    return Measured(seconds, usage.ru_utime + usage.ru_stime, peak.end() if peak is not None else 0)


class _Peak:
    """Looks at a process and its children from a thread of its own."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._bytes = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def end(self) -> int:
        """The most that was seen."""
        self._is_over.set()
        self._thread.join()
        return self._bytes

    def _watch(self) -> None:
        while not self._is_over.wait(_SAMPLE_SECONDS):
            self._bytes = max(self._bytes, sum(map(_proportional, _family(self._pid))))


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        try:
            found += map(int, Path("/proc", str(one), "task", str(one), "children").read_text().split())
        except OSError:
            continue
    return found


def _proportional(pid: int) -> int:
    try:
        lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
