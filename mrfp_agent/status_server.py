"""HTTP for operators: /metrics for Prometheus, /health and /ready for supervisors, /status and /realms for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

from mrf_ops.metrics import CONTENT_TYPE, Metrics


class StatusServer:
    """Serves on one address until closed.

    `status` gives the counts of /status, `realms` the list of /realms. `ready` tells what a call needs: /health and
    /ready answer 200 when all of it is there, else 503. /live answers as long as the process does.
    """

    def __init__(
        self,
        metrics: Metrics,
        status: Callable[[], Mapping[str, int | bool]],
        ready: Callable[[], Mapping[str, bool]],
        realms: Callable[[], list[dict[str, object]]],
    ) -> None:
        self._metrics = metrics
        self._status = status
        self._ready = ready
        self._realms = realms
        application = web.Application()
        application.router.add_get("/metrics", self._serve_metrics)
        application.router.add_get("/health", self._serve_health)
        application.router.add_get("/ready", self._serve_health)
        application.router.add_get("/live", self._serve_live)
        application.router.add_get("/realms", self._serve_realms)
        application.router.add_get("/status", self._serve_status)
        self._runner = web.AppRunner(application, access_log=None)

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        taken: int = self._runner.addresses[0][1]
        return taken

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def _serve_health(self, request: web.Request) -> web.Response:
        ready = self._ready()
        return web.json_response(dict(ready), status=200 if all(ready.values()) else 503)

    async def _serve_live(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _serve_realms(self, request: web.Request) -> web.Response:
        return web.json_response(self._realms())

    async def _serve_status(self, request: web.Request) -> web.Response:
        return web.json_response(dict(self._status()))
