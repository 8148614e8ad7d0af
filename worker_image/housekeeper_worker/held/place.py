"""Where stored plans lie: on the report volume, else in `.housekeeper/plans` on the volume that they are about."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Iterator
from typing import Final

from housekeeper_api.task import Cleanup, Task
from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.held.plan_file import Births, DamagedPlan, Header, StoredPlan, write
from housekeeper_worker.retention.plan import Plan
from housekeeper_worker.volume.own import own_directory
from housekeeper_worker.volume.root import VolumeRoot

PLANS: Final = b"plans"
MAX_PLANS: Final = 10
"""Stored plans of one policy, of dry runs and of others each; with one more the oldest goes. A dry run every five
minutes must neither fill a volume nor push out the plan of a run that is held."""
_PLAN: Final = b".plan"
_NEW: Final = b".new-"
_IN_THE_QUEUE: Final = 7 * 86_400_000_000_000
"""How long, ns, an expired plan is not removed yet: its run may have been approved in time and wait for its turn, as
long as the longest other run takes."""
_ABANDONED: Final = 86_400_000_000_000
"""Age of an unfinished file, ns, at which nobody writes it any more."""


@contextlib.contextmanager
def plans_directory(task: Task, what: Cleanup, root: VolumeRoot, *, create: bool) -> Iterator[int]:
    """A descriptor of the directory with the plans of this task. Raises OSError, `CouldNotRun`."""
    if what.report is None:
        with own_directory(root, PLANS, create=create) as fd:
            yield fd
        return
    with VolumeRoot.open(what.report) as report:
        path = b""
        for name in (os.fsencode(task.namespace), os.fsencode(task.policy), PLANS):
            above, path = path, path + b"/" + name if path else name
            if create:
                with report.directory(above, for_reading=True) as fd, contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=fd)
                    os.fsync(fd)
        with report.directory(path, for_reading=True) as fd:
            if os.fstat(fd).st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "another user owns the directory with the plans")
            yield fd


def places(what: Cleanup) -> tuple[Cleanup, ...]:
    """The same clean-up for each place where its plans may lie: `spec.report` may be younger than a plan that waits."""
    return (what,) if what.report is None else (what, dataclasses.replace(what, report=None))


def shown_place(task: Task, what: Cleanup, name: str) -> str:
    """Where the plan `name` (64 hexadecimal digits) is, for a person."""
    if what.report is None:
        return f".housekeeper/plans/{name}.plan"
    return f"{task.namespace}/{task.policy}/plans/{name}.plan"


def store(directory: int, header: Header, plan: Plan, births: Births) -> str:
    """Write a plan under its digest, whole or not at all. Returns the 64 hexadecimal digits. Raises OSError."""
    temporary = _NEW + os.urandom(8).hex().encode()
    fd = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
    )
    try:
        digest = write(fd, header, plan, births)
        os.fsync(fd)
        os.rename(temporary, digest.encode() + _PLAN, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        raise
    finally:
        os.close(fd)
    return digest


@contextlib.contextmanager
def opened(directory: int, name: str) -> Iterator[StoredPlan]:
    """The stored plan `name` (64 hexadecimal digits), its header read. Raises OSError, `DamagedPlan`."""
    fd = os.open(name.encode() + _PLAN, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield StoredPlan(fd)
    finally:
        os.close(fd)


def forget(directory: int, name: str) -> None:
    """Remove a stored plan, if it is there. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name.encode() + _PLAN, dir_fd=directory)
        os.fsync(directory)


def names(directory: int) -> list[str]:
    """The digests of the stored plans, 64 hexadecimal digits each."""
    return sorted(
        name.removesuffix(_PLAN.decode())
        for name in os.listdir(directory)
        if name.endswith(_PLAN.decode()) and _is_digest(name.removesuffix(_PLAN.decode()))
    )


def _is_digest(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def sweep(directory: int, task: Task, what: Cleanup, now_ns: int, *, room_for: int = 0) -> list[str]:
    """Remove plans that expired a week ago, those of this policy beyond `MAX_PLANS` less `room_for`, unfinished ones.

    Too many are only plans of dry runs in a dry run, and of others in another.
    A plan of this policy expires by the policy's `holdFor` of today, others by their own. The one that this run was
    given stays. Returns the digests of what went. Raises OSError.
    """
    gone, left = [], []
    for name in names(directory):
        if what.approve == f"sha256:{name}":
            continue
        try:
            with opened(directory, name) as stored:
                header = stored.header
        except (OSError, DamagedPlan):
            continue  # whoever approves it is told; nobody knows whose it is
        if is_expired(header, task, what, now_ns - _IN_THE_QUEUE):
            gone.append(name)
        elif is_of(header, task) and (header.mode == "DryRun") == (task.mode == "DryRun"):
            left.append((header.now_ns, name))
    left.sort(reverse=True)
    gone += [name for _, name in left[max(MAX_PLANS - room_for, 0) :]]
    for name in gone:
        forget(directory, name)
    for unfinished in os.listdir(directory):
        if os.fsencode(unfinished).startswith(_NEW):
            with contextlib.suppress(FileNotFoundError):
                if os.stat(unfinished, dir_fd=directory).st_mtime_ns < now_ns - _ABANDONED:
                    os.unlink(unfinished, dir_fd=directory)
    return gone


def is_of(header: Header, task: Task) -> bool:
    """Whether a plan is one of the policy of `task`."""
    return (header.namespace, header.policy) == (task.namespace, task.policy)


def is_expired(header: Header, task: Task, what: Cleanup, now_ns: int) -> bool:
    """Whether a plan may no longer be approved."""
    expires = header.expires_ns
    if is_of(header, task):
        expires = None if what.hold_seconds is None else header.now_ns + int(what.hold_seconds * 1_000_000_000)
    return expires is not None and now_ns > expires


def why_not(error: Exception) -> str:
    """Why plans cannot be stored or read, as a clause."""
    if isinstance(error, CouldNotRun):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
