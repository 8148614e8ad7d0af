"""A process as a pod confines it: a user without capabilities, the default seccomp profile, one CPU, 128 MiB.

`become` does it to the process that calls it, for good; run as a module with a user's number, this is a whole worker in
that state. Memory is bounded by a cgroup of the memory controller, version 1 or 2, where this process may make one.
Where it may not (an unprivileged container), the bound is on what a process may allocate, RLIMIT_DATA, which counts
earlier than a cgroup does, but not the page cache.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import os
import resource
import sys
from pathlib import Path
from typing import Final

from tests import leftovers
from tests.unit.worker import seccomp

UID: Final = 65532
"""The worker's, in a pod."""
MEMORY: Final = 128 << 20

_IMPORTED_LATER: Final = (
    "housekeeper_worker.audit.destination",
    "housekeeper_worker.cleanup",
    "housekeeper_worker.restore",
    "pickle",
    "tempfile",
    "traceback",
    "zoneinfo",
)
"""What a worker imports in mid-run."""
_LAST_CAPABILITY: Final = Path("/proc/sys/kernel/cap_last_cap")


@functools.cache
def prepare() -> Path | None:
    """What must be before a process becomes another user; once for all, if done before the fork. Its memory's group."""
    _import_all()
    return memory_group()


def _import_all() -> None:
    """Nothing says that another user may read the interpreter's directory later."""
    for name in _IMPORTED_LATER:
        importlib.import_module(name)


def become(uid: int, gid: int | None = None) -> None:
    """Be this user from now on. Root stays as it is; anybody else is confined as in a pod."""
    if uid != 0:
        prepare()
        _bound_memory()
    _change(uid, uid if gid is None else gid)


def _change(uid: int, gid: int) -> None:
    if uid != 0:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        _drop_capabilities()
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if uid != 0:
        seccomp.default_profile()


def command(uid: int) -> list[str]:
    """What to run for a worker that is this user: its command in a pod, or, confined, this module."""
    if uid == 0:
        return [sys.executable, "-m", "housekeeper_worker"]
    group = memory_group()
    itself = [sys.executable, "-m", "tests.unit.worker.confinement", str(uid)]
    if group is None:
        return [*itself, "bound"]
    return ["sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', str(group), *itself]


def main(uid: int, *bound: str) -> None:
    """Be a worker, whose memory is bounded already, or shall be `bound` here."""
    entry = importlib.import_module("housekeeper_worker.entry")
    _import_all()
    if bound:
        bound_allocations()
    _change(uid, uid)
    entry.main()


def _drop_capabilities() -> None:
    """From the bounding set; those that a process has go with its being root."""
    libc = ctypes.CDLL(None, use_errno=True)
    for number in range(int(_LAST_CAPABILITY.read_text()) + 1):
        if libc.prctl(24, number, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"capability {number} could not be dropped")


def _bound_memory() -> None:
    gc.freeze()  # a collection would touch, and so copy into this process's account, all that its parent has
    group = memory_group()
    if group is None:
        bound_allocations()
    else:
        (group / "cgroup.procs").write_text("0")


def bound_allocations() -> None:
    """Let this process allocate no more than `MEMORY` beyond what it has."""
    (has,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line)
    most = int(has) * 1024 + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


@functools.cache
def memory_group() -> Path | None:
    """A cgroup of 128 MiB of this process, removed when it ends (or by the next session); None if it may make none."""
    found = _own_group()
    if found is None:
        return None
    parent, version = found
    group = parent / leftovers.prefix().rstrip("-")
    try:
        group.mkdir()
    except OSError:
        return None
    atexit.register(_remove, group, os.getpid())
    limit = group / ("memory.limit_in_bytes" if version == 1 else "memory.max")
    if not limit.exists():
        return None
    limit.write_text(str(MEMORY))
    return group


def _remove(group: Path, maker: int) -> None:
    if os.getpid() == maker:
        with contextlib.suppress(OSError):  # a process that is not gone yet: the next session removes it
            group.rmdir()


def _own_group() -> tuple[Path, int] | None:
    """Where a group of the memory controller may be made, and the controller's version."""
    groups = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    paths = {controllers: path for _, controllers, path in groups}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        root, point = fields.split()[3:5]
        kind, _, options = rest.split()[:3]
        if kind == "cgroup" and "memory" in options.split(",") and "memory" in paths:
            return Path(point, os.path.relpath(paths["memory"], root)), 1
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split()[0] == "cgroup2" and "" in paths:
            own = Path(fields.split()[4], os.path.relpath(paths[""], fields.split()[3]))
            return own.parent, 2  # beside its own: one that has processes has no groups below
    return None


def remove_left_groups() -> None:
    """Remove the groups of sessions that were killed."""
    found = _own_group()
    if found is not None:
        for path in found[0].iterdir():
            if path.is_dir() and leftovers.is_left(path.name):
                path.rmdir()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
