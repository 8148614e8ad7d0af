"""Stat in bulk: the same numbers as one by one, with statx and without it."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_worker.volume.stats import BLOCK, Columns, Stats
from tests.unit.worker.builders import write


def opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def columns(stats: Columns) -> list[tuple[int, ...]]:
    """One tuple a file, as `expected` has it."""
    each = (
        stats.inode(),
        stats.device(),
        stats.size(),
        stats.allocated(),
        stats.links(),
        stats.modified(),
        stats.changed(),
        stats.accessed(),
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
def test_foundare_what_stat_says(volume: Path, statx: bool) -> None:
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
    assert columns(stats.marked([1, 0] * 3)) == [expected(volume / name) for name in names[::2]]
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
    assert stats.inode().tolist() == [os.stat(name, dir_fd=fd).st_ino for name in names]
    os.close(fd)


@pytest.mark.parametrize("statx", [True, False], ids=["statx", "stat"])
def test_times_that_no_column_can_hold_are_the_first_or_last_that_it_can(memory_volume: Path, statx: bool) -> None:
    """A tmpfs keeps whatever seconds it is given."""
    for name, seconds in (("after", 99_999_999_999), ("before", -99_999_999_999), ("now", 1_700_000_000)):
        write(memory_volume / name)
        os.utime(memory_volume / name, (seconds, seconds))
    fd = opened(memory_volume)
    stats = Stats(statx=statx)
    assert stats.take(fd, [b"after", b"before", b"now"]) == {}
    assert stats.modified().tolist() == [(1 << 63) - 1, 1 - (1 << 63), 1_700_000_000 * 10**9]
    os.close(fd)


def test_inodes_use_all_their_bits() -> None:
    """As those of file systems that make them of hashes do."""
    record = bytearray(256)
    struct.pack_into("=Q", record, 32, (1 << 64) - 5)
    assert Columns(record, 1).inode().tolist() == [(1 << 64) - 5]


_FILES: Final = st.lists(
    st.tuples(
        st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 1 << 34),
        st.integers(0, 999_999_999),
        st.integers(0, 1 << 53),
    ),
    max_size=20,
)


@given(_FILES)
def test_foundare_made_without_looking_at_each_file(files: list[tuple[int, int, int]]) -> None:
    """Whatever their neighbours are: nothing is carried from one to the next."""
    record = struct.Struct("=40xQQ40xqI4xqI4x128x")
    assert record.size == 256
    raw = b"".join(record.pack(7, blocks, seconds, rest, seconds, rest) for seconds, rest, blocks in files)
    found = Columns(raw, len(files))
    times = [max(1 - (1 << 63), min((1 << 63) - 1, seconds * 10**9 + rest)) for seconds, rest, _ in files]
    assert found.changed().tolist() == found.modified().tolist() == times
    assert found.allocated().tolist() == [512 * blocks for _, _, blocks in files]
