"""The numbers of past runs, for the command line: a JSON file that `run` reads before and replaces after.

In a cluster the operator keeps them. Only runs that were carried out count, dry ones too: a brake must not get used to
what it holds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from typing import Any, Final

from housekeeper_api.result import Result
from housekeeper_api.task import PastRun, Task
from housekeeper_worker import last_run
from housekeeper_worker.errors import CouldNotRun

VERSION: Final = 1
MAX_RUNS: Final = 10
_MAX_BYTES: Final = 1 << 20
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_COUNTED: Final = {"Succeeded", "PartiallySucceeded"}


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """What the numbers are about: one policy at one directory."""

    namespace: str
    policy: str
    root: str
    """Absolute, links resolved."""

    @classmethod
    def of(cls, task: Task, root: str) -> Subject:
        """The subject of a task that is carried out at `root`."""
        return cls(task.namespace, task.policy, os.path.realpath(root))


def read(path: str, subject: Subject) -> tuple[PastRun, ...]:
    """The runs in the file `path`, newest first; none if there is no file yet.

    Raises `CouldNotRun` where it is no such file, or about something else: nothing is guessed from it.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise CouldNotRun(f"the state {path} cannot be read: {error.strerror}") from error
    try:
        decoded = _decode(data)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CouldNotRun(
            f"the state {path} is damaged ({error}): put back a copy, or remove it, and the brakes that compare with "
            "past runs are off until there are three again"
        ) from error
    if decoded is None:
        return ()
    known, runs = decoded
    if known != subject:
        raise CouldNotRun(
            f"the state {path} is about policy {known.namespace}/{known.policy} at {known.root}, and this is "
            f"{subject.namespace}/{subject.policy} at {subject.root}: give each its own file"
        )
    return runs


def _decode(data: bytes) -> tuple[Subject, tuple[PastRun, ...]] | None:
    """What is in the file; None if only `last_run` has written there so far."""
    if len(data) > _MAX_BYTES:
        raise ValueError("it is too large")
    document: Any = json.loads(data)
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ValueError(f"it is no document of version {VERSION}")
    if "runs" not in document:
        return None
    subject = Subject(*(_of_type(document, name, str) for name in ("namespace", "policy", "root")))
    runs = tuple(
        PastRun(*(_of_type(run, name, int) for name in ("timeNs", "scanned", "matched", "planned", "removed")))
        for run in _of_type(document, "runs", list)
    )
    return subject, runs


def _of_type(document: Any, name: str, wanted: type) -> Any:
    value = document[name]
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise TypeError(f"{name} is no {wanted.__name__}")
    return value


def add(path: str, subject: Subject, result: Result, now_ns: int) -> None:
    """Put a run that began at `now_ns` into the file, which is replaced whole, if it counts. Raises `CouldNotRun`."""
    done = result.cleanup
    if done is None or result.outcome not in _COUNTED:
        return
    # What went into quarantine is not there any more either; a dry run left everything.
    gone = 0 if result.mode == "DryRun" else done.removed + done.quarantined
    newest = PastRun(now_ns, done.scanned, done.matched, done.planned, gone)
    # Read again: another run may have ended meanwhile.
    runs = sorted((newest, *read(path, subject)), key=lambda run: -run.time_ns)[:MAX_RUNS]
    document = last_run.read(path) | {
        "version": VERSION,
        **dataclasses.asdict(subject),
        "runs": [
            {
                "timeNs": run.time_ns,
                "scanned": run.scanned,
                "matched": run.matched,
                "planned": run.planned,
                "removed": run.removed,
            }
            for run in runs
        ],
    }
    temporary = _temporary(path)
    try:
        fd = os.open(temporary, _NEW_FILE, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(fd)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise CouldNotRun(
            f"the state {path} could not be written, so the next run does not know of this one: {error.strerror}"
        ) from error


def check_writable(path: str) -> None:
    """Raises `CouldNotRun` where the file `path` could not be replaced: better before a run than after it."""
    temporary = _temporary(path)
    try:
        os.close(os.open(temporary, _NEW_FILE, 0o600))
        os.unlink(temporary)
    except OSError as error:
        raise CouldNotRun(
            f"the state {path} cannot be written: {error.strerror}; nothing was looked at, because nobody would know "
            "of this run: name a file in a directory that is there and that you may write to"
        ) from error


def _temporary(path: str) -> str:
    return f"{path}.{os.urandom(4).hex()}.new"
