"""The association with one MRFP: requests and their ends, heartbeats, indications, service changes."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from mrf_ops.lines import Line, Transport, write_all
from mrf_ops.logs import bind
from mrf_ops.trace import Tracer
from mrf_protocols.h248 import mp, tpkt
from mrf_protocols.h248.association import Association, Event, UndecodableReceived
from mrf_protocols.h248.errors import ErrorCode, H248Error, ServiceChangeReason
from mrf_protocols.h248.text_encoder import format_mid
from mrf_protocols.h248.transactions import (
    MessageErrorReceived,
    ReplyReceived,
    RequestReceived,
    RequestTimedOut,
    Retransmission,
    TransactionIds,
    Transactions,
    UnknownReplyReceived,
)
from mrf_protocols.h248.values import (
    ALL,
    ALL_CONTEXTS,
    NULL_CONTEXT,
    ROOT,
    Action,
    Command,
    CommandKind,
    MId,
    TransactionReply,
    TransactionRequest,
)

log = logging.getLogger(__name__)

VERSION: Final = 3
MAX_LATE: Final = 1024
MAX_UNSENT: Final = 1 << 20
"""Octets that may wait for an MRFP that does not read."""
PENDING_FACTOR: Final = 3
"""How much longer an MRFP that answers Pending is waited for."""
BUSY_PAUSE: Final = 1.0
"""Seconds for which an MRFP that refused for want of resources is asked last."""
WATCH_PAUSE: Final = 0.2
"""Seconds until an MRFP that does not yet know of its registration is asked again."""
_OVERLOADED: Final = {
    ErrorCode.INSUFFICIENT_RESOURCES,
    ErrorCode.TEMPORARILY_BUSY,
    ErrorCode.NO_CONTEXT_AVAILABLE,
    ErrorCode.NOT_READY,
    ErrorCode.SERVICE_UNAVAILABLE,
}
_NO_ADDRESS: Final = {ErrorCode.TEMPORARY_NETWORK_FAILURE, ErrorCode.PERMANENT_NETWORK_FAILURE}


class MpError(Exception):
    """A procedure was not carried out."""


class MrfpUnavailable(MpError):
    """No MRFP is in service, or the one asked for is not, or its association ended before it answered."""


class MrfpTimeout(MpError):
    """The MRFP did not answer in time."""


class MrfpRefused(MpError):
    """The MRFP answered with an error: `code` and `text` of H.248.8.

    `overloaded`: for want of resources. `another_may`: for what an MRFP has or has not, so that another one may do it.
    """

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        self.overloaded = code in _OVERLOADED
        self.another_may = self.overloaded or code in _NO_ADDRESS
        super().__init__(f"{code} {text}")


@dataclass(slots=True)
class _Open:
    """A request under way: for a caller, or for the controller itself (no future)."""

    procedure: mp.Procedure
    correlation: str
    answer: asyncio.Future[mp.Acknowledgement] | None


_Own = Callable[[TransactionReply | None], None]
"""What the controller does with the answer to a request of its own; None: there was none."""


def _spread(seconds: float) -> float:
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, hides nothing


@dataclass(slots=True)
class LinkSettings:
    """What all associations of an MRFC share. `inactivity`: seconds of our silence after which MRFPs ask."""

    timeout: float
    heartbeat: float
    inactivity: float
    clock: Callable[[], float]
    mid: MId
    tracer: Tracer
    ids: TransactionIds
    pretty: bool = False


class Pool(Protocol):
    """Who is told of associations."""

    def link_up(self, link: Link) -> None:
        """A connection came."""

    def link_service_change(self, link: Link, change: mp.ServiceChange) -> None:
        """An MRFP tells its state; called before the reply is written."""

    def link_registered(self, link: Link) -> None:
        """The reply to a ServiceChange is on its way."""

    def link_confirmed(self, link: Link) -> None:
        """The MRFP knows that it is registered."""

    def link_in_service(self, link: Link) -> None:
        """An MRFP can be used."""

    def link_notified(self, link: Link, indication: mp.NotifyIndication) -> None:
        """An indication came."""

    def link_down(self, link: Link, reason: str) -> None:
        """A connection went."""


@dataclass(slots=True)
class Terminations:
    """Terminations of an MRFP with the correlation of their calls."""

    known: dict[tuple[int, str], str] = field(default_factory=dict)

    def correlation(self, context: int, termination: str) -> str:
        return self.known.get((context, termination), "")

    def note(self, procedure: mp.Procedure, answer: mp.Acknowledgement) -> None:
        if isinstance(answer, mp.TerminationConfigured):
            correlation = procedure.correlation if isinstance(procedure, _WITH_CORRELATION) else ""
            key = (answer.context, answer.termination)
            self.known[key] = correlation or self.known.get(key, "")
        elif isinstance(procedure, mp.ReleaseBfcpTermination):
            self.forget(procedure)

    def forget(self, released: mp.ReleaseBfcpTermination) -> None:
        if released.context == ALL_CONTEXTS:
            self.known.clear()
        elif released.termination == ALL:
            for key in [key for key in self.known if key[0] == released.context]:
                del self.known[key]
        else:
            self.known.pop((released.context, released.termination), None)


_WITH_CORRELATION: Final = (
    mp.ConfigureBfcpTermination,
    mp.ReserveBfcpTermination,
    mp.ConfigureReservedBfcpTermination,
    mp.ReleaseBfcpTermination,
)
_ADDS: Final = (mp.ConfigureBfcpTermination, mp.ReserveBfcpTermination)
_Add = mp.ConfigureBfcpTermination | mp.ReserveBfcpTermination


class Link:
    """The association with one MRFP."""

    def __init__(self, pool: Pool, settings: LinkSettings, transport: Transport) -> None:
        self.name = ""
        self.address = ""
        self.profile = ""
        self.version = 1
        self.in_service = False
        self.leaving = False  # has asked for no new calls
        self.loses_messages = transport.loses_messages
        self.confirmed = not self.loses_messages  # knows that it is registered
        self.fresh = False  # has just registered
        self.to_be_cleaned = False
        self.to_be_reconciled = False
        self.reduction = 0  # share of new terminations that it wants left out, per cent
        self.busy_until = 0.0
        self._offers = 0
        self.terminations = Terminations()
        self._pool = pool
        self._settings = settings
        self._now = settings.clock
        lossy = Retransmission(spread=_spread) if transport.loses_messages else None
        transactions = Transactions(ids=settings.ids, retransmission=lossy)
        self._association = Association(settings.mid, transactions, pretty=settings.pretty)
        self._line: Line | None = None
        self._open: dict[int, _Open] = {}
        self._own: dict[int, _Own] = {}
        self._late: OrderedDict[int, mp.Procedure] = OrderedDict()
        self._opened = self._now()
        self._next_heartbeat = self._opened + settings.heartbeat
        self._heartbeat_open = False
        self._watch_again: float | None = None

    # -- the line ----------------------------------------------------------------------------------------------------

    def line_up(self, line: Line) -> None:
        self._line = line
        self.address = line.peer
        self._pool.link_up(self)

    def line_received(self, octets: bytes) -> None:
        if self._line is None:
            return
        try:
            if self._line.transport.keeps_messages:
                events = self._association.receive_message(octets, self._now())
            else:
                events = self._association.receive(octets, self._now())
        except H248Error as error:
            self.disconnect(str(error))
            return
        self._handle(events)

    def line_down(self, reason: str) -> None:
        self._line = None
        self.in_service = False
        for entry in self._open.values():
            if isinstance(entry.procedure, mp.ReleaseBfcpTermination):
                # done or not: should the MRFP come back, it is none of ours
                self.terminations.forget(entry.procedure)
            _fail(entry, MrfpUnavailable("the association ended"))
        self._open.clear()
        self._own.clear()
        self._pool.link_down(self, reason)

    def disconnect(self, reason: str) -> None:
        """Close without ado."""
        log.warning("Mp: %s disconnected: %s", self.name or self.address, reason)
        self._association.take_messages()
        if self._line is not None:
            self._line.abort()

    # -- requests --------------------------------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        return len(self._open)

    def request(
        self, procedure: mp.Procedure, timeout: float, answer: asyncio.Future[mp.Acknowledgement] | None
    ) -> int:
        """Send the request of a procedure. Raises MrfpUnavailable, or MrfpRefused when it cannot be written."""
        if self._line is None:
            raise MrfpUnavailable(f"{self.name} is not connected")
        try:
            actions = mp.request_actions(procedure)
            number = self._association.request(actions, self._now(), timeout, limit=PENDING_FACTOR * timeout)
        except H248Error as error:
            raise MrfpRefused(error.code, error.text) from error
        correlation = self._correlation(procedure)
        self._open[number] = _Open(procedure, correlation, answer)
        if self._traced and not isinstance(procedure, mp.AuditHeartbeat):
            self._trace("sent", correlation, mp.describe_request(number, procedure))
        self._flush()
        return number

    def takes_work(self) -> bool:
        """Whether to give it the next termination; no as often as it asks for less."""
        self._offers += 1
        return self._offers * self.reduction // 100 == (self._offers - 1) * self.reduction // 100

    def send_away(self) -> asyncio.Future[None]:
        """Say that we stop (ServiceChange HandOff to nobody in particular); done when it has answered."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def answered(_: TransactionReply | None) -> None:
            if not done.done():
                done.set_result(None)

        change = mp.ServiceChange(mp.ServiceMethod.HANDOFF, ServiceChangeReason.MGC_IMPENDING_FAILURE)
        self._ask(mp.service_change_actions(change), answered)
        return done

    def _ask(self, actions: tuple[Action, ...], then: _Own) -> None:
        """A request of the controller's own. Its end is told to `then`, unless the association ends first."""
        if self._line is None:
            return
        number = self._association.request(actions, self._now(), self._settings.timeout)
        self._own[number] = then
        self._flush()

    def watch(self) -> None:
        """Ask the MRFP to tell congestion, and to look after us (Watch MRFP).

        Where messages get lost, the answer also shows that the MRFP knows of its registration.
        """

        def answered(reply: TransactionReply | None) -> None:
            try:
                if reply is not None:
                    mp.parse_notify_reply(reply)
            except H248Error as error:
                if error.code == ErrorCode.REQUEST_BEFORE_REGISTRATION and not self.confirmed:
                    self._watch_again = self._now() + WATCH_PAUSE  # our reply is lost; it will ask again
                    return
                log.info("Mp: %s tells no congestion: %s", self.name, error)
            if not self.confirmed:
                self.confirmed = True
                self._pool.link_confirmed(self)

        self._watch_again = None
        inactivity = self._settings.inactivity
        self._ask(mp.watch_actions(mp.WatchMrfp(inactivity=inactivity)), answered)

    def reconcile(self) -> None:
        """Compare what a returned MRFP has with what we know; both sides drop what the other has not."""
        self._ask(mp.inventory_actions(), self._inventory_received)

    def _inventory_received(self, reply: TransactionReply | None) -> None:
        try:
            if reply is None:
                raise H248Error(ErrorCode.SERVICE_UNAVAILABLE, "no answer")
            there = mp.parse_inventory(reply)
        except H248Error as error:
            log.warning("Mp: %s does not tell what it has (%s): everything is released", self.name, error)
            there = frozenset()
            self.release_all()
        else:
            for context, termination in sorted(there - self.terminations.known.keys()):
                self.request(mp.ReleaseBfcpTermination(context, termination), self._settings.timeout, None)
        for context, termination in sorted(self.terminations.known.keys() - there):
            self._pool.link_notified(self, mp.BearerReleased(context, termination, "lost by the MRFP"))
        log.info(
            "Mp: %s is back with %d terminations", self.name, len(there & self.terminations.known.keys())
        )
        self.terminations.known = {key: call for key, call in self.terminations.known.items() if key in there}
        self._pool.link_in_service(self)

    def _correlation(self, procedure: mp.Procedure) -> str:
        if not isinstance(procedure, _WITH_CORRELATION):
            return ""
        if procedure.correlation or isinstance(procedure, _ADDS):
            return procedure.correlation
        return self.terminations.correlation(procedure.context, procedure.termination)

    def tick(self, now: float) -> None:
        """Heartbeats, time-outs, and the patience with peers that do not register."""
        if not self.name and now - self._opened > self._settings.timeout + self._settings.heartbeat:
            self.disconnect("did not register")
            return
        self._handle(self._association.tick(now))
        if self._watch_again is not None and now >= self._watch_again:
            self.watch()
        here = self.in_service or self.leaving  # one that leaves has calls to be looked after
        if here and now >= self._next_heartbeat and not self._heartbeat_open:
            self._heartbeat_open = True
            self.request(mp.AuditHeartbeat(), self._settings.timeout, None)

    @property
    def _traced(self) -> bool:
        """Whether a description, which costs as much as a message, is of use."""
        return self._settings.tracer.enabled

    def _trace(self, kind: Literal["sent", "received"], correlation: str, what: mp.Description) -> None:
        if self._traced:
            self._settings.tracer.emit(correlation, kind, "MRFP", "Mp", what.name, what.key, **what.fields)

    def _flush(self) -> None:
        messages = self._association.take_messages()
        if not messages or self._line is None:
            return
        write_all(self._line, messages, tpkt.frame)
        if self._line.unsent > MAX_UNSENT:
            self.disconnect("does not read")

    # -- events ----------------------------------------------------------------------------------------------------

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, RequestReceived):
                self._request_received(event.request)
            elif isinstance(event, ReplyReceived):
                self._reply_received(event.reply)
            elif isinstance(event, RequestTimedOut):
                self._timed_out(event.transaction_id)
            elif isinstance(event, UnknownReplyReceived):
                self._late_reply(event)
            elif isinstance(event, UndecodableReceived):
                log.warning("Mp: undecodable message from %s: %s", self.name or self.address, event.error)
            elif isinstance(event, MessageErrorReceived):
                log.warning("Mp: %s could not read a message: %s", self.name or self.address, event.error)
        self._flush()

    def _reply_received(self, reply: TransactionReply) -> None:
        own = self._own.pop(reply.transaction_id, None)
        if own is not None:
            own(reply)
            return
        entry = self._open.pop(reply.transaction_id, None)
        if entry is None:
            return
        procedure = entry.procedure
        if isinstance(procedure, mp.AuditHeartbeat):
            self._heartbeat_open = False
            self._next_heartbeat = self._now() + self._settings.heartbeat
        elif self._traced:
            self._trace("received", entry.correlation, mp.describe_reply(reply, procedure))
        try:
            answer = mp.parse_reply(procedure, reply)
        except H248Error as error:
            refused = MrfpRefused(error.code, error.text)
            if refused.overloaded:
                self.busy_until = self._now() + BUSY_PAUSE
            _fail(entry, refused)
            self._own_request_answered(entry)
            return
        self.terminations.note(procedure, answer)
        if entry.answer is None:
            self._own_request_answered(entry)
        elif not entry.answer.done():
            entry.answer.set_result(answer)
        elif isinstance(answer, mp.TerminationConfigured) and isinstance(procedure, _ADDS):
            self._release(answer, procedure)  # whoever asked has gone

    def _own_request_answered(self, entry: _Open) -> None:
        procedure = entry.procedure
        if isinstance(procedure, mp.ReleaseBfcpTermination) and procedure.context == ALL_CONTEXTS:
            self._pool.link_in_service(self)

    def _timed_out(self, number: int) -> None:
        own = self._own.pop(number, None)
        if own is not None:
            own(None)
            return
        entry = self._open.pop(number, None)
        if entry is None:
            return
        if isinstance(entry.procedure, mp.AuditHeartbeat):
            self.disconnect("does not answer heartbeats")
            return
        self._late[number] = entry.procedure
        while len(self._late) > MAX_LATE:
            self._late.popitem(last=False)
        _fail(entry, MrfpTimeout(f"{self.name} did not answer {mp.procedure_name(entry.procedure)} in time"))
        self._own_request_answered(entry)

    def _late_reply(self, event: UnknownReplyReceived) -> None:
        procedure = self._late.pop(event.transaction_id, None)
        if procedure is None or event.reply is None:
            return
        try:
            answer = mp.parse_reply(procedure, event.reply)
        except H248Error:
            return
        self.terminations.note(procedure, answer)
        if isinstance(answer, mp.TerminationConfigured) and isinstance(procedure, _ADDS):
            self._release(answer, procedure)

    def _release(
        self,
        answer: mp.TerminationConfigured,
        procedure: mp.ConfigureBfcpTermination | mp.ReserveBfcpTermination,
    ) -> None:
        """Give back what nobody waits for any more."""
        number = str(procedure.conference.conference_id) if procedure.conference is not None else ""
        ids = {"call": procedure.correlation, "bfcp_conference": number, "user": str(procedure.user_id)}
        bind(log, **ids).info(
            "Mp: releasing %s of context %d, which came too late", answer.termination, answer.context
        )
        released = mp.ReleaseBfcpTermination(answer.context, answer.termination)
        self.request(released, self._settings.timeout, None)

    def _request_received(self, request: TransactionRequest) -> None:
        """Carry out command after command; the first that fails ends the transaction, unless it is optional."""
        replies: list[Action] = []
        switch_to: int | None = None
        for action, command in [(each, command) for each in request.actions for command in each.commands]:
            try:
                if command.kind is CommandKind.SERVICE_CHANGE:
                    change = mp.parse_service_change(action, command)
                    replies.append(self._service_change(request.transaction_id, change))
                    switch_to = min(change.version, VERSION)
                elif not self.name:
                    raise H248Error(ErrorCode.REQUEST_BEFORE_REGISTRATION)
                elif command.kind is CommandKind.NOTIFY:
                    self._notify(request.transaction_id, action, command)
                    replies.append(mp.notify_reply_action(action, command))
                else:
                    raise H248Error(ErrorCode.UNKNOWN_COMMAND)
            except H248Error as error:
                replies.append(mp.error_action(action, command, error))
                if not command.optional:
                    break
        if not replies:
            nothing = H248Error(ErrorCode.NOT_IMPLEMENTED)
            reply = TransactionReply(request.transaction_id, error=nothing.descriptor)
        else:
            reply = TransactionReply(request.transaction_id, tuple(replies))
        self._association.reply(reply, self._now())
        if switch_to is not None:
            self._flush()
            self._association.version = self.version = switch_to  # right after the reply, in the old version
            self._pool.link_registered(self)

    def _notify(self, number: int, action: Action, command: Command) -> None:
        if action.context_id != NULL_CONTEXT or command.termination.upper() != ROOT:
            self._notified(number, mp.parse_notify(action, command))
            return
        for indication in mp.parse_root_notify(command):
            if isinstance(indication, mp.MrfpCongestion):
                self.reduction = indication.reduction
                log.warning("Mp: %s asks for %d %% less new work", self.name, indication.reduction)

    def _notified(self, number: int, indications: tuple[mp.NotifyIndication, ...]) -> None:
        for indication in indications:
            correlation = self.terminations.correlation(indication.context, indication.termination)
            self._trace("received", correlation, mp.describe_notify(number, indication))
            self._pool.link_notified(self, indication)

    def _service_change(self, number: int, change: mp.ServiceChange) -> Action:
        if change.version < 1:
            raise H248Error(ErrorCode.VERSION_NOT_SUPPORTED)
        peer = self._association.peer
        self._trace("received", "", mp.describe_service_change(number, change))
        if not self.name and peer is not None:
            self.name = format_mid(peer)
        self.profile = change.profile
        self._pool.link_service_change(self, change)
        return mp.service_change_reply_action(
            mp.ServiceChangeAccepted(min(change.version, VERSION), change.profile)
        )

    def release_all(self) -> None:
        """Forget together with the MRFP what it may still hold from an earlier association."""
        everything = mp.ReleaseBfcpTermination(ALL_CONTEXTS, ALL)
        self.request(everything, self._settings.timeout, None)


def _fail(entry: _Open, error: MpError) -> None:
    if entry.answer is not None and not entry.answer.done():
        entry.answer.set_exception(error)
