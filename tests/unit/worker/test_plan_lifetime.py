"""Stored plans: how long they stay and where they are looked for, until their run has nothing left to do."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest

from housekeeper_api.task import PastRun
from housekeeper_worker.audit import Audit
from housekeeper_worker.cleanup import clean
from housekeeper_worker.stop import Stop
from tests.unit.worker.approving import approve, held, plans
from tests.unit.worker.builders import OLD, carry_out, cleanup_task, counters, files_below, rule, users_files, write
from tests.unit.worker.quarantines import quarantine_task


@pytest.fixture
def logs(volume: Path) -> Path:
    for name in ("a/1", "a/2", "b/1", "b\n\xff", "z"):
        write(volume / name, days=OLD)
    write(volume / "young")
    return volume


def test_an_attempt_that_follows_one_that_did_all_of_it_is_done(logs: Path) -> None:
    digest = held(logs)
    os.unlink(logs / "young")
    approve(logs, digest)
    state = (PastRun(1, 500, 500, 10, 10),)  # an empty volume trips a brake
    task = cleanup_task(logs, state=state, approve=digest)
    assert carry_out(task).outcome == "Held"
    again = carry_out(dataclasses.replace(task, attempt=2))
    assert (again.outcome, counters(again).plan_digest) == ("Succeeded", digest)


class KilledAtPurge(Audit):
    """The audit of a worker that is killed when it begins to purge."""

    def event(self, name: str, **members: object) -> None:
        if name == "purge":
            os.kill(os.getpid(), 9)
        super().event(name, **members)


def test_a_worker_that_is_killed_while_it_purges_leaves_the_plan_to_go_on_with(logs: Path) -> None:
    second = 1 / 86_400
    write(logs / "purged", days=OLD)
    carry_out(quarantine_task(logs, rule(include=("purged",), action="Quarantine"), days=second))
    digest = counters(carry_out(quarantine_task(logs, rule(), max_items=0, days=second))).plan_digest
    task = quarantine_task(logs, rule(), max_items=0, approve=digest, days=second)
    assert task.cleanup is not None
    child = os.fork()
    if child == 0:
        audit = KilledAtPurge(None, task.run)
        clean(task, task.cleanup, now_ns=time.time_ns() + 5 * 10**9, stop=Stop(), audit=audit)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 9
    assert users_files(logs) == {b"young"}
    write(logs / "new", days=OLD)
    again = carry_out(dataclasses.replace(task, attempt=2))
    assert (again.outcome, counters(again).removed, counters(again).skipped) == ("Succeeded", 0, {"notApproved": 1})
    assert not (logs / f".housekeeper/plans/{digest[7:]}.plan").exists()


def test_a_plan_that_was_held_before_there_was_a_report_volume_is_found(logs: Path, tmp_path: Path) -> None:
    digest = held(logs)
    reports = tmp_path / "reports"
    reports.mkdir()
    result = approve(logs, digest, report=reports)
    assert (result.outcome, counters(result).removed) == ("Succeeded", 5)
    assert plans(logs) == set()


def test_expired_plans_go_from_the_volume_also_when_new_ones_lie_elsewhere(logs: Path, tmp_path: Path) -> None:
    held(logs)
    reports = tmp_path / "reports"
    reports.mkdir()
    nothing = rule(include=("none",))
    assert carry_out(cleanup_task(logs, nothing, report=reports, mode="DryRun"), later=20).outcome == "Succeeded"
    assert len(plans(logs)) == 1
    assert carry_out(cleanup_task(logs, nothing, report=reports), later=20).outcome == "Succeeded"
    assert plans(logs) == set()


@pytest.mark.parametrize("days", [8, 100])
def test_a_plan_that_was_approved_in_time_may_have_waited_since(logs: Path, days: int) -> None:
    digest = held(logs)
    carry_out(cleanup_task(logs, rule(include=("none",)), policy="other"), later=days if days < 14 else 0)
    result = carry_out(cleanup_task(logs, max_items=0, approve=digest, in_time=True), later=days)
    assert (result.outcome, counters(result).removed) == ("Succeeded", 5)


def test_the_plan_that_a_run_was_given_outlives_the_one_that_takes_its_place(logs: Path) -> None:
    digest = held(logs)
    path = logs / f".housekeeper/plans/{digest[7:]}.plan"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    carry_out(cleanup_task(logs, max_items=0, approve=digest, in_time=True), later=100)
    assert f".housekeeper/plans/{digest[7:]}.plan".encode() in plans(logs)


def test_dry_runs_have_ten_plans_of_their_own(logs: Path, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    stopped = carry_out(cleanup_task(logs, max_items=0, report=reports))
    dry = [carry_out(cleanup_task(logs, mode="DryRun", report=reports)) for _ in range(12)]
    kept = {counters(result).plan_stored.encode() for result in (stopped, *dry[2:])}
    assert files_below(reports) == kept
    again = [carry_out(cleanup_task(logs, max_items=0, report=reports)) for _ in range(10)]
    assert files_below(reports) == {counters(result).plan_stored.encode() for result in (*again, *dry[2:])}
