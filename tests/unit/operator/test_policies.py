from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from housekeeper_api import names
from housekeeper_api.errors import InvalidResource
from housekeeper_api.task import PastRun, Task
from housekeeper_operator import policies
from housekeeper_operator.decisions.views import Object
from tests.unit.operator.builders import NOW, ago, run
from tests.unit.operator.desired.conftest import cleanup_policy, health_check


def test_both_kinds_have_one_face() -> None:
    cleanup = policies.parse("CleanupPolicy", cleanup_policy(mode="Enforce"))
    check = policies.parse("HealthCheck", health_check())
    assert (cleanup.mode, cleanup.volume) == ("Enforce", ("team", "data"))
    assert (check.mode, check.volume) == ("DryRun", None)
    assert [(mount.path, mount.read_only) for mount in cleanup.mounts("Enforce")] == [("/volumes/target", False)]
    assert [(mount.path, mount.read_only) for mount in check.mounts("DryRun")] == [("/volumes/data", True)]


def test_the_schedules_of_two_kinds_of_one_name_differ() -> None:
    same = {"schedule": "H H * * *"}
    cleanup = policies.parse("CleanupPolicy", cleanup_policy("twin", **same))
    obj = health_check("twin")
    check = policies.parse("HealthCheck", {**obj, "spec": {**obj["spec"], **same}})
    assert cleanup.schedule != check.schedule
    assert cleanup.schedule == policies.parse("CleanupPolicy", cleanup_policy("twin", **same)).schedule


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"timeZone": "Mars/Olympus"}, "spec.timeZone: "),
        ({"schedule": "0 3 30 2 *"}, "spec.schedule: "),
        ({"rules": []}, "spec.rules: "),
    ],
)
def test_what_cannot_be_carried_out_names_the_field(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidResource, match=words):
        policies.parse("CleanupPolicy", cleanup_policy(**spec))


def test_an_edit_is_seen_although_nothing_is_read_twice() -> None:
    before = policies.parse("CleanupPolicy", cleanup_policy())
    assert policies.parse("CleanupPolicy", cleanup_policy()) is before
    assert policies.parse("CleanupPolicy", cleanup_policy(mode="Enforce")).mode == "Enforce"
    status: Object = {**cleanup_policy(), "status": {"observedGeneration": 7}}
    assert policies.parse("CleanupPolicy", status) is before


def test_the_task_is_that_of_the_run_and_its_mode() -> None:
    policy = policies.parse("CleanupPolicy", cleanup_policy(mode="Enforce", timeout="5m"))
    task = Task.from_json(policy.task("by-hand", 2, "DryRun", None, {}))
    assert (task.run, task.attempt, task.mode, task.timeout_seconds) == ("by-hand", 2, "DryRun", 300.0)
    check = Task.from_json(policies.parse("HealthCheck", health_check()).task("r", 1, "DryRun", None, {}))
    assert check.health is not None


def test_the_task_has_the_numbers_of_past_runs_on_the_same_target() -> None:
    policy = policies.parse("CleanupPolicy", cleanup_policy(mode="Enforce"))
    numbers = {"time": "2026-11-22T12:00:00Z", "scanned": 9, "matched": 8, "planned": 7, "removed": 6}
    for target, expected in (("data", (PastRun(1_795_348_800_000_000_000, 9, 8, 7, 6),)), ("data/elsewhere", ())):
        status = {"recentTarget": target, "recentRuns": [numbers]}
        cleanup = Task.from_json(policy.task("r", 1, "Enforce", None, status)).cleanup
        assert cleanup is not None
        assert cleanup.state == expected


def test_an_approval_travels_with_the_task() -> None:
    digest = f"sha256:{'0' * 64}"
    policy = policies.parse("CleanupPolicy", cleanup_policy(mode="Enforce"))
    cleanup = Task.from_json(policy.task("r", 1, "Enforce", digest, {})).cleanup
    assert cleanup is not None
    assert cleanup.approve == digest


@pytest.mark.parametrize("own", [True, False])
def test_the_worker_does_not_judge_again_whether_an_approval_of_a_held_run_came_in_time(own: bool) -> None:
    digest = f"sha256:{'0' * 64}"
    of = run().held(ago(hours=1), digest).approving(digest) if own else run().approving(digest)
    policy = policies.parse("CleanupPolicy", cleanup_policy(mode="Enforce"))
    cleanup = Task.from_json(policy.task_of(of.attempt("job-2").view(), "Enforce", {})).cleanup
    assert cleanup is not None
    assert (cleanup.approve, cleanup.approved_in_time) == (digest, own)


@pytest.mark.parametrize(("path", "directory"), [(None, "/report"), ("housekeeper/eu", "/report/housekeeper/eu")])
@pytest.mark.parametrize("mode", ["DryRun", "Enforce"])
def test_reports_are_written_in_a_dry_run_too(path: str | None, directory: str, mode: Any) -> None:
    report = {"persistentVolumeClaim": {"claimName": "reports"}, **({"path": path} if path else {})}
    policy = policies.parse("CleanupPolicy", cleanup_policy(mode="Enforce", report=report))
    cleanup = Task.from_json(policy.task("r", 1, mode, None, {})).cleanup
    assert cleanup is not None
    assert cleanup.report == directory
    mount = policy.mounts(mode)[1]
    assert (mount.claim, mount.path, mount.read_only) == ("reports", "/report", False)
    assert policy.volume == ("team", "data"), "two policies may report to one claim at once"


def test_the_task_says_how_large_a_claim_is_where_pressure_is_of_it() -> None:
    pressure = {"highPercent": 85, "lowPercent": 75, "of": "Claim"}
    policy = policies.parse("CleanupPolicy", cleanup_policy(pressure=pressure))
    cleanup = Task.from_json(policy.task("r", 1, "Enforce", None, {}, 1 << 30)).cleanup
    assert policy.needs_capacity
    assert cleanup is not None
    assert cleanup.pressure is not None
    assert cleanup.pressure.capacity_bytes == 1 << 30
    assert not policies.parse("CleanupPolicy", cleanup_policy()).needs_capacity
    assert not policies.parse("HealthCheck", health_check()).needs_capacity


def test_the_task_of_a_restore_names_the_run_and_the_paths() -> None:
    policy = policies.parse("CleanupPolicy", cleanup_policy(timeout="5m"))
    asked = run("undo").restore_of("wet", "a/**").queued().view()
    task = Task.from_json(policy.task_of(asked, "Enforce", {}))
    assert task.restore is not None
    assert (task.run, task.attempt, task.mode, task.timeout_seconds) == ("undo", 1, "Enforce", 300.0)
    assert (task.restore.run, task.restore.namespace, task.restore.paths) == ("wet", "team", ("a/**",))
    plain = Task.from_json(policy.task_of(run("now").queued().view(), "DryRun", {}))
    assert (plain.cleanup is None, plain.restore) == (False, None)


def test_a_run_sees_the_watermark_of_the_cron_job() -> None:
    policy = policies.parse("CleanupPolicy", cleanup_policy(startingDeadline="2h", suspend=True))
    marked: Object = {"metadata": {"annotations": {names.SLOTS_SINCE_ANNOTATION: "2026-11-22T12:00:00Z"}}}
    view = policies.view_of(policy, marked)
    assert (view.slots_since, view.starting_deadline, view.suspended) == (NOW, timedelta(hours=2), True)
    for without in (None, {"metadata": {}}, {"metadata": {"annotations": {names.SLOTS_SINCE_ANNOTATION: "soon"}}}):
        assert policies.view_of(policy, without).slots_since is None


def test_a_policy_that_cannot_be_read_stops_nothing_that_runs() -> None:
    view = policies.broken_view(cleanup_policy(), "spec.rules: is required")
    assert (view.problem, view.mode, view.attempts) == ("spec.rules: is required", "DryRun", 1)
    assert view.timeout >= timedelta(days=7)
