"""A report volume that gets full in mid-batch, on each file system, played by `scenarios.scene`."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from housekeeper_worker.audit.verify import verify
from housekeeper_worker.main import perform
from housekeeper_worker.stop import Stop
from tests.unit.worker.builders import OLD, as_user, cleanup_task, files_below, write
from tests.unit.worker.mounting import file_system, run, tmpfs
from tests.unit.worker.ways import Way

FILES = 8000
ROOM = 512 << 10
"""Bytes: a part of what is told of so many files."""


def reserve(path: Path) -> None:
    """Let a file grow by all the room that a file system has for this user, without writing it."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    size, end = 1 << 30, os.fstat(fd).st_size
    while size:
        try:
            os.posix_fallocate(fd, end, size)
            end += size
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            size //= 2
    os.close(fd)


def with_little_room(directory: Path, way: Way, kind: str) -> Path:
    """A file system that has `ROOM` for the worker, mounted at `volume` below `directory`.

    The worker's own user fills it: what a file system reserves for root is no room for anybody else.
    """
    directory.mkdir()
    if kind == "tmpfs":
        return tmpfs(directory, f"size={ROOM}")
    volume = file_system(directory, kind)
    os.chown(volume, way.uid, way.uid)
    write(volume / "room", content=bytes(ROOM))
    run("sync", "-f", volume)  # so that it is somewhere before all else is taken
    as_user(way.uid, lambda: reserve(volume / "filler"))
    (volume / "room").unlink()
    run("sync", "-f", volume)  # for btrfs and xfs, which free it then
    return volume


def full_reports(directory: Path, way: Way, kind: str, processes: str) -> dict[str, Any]:
    """A report volume with room for a part of the audit of several processes."""
    volume, reports = directory / "volume", with_little_room(directory / "reports", way, kind)
    for number in range(FILES):
        write(volume / f"d{number % 4}/{'x' * 100}-{number}", days=OLD)
    task = cleanup_task(volume, processes=int(processes), report=reports)
    way.give(volume, reports)
    result = way.run(lambda: perform(task, Stop()))
    left = len(files_below(volume))
    path = reports / task.namespace / task.policy / "run-1-a1.ndjson"
    audit = result["cleanup"]["audit"]
    safe = path.read_bytes().splitlines(keepends=True)[: audit["lines"]]
    with open(path, "rb") as file:
        verdict = verify(file, audit["head"])
    told = [json.loads(line) for line in safe]
    as_user(way.uid, lambda: reserve(reports / "filler"))  # ext4 refuses a long write where a short one has room yet
    again = way.run(lambda: perform(dataclasses.replace(task, run="run-2"), Stop()))
    return {
        "result": result,
        "before": FILES,
        "left": left,
        "safe": sum(line["event"] == "removed" for line in told),
        "announced": sum(line["count"] for line in told if line["event"] == "intent"),
        "verdict": dataclasses.asdict(verdict),
        "again": {"left": len(files_below(volume)), "message": again.get("error") or again["message"]},
    }


if __name__ == "__main__":
    play: Callable[..., dict[str, Any]] = globals()[sys.argv[1]]
    the_way, words = Way.apart(sys.argv[3:])
    print(json.dumps(play(Path(sys.argv[2]), the_way, *words)))
