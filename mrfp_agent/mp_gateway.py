"""Mp at the MRFP: registers with an MRFC, carries its commands to the media side, and sends indications.

The MRFP is the media gateway of H.248. It connects to the first MRFC of its list that answers, registers by
ServiceChange, and comes back by itself when the association ends.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from mrf_ops.trace import Tracer
from mrf_protocols.h248 import mp
from mrf_protocols.h248.association import Association, Event, UndecodableReceived
from mrf_protocols.h248.errors import ErrorCode, H248Error, ServiceChangeReason
from mrf_protocols.h248.transactions import (
    MessageErrorReceived,
    ReplyReceived,
    RequestReceived,
    RequestTimedOut,
    Transactions,
)
from mrf_protocols.h248.values import (
    ALL,
    ALL_CONTEXTS,
    Action,
    Command,
    MId,
    TransactionReply,
    TransactionRequest,
)

_log = logging.getLogger(__name__)

VERSION: Final = 3
_TICK: Final = 0.1


@dataclass(frozen=True, slots=True)
class MpSettings:
    """What an operator decides; times in seconds.

    `mrfcs`: addresses to try in order. `mid`: how this MRFP names itself, alone in the network. `timeout`:
    for an answer of the MRFC. `silence`: without any message from the MRFC for so long, the association is
    given up; set it to several of the MRFC's heartbeats. `first_pause`, `longest_pause`: before connecting
    again, doubled each time.
    """

    mrfcs: tuple[mp.Address, ...]
    mid: MId
    timeout: float = 3.0
    silence: float = 60.0
    connect_timeout: float = 5.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    profile: str = "bfcp_mrfp/1"


def _nothing() -> None:
    return None


class _Link(asyncio.Protocol):
    """One association with an MRFC."""

    def __init__(self, gateway: MpGateway, settings: MpSettings, clock: Callable[[], float]) -> None:
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.registered = False
        self._gateway = gateway
        self._settings = settings
        self._now = clock
        self._association = Association(settings.mid, Transactions())
        self._transport: asyncio.Transport | None = None
        self._heard = clock()
        self._service_changes: dict[int, asyncio.Future[mp.ServiceChangeAccepted]] = {}

    # -- asyncio
    # ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("Mp needs a stream")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard = self._now()
        try:
            events = self._association.receive(data, self._heard)
        except H248Error as error:
            self.disconnect(str(error))
            return
        self._handle(events)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.registered = False
        for answer in self._service_changes.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the MRFC closed the connection"))
        self._service_changes.clear()
        if not self.closed.done():
            self.closed.set_result(str(error or "closed"))

    def disconnect(self, reason: str) -> None:
        """Close without ado."""
        _log.warning("Mp: leaving the MRFC: %s", reason)
        if self._transport is not None:
            self._transport.abort()

    # -- what we ask
    # -----------------------------------------------------------------------------------------------

    async def service_change(self, change: mp.ServiceChange) -> mp.ServiceChangeAccepted:
        """Tell the MRFC. Raises H248Error with its answer, TimeoutError, or ConnectionError."""
        if self._transport is None:
            raise ConnectionError("not connected")
        answer: asyncio.Future[mp.ServiceChangeAccepted] = asyncio.get_running_loop().create_future()
        actions = mp.service_change_actions(change)
        number = self._association.request(actions, self._now(), self._settings.timeout)
        self._service_changes[number] = answer
        self._gateway.trace("sent", "", mp.describe_service_change(number, change))
        self._flush()
        return await answer

    def notify(self, indication: mp.NotifyIndication) -> int:
        """Indicate; the answer is only logged. Gives the transaction id."""
        number = self._association.request(mp.notify_actions(indication), self._now(), self._settings.timeout)
        self._flush()
        return number

    def tick(self, now: float) -> None:
        """Time-outs, and an MRFC that has fallen silent."""
        if self._transport is None:
            return
        if now - self._heard > self._settings.silence:
            self.disconnect("the MRFC is silent")
            return
        self._handle(self._association.tick(now))

    def _flush(self) -> None:
        octets = self._association.take()
        if octets and self._transport is not None:
            self._transport.write(octets)

    # -- what comes
    # ------------------------------------------------------------------------------------------------

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, RequestReceived):
                self._association.reply(self._carry_out(event.request), self._now())
            elif isinstance(event, ReplyReceived):
                self._reply_received(event.reply)
            elif isinstance(event, RequestTimedOut):
                self._timed_out(event.transaction_id)
            elif isinstance(event, UndecodableReceived):
                _log.warning("Mp: undecodable message from the MRFC: %s", event.error)
            elif isinstance(event, MessageErrorReceived):
                _log.warning("Mp: the MRFC could not read a message: %s", event.error)
        self._flush()

    def _reply_received(self, reply: TransactionReply) -> None:
        answer = self._service_changes.pop(reply.transaction_id, None)
        try:
            if answer is None:
                mp.parse_notify_reply(reply)
                return
            accepted = mp.parse_service_change_reply(reply)
        except H248Error as error:
            if answer is None:
                _log.warning("Mp: the MRFC refused an indication: %s", error)
            elif not answer.done():
                answer.set_exception(error)
            return
        # commands may follow in the same segment, so the version changes here
        self._association.version = min(accepted.version, VERSION)
        self.registered = True
        if not answer.done():
            answer.set_result(accepted)

    def _timed_out(self, number: int) -> None:
        answer = self._service_changes.pop(number, None)
        if answer is None:
            _log.warning("Mp: the MRFC did not answer an indication")
        elif not answer.done():
            answer.set_exception(TimeoutError("the MRFC did not answer the registration"))

    def _carry_out(self, request: TransactionRequest) -> TransactionReply:
        """Command after command; the first that fails ends the transaction, unless it is optional."""
        number = request.transaction_id
        if not self.registered:
            error = H248Error(ErrorCode.REQUEST_BEFORE_REGISTRATION)
            return TransactionReply(number, error=error.descriptor)
        replies: list[Action] = []
        for action in request.actions:
            commands: tuple[Command | None, ...] = action.commands
            if not commands and action.properties is not None:
                commands = (None,)  # properties of the context alone
            for command in commands:
                reply, fine = self._gateway.carry_out(number, action, command)
                replies.append(reply)
                if not fine and not (command is not None and command.optional):
                    return TransactionReply(number, tuple(replies))
        if not replies:
            return TransactionReply(number, error=H248Error(ErrorCode.NOT_IMPLEMENTED).descriptor)
        return TransactionReply(number, tuple(replies))


class MpGateway:
    """The Mp side of an MRFP.

    * `handle(procedure)` carries out a procedure and gives its acknowledgement, or raises H248Error with the
    code to
      answer with; it must not block.
    * `on_registered()`: an MRFC commands us from now on. `on_lost()`: it does no longer.
    """

    def __init__(
        self,
        settings: MpSettings,
        handle: Callable[[mp.Procedure], mp.Acknowledgement],
        tracer: Tracer,
        *,
        on_registered: Callable[[], None] = _nothing,
        on_lost: Callable[[], None] = _nothing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._procedure_handler = handle
        self._tracer = tracer
        self._on_registered = on_registered
        self._on_lost = on_lost
        self._clock = clock
        self._link: _Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._correlations: dict[tuple[int, str], str] = {}
        self._available = True
        self._told_available = True
        self._telling: asyncio.Task[None] | None = None

    @property
    def registered(self) -> bool:
        """Whether an MRFC commands us."""
        return self._link is not None and self._link.registered

    def start(self) -> None:
        """Connect and register, for as long as `close` is not called."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._tick()

    async def close(self) -> None:
        """Say good-bye (ServiceChange Forced) if there is an MRFC to hear it, and disconnect."""
        if self._ticker is not None:
            self._ticker.cancel()
        if self._link is not None and self._link.registered:
            change = self._change(mp.ServiceMethod.FORCED, ServiceChangeReason.TERMINATION_OUT_OF_SERVICE)
            try:
                await asyncio.wait_for(self._link.service_change(change), 1.0)
            except (H248Error, OSError, TimeoutError) as error:
                _log.info("Mp: good-bye not answered: %s", error)
        for task in (self._task, self._telling):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def set_available(self, available: bool) -> None:
        """Whether new terminations can be had; the MRFC is told when that changes, and after each registration.

        Without media it is asked for no new calls (Graceful), which leaves those that are up; with media again
        that is taken back (Restart, 918).
        """
        self._available = available
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell_availability())

    async def _tell_availability(self) -> None:
        while (
            (link := self._link) is not None and link.registered and self._told_available != self._available
        ):
            available = self._available
            if available:
                change = self._change(mp.ServiceMethod.RESTART, ServiceChangeReason.CANCEL_GRACEFUL)
            else:
                change = self._change(
                    mp.ServiceMethod.GRACEFUL, ServiceChangeReason.TERMINATION_OUT_OF_SERVICE
                )
            try:
                await link.service_change(change)
            except (H248Error, OSError, TimeoutError) as error:
                _log.warning("Mp: the MRFC did not take a change of service: %s", error)
                await asyncio.sleep(self._settings.timeout)
                continue
            self._told_available = available

    def notify(self, indication: mp.NotifyIndication) -> None:
        """Indicate to the MRFC; dropped when there is none, since it has then ended the call anyway.

        Goes out in the next turn of the loop, so behind the reply to a command that is being carried out.
        """
        asyncio.get_running_loop().call_soon(self._notify, indication)

    def _notify(self, indication: mp.NotifyIndication) -> None:
        if self._link is None or not self._link.registered:
            _log.info("Mp: no MRFC to tell: %s", indication)
            return
        try:
            number = self._link.notify(indication)
        except H248Error as error:
            _log.error("Mp: indication that cannot be written: %s", error)
            return
        correlation = self._correlations.get((indication.context, indication.termination), "")
        self.trace("sent", correlation, mp.describe_notify(number, indication))

    # -- for links
    # -------------------------------------------------------------------------------------------------

    def trace(self, kind: Literal["sent", "received"], correlation: str, what: mp.Description) -> None:
        """A message of ours, in the trace of its call."""
        if self._tracer.enabled:
            self._tracer.emit(correlation, kind, "MRFC", "Mp", what.name, what.key, **what.fields)

    def carry_out(self, number: int, action: Action, command: Command | None) -> tuple[Action, bool]:
        """One command, or none but the context's properties: the action of its reply, and whether it went well."""
        try:
            if command is None:
                procedure: mp.Procedure = mp.parse_context_request(action)
            else:
                procedure = mp.parse_command(action, command)
            if isinstance(procedure, mp.AuditHeartbeat):
                return mp.reply_action(procedure, self._handled(procedure)), True
        except H248Error as error:
            what = "Context" if command is None else command.kind
            _log.warning("Mp: %s refused: %s", what, error)
            return mp.error_action(action, command, error), False
        correlation = self._correlation(procedure)
        self.trace("received", correlation, mp.describe_request(number, procedure))
        try:
            acknowledgement = self._handled(procedure)
        except H248Error as error:
            _log.warning("Mp: %s refused: %s", mp.procedure_name(procedure), error)
            reply, fine = mp.error_action(action, command, error), False
        else:
            self._remember(procedure, acknowledgement, correlation)
            reply, fine = mp.reply_action(procedure, acknowledgement), True
        answer = TransactionReply(number, (reply,))
        self.trace("sent", correlation, mp.describe_reply(answer, procedure))
        return reply, fine

    def _handled(self, procedure: mp.Procedure) -> mp.Acknowledgement:
        try:
            return self._procedure_handler(procedure)
        except H248Error:
            raise
        except Exception as error:  # a fault of one procedure must not end the association of all
            _log.exception("Mp: %s failed", mp.procedure_name(procedure))
            raise H248Error(ErrorCode.INTERNAL_SOFTWARE_FAILURE) from error

    # -- correlation
    # -----------------------------------------------------------------------------------------------

    def _correlation(self, procedure: mp.Procedure) -> str:
        if isinstance(procedure, mp.AuditHeartbeat | mp.ConfigureConference):
            return ""
        if not isinstance(procedure, mp.ConfigureBfcpTermination | mp.ReserveBfcpTermination):
            known = self._correlations.get((procedure.context, procedure.termination), "")
            return procedure.correlation or known
        return procedure.correlation

    def _remember(self, procedure: mp.Procedure, answer: mp.Acknowledgement, correlation: str) -> None:
        if isinstance(answer, mp.TerminationConfigured):
            self._correlations[(answer.context, answer.termination)] = correlation
        elif isinstance(procedure, mp.ReleaseBfcpTermination):
            for key in list(self._correlations):
                if procedure.context in {key[0], ALL_CONTEXTS} and procedure.termination in {key[1], ALL}:
                    del self._correlations[key]

    # -- connecting
    # ------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(_TICK, self._tick)
        if self._link is not None:
            self._link.tick(self._clock())

    def _change(self, method: mp.ServiceMethod, reason: ServiceChangeReason) -> mp.ServiceChange:
        return mp.ServiceChange(method, reason, VERSION, self._settings.profile)

    async def _run(self) -> None:
        change = self._change(mp.ServiceMethod.RESTART, ServiceChangeReason.COLD_BOOT)
        pause = self._settings.first_pause
        while True:
            for address in self._settings.mrfcs:
                if await self._serve(address, change):
                    change = self._change(mp.ServiceMethod.DISCONNECTED, ServiceChangeReason.SERVICE_RESTORED)
                    pause = self._settings.first_pause
                    break  # the first of the list is the preferred one
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - spreads load, hides nothing
            pause = min(2 * pause, self._settings.longest_pause)

    async def _serve(self, address: mp.Address, change: mp.ServiceChange) -> bool:
        """Be there for one MRFC, as long as it is there; False when the registration failed."""
        loop = asyncio.get_running_loop()
        link = _Link(self, self._settings, self._clock)
        try:
            opening = loop.create_connection(lambda: link, *address)
            transport, _ = await asyncio.wait_for(opening, self._settings.connect_timeout)
        except (OSError, TimeoutError) as error:
            _log.warning("Mp: no MRFC at %s:%d: %s", *address, error or "no answer")
            return False
        self._link = link
        try:
            try:
                await link.service_change(change)
            except (H248Error, OSError, TimeoutError) as error:
                _log.warning("Mp: MRFC at %s:%d did not take us: %s", *address, error)
                return False
            _log.info("Mp: registered with the MRFC at %s:%d", *address)
            self._told_available = True
            self.set_available(self._available)
            self._on_registered()
            try:
                reason = await link.closed
                _log.warning("Mp: MRFC at %s:%d lost: %s", *address, reason)
            finally:
                self._on_lost()
            return True
        finally:
            self._link = None
            transport.abort()
