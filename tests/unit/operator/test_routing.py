from __future__ import annotations

from typing import Any

import pytest

from housekeeper_operator.cluster import kinds
from housekeeper_operator.routing import JOB_KEY, QUEUE_KEY, keys_for
from housekeeper_operator.workqueue import Key


def thing(name: str, owner: str = "") -> dict[str, Any]:
    """An object in namespace team. `owner` is KIND/NAME of its controller."""
    metadata: dict[str, Any] = {"namespace": "team", "name": name}
    if owner:
        kind, _, owner_name = owner.partition("/")
        metadata["ownerReferences"] = [
            {"kind": "ReplicaSet", "name": "beside", "uid": "1"},
            {"kind": kind, "name": owner_name, "uid": "2", "controller": True},
        ]
    return {"metadata": metadata}


def key(kind: str, name: str) -> Key:
    return Key(kind, "team", name)


@pytest.mark.parametrize(
    ("kind", "obj", "expected"),
    [
        (kinds.CLEANUP_POLICY, thing("p"), [key("CleanupPolicy", "p")]),
        (kinds.HEALTH_CHECK, thing("p"), [key("HealthCheck", "p")]),
        (kinds.MAINTENANCE_RUN, thing("r"), [key("MaintenanceRun", "r"), QUEUE_KEY]),
        (
            kinds.MAINTENANCE_RUN,
            thing("r", "HealthCheck/p"),
            [key("MaintenanceRun", "r"), QUEUE_KEY, key("HealthCheck", "p")],
        ),
        (kinds.MAINTENANCE_RUN, thing("r", "Workflow/w"), [key("MaintenanceRun", "r"), QUEUE_KEY]),
        (kinds.CRON_JOB, thing("clp-p", "CleanupPolicy/p"), [key("CleanupPolicy", "p")]),
        (kinds.CRON_JOB, thing("clp-p", "Application/a"), []),
        (kinds.CRON_JOB, thing("clp-p"), []),
        (kinds.JOB, thing("j", "MaintenanceRun/r"), [key("MaintenanceRun", "r")]),
        (kinds.JOB, thing("j", "CronJob/clp-p"), [key(JOB_KEY, "j"), key("MaintenanceRun", "j")]),
        (kinds.JOB, thing("j", "Workflow/w"), []),
        (kinds.JOB, thing("j"), []),
        (kinds.POD, thing("x", "Job/j"), [key(JOB_KEY, "j")]),
        (kinds.POD, thing("x", "ReplicaSet/s"), []),
        (kinds.POD, thing("x"), []),
        ("Secret", thing("s"), []),
    ],
)
def test_an_event_wakes_what_depends_on_it(kind: str, obj: dict[str, Any], expected: list[Key]) -> None:
    assert keys_for(kind, obj) == expected
