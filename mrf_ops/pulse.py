"""The pulse of an event loop: how late it is, for the metrics; and that it turns at all, for the watchdog."""

from __future__ import annotations

import asyncio

from mrf_ops.metrics import Metrics
from mrf_ops.service import Service

_BEAT = 0.25
_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Pulse:
    """Beats from `start` to `stop`, both on the loop that is watched."""

    def __init__(self, metrics: Metrics, service: Service) -> None:
        self._lag = metrics.histogram(
            "loop_lag_seconds", "How much later than due the event loop runs a timer", buckets=_BUCKETS
        )
        self._service = service
        self._next: asyncio.TimerHandle | None = None
        self._alive_at = 0.0

    def start(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        self._beat(loop, loop.time())

    def stop(self) -> None:
        """End."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _beat(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        self._lag.observe(max(0.0, now - due))
        if self._service.watchdog is not None and now >= self._alive_at:
            self._alive_at = now + self._service.watchdog / 4
            self._service.alive()
        self._next = loop.call_at(now + _BEAT, self._beat, loop, now + _BEAT)
