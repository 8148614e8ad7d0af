"""Which keys an event wakes. Pure: from the object alone, so that it holds for a deleted one too."""

from __future__ import annotations

from typing import Any, Final

from housekeeper_api import names
from housekeeper_operator.cluster import kinds
from housekeeper_operator.decisions.views import controller_of
from housekeeper_operator.workqueue import Key

JOB_KEY: Final = "Job"
QUEUE_KEY: Final = Key("Queue", "", "")
"""There is one queue, so there is one key for it."""


def keys_for(kind: str, obj: dict[str, Any]) -> list[Key]:
    """The keys to reconcile because `obj` of `kind` was seen, has changed or is gone."""
    meta = obj["metadata"]
    namespace, name = meta["namespace"], meta["name"]
    owner = controller_of(obj)
    match kind:
        case kinds.CLEANUP_POLICY | kinds.HEALTH_CHECK:
            return [Key(kind, namespace, name)]
        case kinds.MAINTENANCE_RUN:
            keys = [Key(kind, namespace, name), QUEUE_KEY]
            if owner is not None and owner["kind"] in names.CRON_JOB_PREFIXES:
                keys.append(Key(owner["kind"], namespace, owner["name"]))
            return keys
        case kinds.CRON_JOB:
            if owner is not None and owner["kind"] in names.CRON_JOB_PREFIXES:
                return [Key(owner["kind"], namespace, owner["name"])]
            return []
        case kinds.JOB:
            if owner is None:
                return []
            if owner["kind"] == names.MAINTENANCE_RUN:
                return [Key(names.MAINTENANCE_RUN, namespace, owner["name"])]
            if owner["kind"] == kinds.CRON_JOB:
                return [Key(JOB_KEY, namespace, name), Key(names.MAINTENANCE_RUN, namespace, name)]
            return []
        case kinds.POD:
            if owner is not None and owner["kind"] == kinds.JOB:
                return [Key(JOB_KEY, namespace, owner["name"])]
            return []
        case _:
            return []
