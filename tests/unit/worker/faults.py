"""Everything that may be wrong with a volume, one after the other on one file system, by one kind of worker.

Played by `told` in a mount namespace of its own: a JSON object of what each fault led to, or how it failed.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import random
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.unit.worker import test_killed_directories
from tests.unit.worker.attackers import swapping
from tests.unit.worker.builders import OLD, cleanup_task, directories, files_below, item, rule, users_files, write
from tests.unit.worker.mounting import file_system, run
from tests.unit.worker.openers import holding
from tests.unit.worker.quarantines import contents, in_quarantine, quarantine_task, quarantining
from tests.unit.worker.scenarios import REPOSITORY
from tests.unit.worker.seccomp import OPENAT2, RENAMEAT2
from tests.unit.worker.ways import Way

KILLS = 20
LEVELS = 2000
NAMES = sorted(
    {bytes([number]) for number in range(1, 256)} - {b"/", b"."}
    | {b"..x", b" ", b"-rf", b"a\nb", b"\r", b"\xff\xfe", b"\xc3\x28", "é".encode(), b"x" * 255, b"*", b"$(id)", b"\\"}
)
"""Any byte, and names that something may take for something else."""

Volume = tuple[Path, Path]
"""Root of a run, and a directory beside it on the same file system that is none of its business."""


def odd_names(volume: Volume, way: Way) -> dict[str, Any]:
    """Names of any bytes, also those of directories."""
    root, _ = volume
    for name in NAMES:
        write(os.fsencode(root) + b"/" + name + b"/" + name, days=OLD)
    way.give(root)
    audit = os.memfd_create("audit")
    result = way.clean(cleanup_task(root), audit_fd=audit)
    lines = [json.loads(line) for line in os.pread(audit, 1 << 24, 0).splitlines()]
    os.close(audit)
    removed = [line for line in lines if line["event"] == "removed"]
    paths = {line["path"].encode() if "path" in line else base64.b64decode(line["pathBase64"]) for line in removed}
    return {"result": result, "left": len(files_below(root)), "told": paths == {name + b"/" + name for name in NAMES}}


def hard_links(volume: Volume, way: Way) -> dict[str, Any]:
    """Three planned names of one inode in three directories, and another that has a name which stays."""
    root, _ = volume
    write(root / "a/one", days=OLD, content=b"x" * 9000)
    write(root / "a/other", days=OLD, content=b"x" * 90_000)
    for path in ("b", "c", "stays"):
        (root / path).mkdir()
    os.link(root / "a/one", root / "b/two")
    os.link(root / "a/one", root / "c/three")
    os.link(root / "a/other", root / "stays/name")
    run("sync", "-f", root)
    occupied = (root / "a/one").stat().st_blocks * 512
    way.give(root)
    result = way.clean(cleanup_task(root, rule(exclude=["stays/**"]), processes=2))
    return {"result": result, "left": sorted(map(os.fsdecode, files_below(root))), "occupied": occupied}


def sparse_files(volume: Volume, way: Way) -> dict[str, Any]:
    """A file of a GiB that occupies next to nothing."""
    root, _ = volume
    write(root / "sparse", content=b"x" * 9000)
    os.truncate(root / "sparse", 1 << 30)
    os.utime(root / "sparse", (0, 0))
    run("sync", "-f", root)
    occupied = (root / "sparse").stat().st_blocks * 512
    way.give(root)
    return {"result": way.clean(cleanup_task(root)), "occupied": occupied}


def _dig(root: Path, levels: int) -> None:
    """Directories in each other, the lowest of which has a file, all of it old."""
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("old", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.utime("old", (0, 0), dir_fd=at)
    os.close(at)


def deep_trees(volume: Volume, way: Way) -> dict[str, Any]:
    """A file two thousand levels down, and a directory as deep that is an item."""
    root, _ = volume
    (root / "files").mkdir()
    (root / "item").mkdir()
    _dig(root / "files", LEVELS)
    _dig(root / "item", LEVELS)
    way.give(root)
    files = way.clean(cleanup_task(root, rule(include=["files/**"])))
    whole = way.clean(cleanup_task(root, directories(["item"])), later=OLD)
    trash = os.listdir(root / ".housekeeper/trash")
    return {"files": files, "whole": whole, "left": sorted(os.listdir(root)), "trash": trash}


def a_stopped_lease_holder(volume: Volume, way: Way) -> dict[str, Any]:
    """Somebody has a lease on a file and is stopped, so that he never gives it up."""
    root, _ = volume
    write(root / "held", days=OLD)
    write(root / "free", days=OLD)
    way.give(root)
    with holding(root / "held", "lease", stopped=True):
        return {"result": way.clean(cleanup_task(root)), "left": sorted(os.listdir(root))}


def immutable_files(volume: Volume, way: Way) -> dict[str, Any]:
    """A file that is immutable, one in a directory that is, and a directory to which names can only be added."""
    root, _ = volume
    for name in ("file", "directory/inside", "growing/inside", "free"):
        write(root / name, days=OLD)
    way.give(root)
    run("chattr", "+i", root / "file", root / "directory")
    run("chattr", "+a", root / "growing")
    result = way.clean(cleanup_task(root))
    left = sorted(map(os.fsdecode, files_below(root)))
    run("chattr", "-i", "-a", root / "file", root / "directory", root / "growing")
    return {"result": result, "left": left}


def mounts_inside(volume: Volume, way: Way) -> dict[str, Any]:
    """Another file system, the same one by another way, and a file over a file."""
    root, outside = volume
    for path in (root / "own", root / "tmpfs/x", root / "bind/x", root / "over", outside / "precious"):
        write(path, days=OLD)
    run("mount", "-t", "tmpfs", "tmpfs", root / "tmpfs")
    write(root / "tmpfs/inside", days=OLD)
    run("mount", "--bind", outside, root / "bind")
    run("mount", "--bind", outside / "precious", root / "over")
    way.give(root, outside)
    result = way.clean(cleanup_task(root))
    left = sorted(map(os.fsdecode, files_below(root)))
    run("umount", root / "tmpfs", root / "bind", root / "over")
    return {"result": result, "left": left}


def mounts_elsewhere(volume: Volume, way: Way) -> dict[str, Any]:
    """In another mount namespace something is mounted in the tree, which nobody here can see."""
    root, outside = volume
    write(root / "d/mount/below", days=OLD)
    write(root / "d/old", days=OLD)
    item(root / "item", "mount/x")
    item(outside, "precious", "deep/precious")
    way.give(root, outside)
    script = (
        'mount --bind "$1" "$0/d/mount" && mount --bind "$1" "$0/item/mount" && exec 5<"$0/item/mount" '
        "&& echo ready && read line && ls /proc/self/fd/5"
    )
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, root, outside]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        rules = directories(["item"]), rule(remove_empty_directories="EmptiedByThisRun")
        result = way.clean(cleanup_task(root, *rules), later=OLD)
        seen, _ = other.communicate("\n")
    return {"result": result, "left": sorted(os.listdir(root)), "outside": len(files_below(outside)), "seen": seen}


def _fill(at: int, count: int, uid: int) -> None:
    """Make old files of a user in a directory, whatever its name is at the moment."""
    for number in range(count):
        os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY, 0o666, dir_fd=at))
        os.chown(f"f{number}", uid, uid, dir_fd=at)
        os.utime(f"f{number}", (0, 0), dir_fd=at)


def swapped_directories(volume: Volume, way: Way) -> dict[str, Any]:
    """A directory and a link to one that looks the same, outside, change places while runs work."""
    root, outside = volume
    for number in range(40):
        write(outside / f"d/f{number}", days=OLD)
    (root / "d").mkdir()
    (root / "link").symlink_to(outside / "d")
    way.give(root, outside)
    (root / "d/item").mkdir()
    rounds = 10
    with open_directory(root / "d") as at:
        with swapping(root / "d", root / "link"):
            for _ in range(rounds):
                _fill(at, 40, way.uid)
                way.clean(cleanup_task(root))
        _fill(at, 40, way.uid)
        # That they are what the rules take is seen when nobody swaps any more.
        removed = way.clean(cleanup_task(root))["cleanup"]["removed"]
        _fill(at, 40, way.uid)
    item(outside / "d/item", "precious")
    items = cleanup_task(root, directories(["d/item", "link/item"]))
    with swapping(root / "d", root / "link"):
        for _ in range(rounds):
            for path in (root / "d/item", root / "link/item"):
                with contextlib.suppress(OSError):
                    path.mkdir()
            way.clean(items, later=OLD)
    return {"outside": len(files_below(outside)), "removed": removed}


@contextlib.contextmanager
def open_directory(path: Path) -> Iterator[int]:
    """Its descriptor."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def refused_calls(volume: Volume, way: Way) -> dict[str, Any]:
    """A profile that knows neither openat2 nor renameat2."""
    told = {}
    for answer in (errno.ENOSYS, errno.EPERM):
        root = volume[0] / errno.errorcode[answer]
        for number in range(5):
            write(root / f"gone/{number}", days=OLD)
            write(root / f"moved/{number}", days=OLD, content=b"%d" % number)
        item(root / "item", "a", "deep/b")
        item(root / "held/item", "a")
        way.give(root)
        refusing = way.without(OPENAT2, RENAMEAT2, answer=answer)
        moving = quarantining(rule("moved", include=["moved/*"]))
        rules = directories(["item", "held/item"]), moving, rule(include=["gone/*"])
        with holding(root / "held/item/a", "reader"):
            result = refusing.clean(quarantine_task(root, *rules), later=OLD)
        left = sorted(map(os.fsdecode, users_files(root)))
        told[errno.errorcode[answer]] = {"result": result, "left": left, "quarantined": len(in_quarantine(root))}
    return told


def killed(volume: Volume, way: Way) -> dict[str, Any]:
    """SIGKILL at random moments, between rename and emptying among them, and another run."""
    seen = test_killed_directories.killed_often(volume[0], way.uid, KILLS, random.Random(way.uid))
    return {"kills": KILLS, "seen": seen}


def full(volume: Volume, way: Way) -> dict[str, Any]:
    """Not a block is free: files go, directories and what is quarantined go or stay as they are."""
    root, outside = volume
    for number in range(20):
        write(root / f"files/{number}", days=OLD, content=b"x" * 9000)
        write(root / f"moved/{number}", days=OLD, content=b"%d" % number)
    item(root / "item", *map(str, range(20)))
    way.give(root)
    run("sync", "-f", root)
    _exhaust(outside / "filler")
    directory = way.clean(cleanup_task(root, directories(["item"])), later=OLD)
    half = 0 < len(files_below(root / "item")) < 20 if (root / "item").exists() else False
    moving = way.clean(quarantine_task(root, quarantining(rule("moved", include=["moved/*"]))))
    kept = contents(root) | in_quarantine(root)
    whole = all(kept[b"moved/%d" % number] == b"%d" % number for number in range(20))
    files = way.clean(cleanup_task(root, rule(include=["files/*"])))
    for path in outside.iterdir():
        path.unlink()
    left = len(files_below(root / "files"))
    return {"files": files, "left": left, "directory": directory, "half": half, "moving": moving, "whole": whole}


def _exhaust(path: Path) -> None:
    """Take every block that is free."""
    size, number = 256 << 20, 0
    while size >= 4096:
        try:
            with open(path.with_name(f"{path.name}{number}"), "wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            size //= 2
        number += 1


def read_only(volume: Volume, way: Way) -> dict[str, Any]:
    """What is mounted read-only can be planned, and nothing more."""
    root, _ = volume
    for number in range(20):
        write(root / f"f{number}", days=OLD)
    way.give(root)
    run("mount", "-o", "remount,ro", root.parent.parent)
    dry = way.clean(cleanup_task(root, mode="DryRun"))
    real = way.clean(cleanup_task(root))
    run("mount", "-o", "remount,rw", root.parent.parent)
    return {"dry": dry, "real": real, "left": len(files_below(root))}


FAULTS: tuple[Callable[[Volume, Way], dict[str, Any]], ...] = (
    odd_names,
    hard_links,
    sparse_files,
    deep_trees,
    a_stopped_lease_holder,
    immutable_files,
    mounts_inside,
    mounts_elsewhere,
    swapped_directories,
    refused_calls,
    killed,
    read_only,
    full,
)
"""The last one ends the file system: some give room back when they find the time."""


def told(directory: Path, kind: str, way: Way) -> dict[str, Any]:
    """Play all of them on a file system of this kind, which is made in `directory`."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", __name__]
    command += [str(directory), kind, *way.words()]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, "".join(done.stderr.splitlines(keepends=True)[-20:])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main(directory: Path, kind: str, *words: str) -> None:
    """Print what was told."""
    volume, way = file_system(directory, kind), Way.of(list(words))
    heard: dict[str, Any] = {}
    for fault in FAULTS:
        root, outside = volume / fault.__name__ / "root", volume / fault.__name__ / "outside"
        root.mkdir(parents=True)
        outside.mkdir()
        try:
            heard[fault.__name__] = fault((root, outside), way)
        except Exception:  # noqa: BLE001 - the others are to be heard too
            heard[fault.__name__] = {"raised": traceback.format_exc()}
    print(json.dumps(heard))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
