"""Mp at the MRFC: the TCP port where MRFPs register, and the procedures that are run at them.

The MRFC is the media gateway controller of H.248. One `MpController` serves all MRFPs from one asyncio loop; it needs
no signal handler, no executor and no task of its own. A peer that misbehaves loses its connection, the others notice
nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from mrf_ops.trace import Tracer
from mrf_protocols.h248 import mp
from mrf_protocols.h248.association import Association, Event, UndecodableReceived
from mrf_protocols.h248.errors import ErrorCode, H248Error, ServiceChangeReason
from mrf_protocols.h248.text_encoder import format_mid
from mrf_protocols.h248.transactions import (
    MessageErrorReceived,
    ReplyReceived,
    RequestReceived,
    RequestTimedOut,
    Transactions,
    UnknownReplyReceived,
)
from mrf_protocols.h248.values import (
    ALL,
    ALL_CONTEXTS,
    Action,
    CommandKind,
    DomainAddress,
    MId,
    TransactionReply,
    TransactionRequest,
)

log = logging.getLogger(__name__)

VERSION: Final = 3
MAX_LATE: Final = 1024
MAX_UNSENT: Final = 4 << 20
"""Octets that may wait for an MRFP that does not read."""


class MpError(Exception):
    """A procedure was not carried out."""


class MrfpUnavailable(MpError):
    """No MRFP is in service, or the one asked for is not, or its association ended before it answered."""


class MrfpTimeout(MpError):
    """The MRFP did not answer in time."""


class MrfpRefused(MpError):
    """The MRFP answered with an error: `code` and `text` of H.248.8."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(f"{code} {text}")


@dataclass(frozen=True, slots=True)
class MrfpStatus:
    """What an operator sees of an MRFP."""

    mrfp: str
    address: str
    in_service: bool
    terminations: int
    outstanding: int
    profile: str


@dataclass(slots=True)
class _Open:
    """A request under way: for a caller, or for the controller itself (no future)."""

    procedure: mp.Procedure
    correlation: str
    answer: asyncio.Future[mp.Acknowledgement] | None


@dataclass(slots=True)
class _Settings:
    timeout: float
    heartbeat: float
    clock: Callable[[], float]
    mid: MId
    tracer: Tracer


def _nothing(*_: object) -> None:
    return None


@dataclass(slots=True)
class _Terminations:
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
            if procedure.context == ALL_CONTEXTS:
                self.known.clear()
            elif procedure.termination == ALL:
                for key in [key for key in self.known if key[0] == procedure.context]:
                    del self.known[key]
            else:
                self.known.pop((procedure.context, procedure.termination), None)


_WITH_CORRELATION: Final = (
    mp.ConfigureBfcpTermination,
    mp.ReserveBfcpTermination,
    mp.ConfigureReservedBfcpTermination,
    mp.ReleaseBfcpTermination,
)
_ADDS: Final = (mp.ConfigureBfcpTermination, mp.ReserveBfcpTermination)


class _Link(asyncio.Protocol):
    """The association with one MRFP."""

    def __init__(self, controller: MpController, settings: _Settings) -> None:
        self.name = ""
        self.address = ""
        self.profile = ""
        self.in_service = False
        self.leaving = False  # has asked for no new calls
        self.to_be_cleaned = False
        self.terminations = _Terminations()
        self._controller = controller
        self._settings = settings
        self._now = settings.clock
        self._association = Association(settings.mid, Transactions())
        self._transport: asyncio.Transport | None = None
        self._open: dict[int, _Open] = {}
        self._late: OrderedDict[int, mp.Procedure] = OrderedDict()
        self._opened = self._now()
        self._next_heartbeat = self._opened + settings.heartbeat
        self._heartbeat_open = False

    # -- asyncio ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("Mp needs a stream")
        self._transport = transport
        peer = transport.get_extra_info("peername") or ("?", 0)
        self.address = f"{peer[0]}:{peer[1]}"
        self._controller.link_up(self)

    def data_received(self, data: bytes) -> None:
        try:
            events = self._association.receive(data, self._now())
        except H248Error as error:
            self.disconnect(str(error))
            return
        self._handle(events)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.in_service = False
        for entry in self._open.values():
            _fail(entry, MrfpUnavailable("the association ended"))
        self._open.clear()
        self._controller.link_down(self, str(error or "closed"))

    def disconnect(self, reason: str) -> None:
        """Close without ado."""
        log.warning("Mp: %s disconnected: %s", self.name or self.address, reason)
        if self._transport is not None:
            self._transport.abort()
        self._association.take()

    # -- requests --------------------------------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        return len(self._open)

    def request(
        self, procedure: mp.Procedure, timeout: float, answer: asyncio.Future[mp.Acknowledgement] | None
    ) -> int:
        """Send the request of a procedure. Raises MrfpUnavailable, or MrfpRefused when it cannot be written."""
        if self._transport is None:
            raise MrfpUnavailable(f"{self.name} is not connected")
        try:
            actions = mp.request_actions(procedure)
            number = self._association.request(actions, self._now(), timeout)
        except H248Error as error:
            raise MrfpRefused(error.code, error.text) from error
        correlation = self._correlation(procedure)
        self._open[number] = _Open(procedure, correlation, answer)
        if not isinstance(procedure, mp.AuditHeartbeat):
            self._trace("sent", correlation, mp.describe_request(number, procedure))
        self._flush()
        return number

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
        if self.in_service and now >= self._next_heartbeat and not self._heartbeat_open:
            self._heartbeat_open = True
            self.request(mp.AuditHeartbeat(), self._settings.timeout, None)

    def _trace(self, kind: Literal["sent", "received"], correlation: str, what: mp.Description) -> None:
        if self._settings.tracer.enabled:
            self._settings.tracer.emit(correlation, kind, "MRFP", "Mp", what.name, what.key, **what.fields)

    def _flush(self) -> None:
        octets = self._association.take()
        if not octets or self._transport is None:
            return
        self._transport.write(octets)
        if self._transport.get_write_buffer_size() > MAX_UNSENT:
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
        entry = self._open.pop(reply.transaction_id, None)
        if entry is None:
            return
        procedure = entry.procedure
        if isinstance(procedure, mp.AuditHeartbeat):
            self._heartbeat_open = False
            self._next_heartbeat = self._now() + self._settings.heartbeat
        else:
            self._trace("received", entry.correlation, mp.describe_reply(reply, procedure))
        try:
            answer = mp.parse_reply(procedure, reply)
        except H248Error as error:
            _fail(entry, MrfpRefused(error.code, error.text))
            self._own_request_answered(entry)
            return
        self.terminations.note(procedure, answer)
        if entry.answer is None:
            self._own_request_answered(entry)
        elif not entry.answer.done():
            entry.answer.set_result(answer)
        elif isinstance(answer, mp.TerminationConfigured) and isinstance(procedure, _ADDS):
            self._release(answer)  # whoever asked has gone

    def _own_request_answered(self, entry: _Open) -> None:
        procedure = entry.procedure
        if isinstance(procedure, mp.ReleaseBfcpTermination) and procedure.context == ALL_CONTEXTS:
            self._controller.link_in_service(self)

    def _timed_out(self, number: int) -> None:
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
            self._release(answer)

    def _release(self, answer: mp.TerminationConfigured) -> None:
        """Give back what nobody waits for any more."""
        log.info("Mp: releasing %s of context %d, which came too late", answer.termination, answer.context)
        released = mp.ReleaseBfcpTermination(answer.context, answer.termination)
        self.request(released, self._settings.timeout, None)

    def _request_received(self, request: TransactionRequest) -> None:
        replies: list[Action] = []
        switch_to: int | None = None
        for action in request.actions:
            for command in action.commands:
                try:
                    if command.kind is CommandKind.SERVICE_CHANGE:
                        change = mp.parse_service_change(action, command)
                        replies.append(self._service_change(request.transaction_id, change))
                        switch_to = min(change.version, VERSION)
                    elif not self.name:
                        raise H248Error(ErrorCode.REQUEST_BEFORE_REGISTRATION)
                    elif command.kind is CommandKind.NOTIFY:
                        indications = mp.parse_notify(action, command)
                        self._notified(request.transaction_id, indications)
                        replies.append(mp.notify_reply_action(action, command))
                    else:
                        raise H248Error(ErrorCode.UNKNOWN_COMMAND)
                except H248Error as error:
                    replies.append(mp.error_action(action, command, error))
        if not replies:
            nothing = H248Error(ErrorCode.NOT_IMPLEMENTED)
            reply = TransactionReply(request.transaction_id, error=nothing.descriptor)
        else:
            reply = TransactionReply(request.transaction_id, tuple(replies))
        self._association.reply(reply, self._now())
        if switch_to is not None:
            self._association.version = switch_to  # right after the reply, which travels in the old version
            self._flush()
            self._controller.link_registered(self)

    def _notified(self, number: int, indications: tuple[mp.NotifyIndication, ...]) -> None:
        for indication in indications:
            correlation = self.terminations.correlation(indication.context, indication.termination)
            self._trace("received", correlation, mp.describe_notify(number, indication))
            self._controller.link_notified(self, indication)

    def _service_change(self, number: int, change: mp.ServiceChange) -> Action:
        if change.version < 1:
            raise H248Error(ErrorCode.VERSION_NOT_SUPPORTED)
        peer = self._association.peer
        self._trace("received", "", mp.describe_service_change(number, change))
        if not self.name and peer is not None:
            self.name = format_mid(peer)
        self.profile = change.profile
        self._controller.link_service_change(self, change)
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


class MpController:
    """Registered MRFPs and what is asked of them.

    * `host`, `port`: where MRFPs connect; port 0 lets the system choose, see `port` after `start`.
    * `timeout`: seconds until an unanswered request fails. `heartbeat`: seconds between audits of ROOT.
    * `on_registered(mrfp)`, `on_lost(mrfp)`, `on_notify(mrfp, indication)`: called from the loop, may be set later.
      After `on_lost` nothing of that MRFP exists any more.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tracer: Tracer,
        *,
        timeout: float = 3.0,
        heartbeat: float = 10.0,
        on_registered: Callable[[str], None] = _nothing,
        on_lost: Callable[[str], None] = _nothing,
        on_notify: Callable[[str, mp.NotifyIndication], None] = _nothing,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.on_registered = on_registered
        self.on_lost = on_lost
        self.on_notify = on_notify
        self._tracer = tracer
        self._timeout = timeout
        self._heartbeat = heartbeat
        self._clock = clock
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._registered: dict[str, _Link] = {}
        self._ticker: asyncio.TimerHandle | None = None
        self._drained = asyncio.Event()

    async def start(self) -> None:
        """Open the port. Raises OSError when that fails."""
        loop = asyncio.get_running_loop()
        clock = self._clock or loop.time

        def link() -> _Link:
            mid = DomainAddress(self.host, self.port)
            return _Link(self, _Settings(self._timeout, self._heartbeat, clock, mid, self._tracer))

        self._server = await loop.create_server(link, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tick(loop, clock)

    async def close(self) -> None:
        """Close the port and every association."""
        if self._ticker is not None:
            self._ticker.cancel()
        if self._server is not None:
            self._server.close()
        for link in list(self._links):
            link.disconnect("the MRFC stops")
        if self._links:
            self._drained.clear()
            await self._drained.wait()

    def mrfps(self) -> list[MrfpStatus]:
        """Every registered MRFP."""
        return [
            MrfpStatus(
                link.name,
                link.address,
                link.in_service,
                len(link.terminations.known),
                link.outstanding,
                link.profile,
            )
            for link in self._registered.values()
        ]

    def choose_mrfp(self) -> str:
        """The MRFP in service with the fewest terminations and requests. Raises MrfpUnavailable."""
        ready = [link for link in self._registered.values() if link.in_service]
        if not ready:
            raise MrfpUnavailable("no MRFP is in service")
        return min(ready, key=lambda link: len(link.terminations.known) + link.outstanding).name

    async def request(
        self, mrfp: str, procedure: mp.Procedure, deadline: float | None = None
    ) -> mp.Acknowledgement:
        """Run a procedure at an MRFP. Raises MrfpUnavailable, MrfpTimeout or MrfpRefused.

        `deadline` is a time of the controller's clock (the loop's, unless given); by default `timeout` from now.
        A termination whose caller has gone, or that is confirmed too late, is released again.
        """
        link = self._registered.get(mrfp)
        if link is None:
            raise MrfpUnavailable(f"{mrfp} is not registered")
        loop = asyncio.get_running_loop()
        now = (self._clock or loop.time)()
        answer: asyncio.Future[mp.Acknowledgement] = loop.create_future()
        link.request(procedure, self._timeout if deadline is None else max(0.0, deadline - now), answer)
        return await answer

    def _tick(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        interval = min(0.1, self._timeout / 4, self._heartbeat / 4)
        self._ticker = loop.call_later(interval, self._tick, loop, clock)
        now = clock()
        for link in list(self._links):
            link.tick(now)

    # -- what links tell -------------------------------------------------------------------------------------------

    def link_up(self, link: _Link) -> None:
        """A connection came."""
        self._links.add(link)

    def link_service_change(self, link: _Link, change: mp.ServiceChange) -> None:
        """An MRFP tells its state; called before the reply is written."""
        older = self._registered.get(link.name)
        if change.method in {mp.ServiceMethod.FORCED, mp.ServiceMethod.GRACEFUL}:
            link.in_service = False
            link.leaving = True
            if change.method is mp.ServiceMethod.FORCED and older is link:
                self._unregister(link, "out of service")
            return
        link.leaving = False
        if older is link and change.reason == ServiceChangeReason.CANCEL_GRACEFUL:
            self.link_in_service(link)  # it was only asked for no new calls; those that it has go on
            return
        if older is not None:
            self._unregister(older, "registered anew")
            if older is not link:
                older.disconnect("registered anew")
        link.terminations.known.clear()
        self._registered[link.name] = link
        link.to_be_cleaned = change.method is not mp.ServiceMethod.RESTART
        if not link.to_be_cleaned:
            self.link_in_service(link)

    def link_registered(self, link: _Link) -> None:
        """The reply to a ServiceChange is on its way."""
        if link.to_be_cleaned and self._registered.get(link.name) is link:
            link.to_be_cleaned = False
            link.release_all()

    def link_in_service(self, link: _Link) -> None:
        """An MRFP can be used."""
        if self._registered.get(link.name) is link and not link.in_service and not link.leaving:
            link.in_service = True
            log.info("Mp: MRFP %s at %s is in service", link.name, link.address)
            self._call(self.on_registered, link.name)

    def link_notified(self, link: _Link, indication: mp.NotifyIndication) -> None:
        """An indication came."""
        self._call(self.on_notify, link.name, indication)

    def link_down(self, link: _Link, reason: str) -> None:
        """A connection went."""
        self._links.discard(link)
        if not self._links:
            self._drained.set()
        if self._registered.get(link.name) is link:
            self._unregister(link, reason)

    def _unregister(self, link: _Link, reason: str) -> None:
        del self._registered[link.name]
        link.in_service = False
        log.warning("Mp: MRFP %s lost: %s", link.name, reason)
        self._call(self.on_lost, link.name)

    def _call(self, callback: Callable[..., None], *arguments: object) -> None:
        # from the loop, so that a fault of the callback is not one of the link
        asyncio.get_running_loop().call_soon(callback, *arguments)
