"""What Prometheus would read, after runs that are known."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.site import Site, cleanup_result, state


def samples(operator, **labels: str) -> dict[tuple[str, ...], float]:
    """Samples that carry these labels, by name and the values of their other labels."""
    found = {}
    for family in text_string_to_metric_families(operator.http("/metrics")):
        for sample in family.samples:
            if labels.items() <= sample.labels.items():
                rest = tuple(value for key, value in sorted(sample.labels.items()) if key not in labels)
                found[sample.name, *rest] = sample.value
    return found


def test_runs_and_checks_are_counted_and_forgotten_with_their_policy(site: Site, volume, operator) -> None:
    data = volume({"a.log": 60, "b.log": 1}, owner=65532)
    site.cleanup_policy("logs", data.claim, mode="Enforce")
    site.run("dry", "CleanupPolicy", "logs", mode="DryRun")
    wet = site.run("wet", "CleanupPolicy", "logs")
    assert state(wet) == "Succeeded"
    check = {"name": "disk", "type": "Filesystem", "filesystem": {"volume": "data", "used": {"failAbove": "0%"}}}
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": data.claim}}
    site.health_check("disk", check, volumes=[claim])
    site.run("disk", "HealthCheck", "disk")

    # Status comes first, the metrics right after it.
    seen = site.wait_for(
        lambda: (
            found
            if ("housekeeper_check_result", "disk")
            in (found := samples(operator, namespace=site.namespace, policy="disk"))
            else None
        ),
        10,
        "result of the check among the metrics",
    )
    assert seen["housekeeper_check_result", "disk"] == 2
    assert 0 < seen["housekeeper_check_value", "disk", "percent"] <= 100
    logs = samples(operator, namespace=site.namespace, policy="logs")
    assert logs["housekeeper_runs_total", "CleanupPolicy", "DryRun", "Succeeded", "Manual"] == 1
    assert logs["housekeeper_runs_total", "CleanupPolicy", "Enforce", "Succeeded", "Manual"] == 1
    assert logs["housekeeper_removed_items_total",] == 1
    assert logs["housekeeper_freed_bytes_total",] == cleanup_result(wet)["bytesFreed"]
    assert logs["housekeeper_last_success_timestamp_seconds", "CleanupPolicy"] > 0

    site.delete("CleanupPolicy", "logs")
    site.wait_for(
        lambda: not samples(operator, namespace=site.namespace, policy="logs"), 20, "end of the policy's series"
    )
    assert samples(operator, namespace=site.namespace, policy="disk")


def test_probes_answer(operator, site: Site) -> None:
    assert operator.http("/healthz")
    assert operator.http("/readyz")
