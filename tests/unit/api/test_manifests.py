"""The table of manifests, held against the models. tests/integration/api holds it against the API server."""

from __future__ import annotations

import datetime as dt

import pytest

from housekeeper_api.cleanup_policy import CleanupPolicy
from housekeeper_api.errors import InvalidResource
from housekeeper_api.health_check import HealthCheck
from housekeeper_api.maintenance_run import MaintenanceRun
from housekeeper_api.resolve import semantic_problems
from tests.data.manifests import table

KINDS = {kind.__name__: kind for kind in (CleanupPolicy, HealthCheck, MaintenanceRun)}


def read(manifest: table.Object) -> CleanupPolicy | HealthCheck | MaintenanceRun:
    return KINDS[manifest["kind"]].from_object(manifest)


@pytest.mark.parametrize("name", table.valid())
def test_a_valid_manifest_is_read_without_a_problem(name: str) -> None:
    assert semantic_problems(read(table.valid()[name])) == []


@pytest.mark.parametrize("name", table.valid())
def test_reading_what_was_written_gives_the_same(name: str) -> None:
    resource = read(table.valid()[name])
    assert read(resource.to_object()) == resource


@pytest.mark.parametrize("case", table.invalid(), ids=str)
def test_an_invalid_manifest_is_refused_with_the_field_and_what_to_write(case: table.Case) -> None:
    with pytest.raises(InvalidResource) as refusal:
        read(case.manifest)
    assert any(case.field in problem and case.model in problem for problem in refusal.value.problems), refusal.value


def test_the_table_is_rich() -> None:
    assert len(table.invalid()) >= 60


@pytest.mark.parametrize("case", table.semantic(), ids=str)
def test_what_cel_cannot_know_is_a_semantic_problem(case: table.Case) -> None:
    resource = read(case.manifest)
    assert any(
        problem.startswith(f"{case.field}: ") and case.message in problem for problem in semantic_problems(resource)
    ), semantic_problems(resource)


def test_all_problems_are_told_at_once() -> None:
    manifest = table.valid()["minimal-policy"]
    manifest["spec"] |= {"schedule": "@daily", "settleTime": "soon", "retry": {"attempts": 0}}
    with pytest.raises(InvalidResource) as refusal:
        read(manifest)
    assert [problem.partition(":")[0] for problem in refusal.value.problems] == [
        "spec.schedule",
        "spec.settleTime",
        "spec.retry.attempts",
    ]
    assert str(refusal.value) == "; ".join(refusal.value.problems)


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        ({}, "metadata: is required"),
        ({"apiVersion": "housekeeper.dev/v1", "kind": "CleanupPolicy"}, "apiVersion: must be one of"),
        ({"apiVersion": "housekeeper.dev/v1alpha1", "kind": "HealthCheck"}, "kind: must be one of"),
        ({"metadata": {"name": "x"}, "spec": []}, "spec: must be an object"),
        ({"metadata": {"name": "x"}, "spec": {"mode": object()}}, "not an object of plain values"),
    ],
)
def test_what_is_no_policy_at_all_is_refused_too(manifest: table.Object, problem: str) -> None:
    with pytest.raises(InvalidResource, match=problem):
        CleanupPolicy.from_object(manifest)


def test_metadata_of_the_api_server_is_read() -> None:
    manifest = table.valid()["minimal-policy"]
    manifest["metadata"] |= {
        "namespace": "backups",
        "uid": "4a1c",
        "generation": 3,
        "resourceVersion": "17",
        "creationTimestamp": "2026-11-22T10:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "y", "blockOwnerDeletion": True}
        ],
    }
    metadata = CleanupPolicy.from_object(manifest).metadata
    assert (metadata.namespace, metadata.uid, metadata.generation, metadata.resource_version) == (
        "backups",
        "4a1c",
        3,
        "17",
    )
    assert metadata.creation_timestamp == dt.datetime(2026, 11, 22, 10, tzinfo=dt.UTC)
    assert metadata.owner_references[0].uid == "y"


def test_a_status_of_a_later_release_is_read() -> None:
    manifest = table.valid()["minimal-policy"]
    manifest["status"] = {"totals": {"runs": 2, "quarantined": 5}, "heldPlans": []}
    status = CleanupPolicy.from_object(manifest).status
    assert status is not None
    assert status.totals.runs == 2
