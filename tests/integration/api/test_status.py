"""Whatever the models can write into a status, the API server keeps."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from housekeeper_api.cleanup_policy import CleanupPolicy
from housekeeper_api.health_check import HealthCheck
from housekeeper_api.maintenance_run import MaintenanceRun
from housekeeper_api.schema.structural import structural_schema
from tests.data.manifests import table
from tests.integration.api.conftest import Object, Server

KINDS = {"minimal-policy": CleanupPolicy, "minimal-check": HealthCheck, "minimal-run": MaintenanceRun}


def maximal(schema: Object, number: int = 0) -> Any:
    """A value with every member there is, each as large as it may be. `number` tells the items of a list apart."""
    if "enum" in schema:
        return schema["enum"][-1]
    match schema["type"]:
        case "object" if "properties" in schema:
            return {name: maximal(member, number) for name, member in schema["properties"].items()}
        case "object":
            return {
                f"reason{index}": maximal(schema["additionalProperties"]) for index in range(schema["maxProperties"])
            }
        case "array":
            return [maximal(schema["items"], index) for index in range(schema["maxItems"])]
        case "string" if schema.get("format") == "date-time":
            return "2026-11-22T10:00:00Z"
        case "string":
            return chr(ord("A") + number % 26) * (schema["maxLength"] - number // 26)
        case "integer":
            return schema["maximum"]
        case "boolean":
            return True
    raise AssertionError(schema)


@pytest.mark.parametrize("name", KINDS)
def test_every_field_of_a_status_survives(server: Server, namespace: str, name: str) -> None:
    kind, manifest = KINDS[name], table.valid()[name]
    assert server.create(manifest, namespace=namespace, dry_run=False).accepted
    (annotation,) = [part for part in kind.model_fields["status"].annotation.__args__ if part is not type(None)]
    wanted = maximal(structural_schema(annotation))

    written = kind.from_object({**manifest, "status": copy.deepcopy(wanted)}).status
    assert written is not None
    assert written.to_object() == wanted, "the models keep all of it"

    answer = server.patch(
        manifest["kind"], name, {"status": written.to_object()}, namespace=namespace, subresource="status"
    )
    assert answer.accepted, answer.problems
    stored = server.get(manifest["kind"], name, namespace=namespace)
    assert stored["status"] == wanted
    assert kind.from_object(stored).status == written


@pytest.mark.parametrize("name", KINDS)
def test_an_empty_status_survives(server: Server, namespace: str, name: str) -> None:
    """Nothing is made up on the way: what the operator did not say is not there."""
    manifest = table.valid()[name]
    assert server.create(manifest, namespace=namespace, dry_run=False).accepted
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Scheduled",
        "message": "x",
        "lastTransitionTime": "2026-11-22T10:00:00Z",
    }
    status = {"conditions": [condition]}
    assert server.patch(manifest["kind"], name, {"status": status}, namespace=namespace, subresource="status").accepted
    assert server.get(manifest["kind"], name, namespace=namespace)["status"] == status


def test_long_messages_are_cut_not_refused() -> None:
    manifest = table.valid()["minimal-run"]
    manifest["status"] = {"queue": {"reason": "Waiting", "message": "x" * 5000}}
    status = MaintenanceRun.from_object(manifest).status
    assert status is not None
    assert status.queue is not None
    assert len(status.queue.message) == 1024
    assert status.queue.message.endswith("…")


def test_the_status_is_the_operators_alone(server: Server, namespace: str) -> None:
    """A user who may write the object does not write its status with it."""
    manifest = table.valid()["minimal-policy"]
    manifest["status"] = {"totals": {"runs": 7}}
    assert server.create(manifest, namespace=namespace, dry_run=False).accepted
    assert "status" not in server.get("CleanupPolicy", "minimal-policy", namespace=namespace)
