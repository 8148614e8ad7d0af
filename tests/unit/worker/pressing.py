"""Scenes of full volumes, played by `scenarios.scene`: file systems of a few MiB, in a mount namespace of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from housekeeper_api.result import as_dict
from housekeeper_api.task import Keep, Mode, Pressure
from housekeeper_worker.retention.decide import Decided
from tests.unit.worker import mounting
from tests.unit.worker.builders import carry_out, cleanup_task, files_below, rule, write
from tests.unit.worker.mounting import file_system, tmpfs
from tests.unit.worker.openers import holding
from tests.unit.worker.ways import Way

MIB = 1 << 20
NEWEST_LAST = [f"{'abc'[number % 3]}/{number:02}" for number in range(18, 0, -1)]
"""Eighteen names in three directories, the oldest first."""


def fill(volume: Path, size: int = MIB) -> None:
    """18 files of `size`, each a day older than the next; 18 of 20 MiB are 90 %."""
    for number in range(1, 19):
        write(volume / "abc"[number % 3] / f"{number:02}", days=number, content=b"x" * size)


def pressed(high: int = 80, low: int = 50, **members: Any) -> Pressure:
    return Pressure(high, low, members.pop("of", "FileSystem"), **members)


def run(
    volume: Path, way: Way, mode: Mode = "Enforce", pressure: Pressure | None = None, **options: Any
) -> dict[str, Any]:
    """What a run of a rule that would let all of it go tells, and what is left of it. All of it is the worker's."""
    rules = options.pop("rules", (rule(older="12h"),))
    on_decision = options.pop("on_decision", None)
    task = cleanup_task(volume, *rules, mode=mode, pressure=pressure or pressed(), **options)

    def tell() -> dict[str, Any]:
        heard: dict[str, list[str]] = {}

        def hear(one: Decided) -> None:
            heard[os.fsdecode(one.path)] = [one.verdict.name, *one.reasons]

        return {"result": as_dict(carry_out(task, on_decision=on_decision or hear)), "heard": heard}

    way.give(volume)
    return way.tell(tell) | {"left": sorted(map(os.fsdecode, files_below(volume)))}


def oldest_first(directory: Path, way: Way) -> dict[str, Any]:
    """A dry run, a run, and one more."""
    volume = tmpfs(directory, "size=20M")
    fill(volume)
    return {"dry": run(volume, way, "DryRun"), "real": run(volume, way), "again": run(volume, way)}


def out_of_inodes(directory: Path, way: Way) -> dict[str, Any]:
    """Room for bytes, and none for files."""
    volume = tmpfs(directory, "size=20M,nr_inodes=23")
    fill(volume, 10)
    return run(volume, way)


def both(directory: Path, way: Way) -> dict[str, Any]:
    """Bytes are above high and inodes are not: these need not reach low."""
    volume = tmpfs(directory, "size=20M,nr_inodes=28")
    fill(volume)
    return run(volume, way, pressure=pressed(80, 60))


def somebody_else_makes_room(directory: Path, way: Way) -> dict[str, Any]:
    """Between the plan and the removal another program removes what it filled the volume with."""
    volume = tmpfs(directory, "size=40M")
    fill(volume)
    write(volume / "filler", content=b"x" * 17 * MIB)

    def make_room(one: Decided) -> None:
        if one.verdict.name == "REMOVE":
            (volume / "filler").unlink(missing_ok=True)

    return run(volume, way, on_decision=make_room)


def held_open(directory: Path, way: Way) -> dict[str, Any]:
    """What goes stays open, and nobody asks who has files open."""
    volume = tmpfs(directory, "size=20M")
    fill(volume)
    with contextlib.ExitStack() as stack:
        for name in NEWEST_LAST:
            stack.enter_context(open(volume / name, "rb"))
        return run(volume, way, open_files="Ignore")


def in_use(directory: Path, way: Way) -> dict[str, Any]:
    """What goes is open in other processes, and is protected for that."""
    volume = tmpfs(directory, "size=20M")
    fill(volume)
    with contextlib.ExitStack() as stack:
        for name in NEWEST_LAST[:4]:
            stack.enter_context(holding(volume / name, "reader"))
        return run(volume, way)


def shared_blocks(directory: Path, way: Way) -> dict[str, Any]:
    """A copy of everything that shares its blocks, on a file system that can."""
    volume = file_system(directory, "xfs")
    fill(volume, 4 * MIB)
    (volume / "copy").mkdir()
    mounting.run("cp", "-r", "--reflink=always", *(volume / name for name in "abc"), volume / "copy")
    used = os.statvfs(volume)
    percent = 100 * (used.f_blocks - used.f_bfree) // used.f_blocks
    rules = (rule(include=["?/*"], older="12h"),)
    return run(volume, way, pressure=pressed(percent - 2, percent - 20), rules=rules)


def freed_later(directory: Path, way: Way, kind: str) -> dict[str, Any]:
    """A file system that frees the blocks of removed files when it finds the time."""
    volume = file_system(directory, kind)
    fill(volume, 10 * MIB)
    mounting.run("sync", "-f", volume)
    return run(volume, way, pressure=pressed(40, 25), settle=0)


def rules_let_no_more_go(directory: Path, way: Way) -> dict[str, Any]:
    """Everything that may go is not enough."""
    volume = tmpfs(directory, "size=20M")
    fill(volume)
    rules = (dataclasses.replace(rule(older="12d"), name="old"),)
    return {"dry": run(volume, way, "DryRun", rules=rules), "real": run(volume, way, rules=rules)}


def brakes(directory: Path, way: Way) -> dict[str, Any]:
    """All of it may go; pressure lets eight of eighteen."""
    volume = tmpfs(directory, "size=20M")
    fill(volume)
    greedy = dataclasses.replace(rule(), remove_older_than=None, keep=Keep(max_total_size=1, at_least=0))
    return {
        "44": run(volume, way, "DryRun", max_percent=44),
        "45": run(volume, way, "DryRun", max_percent=45),
        "emptying": run(volume, way, "DryRun", max_percent=45, rules=(greedy,)),
        "emptied": run(volume, way, "DryRun", rules=(greedy,), pressure=pressed(80, 0)),
    }


def claim(directory: Path, way: Way) -> dict[str, Any]:
    """A claim of 20 MiB on a file system that is much larger."""
    volume = tmpfs(directory, "size=400M")
    fill(volume)
    os.link(volume / NEWEST_LAST[0], volume / "another name")
    write(volume / ".housekeeper/plans/x", content=b"x" * 9 * MIB)
    pressure = pressed(of="Claim", capacity_bytes=20 * MIB)
    rules = (rule(include=["?/*"], older="12h"),)
    enough = dataclasses.replace(pressure, capacity_bytes=30 * MIB)
    return {
        "enough": run(volume, way, pressure=enough, rules=rules),
        "dry": run(volume, way, "DryRun", pressure=pressure, rules=rules),
        "real": run(volume, way, pressure=pressure, rules=rules),
    }


def _held(volume: Path, way: Way, **options: Any) -> tuple[dict[str, Any], str]:
    """A run that a brake holds, and the digest of its plan."""
    held = run(volume, way, max_items=3, **options)
    digest: str = held["result"]["cleanup"]["planDigest"]
    return held, digest


def held_and_approved(directory: Path, way: Way, meanwhile: str = "") -> dict[str, Any]:
    """A brake holds the plan that pressure narrowed; something happens meanwhile, and it is approved."""
    volume = tmpfs(directory, "size=20M")
    fill(volume)
    held, digest = _held(volume, way)
    match meanwhile:
        case "older files come":
            for number in range(2):
                write(volume / f"a/older-{number}", days=30, content=b"x" * (MIB // 2))
        case "one is replaced":
            stat = (volume / NEWEST_LAST[2]).stat()
            write(volume / "new", content=b"x" * MIB)
            os.utime(volume / "new", ns=(stat.st_mtime_ns, stat.st_mtime_ns))
            os.replace(volume / "new", volume / NEWEST_LAST[2])
        case "somebody makes room":
            for name in NEWEST_LAST[14:]:
                (volume / name).unlink()
    approved = run(volume, way, max_items=3, approve=digest)
    left = sorted(name for name in approved["left"] if not name.startswith(".housekeeper/"))
    return {"held": held, "approved": approved, "left": left, "plans": len(approved["left"]) - len(left)}


def approved_while_others_make_room(directory: Path, way: Way) -> dict[str, Any]:
    """As `somebody_else_makes_room`, with a plan that was held and is approved."""
    volume = tmpfs(directory, "size=40M")
    fill(volume)
    write(volume / "filler", content=b"x" * 17 * MIB)
    _, digest = _held(volume, way)

    def make_room(one: Decided) -> None:
        if one.verdict.name == "REMOVE":
            (volume / "filler").unlink(missing_ok=True)

    return run(volume, way, max_items=3, approve=digest, on_decision=make_room)


if __name__ == "__main__":
    play: Callable[..., dict[str, Any]] = globals()[sys.argv[1]]
    the_way, words = Way.apart(sys.argv[3:])
    print(json.dumps(play(Path(sys.argv[2]), the_way, *words)))
