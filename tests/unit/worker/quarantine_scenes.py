"""Scenes with directories in quarantine and mounts, played by `scenarios.scene`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from housekeeper_api.result import as_dict
from tests.unit.worker.builders import OLD, carry_out, directories, files_below, item, write
from tests.unit.worker.quarantines import (
    KEPT_DAYS,
    put_back,
    quarantine_task,
    quarantined_directories,
    quarantines,
    quarantining,
)
from tests.unit.worker.scenarios import tmpfs

RULE = quarantining(directories(["*"]))


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)


def _names(root: Path) -> list[str]:
    return sorted(os.fsdecode(path) for path in files_below(root))


def layers(directory: Path, fallback: bool) -> dict[str, Any]:
    """An overlay: a directory of the lower layer, which the kernel does not rename, and one of the upper one."""
    lower, upper, work, volume = (directory / name for name in ("lower", "upper", "work", "volume"))
    for path in (upper, work, volume):
        path.mkdir(exist_ok=True)
    item(lower / "below", "a")
    options = f"lowerdir={lower},upperdir={upper},workdir={work},redirect_dir=off"
    _run("mount", "-t", "overlay", "overlay", "-o", options, volume)
    item(volume / "above", "a", "deep/b")
    result = carry_out(quarantine_task(volume, RULE), prefer_fallback=fallback, later=OLD)
    return {"result": as_dict(result), "left": _names(volume / "below"), "moved": list(quarantined_directories(volume))}


def mounted_meanwhile(directory: Path, fallback: bool) -> dict[str, Any]:
    """Something is mounted in a directory that is in quarantine; the purge is due."""
    volume, outside = directory / "volume", directory / "outside"
    write(outside / "precious", days=OLD)
    for name in ("one", "two"):
        item(volume / name, "a", "deep/b")
    carry_out(quarantine_task(volume, RULE), prefer_fallback=fallback)
    (quarantine,) = quarantines(volume)
    lines = [json.loads(line) for line in (quarantine / "manifest.ndjson").read_text().splitlines()]
    places = {line["path"]: quarantine / line["place"] for line in lines if "place" in line}
    where = places["one"] / "deep"
    _run("mount", "--bind", outside, where)
    held = carry_out(quarantine_task(volume, RULE), prefer_fallback=fallback, later=KEPT_DAYS + 1)
    told = {"left": quarantined_directories(volume), "outside": _names(outside)}
    _run("umount", where)
    after = carry_out(quarantine_task(volume, RULE), prefer_fallback=fallback, later=KEPT_DAYS + 1)
    return {
        "held": as_dict(held),
        "left": {path: sorted(map(os.fsdecode, names)) for path, names in told["left"].items()},
        "outside": told["outside"],
        "after": as_dict(after),
        "quarantines": len(quarantines(volume)),
    }


def full(directory: Path, fallback: bool) -> dict[str, Any]:
    """A volume without room for a manifest: directories stay whole, and go when there is room."""
    volume = tmpfs(directory, "size=1M")
    for number in range(10):
        item(volume / f"old-{number}", "a", "deep/b")
    rule = quarantining(directories(["old-*"]))
    with open(volume / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    first = carry_out(quarantine_task(volume, rule), prefer_fallback=fallback)
    whole = [_names(path) for path in sorted(volume.glob("old-*"))]
    (volume / "filler").unlink()
    again = carry_out(quarantine_task(volume, rule), prefer_fallback=fallback)
    back = put_back(volume, prefer_fallback=fallback)
    return {"first": as_dict(first), "whole": whole, "again": as_dict(again), "back": as_dict(back)}


if __name__ == "__main__":
    play: Callable[..., dict[str, Any]] = globals()[sys.argv[1]]
    print(json.dumps(play(Path(sys.argv[2]), sys.argv[3:] == ["fallback"])))
