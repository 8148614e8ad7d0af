"""The table of manifests, held against the API server: it and the models agree, and in the same words."""

from __future__ import annotations

import pytest

from housekeeper_api.cleanup_policy import CleanupPolicy
from housekeeper_api.health_check import HealthCheck
from housekeeper_api.maintenance_run import MaintenanceRun
from tests.data.manifests import table
from tests.integration.api.conftest import Server

KINDS = {kind.__name__: kind for kind in (CleanupPolicy, HealthCheck, MaintenanceRun)}


@pytest.mark.parametrize("name", table.valid())
def test_a_valid_manifest_is_admitted_and_completed_as_the_models_complete_it(server: Server, name: str) -> None:
    manifest = table.valid()[name]
    answer = server.create(manifest)
    assert answer.accepted, answer.problems
    kind = KINDS[manifest["kind"]]
    assert kind.from_object(answer.body).spec == kind.from_object(manifest).spec


@pytest.mark.parametrize("name", ["minimal-policy", "minimal-check", "minimal-run", "partial-objects", "nulls"])
def test_the_defaults_of_the_server_are_those_of_the_models(server: Server, name: str) -> None:
    """Member by member in the stored object, not only after the models filled in what the server had left out."""
    manifest = table.valid()[name]
    answer = server.create(manifest)
    assert answer.body["spec"] == KINDS[manifest["kind"]].from_object(manifest).spec.to_object()


@pytest.mark.parametrize("case", table.invalid(), ids=str)
def test_an_invalid_manifest_is_refused_with_the_field_and_what_to_write(server: Server, case: table.Case) -> None:
    answer = server.create(case.manifest)
    assert not answer.accepted
    assert any(case.field in problem and case.message in problem for problem in answer.problems), answer.problems


@pytest.mark.parametrize("case", table.semantic(), ids=str)
def test_what_cel_cannot_know_is_admitted(server: Server, case: table.Case) -> None:
    """If this fails, the case has become one of tests/data/manifests/invalid: admission is the better place."""
    answer = server.create(case.manifest)
    assert answer.accepted, answer.problems
