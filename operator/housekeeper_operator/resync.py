"""Full lists: at the start, after a gap of a watch, and every few minutes. They repair what no event told."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import Final

import structlog

from housekeeper_operator.cluster.errors import ClusterError, NotFound
from housekeeper_operator.cluster.kinds import OWN_KINDS, WATCHED_KINDS, selector_of
from housekeeper_operator.cluster.port import Cluster
from housekeeper_operator.cluster.store import Store
from housekeeper_operator.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

SETTLE: Final = 1.0
"""Seconds between the news of a gap and the list, so that several gaps are repaired at once."""
RETRY_DELAY: Final = 5.0

Part = tuple[str, str | None]
"""A kind, and the namespace it is listed in (None: all)."""


class Resync:
    """Lists all kinds of `WATCHED_KINDS` and compares them with the store, whose listeners hear what differs."""

    def __init__(
        self, cluster: Cluster, store: Store, *, namespaces: tuple[str, ...], interval: float, metrics: Metrics
    ) -> None:
        """`interval` in seconds between two full comparisons."""
        self._cluster = cluster
        self._store = store
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._interval = interval
        self._metrics = metrics
        self._parts: tuple[Part, ...] = tuple((kind, place) for kind in WATCHED_KINDS for place in self._namespaces)
        self._listed: set[Part] = set()
        self._all_listed = asyncio.Event()
        self._wanted: set[Part] = set()
        self._wake = asyncio.Event()
        self._repairing = False
        for kind in WATCHED_KINDS:
            metrics.store_objects.labels(kind).set_function(functools.partial(store.count, kind))

    async def served(self) -> None:
        """Return when the API server serves our kinds, and says so to us. Logs what is missing, once."""
        problem = ""
        while True:
            try:
                for kind in OWN_KINDS:
                    async with contextlib.aclosing(self._cluster.pages(kind, namespace=self._namespaces[0])) as pages:
                        await anext(pages)
            except NotFound:
                error = "the CustomResourceDefinitions of housekeeper.dev are not installed (the chart installs them)"
            except ClusterError as failed:
                error = str(failed)
            else:
                return
            if error != problem:
                problem = error
                log.error("Waiting for the API server", error=error)
            await asyncio.sleep(RETRY_DELAY)

    def watch_listed(self, kind: str, namespace: str | None) -> None:
        """A watch listed (again) and streams from now on: what went away before is to be found out."""
        self._listed.add((kind, namespace))
        if len(self._listed) == len(self._parts):
            self._all_listed.set()
        self._wanted.add((kind, namespace))
        self._wake.set()

    async def complete(self) -> None:
        """Return when the store is complete: every watch streams, and everything was listed after that."""
        await self._all_listed.wait()
        while True:
            self._wanted.clear()
            try:
                await self._compare(self._parts)
            except ClusterError as error:
                log.warning("Cannot list everything yet: trying again", error=str(error))
                await asyncio.sleep(RETRY_DELAY)
            else:
                self._repairing = True
                return

    async def run(self) -> None:
        """After `complete`: compare every interval, and after each gap. Runs until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
                    await asyncio.sleep(SETTLE)
            self._wake.clear()
            everything = loop.time() >= due
            parts = self._parts if everything else tuple(self._wanted)
            self._wanted.clear()
            try:
                await self._compare(parts)
            except ClusterError as error:
                log.warning("Cannot compare with the API server: trying again", error=str(error))
                self._wanted.update(parts)
                await asyncio.sleep(RETRY_DELAY)
                self._wake.set()
                continue
            if everything:
                due = loop.time() + self._interval

    async def _compare(self, parts: tuple[Part, ...]) -> None:
        for kind, namespace in parts:
            differences = await self._compare_part(kind, namespace)
            if differences and self._repairing:
                self._metrics.resync_differences.labels(kind).inc(differences)
                log.info("A full list differed from what the watches had told", objects=kind, differences=differences)

    async def _compare_part(self, kind: str, namespace: str | None) -> int:
        differences, state = 0, "0"
        listed: set[str] = set()
        async for page, state in self._cluster.pages(kind, namespace=namespace, label_selector=selector_of(kind)):  # noqa: B007 - the last one counts
            for obj in page:
                listed.add(obj["metadata"]["uid"])
                differences += self._store.put(kind, obj)
        return differences + self._store.prune(kind, listed=listed, resource_version=state, namespace=namespace)
