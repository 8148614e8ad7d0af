"""Trees, tasks and runs in a few words, and processes of other users."""

from __future__ import annotations

import json
import os
import subprocess
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from housekeeper_api import result as reported
from housekeeper_api.result import Result
from housekeeper_api.task import Brakes, Cleanup, Mode, OnTrip, OpenFiles, PastRun, Pressure, Rule, Task
from housekeeper_worker.audit import Audit
from housekeeper_worker.cleanup import clean
from housekeeper_worker.stop import Stop
from housekeeper_worker.survey import OnDecision
from tests.unit.worker.confinement import become, prepare

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
OLD = 40
"""Days: older than what the rules of these tests keep."""


def write(path: Path | bytes | str, *, days: float = 0, content: bytes = b"x") -> None:
    """A file, with its parents, whose content is so many days old."""
    encoded = os.fsencode(path)
    os.makedirs(os.path.dirname(encoded), exist_ok=True)
    with open(encoded, "wb") as file:
        file.write(content)
    moment = time.time_ns() - int(days * DAY)
    os.utime(encoded, ns=(moment, moment))


def files_below(root: Path | bytes) -> set[bytes]:
    """Paths of everything that is no directory, relative to `root`, links not followed."""
    found: set[bytes] = set()
    top = os.fsencode(root)
    stack = [b""]
    while stack:
        relative = stack.pop()
        with os.scandir(os.path.join(top, relative)) as entries:
            for entry in entries:
                path = os.path.join(relative, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    stack.append(path)
                else:
                    found.add(path)
    return found


def users_files(root: Path | bytes) -> set[bytes]:
    """The same without what lies in Housekeeper's own directory."""
    return {path for path in files_below(root) if not path.startswith(b".housekeeper/")}


def rule(
    name: str = "old",
    include: Iterable[str] = ("**",),
    exclude: Iterable[str] = (),
    older: str | None = "30d",
    **members: Any,
) -> Rule:
    """A rule."""
    return Rule(name, tuple(include), tuple(exclude), older, **members)


def directories(
    include: Iterable[str] = ("*",), exclude: Iterable[str] = (), older: str | None = "30d", **members: Any
) -> Rule:
    """A rule whose items are directories."""
    return rule("directories", include, exclude, older, item_type="Directory", **members)


def age(path: Path, days: float) -> None:
    """Let everything below `path`, and it, be so many days old."""
    moment = time.time_ns() - int(days * DAY)
    for directory, below, names in os.walk(path):
        for name in (*below, *names, "."):
            os.utime(os.path.join(directory, name), ns=(moment, moment), follow_symlinks=False)


def item(path: Path, *names: str, days: float = OLD) -> None:
    """A directory with files of these names, all of it so many days old."""
    path.mkdir(parents=True, exist_ok=True)
    for name in names:
        write(path / name, content=b"x" * 5000)
    age(path, days)


def cleanup_task(
    root: Path | str,
    *rules: Rule,
    mode: Mode = "Enforce",
    path: str = "",
    settle: float = 0,
    open_files: OpenFiles = "Protect",
    max_percent: int = 100,
    max_items: int | None = None,
    max_bytes: int | None = None,
    on_trip: OnTrip = "Hold",
    state: tuple[PastRun, ...] | None = None,
    approve: str | None = None,
    in_time: bool = False,
    report: Path | str | None = None,
    hold_seconds: float | None = 7 * 86_400,
    expect_marker: str | None = None,
    policy: str = "policy",
    fs_group: int | None = None,
    timeout: float = 60,
    zone: str = "Etc/UTC",
    processes: int = 1,
    operations_per_second: int = 0,
    pressure: Pressure | None = None,
) -> Task:
    """A task without brakes and settle time, unless it says so."""
    return Task(
        run="run-1",
        namespace="default",
        policy=policy,
        attempt=1,
        mode=mode,
        time_zone=zone,
        timeout_seconds=timeout,
        cleanup=Cleanup(
            root=str(root),
            path=path,
            rules=rules or (rule(),),
            settle_seconds=settle,
            open_files=open_files,
            brakes=Brakes(max_percent, max_items, max_bytes, on_trip),
            fs_group=fs_group,
            pressure=pressure,
            state=state,
            approve=approve,
            approved_in_time=in_time,
            report=None if report is None else str(report),
            hold_seconds=hold_seconds,
            expect_marker=expect_marker,
            processes=processes,
            operations_per_second=operations_per_second,
        ),
    )


def counters(result: Result) -> reported.Cleanup:
    """What a clean-up counted."""
    assert result.cleanup is not None, result
    return result.cleanup


def carry_out(
    task: Task,
    *,
    later: float = 0,
    now_ns: int | None = None,
    stop: Stop | None = None,
    audit_fd: int | None = None,
    on_decision: OnDecision | None = None,
    prefer_fallback: bool = False,
) -> Result:
    """Run a clean-up in this process, `later` days from now. Whoever the task lets help is there at once."""
    assert task.cleanup is not None
    return clean(
        task,
        task.cleanup,
        now_ns=(time.time_ns() if now_ns is None else now_ns) + int(later * DAY),
        stop=stop or Stop(),
        audit=Audit(audit_fd, task.run),
        on_decision=on_decision,
        prefer_fallback=prefer_fallback,
        at_once=True,
    )


def as_user(uid: int, act: Callable[[], Any], *, gid: int | None = None) -> Any:
    """What `act` returns (as JSON has it) in a child process of another user, who is confined as in a pod."""
    prepare()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            become(uid, gid)
            with os.fdopen(writer, "w") as pipe:
                json.dump(act(), pipe)
            code = 0
        except BaseException:  # noqa: BLE001 - there is nobody else to say it
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child of uid {uid} ended with {os.waitstatus_to_exitcode(status)}"
    return json.loads(text)


def give(path: Path, uid: int) -> None:
    """Let all that is below `path`, and it, belong to a user, mounts and what they show among it."""
    if uid != 0:
        subprocess.run(["chown", "-R", "-h", f"{uid}:{uid}", path], check=True)
