"""The audit on a report volume: a file for each attempt, endings for those that had none, and how long they stay."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from housekeeper_api.result import AuditReport, Result
from housekeeper_api.task import Restore, Task, TaskError
from housekeeper_worker.audit import Audit
from housekeeper_worker.audit.destination import opened_audit
from housekeeper_worker.audit.verify import verify
from housekeeper_worker.cleanup import clean
from housekeeper_worker.errors import CouldNotRun
from housekeeper_worker.main import perform
from housekeeper_worker.stop import Stop
from tests.unit.worker import report_scenes
from tests.unit.worker.builders import DAY, OLD, as_user, carry_out, cleanup_task, write
from tests.unit.worker.quarantines import quarantine_task
from tests.unit.worker.scenarios import scene
from tests.unit.worker.ways import Way


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """A report volume."""
    return tmp_path / "reports"


def task_of(volume: Path, reports: Path, *, run: str = "run-1", attempt: int = 1, keep: float | None = None) -> Task:
    task = cleanup_task(volume)
    assert task.cleanup is not None
    what = replace(task.cleanup, report=str(reports), report_keep_seconds=keep)
    return replace(task, run=run, attempt=attempt, cleanup=what)


def audit_of(result: Result) -> AuditReport:
    assert result.cleanup is not None
    assert result.cleanup.audit is not None
    return result.cleanup.audit


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines() if not line.endswith(b" #torn")]


def events(path: Path) -> list[str]:
    return [line["event"] for line in lines(path) if line["event"] != "chain"]


@contextmanager
def opened(task: Task) -> Iterator[Audit]:
    assert task.cleanup is not None
    with opened_audit(task, task.cleanup, time.time_ns()) as audit:
        yield audit


def abandoned(task: Task) -> Path:
    """What a worker leaves that is killed in the midst of a line."""
    child = os.fork()
    if child == 0:
        with opened(task) as audit:
            audit.event("start")
            audit.intent(b"a", b"b", 2)
            assert audit._fd is not None
            os.write(audit._fd, b'{"ts":"2026-')
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert task.cleanup is not None
    assert task.cleanup.report is not None
    return Path(task.cleanup.report, task.namespace, task.policy, f"{task.run}-a{task.attempt}.ndjson")


def test_each_attempt_has_a_file_that_stands_by_itself(volume: Path, reports: Path) -> None:
    write(volume / "old", days=OLD)
    result = perform(task_of(volume, reports), Stop())
    audit = audit_of(result)
    assert (audit.to, audit.path, audit.complete) == ("File", "default/policy/run-1-a1.ndjson", True)
    path = reports / audit.path
    assert events(path) == ["start", "intent", "removed", "summary"]
    start = lines(path)[0]
    wanted = {"run": "run-1", "attempt": 1, "namespace": "default", "policy": "policy", "mode": "Enforce"}
    assert wanted.items() <= start.items()
    assert start["version"]
    with open(path, "rb") as file:
        verdict = verify(file, audit.head)
    assert (verdict.state, verdict.lines) == ("Whole", audit.lines)
    assert path.stat().st_mode & 0o777 == 0o440
    assert (reports / "default").stat().st_mode & 0o7777 == 0o1777


def test_a_restore_has_its_file_too(volume: Path, reports: Path) -> None:
    write(volume / "old", days=OLD)
    carry_out(quarantine_task(volume, run="wet"))
    what = Restore(str(volume), "wet", "default", report=str(reports), report_keep_seconds=86_400.0)
    task = Task("undo", "default", "policy", 2, "Enforce", "Etc/UTC", 60, restore=what)
    reports.mkdir()
    result = perform(task, Stop())
    assert result.restore is not None
    assert result.restore.audit is not None
    audit = result.restore.audit
    assert (audit.to, audit.path, audit.complete) == ("File", "default/policy/undo-a2.ndjson", True)
    path = reports / audit.path
    assert events(path) == ["start", "restore", "restored", "summary"]
    wanted = {"run": "undo", "attempt": 2, "namespace": "default", "policy": "policy", "restoreOf": "wet"}
    assert wanted.items() <= lines(path)[0].items()
    assert lines(path)[0]["now"]
    with open(path, "rb") as file:
        assert verify(file, audit.head).state == "Whole"
    assert path.stat().st_mode & 0o777 == 0o440


def test_without_a_report_volume_a_restore_says_that_its_audit_is_in_the_log(volume: Path) -> None:
    write(volume / "old", days=OLD)
    carry_out(quarantine_task(volume, run="wet"))
    what = Restore(str(volume), "wet", "default")
    result = perform(Task("undo", "default", "policy", 1, "Enforce", "Etc/UTC", 60, restore=what), Stop())
    assert result.restore is not None
    assert result.restore.audit is not None
    assert (result.restore.audit.to, len(result.restore.audit.head)) == ("Log", 64)


def test_a_directory_below_the_volume_is_made(volume: Path, reports: Path) -> None:
    result = perform(task_of(volume, reports / "a/b"), Stop())
    assert (reports / "a/b" / audit_of(result).path).exists()


def test_a_second_worker_of_the_same_attempt_writes_beside_the_first(volume: Path, reports: Path) -> None:
    task = task_of(volume, reports)
    assert audit_of(perform(task, Stop())).path == "default/policy/run-1-a1.ndjson"
    assert audit_of(perform(task, Stop())).path == "default/policy/run-1-a1.2.ndjson"


def test_a_very_long_name_still_has_a_file(volume: Path, reports: Path) -> None:
    paths = {audit_of(perform(task_of(volume, reports, run="r" * 240 + end), Stop())).path for end in "ab"}
    assert len(paths) == 2


@pytest.mark.parametrize("run", ["../x", "", "a/b", ".hidden"])
def test_a_name_that_is_none_of_a_cluster_is_refused(volume: Path, reports: Path, run: str) -> None:
    with pytest.raises(TaskError, match=r"task\.run"):
        perform(task_of(volume, reports, run=run), Stop())


def test_the_file_of_a_killed_worker_gets_its_ending_and_keeps_every_byte(volume: Path, reports: Path) -> None:
    path = abandoned(task_of(volume, reports))
    left = path.read_bytes()
    result = perform(task_of(volume, reports, attempt=2), Stop())
    now = path.read_bytes()
    assert now.startswith(left)
    assert events(path) == ["start", "intent", "torn", "closed"]
    torn, closed = (line for line in lines(path) if line["event"] in {"torn", "closed"})
    assert (torn["lines"], torn["bytes"]) == (0, len(b'{"ts":"2026-'))
    assert closed["message"] == "the worker ended without a summary"
    with open(path, "rb") as file:
        assert verify(file).state == "Whole"
    tended = next(line for line in lines(reports / audit_of(result).path) if line["event"] == "tended")
    assert (tended["closed"], tended["removed"]) == (1, 0)
    perform(task_of(volume, reports, attempt=3), Stop())
    assert path.read_bytes() == now


def test_the_file_of_a_worker_that_is_at_work_is_left_alone(volume: Path, reports: Path) -> None:
    with opened(task_of(volume, reports, run="slow")) as audit:
        audit.event("start")
        path = reports / "default/policy/slow-a1.ndjson"
        before = path.read_bytes()
        perform(task_of(volume, reports, keep=0), Stop())
        assert path.read_bytes() == before
        audit.event("summary")
    with open(path, "rb") as file:
        assert verify(file).state == "Whole"


def test_a_file_in_which_nothing_is_yet_is_left_alone(volume: Path, reports: Path) -> None:
    perform(task_of(volume, reports), Stop())
    path = reports / "default/policy/new-a1.ndjson"
    path.touch()
    perform(task_of(volume, reports, attempt=2), Stop())
    assert path.read_bytes() == b""


def test_a_run_that_cannot_begin_says_so_in_its_file(volume: Path, reports: Path) -> None:
    with pytest.raises(CouldNotRun, match="does not exist"):
        perform(task_of(volume / "none", reports), Stop())
    path = reports / "default/policy/run-1-a1.ndjson"
    assert events(path) == ["aborted"]
    assert "does not exist" in lines(path)[0]["message"]


def test_old_files_of_the_policy_go_and_no_others(volume: Path, reports: Path) -> None:
    perform(task_of(volume, reports, run="first"), Stop())
    directory = reports / "default/policy"
    mine = ["first-a1.ndjson", "second-a2.ndjson", "third-a1.7.ndjson"]
    others = ["notes.txt", "first.ndjson", "First-a1.ndjson", "x-a1.ndjson.gz", "-a1.ndjson", "plans"]
    young = directory / "young-a1.ndjson"
    for name in (*mine, *others):
        if name == "plans":
            (directory / name).mkdir()
        elif not (directory / name).exists():
            (directory / name).write_bytes(b"")
        os.utime(directory / name, ns=(0, time.time_ns() - 11 * DAY))
    (directory / "link-a1.ndjson").symlink_to(directory / "notes.txt")
    young.write_bytes(b"")
    os.utime(young, ns=(0, time.time_ns() - 9 * DAY))
    result = perform(task_of(volume, reports, run="now", keep=10 * 86400), Stop())
    left = {path.name for path in directory.iterdir()}
    assert left == {*others, "young-a1.ndjson", "link-a1.ndjson", "now-a1.ndjson"}
    tended = next(line for line in lines(reports / audit_of(result).path) if line["event"] == "tended")
    assert tended["removed"] == 3


def test_a_clock_that_is_years_ahead_removes_no_audit(volume: Path, reports: Path) -> None:
    perform(task_of(volume, reports, run="first"), Stop())
    task = task_of(volume, reports, run="second", keep=10 * 86400)
    assert task.cleanup is not None
    later = time.time_ns() + 3650 * DAY
    with opened_audit(task, task.cleanup, later) as audit:
        clean(task, task.cleanup, now_ns=time.time_ns(), stop=Stop(), audit=audit)
    assert (reports / "default/policy/first-a1.ndjson").exists()


def test_a_report_volume_that_cannot_be_written_stops_before_anything(open_volume: Path) -> None:
    write(open_volume / "old", days=OLD)
    closed = open_volume.parent / "closed"
    closed.mkdir(mode=0o755)

    def act() -> str:
        try:
            perform(task_of(open_volume, closed), Stop())
        except CouldNotRun as error:
            return str(error)
        return ""

    assert "spec.report" in as_user(65532, act)
    assert (open_volume / "old").exists()


def test_a_link_on_the_report_volume_is_not_followed(volume: Path, reports: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    reports.mkdir()
    (reports / "default").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CouldNotRun, match="cannot be written"):
        perform(task_of(volume, reports), Stop())
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_workers_of_several_users_share_a_volume(open_volume: Path) -> None:
    reports = open_volume.parent / "reports"
    reports.mkdir()
    reports.chmod(0o1777)
    for uid, policy in ((65532, "one"), (1000, "two")):
        task = replace(task_of(open_volume, reports), policy=policy)
        assert (
            as_user(uid, lambda task=task: audit_of(perform(task, Stop())).path) == f"default/{policy}/run-1-a1.ndjson"
        )


@pytest.mark.usefixtures("file_system_tools")
@pytest.mark.parametrize(
    ("kind", "processes"),
    [*(("tmpfs", processes) for processes in "123"), *((kind, "2") for kind in ("ext4", "xfs", "btrfs"))],
)
def test_a_report_volume_that_gets_full_stops_the_removal_and_the_result_says_how_far_it_came(
    open_volume: Path, kind: str, processes: str, uid: int
) -> None:
    told = scene("full_reports", open_volume.parent, kind, processes, way=Way(uid), module=report_scenes.__name__)
    result = told["result"]
    audit = result["cleanup"]["audit"]
    assert result["outcome"] == "Failed"
    assert "No space left on device" in result["message"]
    assert not audit["complete"]
    gone = told["before"] - told["left"]
    assert 0 < gone < told["before"]
    assert result["cleanup"]["removed"] == gone
    # Every file that is gone is either told of in what is safe, or counted as one that is not.
    assert told["safe"] + audit["unrecorded"] == gone
    assert told["announced"] >= gone
    assert told["verdict"]["head"] == audit["head"]
    assert told["verdict"]["state"] in {"Whole", "Unfinished"}
    # And with no room at all nothing begins.
    assert told["again"]["left"] == told["left"]
    assert "No space left" in told["again"]["message"]
