"""What users see and may do with stored objects: changes, columns, names."""

from __future__ import annotations

import pytest

from tests.cluster.running import Cluster
from tests.data.manifests import table
from tests.integration.api.conftest import Object, Server


@pytest.mark.parametrize(
    ("patch", "field", "message"),
    [
        ({"policyRef": {"name": "other"}}, "spec.policyRef", "cannot be changed"),
        ({"policyRef": {"kind": "HealthCheck"}}, "spec.policyRef", "cannot be changed"),
        ({"mode": "Enforce"}, "spec.mode", "cannot be changed"),
        ({"mode": None}, "spec.mode", "cannot be changed"),
        ({"trigger": "Manual"}, "spec.trigger", "cannot be changed"),
        ({"ttl": "1d"}, "spec.ttl", "cannot be changed"),
        ({"cancel": False}, "spec.cancel", "a cancelled run stays cancelled"),
        ({"cancel": None}, "spec.cancel", "a cancelled run stays cancelled"),
    ],
)
def test_a_run_cannot_be_changed(server: Server, namespace: str, patch: Object, field: str, message: str) -> None:
    assert server.create(table.valid()["full-run"], namespace=namespace, dry_run=False).accepted
    answer = server.patch("MaintenanceRun", "full-run", {"spec": patch}, namespace=namespace)
    assert not answer.accepted
    assert any(field in problem and message in problem for problem in answer.problems), answer.problems


def test_a_mode_cannot_be_added_to_a_run(server: Server, namespace: str) -> None:
    assert server.create(table.valid()["minimal-run"], namespace=namespace, dry_run=False).accepted
    answer = server.patch("MaintenanceRun", "minimal-run", {"spec": {"mode": "DryRun"}}, namespace=namespace)
    assert not answer.accepted
    assert any("spec.mode" in problem and "cannot be changed" in problem for problem in answer.problems)


def test_a_run_can_be_cancelled(server: Server, namespace: str) -> None:
    assert server.create(table.valid()["minimal-run"], namespace=namespace, dry_run=False).accepted
    assert server.patch("MaintenanceRun", "minimal-run", {"spec": {"cancel": True}}, namespace=namespace).accepted
    assert server.get("MaintenanceRun", "minimal-run", namespace=namespace)["spec"]["cancel"] is True


def test_a_policy_can_be_changed_in_everything(server: Server, namespace: str) -> None:
    assert server.create(table.valid()["minimal-policy"], namespace=namespace, dry_run=False).accepted
    answer = server.patch(
        "CleanupPolicy", "minimal-policy", {"spec": table.valid()["full-policy"]["spec"]}, namespace=namespace
    )
    assert answer.accepted, answer.problems


@pytest.mark.parametrize(
    ("name", "columns", "values"),
    [
        (
            "minimal-policy",
            "NAME MODE SCHEDULE LAST RUN RESULT REMOVED FREED NEXT RUN READY SUSPEND MESSAGE AGE",
            ["DryRun", "H 3 * * *", "Succeeded", "12", "33.8 KiB", "2026-11-23T03:07:00Z", "True", "false", "in place"],
        ),
        (
            "minimal-check",
            "NAME HEALTHY FAILING WARNING LAST RUN NEXT RUN SCHEDULE SUSPEND MESSAGE AGE",
            ["False", "3", "4", "2026-11-23T03:07:00Z", "H/5 * * * *", "false", "disk is full"],
        ),
        (
            "minimal-run",
            "NAME POLICY TRIGGER STATE REMOVED FREED STARTED DURATION KIND MODE MESSAGE AGE",
            [
                "minimal-policy",
                "Manual",
                "TimedOut",
                "12",
                "33.8 KiB",
                "61",
                "CleanupPolicy",
                "DryRun",
                "took too long",
            ],
        ),
    ],
)
def test_kubectl_shows_the_columns(
    server: Server, cluster: Cluster, namespace: str, name: str, columns: str, values: list[str]
) -> None:
    manifest = table.valid()[name]
    assert server.create(manifest, namespace=namespace, dry_run=False).accepted
    status = STATUSES[name]
    answer = server.patch(manifest["kind"], name, {"status": status}, namespace=namespace, subresource="status")
    assert answer.accepted, answer.problems
    short_name = {"CleanupPolicy": "clp", "HealthCheck": "hck", "MaintenanceRun": "mrun"}[manifest["kind"]]
    header, row = cluster.kubectl("get", short_name, "-n", namespace, "-o", "wide").stdout.splitlines()
    assert " ".join(header.split()) == columns
    for value in values:
        assert value in row, row


def condition(kind: str, status: str, reason: str, message: str) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-11-22T10:00:00Z",
    }


STATUSES: dict[str, Object] = {
    "minimal-policy": {
        "conditions": [condition("Ready", "True", "Scheduled", "in place")],
        "lastRunTime": "2026-11-22T03:07:12Z",
        "nextRunTime": "2026-11-23T03:07:00Z",
        "lastRun": {"name": "x", "result": "Succeeded", "removed": 12, "bytesFreed": 34567, "freed": "33.8 KiB"},
    },
    "minimal-check": {
        "conditions": [condition("Healthy", "False", "Failing", "disk is full")],
        "lastRunTime": "2026-11-22T03:07:12Z",
        "nextRunTime": "2026-11-23T03:07:00Z",
        "summary": {"passing": 1, "warning": 4, "failing": 3, "unknown": 0},
    },
    "minimal-run": {
        "conditions": [condition("Succeeded", "False", "TimedOut", "took too long")],
        "startTime": "2026-11-22T03:07:12Z",
        "durationSeconds": 61,
        "mode": "DryRun",
        "result": {"cleanup": {"scanned": 99, "matched": 50, "removed": 12, "bytesFreed": 34567, "freed": "33.8 KiB"}},
    },
}


def test_one_category_lists_all_kinds(server: Server, cluster: Cluster, namespace: str) -> None:
    for name in ("minimal-policy", "minimal-check", "minimal-run"):
        assert server.create(table.valid()[name], namespace=namespace, dry_run=False).accepted
    listed = cluster.kubectl("get", "housekeeper", "-n", namespace, "-o", "name").stdout.split()
    assert sorted(listed) == [
        "cleanuppolicy.housekeeper.dev/minimal-policy",
        "healthcheck.housekeeper.dev/minimal-check",
        "maintenancerun.housekeeper.dev/minimal-run",
    ]


def test_kubectl_explains_a_field(cluster: Cluster, crds: None) -> None:
    explained = cluster.kubectl("explain", "clp.spec.brakes.maxPercent").stdout
    assert "Nothing is removed if more than this percentage" in explained
