"""One restore: what a run quarantined goes back to where it was. And the list of what can be restored."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from housekeeper_api.quantities import format_bytes
from housekeeper_api.result import Outcome, Restoration, Result, as_dict
from housekeeper_api.task import Restore, Task, TaskError
from housekeeper_worker import report
from housekeeper_worker.audit import Audit
from housekeeper_worker.audit.destination import start_members
from housekeeper_worker.errors import AuditLost, CouldNotRun
from housekeeper_worker.logs import log, timestamp
from housekeeper_worker.quarantine.manifest import Damaged
from housekeeper_worker.quarantine.place import Contents, Quarantine, all_of, contents, opened, path_of
from housekeeper_worker.quarantine.restoration import Restoration as Restoring
from housekeeper_worker.quarantine.restoration import Restored
from housekeeper_worker.quarantine.wanted import Wanted
from housekeeper_worker.stop import Stop
from housekeeper_worker.tally import MAX_ERRORS, Tally
from housekeeper_worker.volume.faults import Fault
from housekeeper_worker.volume.locking import wait_for_root
from housekeeper_worker.volume.names import shown
from housekeeper_worker.volume.own import NotOurs
from housekeeper_worker.volume.root import VolumeRoot

_NOBODY_COULD = {Fault.PERMISSION, Fault.READ_ONLY}
_TOLD = 5
"""Quarantines that a message names."""


class Restorable(NamedTuple):
    """A quarantine in the list of what can be restored."""

    name: str
    run: str
    namespace: str
    policy: str
    time_ns: int
    until_ns: int
    contents: Contents


def restore(
    task: Task, what: Restore, *, now_ns: int, stop: Stop, audit: Audit, prefer_fallback: bool = False
) -> Result:
    """Carry out the restore `what` of `task`, which begins at `now_ns`. In a dry run nothing is opened for writing.

    Raises `TaskError` and `CouldNotRun` before anything was touched.
    """
    began = time.monotonic()
    dry_run = task.mode == "DryRun"
    wanted = Wanted(what.paths)
    tally = Tally()
    lost = None
    with VolumeRoot.open(what.root, prefer_fallback=prefer_fallback) as root:
        root.exclusive = not dry_run
        wait_for_root(
            root.fd,
            exclusive=root.exclusive,
            stop=stop,
            on_wait=lambda: log("info", "another worker is at this volume: waiting", root=what.root),
        )
        audit.event("start", **start_members(task, now_ns), restoreOf=what.run, directoriesOpenedBy=root.method)
        restoring = Restoring(root, wanted, tally, audit, stop, dry_run=dry_run)
        try:
            if stop.reason is None:
                _restore(root, what, restoring)
                _must_be_wanted(what, restoring.done, stop)
        except AuditLost as error:
            lost = str(error)
        except NothingLeft:
            if task.attempt == 1:
                raise
            # An earlier attempt may have ended with everything back, and without a word.
            log("info", "nothing is left in quarantine", restoreOf=what.run)
    done = restoring.done
    outcome = _outcome(tally, done, stop, lost)
    message = _message(restoring, tally, outcome, dry_run=dry_run, lost=lost, timeout=task.timeout_seconds)
    result = Result(
        outcome=outcome,
        message=message,
        mode=task.mode,
        duration_seconds=round(time.monotonic() - began, 3),
        restore=Restoration(
            restored=done.files,
            bytes_restored=done.allocated,
            conflicts=done.conflicts,
            directories_made=done.directories,
            errors=(*tally.errors, *done.examples)[:MAX_ERRORS],
            error_count=tally.error_count + done.damaged,
        ),
    )
    log("info", message, outcome=outcome)
    try:
        audit.event("summary", result=as_dict(result))
    except AuditLost as error:
        result = report.failure_of(result, str(error))
    return report.with_audit(result, audit.report())


def _restore(root: VolumeRoot, what: Restore, restoring: Restoring) -> None:
    with _quarantines(root) as (above, names):
        for name in _of(above, names, what):
            try:
                with opened(above, name) as found:
                    if found is not None:
                        restoring.restore(above, found)
            except (Damaged, OSError) as error:
                # It was read a moment ago.
                raise CouldNotRun(f"{shown(path_of(name))} cannot be read any more: {error}") from error


def _must_be_wanted(what: Restore, done: Restored, stop: Stop) -> None:
    """Raise `TaskError` where the globs take nothing of what is there: nobody meant that."""
    if what.paths and stop.reason is None and not done.wanted and done.first_other and not done.damaged:
        raise TaskError(
            f"restore: nothing that {what.run} quarantined is taken by {', '.join(what.paths)}: globs are held against "
            f"the path from the volume's root, such as {shown(done.first_other)}"
        )


def restorable(root_path: str) -> list[Restorable]:
    """What can be restored on a volume, the oldest first. Raises `CouldNotRun`."""
    found = []
    with VolumeRoot.open(root_path) as root, contextlib.suppress(NothingLeft), _quarantines(root) as (above, names):
        for name in names:
            try:
                with opened(above, name) as one:
                    if one is not None:
                        found.append(_listed(one))
            except (Damaged, OSError) as error:
                log("warning", f"{shown(path_of(name))} cannot be read: {error}")
    return sorted(found, key=lambda one: (one.time_ns, one.name))


class NothingLeft(CouldNotRun):
    """There is no quarantine of the run, or none at all."""


def _listed(one: Quarantine) -> Restorable:
    header = one.header
    name, time_ns = os.fsdecode(one.name), one.time_ns or 0
    return Restorable(name, header.run, header.namespace, header.policy, time_ns, one.until_ns, contents(one))


@contextlib.contextmanager
def _quarantines(root: VolumeRoot) -> Iterator[tuple[int, list[bytes]]]:
    """As `place.all_of`. Raises `CouldNotRun`."""
    with contextlib.ExitStack() as stack:
        try:
            above, names = stack.enter_context(all_of(root))
        except FileNotFoundError:
            raise NothingLeft("nothing was ever quarantined on this volume: is it the right one?") from None
        except NotOurs as error:
            raise CouldNotRun(error.strerror or str(error)) from error
        except OSError as error:
            raise CouldNotRun(f"the quarantine cannot be opened: {error.strerror}; run as the user that made it") from (
                error
            )
        yield above, names


def _of(above: int, names: list[bytes], what: Restore) -> list[bytes]:
    """The quarantines of a run, the newest first: of two files of one name that comes back.

    Raises `NothingLeft` where there is none, and `CouldNotRun`.
    """
    found: list[tuple[int, bytes]] = []
    others: list[str] = []
    for name in names:
        try:
            with opened(above, name) as one:
                if one is None or what.namespace not in {None, one.header.namespace}:
                    continue
                if what.run in {os.fsdecode(name), one.header.run}:
                    found.append((one.time_ns or 0, name))
                else:
                    others.append(one.header.run)
        except (Damaged, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            if os.fsdecode(name).startswith(f"{what.run}."):
                raise CouldNotRun(f"{shown(path_of(name))} cannot be read: {reason}") from error
            log("warning", f"{shown(path_of(name))} cannot be read: {reason}")
    if not found:
        known = ", ".join(dict.fromkeys(others[-_TOLD:])) or "nothing"
        raise NothingLeft(
            f"there is no quarantine of {what.run} on this volume: it moved nothing, or it was restored or purged "
            f"since; there is: {known}"
        )
    return [name for _, name in sorted(found, reverse=True)]


def _outcome(tally: Tally, done: Restored, stop: Stop, lost: str | None) -> Outcome:
    if lost is not None:
        return "Failed"
    if stop.reason is not None:
        return stop.reason
    if tally.error_count and not done.files and not done.conflicts and set(tally.faults) <= _NOBODY_COULD:
        return "CouldNotRun"
    if tally.stopped_by_fault:
        return "Failed"
    return "PartiallySucceeded" if tally.error_count or done.conflicts or done.damaged else "Succeeded"


def _message(
    restoring: Restoring, tally: Tally, outcome: Outcome, *, dry_run: bool, lost: str | None, timeout: float
) -> str:
    done = restoring.done
    noun = "item" if done.whole else "file"
    noun += "" if done.files == 1 else "s"
    told = f"{'would restore' if dry_run else 'restored'} {done.files} {noun} ({format_bytes(done.allocated)})"
    if done.directories:
        told += f"; directories made again: {done.directories}"
    sentences = [
        {"TimedOut": f"time was up after {timeout:g} s: {told}", "Cancelled": f"cancelled: {told}"}.get(outcome, told)
    ]
    if lost is not None:
        sentences.insert(0, lost)
    if tally.stopped_by_fault:
        sentences.append(f"stopped: {tally.stopped_by_fault}")
    if done.conflicts:
        sentences.append(f"conflicts: {done.conflicts} (nothing is overwritten); {done.examples[0]}")
    if tally.error_count:
        sentences.append(f"errors: {tally.error_count}; {tally.errors[0]}")
    if done.only_whole:
        sentences.append(
            f"directories in which something may be asked for: {done.only_whole}; one comes back only as a whole: "
            "name it, or everything in it (DIRECTORY/**)"
        )
    if done.damaged:
        sentences.append(f"{done.damaged} lines of the manifest cannot be read")
    return report.shortened("; ".join(sentences))


def told(one: Restorable) -> dict[str, object]:
    """A quarantine as plain JSON values."""
    return {
        "quarantine": one.name,
        "run": one.run,
        "namespace": one.namespace,
        "policy": one.policy,
        "time": timestamp(one.time_ns)[:19] + "Z",
        "until": timestamp(one.until_ns)[:19] + "Z",
        "items": one.contents.items,
        "bytes": one.contents.allocated,
    }
