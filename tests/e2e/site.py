"""One test's view of a cluster with Housekeeper installed: its namespace, and the words that scenarios are told in."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]

COLLECTIONS = {
    "CleanupPolicy": "/apis/housekeeper.dev/v1alpha1/namespaces/{}/cleanuppolicies",
    "HealthCheck": "/apis/housekeeper.dev/v1alpha1/namespaces/{}/healthchecks",
    "MaintenanceRun": "/apis/housekeeper.dev/v1alpha1/namespaces/{}/maintenanceruns",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Event": "/apis/events.k8s.io/v1/namespaces/{}/events",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
}
API_VERSIONS = {
    "CleanupPolicy": "housekeeper.dev/v1alpha1",
    "HealthCheck": "housekeeper.dev/v1alpha1",
    "MaintenanceRun": "housekeeper.dev/v1alpha1",
    "CronJob": "batch/v1",
    "Job": "batch/v1",
    "Pod": "v1",
}
EVERY_MINUTE = "* * * * *"
NEVER = "0 3 29 2 *"
"""A schedule that does not fire while a test looks: three o'clock on a leap day."""
QUICK_RETRY = {"attempts": 1, "backoff": "1s", "maxBackoff": "1s"}


class Site:
    """A namespace, seen through the API server. Every wait has an end, and says what it last saw."""

    def __init__(self, api: Any, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def path(self, kind: str, name: str = "", subresource: str = "") -> str:
        """URL path of a collection, an object, or its subresource."""
        return "/".join(part for part in (COLLECTIONS[kind].format(self.namespace), name, subresource) if part)

    def get(self, kind: str, name: str) -> Object:
        """The object; fails when there is none."""
        found: Object = self.api.get(self.path(kind, name))
        return found

    def find(self, kind: str, name: str) -> Object | None:
        """The object, or None."""
        found: Object | None = self.api.find(self.path(kind, name))
        return found

    def list(self, kind: str, **query: str) -> list[Object]:
        """All objects of a kind in the namespace."""
        items: list[Object] = self.api.items(self.path(kind), **query)
        return items

    def create(self, kind: str, name: str, spec: Object, **metadata: Any) -> Object:
        """Create an object."""
        made: Object = self.api.create(
            self.path(kind),
            {
                "apiVersion": API_VERSIONS[kind],
                "kind": kind,
                "metadata": {"name": name, "namespace": self.namespace, **metadata},
                "spec": spec,
            },
        )
        return made

    def patch(self, kind: str, name: str, body: Object) -> Object:
        """Merge a patch into an object."""
        changed: Object = self.api.patch(self.path(kind, name), body)
        return changed

    def delete(self, kind: str, name: str, propagation: str = "Background") -> None:
        """Delete an object; its dependants follow."""
        self.api.delete(self.path(kind, name), propagation)

    def cleanup_policy(self, name: str, claim: str, **spec: Any) -> Object:
        """A CleanupPolicy that removes what is older than 30 days, dry, and never by its own schedule."""
        path = spec.pop("path", None)
        volume: Object = {"persistentVolumeClaim": {"claimName": claim}}
        if path is not None:
            volume["path"] = path
        merged: Object = {
            "schedule": NEVER,
            "mode": "DryRun",
            "target": {"volume": volume},
            "rules": [{"name": "old", "select": {"include": ["**"]}, "removeOlderThan": "30d"}],
            "brakes": {"maxPercent": 100},
            "settleTime": "0s",
            "retry": QUICK_RETRY,
            **spec,
        }
        return self.create("CleanupPolicy", name, merged)

    def health_check(self, name: str, *checks: Object, **spec: Any) -> Object:
        """A HealthCheck that never runs by its own schedule."""
        # The default keeps one succeeded run, and with the others go the pods that a test wants to see.
        history = {"succeeded": 5, "failed": 5}
        merged: Object = {
            "schedule": NEVER,
            "checks": list(checks),
            "retry": QUICK_RETRY,
            "history": history,
            **spec,
        }
        return self.create("HealthCheck", name, merged)

    def slow_check(self, name: str, seconds: int, **spec: Any) -> Object:
        """A HealthCheck whose worker runs for a while: it measures the CPU."""
        check = {"name": "cpu", "type": "CPU", "cpu": {"sample": f"{seconds}s"}}
        return self.health_check(name, check, **{"timeout": f"{seconds + 30}s", **spec})

    def start(self, name: str, kind: str, policy: str, **spec: Any) -> Object:
        """Create a MaintenanceRun: run it now."""
        return self.create("MaintenanceRun", name, {"policyRef": {"kind": kind, "name": policy}, **spec})

    def run(self, name: str, kind: str, policy: str, *, timeout: float = 90, **spec: Any) -> Object:
        """Run it now and wait for its end."""
        self.start(name, kind, policy, **spec)
        return self.ended(name, timeout=timeout)

    def ended(self, name: str, *, timeout: float = 90) -> Object:
        """The run, when it has ended and is counted."""
        return self.wait(
            "MaintenanceRun", name, lambda run: bool(run and condition_is(run, "Recorded", "True")), timeout, "recorded"
        )

    def in_state(self, name: str, *states: str, timeout: float = 60) -> Object:
        """The run, when it is in one of the states."""
        return self.wait(
            "MaintenanceRun", name, lambda run: bool(run) and state(run) in states, timeout, f"in state {states}"
        )

    def ready(self, kind: str, name: str, *, timeout: float = 30) -> Object:
        """The policy, when the operator has made its CronJob for the present generation."""
        return self.wait(
            kind,
            name,
            lambda obj: (
                bool(obj)
                and condition_is(obj, "Ready", "True")
                and obj["status"].get("observedGeneration") == obj["metadata"]["generation"]
            ),
            timeout,
            "Ready",
        )

    def wait(self, kind: str, name: str, until: Callable[[Object], bool], timeout: float, what: str) -> Object:
        """The object, when `until` holds of it ({} while there is none)."""
        end = time.monotonic() + timeout
        while True:
            obj = self.find(kind, name) or {}
            if until(obj):
                return obj
            if time.monotonic() > end:
                raise AssertionError(f"{kind} {self.namespace}/{name} is not {what} after {timeout} s: {_short(obj)}")
            time.sleep(0.1)

    def wait_for(self, until: Callable[[], Any], timeout: float, what: str) -> Any:
        """What `until` returns, when that is true."""
        end = time.monotonic() + timeout
        while not (found := until()):
            if time.monotonic() > end:
                raise AssertionError(f"{self.namespace}: no {what} after {timeout} s; last seen: {found!r}")
            time.sleep(0.1)
        return found

    def runs_of(self, policy: str) -> list[Object]:
        """The runs of a policy, oldest first."""
        runs = [run for run in self.list("MaintenanceRun") if run["spec"]["policyRef"]["name"] == policy]
        return sorted(runs, key=lambda run: (run["metadata"]["creationTimestamp"], run["metadata"]["name"]))

    def running_pod(self, run: str, *, timeout: float = 60) -> Object:
        """The pod of a run, when its worker runs."""

        def look() -> Object | None:
            for pod in self.list("Pod", labelSelector=f"housekeeper.dev/run={run}"):
                for container in pod.get("status", {}).get("containerStatuses") or ():
                    if "running" in container["state"]:
                        return pod
            return None

        found: Object = self.wait_for(look, timeout, f"running pod of {run}")
        return found

    def events(self, regarding: str) -> list[Object]:
        """Events about the object of this name."""
        return [event for event in self.list("Event") if event["regarding"].get("name") == regarding]


def state(run: Object) -> str:
    """The state of a run: the reason of Succeeded, or empty."""
    return condition_of(run, "Succeeded").get("reason", "")


def message(run: Object) -> str:
    """What a run says of its state."""
    return str(condition_of(run, "Succeeded").get("message", ""))


def condition_of(obj: Object, kind: str) -> Object:
    """The condition, or {}."""
    for item in obj.get("status", {}).get("conditions") or ():
        if item["type"] == kind:
            found: Object = item
            return found
    return {}


def condition_is(obj: Object, kind: str, status: str) -> bool:
    """Whether the condition has this status."""
    return condition_of(obj, kind).get("status") == status


def cleanup_result(run: Object) -> Object:
    """The counters of a clean-up."""
    result: Object = run["status"]["result"]["cleanup"]
    return result


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def _short(obj: Object) -> Object:
    return {"spec": obj.get("spec"), "status": obj.get("status")} if obj else {"absent": True}
