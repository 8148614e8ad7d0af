"""What the port makes of answers that a healthy API server rarely gives: a small HTTP server gives them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from housekeeper_operator.cluster.connection import Connection
from housekeeper_operator.cluster.errors import ClusterError, Expired, Forbidden, Invalid, NotFound, Unavailable
from housekeeper_operator.cluster.kinds import CLEANUP_POLICY, JOB
from housekeeper_operator.cluster.port import Cluster
from housekeeper_operator.cluster.store import Store
from housekeeper_operator.resync import Resync
from housekeeper_operator.telemetry.metrics import Metrics

Answer = Callable[[web.Request], Awaitable[web.Response]]


@dataclass
class Api:
    """Gives `answers` one after the other, the last again and again; knows what was asked."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[web.Request] = field(default_factory=list)
    active: int = 0
    most_active: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            return await (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(request)
        finally:
            self.active -= 1


def saying(status: int, body: Any, **headers: str) -> Answer:
    async def answer(_request: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(
            status=status, text=text, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    return answer


def page(names: str, following: str = "") -> Answer:
    items = [{"metadata": {"namespace": "team", "name": name, "uid": name, "resourceVersion": "1"}} for name in names]
    return saying(200, {"items": items, "metadata": {"resourceVersion": "7", "continue": following}})


@pytest.fixture
async def api() -> Api:
    return Api()


@pytest.fixture
async def port(api: Api) -> AsyncIterator[Cluster]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    configuration.api_key = {"BearerToken": "Bearer secret"}
    cluster = Cluster(Connection(configuration), metrics=Metrics(), concurrency=4, time_limit=0.5)
    yield cluster
    await cluster.close()
    await runner.cleanup()


@pytest.mark.parametrize(
    ("answer", "error", "message", "retry_after"),
    [
        (saying(429, {"message": "slow down"}, Retry_After="3"), Unavailable, "slow down", 3.0),
        (saying(429, {"message": "later", "details": {"retryAfterSeconds": 2}}), Unavailable, "later", 2.0),
        (saying(429, "Too many requests"), Unavailable, "HTTP status 429", None),
        (saying(500, {"message": "etcdserver: request timed out"}), Unavailable, "request timed out", None),
        (saying(503, "<html>gateway</html>", Retry_After="soon"), Unavailable, "HTTP status 503", None),
        (saying(200, "not JSON"), Unavailable, "HTTP status 200", None),
        (saying(200, [1]), Unavailable, "HTTP status 200", None),
        (saying(302, "", Location="http://127.0.0.1:1/"), Unavailable, "HTTP status 302", None),
        (saying(401, {"message": "Unauthorized"}), Forbidden, "Unauthorized", None),
        (saying(403, {"message": "not yours"}), Forbidden, "not yours", None),
        (saying(404, "404 page not found"), NotFound, "HTTP status 404", None),
        (saying(415, {"message": "unsupported"}), Invalid, "unsupported", None),
    ],
)
async def test_every_answer_has_its_class(
    api: Api, port: Cluster, answer: Answer, error: type[ClusterError], message: str, retry_after: float | None
) -> None:
    api.answers = [answer]
    with pytest.raises(error) as raised:
        await port.get(JOB, "team", "x")

    assert str(raised.value) == f"get Job team/x: {message}" or message in str(raised.value)
    assert str(raised.value).startswith("get Job team/x: ")
    assert getattr(raised.value, "retry_after", None) == retry_after
    assert "secret" not in str(raised.value)


async def test_no_answer_and_no_server_are_unavailable(api: Api, port: Cluster) -> None:
    async def silence(_request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    api.answers = [silence]
    with pytest.raises(Unavailable, match=r"^get Job team/x: no answer within 0\.5s$"):
        await port.get(JOB, "team", "x")

    nobody = Cluster(Connection(Configuration(host="http://127.0.0.1:1")), metrics=Metrics())
    with pytest.raises(Unavailable, match=r"^get Job team/x: .*Connect"):
        await nobody.get(JOB, "team", "x")
    await nobody.close()


async def test_requests_carry_the_credentials_and_go_where_the_kind_is_served(api: Api, port: Cluster) -> None:
    api.answers = [saying(200, {"metadata": {}})]
    await port.patch(CLEANUP_POLICY, "team", "x", {"status": {}}, subresource="status", resource_version="5")

    (request,) = api.asked
    assert (request.method, request.path) == (
        "PATCH",
        "/apis/housekeeper.dev/v1alpha1/namespaces/team/cleanuppolicies/x/status",
    )
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["Content-Type"] == "application/merge-patch+json"
    assert request.query == {"fieldManager": "housekeeper"}


async def test_no_more_requests_are_under_way_than_allowed(api: Api, port: Cluster) -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        return web.json_response({"metadata": {}})

    api.answers = [slow]
    await asyncio.gather(*(port.get(JOB, "team", str(number)) for number in range(20)))

    assert len(api.asked) == 20
    assert api.most_active == 4


async def test_a_list_that_the_server_forgot_between_two_pages_is_begun_again(api: Api, port: Cluster) -> None:
    forgotten = saying(410, {"message": "The provided continue parameter is too old", "reason": "Expired"})
    api.answers = [page("ab", "next"), forgotten, page("cd", "next"), page("e")]

    assert [obj["metadata"]["name"] for obj in await port.list(JOB)] == ["c", "d", "e"]
    assert [request.query.get("continue") for request in api.asked] == [None, "next", None, "next"]

    api.answers = [forgotten]
    with pytest.raises(Unavailable, match="the server forgot the list"):
        await port.list(JOB)
    with pytest.raises(Expired):
        await anext(port.pages(JOB))


async def test_missing_definitions_are_waited_for_and_told_once(
    api: Api, port: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("housekeeper_operator.resync.RETRY_DELAY", 0.001)
    absent = saying(404, "404 page not found")
    api.answers = [absent, absent, absent, saying(403, {"message": "not yet"}), page("")]
    resync = Resync(port, Store(), namespaces=("team",), interval=600, metrics=Metrics())
    with structlog.testing.capture_logs() as logged:
        await resync.served()

    assert [line["error"].split(" (")[0] for line in logged] == [
        "the CustomResourceDefinitions of housekeeper.dev are not installed",
        "list CleanupPolicy team/*: not yet",
    ]
