"""What a confined process lacks, so that what is shown with one is shown for a pod."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.worker.builders import as_user, write
from tests.unit.worker.confinement import MEMORY, UID, become, bound_allocations, memory_group
from tests.unit.worker.seccomp import OPENAT2, forbid


def status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_it_has_no_capability_and_can_get_none() -> None:
    told = as_user(UID, status)
    assert {told[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")
    assert (told["Uid"].split(), told["Groups"]) == ([str(UID)] * 4, "")


def test_it_has_one_processor() -> None:
    assert len(as_user(UID, lambda: sorted(os.sched_getaffinity(0)))) == 1


def call(number: int, *arguments: int) -> int:
    """The error of a system call."""
    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if libc.syscall(number, *arguments) >= 0 else ctypes.get_errno()


@pytest.mark.parametrize(
    ("name", "act", "answer"),
    [
        ("unshare a user namespace", lambda: ctypes.CDLL(None, use_errno=True).unshare(0x10000000), -1),
        ("clone3", lambda: call(435, 0, 0), errno.ENOSYS),
        ("what came later", lambda: call(457, 0, 0), errno.EPERM),
        ("openat2", lambda: call(OPENAT2, -1, 0, 0, 0), errno.EINVAL),
        ("getpid", lambda: call(39 if os.uname().machine == "x86_64" else 172), 0),
    ],
)
def test_system_calls(name: str, act: Callable[[], Any], answer: int) -> None:
    assert as_user(UID, act) == answer, name


def test_profiles_can_be_made_narrower() -> None:
    def act() -> int:
        forbid(OPENAT2, answer=errno.EPERM)
        return call(OPENAT2, -1, 0, 0, 0)

    assert as_user(UID, act) == errno.EPERM


def test_it_may_fork() -> None:
    def act() -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert as_user(UID, act) == 7


def more_than_there_is() -> int:
    return len(b"x" * (MEMORY + (16 << 20)))


def ended(act: Callable[[], int], prepare: Callable[[], None]) -> int:
    """How a child ends that prepares itself and acts: 0, 9 for one without memory, or minus the signal's number."""
    pid = os.fork()
    if pid == 0:
        try:
            prepare()
            act()
            os._exit(0)
        except MemoryError:
            os._exit(9)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_it_has_128_mebibytes() -> None:
    without = 9 if memory_group() is None else -signal.SIGKILL
    assert ended(more_than_there_is, lambda: become(UID)) == without
    assert ended(lambda: len(b"x" * (MEMORY // 2)), lambda: become(UID)) == 0


def test_where_no_group_can_be_made_allocations_are_bounded() -> None:
    assert ended(more_than_there_is, bound_allocations) == 9
    assert ended(lambda: len(b"x" * (MEMORY // 2)), bound_allocations) == 0


def test_roots_files_are_not_its_own(open_volume: Path) -> None:
    write(open_volume / "f")
    os.chmod(open_volume / "f", 0o600)
    assert as_user(UID, lambda: os.access(open_volume / "f", os.R_OK)) is False
