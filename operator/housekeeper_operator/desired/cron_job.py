"""The CronJob of a policy: it fires while the operator is down, and its Jobs wait for admission."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

from housekeeper_api import names
from housekeeper_api.quantities import parse_quantity
from housekeeper_operator.decisions.views import Object, format_time
from housekeeper_operator.desired.job import build_job_spec, digest, template_hash
from housekeeper_operator.desired.pod import labels

HISTORY_LIMIT: Final = 10
SMALL: Final = {"n": Decimal("1e-9"), "u": Decimal("1e-6")}
"""Suffixes that only the API server writes."""


def build_cron_job(
    owner: Object,
    kind: names.PolicyKind,
    *,
    schedule: str,
    time_zone: str,
    suspend: bool,
    starting_deadline_seconds: int,
    template: Object,
    slots_since: datetime,
) -> Object:
    """The desired CronJob of the policy or check `owner`.

    `schedule` has no `H` any more. `startingDeadlineSeconds` is always set: without it a missed slot fires at any time
    later. `Forbid` counts a queued (suspended) Job as active, so at most one waits.
    """
    meta = owner["metadata"]
    common = labels(kind, meta["name"])
    spec: Object = {
        "concurrencyPolicy": "Forbid",
        "failedJobsHistoryLimit": HISTORY_LIMIT,
        "jobTemplate": {
            "metadata": {
                "labels": common,
                "annotations": {names.TEMPLATE_HASH_ANNOTATION: template_hash(template)},
            },
            "spec": build_job_spec(template),
        },
        "schedule": schedule,
        "startingDeadlineSeconds": starting_deadline_seconds,
        "successfulJobsHistoryLimit": HISTORY_LIMIT,
        "suspend": suspend,
        "timeZone": time_zone,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {
            "name": names.cron_job_name(kind, meta["name"]),
            "namespace": meta["namespace"],
            "labels": common,
            "annotations": {
                names.SPEC_HASH_ANNOTATION: digest(spec),
                names.SLOTS_SINCE_ANNOTATION: format_time(slots_since),
            },
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": kind,
                    "name": meta["name"],
                    "uid": meta["uid"],
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": spec,
    }


def is_current(existing: Object, desired: Object) -> bool:
    """Whether `existing` already says all that `desired` does; what the API server added besides does not count.

    The hash in the annotations finds members that are no longer wanted; the comparison finds edits by other hands.
    """
    return _covers(existing, {key: desired[key] for key in ("metadata", "spec")})


def _covers(existing: object, desired: object) -> bool:
    if not desired:
        # The API server leaves out what is empty.
        return not existing
    if isinstance(desired, dict):
        return isinstance(existing, dict) and all(_covers(existing.get(key), value) for key, value in desired.items())
    if isinstance(desired, list):
        return (
            isinstance(existing, list)
            and len(existing) == len(desired)
            and all(_covers(one, other) for one, other in zip(existing, desired, strict=True))
        )
    if existing == desired:
        return True
    return isinstance(existing, str) and isinstance(desired, str) and _same_quantity(existing, desired)


def _same_quantity(existing: str, desired: str) -> bool:
    """The API server writes quantities its own way: 0.5 becomes 500m, and 0.0001 becomes 100u."""
    try:
        return _quantity(existing) == _quantity(desired)
    except ValueError:
        return False


def _quantity(text: str) -> Decimal:
    if text[-1:] in SMALL:
        return parse_quantity(text[:-1]) * SMALL[text[-1]]
    return parse_quantity(text)


def merge_into(existing: Object, desired: Object) -> Object:
    """`existing` with our part replaced: spec as desired, our labels and annotations put in, foreign ones left."""
    meta = {**existing["metadata"]}
    meta.pop("managedFields", None)
    for member in ("labels", "annotations"):
        meta[member] = {**(meta.get(member) or {}), **desired["metadata"][member]}
    meta["ownerReferences"] = desired["metadata"]["ownerReferences"]
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta, "spec": desired["spec"]}
