"""The one place where the operator talks to the API server: plain dictionaries in and out, errors translated once.

Every request has a time limit, and at most `concurrency` are under way at the same time. What a write returns goes into
the store at once, so that whoever looks next sees it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, Literal

import aiohttp

from housekeeper_api.names import FIELD_MANAGER
from housekeeper_operator.cluster.connection import Connection
from housekeeper_operator.cluster.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
)
from housekeeper_operator.cluster.kinds import RESOURCES
from housekeeper_operator.cluster.store import Object, Objects, Store
from housekeeper_operator.telemetry.metrics import Metrics

Propagation = Literal["Background", "Foreground", "Orphan"]

TIME_LIMIT: Final = 30.0
"""Seconds for one request, from the moment it is sent to the last byte of the answer."""
PAGE_SIZE: Final = 100
"""Objects a page of a list: what is parsed takes many times its later size for as long as a page is held."""
_RESTARTS: Final = 3
"""How often a list starts again when the server no longer knows the page that comes next."""
_JSON: Final = "application/json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_APPLY_PATCH: Final = "application/apply-patch+yaml"


class Cluster:
    """One API server. Methods take kinds of `cluster.kinds` and raise what stands in `cluster.errors`."""

    def __init__(
        self,
        connection: Connection,
        *,
        metrics: Metrics,
        store: Store | None = None,
        concurrency: int = 16,
        time_limit: float = TIME_LIMIT,
        page_size: int = PAGE_SIZE,
        fence: Callable[[], None] | None = None,
    ) -> None:
        """Must be made on the event loop that uses it. `fence` is called before each write and may raise Fenced."""
        self._server = connection.server.rstrip("/")
        self._session = connection.session(connections=concurrency)
        self._metrics = metrics
        self._store = store
        self._slots = asyncio.Semaphore(concurrency)
        self._time_limit = time_limit
        self._page_size = page_size
        self._fence = fence

    async def close(self) -> None:
        """Close the connections; requests under way fail."""
        await self._session.close()

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        """The object as it is now. Raises NotFound."""
        obj = await self._request("GET", kind, namespace, name)
        return _complete(kind, obj)

    async def list(
        self,
        kind: str,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> Objects:
        """All objects of a kind, in one namespace or in all; read in pages of one consistent state."""
        for _ in range(_RESTARTS):
            objects: Objects = []
            try:
                async for page, _version in self.pages(
                    kind, namespace=namespace, label_selector=label_selector, field_selector=field_selector
                ):
                    objects += page
            except Expired:
                continue
            return objects
        raise Unavailable(f"list {kind}: the server forgot the list between two pages, {_RESTARTS} times", status=410)

    async def pages(
        self,
        kind: str,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> AsyncGenerator[tuple[Objects, str], None]:
        """Like `list`, page by page, each with the resourceVersion whose state this is: the same for all of them.

        Raises NotFound if the kind is not served, and Expired if the server forgot the list between two pages.
        """
        query = {"limit": str(self._page_size)}
        if label_selector:
            query["labelSelector"] = label_selector
        if field_selector:
            query["fieldSelector"] = field_selector
        while True:
            page = await self._request("GET", kind, namespace, None, query=query, verb="LIST")
            yield [_complete(kind, obj) for obj in page.get("items") or ()], page["metadata"]["resourceVersion"]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return

    async def create(self, kind: str, obj: Object) -> Object:
        """Create the object in `metadata.namespace`. Raises AlreadyExists, Invalid, Forbidden."""
        namespace, name = _address(obj)
        created = await self._request("POST", kind, namespace, None, body=_complete(kind, obj), subject=name)
        return self._remember(kind, created)

    async def apply(self, kind: str, obj: Object, *, force: bool = True) -> Object:
        """Server-side apply with the field manager `housekeeper`: create, or own exactly the fields of `obj`.

        With `force` fields that others own are taken over; without, that raises Conflict.
        """
        namespace, name = _address(obj)
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        body = _complete(kind, obj)
        applied = await self._request("PATCH", kind, namespace, name, body=body, content=_APPLY_PATCH, query=query)
        return self._remember(kind, applied)

    async def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        patch: Mapping[str, Any],
        *,
        subresource: str | None = None,
        resource_version: str | None = None,
    ) -> Object:
        """JSON merge patch. With `resource_version` it raises Conflict if the object is another by now."""
        body = dict(patch)
        if resource_version is not None:
            body["metadata"] = {**body.get("metadata", {}), "resourceVersion": resource_version}
        patched = await self._request(
            "PATCH",
            kind,
            namespace,
            name,
            subresource=subresource,
            body=body,
            content=_MERGE_PATCH,
            query={"fieldManager": FIELD_MANAGER},
        )
        return self._remember(kind, patched)

    async def replace(self, kind: str, obj: Object) -> Object:
        """Put the whole object in place of the one it was read as (`metadata.resourceVersion`). Raises Conflict."""
        namespace, name = _address(obj)
        replaced = await self._request("PUT", kind, namespace, name, body=_complete(kind, obj))
        return self._remember(kind, replaced)

    async def delete(
        self, kind: str, namespace: str, name: str, *, uid: str | None = None, propagation: Propagation = "Background"
    ) -> bool:
        """Delete the object. False if it was already gone. With `uid` it raises Conflict if it is another."""
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            answer = await self._request("DELETE", kind, namespace, name, body=body)
        except NotFound:
            if uid is not None and self._store is not None and self._store.holds(kind):
                self._store.remove(kind, namespace, name, uid)
            return False
        if answer.get("kind") == "Status":
            gone = answer.get("details", {}).get("uid")
            if gone and self._store is not None and self._store.holds(kind):
                self._store.remove(kind, namespace, name, gone)
        else:
            self._remember(kind, answer)  # it goes later: it has a grace period or a finalizer
        return True

    def _remember(self, kind: str, obj: Object) -> Object:
        if self._store is not None and self._store.holds(kind):
            self._store.put(kind, obj)
        return obj

    async def _request(
        self,
        method: str,
        kind: str,
        namespace: str | None,
        name: str | None,
        *,
        subresource: str | None = None,
        body: Object | None = None,
        content: str = _JSON,
        query: dict[str, str] | None = None,
        verb: str | None = None,
        subject: str | None = None,
    ) -> Object:
        resource = RESOURCES[kind]
        verb = verb or ("APPLY" if content == _APPLY_PATCH else method)
        part = f"/{subresource}" if subresource else ""
        what = f"{verb.lower()} {kind}{part} {namespace or '*'}/{name or subject or '*'}"
        async with self._slots:
            if method != "GET" and self._fence is not None:
                self._fence()
            started = time.monotonic()
            code = "network"
            try:
                async with self._session.request(
                    method,
                    self._server + resource.path(namespace, name, subresource),
                    params=query,
                    data=None if body is None else json.dumps(body).encode(),
                    headers={"Accept": _JSON, "Content-Type": content},
                    timeout=aiohttp.ClientTimeout(total=self._time_limit),
                    allow_redirects=False,
                ) as response:
                    status, text = response.status, await response.read()
                    code = str(status)
                    retry_after = response.headers.get("Retry-After")
            except TimeoutError as error:
                code = "timeout"
                raise Unavailable(f"{what}: no answer within {self._time_limit:g}s") from error
            except (aiohttp.ClientError, OSError) as error:
                raise Unavailable(f"{what}: {error or type(error).__name__}") from error
            finally:
                self._metrics.api_requests.labels(verb, kind, code).inc()
                self._metrics.api_duration.labels(verb).observe(time.monotonic() - started)
        answer = _parse(text)
        if status >= 300 or answer is None:
            raise _translate(what, method, status, answer, retry_after)
        return answer


def _address(obj: Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata["namespace"], metadata.get("name", "")


def _complete(kind: str, obj: Object) -> Object:
    # Items of a list lack them, and so may what a caller builds.
    resource = RESOURCES[kind]
    return {"apiVersion": resource.api_version, "kind": resource.kind, **obj}


def _parse(text: bytes) -> Object | None:
    try:
        answer = json.loads(text)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _translate(what: str, method: str, status: int, answer: Object | None, retry_after: str | None) -> ClusterError:
    answer = answer or {}
    message = f"{what}: {answer.get('message') or f'HTTP status {status}'}"
    reason = answer.get("reason")
    details = answer.get("details") or {}
    if status == 404:
        return NotFound(message, status=status)
    if status == 409:
        if reason == "AlreadyExists" or (method == "POST" and reason != "Conflict"):
            return AlreadyExists(message, status=status)
        return Conflict(message, status=status)
    if status == 410:
        return Expired(message, status=status)
    if status in {401, 403}:
        return Forbidden(message, status=status)
    if status == 429 or not 400 <= status < 500:
        asked = retry_after if retry_after and retry_after.isdigit() else details.get("retryAfterSeconds")
        return Unavailable(message, status=status, retry_after=float(asked) if asked else None)
    causes = tuple((cause.get("field", ""), cause.get("message", "")) for cause in details.get("causes") or ())
    return Invalid(message, status=status, causes=causes)
