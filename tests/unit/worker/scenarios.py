"""Scenes with mounts, each in a mount namespace of its own that ends with its process, however that ends.

Run by `scene` as `unshare --mount python -m … NAME DIRECTORY`; prints one JSON object.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from housekeeper_api.task import ItemTime, Keep, Mode
from housekeeper_worker.checks.filesystem import measure_filesystem
from housekeeper_worker.errors import CouldNotRun
from tests.unit.worker.builders import (
    OLD,
    carry_out,
    cleanup_task,
    directories,
    files_below,
    item,
    rule,
    write,
)
from tests.unit.worker.mounting import file_system, loop_ext4, run, tmpfs
from tests.unit.worker.openers import holding
from tests.unit.worker.quarantines import contents, in_quarantine, put_back, quarantine_task, quarantining
from tests.unit.worker.ways import Way

REPOSITORY = Path(__file__).parents[3]


def scene(
    name: str, directory: Path, *arguments: str, way: Way | None = None, module: str = __name__
) -> dict[str, Any]:
    """Play the scene `name` of `module` in `directory`, and return what it tells."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", module, name, str(directory)]
    done = subprocess.run(
        [*command, *arguments, *(way or Way()).words()],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _names(root: Path) -> list[str]:
    return sorted(os.fsdecode(path) for path in files_below(root))


def ext4(directory: Path, way: Way) -> dict[str, Any]:
    """A fresh ext4, whose lost+found is closed to all but root."""
    volume = loop_ext4(directory)
    os.chown(volume, way.uid, way.uid)
    for number in range(50):
        write(volume / f"d{number % 5}/f{number}", days=OLD if number % 2 else 1, content=b"x" * 3000)
    way.give(*volume.glob("d*"))
    result = way.clean(cleanup_task(volume))
    return {"result": result, "left": _names(volume)}


def mounts_inside(directory: Path, way: Way) -> dict[str, Any]:
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
    run("mount", "-t", "tmpfs", "tmpfs", volume / "tmpfs")
    write(volume / "tmpfs/inside", days=OLD)
    run("mount", "--bind", outside, volume / "bind")
    run("mount", "--bind", outside / "file", volume / "over")
    way.give(volume, outside)
    result = way.clean(cleanup_task(volume))
    return {"result": result, "left": _names(volume), "outside": _names(outside)}


def path_is_a_mount(directory: Path, way: Way) -> dict[str, Any]:
    """`path` names a directory on which something else is mounted."""
    volume = directory / "volume"
    (volume / "bind").mkdir(parents=True)
    write(directory / "outside/precious", days=OLD)
    run("mount", "--bind", directory / "outside", volume / "bind")
    way.give(volume)
    return way.clean(cleanup_task(volume, path="bind")) | {"left": _names(directory / "outside")}


def read_only(directory: Path, way: Way) -> dict[str, Any]:
    """A volume that is mounted read-only: a dry run works, enforcing cannot."""
    volume = loop_ext4(directory)
    for number in range(20):
        write(volume / f"f{number}", days=OLD)
    way.give(volume)
    run("mount", "-o", "remount,ro", volume)
    dry = way.clean(cleanup_task(volume, mode="DryRun"))
    real = way.clean(cleanup_task(volume))
    return {"dry": dry, "real": real, "left": len(_names(volume))}


def fill(volume: Path) -> None:
    """Take all the room that a file system has, with a file `filler`."""
    size = 1 << 20
    with open(volume / "filler", "wb", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2


def full_quarantine(directory: Path, way: Way) -> dict[str, Any]:
    """A file system that is full before a quarantine is begun, and has little room later."""
    volume = loop_ext4(directory)
    for number in range(1200):
        write(volume / f"d/{number}", days=OLD, content=b"%d" % number)
    fill(volume)
    run("truncate", "-s", "-160K", volume / "filler")
    way.give(volume / "d")
    os.chown(volume, way.uid, way.uid)
    result = way.clean(quarantine_task(volume, quarantining(rule(include=["d/*"]))))
    there = contents(volume) | in_quarantine(volume)
    whole = all(there[b"d/%d" % number] == b"%d" % number for number in range(1200))
    os.unlink(volume / "filler")
    again = way.clean(quarantine_task(volume, quarantining(rule(include=["d/*"]))))
    restored = way.run(lambda: put_back(volume))
    return {
        "result": result,
        "again": again,
        "restored": restored,
        "planned": 1200,
        "whole": whole,
    }


def full(directory: Path, way: Way) -> dict[str, Any]:
    """A file system without a free block."""
    volume = loop_ext4(directory)
    write(volume / "old", days=OLD, content=b"x" * 100_000)
    fill(volume)
    assert os.statvfs(volume).f_bavail == 0
    os.chown(volume, way.uid, way.uid)
    way.give(volume / "old")
    result = way.clean(cleanup_task(volume))
    return {"result": result, "left": _names(volume)}


def overlay(directory: Path, way: Way) -> dict[str, Any]:
    """An overlay, whose files have other device numbers than its directories."""
    lower, upper, work, volume = (directory / name for name in ("lower", "upper", "work", "volume"))
    for made in (lower, upper, work, volume):
        made.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", lower)
    write(lower / "d/below", days=OLD)
    write(lower / "d/young")
    write(upper / "d/above", days=OLD)
    way.give(lower, upper)
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", volume)
    result = way.clean(cleanup_task(volume))
    return {"result": result, "left": [name for name in _names(volume) if not name.endswith("#")]}


def mounts_in_directories(directory: Path, way: Way) -> dict[str, Any]:
    """Directories that are items, in which a tmpfs, the same file system and a file over a file are mounted."""
    volume, outside = directory / "volume", directory / "outside"
    item(outside, "precious")
    for name in ("tmpfs", "bind", "over", "later", "free"):
        item(volume / name, "deep/x")
    item(volume / "itself", "x")
    run("mount", "-t", "tmpfs", "tmpfs", volume / "tmpfs/deep")
    run("mount", "--bind", outside, volume / "bind/deep")
    run("mount", "--bind", outside / "precious", volume / "over/deep/x")
    run("mount", "--bind", outside, volume / "itself")
    way.give(volume, outside)
    result = way.clean(cleanup_task(volume, directories(["*"])), later=OLD)
    return {"result": result, "left": _names(volume), "outside": _names(outside)}


def directories_that_cannot_move(directory: Path, way: Way) -> dict[str, Any]:
    """Directories of an overlay: of a lower layer, which the kernel does not rename, and of the upper one."""
    lower, upper, work, volume = (directory / name for name in ("lower", "upper", "work", "volume"))
    for made in (lower, upper, work, volume):
        made.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", lower)
    item(lower / "below", "x", "deep/x")
    way.give(lower, upper)
    options = f"lowerdir={lower},upperdir={upper},workdir={work},redirect_dir=off"
    run("mount", "-t", "overlay", "overlay", "-o", options, volume)
    item(volume / "above", "x", "deep/x")
    way.give(volume / "above")
    result = way.clean(cleanup_task(volume, directories(["*"])), later=OLD)
    left = [name for name in _names(volume) if not name.startswith(".housekeeper")]
    return {"result": result, "left": left, "trash": len(_names(volume)) - len(left)}


def subvolume_in_a_directory(directory: Path, way: Way) -> dict[str, Any]:
    """A subvolume in a directory that is an item, and one that would be."""
    volume = file_system(directory, "btrfs")
    item(volume / "plain", "x")
    item(volume / "above", "x")
    for name in ("above/below", "whole"):
        run("btrfs", "-q", "subvolume", "create", volume / name)
        write(volume / name / "x", days=OLD)
    way.give(volume)
    result = way.clean(cleanup_task(volume, directories(["*"])), later=OLD)
    return {"result": result, "left": _names(volume)}


def full_with_a_directory(directory: Path, way: Way) -> dict[str, Any]:
    """A file system without a free block, on which the trash must be made or the journal written."""
    volume = loop_ext4(directory)
    item(volume / "old", *(f"f{number}" for number in range(20)))
    (volume / ".housekeeper/trash").mkdir(parents=True, mode=0o700)
    for own in (volume, volume / ".housekeeper"):
        os.chown(own, way.uid, way.uid)
    way.give(volume / "old", volume / ".housekeeper/trash")
    fill(volume)
    task = cleanup_task(volume, directories(["old"]))
    first = way.clean(task, later=OLD)
    left = len([name for name in _names(volume) if name.startswith("old/")])
    (volume / "filler").unlink()
    again = way.clean(task, later=OLD)
    return {"first": first, "left": left, "again": again, "end": _names(volume / ".housekeeper")}


def emptied_mount_points(directory: Path, way: Way) -> dict[str, Any]:
    """A directory that a run empties on which something is mounted meanwhile is no business of its: it sees no file."""
    volume = directory / "volume"
    write(volume / "a/b/old", days=OLD)
    (volume / "a/mount").mkdir()
    run("mount", "-t", "tmpfs", "tmpfs", volume / "a/mount")
    way.give(volume)
    one = rule(remove_empty_directories="EmptiedByThisRun")
    result = way.clean(cleanup_task(volume, one))
    return {"result": result, "b": (volume / "a/b").exists(), "mount": (volume / "a/mount").is_mount()}


def later_rules_do_not_cross(directory: Path, way: Way) -> dict[str, Any]:
    """A bind mount of the root into itself: the walk would never end if it were entered."""
    volume = directory / "volume"
    write(volume / "deep/old", days=OLD)
    (volume / "deep/again").mkdir()
    way.give(volume)
    run("mount", "--bind", volume, volume / "deep/again")
    result = way.clean(cleanup_task(volume, rule(include=["**/old"])))
    return {"result": result, "left": _names(volume / "deep/again")}


def open_files(directory: Path, way: Way, kind: str) -> dict[str, Any]:
    """Three of ten old files are open in processes with pid and mount namespaces of their own."""
    volume = file_system(directory, kind)
    for name in ("reader", "writer", "mapping", *map(str, range(7))):
        write(volume / name, days=OLD)
    way.give(volume)
    run("sync", "-f", volume)

    def clean(mode: Mode) -> dict[str, Any]:
        return way.clean(cleanup_task(volume, mode=mode))

    with contextlib.ExitStack() as stack:
        stack.enter_context(holding(volume / "reader", "reader", namespaces=True))
        stack.enter_context(holding(volume / "mapping", "mapping", namespaces=True))
        told = {}
        with holding(volume / "writer", "writer", namespaces=True):
            told["dry"] = clean("DryRun")
            # A bind mount can be read-only while a writer is at work through another, as in a pod's dry run.
            view = directory / "view"
            view.mkdir()
            run("mount", "--bind", "-o", "ro", volume, view)
            told["readOnly"] = way.clean(cleanup_task(view, mode="DryRun"))
            run("umount", view)
            told["real"] = clean("Enforce")
            told["left"] = _names(volume)
    return told | {"again": clean("Enforce")}


def no_birth_times(directory: Path, way: Way) -> dict[str, Any]:
    """An ext4 without room for the time when a file was made."""
    volume, image = directory / "volume", directory / "image"
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    run("mkfs.ext4", "-q", "-F", "-I", "128", "-b", "4096", image)
    volume.mkdir()
    run("mount", "-o", "loop", image, volume)
    for name in ("a", "b"):
        write(volume / name, days=OLD)
    by_birth = dataclasses.replace(rule(include=["*"]), time=ItemTime("BirthTime"))
    return {"result": way.clean(cleanup_task(volume, by_birth)), "left": _names(volume)}


def access_times(directory: Path, _way: Way, options: str, older: str = "") -> dict[str, Any]:
    """Files of a mount with `options`, by access time, and by modification time."""
    volume = tmpfs(directory, "size=1M")
    write(volume / "a", days=OLD)
    run("mount", "-o", f"remount,bind,{options}", volume)
    by_access = dataclasses.replace(
        rule(), time=ItemTime("AccessTime"), remove_older_than=older or None, keep=None if older else Keep(last=1)
    )
    error = ""
    try:
        carry_out(cleanup_task(volume, by_access, mode="DryRun"))
    except CouldNotRun as refused:
        error = str(refused)
    return {"error": error, "modification": carry_out(cleanup_task(volume, mode="DryRun")).outcome}


def df(directory: Path, _way: Way) -> dict[str, Any]:
    """A file system with reserved blocks, as this project and as df measure it."""
    volume = loop_ext4(directory, mebibytes=64)
    (volume / "half").write_bytes(b"x" * (30 << 20))
    values = {one.key: math.ceil(one.value or 0) for one in measure_filesystem(str(volume))}
    shown = subprocess.run(
        ["df", "--output=pcent,ipcent", volume], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1]
    used, inodes = (int(text.rstrip("%")) for text in shown.split())
    return {**values, "df": {"used": used, "inodesUsed": inodes}}


if __name__ == "__main__":
    play: Callable[..., dict[str, Any]] = globals()[sys.argv[1]]
    the_way, words = Way.apart(sys.argv[3:])
    print(json.dumps(play(Path(sys.argv[2]), the_way, *words)))
