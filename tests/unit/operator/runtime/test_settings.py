from __future__ import annotations

import pytest

from housekeeper_operator.settings import Address, InvalidSetting, Settings

REQUIRED = {
    "HOUSEKEEPER_WORKER_IMAGE": "housekeeper-worker:dev",
    "HOUSEKEEPER_NAMESPACE": "housekeeper-system",
    "HOUSEKEEPER_POD_NAME": "housekeeper-5d8f",
}


def test_with_what_is_required_everything_else_has_its_default() -> None:
    assert Settings.from_environment(REQUIRED) == Settings(
        worker_image="housekeeper-worker:dev",
        namespace="housekeeper-system",
        pod_name="housekeeper-5d8f",
        worker_image_pull_policy="IfNotPresent",
        namespaces=(),
        lease_name="housekeeper",
        lease_duration=15.0,
        max_concurrent_runs=10,
        job_ttl=86400.0,
        resync_interval=600.0,
        workers=16,
        log_level="info",
        http_address=Address("0.0.0.0", 8080),  # noqa: S104
    )


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("NAMESPACES", "a, b,a,,", "namespaces", ("a", "b")),
        ("NAMESPACES", "", "namespaces", ()),
        ("LEASE_DURATION", "1m", "lease_duration", 60.0),
        ("MAX_CONCURRENT_RUNS", " 3 ", "max_concurrent_runs", 3),
        ("JOB_TTL", "0s", "job_ttl", 0.0),
        ("JOB_TTL", "7d", "job_ttl", 7 * 86400.0),
        ("RESYNC_INTERVAL", "30s", "resync_interval", 30.0),
        ("LOG_LEVEL", "debug", "log_level", "debug"),
        ("HTTP_ADDRESS", ":9090", "http_address", Address("", 9090)),
        ("HTTP_ADDRESS", "[::1]:0", "http_address", Address("::1", 0)),
        ("WORKER_IMAGE_PULL_POLICY", "Never", "worker_image_pull_policy", "Never"),
    ],
)
def test_a_setting_is_read(variable: str, text: str, field: str, value: object) -> None:
    settings = Settings.from_environment(REQUIRED | {f"HOUSEKEEPER_{variable}": text})
    assert getattr(settings, field) == value


@pytest.mark.parametrize("variable", REQUIRED)
@pytest.mark.parametrize("text", ["", "  ", None])
def test_a_required_setting_that_is_absent_is_named(variable: str, text: str | None) -> None:
    environment = {name: value for name, value in REQUIRED.items() if name != variable}
    if text is not None:
        environment[variable] = text
    with pytest.raises(InvalidSetting, match=f"^{variable} is not set"):
        Settings.from_environment(environment)


@pytest.mark.parametrize(
    ("variable", "text", "advice"),
    [
        ("WORKER_IMAGE", "two words", "without spaces"),
        ("WORKER_IMAGE_PULL_POLICY", "never", "Always, IfNotPresent, Never"),
        ("NAMESPACE", "Upper", "name of a namespace"),
        ("NAMESPACES", "good,not good", "name of a namespace"),
        ("NAMESPACES", "x" * 64, "name of a namespace"),
        ("POD_NAME", "_x", "name of an object"),
        ("LEASE_NAME", "a b", "name of an object"),
        ("LEASE_DURATION", "15", "a number and ms, s, m, h, d or w"),
        ("LEASE_DURATION", "4s", "from 5s to 5m"),
        ("LEASE_DURATION", "6m", "from 5s to 5m"),
        ("MAX_CONCURRENT_RUNS", "0", "from 1 to 10000"),
        ("MAX_CONCURRENT_RUNS", "-1", "from 1 to 10000"),
        ("MAX_CONCURRENT_RUNS", "1e3", "from 1 to 10000"),
        ("MAX_CONCURRENT_RUNS", "9999999999999", "from 1 to 10000"),
        ("JOB_TTL", "31d", "from 0s to 30d"),
        ("RESYNC_INTERVAL", "1s", "from 10s to 1d"),
        ("WORKERS", "65", "from 1 to 64"),
        ("LOG_LEVEL", "INFO", "debug, info, warning, error"),
        ("HTTP_ADDRESS", "8080", "HOST:PORT"),
        ("HTTP_ADDRESS", "0.0.0.0:http", "HOST:PORT"),
        ("HTTP_ADDRESS", "0.0.0.0:70000", "HOST:PORT"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_in_one_line(variable: str, text: str, advice: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        Settings.from_environment(REQUIRED | {f"HOUSEKEEPER_{variable}": text})

    message = str(refusal.value)
    assert message.startswith(f"HOUSEKEEPER_{variable}=")
    assert advice in message
    assert "\n" not in message
