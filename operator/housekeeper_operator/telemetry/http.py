"""One small HTTP server: /metrics for Prometheus, /healthz and /readyz for the kubelet.

/healthz answers 503, with the reason in a sentence, when the process is stuck and a restart is the remedy; an API
server that is down is none. /readyz answers 503 while the process does not do what it is there for.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from housekeeper_operator.settings import Address
from housekeeper_operator.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

Probe = Callable[[], str | None]
"""Returns what is wrong, as a sentence, or None."""

LAG_INTERVAL: Final = 1.0
LAG_LIMIT: Final = 10.0
"""Seconds by which the event loop may be late before it counts as stuck."""


class LoopLag:
    """Measures how late the event loop is."""

    def __init__(self) -> None:
        self._lag = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(LAG_INTERVAL)
            self._lag = loop.time() - before - LAG_INTERVAL

    def problem(self) -> str | None:
        """The probe of it."""
        return f"The event loop is {self._lag:.0f}s late." if self._lag > LAG_LIMIT else None


def too_old(what: str, age: Callable[[], float], limit: float) -> Probe:
    """A probe that fails when `age()` is above `limit` seconds: "WHAT for Ns (limit Ms)."."""

    def problem() -> str | None:
        seconds = age()
        if seconds <= limit:
            return None
        return f"{what} for {'ever' if math.isinf(seconds) else f'{seconds:.0f}s'} (limit {limit:.0f}s)."

    return problem


class Server:
    """The HTTP server. Probes may be added while it runs."""

    def __init__(self, address: Address, metrics: Metrics) -> None:
        self.healthy: list[Probe] = []
        self.ready: list[Probe] = []
        self.port = address.port
        """Where it listens; with port 0 the one that was chosen, once started."""
        self._host = address.host
        self._metrics = metrics
        app = web.Application()
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get("/healthz", self._serve(self.healthy))
        app.router.add_get("/readyz", self._serve(self.ready))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Listen. Raises OSError if the address cannot be had."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host or None, self.port).start()
        self.port = int(self._runner.addresses[0][1])
        log.info("Serving metrics and probes", host=self._host, port=self.port)

    async def stop(self) -> None:
        """Stop listening and end what is being answered."""
        await self._runner.cleanup()

    async def _serve_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @staticmethod
    def _serve(probes: list[Probe]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            problems = [problem for probe in probes if (problem := probe()) is not None]
            return web.Response(text="\n".join(problems or ["ok"]) + "\n", status=503 if problems else 200)

        return answer
