"""One association with an MRFC at the MRFP: what we ask and its answers, commands in their order, and silence."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from mrf_ops.lines import Line, Transport, write_all
from mrf_protocols.h248 import mp, tpkt
from mrf_protocols.h248.association import Association, Event, UndecodableReceived
from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.transactions import (
    MessageErrorReceived,
    ReplyReceived,
    RequestReceived,
    RequestTimedOut,
    Retransmission,
    TransactionIds,
    Transactions,
)
from mrf_protocols.h248.values import Action, MId, TransactionReply, TransactionRequest
from mrfp_agent.mp_execution import Execution, Ids
from mrfp_agent.mp_settings import MpSettings

_log = logging.getLogger(__name__)

VERSION: Final = 3
_SLICE: Final = 0.02
"""Seconds of commands at a time: users' connections live in the same loop."""
_MAX_UNSENT: Final = 1 << 20
"""Octets that may wait for an MRFC that does not read."""


def _spread(seconds: float) -> float:
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, hides nothing


class Link:
    """One association with an MRFC, the user of its line; `closed` tells why it has ended.

    `ids` and `clock` are those of the MRFP, for all its associations.
    """

    def __init__(
        self,
        settings: MpSettings,
        transport: Transport,
        execution: Execution,
        ids: TransactionIds,
        clock: Callable[[], float],
    ) -> None:
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.registered = False
        self.watch = mp.WatchMrfp(congestion=False)
        self.line: Line | None = None
        self._settings = settings
        self._execution = execution
        self._now = clock
        transactions = Transactions(
            ids=ids,
            pending_after=settings.pending_after,
            max_open=settings.max_executing,
            retransmission=Retransmission(spread=_spread) if transport.loses_messages else None,
        )
        self._association = Association(settings.mid, transactions, pretty=settings.pretty)
        self._controller: MId | None = None
        self._heard = self._now()
        self._inactivity_told = self._heard
        self._service_changes: dict[int, asyncio.Future[mp.ServiceChangeAccepted]] = {}
        self._signs_of_life: set[int] = set()
        self._told: dict[int, tuple[Ids, ...]] = {}
        self._waiting: deque[TransactionRequest] = deque()
        self._working = False

    @property
    def waiting(self) -> int:
        """Commands that are not yet carried out."""
        return len(self._waiting)

    # -- the line ----------------------------------------------------------------------------------------------------

    def line_up(self, line: Line) -> None:
        self.line = line

    def line_received(self, octets: bytes) -> None:
        self._heard = self._now()
        if self.line is None:
            return
        association, whole = self._association, self.line.transport.keeps_messages
        fault: H248Error | None = None
        try:
            for message in [octets] if whole else association.cut(octets):
                self._handle(association.receive_message(message, self._heard))
        except H248Error as error:
            fault = error
        self._flush()  # the replies to all that came together travel together
        if fault is not None:
            self.disconnect(str(fault))

    def line_down(self, reason: str) -> None:
        self.line = None
        self.registered = False
        self._waiting.clear()
        for answer in self._service_changes.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the MRFC closed the connection"))
        self._service_changes.clear()
        self._told.clear()
        if not self.closed.done():
            self.closed.set_result(reason)

    def disconnect(self, reason: str) -> None:
        """Close without ado."""
        _log.warning("Mp: leaving the MRFC: %s", reason)
        if self.line is not None:
            self.line.abort()

    # -- what we ask -------------------------------------------------------------------------------------------------

    async def service_change(self, change: mp.ServiceChange) -> mp.ServiceChangeAccepted:
        """Tell the MRFC. Raises H248Error with its answer, TimeoutError, or ConnectionError."""
        if self.line is None:
            raise ConnectionError("not connected")
        answer: asyncio.Future[mp.ServiceChangeAccepted] = asyncio.get_running_loop().create_future()
        number = self._request(mp.service_change_actions(change))
        self._service_changes[number] = answer
        self._execution.trace("sent", "", mp.describe_service_change(number, change))
        self._flush()
        return await answer

    def notify(self, indications: Sequence[mp.NotifyIndication]) -> int:
        """Indicate, in one transaction; the answer is only logged. Gives the transaction id."""
        number = self._request(tuple(action for each in indications for action in mp.notify_actions(each)))
        ids = [self._execution.ids(each.context, each.termination) for each in indications]
        self._told[number] = tuple(each for place, each in enumerate(ids) if each not in ids[:place])
        self._flush()
        return number

    def notify_root(self, indication: mp.RootIndication) -> int:
        """The same for ROOT."""
        number = self._request(mp.root_notify_actions(indication))
        self._flush()
        return number

    def _request(self, actions: tuple[Action, ...]) -> int:
        timeout = self._settings.timeout
        return self._association.request(actions, self._now(), timeout, limit=10 * timeout)

    def tick(self, now: float) -> None:
        """Time-outs, and an MRFC that has fallen silent."""
        if self.line is None:
            return
        silent = now - self._heard
        if silent > self._settings.silence:
            self.disconnect("the MRFC is silent")
            return
        self._handle(self._association.tick(now))
        self._flush()
        wait = self.watch.inactivity
        if self.registered and wait and silent >= wait and now - self._inactivity_told >= wait:
            self._inactivity_told = now
            self._signs_of_life.add(self.notify_root(mp.MrfcInactivity(self.watch.request_id)))

    def _flush(self) -> None:
        messages = self._association.take_messages()
        if messages and self.line is not None:
            write_all(self.line, messages, tpkt.frame)
            if self.line.unsent > _MAX_UNSENT:
                self.disconnect("the MRFC does not read")

    # -- what comes --------------------------------------------------------------------------------------------------

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, RequestReceived):
                self._waiting.append(event.request)
            elif isinstance(event, ReplyReceived):
                self._reply_received(event.reply)
            elif isinstance(event, RequestTimedOut):
                self._timed_out(event.transaction_id)
            elif isinstance(event, UndecodableReceived):
                _log.warning("Mp: undecodable message from the MRFC: %s", event.error)
            elif isinstance(event, MessageErrorReceived):
                self._message_error(H248Error(event.error.code, event.error.text))
        if self._waiting and not self._working:
            self._work()

    def _work(self) -> None:
        """Carry out what waits, for a slice of time; the rest in the next turn of the loop."""
        end = self._now() + _SLICE
        while self._waiting:
            request = self._waiting.popleft()
            self._association.reply(self._carry_out(request), self._now())
            if self._now() >= end:
                break
        self._working = bool(self._waiting)
        if self._working:
            asyncio.get_running_loop().call_soon(self._work_on)

    def _work_on(self) -> None:
        self._work()
        self._flush()

    def _carry_out(self, request: TransactionRequest) -> TransactionReply:
        if not self.registered:
            error = H248Error(ErrorCode.REQUEST_BEFORE_REGISTRATION)
        elif self._association.peer != self._controller:
            error = H248Error(ErrorCode.UNAUTHORIZED_ENTITY)
        else:
            try:
                return self._execution.carry_out(request)
            except Exception:  # a fault of one transaction must not end the association of all
                _log.exception("Mp: transaction %d failed", request.transaction_id)
                error = H248Error(ErrorCode.INTERNAL_SOFTWARE_FAILURE)
        return TransactionReply(request.transaction_id, error=error.descriptor)

    def _reply_received(self, reply: TransactionReply) -> None:
        answer = self._service_changes.pop(reply.transaction_id, None)
        self._signs_of_life.discard(reply.transaction_id)
        told = self._told.pop(reply.transaction_id, ({},))
        try:
            if answer is None:
                mp.parse_notify_reply(reply)
                return
            accepted = mp.parse_service_change_reply(reply)
        except H248Error as error:
            if answer is None:
                for ids in told:
                    _log.warning("Mp: the MRFC refused an indication: %s", error, extra=ids)
            elif not answer.done():
                answer.set_exception(error)
            return
        # commands may follow in the same segment, so the version changes here
        self._association.version = min(accepted.version, VERSION)
        self._controller = self._association.peer
        self.registered = accepted.mgc is None
        if not answer.done():
            answer.set_result(accepted)

    def _message_error(self, error: H248Error) -> None:
        """The MRFC could not read a message; before the registration that can only have been the registration."""
        _log.warning("Mp: the MRFC could not read a message: %s", error)
        if self.registered:
            return
        for number, answer in self._service_changes.items():
            self._association.forget(number)
            if not answer.done():
                answer.set_exception(error)
        self._service_changes.clear()

    def _timed_out(self, number: int) -> None:
        answer = self._service_changes.pop(number, None)
        told = self._told.pop(number, ({},))
        if number in self._signs_of_life:
            self._signs_of_life.discard(number)
            self.disconnect("the MRFC does not answer")
        elif answer is None:
            for ids in told:
                _log.warning("Mp: the MRFC did not answer an indication", extra=ids)
        elif not answer.done():
            answer.set_exception(TimeoutError("the MRFC did not answer the registration"))
