from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from housekeeper_operator.cluster.errors import ClusterError, Forbidden, NotFound, Unavailable
from housekeeper_operator.cluster.events import MAX_NOTE_BYTES, QUEUE_LIMIT, SERIES_LIFETIME, Recorder
from housekeeper_operator.cluster.kinds import RECORDED_EVENT
from housekeeper_operator.cluster.store import Object
from housekeeper_operator.telemetry.metrics import Metrics
from tests.unit.operator.runtime.virtual_time import elapsed, now, virtual_time

POLICY: Object = {
    "apiVersion": "housekeeper.dev/v1alpha1",
    "kind": "CleanupPolicy",
    "metadata": {"namespace": "team", "name": "backups", "uid": "u1", "resourceVersion": "7"},
}


class Sink:
    """Takes events as the API server would; `fail` are the answers to the next writes."""

    def __init__(self) -> None:
        self.events: dict[str, Object] = {}
        self.writes: list[tuple[float, str, int]] = []
        self.fail: list[ClusterError] = []

    async def create(self, kind: str, obj: Object) -> Object:
        self._write(kind, "create", obj)
        assert obj["metadata"]["name"] not in self.events
        self.events[obj["metadata"]["name"]] = obj
        return obj

    async def patch(self, kind: str, namespace: str, name: str, patch: Mapping[str, Any]) -> Object:
        assert namespace == "team"
        self._write(kind, "patch", patch)
        if name not in self.events:
            raise NotFound(name)
        self.events[name] = self.events[name] | dict(patch)
        return self.events[name]

    def _write(self, kind: str, verb: str, obj: Mapping[str, Any]) -> None:
        assert kind == RECORDED_EVENT
        self.writes.append((round(elapsed(), 1), verb, obj.get("series", {}).get("count", 1)))
        if self.fail:
            raise self.fail.pop(0)


class Scene:
    """A recorder at work."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.metrics = Metrics()
        self.recorder = Recorder(self.sink, instance="operator-0", metrics=self.metrics, now=now)
        self.sender = asyncio.get_running_loop().create_task(self.recorder.run())

    def happen(self, reason: str = "RunFailed", note: str = "It failed.", regarding: Object = POLICY) -> None:
        self.recorder.event(regarding, type="Warning", reason=reason, action="Harvest", note=note)

    def dropped(self, reason: str) -> float | None:
        return self.metrics.registry.get_sample_value("housekeeper_events_dropped_total", {"reason": reason})


@virtual_time
async def test_an_event_says_what_happened_to_what_and_who_saw_it() -> None:
    scene = Scene()
    scene.happen()
    await asyncio.sleep(1)

    (event,) = scene.sink.events.values()
    name = event["metadata"].pop("name")
    assert name.startswith("backups.")
    assert event == {
        "metadata": {"namespace": "team"},
        "eventTime": "2026-03-01T00:00:00.000000Z",
        "reportingController": "housekeeper.dev/operator",
        "reportingInstance": "operator-0",
        "regarding": {
            "apiVersion": "housekeeper.dev/v1alpha1",
            "kind": "CleanupPolicy",
            "namespace": "team",
            "name": "backups",
            "uid": "u1",
            "resourceVersion": "7",
        },
        "type": "Warning",
        "reason": "RunFailed",
        "action": "Harvest",
        "note": "It failed.",
    }


@virtual_time
async def test_the_same_again_becomes_a_series_written_twice_a_minute_at_most() -> None:
    scene = Scene()
    for _ in range(100):
        scene.happen()
        await asyncio.sleep(1.01)
    await asyncio.sleep(60)

    assert len(scene.sink.events) == 1
    assert scene.sink.writes == [
        (0.0, "create", 1),
        (30.0, "patch", 30),
        (60.0, "patch", 60),
        (90.0, "patch", 90),
        (120.0, "patch", 100),
    ]
    (event,) = scene.sink.events.values()
    assert event["series"] == {"count": 100, "lastObservedTime": "2026-03-01T00:01:39.990000Z"}


@virtual_time
async def test_what_differs_in_anything_is_another_event() -> None:
    scene = Scene()
    other = POLICY | {"metadata": POLICY["metadata"] | {"uid": "u2"}}
    scene.happen()
    scene.happen(reason="RunSkipped")
    scene.happen(note="It failed again.")
    scene.happen(regarding=other)
    await asyncio.sleep(1)

    assert len(scene.sink.events) == 4


@virtual_time
async def test_after_a_long_silence_it_is_a_new_event() -> None:
    scene = Scene()
    scene.happen()
    await asyncio.sleep(SERIES_LIFETIME + 1)
    scene.happen()
    await asyncio.sleep(1)

    assert [verb for _, verb, _ in scene.sink.writes] == ["create", "create"]


@virtual_time
async def test_with_nothing_new_nothing_is_written() -> None:
    scene = Scene()
    scene.happen()
    await asyncio.sleep(3600)

    assert len(scene.sink.writes) == 1


@virtual_time
async def test_a_series_whose_event_expired_goes_on_in_a_new_one() -> None:
    scene = Scene()
    scene.happen()
    await asyncio.sleep(40)
    scene.sink.events.clear()
    scene.happen()
    await asyncio.sleep(1)

    assert [(verb, count) for _, verb, count in scene.sink.writes] == [("create", 1), ("patch", 2), ("create", 2)]
    assert len(scene.sink.events) == 1


@virtual_time
async def test_an_outage_is_waited_for_a_little_and_a_refusal_is_not() -> None:
    scene = Scene()
    scene.sink.fail = [Unavailable("no answer"), Unavailable("no answer")]
    scene.happen()
    await asyncio.sleep(10)
    assert [when for when, _, _ in scene.sink.writes] == [0.0, 2.0, 4.0]
    assert scene.dropped("failed") is None

    with structlog.testing.capture_logs() as logged:
        scene.sink.fail = [Forbidden("namespace is being terminated")]
        scene.happen(note="second")
        scene.sink.fail.append(NotFound("namespace"))
        scene.happen(note="third")
        await asyncio.sleep(60)
    assert len(scene.sink.writes) == 5
    assert scene.dropped("failed") == 2
    assert len(logged) == 2


@virtual_time
async def test_a_flood_is_cut_off_and_counted() -> None:
    scene = Scene()
    for number in range(QUEUE_LIMIT + 5):
        scene.happen(note=f"number {number}")
    await asyncio.sleep(1)

    assert len(scene.sink.events) == QUEUE_LIMIT
    assert scene.dropped("full") == 5


@virtual_time
async def test_a_long_note_is_cut_between_characters() -> None:
    scene = Scene()
    scene.happen(note="é" * 2000)
    await asyncio.sleep(1)

    (event,) = scene.sink.events.values()
    assert event["note"].endswith("é…")
    assert len(event["note"].encode()) <= MAX_NOTE_BYTES


@virtual_time
async def test_at_the_end_everything_is_sent_without_waiting() -> None:
    scene = Scene()
    scene.happen()
    await asyncio.sleep(1)
    scene.happen()
    scene.happen(note="another")
    await scene.recorder.flush(1.0)

    assert elapsed() == 1.0
    assert [(verb, count) for _, verb, count in scene.sink.writes] == [("create", 1), ("patch", 2), ("create", 1)]
