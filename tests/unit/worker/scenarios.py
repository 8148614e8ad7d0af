"""Scenes with mounts, each in a mount namespace of its own that ends with its process, however that ends.

Run by `scene` as `unshare --mount python -m … NAME DIRECTORY`; prints one JSON object.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from housekeeper_api.result import as_dict
from housekeeper_api.task import ItemTime, Keep, Mode
from housekeeper_worker.audit.verify import verify
from housekeeper_worker.checks.filesystem import measure_filesystem
from housekeeper_worker.errors import AuditLost, CouldNotRun
from housekeeper_worker.main import perform
from housekeeper_worker.stop import Stop
from tests.unit.worker.builders import (
    OLD,
    as_user,
    carry_out,
    cleanup_task,
    directories,
    files_below,
    item,
    rule,
    write,
)
from tests.unit.worker.openers import holding
from tests.unit.worker.quarantines import contents, in_quarantine, put_back, quarantine_task, quarantining

REPOSITORY = Path(__file__).parents[3]


def scene(name: str, directory: Path, *arguments: str, module: str = __name__) -> dict[str, Any]:
    """Play the scene `name` of `module` in `directory`, and return what it tells."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", module, name, str(directory)]
    done = subprocess.run(
        [*command, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)


def _names(root: Path) -> list[str]:
    return sorted(os.fsdecode(path) for path in files_below(root))


def _loop_ext4(directory: Path, *, mebibytes: int = 16, options: str = "loop") -> Path:
    image, volume = directory / "image", directory / "volume"
    with open(image, "wb") as file:
        file.truncate(mebibytes << 20)
    _run("mkfs.ext4", "-q", "-F", "-b", "4096", image)
    volume.mkdir(exist_ok=True)
    _run("mount", "-o", options, image, volume)
    return volume


def ext4(directory: Path, fallback: bool) -> dict[str, Any]:
    """A fresh ext4, cleaned by a user to whom lost+found is closed."""
    volume = _loop_ext4(directory)
    os.chown(volume, 65532, 65532)
    for number in range(50):
        write(volume / f"d{number % 5}/f{number}", days=OLD if number % 2 else 1, content=b"x" * 3000)
    _run("chown", "-R", "65532:65532", *volume.glob("d*"))
    result = as_user(65532, lambda: as_dict(carry_out(cleanup_task(volume), prefer_fallback=fallback)))
    return {"result": result, "left": _names(volume)}


def mounts_inside(directory: Path, fallback: bool) -> dict[str, Any]:
    """A tmpfs, a bind mount of the same file system, and a file bound over a file, all below the root."""
    volume, outside = directory / "volume", directory / "outside"
    for path in (
        volume / "own",
        outside / "precious",
        outside / "file",
        volume / "tmpfs/x",
        volume / "bind/x",
        volume / "over",
    ):
        write(path, days=OLD)
    _run("mount", "-t", "tmpfs", "tmpfs", volume / "tmpfs")
    write(volume / "tmpfs/inside", days=OLD)
    _run("mount", "--bind", outside, volume / "bind")
    _run("mount", "--bind", outside / "file", volume / "over")
    result = carry_out(cleanup_task(volume), prefer_fallback=fallback)
    return {"result": as_dict(result), "left": _names(volume), "outside": _names(outside)}


def path_is_a_mount(directory: Path, fallback: bool) -> dict[str, Any]:
    """`path` names a directory on which something else is mounted."""
    volume = directory / "volume"
    (volume / "bind").mkdir(parents=True)
    write(directory / "outside/precious", days=OLD)
    _run("mount", "--bind", directory / "outside", volume / "bind")
    try:
        carry_out(cleanup_task(volume, path="bind"), prefer_fallback=fallback)
    except CouldNotRun as error:
        return {"error": str(error), "left": _names(directory / "outside")}
    return {}


def read_only(directory: Path, fallback: bool) -> dict[str, Any]:
    """A volume that is mounted read-only: a dry run works, enforcing cannot."""
    volume = _loop_ext4(directory)
    for number in range(20):
        write(volume / f"f{number}", days=OLD)
    _run("mount", "-o", "remount,ro", volume)
    dry = carry_out(cleanup_task(volume, mode="DryRun"), prefer_fallback=fallback)
    real = carry_out(cleanup_task(volume), prefer_fallback=fallback)
    return {"dry": as_dict(dry), "real": as_dict(real), "left": len(_names(volume))}


def full_quarantine(directory: Path, fallback: bool) -> dict[str, Any]:
    """A file system that is full before a quarantine is begun, and has little room later."""
    volume = _loop_ext4(directory)
    for number in range(1200):
        write(volume / f"d/{number}", days=OLD, content=b"%d" % number)
    _run("sh", "-c", 'head -c 1G /dev/zero > "$0"/filler || true', volume)
    _run("truncate", "-s", "-160K", volume / "filler")
    result = carry_out(quarantine_task(volume, quarantining(rule(include=["d/*"]))), prefer_fallback=fallback)
    there = contents(volume) | in_quarantine(volume)
    whole = all(there[b"d/%d" % number] == b"%d" % number for number in range(1200))
    os.unlink(volume / "filler")
    again = carry_out(quarantine_task(volume, quarantining(rule(include=["d/*"]))), prefer_fallback=fallback)
    restored = put_back(volume)
    return {
        "result": as_dict(result),
        "again": as_dict(again),
        "restored": as_dict(restored),
        "planned": 1200,
        "whole": whole,
    }


def full(directory: Path, fallback: bool) -> dict[str, Any]:
    """A file system without a free block."""
    volume = _loop_ext4(directory)
    write(volume / "old", days=OLD, content=b"x" * 100_000)
    _run("sh", "-c", 'head -c 1G /dev/zero > "$0"/filler || true', volume)
    assert os.statvfs(volume).f_bavail == 0
    result = carry_out(cleanup_task(volume), prefer_fallback=fallback)
    return {"result": as_dict(result), "left": _names(volume)}


def full_reports(directory: Path, processes: str) -> dict[str, Any]:
    """A report volume with room for a part of the audit of several processes."""
    volume, reports = directory / "volume", directory / "reports"
    for number in range(8000):
        write(volume / f"d{number % 4}/{'x' * 100}-{number}", days=OLD)
    reports.mkdir()
    _run("mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", reports)
    task = cleanup_task(volume, processes=int(processes))
    assert task.cleanup is not None
    task = dataclasses.replace(task, cleanup=dataclasses.replace(task.cleanup, report=str(reports)))
    result = perform(task, Stop())
    left = len(files_below(volume))
    path = reports / task.namespace / task.policy / "run-1-a1.ndjson"
    assert result.cleanup is not None
    assert result.cleanup.audit is not None
    safe = path.read_bytes().splitlines(keepends=True)[: result.cleanup.audit.lines]
    with open(path, "rb") as file:
        verdict = verify(file, result.cleanup.audit.head)
    told = [json.loads(line) for line in safe]
    try:
        message = perform(dataclasses.replace(task, run="run-2"), Stop()).message
    except (AuditLost, CouldNotRun) as error:
        message = str(error)
    return {
        "result": as_dict(result),
        "before": 8000,
        "left": left,
        "safe": sum(line["event"] == "removed" for line in told),
        "announced": sum(line["count"] for line in told if line["event"] == "intent"),
        "verdict": dataclasses.asdict(verdict),
        "again": {"left": len(files_below(volume)), "message": message},
    }


def overlay(directory: Path, fallback: bool) -> dict[str, Any]:
    """An overlay, whose files have other device numbers than its directories."""
    lower, upper, work, volume = (directory / name for name in ("lower", "upper", "work", "volume"))
    for made in (lower, upper, work, volume):
        made.mkdir(exist_ok=True)
    _run("mount", "-t", "tmpfs", "tmpfs", lower)
    write(lower / "d/below", days=OLD)
    write(lower / "d/young")
    write(upper / "d/above", days=OLD)
    _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", volume)
    result = carry_out(cleanup_task(volume), prefer_fallback=fallback)
    return {"result": as_dict(result), "left": [name for name in _names(volume) if not name.endswith("#")]}


def mounts_in_directories(directory: Path, fallback: bool) -> dict[str, Any]:
    """Directories that are items, in which a tmpfs, the same file system and a file over a file are mounted."""
    volume, outside = directory / "volume", directory / "outside"
    item(outside, "precious")
    for name in ("tmpfs", "bind", "over", "later", "free"):
        item(volume / name, "deep/x")
    item(volume / "itself", "x")
    _run("mount", "-t", "tmpfs", "tmpfs", volume / "tmpfs/deep")
    _run("mount", "--bind", outside, volume / "bind/deep")
    _run("mount", "--bind", outside / "precious", volume / "over/deep/x")
    _run("mount", "--bind", outside, volume / "itself")
    result = carry_out(cleanup_task(volume, directories(["*"])), prefer_fallback=fallback, later=OLD)
    return {"result": as_dict(result), "left": _names(volume), "outside": _names(outside)}


def directories_that_cannot_move(directory: Path, fallback: bool) -> dict[str, Any]:
    """Directories of an overlay: of a lower layer, which the kernel does not rename, and of the upper one."""
    lower, upper, work, volume = (directory / name for name in ("lower", "upper", "work", "volume"))
    for made in (lower, upper, work, volume):
        made.mkdir(exist_ok=True)
    _run("mount", "-t", "tmpfs", "tmpfs", lower)
    item(lower / "below", "x", "deep/x")
    options = f"lowerdir={lower},upperdir={upper},workdir={work},redirect_dir=off"
    _run("mount", "-t", "overlay", "overlay", "-o", options, volume)
    item(volume / "above", "x", "deep/x")
    result = carry_out(cleanup_task(volume, directories(["*"])), prefer_fallback=fallback, later=OLD)
    left = [name for name in _names(volume) if not name.startswith(".housekeeper")]
    return {"result": as_dict(result), "left": left, "trash": len(_names(volume)) - len(left)}


def subvolume_in_a_directory(directory: Path, fallback: bool) -> dict[str, Any]:
    """A subvolume in a directory that is an item, and one that would be."""
    volume = _file_system(directory, "btrfs")
    item(volume / "plain", "x")
    item(volume / "above", "x")
    for name in ("above/below", "whole"):
        _run("btrfs", "-q", "subvolume", "create", volume / name)
        write(volume / name / "x", days=OLD)
    result = carry_out(cleanup_task(volume, directories(["*"])), prefer_fallback=fallback, later=OLD)
    return {"result": as_dict(result), "left": _names(volume)}


def full_with_a_directory(directory: Path, fallback: bool) -> dict[str, Any]:
    """A file system without a free block, on which the trash must be made or the journal written."""
    volume = _loop_ext4(directory)
    item(volume / "old", *(f"f{number}" for number in range(20)))
    (volume / ".housekeeper/trash").mkdir(parents=True)
    _run("sh", "-c", 'head -c 1G /dev/zero > "$0"/filler || true', volume)
    task = cleanup_task(volume, directories(["old"]))
    first = as_dict(carry_out(task, prefer_fallback=fallback, later=OLD))
    left = len([name for name in _names(volume) if name.startswith("old/")])
    (volume / "filler").unlink()
    again = as_dict(carry_out(task, prefer_fallback=fallback, later=OLD))
    return {"first": first, "left": left, "again": again, "end": _names(volume / ".housekeeper")}


def emptied_mount_points(directory: Path, fallback: bool) -> dict[str, Any]:
    """A directory that a run empties on which something is mounted meanwhile is no business of its: it sees no file."""
    volume = directory / "volume"
    write(volume / "a/b/old", days=OLD)
    (volume / "a/mount").mkdir()
    _run("mount", "-t", "tmpfs", "tmpfs", volume / "a/mount")
    one = rule(remove_empty_directories="EmptiedByThisRun")
    result = carry_out(cleanup_task(volume, one), prefer_fallback=fallback)
    return {"result": as_dict(result), "b": (volume / "a/b").exists(), "mount": (volume / "a/mount").is_mount()}


def later_rules_do_not_cross(directory: Path, fallback: bool) -> dict[str, Any]:
    """A bind mount of the root into itself: the walk would never end if it were entered."""
    volume = directory / "volume"
    write(volume / "deep/old", days=OLD)
    (volume / "deep/again").mkdir()
    _run("mount", "--bind", volume, volume / "deep/again")
    result = carry_out(cleanup_task(volume, rule(include=["**/old"])), prefer_fallback=fallback)
    return {"result": as_dict(result), "left": _names(volume / "deep/again")}


def open_files(directory: Path, kind: str) -> dict[str, Any]:
    """Three of ten old files are open in processes with pid and mount namespaces of their own."""
    volume = _file_system(directory, kind)
    for name in ("reader", "writer", "mapping", *map(str, range(7))):
        write(volume / name, days=OLD)
    _run("sync", "-f", volume)

    def clean(mode: Mode) -> dict[str, Any]:
        answer: dict[str, Any] = as_dict(carry_out(cleanup_task(volume, mode=mode)))
        return answer

    with contextlib.ExitStack() as stack:
        stack.enter_context(holding(volume / "reader", "reader", namespaces=True))
        stack.enter_context(holding(volume / "mapping", "mapping", namespaces=True))
        told = {}
        with holding(volume / "writer", "writer", namespaces=True):
            told["dry"] = clean("DryRun")
            # A bind mount can be read-only while a writer is at work through another, as in a pod's dry run.
            view = directory / "view"
            view.mkdir()
            _run("mount", "--bind", "-o", "ro", volume, view)
            told["readOnly"] = as_dict(carry_out(cleanup_task(view, mode="DryRun")))
            _run("umount", view)
            told["real"] = clean("Enforce")
            told["left"] = _names(volume)
    return told | {"again": clean("Enforce")}


def _file_system(directory: Path, kind: str) -> Path:
    volume = directory / "volume"
    match kind:
        case "tmpfs":
            _run("mount", "-t", "tmpfs", "tmpfs", volume)
        case "overlay":
            layers = directory / "layers"
            layers.mkdir()
            _run("mount", "-t", "tmpfs", "tmpfs", layers)
            for name in ("lower", "upper", "work"):
                (layers / name).mkdir()
            options = f"lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/work"
            _run("mount", "-t", "overlay", "overlay", "-o", options, volume)
        case _:
            image = directory / "image"
            with open(image, "wb") as file:
                file.truncate(320 << 20)  # what xfs wants at least
            _run(f"mkfs.{kind}", "-q", image)
            _run("mount", "-o", "loop", image, volume)
    return volume


def no_birth_times(directory: Path, _fallback: bool) -> dict[str, Any]:
    """An ext4 without room for the time when a file was made."""
    volume, image = directory / "volume", directory / "image"
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    _run("mkfs.ext4", "-q", "-F", "-I", "128", "-b", "4096", image)
    volume.mkdir()
    _run("mount", "-o", "loop", image, volume)
    for name in ("a", "b"):
        write(volume / name, days=OLD)
    by_birth = dataclasses.replace(rule(include=["*"]), time=ItemTime("BirthTime"))
    return {"result": as_dict(carry_out(cleanup_task(volume, by_birth))), "left": _names(volume)}


def access_times(directory: Path, options: str, older: str = "") -> dict[str, Any]:
    """Files of a mount with `options`, by access time, and by modification time."""
    volume = tmpfs(directory, "size=1M")
    write(volume / "a", days=OLD)
    _run("mount", "-o", f"remount,bind,{options}", volume)
    by_access = dataclasses.replace(
        rule(), time=ItemTime("AccessTime"), remove_older_than=older or None, keep=None if older else Keep(last=1)
    )
    error = ""
    try:
        carry_out(cleanup_task(volume, by_access, mode="DryRun"))
    except CouldNotRun as refused:
        error = str(refused)
    return {"error": error, "modification": carry_out(cleanup_task(volume, mode="DryRun")).outcome}


def tmpfs(directory: Path, options: str) -> Path:
    """A tmpfs with these options, mounted at `volume` below `directory`."""
    volume = directory / "volume"
    volume.mkdir()
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", volume)
    return volume


def df(directory: Path, _fallback: bool) -> dict[str, Any]:
    """A file system with reserved blocks, as this project and as df measure it."""
    volume = _loop_ext4(directory, mebibytes=64)
    (volume / "half").write_bytes(b"x" * (30 << 20))
    values = {one.key: math.ceil(one.value or 0) for one in measure_filesystem(str(volume))}
    shown = subprocess.run(
        ["df", "--output=pcent,ipcent", volume], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1]
    used, inodes = (int(text.rstrip("%")) for text in shown.split())
    return {**values, "df": {"used": used, "inodesUsed": inodes}}


if __name__ == "__main__":
    play: Callable[..., dict[str, Any]] = globals()[sys.argv[1]]
    kinds = [argument for argument in sys.argv[3:] if argument != "fallback"]
    print(json.dumps(play(Path(sys.argv[2]), *(kinds or ["fallback" in sys.argv[3:]]))))
