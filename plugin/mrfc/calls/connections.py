"""BFCP connections of calls, as the MRFPs tell of them: which termination is the call's, and what a loss means.

A connection that comes to nothing at first ends its call. One that stood and is lost leaves the call
`reconnect_grace` seconds, in which the participant may ask for another by a new offer. A termination that is to replace
another becomes the call's when it is secured; that it fails changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mrf_protocols.h248.mp import (
    BearerReleased,
    NotifyIndication,
    TcpEstablishmentFailed,
    TlsEstablished,
    TlsEstablishmentFailed,
)
from mrfc.calls.calls import Calls
from mrfc.jobs import CallKey
from mrfc.measures import Measures
from mrfc.mp.bearer import Bearers
from mrfc.sip.dialog import DialogState
from mrfc.state.store import Call, Store

TCP_FAILED = "TCP connection establishment failed"
TLS_FAILED = "TLS session establishment failed"
RELEASED = "bearer released"

EARLY_KEPT = 1.0  # seconds that an indication waits for the call it belongs to


def _nobody(call: Call) -> None:
    """Nobody wants to know that a connection is secured."""


class Connections:
    """The connections of all calls. `reconnect_grace`: seconds that a call stays without one."""

    def __init__(
        self, store: Store, bearers: Bearers, calls: Calls, measures: Measures, reconnect_grace: float
    ) -> None:
        self._store = store
        self._bearers = bearers
        self._calls = calls
        self._measures = measures
        self._reconnect_grace = reconnect_grace
        self._timers: dict[CallKey, asyncio.TimerHandle] = {}
        self._early: dict[tuple[str, int, str], NotifyIndication] = {}
        self.on_secured: Callable[[Call], None] = _nobody
        """Is told each call whose connection is secured."""

    @property
    def lost(self) -> int:
        """Calls that wait for a new connection."""
        return len(self._timers)

    def told(self, mrfp: str, indication: NotifyIndication) -> None:
        """An MRFP tells what became of a termination's connection."""
        where = (mrfp, indication.context, indication.termination)
        call = self._store.call_on(*where)
        if call is None:  # quicker than the call that asked for the termination and is told of it just now
            self._early[where] = indication
            asyncio.get_running_loop().call_later(EARLY_KEPT, self._early.pop, where, None)
        else:
            self._told(call, indication)

    def bound(self, mrfp: str, context: int, termination: str) -> None:
        """A termination has its call."""
        if (early := self._early.pop((mrfp, context, termination), None)) is not None:
            self.told(mrfp, early)

    def _told(self, call: Call, indication: NotifyIndication) -> None:
        termination, reason = indication.termination, indication.reason
        match indication:
            case TlsEstablished():
                self._secured(call, termination, reason)
            case TcpEstablishmentFailed():
                self._failed(call, termination, TCP_FAILED, reason)
            case TlsEstablishmentFailed():
                self._failed(call, termination, TLS_FAILED, reason)
            case BearerReleased():
                self._released(call, termination, reason)

    def forget(self, call: Call) -> None:
        """The call waits for no connection any more: it has ended, or has given its stream up."""
        if (timer := self._timers.pop(call.dialog.key, None)) is not None:
            timer.cancel()

    def awaits(self, call: Call, reason: str) -> None:
        """The call has lost its connection in another way; a new one may be on its way."""
        self._wait(call, RELEASED, reason)

    def _secured(self, call: Call, termination: str, reason: str) -> None:
        again = termination != call.termination
        what = "BFCP connection replaced, secured" if again else "BFCP connection secured"
        self._calls.logger(call).info("%s: %s", what, reason)
        if again:
            self._measures.replaced_bearers.inc()
        self._bearers.promote(call, termination)
        self.forget(call)
        self.on_secured(call)

    def _failed(self, call: Call, termination: str, what: str, reason: str) -> None:
        if termination == call.termination and call.successor is None:
            self._end(call, what, reason)
            return
        self._calls.logger(call).warning("new BFCP connection: %s: %s", what, reason)
        self._count(what)
        if termination == call.termination:  # its place has been taken before it stood
            self._wait(call, what, reason)
        else:
            self._bearers.drop(call, termination)

    def _released(self, call: Call, termination: str, reason: str) -> None:
        if termination != call.termination:
            self._bearers.drop(call, termination)
        elif call.successor is not None and not call.secured:
            self._bearers.promote(call, call.successor)  # without TLS nobody tells when it is up
        else:
            self._calls.logger(call).info("BFCP connection lost: %s", reason)
            self._wait(call, RELEASED, reason)

    def _wait(self, call: Call, what: str, reason: str) -> None:
        call.bearer_lost = True
        if call.dialog.key not in self._timers:
            self._timers[call.dialog.key] = asyncio.get_running_loop().call_later(
                self._reconnect_grace, self._over, call, what, reason
            )

    def _over(self, call: Call, what: str, reason: str) -> None:
        self._timers.pop(call.dialog.key, None)
        self._end(call, what, reason)

    def _end(self, call: Call, what: str, reason: str) -> None:
        if call.state not in (DialogState.ENDING, DialogState.TERMINATED):
            self._count(what)
            self._calls.end(call, f"{what}: {reason}" if reason else what)

    def _count(self, what: str) -> None:
        self._measures.bearer_ends.labels(what.replace(" ", "_").lower()).inc()
