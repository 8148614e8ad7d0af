"""The metrics of the operator: one registry of its own, each metric documented where it is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which says when this process began

_CollectorT = TypeVar("_CollectorT", Counter, Gauge, Histogram)

_RECONCILE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_RUN_BUCKETS = (1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)


@dataclass(frozen=True, slots=True)
class Documented:
    """One metric as users meet it."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


class Metrics:
    """All metrics of one process, as prometheus_client collectors; `labels` takes values in the order given here."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._documented: list[Documented] = []
        self._by_object: list[tuple[Counter | Gauge | Histogram, tuple[str, ...]]] = []
        self._machinery()
        self._domain()
        ProcessCollector(registry=self.registry)

    def _machinery(self) -> None:
        self.reconciles = self._counter(
            "housekeeper_reconcile_total",
            "Reconciles by how they ended: ok, conflict (tried again at once), unavailable (the API server), error, "
            "fenced (no longer the leader), cancelled (at the end of the process), dropped.",
            ("kind", "result"),
        )
        self.reconcile_duration = self._histogram(
            "housekeeper_reconcile_duration_seconds", "Time that one reconcile took.", ("kind",), _RECONCILE_BUCKETS
        )
        self.workqueue_depth = self._gauge("housekeeper_workqueue_depth", "Keys that wait for a worker.")
        self.workqueue_running = self._gauge("housekeeper_workqueue_running", "Reconciles under way.")
        self.workqueue_oldest = self._gauge(
            "housekeeper_workqueue_oldest_seconds", "Age of the key that has waited longest for a worker."
        )
        self.workqueue_retries = self._counter(
            "housekeeper_workqueue_retries_total", "Reconciles put back to be tried again after they failed.", ("kind",)
        )
        self.api_requests = self._counter(
            "housekeeper_api_requests_total",
            "Requests to the API server by HTTP status; code is `timeout` or `network` where there was no answer.",
            ("verb", "kind", "code"),
        )
        self.api_duration = self._histogram(
            "housekeeper_api_request_duration_seconds",
            "Time until the whole answer was read.",
            ("verb",),
            _REQUEST_BUCKETS,
        )
        self.leader = self._gauge("housekeeper_leader", "1 while this replica is the leader, else 0.")
        self.watch_events = self._counter(
            "housekeeper_watch_events_total",
            "Events of the watches: LISTED (in a list of the watch), ADDED, MODIFIED, DELETED.",
            ("kind", "type"),
        )
        self.watch_age = self._gauge(
            "housekeeper_watch_last_event_age_seconds",
            "Time since a watch of this kind last brought an event or was opened again.",
            ("kind",),
        )
        self.resync_differences = self._counter(
            "housekeeper_resync_differences_total",
            "Objects in which a full list differed from what the watches had told: missed events.",
            ("kind",),
        )
        self.store_objects = self._gauge("housekeeper_store_objects", "Objects held in memory.", ("kind",))
        self.events_dropped = self._counter(
            "housekeeper_events_dropped_total",
            "Kubernetes Events that were not recorded: full (the queue), failed (the API server refused them).",
            ("reason",),
        )

    def _domain(self) -> None:
        self.runs = self._counter(
            "housekeeper_runs_total",
            "Finished runs by result (the reason of the condition Succeeded), trigger and mode.",
            ("kind", "namespace", "policy", "result", "trigger", "mode"),
        )
        self.run_duration = self._histogram(
            "housekeeper_run_duration_seconds",
            "Time from the first start of a run's worker to its end, with the waits between attempts, and without the "
            "time in which its plan was held.",
            ("kind",),
            _RUN_BUCKETS,
        )
        self.removed_items = self._counter(
            "housekeeper_removed_items_total", "Items that runs in mode Enforce removed.", ("namespace", "policy")
        )
        self.freed_bytes = self._counter(
            "housekeeper_freed_bytes_total",
            "Bytes of the items that runs in mode Enforce removed.",
            ("namespace", "policy"),
        )
        self.quarantined_items = self._counter(
            "housekeeper_quarantined_items_total",
            "Items that runs in mode Enforce moved into quarantine. When they are purged they count as removed.",
            ("namespace", "policy"),
        )
        self.last_success = self._gauge(
            "housekeeper_last_success_timestamp_seconds",
            "When a run last succeeded, in seconds since the epoch.",
            ("kind", "namespace", "policy"),
        )
        self.runs_queued = self._gauge("housekeeper_runs_queued", "Runs that wait for admission.")
        self.runs_active = self._gauge("housekeeper_runs_active", "Runs admitted and not yet finished.")
        self.plan_held = self._gauge(
            "housekeeper_plan_held",
            "1 while a plan of the policy is held by a brake and waits for approval, else 0.",
            ("namespace", "policy"),
        )
        self.check_result = self._gauge(
            "housekeeper_check_result",
            "Latest result of a check: 0 Passed, 1 Warning, 2 Failed, -1 Unknown.",
            ("namespace", "policy", "check"),
        )
        self.check_value = self._gauge(
            "housekeeper_check_value",
            "Latest value that a check measured, in its unit.",
            ("namespace", "policy", "check", "unit"),
        )

    @property
    def documented(self) -> tuple[Documented, ...]:
        """Every metric of the operator, for the reference. The label `policy` names a CleanupPolicy or HealthCheck."""
        return tuple(self._documented)

    def forget(self, kind: str, namespace: str, name: str) -> None:
        """Drop every series of a policy or check that is gone."""
        for collector, labels in self._by_object:
            wanted = {"namespace": namespace, "policy": name}
            if "kind" in labels:
                wanted["kind"] = kind
            elif ("check" in labels) != (kind == "HealthCheck"):
                continue  # checks belong to HealthChecks, items and bytes to CleanupPolicies, and names may be the same
            collector.remove_by_labels(wanted)

    def reference(self) -> Iterator[str]:
        """Lines of a Markdown table of all metrics."""
        yield "| metric | type | labels | meaning |"
        yield "| --- | --- | --- | --- |"
        for metric in sorted(self._documented, key=lambda each: each.name):
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            yield f"| `{metric.name}` | {metric.type} | {labels} | {metric.help} |"

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return self._document(name, "counter", labels, text, Counter(name, text, labels, registry=self.registry))

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return self._document(name, "gauge", labels, text, Gauge(name, text, labels, registry=self.registry))

    def _histogram(self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
        histogram = Histogram(name, text, labels, registry=self.registry, buckets=buckets)
        return self._document(name, "histogram", labels, text, histogram)

    def _document(
        self, name: str, kind: str, labels: tuple[str, ...], text: str, collector: _CollectorT
    ) -> _CollectorT:
        self._documented.append(Documented(name, kind, labels, text))
        if "policy" in labels:
            self._by_object.append((collector, labels))
        return collector
