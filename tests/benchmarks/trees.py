"""Trees to measure with: files without content, one half 60 days old and the other 5."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests import leftovers

_DAY: Final = 86_400
OLD_DAYS: Final = 60
YOUNG_DAYS: Final = 5


@dataclass(frozen=True)
class Shape:
    """How many files are in how many directories."""

    files: int
    directories: int

    def __str__(self) -> str:
        return f"{self.files:,} files in {self.directories:,} director{'y' if self.directories == 1 else 'ies'}"


def grow(root: Path, shape: Shape) -> None:
    """Make a tree; every second file of a directory is old. Names are as long as those of logs are."""
    now = time.time()
    ages = ((now - OLD_DAYS * _DAY,) * 2, (now - YOUNG_DAYS * _DAY,) * 2)
    for number in range(shape.directories):
        directory = root / f"d{number:05d}"
        directory.mkdir(parents=True)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            first = shape.files * number // shape.directories
            for file in range(first, shape.files * (number + 1) // shape.directories):
                name = f"run-{number:05d}-{file:09d}.log"
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd))
                os.utime(name, ages[file % 2], dir_fd=fd)
        finally:
            os.close(fd)


class Ground:
    """Where trees stand. `planted` gives one that may be destroyed, and is gone afterwards; all of them are alike."""

    name = "directory"

    def __init__(self, where: Path) -> None:
        self._where = where

    @contextmanager
    def planted(self, shape: Shape) -> Iterator[Path]:
        """A tree of this shape."""
        root = self._where / "tree"
        grow(root, shape)
        try:
            yield root
        finally:
            shutil.rmtree(root)


class Memory(Ground):
    """On a tmpfs."""

    name = "tmpfs"

    def __init__(self) -> None:
        super().__init__(Path("/dev/shm", leftovers.prefix("bench")))

    @contextmanager
    def planted(self, shape: Shape) -> Iterator[Path]:
        """A tree of this shape."""
        with super().planted(shape) as root:
            yield root
        self._where.rmdir()


class Image(Ground):
    """On ext4 in a file, mounted as a loop device: a tree is made once and then copied with its file system.

    For root only. Every copy is the same to the block, so that ours and the rival find the same disk.
    """

    name = "ext4"

    def __init__(self, where: Path) -> None:
        super().__init__(where)
        self._made: dict[Shape, Path] = {}

    @contextmanager
    def planted(self, shape: Shape) -> Iterator[Path]:
        """A tree of this shape."""
        original = self._made.get(shape) or self._make(shape)
        copy = self._where / "copy.ext4"
        subprocess.run(["cp", "--sparse=never", "--reflink=never", original, copy], check=True)
        os.sync()
        try:
            with _mounted(copy, self._where / "mount") as root:
                yield root / "tree"
        finally:
            copy.unlink()

    def _make(self, shape: Shape) -> Path:
        path = self._where / f"{shape.files}-{shape.directories}.ext4"
        # An inode is 256 bytes, and a name takes some 40 in its directory.
        size = max(64 << 20, shape.files * 700)
        with path.open("wb") as file:
            file.truncate(size)
        inodes = str(shape.files + shape.directories + 1_000)
        # With the small blocks that a small image would get, a directory is full at 200,000 names.
        subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", "-N", inodes, path], check=True)
        with _mounted(path, self._where / "mount") as root:
            grow(root / "tree", shape)
        # What is not on the disk yet can look like a hole to whoever copies.
        with path.open("rb") as file:
            os.fsync(file.fileno())
        self._made[shape] = path
        return path


@contextmanager
def _mounted(image: Path, where: Path) -> Iterator[Path]:
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop,noatime", image, where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)
