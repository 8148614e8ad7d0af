"""The election, on a clock that jumps and a server that can be slow, frozen or lossy."""

from __future__ import annotations

import asyncio
import copy
import itertools
import random
import re
from collections.abc import Coroutine
from typing import Any, NoReturn

import pytest
import structlog

from housekeeper_operator.cluster.errors import AlreadyExists, Conflict, Fenced, NotFound, Unavailable
from housekeeper_operator.cluster.lease import Leadership, LeadershipLost, request_limit
from housekeeper_operator.cluster.store import Object
from housekeeper_operator.telemetry.metrics import Metrics
from tests.unit.operator.runtime.virtual_time import elapsed, now, virtual_time

DURATION = 15.0


class LeaseServer:
    """One Lease with optimistic locking. While it is frozen requests wait, and are carried out later."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self.lease: Object | None = None
        self.writes = 0
        self.lossy = 0.0
        self._chance = chance or random.Random(0)
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._version = itertools.count(1)

    def remove(self) -> None:
        self.lease = None

    def freeze(self) -> None:
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    @property
    def frozen(self) -> bool:
        return not self._thawed.is_set()

    async def get(self, _kind: str, _namespace: str, _name: str) -> Object:
        await self._arrive()
        if self.lease is None:
            raise NotFound("lease")
        answer = copy.deepcopy(self.lease)
        await self._return()
        return answer

    async def create(self, _kind: str, obj: Object) -> Object:
        await self._arrive()
        if self.lease is not None:
            raise AlreadyExists("lease")
        return await self._store(obj)

    async def replace(self, _kind: str, obj: Object) -> Object:
        await self._arrive()
        if self.lease is None:
            raise NotFound("lease")
        if obj["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict("lease")
        return await self._store(obj)

    async def _store(self, obj: Object) -> Object:
        self.lease = copy.deepcopy(obj)
        self.lease["metadata"]["resourceVersion"] = str(next(self._version))
        self.writes += 1
        answer = copy.deepcopy(self.lease)
        await self._return()
        return answer

    async def _arrive(self) -> None:
        await asyncio.sleep(self._chance.random() * 0.2)
        await self._thawed.wait()

    async def _return(self) -> None:
        await asyncio.sleep(self._chance.random() * 0.2)
        if self._chance.random() < self.lossy:
            raise Unavailable("the answer was lost")
        await self._thawed.wait()


class Limited:
    """What the port adds, a time limit on each request; and a line that can be `cut`."""

    def __init__(self, server: LeaseServer, limit: float) -> None:
        self.cut = False
        self._server = server
        self._limit = limit

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        return await self._within(self._server.get(kind, namespace, name))

    async def create(self, kind: str, obj: Object) -> Object:
        return await self._within(self._server.create(kind, obj))

    async def replace(self, kind: str, obj: Object) -> Object:
        return await self._within(self._server.replace(kind, obj))

    async def _within(self, request: Coroutine[Any, Any, Object]) -> Object:
        if self.cut:
            request.close()
            await asyncio.sleep(self._limit)
            raise Unavailable("no way there")
        # The request itself goes on: a server may carry out what nobody waits for any more.
        task = asyncio.ensure_future(request)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with asyncio.timeout(self._limit):
                return await asyncio.shield(task)
        except TimeoutError as error:
            raise Unavailable("no answer in time") from error


def never() -> NoReturn:
    raise AssertionError("the guard ended the process")


def candidate(
    server: LeaseServer, name: str, *, metrics: Metrics | None = None, line: Limited | None = None
) -> Leadership:
    leadership = Leadership(
        line or Limited(server, request_limit(DURATION)),
        namespace="system",
        name="housekeeper",
        identity=name,
        duration=DURATION,
        metrics=metrics or Metrics(),
        now=now,
        clock=elapsed,
        end_process=never,
    )
    # Its thread would look at a clock that belongs to this loop.
    leadership._guard = lambda: None
    return leadership


@virtual_time
async def test_the_first_candidate_leads_at_once_and_the_second_waits() -> None:
    server = LeaseServer()
    metrics = Metrics()
    first, second = candidate(server, "one", metrics=metrics), candidate(server, "two")
    with pytest.raises(Fenced):
        first.check()
    await first.acquire()
    waiting = asyncio.ensure_future(second.acquire())
    holding = asyncio.ensure_future(first.hold())
    await asyncio.sleep(300)

    assert first.leading
    first.check()
    assert metrics.registry.get_sample_value("housekeeper_leader") == 1
    assert not second.leading
    assert not waiting.done()
    assert second.silence() < 5
    assert server.lease is not None
    spec = server.lease["spec"]
    assert re.fullmatch(r"one_[0-9a-f]{8}", spec["holderIdentity"])
    assert (spec["leaseDurationSeconds"], spec["leaseTransitions"]) == (15, 0)
    assert 100 < server.writes < 150
    waiting.cancel()
    holding.cancel()


@virtual_time
async def test_a_released_lease_is_taken_over_at_once() -> None:
    server = LeaseServer()
    first, second = candidate(server, "one"), candidate(server, "two")
    await first.acquire()
    waiting = asyncio.ensure_future(second.acquire())
    await asyncio.sleep(10)
    await first.release()
    with pytest.raises(Fenced):
        first.check()
    released = elapsed()
    await waiting

    assert elapsed() - released < 2
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 1


@virtual_time
async def test_a_leader_that_vanished_is_succeeded_after_the_lease_duration() -> None:
    server = LeaseServer()
    first, second = candidate(server, "one"), candidate(server, "two")
    await first.acquire()
    holding = asyncio.ensure_future(first.hold())
    waiting = asyncio.ensure_future(second.acquire())
    await asyncio.sleep(60)
    holding.cancel()
    vanished = elapsed()
    await waiting

    assert 10 < elapsed() - vanished < 17


@virtual_time
async def test_a_candidate_that_just_came_waits_out_a_full_lease_whatever_it_says() -> None:
    server = LeaseServer()
    first = candidate(server, "one")
    await first.acquire()
    await asyncio.sleep(1000)
    second = candidate(server, "two")
    started = elapsed()
    await second.acquire()

    assert elapsed() - started >= DURATION


@virtual_time
async def test_a_leader_on_a_frozen_server_gives_up_before_another_can_lead() -> None:
    server = LeaseServer()
    first, second = candidate(server, "one"), candidate(server, "two")
    await first.acquire()
    holding = asyncio.ensure_future(first.hold())
    waiting = asyncio.ensure_future(second.acquire())
    await asyncio.sleep(30)
    server.freeze()
    frozen = elapsed()
    with structlog.testing.capture_logs(), pytest.raises(LeadershipLost, match="10s"):
        await holding
    gave_up = elapsed()
    assert gave_up - frozen <= 10
    with pytest.raises(Fenced):
        first.check()
    await asyncio.sleep(30)
    assert not waiting.done()
    server.thaw()
    await waiting

    await first.release()
    assert second.leading
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == second.identity, "who lost does not give away what is another's"


@virtual_time
async def test_a_short_outage_changes_nothing() -> None:
    server = LeaseServer()
    first = candidate(server, "one")
    await first.acquire()
    holding = asyncio.ensure_future(first.hold())
    await asyncio.sleep(30)
    with structlog.testing.capture_logs():
        server.freeze()
        await asyncio.sleep(6)
        server.thaw()
        await asyncio.sleep(30)

    assert first.leading
    assert not holding.done()
    holding.cancel()


@virtual_time
async def test_somebody_who_edits_the_lease_does_not_end_the_leader() -> None:
    server = LeaseServer()
    first = candidate(server, "one")
    await first.acquire()
    holding = asyncio.ensure_future(first.hold())
    with structlog.testing.capture_logs():
        await asyncio.sleep(20)
        assert server.lease is not None
        await server.replace("Lease", server.lease | {"metadata": server.lease["metadata"] | {"labels": {"a": "b"}}})
        await asyncio.sleep(20)

        labels = server.lease["metadata"]["labels"]

    assert first.leading
    assert labels == {"a": "b"}
    holding.cancel()


@virtual_time
async def test_a_deleted_lease_is_made_again_by_its_leader() -> None:
    server = LeaseServer()
    first = candidate(server, "one")
    await first.acquire()
    holding = asyncio.ensure_future(first.hold())
    await asyncio.sleep(20)
    server.remove()
    await asyncio.sleep(20)

    assert first.leading
    assert server.lease is not None
    holding.cancel()


@virtual_time
async def test_a_lease_that_another_holds_ends_the_leader_at_once() -> None:
    server = LeaseServer()
    first = candidate(server, "one")
    await first.acquire()
    holding = asyncio.ensure_future(first.hold())
    await asyncio.sleep(20)
    assert server.lease is not None
    await server.replace("Lease", server.lease | {"spec": server.lease["spec"] | {"holderIdentity": "intruder"}})

    with pytest.raises(LeadershipLost, match="intruder"):
        await holding
    assert not first.leading


@pytest.mark.parametrize("seed", range(6))
def test_there_are_never_two_leaders(seed: int) -> None:
    """Three candidates; a server that loses answers and freezes; lines that are cut; leaders that vanish."""

    @virtual_time
    async def chaos() -> None:
        chance = random.Random(seed)
        server = LeaseServer(chance)
        server.lossy = 0.1
        lines = [Limited(server, request_limit(DURATION)) for _ in range(3)]
        everybody: list[Leadership] = []
        led: set[str] = set()

        async def live(line: Limited) -> None:
            while True:
                me = candidate(server, "someone", line=line)
                everybody.append(me)
                try:
                    async with asyncio.timeout(chance.uniform(20, 400)):
                        await me.acquire()
                        led.add(me.identity)
                        await me.hold()
                except (TimeoutError, LeadershipLost):
                    if chance.random() < 0.5:
                        await me.release()

        lives = [asyncio.ensure_future(live(line)) for line in lines]
        for _ in range(1500):
            if chance.random() < 0.02:
                server.thaw() if server.frozen else server.freeze()
            if chance.random() < 0.05:
                line = chance.choice(lines)
                line.cut = not line.cut
            await asyncio.sleep(chance.random())
            assert sum(each.leading for each in everybody) <= 1
        for each in lives:
            assert not each.done()
            each.cancel()
        assert len(led) > 1

    with structlog.testing.capture_logs():
        chaos()
