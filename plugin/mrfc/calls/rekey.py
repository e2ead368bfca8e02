"""Re-keying by the MRFC: a re-INVITE of ours with a new ticket and TRANSFER_INIT, before the old ticket's validity ends
or when an operator says so (RFC 4567 4.1.2, RFC 6043 6.10).

The new connection replaces the old one when it is secured; what fails leaves the old one, key and all.
"""

from __future__ import annotations

import asyncio
import time

from mrfc.calls.calls import Calls
from mrfc.calls.offerer import Offer, Offerer
from mrfc.calls.requests import Content, RequestFailed, Requests
from mrfc.jobs import CallKey
from mrfc.measures import Measures
from mrfc.mp.bearer import Bearers
from mrfc.sip.dialog import DialogState
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state.store import Call

SHORTEST_WAIT = 1.0
"""Seconds between two attempts at least, however short the validity of a ticket is."""


class Rekeys:
    """Re-keying of all calls. `margin`: seconds before the end of a ticket's validity at which a new key is due."""

    def __init__(
        self,
        bearers: Bearers,
        calls: Calls,
        offerer: Offerer,
        requests: Requests,
        measures: Measures,
        margin: float,
    ) -> None:
        self._bearers = bearers
        self._calls = calls
        self._offerer = offerer
        self._requests = requests
        self._measures = measures
        self._margin = margin
        self._timers: dict[CallKey, asyncio.TimerHandle] = {}
        self._tasks: dict[CallKey, asyncio.Task[None]] = {}

    @property
    def running(self) -> int:
        """Calls that are being re-keyed by themselves."""
        return len(self._tasks)

    async def rekey(self, call: Call) -> None:
        """Give a call a new key, now. Raises Refusal and RequestFailed; then everything is as it was."""
        if not call.secured or call.termination is None or call.state is not DialogState.CONFIRMED:
            raise Refusal(Cause.PENDING, "the call has no secured connection")
        try:
            await self.replace(call)
        except (Refusal, RequestFailed):
            self._measures.reoffers.labels("rekey_failed").inc()
            raise
        self._measures.reoffers.labels("rekeyed").inc()
        self._calls.logger(call).info("re-keyed")

    async def replace(self, call: Call) -> None:
        """Offer a new connection under a new key, whatever the call has. Raises Refusal and RequestFailed; then the
        call has what it had."""
        offer = await self._offerer.again(call)
        if offer.termination is None:
            raise TypeError("an offer of a new connection without termination")
        self._bearers.succeed(call, offer.termination)
        try:
            sent = [offer]
            job = await self._requests.send(call, "INVITE", lambda: self._content(call, sent))
            await self._offerer.take(call, sent[0], job.content_type, job.body)
        except (Refusal, RequestFailed):
            self._bearers.drop(call, offer.termination)
            raise
        self.watch(call)

    def _content(self, call: Call, sent: list[Offer]) -> Content:
        """The offer as it has to be now: the participant may have changed the session while we waited for our turn."""
        sent[0] = self._offerer.renewed(call, sent[0])
        return Content(sent[0].body)

    # by itself

    def watch(self, call: Call) -> None:
        """The call has a key: renew it in time."""
        self._stop(call)
        if call.key_expires:
            left = call.key_expires - time.time()
            wait = max(left - self._margin, left / 2, SHORTEST_WAIT)
            self._timers[call.dialog.key] = asyncio.get_running_loop().call_later(wait, self._due, call)

    def forget(self, call: Call) -> None:
        """The call has ended, or has no connection any more."""
        self._stop(call)
        task = self._tasks.pop(call.dialog.key, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _stop(self, call: Call) -> None:
        if (timer := self._timers.pop(call.dialog.key, None)) is not None:
            timer.cancel()

    def _due(self, call: Call) -> None:
        self._timers.pop(call.dialog.key, None)
        if call.dialog.key not in self._tasks:
            self._tasks[call.dialog.key] = asyncio.get_running_loop().create_task(self._renew(call))

    async def _renew(self, call: Call) -> None:
        logger = self._calls.logger(call)
        try:
            await self.rekey(call)
        except (Refusal, RequestFailed) as error:
            logger.warning("no new key, the connection keeps the old one: %s", error)
            if call.state is DialogState.CONFIRMED and call.key_expires > time.time():
                self.watch(call)
        except Exception:  # a fault of one re-keying ends nothing
            logger.exception("re-keying failed")
        finally:
            if self._tasks.get(call.dialog.key) is asyncio.current_task():
                del self._tasks[call.dialog.key]
