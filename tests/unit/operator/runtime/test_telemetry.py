from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import structlog

from housekeeper_operator import logs
from housekeeper_operator.settings import Address
from housekeeper_operator.telemetry.http import Probe, Server, too_old
from housekeeper_operator.telemetry.metrics import Metrics


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_series_of_a_policy_that_is_gone_are_forgotten_and_no_others() -> None:
    metrics = Metrics()
    for name in ("a", "b"):
        for kind in ("CleanupPolicy", "HealthCheck"):
            metrics.runs.labels(kind, "team", name, "Succeeded", "Schedule", "Enforce").inc()
            metrics.last_success.labels(kind, "team", name).set(1)
        metrics.freed_bytes.labels("team", name).inc(5)
        metrics.removed_items.labels("team", name).inc(5)
        metrics.check_result.labels("team", name, "disk").set(2)
        metrics.check_value.labels("team", name, "disk", "percent").set(91)

    metrics.forget("CleanupPolicy", "team", "a")

    gone = {"namespace": "team", "policy": "a"}
    run = {"result": "Succeeded", "trigger": "Schedule", "mode": "Enforce"}
    assert sample(metrics, "housekeeper_runs_total", kind="CleanupPolicy", **gone, **run) is None
    assert sample(metrics, "housekeeper_freed_bytes_total", **gone) is None
    assert sample(metrics, "housekeeper_removed_items_total", **gone) is None
    assert sample(metrics, "housekeeper_runs_total", kind="HealthCheck", **gone, **run) == 1
    assert sample(metrics, "housekeeper_last_success_timestamp_seconds", kind="HealthCheck", **gone) == 1
    assert sample(metrics, "housekeeper_check_result", **gone, check="disk") == 2
    assert sample(metrics, "housekeeper_freed_bytes_total", namespace="team", policy="b") == 5

    metrics.forget("HealthCheck", "team", "a")
    metrics.forget("HealthCheck", "team", "never there")

    assert sample(metrics, "housekeeper_check_result", **gone, check="disk") is None
    assert sample(metrics, "housekeeper_check_value", **gone, check="disk", unit="percent") is None
    assert sample(metrics, "housekeeper_check_result", namespace="team", policy="b", check="disk") == 2


def test_every_metric_of_ours_is_documented_with_a_sentence() -> None:
    metrics = Metrics()
    documented = {each.name.removesuffix("_total") for each in metrics.documented}
    exposed = {family.name for family in metrics.registry.collect() if family.name.startswith("housekeeper_")}

    assert documented == exposed
    assert all(each.help.endswith(".") for each in metrics.documented)


def test_the_reference_is_a_table_with_a_row_for_each_metric() -> None:
    command = [sys.executable, "-m", "housekeeper_operator.telemetry", "reference"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert printed == [*Metrics().reference()]
    assert len(printed) == len(Metrics().documented) + 2
    assert subprocess.run(command[:-1], capture_output=True, check=False).returncode == 64


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, structlog.get_config()
    levels = {name: logging.getLogger(name).level for name in ("asyncio", "aiohttp", "kopf", "kubernetes")}
    text = io.StringIO()
    logs.configure("info", text)
    yield text
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = before[:2]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.configure(**before[2])


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_log_line_is_one_json_object_with_what_was_bound(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(namespace="team"):
        structlog.get_logger("mine").info("A run ended", removed=3, odd={1})
    structlog.get_logger("mine").debug("not at this level")

    (line,) = lines(stream)
    assert [*line][:3] == ["ts", "level", "msg"]
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "msg": "A run ended",
        "logger": "mine",
        "namespace": "team",
        "removed": 3,
        "odd": "{1}",
    }


def test_a_failure_carries_its_traceback_in_the_same_line(stream: io.StringIO) -> None:
    try:
        int("first\nsecond")
    except ValueError:
        structlog.get_logger("mine").exception("Reconciling failed")

    (line,) = lines(stream)
    assert line["level"] == "error"
    assert "ValueError: invalid literal" in line["exception"]


def test_loggers_of_libraries_go_the_same_way_and_say_less(stream: io.StringIO) -> None:
    logging.getLogger("kopf.objects").info("chatter")
    logging.getLogger("kopf.objects").warning("Ignoring %r", "x", extra={"uid": 7})

    (line,) = lines(stream)
    assert (line["level"], line["msg"], line["logger"], line["uid"]) == ("warning", "Ignoring 'x'", "kopf.objects", 7)


async def answer(server: Server, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{server.port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


@pytest.mark.parametrize(
    ("probes", "status", "text"),
    [
        ([], 200, "ok\n"),
        ([lambda: None], 200, "ok\n"),
        ([lambda: None, lambda: "It is stuck.", lambda: "So is that."], 503, "It is stuck.\nSo is that.\n"),
        ([too_old("No sign", lambda: 9.0, 10.0)], 200, "ok\n"),
        ([too_old("No sign", lambda: 11.4, 10.0)], 503, "No sign for 11s (limit 10s).\n"),
        ([too_old("No sign", lambda: float("inf"), 10.0)], 503, "No sign for ever (limit 10s).\n"),
    ],
)
async def test_a_probe_that_fails_says_why(probes: list[Probe], status: int, text: str) -> None:
    server = Server(Address("127.0.0.1", 0), Metrics())
    server.healthy += probes
    await server.start()
    try:
        assert await answer(server, "/healthz") == (status, text)
        assert await answer(server, "/readyz") == (200, "ok\n")
    finally:
        await server.stop()


async def test_metrics_are_served_as_prometheus_reads_them() -> None:
    metrics = Metrics()
    metrics.runs_queued.set(4)
    server = Server(Address("127.0.0.1", 0), metrics)
    await server.start()
    try:
        status, text = await answer(server, "/metrics")
    finally:
        await server.stop()

    assert status == 200
    assert "\nhousekeeper_runs_queued 4.0\n" in text
    assert "\nprocess_resident_memory_bytes " in text
