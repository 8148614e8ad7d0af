"""Stat in bulk: the same numbers as one by one, with statx and without it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from housekeeper_worker.volume.stats import BLOCK, Stats
from tests.unit.worker.builders import write


def opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def columns(stats: Stats, marks: list[int] | None = None) -> list[tuple[int, ...]]:
    """One tuple a file, as `expected` has it."""
    each = (
        stats.inode(marks),
        stats.device(marks),
        stats.size(marks),
        stats.allocated(marks),
        stats.links(marks),
        stats.modified(marks),
        stats.changed(marks),
        stats.accessed(marks),
    )
    return list(zip(*each, strict=True))


def expected(path: Path) -> tuple[int, ...]:
    stat = path.lstat()
    return (
        stat.st_ino,
        stat.st_dev,
        stat.st_size,
        stat.st_blocks * 512,
        stat.st_nlink,
        stat.st_mtime_ns,
        stat.st_ctime_ns,
        stat.st_atime_ns,
    )


@pytest.mark.parametrize("statx", [True, False], ids=["statx", "stat"])
def test_columns_are_what_stat_says(volume: Path, statx: bool) -> None:
    write(volume / "old", days=40, content=b"x" * 5000)
    os.utime(volume / "old", ns=(1_234_567_891, -1_500_000_001))
    write(volume / "sticky", content=b"")
    (volume / "sticky").chmod(0o1644)
    os.link(volume / "old", volume / "other")
    with open(volume / "sparse", "wb") as file:
        file.truncate(1 << 40)
    (volume / "link").symlink_to("nowhere")
    names = sorted(os.listdir(volume))
    fd = opened(volume)
    stats = Stats(statx=statx)
    assert stats.take(fd, [name.encode() for name in names]) == {}
    assert columns(stats) == [expected(volume / name) for name in names]
    assert columns(stats, [1, 0] * 3) == [expected(volume / name) for name in names[::2]]
    assert stats.mode() == [(volume / name).lstat().st_mode for name in names]
    assert stats.modified_seconds() == [(volume / name).lstat().st_mtime_ns // 1_000_000_000 for name in names]
    assert stats.changed_seconds() == [(volume / name).lstat().st_ctime_ns // 1_000_000_000 for name in names]
    os.close(fd)


@pytest.mark.parametrize("statx", [True, False], ids=["statx", "stat"])
def test_what_is_not_there_is_told_by_its_place(volume: Path, statx: bool) -> None:
    for name in ("a", "c"):
        write(volume / name)
    fd = opened(volume)
    stats = Stats(statx=statx)
    errors = stats.take(fd, [b"a", b"b", b"c", b"x" * 300])
    assert {place: error.errno for place, error in errors.items()} == {1: errno.ENOENT, 3: errno.ENAMETOOLONG}
    inodes = stats.inode()
    assert (inodes[0], inodes[2]) == ((volume / "a").stat().st_ino, (volume / "c").stat().st_ino)
    os.close(fd)


def test_a_block_takes_as_many_as_it_says(volume: Path) -> None:
    names = [b"f%d" % number for number in range(BLOCK)]
    for name in names:
        write(os.fsencode(volume) + b"/" + name)
    fd = opened(volume)
    stats = Stats()
    assert stats.take(fd, names) == {}
    assert stats.inode() == [os.stat(name, dir_fd=fd).st_ino for name in names]
    os.close(fd)
