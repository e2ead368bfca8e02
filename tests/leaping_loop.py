"""An event loop whose clock leaps: tests of what happens in time take none, and a slow machine changes nothing."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import deque
from collections.abc import Callable
from typing import Any


class LeapingLoop(asyncio.SelectorEventLoop):
    """Time stands while something can run, and leaps to the next timer when nothing else can happen.

    As long as a socket is watched or a thread works for the loop, it goes on like any other clock.
    """

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _selector: selectors.BaseSelector

    def __init__(self) -> None:
        self._now = 1000.0
        self._threads = 0
        super().__init__()

    def time(self) -> float:
        """Seconds since some moment."""
        return self._now

    def run_in_executor(  # type: ignore[override]  # typeshed knows the types of the arguments one by one
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """As usual; no leaps meanwhile."""
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self._threads -= 1

    def _run_once(self) -> None:
        alone = not self._threads and len(self._selector.get_map()) <= 1  # the loop's own pipe
        if alone:
            timers = [handle.when() for handle in self._scheduled if not handle.cancelled()]
            if timers and not self._ready:
                self._now += max(0.0, min(timers) - self.time())
        began = time.monotonic()
        super()._run_once()  # type: ignore[misc]  # asyncio's own, which typeshed does not know
        if not alone:
            self._now += time.monotonic() - began
