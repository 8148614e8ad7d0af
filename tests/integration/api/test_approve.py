"""What may be approved, and when: the API server's own rules."""

from __future__ import annotations

from typing import Any

import pytest

from tests.data.manifests import table
from tests.integration.api.conftest import Answer, Object, Server

DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"


def state(reason: str, status: str = "Unknown", digest: str | None = DIGEST) -> Object:
    """The status of a run."""
    condition = {"type": "Succeeded", "status": status, "reason": reason, "message": "x"}
    told: Object = {"conditions": [{**condition, "lastTransitionTime": "2026-11-22T10:00:00Z"}]}
    if digest is not None:
        told["result"] = {"cleanup": {"scanned": 2, "matched": 2, "removed": 0, "bytesFreed": 0, "planDigest": digest}}
    return told


def put(server: Server, namespace: str, status: Object | None, **spec: Any) -> None:
    manifest = table.valid()["minimal-run"]
    manifest["spec"].update(spec)
    assert server.create(manifest, namespace=namespace, dry_run=False).accepted
    if status is not None:
        tell(server, namespace, status)


def tell(server: Server, namespace: str, status: Object) -> None:
    answer = server.patch(
        "MaintenanceRun", "minimal-run", {"status": status}, namespace=namespace, subresource="status"
    )
    assert answer.accepted, answer.problems


def approve(server: Server, namespace: str, digest: str | None) -> Answer:
    return server.patch("MaintenanceRun", "minimal-run", {"spec": {"approve": digest}}, namespace=namespace)


def test_a_held_plan_is_approved_by_its_digest(server: Server, namespace: str) -> None:
    put(server, namespace, state("Held"))
    refused = approve(server, namespace, OTHER)
    assert any("spec.approve" in one and "is not the digest of the plan" in one for one in refused.problems)
    assert approve(server, namespace, DIGEST).accepted


@pytest.mark.parametrize(
    "status",
    [None, state("Queued"), state("Running"), state("Expired", "False"), state("Superseded", "False"), {}],
    ids=["new", "queued", "running", "expired", "superseded", "empty"],
)
def test_nothing_else_is_approved_afterwards(server: Server, namespace: str, status: Object | None) -> None:
    put(server, namespace, status)
    answer = approve(server, namespace, DIGEST)
    assert any("spec.approve" in one and "create a run with its digest" in one for one in answer.problems)


def test_a_held_run_without_a_digest_is_not_approved(server: Server, namespace: str) -> None:
    put(server, namespace, state("Held", digest=None))
    assert not approve(server, namespace, DIGEST).accepted


@pytest.mark.parametrize("digest", [OTHER, None], ids=["another", "taken back"])
def test_an_approval_is_given_once(server: Server, namespace: str, digest: str | None) -> None:
    put(server, namespace, state("Held"), approve=OTHER)
    if digest == OTHER:
        digest = DIGEST  # even the right one: the run was made with another
    answer = approve(server, namespace, digest)
    assert any("spec.approve" in one and "was given already" in one for one in answer.problems)


def test_the_status_goes_on_being_written_whatever_was_approved(server: Server, namespace: str) -> None:
    put(server, namespace, state("Held"))
    assert approve(server, namespace, DIGEST).accepted
    for status in (state("Queued"), state("Running"), state("Held", digest=OTHER), state("Cancelled", "False")):
        tell(server, namespace, status)
    cancel = {"spec": {"cancel": True}}
    assert server.patch("MaintenanceRun", "minimal-run", cancel, namespace=namespace).accepted
