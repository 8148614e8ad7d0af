"""The last run on this machine of a root, for `housekeeper status` and for a daemon that starts again.

A JSON document that is replaced as a whole: in the file of `--state`, whose other members stay as they are, else in a
directory of the user's own, one file for each root, and one for the slots of each policy that a daemon serves there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from housekeeper_api.result import Outcome, Result, as_dict
from housekeeper_worker import report
from housekeeper_worker.errors import AuditLost, CouldNotRun, WorkerError
from housekeeper_worker.logs import log, timestamp
from housekeeper_worker.policy_file import Loaded

VERSION: Final = 1
_MAX_BYTES: Final = 1 << 20
_TOLD: Final = ("scanned", "matched", "removed", "bytesFreed", "freedOnDisk", "skipped", "errorCount", "audit", "notes")


def place(root: str, state: str | None, *, policy: str | None = None) -> str:
    """The file in which runs on `root` are remembered, unless `state` names one; with `policy`, a file, its slots."""
    if state is not None:
        return state
    environment = os.environ
    directory = environment.get("HOUSEKEEPER_STATE_DIRECTORY") or environment.get("STATE_DIRECTORY", "").split(":")[0]
    if not directory:
        home = environment.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
        directory = os.path.join(home, "housekeeper")
    about = "\0".join(map(os.path.realpath, (root,) if policy is None else (root, policy)))
    name = hashlib.sha256(os.fsencode(about)).hexdigest()[:16]
    return os.path.join(directory, f"{name}.json")


def read(path: str) -> dict[str, Any]:
    """The document; empty if there is none. Raises `CouldNotRun` where there is something else."""
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read(_MAX_BYTES))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CouldNotRun(f"the state {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CouldNotRun(f"the state {path} is not JSON: remove it, or name another file ({error})") from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise CouldNotRun(f"the state {path} is not of this release: remove it, or name another file")
    return document


def write(path: str, members: Mapping[str, Any]) -> None:
    """Set members of the document. Raises OSError and `CouldNotRun`."""
    document = read(path) | {"version": VERSION} | dict(members)
    directory = os.path.dirname(os.path.abspath(path))
    os.makedirs(directory, mode=0o700, exist_ok=True)
    fd, temporary = tempfile.mkstemp(prefix=".housekeeper-state-", dir=directory)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(fd)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def remembering(path: str, loaded: Loaded, root: str, began_ns: int) -> Iterator[Callable[[Result], None]]:
    """Gives what writes down how a run ended. Where it could not run, that is written down by itself."""

    def remember(result: Result) -> None:
        _remember(path, loaded, root, began_ns, result)

    try:
        yield remember
    except WorkerError as error:
        outcome: Outcome = "Failed" if isinstance(error, AuditLost) else "CouldNotRun"
        remember(report.failure(outcome, str(error), mode=loaded.task.mode, seconds=0))
        raise


def _remember(path: str, loaded: Loaded, root: str, began_ns: int, result: Result) -> None:
    """Where it cannot be written, the log says so: what was done is done."""
    counted = {} if result.cleanup is None else as_dict(result.cleanup)
    told = {
        "policy": loaded.task.policy,
        "root": os.path.abspath(root),
        "mode": result.mode,
        "started": timestamp(began_ns),
        "ended": timestamp(time.time_ns()),
        "outcome": result.outcome,
        "message": result.message,
        **{name: counted[name] for name in _TOLD if name in counted},
        **({"schedule": loaded.schedule} if loaded.schedule else {}),
        "timeZone": loaded.task.time_zone,
    }
    try:
        write(path, {"lastRun": told})
    except (OSError, CouldNotRun) as error:
        log("warning", f"the run could not be remembered for `housekeeper status`: {error}", state=path)
