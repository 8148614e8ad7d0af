"""What ended runs and checks add to the metrics. Called once a run: when its policy has counted it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

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
    succeeded_at: datetime | None,
) -> None:
    """Count one ended run.

    `duration` is in seconds, None when no worker started; `removed` and `freed` (bytes) are those of Enforce only.
    """
    metrics.runs.labels(kind, namespace, policy, result, trigger, mode).inc()
    if duration is not None:
        metrics.run_duration.labels(kind).observe(duration)
    if kind == "CleanupPolicy":
        metrics.removed_items.labels(namespace, policy).inc(removed)
        metrics.freed_bytes.labels(namespace, policy).inc(freed)
    if succeeded_at is not None:
        metrics.last_success.labels(kind, namespace, policy).set(succeeded_at.timestamp())


def observe_check(
    metrics: Metrics, *, namespace: str, policy: str, check: str, result: str, value: str | None, unit: str
) -> None:
    """Show the latest result of one check; `value` is a decimal number as text, None when nothing was measured."""
    metrics.check_result.labels(namespace, policy, check).set(CHECK_RESULTS[result])
    if value is not None:
        metrics.check_value.labels(namespace, policy, check, unit).set(float(value))
