"""How what is below a root is opened, and what happens where the kernel or its guards do not allow it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.volume.batches import Batch
from housekeeper_worker.volume.remover import Remover
from housekeeper_worker.volume.root import VolumeRoot
from tests.unit.worker.builders import OLD, as_user, carry_out, cleanup_task, counters, files_below, write
from tests.unit.worker.seccomp import OPENAT2, STATX, forbid


def run_forbidden(volume: Path, *syscalls: int, answer: int) -> Any:
    def act() -> dict[str, Any]:
        forbid(*syscalls, answer=answer)
        try:
            with VolumeRoot.open(str(volume)) as root:
                method = root.method
            return {"method": method, "outcome": carry_out(cleanup_task(volume)).outcome}
        except CouldNotRun as error:
            return {"error": str(error)}

    return as_user(0, act)


@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.EPERM])
def test_without_openat2_directories_are_opened_one_component_at_a_time(volume: Path, answer: int) -> None:
    write(volume / "a/b/old", days=OLD)
    told = run_forbidden(volume, OPENAT2, answer=answer)
    assert told == {"method": "one component at a time", "outcome": "Succeeded"}
    assert files_below(volume) == set()


@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.EPERM])
def test_without_either_nothing_runs(volume: Path, answer: int) -> None:
    write(volume / "a/b/old", days=OLD)
    told = run_forbidden(volume, OPENAT2, STATX, answer=answer)
    assert "neither openat2" in told["error"]
    assert files_below(volume) == {b"a/b/old"}


def test_openat2_is_used_where_there_is_one(volume: Path) -> None:
    with VolumeRoot.open(str(volume)) as root:
        assert root.method == "openat2"


def test_a_directory_that_was_moved_away_is_not_followed_but_by_a_walk(
    volume: Path, tmp_path: Path, prefer_fallback: bool
) -> None:
    """Whoever removes comes from the root each time: what was below it is nobody's business where it is now."""
    write(volume / "a/b/precious")
    with VolumeRoot.open(str(volume), prefer_fallback=prefer_fallback) as root:
        for on_walk in (False, True):
            with root.directory(b"a", for_reading=True, on_walk=on_walk):
                pass
        os.rename(volume / "a", tmp_path / "away")
        for for_reading in (False, True):
            with pytest.raises(FileNotFoundError), root.directory(b"a/b", for_reading=for_reading):
                pass


def test_a_tree_that_is_moved_away_while_it_is_removed_loses_nothing_more(
    volume: Path, tmp_path: Path, prefer_fallback: bool
) -> None:
    for name in ("a/first", "a/b/second", "a/b/c/third"):
        write(volume / name, days=OLD)
    moved = tmp_path / "away"

    class Moving(Remover):
        def carry_out(self, batch: Batch, *, has_lock: bool = False) -> None:
            super().carry_out(batch, has_lock=has_lock)
            if (volume / "a").exists():
                os.rename(volume / "a", moved)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("housekeeper_worker.volume.removal.Remover", Moving)
        patch.setattr("housekeeper_worker.volume.removal.BATCH", 1)
        result = carry_out(cleanup_task(volume), prefer_fallback=prefer_fallback)
    assert counters(result).removed == 1
    assert files_below(moved) == {b"b/second", b"b/c/third"}


@pytest.mark.parametrize("path", [b"link", b"link/inside", b"file", b"fifo"])
def test_what_is_no_directory_is_not_opened(volume: Path, path: bytes, prefer_fallback: bool) -> None:
    write(volume / "real/inside/x")
    write(volume / "file")
    os.mkfifo(volume / "fifo")
    os.symlink("real", volume / "link")
    with VolumeRoot.open(str(volume), prefer_fallback=prefer_fallback) as root:
        for for_reading in (True, False):
            with pytest.raises(OSError) as caught, root.directory(path, for_reading=for_reading):  # noqa: PT011
                pass
            assert caught.value.errno in {errno.ELOOP, errno.ENOTDIR}


def test_paths_longer_than_one_call_takes_are_opened(open_volume: Path, prefer_fallback: bool) -> None:
    parts = ["x" * 250] * 40
    at = os.open(open_volume, os.O_RDONLY | os.O_DIRECTORY)
    for part in parts:
        os.mkdir(part, dir_fd=at)
        below = os.open(part, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    inode = os.fstat(at).st_ino
    os.close(at)
    path = "/".join(parts).encode()
    with VolumeRoot.open(str(open_volume), prefer_fallback=prefer_fallback) as root:
        for _ in range(2):
            with root.directory(path, for_reading=True) as fd:
                assert os.fstat(fd).st_ino == inode
            with root.directory(b"", for_reading=True) as fd:
                assert os.fstat(fd).st_ino == os.stat(open_volume).st_ino


def test_no_descriptor_is_left_open(volume: Path, prefer_fallback: bool) -> None:
    for number in range(20):
        write(volume / f"d{number}/e/old", days=OLD)
    before = len(os.listdir("/proc/self/fd"))
    carry_out(cleanup_task(volume), prefer_fallback=prefer_fallback)
    with pytest.raises(CouldNotRun):
        carry_out(cleanup_task(volume, path="missing"), prefer_fallback=prefer_fallback)
    assert len(os.listdir("/proc/self/fd")) == before
