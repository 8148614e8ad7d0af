"""What Prometheus would read, after runs that are known."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import subprocess
import urllib.parse
from collections.abc import Iterator

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


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(*command: str, log: pathlib.Path) -> Iterator[None]:
    """A server of the test's own, ended with it."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        try:
            yield
        finally:
            server.terminate()


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


def test_a_real_prometheus_reads_them(site: Site, operator, cluster, tmp_path) -> None:
    cluster.install({"prometheus": "prometheus", "promtool": "prometheus"})
    site.slow_check("seen", 1)
    site.run("seen", "HealthCheck", "seen")
    # promtool refuses what the text format or its conventions do not allow.
    cluster.run("promtool", "check", "metrics", input=operator.http("/metrics"))

    scrape = {"job_name": "housekeeper", "static_configs": [{"targets": [operator.address()]}]}
    config = tmp_path / "prometheus.yml"
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}))
    port = free_port()
    with running(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        log=tmp_path / "log",
    ):
        query = f'housekeeper_runs_total{{namespace="{site.namespace}",policy="seen"}}'

        def answer() -> list:
            url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
            try:
                return json.loads(cluster.http(url))["data"]["result"]
            except OSError:
                return []  # not listening yet

        (found,) = site.wait_for(answer, 30, "series of the run in Prometheus")
        assert found["value"][1] == "1"
        assert found["metric"]["result"] == "Succeeded"


def test_probes_answer(operator, site: Site) -> None:
    assert operator.http("/healthz")
    assert operator.http("/readyz")
