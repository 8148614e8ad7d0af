"""Real directories to work in."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leftovers
from tests.cluster.embedded import packages
from tests.unit.worker.confinement import UID, remove_left_groups

FILE_SYSTEM_TOOLS = {"mkfs.ext4": "e2fsprogs", "mkfs.xfs": "xfsprogs", "mkfs.btrfs": "btrfs-progs"}


@pytest.fixture(scope="session", autouse=True)
def nothing_of_killed_sessions() -> None:
    """What earlier sessions could not remove is gone."""
    leftovers.remove(*leftovers.PLACES)
    remove_left_groups()


@pytest.fixture(params=[0, UID], ids=["root", "confined"])
def uid(request: pytest.FixtureRequest) -> int:
    """Who the worker is: root, or one that is confined as in a pod (see `confinement`)."""
    return int(request.param)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command line remembers of its runs stays with the test."""
    monkeypatch.setenv("HOUSEKEEPER_STATE_DIRECTORY", str(tmp_path / "state"))


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """An empty directory that stands for a volume."""
    root = tmp_path / "volume"
    root.mkdir()
    return root


@pytest.fixture
def open_volume() -> Iterator[Path]:
    """The same, where every user may go: the test runner's own directories are closed to others.

    Whatever a test leaves is removed by rm, which takes trees that are too deep for Python's recursion.
    """
    directory = Path(tempfile.mkdtemp(prefix=leftovers.prefix(), dir="/tmp"))
    directory.chmod(0o755)
    try:
        root = directory / "volume"
        root.mkdir(mode=0o755)
        yield root
    finally:
        subprocess.run(["chattr", "-R", "-f", "-i", "-a", directory], check=False, capture_output=True)
        subprocess.run(["rm", "-rf", directory], check=True)


@pytest.fixture
def memory_volume() -> Iterator[Path]:
    """An empty directory on a tmpfs, where every user may go."""
    with tempfile.TemporaryDirectory(prefix=leftovers.prefix(), dir="/dev/shm") as directory:
        os.chmod(directory, 0o755)  # noqa: S103 - so that the worker's user can pass
        root = Path(directory, "volume")
        root.mkdir()
        yield root


@pytest.fixture(params=[False, True], ids=["openat2", "component-wise"])
def prefer_fallback(request: pytest.FixtureRequest) -> bool:
    """Both ways to open what is below a root."""
    return bool(request.param)


@pytest.fixture(scope="session")
def file_system_tools() -> None:
    """What makes file systems is installed."""
    packages.ensure(FILE_SYSTEM_TOOLS)
