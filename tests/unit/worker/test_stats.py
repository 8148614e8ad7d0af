"""Stat in bulk: the same numbers as one by one, by whichever call."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_worker.volume.stats import BLOCK, STAT, STATX, Columns, Layout, Stats
from housekeeper_worker.volume.syscalls import birth_time
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


@pytest.mark.parametrize("call", ["fstatat", "statx", "stat"])
def test_foundare_what_stat_says(volume: Path, call: str) -> None:
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
    stats = Stats(calls=[call])
    assert stats.take(fd, [name.encode() for name in names]) == {}
    assert columns(stats) == [expected(volume / name) for name in names]
    assert columns(stats.marked([1, 0] * 3)) == [expected(volume / name) for name in names[::2]]
    assert stats.mode() == [(volume / name).lstat().st_mode for name in names]
    assert stats.modified_seconds().tolist() == [(volume / name).lstat().st_mtime_ns // 1_000_000_000 for name in names]
    assert stats.changed_seconds().tolist() == [(volume / name).lstat().st_ctime_ns // 1_000_000_000 for name in names]
    os.close(fd)


@pytest.mark.parametrize("call", ["fstatat", "statx", "stat"])
def test_what_is_not_there_is_told_by_its_place(volume: Path, call: str) -> None:
    for name in ("a", "c"):
        write(volume / name)
    fd = opened(volume)
    stats = Stats(calls=[call])
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


@pytest.mark.parametrize("call", ["fstatat", "statx", "stat"])
def test_times_that_no_column_can_hold_are_the_first_or_last_that_it_can(memory_volume: Path, call: str) -> None:
    """A tmpfs keeps whatever seconds it is given."""
    for name, seconds in (("after", 99_999_999_999), ("before", -99_999_999_999), ("now", 1_700_000_000)):
        write(memory_volume / name)
        os.utime(memory_volume / name, (seconds, seconds))
    fd = opened(memory_volume)
    stats = Stats(calls=[call])
    assert stats.take(fd, [b"after", b"before", b"now"]) == {}
    assert stats.modified().tolist() == [(1 << 63) - 1, 1 - (1 << 63), 1_700_000_000 * 10**9]
    os.close(fd)


def test_inodes_use_all_their_bits() -> None:
    """As those of file systems that make them of hashes do."""
    record = bytearray(256)
    struct.pack_into("=Q", record, 32, (1 << 64) - 5)
    assert Columns(record, 1, STATX).inode().tolist() == [(1 << 64) - 5]


_FILES: Final = st.lists(
    st.tuples(
        st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 1 << 34),
        st.integers(0, 999_999_999),
        st.integers(0, 1 << 53),
    ),
    max_size=20,
)


@pytest.mark.parametrize("layout", [STATX, *STAT.values()], ids=["statx", *STAT])
@given(files=_FILES)
def test_columns_are_made_without_looking_at_each_file(layout: Layout, files: list[tuple[int, int, int]]) -> None:
    """Whatever their neighbours are: nothing is carried from one to the next."""
    raw = bytearray(b"\xff" * layout.size * len(files))
    for number, (seconds, rest, blocks) in enumerate(files):
        begin = number * layout.size
        struct.pack_into("=Q", raw, begin + 8 * layout.blocks, blocks)
        for name in ("modified", "changed"):
            struct.pack_into("=qI4x", raw, begin + 8 * layout.seconds[name], seconds, rest)
    found = Columns(raw, len(files), layout)
    times = [max(1 - (1 << 63), min((1 << 63) - 1, seconds * 10**9 + rest)) for seconds, rest, _ in files]
    assert found.changed().tolist() == found.modified().tolist() == times
    assert found.allocated().tolist() == [512 * blocks for _, _, blocks in files]


def test_the_cheapest_call_is_known_on_this_machine() -> None:
    """Else a layout is missing, or wrong, and everything takes longer."""
    assert os.uname().machine in STAT
    assert Stats().take(-1, [b"/"]) == {}
    assert Stats()._layout is STAT[os.uname().machine]


def test_birth_times_are_those_of_statx(volume: Path) -> None:
    write(volume / "a", days=40)
    fd = opened(volume)
    stats = Stats(births=True)
    assert stats.take(fd, [b"a"]) == {}
    assert stats.born()[0] == birth_time(fd, b"a") != (volume / "a").stat().st_mtime_ns
    os.close(fd)
