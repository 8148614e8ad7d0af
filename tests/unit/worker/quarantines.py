"""Runs that quarantine and runs that restore, in a few words, and what a person would find in a quarantine."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

from housekeeper_api.result import Result
from housekeeper_api.task import Restore, Rule, Task
from housekeeper_worker.audit import Audit
from housekeeper_worker.restore import restore
from housekeeper_worker.stop import Stop
from tests.unit.worker.builders import cleanup_task, files_below, rule

OWN = b".housekeeper/"
KEPT_DAYS = 7


def quarantining(one: Rule | None = None) -> Rule:
    """A rule that moves what goes into quarantine."""
    return dataclasses.replace(one or rule(), action="Quarantine")


def quarantine_task(
    root: Path, *rules: Rule, run: str = "run-1", days: float = KEPT_DAYS, policy: str = "policy", **options: Any
) -> Task:
    """A task whose quarantine is kept for `days`. Without rules, one that quarantines whatever is old."""
    task = cleanup_task(root, *(rules or (quarantining(),)), **options)
    assert task.cleanup is not None
    cleanup = dataclasses.replace(task.cleanup, quarantine_seconds=days * 86400)
    return dataclasses.replace(task, run=run, policy=policy, cleanup=cleanup)


def put_back(
    root: Path | str,
    run: str = "run-1",
    *paths: str,
    dry: bool = False,
    namespace: str | None = "default",
    attempt: int = 1,
    audit_fd: int | None = None,
    stop: Stop | None = None,
    prefer_fallback: bool = False,
) -> Result:
    """Restore a run in this process."""
    what = Restore(str(root), run, namespace, paths)
    task = Task("undo", "default", "policy", attempt, "DryRun" if dry else "Enforce", "Etc/UTC", 60, restore=what)
    audit = Audit(audit_fd, task.run)
    return restore(task, what, now_ns=time.time_ns(), stop=stop or Stop(), audit=audit, prefer_fallback=prefer_fallback)


def at_place(root: Path) -> set[bytes]:
    """Paths of all files but our own."""
    return {path for path in files_below(root) if not path.startswith(OWN)}


def quarantines(root: Path) -> list[Path]:
    """The directories of quarantines."""
    return sorted((root / ".housekeeper/quarantine").glob("*"))


def lines_of(quarantine: Path) -> list[dict[str, Any]]:
    """The lines of a manifest that are whole."""
    manifest = quarantine / "manifest.ndjson"
    whole = manifest.read_bytes().split(b"\n")[:-1] if manifest.exists() else []
    return [json.loads(line) for line in whole]


def in_quarantine(root: Path) -> dict[bytes, bytes]:
    """What each path holds of which a file is in quarantine, as the manifests say."""
    found = {}
    for quarantine in quarantines(root):
        places = {line["place"]: line for line in lines_of(quarantine) if "place" in line}
        for file in quarantine.glob("*/*"):
            line = places[str(file.relative_to(quarantine))]  # no file is without a line
            path = line["path"].encode() if "path" in line else base64.b64decode(line["pathBase64"])
            found[path] = file.read_bytes()
    return found


def contents(root: Path) -> dict[bytes, bytes]:
    """What each file holds, but for our own."""
    return {path: Path(os.fsdecode(os.path.join(os.fsencode(root), path))).read_bytes() for path in at_place(root)}


def quarantined_directories(root: Path) -> dict[str, set[bytes]]:
    """What is in each directory that is in quarantine as a whole, by the path that the manifests tell of."""
    found = {}
    for quarantine in quarantines(root):
        places = {line["place"]: line for line in lines_of(quarantine) if "place" in line}
        for directory in quarantine.glob("*/*"):
            line = places.get(str(directory.relative_to(quarantine)))
            if line is not None and directory.is_dir():
                assert line["itemType"] == "Directory"
                found[line["path"]] = files_below(directory)
    return found
