"""The keyed work queue between what happens in the cluster and the reconcilers.

A key stands for one object to look at. However many events name it, it waits once; while it is reconciled, further
events make it run once more afterwards, never twice at the same time. A reconcile that raises is tried again after a
delay that doubles; one that returns a time is looked at again then. Everything runs on one event loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from housekeeper_operator.cluster.errors import ClusterError, Conflict, Fenced, Unavailable
from housekeeper_operator.telemetry.metrics import Metrics
from housekeeper_operator.timetable import Timetable

log = structlog.get_logger(__name__)

FIRST_DELAY: Final = 0.2
FIRST_CONFLICT_DELAY: Final = 0.05
LONGEST_DELAY: Final = 60.0
NOISY_CONFLICTS: Final = 6
"""So many conflicts in a row are no longer the usual race, and are logged."""
RECONCILE_LIMIT: Final = 300.0
"""Seconds after which a reconcile is given up: every request has its own, shorter limit, so this is a bug's end."""
_LONGEST_NAP: Final = 30.0
"""The wall clock may be set: look at the timetable at least this often, in seconds."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One object to reconcile. `kind` chooses the reconciler: a policy's kind, MaintenanceRun, Job or Queue."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


Reconcile = Callable[[Key], Awaitable[datetime | None]]
"""Makes what is like what should be, for one key; may run twice. Returns when to look again (UTC), or None."""


class WorkQueue:
    """Runs reconcilers for keys, at most `workers` at a time and never two for one key."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        workers: int = 16,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter` returns numbers in [0, 1). Nothing runs before `start`; keys may be added earlier."""
        self._metrics = metrics
        self._now = now
        self._workers = workers
        self._jitter = jitter
        self._reconcilers: Mapping[str, Reconcile] | None = None
        self._waiting: dict[Key, float] = {}
        self._running: dict[Key, tuple[float, asyncio.Task[None]]] = {}
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timetable: Timetable[Key] = Timetable()
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()
        metrics.workqueue_depth.set_function(lambda: len(self._waiting))
        metrics.workqueue_oldest.set_function(self.oldest_age)
        metrics.workqueue_running.set_function(lambda: len(self._running))

    def __len__(self) -> int:
        """How many keys wait for a worker; those that run or are due later are not counted."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many reconciles are under way."""
        return len(self._running)

    def oldest_age(self) -> float:
        """Seconds that the key in front has waited for a worker."""
        oldest = next(iter(self._waiting.values()), None)
        return 0.0 if oldest is None else self._time() - oldest

    def longest_running(self) -> float:
        """Seconds since the start of the oldest reconcile under way."""
        started = next((start for start, _ in self._running.values()), None)
        return 0.0 if started is None else self._time() - started

    def due_at(self, key: Key) -> datetime | None:
        """When `key` will be looked at again by itself, or None."""
        return self._timetable.get(key)

    def start(self, reconcilers: Mapping[str, Reconcile]) -> None:
        """Begin to reconcile, with one reconciler for each kind of key."""
        self._reconcilers = reconcilers
        self._dispatch()
        self._arm()

    def add(self, key: Key) -> None:
        """Have `key` reconciled as soon as there is a worker; once more if it is being reconciled now."""
        if self._stopping:
            return
        self._timetable.discard(key)
        if key in self._running:
            self._again.add(key)
            return
        if key not in self._waiting:
            self._waiting[key] = self._time()
            self._idle.clear()
            self._dispatch()

    def add_at(self, key: Key, when: datetime) -> None:
        """Have `key` reconciled at `when` (aware), or earlier if it is due earlier. In the past is now."""
        if self._stopping:
            return
        if when <= self._now():
            self.add(key)
        elif self._timetable.add(key, when):
            self._arm()

    async def idle(self) -> None:
        """Wait until nothing waits and nothing runs; what is due later does not count."""
        await self._idle.wait()

    async def stop(self, grace: float) -> bool:
        """Start nothing more, and give what runs `grace` seconds to finish. False if something had to be cancelled."""
        self._stopping = True
        self._waiting.clear()
        self._again.clear()
        if self._timer is not None:
            self._timer.cancel()
        tasks = [task for _, task in self._running.values()]
        if not tasks:
            return True
        _, late = await asyncio.wait(tasks, timeout=grace)
        for task in late:
            task.cancel()
        if late:
            log.warning("Reconciles had to be cancelled", keys=[str(key) for key in self._running])
            await asyncio.gather(*late, return_exceptions=True)
        return not late

    @staticmethod
    def _time() -> float:
        return asyncio.get_running_loop().time()

    def _dispatch(self) -> None:
        if self._reconcilers is None or self._stopping:
            return
        while self._waiting and len(self._running) < self._workers:
            key = next(iter(self._waiting))
            del self._waiting[key]
            task = asyncio.get_running_loop().create_task(self._run(key), name=f"reconcile {key}")
            self._running[key] = (self._time(), task)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._timetable.next_due()
        if self._reconcilers is None or self._stopping or due is None:
            return
        delay = max(0.0, (due - self._now()).total_seconds())
        self._timer = asyncio.get_running_loop().call_later(min(delay, _LONGEST_NAP), self._ring)

    def _ring(self) -> None:
        self._timer = None
        for key in self._timetable.pop_due(self._now()):
            self.add(key)
        self._arm()

    async def _run(self, key: Key) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(kind=key.kind, namespace=key.namespace, name=key.name)
        started = self._time()
        result = "cancelled"
        try:
            result = await self._reconcile(key)
        finally:
            self._metrics.reconciles.labels(key.kind, result).inc()
            self._metrics.reconcile_duration.labels(key.kind).observe(self._time() - started)
            del self._running[key]
            if key in self._again:
                self._again.discard(key)
                if key not in self._failures:
                    self.add(key)
            self._dispatch()
            if not self._waiting and not self._running:
                self._idle.set()

    async def _reconcile(self, key: Key) -> str:
        """Reconcile once and see to what comes next. Returns what the metric calls it."""
        if self._reconcilers is None or key.kind not in self._reconcilers:
            log.error("No reconciler for this kind of key: the event was dropped")
            return "dropped"
        try:
            async with asyncio.timeout(RECONCILE_LIMIT):
                again_at = await self._reconcilers[key.kind](key)
        except Conflict as error:
            failures = self._retry(key, FIRST_CONFLICT_DELAY)
            if failures >= NOISY_CONFLICTS:
                log.warning("Conflicts again and again", failures=failures, error=str(error))
            return "conflict"
        except Fenced:
            return "fenced"
        except Unavailable as error:
            failures = self._retry(key, FIRST_DELAY, at_least=error.retry_after or 0.0)
            log.warning("The API server is not available: trying again", failures=failures, error=str(error))
            return "unavailable"
        except ClusterError as error:
            failures = self._retry(key, FIRST_DELAY)
            log.error(  # noqa: TRY400 - the traceback of a refused request tells nothing
                "The API server refused", failures=failures, error_class=type(error).__name__, error=str(error)
            )
            return "error"
        except Exception as error:  # the edge: whatever a reconciler raises belongs to this key alone
            failures = self._retry(key, FIRST_DELAY)
            log.exception("Reconciling failed", failures=failures, error_class=type(error).__name__)
            return "error"
        self._failures.pop(key, None)
        if again_at is not None:
            self._timetable_add(key, again_at)
        return "ok"

    def _timetable_add(self, key: Key, when: datetime) -> None:
        if when <= self._now():
            self._again.add(key)
        elif not self._stopping and self._timetable.add(key, when):
            self._arm()

    def _retry(self, key: Key, first: float, *, at_least: float = 0.0) -> int:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(LONGEST_DELAY, first * 2.0 ** min(failures - 1, 30))
        delay = max(at_least, delay * (0.5 + 0.5 * self._jitter()))
        self._metrics.workqueue_retries.labels(key.kind).inc()
        if not self._stopping and self._timetable.add(key, self._now() + timedelta(seconds=delay)):
            self._arm()
        return failures
