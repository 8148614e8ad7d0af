"""What ended runs and checks add to the metrics. Called once a run: when its policy has counted it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from housekeeper_operator.telemetry.metrics import Metrics

CHECK_RESULTS: Final = {"Passed": 0, "Warning": 1, "Failed": 2, "Unknown": -1}


def observe_run(
    metrics: Metrics,
    *,
    kind: str,
    namespace: str,
    policy: str,
    result: str,
    trigger: str,
    mode: str,
    duration: float | None,
    removed: int,
    freed: int,
    quarantined: int = 0,
) -> None:
    """Count one ended run.

    `duration` is in seconds, None when no worker started; `removed`, `freed` (bytes) and `quarantined` are those of
    Enforce only.
    """
    metrics.runs.labels(kind, namespace, policy, result, trigger, mode).inc()
    if duration is not None:
        metrics.run_duration.labels(kind).observe(duration)
    if kind == "CleanupPolicy":
        metrics.removed_items.labels(namespace, policy).inc(removed)
        metrics.freed_bytes.labels(namespace, policy).inc(freed)
        if quarantined:
            metrics.quarantined_items.labels(namespace, policy).inc(quarantined)


def show_last_success(
    metrics: Metrics, *, kind: str, namespace: str, policy: str, succeeded_at: datetime | None
) -> None:
    """Show when a run last succeeded; None when none has."""
    if succeeded_at is not None:
        metrics.last_success.labels(kind, namespace, policy).set(succeeded_at.timestamp())


def show_checks(metrics: Metrics, *, namespace: str, policy: str, checks: list[dict[str, Any]]) -> None:
    """Show the latest results of a HealthCheck, and of these checks alone. `value` is a decimal number as text."""
    for gauge in (metrics.check_result, metrics.check_value):
        gauge.remove_by_labels({"namespace": namespace, "policy": policy})
    for item in checks:
        metrics.check_result.labels(namespace, policy, item["name"]).set(CHECK_RESULTS[item["result"]])
        if item.get("value"):
            value = metrics.check_value.labels(namespace, policy, item["name"], item.get("unit", ""))
            value.set(float(item["value"]))
