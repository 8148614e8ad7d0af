"""The audit files of the report volume: `NAMESPACE/POLICY/RUN-aATTEMPT.ndjson`, one for each attempt.

A writer holds a lock on its file (flock) until it ends, however it ends. So who finds a file without an ending and
without a lock knows that its worker was killed, and closes it. A file with an ending becomes read-only, which is how
the next one sees without opening it that there is nothing to do. Only names of this pattern are ever touched, by
descriptor, and no link is followed.

Directories of a namespace are open to every user, like /tmp, because workers of one volume may run as different users;
what is below belongs to the user that made it, and its group may read it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import itertools
import os
import re
import stat
from collections.abc import Iterator
from typing import Final

from housekeeper_api.task import Task, TaskError
from housekeeper_worker.audit.tail import read_tail
from housekeeper_worker.audit.writer import Audit
from housekeeper_worker.errors import AuditLost, CouldNotRun

_COMPONENT: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z")
_FILE: Final = re.compile(r"[a-z0-9][-a-z0-9.]*-a[1-9][0-9]{0,3}(\.[1-9][0-9]{0,3})?\.ndjson\Z")
"""Names of ours, and of nobody else."""
_MAX_RUN: Final = 200
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OPEN_TO_ALL: Final = 0o1777
_OWN: Final = 0o750
_WRITTEN: Final = 0o640
SEALED: Final = 0o440
"""Mode of a file that has its ending."""
_NANOSECONDS: Final = 1_000_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """The file of this attempt, locked, and the directory in which it is."""

    fd: int
    directory: int
    name: str
    path: str
    """Below the report volume."""


@contextlib.contextmanager
def opened_report(report: str, task: Task) -> Iterator[Opened]:
    """The new file of an attempt below the directory `report`, an absolute path without links.

    Raises `CouldNotRun` and `TaskError`.
    """
    for part, text in (("namespace", task.namespace), ("policy", task.policy), ("run", task.run)):
        if not _COMPONENT.match(text):
            raise TaskError(f"task.{part}: {text!r} cannot be part of the name of an audit file")
    with contextlib.ExitStack() as stack:
        try:
            top = _held(stack, os.open("/", _DIRECTORY))
            for part in filter(None, report.split("/")):
                top = _held(stack, _directory(top, part, _OPEN_TO_ALL))
            space = _held(stack, _directory(top, task.namespace, _OPEN_TO_ALL))
            directory = _held(stack, _directory(space, task.policy, _OWN))
            fd, name = _new_file(directory, task)
        except OSError as error:
            raise CouldNotRun(
                f"the report volume {report} cannot be written ({error.strerror}), and without it nothing is done: "
                "check spec.report, and that the worker's user may write there"
            ) from error
        _held(stack, fd)
        yield Opened(fd, directory, name, f"{task.namespace}/{task.policy}/{name}")


def _held(stack: contextlib.ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


def _directory(parent: int, name: str, mode: int) -> int:
    """Open a directory, which is made first, with `mode`, where it is not there."""
    with contextlib.suppress(FileNotFoundError):
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    made = True
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        made = False  # another worker was faster
    fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        if made:
            os.fchmod(fd, mode)  # whatever the umask is
            os.fsync(parent)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _new_file(directory: int, task: Task) -> tuple[int, str]:
    run = task.run
    if len(run) > _MAX_RUN:
        run = f"{run[: _MAX_RUN - 9]}-{hashlib.sha256(run.encode()).hexdigest()[:8]}"
    for number in itertools.count(1):
        # An attempt has one pod. Should there be another after all, it writes beside what the first one wrote.
        name = f"{run}-a{task.attempt}{f'.{number}' if number > 1 else ''}.ndjson"
        try:
            fd = os.open(name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
        except FileExistsError:
            if number == 9999:
                raise
            continue
        break
    try:
        lock(fd)
        os.fchmod(fd, _WRITTEN)
        os.fsync(directory)
    except BaseException:
        os.close(fd)
        raise
    return fd, name


def lock(fd: int) -> bool | None:
    """Lock a file until its descriptor is closed. Whether that could be had; None where there are no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno == errno.EWOULDBLOCK else None
    return True


def seal(fd: int) -> None:
    """Mark a file as one that has its ending. Where that is not allowed, others look at its end again and again."""
    with contextlib.suppress(OSError):
        os.fchmod(fd, SEALED)


def _others(opened: Opened) -> Iterator[tuple[str, os.stat_result]]:
    """The other files of the policy, in order of name."""
    for name in sorted(os.listdir(opened.directory)):
        if name != opened.name and _FILE.match(name):
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=opened.directory, follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    yield name, found


def close_left_open(opened: Opened, run: str) -> int:
    """Give every file that a killed worker left its ending. Returns how many.

    Nothing that is in them is changed. A file that somebody holds is at work; one in which nothing is yet may be about
    to be; where a file system has no locks nobody can tell, and all stay as they are. Raises OSError and `AuditLost`.
    """
    closed = 0
    for name, found in _others(opened):
        if not found.st_size or not found.st_mode & stat.S_IWUSR:
            continue
        try:
            fd = os.open(name, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=opened.directory)
        except (FileNotFoundError, PermissionError):
            continue  # gone meanwhile, or another user's, whose next run will see to it
        try:
            if lock(fd):
                closed += _close(fd, run)
        finally:
            os.close(fd)
    return closed


def _close(fd: int, run: str) -> int:
    tail = read_tail(fd)
    if not tail.concluded:
        Audit(fd, run, to="File", tail=tail).event("closed", message="the worker ended without a summary")
    seal(fd)
    return 0 if tail.concluded else 1


def remove_old(opened: Opened, now_ns: int, keep_seconds: float) -> tuple[int, int]:
    """Remove files of the policy whose last line is older. Returns how many, and their bytes. Raises OSError.

    A file that somebody holds stays. How late it is the volume has a say in: were only this machine's clock years
    ahead, nothing would go.
    """
    now = min(now_ns, os.fstat(opened.fd).st_mtime_ns)
    before = now - int(keep_seconds * _NANOSECONDS)
    removed = size = 0
    for name, found in _others(opened):
        if found.st_mtime_ns >= before or _is_held(opened.directory, name):
            continue
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=opened.directory)
            removed, size = removed + 1, size + found.st_size
    return removed, size


def _is_held(directory: int, name: str) -> bool:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return False
    try:
        return lock(fd) is False
    finally:
        os.close(fd)


def tend(opened: Opened, task: Task, audit: Audit, now_ns: int, keep_seconds: float | None) -> str:
    """Before anything else: close what killed workers left, remove what is too old. Returns a note, or nothing.

    What cannot be done there is told, and no reason to stop: this attempt's own file is open. Raises `AuditLost` only
    where that one fails.
    """
    try:
        closed = close_left_open(opened, task.run)
        removed, size = (0, 0) if keep_seconds is None else remove_old(opened, now_ns, keep_seconds)
    except (OSError, AuditLost) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return f"older audit files of this policy could not be tended: {said}"
    if closed or removed:
        audit.event("tended", closed=closed, removed=removed, bytes=size)
    return ""
