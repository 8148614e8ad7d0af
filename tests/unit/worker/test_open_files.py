"""Files that somebody has open stay; what cannot be known is told; nobody waits for anybody."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from housekeeper_api.result import as_dict
from housekeeper_api.task import OpenFiles
from housekeeper_worker.volume.lease import OPEN_FLAGS, Leases, Use, breaks_ignored, is_whole
from housekeeper_worker.volume.removal import REHEARSED
from tests.unit.worker.builders import OLD, as_user, carry_out, cleanup_task, counters, files_below, write
from tests.unit.worker.confinement import UID
from tests.unit.worker.openers import holding
from tests.unit.worker.scenarios import scene
from tests.unit.worker.seccomp import OPENAT2, forbid
from tests.unit.worker.ways import Way


@pytest.fixture
def two(volume: Path) -> Path:
    """Two old files, one of which tests hold open."""
    write(volume / "d/held", days=OLD)
    write(volume / "d/free", days=OLD)
    return volume


@pytest.mark.parametrize("how", ["reader", "writer", "appender", "mapping", "lease"])
@pytest.mark.parametrize("namespaces", [False, True], ids=["here", "in other namespaces"])
def test_a_file_that_somebody_has_open_stays(two: Path, how: str, namespaces: bool) -> None:
    with holding(two / "d/held", how, namespaces=namespaces):
        result = carry_out(cleanup_task(two))
    assert files_below(two) == {b"d/held"}
    assert result.outcome == "Succeeded"
    done = counters(result)
    assert (done.removed, done.skipped, done.error_count) == (1, {"inUse": 1}, 0)
    assert done.open_files == {"notOpen": 1, "open": 1}


def test_it_goes_when_it_is_closed(two: Path) -> None:
    with holding(two / "d/held", "writer"):
        carry_out(cleanup_task(two))
    assert counters(carry_out(cleanup_task(two))).open_files == {"notOpen": 1}
    assert files_below(two) == set()


@pytest.mark.parametrize("how", ["reader", "writer", "mapping"])
def test_with_ignore_nobody_asks(two: Path, how: str) -> None:
    with holding(two / "d/held", how):
        done = counters(carry_out(cleanup_task(two, open_files="Ignore")))
    assert (done.removed, done.skipped, done.open_files) == (2, {}, {})


def test_a_path_descriptor_opens_nothing(two: Path) -> None:
    with holding(two / "d/held", "path only"):
        assert counters(carry_out(cleanup_task(two))).removed == 2


def test_a_stopped_holder_of_a_lease_is_not_waited_for(two: Path) -> None:
    """An open that waited would wait for the kernel's lease-break-time, 45 seconds."""
    with holding(two / "d/held", "lease", stopped=True):
        result = carry_out(cleanup_task(two))
    assert counters(result).skipped == {"inUse": 1}
    assert result.duration_seconds < 10


@pytest.mark.parametrize("how", ["reader", "mapping"])
def test_an_open_file_keeps_all_its_names(volume: Path, how: str) -> None:
    write(volume / "a/one", days=OLD)
    (volume / "b").mkdir()
    os.link(volume / "a/one", volume / "a/two")
    os.link(volume / "a/one", volume / "b/three")
    with holding(volume / "a/two", how):
        done = counters(carry_out(cleanup_task(volume)))
    assert (done.removed, done.skipped) == (0, {"inUse": 3})
    assert counters(carry_out(cleanup_task(volume))).removed == 3


def others_file(volume: Path, mode: int) -> None:
    """A file of another user, in a directory where the worker may remove it."""
    write(volume / "d/f", days=OLD)
    os.chown(volume / "d", UID, UID)
    os.chown(volume / "d/f", 1234, 1234)
    os.chmod(volume / "d/f", mode)


@pytest.mark.parametrize("mode", [0o644, 0o600], ids=["readable", "closed"])
@pytest.mark.parametrize(
    ("open_files", "removed", "skipped"),
    [("Protect", 1, {}), ("Strict", 0, {"unknownUse": 1}), ("Ignore", 1, {})],
)
def test_another_users_file_goes_by_settle_time_or_stays_with_strict(
    open_volume: Path, mode: int, open_files: OpenFiles, removed: int, skipped: dict[str, int]
) -> None:
    others_file(open_volume, mode)
    told = as_user(UID, lambda: as_dict(carry_out(cleanup_task(open_volume, open_files=open_files))))
    assert told["outcome"] == "Succeeded"
    assert (told["cleanup"]["removed"], told["cleanup"]["skipped"]) == (removed, skipped)
    assert told["cleanup"]["openFiles"] == ({} if open_files == "Ignore" else {"unknown": 1})


def test_an_unsettled_file_of_another_user_stays(open_volume: Path) -> None:
    others_file(open_volume, 0o644)
    told = as_user(UID, lambda: as_dict(carry_out(cleanup_task(open_volume, settle=600))))
    assert told["cleanup"]["skipped"] == {"settling": 1}


def test_own_files_are_known_without_capabilities_and_openat2(open_volume: Path) -> None:
    write(open_volume / "d/held", days=OLD)
    write(open_volume / "d/free", days=OLD)
    for path in ("d", "d/held", "d/free"):
        os.chown(open_volume / path, UID, UID)

    def act() -> Any:
        forbid(OPENAT2, answer=1)
        return as_dict(carry_out(cleanup_task(open_volume, open_files="Strict")))

    with holding(open_volume / "d/held", "reader"):
        told = as_user(UID, act)
    assert told["cleanup"]["openFiles"] == {"notOpen": 1, "open": 1}
    assert files_below(open_volume) == {b"d/held"}


def test_a_dry_run_tells_open_files_and_removes_nothing(two: Path) -> None:
    with holding(two / "d/held", "reader"):
        done = counters(carry_out(cleanup_task(two, mode="DryRun")))
    assert (done.removed, done.skipped, done.open_files) == (1, {"inUse": 1}, {"notOpen": 1, "open": 1})
    assert len(files_below(two)) == 2


def test_a_dry_run_looks_at_a_part_and_says_so(volume: Path) -> None:
    for number in range(REHEARSED + 10):
        write(volume / f"{number % 3}/{number}", days=OLD)
    done = counters(carry_out(cleanup_task(volume, mode="DryRun")))
    assert done.removed == REHEARSED + 10
    assert done.open_files == {"notLookedAt": 10, "notOpen": REHEARSED}


def test_a_dry_run_with_strict_keeps_what_is_unknown(open_volume: Path) -> None:
    others_file(open_volume, 0o644)
    told = as_user(UID, lambda: as_dict(carry_out(cleanup_task(open_volume, mode="DryRun", open_files="Strict"))))
    assert (told["cleanup"]["removed"], told["cleanup"]["skipped"]) == (0, {"unknownUse": 1})


def test_a_lease_tells_that_somebody_came(volume: Path) -> None:
    write(volume / "f")
    at = os.open(volume, os.O_PATH)
    leases = Leases()
    with breaks_ignored():
        fd = leases.open(at, b"f", 0)
        assert leases.take(fd, 0) is Use.NOT_OPEN
        assert is_whole(fd)
        with pytest.raises(BlockingIOError):
            os.open(volume / "f", OPEN_FLAGS)
        assert not is_whole(fd)
        os.close(fd)
    os.close(at)


def test_who_opens_a_file_while_it_is_removed_is_counted(two: Path) -> None:
    """At the moment of the first unlink, with the lease taken, another process begins to open the file."""

    def act() -> Any:
        waiting: list[subprocess.Popen[bytes]] = []

        def on_event(event: str, arguments: tuple[Any, ...]) -> None:
            if event != "os.remove" or waiting:
                return
            path = two / "d" / os.fsdecode(arguments[0])
            waiting.append(subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL))
            (fd,) = (int(fd) for fd in os.listdir("/proc/self/fd") if _target(fd) == str(path))
            while fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_WRLCK:
                assert waiting[0].poll() is None

        sys.addaudithook(on_event)
        result = as_dict(carry_out(cleanup_task(two)))
        return {"result": result, "reader": waiting[0].wait()}

    told = as_user(0, act)
    assert told["reader"] == 0  # it got the file, without a name
    assert told["result"]["cleanup"]["openFiles"] == {"notOpen": 1, "openedMeanwhile": 1}
    assert "1 file was opened by somebody while it was removed" in told["result"]["message"]


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return ""


def test_the_signal_of_a_lease_is_ignored_and_given_back(volume: Path) -> None:
    before = signal.getsignal(signal.SIGIO)
    with breaks_ignored():
        os.kill(os.getpid(), signal.SIGIO)
    assert signal.getsignal(signal.SIGIO) is before


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay"])
def test_open_files_are_known_on(open_volume: Path, kind: str, uid: int, file_system_tools: None) -> None:
    told = scene("open_files", open_volume.parent, kind, way=Way(uid))
    expected = {"reader": 1, "writer": 1, "mapping": 1}
    assert told["dry"]["cleanup"]["skipped"]["inUse"] == len(expected)
    assert told["readOnly"]["cleanup"]["skipped"]["inUse"] == len(expected)
    assert told["real"]["cleanup"]["openFiles"] == {"notOpen": 7, "open": 3}
    assert told["left"] == sorted(expected)
    assert told["again"]["cleanup"]["openFiles"] == {"notOpen": 3}
