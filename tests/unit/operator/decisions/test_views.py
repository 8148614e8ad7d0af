from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_api import names
from housekeeper_api.conditions import RunState
from housekeeper_operator.decisions.views import (
    EPOCH,
    FAR,
    JobView,
    PodView,
    RunView,
    claim_capacity,
    controller_of,
    format_time,
    is_controlled_by,
    parse_time,
)
from tests.unit.operator.builders import NOW, ago, job, later, pod, run
from tests.unit.operator.tasks import task


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22T12:00:00Z", NOW),
        ("2026-11-22T13:00:00+01:00", NOW),
        ("2026-11-22T12:00:00.123456Z", NOW + timedelta(microseconds=123456)),
        ("2026-11-22T12:00:00", NOW),
        ("1970-01-01T00:00:00Z", EPOCH),
        ("9999-12-31T23:59:59Z", None),  # adding a span to it would overflow
        ("0001-01-01T00:00:00+23:00", None),
        ("9999-12-31T23:59:59-23:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_reads_times_of_the_api(text: str | None, moment: datetime | None) -> None:
    assert parse_time(text) == moment


@given(st.text(max_size=40))
def test_any_text_is_a_time_of_ours_or_none(text: str) -> None:
    moment = parse_time(text)
    assert moment is None or EPOCH <= moment < FAR


@given(st.datetimes(datetime(1971, 1, 1), datetime(8999, 1, 1), timezones=st.just(timezone(timedelta(hours=5)))))  # noqa: DTZ001 bounds
def test_writes_what_it_reads(moment: datetime) -> None:
    assert parse_time(format_time(moment)) == moment.replace(microsecond=0)


def test_an_empty_object_has_a_view() -> None:
    bare = {"metadata": {"name": "x", "namespace": "team", "uid": "u"}}
    assert PodView.of(bare).phase == "Pending"
    assert JobView.of(bare).finished is None
    assert RunView.of({**bare, "spec": {"policyRef": {"kind": "CleanupPolicy", "name": "p"}}}).state is None


def test_only_the_workers_container_counts() -> None:
    beside = pod().status(containerStatuses=[{"name": "sidecar", "state": {"terminated": {"exitCode": 1}}}])
    assert beside.view().exit_code is None


def test_a_container_that_never_started_has_no_start() -> None:
    assert pod().exited(128, "StartError", started=EPOCH).view().started is None


def test_a_pod_has_ended_with_its_container_and_is_over_with_its_phase() -> None:
    assert (pod().exited(1).view().ended, pod().exited(1).view().over) == (True, False)
    assert (pod().failed("Evicted").view().ended, pod().failed("Evicted").view().over) == (True, True)
    assert (pod().running(NOW).view().ended, pod().view().ended) == (False, False)


def test_reads_what_became_of_a_job() -> None:
    assert job().view().suspended
    assert job().completed().view().complete
    failed = job().failed("DeadlineExceeded", "too long").view()
    assert (failed.finished, failed.complete, failed.failure_reason) == (NOW, False, "DeadlineExceeded")
    target = job().started()._condition("FailureTarget", reason="DeadlineExceeded", message="too long").view()
    assert (target.finished, target.failure_reason) == (None, "DeadlineExceeded")


def test_reads_the_task_that_a_job_was_started_with() -> None:
    assert job().view().timeout is None
    assert job().with_task("garbled").view().timeout is None
    assert job().with_task(task(timeout_seconds=90.0)).view().timeout == timedelta(seconds=90)


def test_reads_the_claim_that_a_job_cleans() -> None:
    def mounting(name: str) -> str:
        volumes = [{"name": "task"}, {"name": name, "persistentVolumeClaim": {"claimName": "data"}}]
        return job()._with("spec", "template", "spec", "volumes", value=volumes).view().target_claim

    assert mounting(names.TARGET_VOLUME) == "data"
    assert mounting("volume-data") == ""
    assert job().view().target_claim == ""


def test_a_slot_is_what_the_schedule_made() -> None:
    assert run().slot(NOW).view().of_slot
    by_hand = run().annotated(names.SCHEDULED_TIMESTAMP_ANNOTATION, format_time(NOW))
    assert not by_hand.view().of_slot
    endless = run().slot(NOW).annotated(names.SCHEDULED_TIMESTAMP_ANNOTATION, "9999-12-31T23:59:59Z")
    assert endless.view().slot is None


def test_a_slots_run_is_replaced_when_its_job_is_another() -> None:
    assert not run("slot").slot(NOW).view().replaced
    assert not run("slot").slot(NOW).queued("slot").view().replaced
    assert run("slot").slot(NOW).queued("slot-0123abcd-a1").view().replaced
    assert not run("by-hand").queued("by-hand-0123abcd-a1").view().replaced


@pytest.mark.parametrize(
    ("status", "state"), [("True", RunState.SUCCEEDED), ("False", RunState.FAILED), ("Unknown", None)]
)
def test_what_a_later_release_ended_has_ended(status: str, state: RunState | None) -> None:
    assert run()._condition("Succeeded", status=status, reason="Handed", message="…").view().state is state


def test_attempts_are_counted_and_the_last_is_the_current_one() -> None:
    of = run().attempt("a1", startTime=format_time(ago(minutes=9))).admitted(ago(minutes=1), "a2").view()
    assert (of.attempt, of.job, of.admitted) == (2, "a2", ago(minutes=1))
    assert (run().view().attempt, run().view().job, run().view().admitted) == (0, "", None)


def test_belonging_is_a_matter_of_uids_and_of_the_one_controller() -> None:
    owner = run("owner").obj
    reference = {"kind": "MaintenanceRun", "name": "owner", "uid": "uid-owner", "controller": True}
    owned = job()._with("metadata", "ownerReferences", value=[{"uid": "other", "kind": "X"}, reference]).obj
    assert controller_of(owned) == reference
    assert is_controlled_by(owned, owner)
    assert not is_controlled_by(owned, run("other").obj)
    assert not is_controlled_by(
        job()._with("metadata", "ownerReferences", value=[{**reference, "controller": False}]).obj, owner
    )
    assert not is_controlled_by(job().annotated("housekeeper.dev/run", "owner").obj, owner)


def test_what_lies_ahead_can_be_added_to() -> None:
    assert later(days=1) + timedelta(days=3650) < FAR
    assert FAR + timedelta(days=3650) < datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "size"),
    [
        ({"phase": "Bound", "capacity": {"storage": "20Gi"}}, 20 << 30),
        ({"capacity": {"storage": "1500M"}}, 1_500_000_000),
        ({"capacity": {"storage": "1e9"}}, 1_000_000_000),
        ({"capacity": {"storage": "1.5E3"}}, 1500),
        ({"capacity": {"storage": "2E"}}, 2 * 10**18),
        ({"capacity": {"storage": "12e3x"}}, None),
        ({"capacity": {"storage": "NaN"}}, None),
        ({"capacity": {"cpu": "1"}}, None),
        ({"phase": "Pending"}, None),
        (None, None),
    ],
)
def test_the_capacity_of_a_claim_is_that_of_its_status(status: object, size: int | None) -> None:
    assert claim_capacity({"spec": {"resources": {"requests": {"storage": "1Gi"}}}, "status": status}) == size
