"""The only file that knows kopf: its watches become changes in the store.

kopf lists and watches, resumes and reconnects; nothing else of it is used. It runs on a thread with an event loop of
its own, because it cancels every task of its loop when it ends. Everything that it brings crosses over to the event
loop of the operator.

It ends by itself when it cannot go on: when a custom resource is taken away while it is watched, for example, or a
right. It may hang while it ends, and cannot be begun again then: `run` raises, and the process should end.

What kopf cannot tell is which objects went away while it did not watch. Whenever it lists anew, `on_listed` is called,
so that somebody compares (`resync`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, Final, NoReturn, cast

import aiohttp
import kopf
import structlog

from housekeeper_operator.cluster.connection import Connection
from housekeeper_operator.cluster.kinds import RESOURCES, WATCHED_KINDS, selector_of
from housekeeper_operator.cluster.store import Object, Store
from housekeeper_operator.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

Listed = Callable[[str, str | None], None]
"""Called with (kind, namespace or None for all) after a watch has listed and before it streams."""

SERVER_TIMEOUT: Final = 290
"""Seconds after which the API server ends a watch, to be opened anew."""
CLIENT_TIMEOUT: Final = 320
INACTIVITY_TIMEOUT: Final = 75
"""Seconds without so much as a bookmark (the server sends one a minute), after which a watch is taken for dead."""
STOP_LIMIT: Final = 3.0
DISCOVERY_LIMIT: Final = 30.0
"""Seconds after which every kind must at least have been asked for."""

Failed = Callable[[BaseException | None], None]


class WatchesEnded(Exception):
    """There are no watches any more. The text says why."""


class Watches:
    """Watches of all kinds of `WATCHED_KINDS`, in all namespaces or in those given."""

    def __init__(
        self, connection: Connection, store: Store, *, namespaces: tuple[str, ...], metrics: Metrics, on_listed: Listed
    ) -> None:
        self._connection = connection
        self._store = store
        self._namespaces = namespaces
        self._metrics = metrics
        self._on_listed = on_listed
        self._paths: dict[str, tuple[str, str | None]] = {
            RESOURCES[kind].path(namespace): (kind, namespace)
            for kind in WATCHED_KINDS
            for namespace in (namespaces or (None,))
        }
        self._heard: dict[str, float] = {}
        self._listing: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        for kind in WATCHED_KINDS:
            metrics.watch_age.labels(kind).set_function(functools.partial(self.age, kind))

    def age(self, kind: str) -> float:
        """Seconds since the quietest watch of this kind brought something or was opened; 0 before the first time."""
        heard = [self._heard[path] for path, (of, _) in self._paths.items() if of == kind and path in self._heard]
        return time.monotonic() - min(heard) if heard else 0.0

    async def run(self) -> NoReturn:
        """Watch until cancelled. Raises WatchesEnded."""
        self._loop = asyncio.get_running_loop()
        thread = _Thread(self._operate)
        try:
            await self._until_it_ends(thread)
        finally:
            await thread.stop()
        raise WatchesEnded(thread.error)

    async def _until_it_ends(self, thread: _Thread) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCOVERY_LIMIT):
                await thread.failed.wait()
        unknown = {kind for path, (kind, _) in self._paths.items() if path not in self._listing | self._heard.keys()}
        if unknown and not thread.failed.is_set():
            # It discovers what the server serves only once, and a new kind may be missing from what the server tells.
            thread.error = f"not watched after {DISCOVERY_LIMIT:g}s: {', '.join(sorted(unknown))}"
            return
        await thread.failed.wait()

    # On the event loop of the operator.

    def _take(self, kind: str, type_: str | None, obj: Object) -> None:
        self._metrics.watch_events.labels(kind, type_ or "LISTED").inc()
        if type_ == "DELETED":
            metadata = obj["metadata"]
            self._store.remove(kind, metadata["namespace"], metadata["name"], metadata["uid"])
        else:
            self._store.put(kind, obj)

    # On the thread of the watches.

    async def _operate(self, stop: asyncio.Event, failed: Failed) -> None:
        registry = kopf.OperatorRegistry()
        for kind in WATCHED_KINDS:
            resource = RESOURCES[kind]
            kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=kind)(
                functools.partial(self._on_event, kind)
            )
        kopf.on.login(registry=registry)(self._login)
        # It warns that it is not on the main thread, which is as it should be: signals are main's.
        logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=_settings(),
            standalone=True,
            # kopf would ask who runs it, and a pod's uid need not have a name.
            identity=cast("Any", "housekeeper"),
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=stop,
        )
        # Any of them that ends, ends all; how long that takes, and whether it succeeds, is not waited for.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        failed(next((error for task in done if (error := task.exception()) is not None), None))
        current = asyncio.current_task()
        await kopf.run_tasks(tasks, ignored=() if current is None else (current,))

    async def _on_event(self, kind: str, *, event: Any, **_: Any) -> None:
        path = RESOURCES[kind].path(event["object"]["metadata"]["namespace"] if self._namespaces else None)
        self._heard[path] = time.monotonic()
        self._cross(self._take, kind, event["type"], event["object"])

    async def _login(self, **_: Any) -> kopf.AiohttpSession:
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._request_starts)
        trace.on_request_end.append(self._request_ends)
        session = self._connection.session(connections=0, trace_configs=(trace,))
        return kopf.AiohttpSession(server=self._connection.server, aiohttp_session=session)

    async def _request_starts(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, request: aiohttp.TraceRequestStartParams
    ) -> None:
        """Tell a list from a watch: a watch that is opened after a list means that everything was just listed."""
        path = request.url.path
        if path not in self._paths:
            return
        if "watch" not in request.url.query:
            self._listing.add(path)
            return
        self._heard[path] = time.monotonic()
        if path in self._listing:
            self._listing.discard(path)
            self._cross(self._on_listed, *self._paths[path])

    async def _request_ends(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, request: aiohttp.TraceRequestEndParams
    ) -> None:
        if request.url.path in self._paths:
            kind, _ = self._paths[request.url.path]
            verb = "WATCH" if "watch" in request.url.query else "LIST"
            self._metrics.api_requests.labels(verb, kind, str(request.response.status)).inc()

    def _cross(self, call: Callable[..., Any], *arguments: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)


class _Thread:
    """kopf's thread with its event loop, made and ended from the operator's event loop."""

    def __init__(self, operate: Callable[[asyncio.Event, Failed], Coroutine[Any, Any, None]]) -> None:
        self.error = "it ended by itself"
        self.failed = asyncio.Event()
        self._gone = asyncio.Event()
        self._outer = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._stopped = False
        self._inner: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._operate = operate
        threading.Thread(target=self._run, name="watches", daemon=True).start()

    async def stop(self) -> None:
        """End it, and wait for that at most STOP_LIMIT seconds."""
        with self._lock:
            self._stopped = True
            if self._inner is not None and self._stop is not None:
                self._inner.call_soon_threadsafe(self._stop.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_LIMIT):
                await self._gone.wait()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception as error:  # noqa: BLE001 - whatever ended it, it is told to whoever waits
            self._fail(error)
        finally:
            self._cross(self.failed.set)
            self._cross(self._gone.set)

    async def _main(self) -> None:
        with self._lock:
            self._inner, self._stop = asyncio.get_running_loop(), asyncio.Event()
            if self._stopped:
                return
        try:
            await self._operate(self._stop, self._fail)
        finally:
            with self._lock:
                self._inner = None

    def _fail(self, error: BaseException | None) -> None:
        if error is not None:
            self.error = f"{type(error).__name__}: {error}"
        self._cross(self.failed.set)

    def _cross(self, call: Callable[[], Any]) -> None:
        if not self._outer.is_closed():
            self._outer.call_soon_threadsafe(call)


class _NoDifferences(kopf.DiffBaseStorage):
    """Keeps no last-seen state of any object, and compares with none. The arguments are kopf's."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:  # noqa: ARG002
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is stored."""


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.queueing.idle_timeout = 0.2
    settings.watching.chunk_size = 100
    settings.watching.server_timeout = SERVER_TIMEOUT
    settings.watching.client_timeout = CLIENT_TIMEOUT
    settings.watching.inactivity_timeout = INACTIVITY_TIMEOUT
    # Nothing here looks at differences, and to prepare for them takes longer than all the rest of an event.
    settings.persistence.diffbase_storage = _NoDifferences()
    # Never used, as nothing here makes kopf write; should a later handler do, it must not carry the framework's name.
    settings.persistence.finalizer = "housekeeper.dev/unused"
    settings.process.ultimate_exiting_timeout = None  # it would kill the process; when to end is main's to say
    for kind in WATCHED_KINDS:
        selector = selector_of(kind)
        if selector is not None:
            resource = RESOURCES[kind]
            settings.watching.label_selectors[resource.group, resource.version, resource.plural] = selector
    return settings
