"""Start and stop of the operator.

settings → logs → probes → leadership → watches → a complete store → reconcilers; and back in the other order when told
to stop: nothing new is begun, what runs finishes, the Lease is given back. A standby does nothing but watch the Lease.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from housekeeper_operator import logs
from housekeeper_operator.cluster.connection import Connection, NoCluster
from housekeeper_operator.cluster.events import Recorder
from housekeeper_operator.cluster.kinds import WATCHED_KINDS
from housekeeper_operator.cluster.lease import EXIT_LOST, Leadership, LeadershipLost, request_limit
from housekeeper_operator.cluster.port import Cluster
from housekeeper_operator.cluster.store import Object, Store
from housekeeper_operator.context import Context
from housekeeper_operator.resync import Resync
from housekeeper_operator.settings import InvalidSetting, Settings
from housekeeper_operator.telemetry.http import LoopLag, Server, too_old
from housekeeper_operator.telemetry.metrics import Metrics
from housekeeper_operator.watches import CLIENT_TIMEOUT, Watches, WatchesEnded
from housekeeper_operator.workqueue import RECONCILE_LIMIT, Key, Reconcile, WorkQueue

log = structlog.get_logger(__name__)

Build = Callable[[Context], Mapping[str, Reconcile]]
KeysFor = Callable[[str, Object], list[Key]]

GRACE: Final = 6.0
"""Seconds for reconciles to finish after SIGTERM; with what follows the process ends within 10."""
FLUSH_LIMIT: Final = 1.0
QUEUE_LIMIT: Final = 600.0
"""Seconds that a key may wait for a worker before the process counts as stuck."""


class Operator:
    """One process of the operator, with the reconcilers given to it."""

    def __init__(self, settings: Settings, connection: Connection, build: Build, keys_for: KeysFor) -> None:
        self._settings = settings
        self._build = build
        self._keys_for = keys_for
        self._state = "Starting."
        self.metrics = Metrics()
        # A connection of its own, so that a renewal never waits behind work.
        self._lease_cluster = Cluster(
            connection, metrics=self.metrics, concurrency=2, time_limit=request_limit(settings.lease_duration)
        )
        self._leadership = Leadership(
            self._lease_cluster,
            namespace=settings.namespace,
            name=settings.lease_name,
            identity=settings.pod_name,
            duration=settings.lease_duration,
            metrics=self.metrics,
        )
        self.store = Store()
        self._cluster = Cluster(connection, metrics=self.metrics, store=self.store, fence=self._leadership.check)
        self._recorder = Recorder(self._cluster, instance=settings.pod_name, metrics=self.metrics, now=utc_now)
        self._queue = WorkQueue(metrics=self.metrics, now=utc_now, workers=settings.workers)
        self._resync = Resync(
            self._cluster,
            self.store,
            namespaces=settings.namespaces,
            interval=settings.resync_interval,
            metrics=self.metrics,
        )
        self._watches = Watches(
            connection,
            self.store,
            namespaces=settings.namespaces,
            metrics=self.metrics,
            on_listed=self._resync.watch_listed,
        )
        self.server = Server(settings.http_address, self.metrics)
        self._lag = LoopLag()

    async def run(self, stop: asyncio.Event) -> int:
        """Run until `stop` is set or the leadership is lost. Returns the exit code."""
        self._add_probes()
        tasks: list[asyncio.Task[Any]] = []

        def begin(coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
            tasks.append(asyncio.create_task(coroutine, name=name))
            return tasks[-1]

        begin(self._lag.run(), "loop lag")
        stopping = begin(stop.wait(), "stop")
        try:
            await self.server.start()
            acquiring = begin(self._leadership.acquire(), "acquire")
            self._state = ""
            await asyncio.wait({stopping, acquiring}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                return 0
            begin(self._leadership.hold(), "hold")
            begin(self._recorder.run(), "recorder")
            begin(self._work(), "work")
            done, _ = await asyncio.wait({*tasks} - {acquiring}, return_when=asyncio.FIRST_COMPLETED)
            return self._ending(done)
        finally:
            self._state = "Stopping."
            if stopping.done():
                await self._finish_work()
            else:
                await self._queue.stop(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._leadership.release()
            await self.server.stop()
            await self._cluster.close()
            await self._lease_cluster.close()

    async def _work(self) -> None:
        """As the leader: fill the store, reconcile everything, then whatever changes."""
        self._state = "Waiting for the custom resources and the first full list."
        self.store.subscribe(self._changed)
        async with asyncio.TaskGroup() as group:
            await self._resync.served()
            group.create_task(self._watches.run(), name="watches")
            await self._resync.complete()
            context = Context(
                cluster=self._cluster,
                store=self.store,
                recorder=self._recorder,
                queue=self._queue,
                settings=self._settings,
                metrics=self.metrics,
                now=utc_now,
            )
            self._queue.start(self._build(context))
            self._state = ""
            log.info("Reconciling", objects={kind: self.store.count(kind) for kind in WATCHED_KINDS})
            # What was made until now mostly stays: keep the collector from walking it again and again.
            gc.collect()
            gc.freeze()
            group.create_task(self._resync.run(), name="resync")

    def _changed(self, kind: str, obj: Object) -> None:
        for key in self._keys_for(kind, obj):
            self._queue.add(key)

    async def _finish_work(self) -> None:
        """At SIGTERM: begin nothing, let finish what runs, send what is recorded."""
        log.info("Stopping", running=self._queue.running)
        finished = await self._queue.stop(GRACE)
        if self._leadership.leading:
            await self._recorder.flush(FLUSH_LIMIT)
        log.info("Stopped", finished=finished)

    @staticmethod
    def _ending(done: set[asyncio.Task[Any]]) -> int:
        for task in done:
            error = task.exception()
            if isinstance(error, LeadershipLost):
                log.error("Leadership lost: ending this process", error=str(error))
                return EXIT_LOST
            if isinstance(error, ExceptionGroup) and (ended := error.subgroup(WatchesEnded)) is not None:
                log.error("The watches ended: ending this process, to begin anew", error=str(ended.exceptions[0]))
                return 1
            if error is not None:
                raise error
        return 0

    def _add_probes(self) -> None:
        self.server.healthy += [
            self._lag.problem,
            too_old("A key has waited for a worker", self._queue_age, QUEUE_LIMIT),
            too_old("A reconcile has been under way", self._queue.longest_running, RECONCILE_LIMIT + 60),
            *(
                too_old(
                    f"No watch of {kind} was heard of", functools.partial(self._watches.age, kind), 2 * CLIENT_TIMEOUT
                )
                for kind in WATCHED_KINDS
            ),
        ]
        self.server.ready += [
            lambda: self._state or None,
            too_old("The API server has not answered", self._leadership.silence, 2 * self._settings.lease_duration),
        ]

    def _queue_age(self) -> float:
        # Before the first full list nothing is taken from the queue, and that is as it should be.
        return 0.0 if self._state else self._queue.oldest_age()


def utc_now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


async def run(settings: Settings, build: Build, keys_for: KeysFor) -> int:
    """Connect and run until SIGTERM, SIGINT or the loss of leadership. Returns the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        connection = await Connection.load()
        return await Operator(settings, connection, build, keys_for).run(stop)
    except (NoCluster, OSError) as error:
        log.error("Cannot start", error=str(error))  # noqa: TRY400 - a sentence says it
        return 1
    except Exception:  # the edge: a bug ends the process, and its last words are a log line like all others
        log.exception("Ending because of an unexpected error")
        return 1


def main() -> int:
    """The command `housekeeper-operator`."""
    try:
        settings = Settings.from_environment(os.environ)
    except InvalidSetting as error:
        sys.stderr.write(f"housekeeper-operator: {error}\n")
        return os.EX_USAGE
    logs.configure(settings.log_level)
    # Here, so that settings are judged in no time, and so that tests can run with reconcilers of their own.
    from housekeeper_operator import reconcilers, routing  # noqa: PLC0415

    return asyncio.run(run(settings, reconcilers.build, routing.keys_for))


if __name__ == "__main__":
    sys.exit(main())
