"""The MaintenanceRun of a slot: the queue entry and record of a Job that a CronJob made."""

from __future__ import annotations

from housekeeper_api import names
from housekeeper_operator.decisions.views import Object, format_time, parse_time
from housekeeper_operator.desired.pod import labels


def owner_reference(kind: str, policy: Object) -> Object:
    """The policy as the one controller of a run."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": kind,
        "name": policy["metadata"]["name"],
        "uid": policy["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }


def build_scheduled_run(kind: names.PolicyKind, policy: Object, job: Object, ttl: str) -> Object:
    """The record of `job`, under the same name. `ttl` is a duration of the API, such as `7d`.

    A Job without a slot was made from the CronJob by hand (`kubectl create job --from=cronjob/…`).
    """
    slot = parse_time((job["metadata"].get("annotations") or {}).get(names.SCHEDULED_TIMESTAMP_ANNOTATION))
    annotations = {} if slot is None else {names.SCHEDULED_TIMESTAMP_ANNOTATION: format_time(slot)}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.MAINTENANCE_RUN,
        "metadata": {
            "name": job["metadata"]["name"],
            "namespace": job["metadata"]["namespace"],
            "labels": labels(kind, policy["metadata"]["name"]),
            "annotations": annotations,
            "ownerReferences": [owner_reference(kind, policy)],
        },
        "spec": {
            "policyRef": {"kind": kind, "name": policy["metadata"]["name"]},
            "trigger": "Manual" if slot is None else "Schedule",
            "ttl": ttl,
        },
    }
