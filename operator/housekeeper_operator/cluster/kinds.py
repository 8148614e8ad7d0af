"""The kinds of object that the operator reads or writes, and where the API server keeps each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from housekeeper_api import names

CLEANUP_POLICY: Final = names.CLEANUP_POLICY
HEALTH_CHECK: Final = names.HEALTH_CHECK
MAINTENANCE_RUN: Final = names.MAINTENANCE_RUN
CRON_JOB: Final = "CronJob"
JOB: Final = "Job"
POD: Final = "Pod"
EVENT: Final = "Event"
"""The core Event, which tells why a pod waits. Only read."""
RECORDED_EVENT: Final = "Event.events.k8s.io"
"""The same objects by their newer API, which is how the operator records its own. Only written."""
LEASE: Final = "Lease"
PERSISTENT_VOLUME_CLAIM: Final = "PersistentVolumeClaim"


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind as the API server serves it. `kind` is what stands in a manifest."""

    kind: str
    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of the collection (in one namespace or in all), of one object, or of its subresource."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


RESOURCES: Final[dict[str, Resource]] = {
    CLEANUP_POLICY: Resource(CLEANUP_POLICY, names.GROUP, names.VERSION, names.PLURALS[names.CLEANUP_POLICY]),
    HEALTH_CHECK: Resource(HEALTH_CHECK, names.GROUP, names.VERSION, names.PLURALS[names.HEALTH_CHECK]),
    MAINTENANCE_RUN: Resource(MAINTENANCE_RUN, names.GROUP, names.VERSION, names.PLURALS[names.MAINTENANCE_RUN]),
    CRON_JOB: Resource(CRON_JOB, "batch", "v1", "cronjobs"),
    JOB: Resource(JOB, "batch", "v1", "jobs"),
    POD: Resource(POD, "", "v1", "pods"),
    EVENT: Resource("Event", "", "v1", "events"),
    RECORDED_EVENT: Resource("Event", "events.k8s.io", "v1", "events"),
    LEASE: Resource(LEASE, "coordination.k8s.io", "v1", "leases"),
    PERSISTENT_VOLUME_CLAIM: Resource(PERSISTENT_VOLUME_CLAIM, "", "v1", "persistentvolumeclaims"),
}

OWN_KINDS: Final = (CLEANUP_POLICY, HEALTH_CHECK, MAINTENANCE_RUN)
MANAGED_KINDS: Final = (CRON_JOB, JOB, POD)
"""Watched with the label selector `MANAGED_SELECTOR`: others' Jobs and pods never reach the operator."""
WATCHED_KINDS: Final = OWN_KINDS + MANAGED_KINDS
MANAGED_SELECTOR: Final = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"


def selector_of(kind: str) -> str | None:
    """Label selector under which a watched kind is listed and watched, or None for all of them."""
    return MANAGED_SELECTOR if kind in MANAGED_KINDS else None
