"""Requests of a called participant that come to us before the 2xx of his that they follow.

Kamailio acknowledges a 2xx by itself, and whoever has that ACK may hang up or change the session at once (RFC 3261 15).
Another worker than that of the 2xx takes his request and may be quicker: it waits here until the 2xx is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from mrfc import jobs
from mrfc.sip.dialog import DialogState
from mrfc.state.store import Call, Store

KEPT = 2.0
"""Seconds; a worker of a busy machine may be late, and who has no dialog with us learns it a little later."""
MOST = 8
"""Requests of one call that wait."""

_CALLING = (DialogState.CALLING, DialogState.CANCELLING)
_Job = TypeVar("_Job", bound=jobs.ByeJob | jobs.RequestJob)


class EarlyRequests:
    """All that wait; each is served when its call is answered, refused or over, or `KEPT` seconds after the first."""

    def __init__(self, calls_store: Store) -> None:
        self._store = calls_store
        self._kept: dict[jobs.CallKey, list[Callable[[], None]]] = {}
        self._timers: dict[jobs.CallKey, asyncio.TimerHandle] = {}

    @property
    def waiting(self) -> int:
        """Calls with requests that wait."""
        return len(self._timers)

    def keeps(self, job: _Job, serve: Callable[[_Job], None]) -> bool:
        """Whether a request waits, and will be handed to `serve`; False: it is not too early, or waits no longer."""
        key = job.dialog.key
        call = self._store.call_with(key)
        if call is None or call.state not in _CALLING:
            return False
        kept = self._kept.setdefault(key, [])
        if not kept:
            self._timers[key] = asyncio.get_running_loop().call_later(KEPT, self._serve, key)
        if len(kept) >= MOST or key not in self._timers:
            return False
        kept.append(lambda: serve(job))
        return True

    def changed(self, call: Call) -> None:
        """Something has happened to a call."""
        key = call.dialog.key
        if call.state not in _CALLING and key in self._kept:
            self._serve(key)
            del self._kept[key]

    def _serve(self, key: jobs.CallKey) -> None:
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
            for serve in self._kept[key]:
                asyncio.get_running_loop().call_soon(serve)
