"""Leadership: one replica works, the others wait, by a coordination.k8s.io Lease.

The client library's own election keeps believing in itself when the API server freezes, and ends at the first failed
renewal; this one is small, and built around three promises:

- A leader counts from the moment *before* it sent its last successful renewal, the others from the moment *after* they
  saw it. The leader gives up after two thirds of the lease's duration, the others wait for all of it.
- Giving up is enforced three times: `hold` raises, `check` refuses every further write, and a thread ends the process
  if the event loop does neither (a process that was frozen and wakes up again).
- The identity is drawn anew by every process, so that nobody mistakes another's lease for its own.

The clock is CLOCK_BOOTTIME: it goes on while the machine sleeps, and nobody sets it. What remains is a write that was
already sent when the process froze; those that end something carry a resourceVersion for that reason.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NoReturn, Protocol

import structlog

from housekeeper_operator.cluster.errors import AlreadyExists, ClusterError, Conflict, Fenced, NotFound
from housekeeper_operator.cluster.kinds import LEASE
from housekeeper_operator.cluster.store import Object
from housekeeper_operator.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

POLL_SHARE: Final = 1 / 15
"""How often a standby reads the Lease, as a share of its duration: every second where that is 15 seconds."""
EXIT_LOST: Final = 1
"""Exit code of a process that lost the leadership."""


def boot_time() -> float:
    """Seconds on a clock that never stops and is never set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeadershipLost(Exception):
    """Another replica leads, or soon may. The process must end now."""


class LeaseAPI(Protocol):
    """What the election needs of `cluster.port.Cluster`."""

    async def get(self, kind: str, namespace: str, name: str) -> Object: ...
    async def create(self, kind: str, obj: Object) -> Object: ...
    async def replace(self, kind: str, obj: Object) -> Object: ...


class Leadership:
    """The part of one process in the election. Use: `acquire`, then `hold` beside the work, at the end `release`."""

    def __init__(
        self,
        cluster: LeaseAPI,
        *,
        namespace: str,
        name: str,
        identity: str,
        duration: float,
        metrics: Metrics,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = boot_time,
        end_process: Callable[[], NoReturn] | None = None,
    ) -> None:
        """`cluster` should be one of its own, so that renewals never queue behind work; its time limit should be
        `request_limit(duration)`. `identity` is the pod's name; a random part is added. `duration` in seconds.
        """
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self.identity = f"{identity}_{uuid.uuid4().hex[:8]}"
        self._duration = math.ceil(duration)
        self._deadline = self._duration * 2 / 3
        self._interval = request_limit(duration)
        self._expires_at = 0.0
        self._metrics = metrics
        self._now = now
        self._clock = clock
        self._end_process = end_process or _end_process
        self._lease: Object | None = None
        self._observed: tuple[str, str] | None = None
        self._observed_at = 0.0
        self._renewed_at: float | None = None
        self._lost = False
        self._let_go = threading.Event()
        self.last_contact: float | None = None
        """When the API server last answered, on `clock`; None before the first time."""
        metrics.leader.set_function(lambda: float(self.leading))

    @property
    def leading(self) -> bool:
        """Whether this process may act as the leader at this moment."""
        return not self._lost and self._time_left() > 0

    def check(self) -> None:
        """Raise Fenced unless this process leads. Called before every write."""
        if not self.leading:
            raise Fenced("not sent: this replica is not the leader")

    def silence(self) -> float:
        """Seconds since the API server last answered about the Lease; infinite before the first answer."""
        return math.inf if self.last_contact is None else self._clock() - self.last_contact

    async def acquire(self) -> None:
        """Wait until the Lease is free or expired, and take it. Errors are logged and tried again, for ever."""
        problem = ""
        while True:
            try:
                if await self._try_to_acquire():
                    break
                problem = ""
            except ClusterError as error:
                if str(error) != problem:
                    problem = str(error)
                    log.warning("Cannot read or take the Lease: trying again", error=problem)
            # A lease that runs out is taken at that moment, one that is released within a poll.
            left = self._expires_at - self._clock()
            await asyncio.sleep(min(self._duration * POLL_SHARE, left) if left > 0 else self._duration * POLL_SHARE)
        threading.Thread(target=self._guard, name="leadership-guard", daemon=True).start()
        log.info("This replica leads", identity=self.identity)

    async def hold(self) -> NoReturn:
        """Renew the Lease until that fails for too long. Raises LeadershipLost."""
        try:
            await self._renew_for_ever()
        except LeadershipLost:
            self._lost = True
            raise

    async def _renew_for_ever(self) -> NoReturn:
        pause = self._interval
        while True:
            await asyncio.sleep(min(pause, max(0.0, self._time_left())))
            left = self._time_left()
            if left <= 0:
                raise LeadershipLost(f"the Lease could not be renewed for {self._deadline:g}s")
            try:
                async with asyncio.timeout(left):
                    await self._renew()
                pause = self._interval
            except (TimeoutError, ClusterError) as error:
                left = round(self._time_left(), 1)
                log.warning("The Lease could not be renewed", error=str(error), seconds_left=left)
                pause = self._interval / 4

    async def release(self) -> None:
        """Give the Lease back, so that another replica takes over at once. No write passes `check` any more."""
        if self._lost or self._renewed_at is None or self._lease is None:
            return
        self._let_go.set()
        self._renewed_at = None
        spec = {**self._lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._micro_time()}
        try:
            await self._cluster.replace(LEASE, {**self._lease, "spec": spec})
        except ClusterError as error:
            log.warning("The Lease could not be released: it expires by itself", error=str(error))
        else:
            log.info("Leadership released")

    async def _try_to_acquire(self) -> bool:
        started = self._clock()
        try:
            lease = await self._cluster.get(LEASE, self._namespace, self._name)
        except NotFound:
            self._contact()
            metadata = {"namespace": self._namespace, "name": self._name}
            spec = self._spec(transitions=0, acquired=self._micro_time())
            try:
                return self._holds(await self._cluster.create(LEASE, {"metadata": metadata, "spec": spec}), started)
            except AlreadyExists:
                return False
        self._contact()
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        seen = (holder, lease["metadata"]["resourceVersion"])
        if seen != self._observed:
            if self._observed is None or self._observed[0] != holder:
                log.info("Waiting as a standby" if holder else "The Lease is free", holder=holder)
            self._observed, self._observed_at = seen, self._clock()
        self._expires_at = self._observed_at + float(spec.get("leaseDurationSeconds") or self._duration)
        if holder not in {"", self.identity} and self._clock() < self._expires_at:
            return False
        taken = self._spec(transitions=int(spec.get("leaseTransitions") or 0) + 1, acquired=self._micro_time())
        started = self._clock()
        try:
            return self._holds(await self._cluster.replace(LEASE, {**lease, "spec": taken}), started)
        except Conflict:
            return False

    async def _renew(self) -> None:
        """Renew once. Raises LeadershipLost if the Lease is another's."""
        lease = self._lease
        while True:
            if lease is None:
                raise LeadershipLost("there is no Lease to renew")
            started = self._clock()
            spec = {**lease["spec"], "renewTime": self._micro_time()}
            try:
                self._holds(await self._cluster.replace(LEASE, {**lease, "spec": spec}), started)
            except Conflict:
                lease = await self._cluster.get(LEASE, self._namespace, self._name)
                self._contact()
                holder = lease.get("spec", {}).get("holderIdentity")
                if holder != self.identity:
                    raise LeadershipLost(f"the Lease is held by {holder or 'nobody'}") from None
                # Somebody put a label on it, or the answer to a renewal was lost: renew on top of that, at once.
            except NotFound:
                # Deleted by hand. Whoever creates it first leads; if that is us, nothing happened.
                metadata = {"namespace": self._namespace, "name": self._name}
                try:
                    self._holds(await self._cluster.create(LEASE, {"metadata": metadata, "spec": spec}), started)
                except AlreadyExists:
                    raise LeadershipLost("the Lease was deleted, and another replica made a new one") from None
                return
            else:
                return

    def _holds(self, lease: Object, started: float) -> bool:
        self._contact()
        self._lease = lease
        self._renewed_at = started
        return True

    def _contact(self) -> None:
        self.last_contact = self._clock()

    def _time_left(self) -> float:
        return -1.0 if self._renewed_at is None else self._renewed_at + self._deadline - self._clock()

    def _spec(self, *, transitions: int, acquired: str) -> Object:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._duration,
            "acquireTime": acquired,
            "renewTime": acquired,
            "leaseTransitions": transitions,
        }

    def _micro_time(self) -> str:
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _guard(self) -> None:
        """On a thread of its own: end the process if it should have given up and is still here."""
        grace = (self._duration - self._deadline) / 4
        while True:
            left = self._time_left() + grace
            if self._let_go.wait(timeout=max(0.0, left)):
                return
            if self._time_left() + grace <= 0 and not self._let_go.is_set():
                self._end_process()


def request_limit(duration: float) -> float:
    """Seconds that one request about a Lease of this duration may take, and between two of them."""
    return duration / 6


def _end_process() -> NoReturn:
    sys.stderr.write('{"level": "error", "msg": "The Lease was not renewed in time: ending this process at once"}\n')
    sys.stderr.flush()
    os._exit(EXIT_LOST)
