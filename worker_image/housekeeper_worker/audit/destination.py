"""Where the audit of an attempt goes: its file on the report volume, or the log."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Final

from housekeeper_api.task import Cleanup, Restore, Task
from housekeeper_api.version import RELEASE
from housekeeper_worker.audit import reports
from housekeeper_worker.audit.tail import read_tail
from housekeeper_worker.audit.writer import LOG_BYTES, Audit
from housekeeper_worker.errors import AuditLost, CouldNotRun
from housekeeper_worker.logs import log, timestamp

_STDOUT: Final = 1
_STDERR: Final = 2


@contextlib.contextmanager
def opened_audit(task: Task, what: Cleanup | Restore, now_ns: int) -> Iterator[Audit]:
    """The audit of an attempt in a pod, closed afterwards, with its ending. Raises `CouldNotRun` and `AuditLost`."""
    if what.report is None:
        with logged_audit(task.run) as audit:
            yield audit
        return
    with reports.opened_report(what.report, task) as opened:
        audit = Audit(opened.fd, task.run, to="File", path=opened.path, spare=_STDOUT)
        with _ended(audit):
            note = reports.tend(opened, task, audit, now_ns, what.report_keep_seconds)
            if note:
                log("warning", note)
                audit.notes.append(note)
            yield audit
        if audit.on:
            reports.seal(opened.fd)


def start_members(task: Task, now_ns: int) -> dict[str, object]:
    """What the first line says, so that an audit stands by itself."""
    return {
        "attempt": task.attempt,
        "namespace": task.namespace,
        "policy": task.policy,
        "mode": task.mode,
        "timeZone": task.time_zone,
        "now": timestamp(now_ns),
        "version": RELEASE,
    }


@contextlib.contextmanager
def logged_audit(run: str) -> Iterator[Audit]:
    """The audit of an attempt whose lines go to the log. Raises `AuditLost`."""
    with _ended(Audit(_STDOUT, run, limit=LOG_BYTES)) as audit:
        yield audit


@contextlib.contextmanager
def _ended(audit: Audit) -> Iterator[Audit]:
    """Say in the audit why a run ended that could not come to its summary."""
    try:
        yield audit
    except AuditLost:
        raise
    except BaseException as error:
        with contextlib.suppress(AuditLost):
            audit.event("aborted", message=" ".join(str(error).split()) or type(error).__name__)
        raise


@contextlib.contextmanager
def appended_audit(path: str | None, run: str) -> Iterator[Audit]:
    """An audit that goes on in a file of any name, on the command line; None: standard error. Raises `CouldNotRun`.

    What a killed run left there is closed first; nothing that is there is changed. One run at a time writes there.
    """
    if path is None:
        with _ended(Audit(_STDERR, run)) as audit:
            yield audit
        return
    flags = os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
    try:
        try:
            fd = os.open(path, os.O_RDWR | flags, 0o600)
        except PermissionError:
            fd = os.open(path, os.O_WRONLY | flags, 0o600)  # a pipe or a terminal that is only for writing
    except OSError as error:
        raise CouldNotRun(f"the audit {path} cannot be opened: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            with _ended(Audit(fd, run)) as audit:
                yield audit
            return
        if reports.lock(fd) is False:
            raise CouldNotRun(f"another run writes the audit {path}: give each run a file, or let them follow")
        try:
            tail = read_tail(fd)
        except OSError as error:
            raise CouldNotRun(f"the audit {path} cannot be read, and its chain not be continued: {error}") from error
        with _ended(Audit(fd, run, to="File", path=path, tail=tail)) as audit:
            yield audit
    finally:
        os.close(fd)
