from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from housekeeper_operator.cluster.errors import ClusterError, Conflict, Fenced, Invalid, Unavailable
from housekeeper_operator.telemetry.metrics import Metrics
from housekeeper_operator.workqueue import RECONCILE_LIMIT, Key, WorkQueue
from tests.unit.operator.runtime.virtual_time import EPOCH, elapsed, now, virtual_time

A, B, C = (Key("CleanupPolicy", "team", name) for name in "abc")
Step = Callable[[Key], Awaitable[datetime | None]]


class Trace:
    """A reconciler that notes when it ran for which key, and then does as it is told."""

    def __init__(self, step: Step | None = None) -> None:
        self.runs: list[tuple[float, Key]] = []
        self.active: set[Key] = set()
        self.most_active = 0
        self._step = step

    async def __call__(self, key: Key) -> datetime | None:
        assert key not in self.active, "two reconciles of one key at once"
        self.runs.append((round(elapsed(), 3), key))
        self.active.add(key)
        self.most_active = max(self.most_active, len(self.active))
        try:
            return await self._step(key) if self._step else None
        finally:
            self.active.discard(key)

    @property
    def times(self) -> list[float]:
        return [when for when, _ in self.runs]


def queue(
    trace: Trace | None = None, *, metrics: Metrics | None = None, workers: int = 4, jitter: float = 1.0
) -> WorkQueue:
    made = WorkQueue(metrics=metrics or Metrics(), now=now, workers=workers, jitter=lambda: jitter)
    if trace is not None:
        made.start({"CleanupPolicy": trace})
    return made


def raising(*errors: Exception) -> Step:
    """Raise these one after the other, then succeed."""
    left = list(errors)

    async def step(_key: Key) -> None:
        if left:
            raise left.pop(0)

    return step


@virtual_time
async def test_a_key_added_many_times_runs_once() -> None:
    trace = Trace()
    work = queue()
    for _ in range(5):
        work.add(A)
    assert len(work) == 1

    work.start({"CleanupPolicy": trace})
    await work.idle()

    assert trace.runs == [(0.0, A)]


@virtual_time
async def test_nothing_runs_before_the_start() -> None:
    trace = Trace()
    work = queue()
    work.add(A)
    await asyncio.sleep(60)
    assert work.oldest_age() == 60

    work.start({"CleanupPolicy": trace})
    await work.idle()

    assert trace.times == [60.0]


@virtual_time
async def test_an_event_during_a_reconcile_makes_it_run_once_more_afterwards() -> None:
    async def slow(_key: Key) -> None:
        await asyncio.sleep(10)

    trace = Trace(slow)
    work = queue(trace)
    work.add(A)
    await asyncio.sleep(1)
    work.add(A)
    work.add(A)
    await work.idle()

    assert trace.times == [0.0, 10.0]


@virtual_time
async def test_no_more_than_the_workers_run_at_once_and_the_oldest_comes_first() -> None:
    async def slow(_key: Key) -> None:
        await asyncio.sleep(1)

    trace = Trace(slow)
    work = queue(trace, workers=2)
    for key in (A, B, C):
        work.add(key)
    await work.idle()

    assert trace.most_active == 2
    assert trace.runs == [(0.0, A), (0.0, B), (1.0, C)]


@virtual_time
async def test_a_returned_time_is_when_it_looks_again() -> None:
    later = iter([timedelta(hours=1), timedelta(seconds=5), None])

    async def step(_key: Key) -> datetime | None:
        delay = next(later)
        return None if delay is None else now() + delay

    trace = Trace(step)
    work = queue(trace)
    work.add(A)
    await asyncio.sleep(7200)

    assert trace.times == [0.0, 3600.0, 3605.0]
    assert work.due_at(A) is None


@virtual_time
async def test_a_time_in_the_past_is_now() -> None:
    trace = Trace()
    work = queue(trace)
    work.add_at(A, EPOCH - timedelta(days=1))
    await work.idle()

    assert trace.times == [0.0]


@virtual_time
async def test_the_earliest_of_several_times_counts_and_an_event_replaces_them() -> None:
    trace = Trace()
    work = queue(trace)
    work.add_at(A, EPOCH + timedelta(seconds=50))
    work.add_at(A, EPOCH + timedelta(seconds=20))
    work.add_at(B, EPOCH + timedelta(seconds=40))
    await asyncio.sleep(30)
    work.add(B)
    await asyncio.sleep(60)

    assert trace.runs == [(20.0, A), (30.0, B)]


@virtual_time
async def test_failures_back_off_up_to_a_minute_and_success_forgets_them() -> None:
    trace = Trace(raising(*(ValueError("bug") for _ in range(11))))
    work = queue(trace)
    with structlog.testing.capture_logs() as logged:
        work.add(A)
        await asyncio.sleep(600)
        work.add(A)
        await work.idle()

    gaps = [round(after - before, 1) for before, after in zip(trace.times, trace.times[1:], strict=False)]
    assert gaps[:11] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0]
    assert len(trace.times) == 13
    assert {line["error_class"] for line in logged} == {"ValueError"}
    assert not work._failures


@virtual_time
async def test_backoff_is_of_the_key_alone() -> None:
    async def step(key: Key) -> None:
        if key == A:
            raise ValueError

    trace = Trace(step)
    work = queue(trace)
    with structlog.testing.capture_logs():
        work.add(A)
        await asyncio.sleep(30)
        work.add(B)
        await asyncio.sleep(0)

    assert trace.runs[-1] == (30.0, B)


@virtual_time
async def test_jitter_spreads_retries_over_the_upper_half_of_the_delay() -> None:
    trace = Trace(raising(ValueError()))
    work = queue(trace, jitter=0.0)
    with structlog.testing.capture_logs():
        work.add(A)
        await asyncio.sleep(5)

    assert trace.times == [0.0, 0.1]


@virtual_time
async def test_what_a_failing_reconcile_itself_caused_does_not_cut_its_backoff_short() -> None:
    async def step(key: Key) -> None:
        work.add(key)  # as the store does for the reconcile's own writes
        raise ValueError

    trace = Trace(step)
    work = queue(trace)
    with structlog.testing.capture_logs():
        work.add(A)
        await asyncio.sleep(3.5)

    assert trace.times == [0.0, 0.2, 0.6, 1.4, 3.0]


@virtual_time
async def test_an_event_from_outside_ends_the_wait_for_a_retry() -> None:
    trace = Trace(raising(*(ValueError() for _ in range(8))))
    work = queue(trace)
    with structlog.testing.capture_logs():
        work.add(A)
        await asyncio.sleep(15)
        assert trace.times[-1] == 12.6
        work.add(A)
        await asyncio.sleep(0)

    assert trace.times[-1] == 15.0


@pytest.mark.parametrize(
    ("error", "second_run", "level", "result"),
    [
        (Conflict("changed"), 0.05, None, "conflict"),
        (Unavailable("no answer"), 0.2, "warning", "unavailable"),
        (Unavailable("patience", retry_after=7.0), 7.0, "warning", "unavailable"),
        (Invalid("spec.schedule: no", status=422), 0.2, "error", "error"),
        (ClusterError("odd"), 0.2, "error", "error"),
        (TimeoutError(), 0.2, "error", "error"),
        (Fenced("not the leader"), None, None, "fenced"),
    ],
)
def test_each_class_of_error_has_its_own_retry(
    error: Exception, second_run: float | None, level: str | None, result: str
) -> None:
    metrics = Metrics()

    @virtual_time
    async def scenario() -> None:
        trace = Trace(raising(error))
        work = queue(trace, metrics=metrics)
        with structlog.testing.capture_logs() as logged:
            work.add(A)
            await asyncio.sleep(30)
        assert trace.times == ([0.0] if second_run is None else [0.0, second_run])
        assert [line["log_level"] for line in logged] == ([] if level is None else [level])

    scenario()
    assert metrics.registry.get_sample_value("housekeeper_reconcile_total", {"kind": A.kind, "result": result}) == 1


@virtual_time
async def test_conflicts_without_end_are_logged_in_the_end() -> None:
    trace = Trace(raising(*(Conflict("changed") for _ in range(6))))
    work = queue(trace)
    with structlog.testing.capture_logs() as logged:
        work.add(A)
        await asyncio.sleep(60)

    assert len(trace.times) == 7
    assert [line["failures"] for line in logged] == [6]


@virtual_time
async def test_a_reconcile_that_hangs_is_given_up() -> None:
    async def hang(_key: Key) -> None:
        if elapsed() == 0:
            await asyncio.Event().wait()

    trace = Trace(hang)
    work = queue(trace)
    with structlog.testing.capture_logs():
        work.add(A)
        await asyncio.sleep(RECONCILE_LIMIT - 1)
        assert work.longest_running() == RECONCILE_LIMIT - 1
        await asyncio.sleep(30)

    assert trace.times == [0.0, RECONCILE_LIMIT + 0.2]
    assert work.longest_running() == 0


@virtual_time
async def test_a_kind_without_a_reconciler_is_dropped_with_an_error() -> None:
    work = queue(Trace())
    with structlog.testing.capture_logs() as logged:
        work.add(Key("Unheard", "team", "x"))
        await work.idle()

    assert [line["log_level"] for line in logged] == ["error"]


@virtual_time
async def test_stopping_lets_what_runs_finish_and_starts_nothing_more() -> None:
    async def slow(_key: Key) -> datetime:
        await asyncio.sleep(5)
        return now()

    trace = Trace(slow)
    work = queue(trace, workers=1)
    work.add(A)
    work.add(B)
    work.add_at(C, EPOCH + timedelta(seconds=2))
    await asyncio.sleep(1)

    assert await work.stop(10)
    work.add(B)
    await asyncio.sleep(60)

    assert trace.runs == [(0.0, A)]
    assert not trace.active


@virtual_time
async def test_stopping_cancels_what_does_not_finish_in_time() -> None:
    ended: list[str] = []

    async def stubborn(_key: Key) -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    work = queue(Trace(stubborn))
    work.add(A)
    await asyncio.sleep(1)
    with structlog.testing.capture_logs():
        assert not await work.stop(6)

    assert elapsed() == 7
    assert ended == ["cancelled"]
    assert work.running == 0


@virtual_time
async def test_logs_of_a_reconcile_carry_its_key() -> None:
    seen: dict[str, Any] = {}

    async def step(_key: Key) -> None:
        seen.update(structlog.contextvars.get_contextvars())

    work = queue(Trace(step))
    work.add(A)
    await work.idle()

    assert seen == {"kind": "CleanupPolicy", "namespace": "team", "name": "a"}
    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.parametrize("seed", range(5))
def test_under_any_storm_the_last_event_of_each_key_is_seen_and_no_key_runs_twice_at_once(seed: int) -> None:
    @virtual_time
    async def storm() -> None:
        chance = random.Random(seed)
        wanted: dict[Key, float] = {}

        async def step(key: Key) -> datetime | None:
            started[key] = elapsed()
            await asyncio.sleep(chance.random())
            if chance.random() < 0.3:
                raise chance.choice([Conflict("x"), ValueError(), Unavailable("x")])
            seen[key] = started[key]
            return now() + timedelta(seconds=1000) if chance.random() < 0.2 else None

        started: dict[Key, float] = {}
        seen: dict[Key, float] = {}
        trace = Trace(step)
        work = queue(trace, workers=3, jitter=chance.random())
        for _ in range(400):
            key = Key("CleanupPolicy", "team", str(chance.randrange(12)))
            work.add(key)
            wanted[key] = elapsed()
            await asyncio.sleep(chance.random() / 4)
        await asyncio.sleep(900)

        assert trace.most_active <= 3
        assert all(seen[key] >= wanted[key] for key in wanted)

    with structlog.testing.capture_logs():
        storm()
