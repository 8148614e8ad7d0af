"""Events (events.k8s.io/v1) about the resources that the operator looks after.

Recording never waits and never fails: events go through a bounded queue to one sender. The same thing told again
becomes a series of the first event, written at most every `SERIES_INTERVAL` seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

import structlog

from housekeeper_operator.cluster.errors import ClusterError, Fenced, NotFound, Unavailable
from housekeeper_operator.cluster.kinds import RECORDED_EVENT
from housekeeper_operator.cluster.store import Object
from housekeeper_operator.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

EventType = Literal["Normal", "Warning"]

CONTROLLER: Final = "housekeeper.dev/operator"
SERIES_INTERVAL: Final = 30.0
"""Seconds between two writes of one series."""
SERIES_LIFETIME: Final = 600.0
"""A series ends after so many seconds without the same thing happening again; then it is a new event."""
QUEUE_LIMIT: Final = 1000
SERIES_LIMIT: Final = 1000
MAX_NOTE_BYTES: Final = 1024
_RETRY_DELAY: Final = 2.0
_ATTEMPTS: Final = 3

_Identity = tuple[str, str, str, str, str]


class EventSink(Protocol):
    """What the recorder needs of `cluster.port.Cluster`."""

    async def create(self, kind: str, obj: Object) -> Object: ...
    async def patch(self, kind: str, namespace: str, name: str, patch: Mapping[str, Any]) -> Object: ...


@dataclass(slots=True)
class _Series:
    """One event and how often it happened. `written` is the count that the API server knows, 0 before the create."""

    event: Object
    count: int = 1
    written: int = 0
    last_seen: datetime = field(default=datetime.min.replace(tzinfo=UTC))
    next_write: float = 0.0
    attempts: int = 0


class Recorder:
    """Records Events of one operator process. `event` belongs to the event loop's thread; `run` sends."""

    def __init__(self, cluster: EventSink, *, instance: str, metrics: Metrics, now: Callable[[], datetime]) -> None:
        """`instance` (the pod's name) goes into `reportingInstance`."""
        self._cluster = cluster
        self._instance = instance[:128]
        self._metrics = metrics
        self._now = now
        self._series: OrderedDict[_Identity, _Series] = OrderedDict()
        self._pending: OrderedDict[_Identity, None] = OrderedDict()
        self._wake = asyncio.Event()

    # `type` is the Event's own field.
    def event(self, regarding: Object, *, type: EventType, reason: str, action: str, note: str) -> None:  # noqa: A002
        """Tell that `reason` happened to `regarding` (an object with apiVersion, kind, metadata) while doing `action`.

        `reason` and `action` are CamelCase; `note` is a sentence, cut to 1024 bytes.
        """
        identity = (regarding["metadata"]["uid"], type, reason, action, note)
        now = self._now()
        series = self._series.get(identity)
        if series is not None and (now - series.last_seen).total_seconds() < SERIES_LIFETIME:
            series.count += 1
            series.last_seen = now
        else:
            if len(self._pending) >= QUEUE_LIMIT:
                self._metrics.events_dropped.labels("full").inc()
                return
            series = _Series(self._build(regarding, type, reason, action, note, now), last_seen=now)
            self._series[identity] = series
        self._series.move_to_end(identity)
        self._pending[identity] = None
        while len(self._series) > SERIES_LIMIT:
            oldest, _ = self._series.popitem(last=False)
            self._pending.pop(oldest, None)
        self._wake.set()

    async def run(self) -> None:
        """Send what is recorded, until cancelled."""
        while True:
            self._wake.clear()
            pause = await self._send_due()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def flush(self, time_limit: float) -> None:
        """Send everything that is still unsent, at the end of the process; gives up after `time_limit` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(time_limit):
                for identity in [*self._pending]:
                    await self._send(identity)

    async def _send_due(self) -> float | None:
        """Write each pending series whose time has come. Returns seconds until the next one's has, or None."""
        loop = asyncio.get_running_loop()
        pause: float | None = None
        for identity in [*self._pending]:
            series = self._series.get(identity)
            if series is not None and series.next_write <= loop.time():
                await self._send(identity)
            if identity in self._pending:
                left = max(0.0, self._series[identity].next_write - loop.time())
                pause = left if pause is None else min(pause, left)
        return pause

    async def _send(self, identity: _Identity) -> None:
        series = self._series.get(identity)
        if series is None or series.written == series.count:
            self._pending.pop(identity, None)
            return
        count = series.count
        try:
            await self._write(series, count)
        except NotFound:
            # An Event lives an hour on the server: the series goes on in a new one.
            if series.written == 0:
                self._drop(identity, series, "its namespace is gone")
            series.event["metadata"]["name"] = _name(series.event["regarding"])
            series.written = 0
            return
        except Unavailable as error:
            series.attempts += 1
            series.next_write = asyncio.get_running_loop().time() + _RETRY_DELAY
            if series.attempts >= _ATTEMPTS:
                self._drop(identity, series, str(error))
            return
        except Fenced:
            self._pending.pop(identity, None)
            return
        except ClusterError as error:
            self._drop(identity, series, str(error))
            return
        series.written = count
        series.attempts = 0
        series.next_write = asyncio.get_running_loop().time() + SERIES_INTERVAL
        if series.count == count:
            self._pending.pop(identity, None)

    async def _write(self, series: _Series, count: int) -> None:
        metadata = series.event["metadata"]
        counted = {"series": {"count": count, "lastObservedTime": _micro_time(series.last_seen)}}
        if series.written:
            await self._cluster.patch(RECORDED_EVENT, metadata["namespace"], metadata["name"], counted)
        else:
            await self._cluster.create(RECORDED_EVENT, series.event | (counted if count > 1 else {}))

    def _drop(self, identity: _Identity, series: _Series, why: str) -> None:
        self._pending.pop(identity, None)
        self._series.pop(identity, None)
        self._metrics.events_dropped.labels("failed").inc()
        log.warning("An Event was not recorded", reason=series.event["reason"], error=why)

    def _build(
        self, regarding: Object, type_: EventType, reason: str, action: str, note: str, now: datetime
    ) -> dict[str, Any]:
        metadata = regarding["metadata"]
        reference = {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion", ""),
        }
        return {
            "metadata": {"namespace": metadata["namespace"], "name": _name(reference)},
            "eventTime": _micro_time(now),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "regarding": reference,
            "type": type_,
            "reason": reason,
            "action": action,
            "note": _cut(note),
        }


def _name(reference: dict[str, Any]) -> str:
    return f"{reference['name'][:200].rstrip('-.')}.{uuid.uuid4().hex[:16]}"


def _micro_time(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _cut(note: str) -> str:
    encoded = note.encode()
    if len(encoded) <= MAX_NOTE_BYTES:
        return note
    return encoded[: MAX_NOTE_BYTES - 3].decode(errors="ignore") + "…"
