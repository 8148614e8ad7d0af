"""What is inside a directory that is one item, and keeps the whole of it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from housekeeper_worker.retention.decide import Decided
from tests.unit.worker.builders import (
    OLD,
    age,
    as_user,
    carry_out,
    cleanup_task,
    counters,
    directories,
    files_below,
    item,
    write,
)
from tests.unit.worker.openers import holding
from tests.unit.worker.test_directories import left

KEEPS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a marker": ("marked", lambda top: write(top / "deep/.nocleanup", days=OLD)),
    "a reserved name": ("reserved", lambda top: (top / "deep/lost+found").mkdir()),
    "what NFS hides": ("reserved", lambda top: write(top / "deep/.nfs01", days=OLD)),
    "a sticky file": ("sticky", lambda top: os.chmod(top / "deep/b", 0o1644)),
    "something excluded": ("excluded", lambda top: write(top / "deep/keep.me", days=OLD)),
    "an excluded link": ("excluded", lambda top: (top / "deep/keep.me").symlink_to("nowhere")),
    "an excluded pipe": ("excluded", lambda top: os.mkfifo(top / "deep/keep.me")),
    "an excluded directory": ("excluded", lambda top: (top / "deep/keep.me").mkdir()),
    "a link in an excluded directory": (
        "excluded",
        lambda top: [(top / "deep/keep.it").mkdir(), (top / "deep/keep.it/link").symlink_to("nowhere")],
    ),
    "something incomplete": ("incomplete", lambda top: write(top / "deep/b.part", days=OLD)),
}


@pytest.mark.parametrize("mode", ["DryRun", "Enforce"])
@pytest.mark.parametrize("what", KEEPS)
def test_what_is_inside_keeps_the_whole(volume: Path, what: str, mode: str) -> None:
    reason, act = KEEPS[what]
    item(volume / "free", "a")
    item(volume / "kept", "a", "deep/b")
    act(volume / "kept")
    age(volume / "kept", OLD)
    before = files_below(volume / "kept")
    decided: list[Decided] = []
    one = directories(exclude=["**/keep.*"], ignore_incomplete=True)
    done = counters(carry_out(cleanup_task(volume, one, mode=mode), on_decision=decided.append))
    assert (done.matched, done.removed, done.skipped) == (2, 1, {reason: 1})
    assert files_below(volume / "kept") == before
    (why,) = (one.reasons for one in decided if one.path == b"kept")
    assert why[0].startswith("stays whole: deep")


def test_what_changed_a_moment_ago_inside_keeps_the_whole(volume: Path) -> None:
    item(volume / "kept", "a", "deep/b")
    done = counters(carry_out(cleanup_task(volume, directories(), settle=600)))
    assert (done.removed, done.skipped) == (0, {"settling": 1})
    assert counters(carry_out(cleanup_task(volume, directories()))).removed == 1


def test_a_time_in_the_future_inside_keeps_the_whole(volume: Path) -> None:
    item(volume / "kept", "a", days=OLD)
    os.utime(volume / "kept/a", (time.time() + 9999,) * 2)
    assert counters(carry_out(cleanup_task(volume, directories()))).skipped == {"future": 1}


@pytest.mark.parametrize("how", ["exclusive lock", "shared lock"])
def test_a_lock_inside_keeps_the_whole(volume: Path, how: str) -> None:
    item(volume / "kept", "deep/b")
    with holding(volume / "kept/deep", how):
        assert counters(carry_out(cleanup_task(volume, directories()))).skipped == {"locked": 1}
    assert counters(carry_out(cleanup_task(volume, directories()))).removed == 1


@pytest.mark.parametrize("mode", ["DryRun", "Enforce"])
@pytest.mark.parametrize("how", ["reader", "writer", "mapping", "lease"])
def test_an_open_file_inside_keeps_the_whole(volume: Path, how: str, mode: str) -> None:
    item(volume / "free", "a")
    item(volume / "kept", "a", "deep/b")
    with holding(volume / "kept/deep/b", how, namespaces=True):
        done = counters(carry_out(cleanup_task(volume, directories(), mode=mode)))
    assert (done.removed, done.skipped, done.open_files) == (1, {"inUse": 1}, {"notOpen": 1, "open": 1})
    assert files_below(volume / "kept") == {b"a", b"deep/b"}


def test_what_cannot_be_known_stays_only_under_strict(open_volume: Path) -> None:
    item(open_volume / "foreign", "a")
    for path in (open_volume, open_volume / "foreign"):
        os.chmod(path, 0o777)  # noqa: S103 - so that another user may work there

    def act(open_files: str) -> dict[str, object]:
        done = counters(carry_out(cleanup_task(open_volume, directories(), open_files=open_files)))
        return {"removed": done.removed, "skipped": done.skipped, "use": done.open_files}

    assert as_user(65532, lambda: act("Strict")) == {
        "removed": 0,
        "skipped": {"unknownUse": 1},
        "use": {"unknown": 1},
    }
    assert as_user(65532, lambda: act("Protect")) == {"removed": 1, "skipped": {}, "use": {"unknown": 1}}


@contextlib.contextmanager
def _unix_socket(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.fspath(path))
        yield


def test_links_sockets_and_pipes_are_part_of_it_and_not_followed(volume: Path) -> None:
    outside = volume.parent / "outside"
    item(outside, "precious")
    item(volume / "old", "a")
    os.symlink(outside, volume / "old/link")
    os.symlink(outside / "precious", volume / "old/file-link")
    os.mkfifo(volume / "old/pipe")
    with _unix_socket(volume / "old/socket"):
        pass
    age(volume / "old", OLD)
    age(outside, 1)
    assert counters(carry_out(cleanup_task(volume, directories()))).removed == 1
    assert left(volume) == set()
    assert files_below(outside) == {b"precious"}


LOCKS = {
    "of a process that is there": ("SingletonLock", lambda: f"{os.uname().nodename}-{os.getpid()}", 400),
    "of another machine": ("SingletonLock", lambda: "browser-0-4711", 2),
    "of a process that is not there": ("SingletonLock", lambda: f"{os.uname().nodename}-4194305", 2),
    "of Firefox": ("lock", lambda: "10.0.0.7:+4711", 2),
}


@pytest.mark.parametrize("mode", ["DryRun", "Enforce"])
@pytest.mark.parametrize("which", LOCKS)
def test_a_browsers_lock_means_in_use(volume: Path, which: str, mode: str) -> None:
    name, target, days = LOCKS[which]
    item(volume / "chrome_profile_1", "Cookies")
    os.symlink(target(), volume / "chrome_profile_1" / name)
    age(volume / "chrome_profile_1", days)
    one = directories(["chrome_profile_*"], older="1d")
    done = counters(carry_out(cleanup_task(volume, one, mode=mode), later=0))
    assert (done.removed, done.skipped) == (0, {"inUse": 1})


def test_a_lock_in_a_profile_without_change_for_a_week_is_what_a_crash_left(volume: Path) -> None:
    item(volume / "chrome_profile_1", "Cookies")
    os.symlink("browser-0-4711", volume / "chrome_profile_1/SingletonLock")
    age(volume / "chrome_profile_1", 8)
    one = directories(["chrome_profile_*"], older="1d")
    assert counters(carry_out(cleanup_task(volume, one), later=0)).removed == 0  # its change time is of now
    assert counters(carry_out(cleanup_task(volume, one), later=8)).removed == 1


def test_links_of_that_name_that_say_something_else_are_no_locks(volume: Path) -> None:
    item(volume / "d", "a")
    os.symlink("elsewhere", volume / "d/lock")
    age(volume / "d", OLD)
    assert counters(carry_out(cleanup_task(volume, directories()))).removed == 1
