"""Settings of the operator, from environment variables that the chart sets.

A value that makes no sense ends the process at once with one line that names the variable (exit code 64).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final

from housekeeper_api.durations import Duration

PREFIX: Final = "HOUSEKEEPER_"
PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")

_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_NAME: Final = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")


class InvalidSetting(Exception):
    """An environment variable is missing or makes no sense. The text is one line that names it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the HTTP server listens. An empty host is every address of the pod."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; durations are seconds."""

    worker_image: str
    """HOUSEKEEPER_WORKER_IMAGE (required): image of the worker pods."""
    namespace: str
    """HOUSEKEEPER_NAMESPACE (required): the operator's own namespace, where its Lease is."""
    pod_name: str
    """HOUSEKEEPER_POD_NAME (required): name of this pod; the Lease and the Events name it."""
    worker_image_pull_policy: str = "IfNotPresent"
    """HOUSEKEEPER_WORKER_IMAGE_PULL_POLICY: Always, IfNotPresent or Never."""
    worker_scratch_size: str = "4Gi"
    """HOUSEKEEPER_WORKER_SCRATCH_SIZE: quantity that a pod may put aside on its node; 0: no limit."""
    namespaces: tuple[str, ...] = ()
    """HOUSEKEEPER_NAMESPACES: namespaces to serve, with commas between them. Empty: all of the cluster."""
    lease_name: str = "housekeeper"
    """HOUSEKEEPER_LEASE_NAME: name of the Lease that says which replica leads."""
    lease_duration: float = 15.0
    """HOUSEKEEPER_LEASE_DURATION: how long after a leader's last sign of life another takes over, 5s to 5m."""
    max_concurrent_runs: int = 10
    """HOUSEKEEPER_MAX_CONCURRENT_RUNS: runs that may be active at the same time in all namespaces, 1 to 10000."""
    job_ttl: float = 86400.0
    """HOUSEKEEPER_JOB_TTL: how long a Job (and its pod's log) stays after its result was taken, at most 30d."""
    resync_interval: float = 600.0
    """HOUSEKEEPER_RESYNC_INTERVAL: how often all objects are listed and compared, 10s to 24h."""
    workers: int = 16
    """HOUSEKEEPER_WORKERS: reconciles that may be under way at the same time, 1 to 64."""
    log_level: str = "info"
    """HOUSEKEEPER_LOG_LEVEL: debug, info, warning or error."""
    http_address: Address = Address("0.0.0.0", 8080)  # noqa: S104 - probes and scrapes come from outside the pod
    """HOUSEKEEPER_HTTP_ADDRESS: HOST:PORT of /metrics, /healthz and /readyz."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and check all variables; an empty one counts as absent. Raises InvalidSetting."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            variable = PREFIX + field.name.upper()
            text = environment.get(variable, "").strip()
            if text:
                try:
                    values[field.name] = _PARSERS[field.name](text)
                except ValueError as error:
                    raise InvalidSetting(f"{variable}={text!r}: {error}") from None
            elif field.default is MISSING:
                raise InvalidSetting(f"{variable} is not set, and there is no default for it")
        return cls(**values)


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"write one of {', '.join(choices)}")
        return text

    return parse


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"write a whole number from {low} to {high}")
        return int(text)

    return parse


def _duration(low: str, high: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            seconds = Duration.parse(text).seconds
        except ValueError:
            raise ValueError(f"write a duration from {low} to {high}: a number and ms, s, m, h, d or w") from None
        if not Duration.parse(low).seconds <= seconds <= Duration.parse(high).seconds:
            raise ValueError(f"write a duration from {low} to {high}")
        return seconds

    return parse


def _namespace(text: str) -> str:
    if not _DNS_LABEL.fullmatch(text):
        raise ValueError("write the name of a namespace: at most 63 of a-z, 0-9 and -")
    return text


def _namespaces(text: str) -> tuple[str, ...]:
    # The same name twice would be watched twice.
    return tuple(dict.fromkeys(_namespace(part.strip()) for part in text.split(",") if part.strip()))


def _object_name(text: str) -> str:
    if not _DNS_NAME.fullmatch(text):
        raise ValueError("write the name of an object: a-z, 0-9, - and ., at most 253 of them")
    return text


def _image(text: str) -> str:
    if re.search(r"\s", text):
        raise ValueError("write the reference of an image, without spaces")
    return text


def _size(text: str) -> str:
    if not re.fullmatch(r"0|[1-9][0-9]{0,14}([KMGT]i?)?", text):
        raise ValueError("write a quantity such as 500Mi or 4Gi, or 0 for no limit")
    return "" if text == "0" else text


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("write HOST:PORT, for example 0.0.0.0:8080 or [::]:8080")
    return Address(host.strip("[]"), int(port))


_PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "worker_image": _image,
    "namespace": _namespace,
    "pod_name": _object_name,
    "worker_image_pull_policy": _one_of(PULL_POLICIES),
    "worker_scratch_size": _size,
    "namespaces": _namespaces,
    "lease_name": _object_name,
    "lease_duration": _duration("5s", "5m"),
    "max_concurrent_runs": _integer(1, 10_000),
    "job_ttl": _duration("0s", "30d"),
    "resync_interval": _duration("10s", "1d"),
    "workers": _integer(1, 64),
    "log_level": _one_of(LOG_LEVELS),
    "http_address": _address,
}
