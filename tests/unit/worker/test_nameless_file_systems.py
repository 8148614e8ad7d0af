"""Held plans of file systems whose name nobody tells, as with NFS: the root of the volume stands for it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path

import pytest

from housekeeper_worker.volume import identity
from tests.unit.worker.builders import OLD, carry_out, cleanup_task, counters, users_files, write
from tests.unit.worker.test_approval import approve, held


@pytest.fixture
def logs(volume: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Old files, on what answers as a file system does that has neither a UUID nor an id."""
    truly = os.fstatvfs

    def nameless(fd: int) -> os.statvfs_result:
        return os.statvfs_result((*truly(fd)[:10], 0))

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))

    monkeypatch.setattr(os, "fstatvfs", nameless)
    monkeypatch.setattr(fcntl, "ioctl", refuse)
    for number in range(5):
        write(volume / f"{number}.log", days=OLD)
    return volume


def test_a_plan_is_approved_by_the_root_that_it_was_made_of(logs: Path) -> None:
    digest = held(logs)
    header = (logs / f".housekeeper/plans/{digest[7:]}.plan").read_bytes().partition(b"\n")[0]
    assert f'"fileSystem":"root:{logs.stat().st_ino:x}-'.encode() in header
    os.chown(logs, 1234, 1234)  # the root may change its owner and its times
    write(logs / "new.log")
    result = approve(logs, digest)
    assert (result.outcome, counters(result).removed) == ("Succeeded", 5)


def test_a_copy_is_another_volume(logs: Path) -> None:
    digest = held(logs)
    shutil.copytree(logs, logs.parent / "copy")
    result = approve(logs.parent / "copy", digest)
    assert result.outcome == "Held"
    assert "is one of another volume (root:" in result.message
    assert len(users_files(logs.parent / "copy")) == 5


def test_without_a_birth_time_nothing_is_stored_and_that_is_said(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "birth_time", lambda *_: None)
    (tmp_path / "reports").mkdir()
    result = carry_out(cleanup_task(logs, max_items=0, report=tmp_path / "reports"))
    assert (result.outcome, counters(result).plan_stored) == ("Held", "")
    assert any("has no identity by which it could be known again" in note for note in counters(result).notes)
    assert len(users_files(logs)) == 5
