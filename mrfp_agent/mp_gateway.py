"""Mp at the MRFP: registers with an MRFC, carries its commands to the media side, and sends indications.

The MRFP is the media gateway of H.248. It connects to the first MRFC of its list that answers, registers by
ServiceChange, and comes back by itself when the association ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from mrf_ops.lines import CleartextError, Line, TlsFiles, Transport, connect, refuse_cleartext, write_all
from mrf_ops.trace import Tracer
from mrf_protocols.h248 import mp, tpkt
from mrf_protocols.h248.association import Association, Event, UndecodableReceived
from mrf_protocols.h248.errors import ErrorCode, H248Error, ServiceChangeReason
from mrf_protocols.h248.transactions import (
    MessageErrorReceived,
    ReplyReceived,
    RequestReceived,
    RequestTimedOut,
    Retransmission,
    TransactionIds,
    Transactions,
)
from mrf_protocols.h248.values import (
    ALL,
    ALL_CONTEXTS,
    Action,
    DomainAddress,
    DomainName,
    MId,
    ServiceState,
    TransactionReply,
    TransactionRequest,
)
from mrfp_agent.congestion import Congestion
from mrfp_agent.mp_execution import Execution, Ids, MediaSide

_log = logging.getLogger(__name__)

VERSION: Final = 3
_TICK: Final = 0.1
_SLICE: Final = 0.02
"""Seconds of commands at a time: users' connections live in the same loop."""
_MP_PORT: Final = 2944
_MAX_UNSENT: Final = 1 << 20
"""Octets that may wait for an MRFC that does not read."""
_TOGETHER: Final = 32
"""Indications that one transaction may carry: some kB, far below what a message can hold."""


class MrfcAddress(NamedTuple):
    """Where an MRFC is."""

    host: str
    port: int
    transport: Transport = Transport.TCP


@dataclass(frozen=True, slots=True)
class MpSettings:
    """What an operator decides; times in seconds.

    `mrfcs`: addresses to try in order, by TCP where no transport is said. `mid`: how this MRFP names itself, alone
    in the network. `timeout`: for an answer of the MRFC. `silence`: without any message from the MRFC for so long,
    the association is given up; set it to several of the MRFC's heartbeats. `first_pause`, `longest_pause`: before
    connecting again, doubled each time. `tls`: our certificate, for MRFCs by TLS. `pretty`: long tokens when we
    write. `max_executing`: commands that may wait at once, more are refused with 511.
    """

    mrfcs: tuple[mp.Address | MrfcAddress, ...]
    mid: MId
    timeout: float = 3.0
    silence: float = 60.0
    connect_timeout: float = 5.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    profile: str = "bfcp_mrfp/1"
    tls: TlsFiles | None = None
    allow_cleartext: bool = False
    pretty: bool = False
    pending_after: float = 1.0
    max_executing: int = 1024


def _nothing() -> None:
    return None


def _no_load() -> float:
    return 0.0


def _spread(seconds: float) -> float:
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, hides nothing


class _Link:
    """One association with an MRFC."""

    def __init__(self, gateway: MpGateway, settings: MpSettings, transport: Transport) -> None:
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.registered = False
        self.watch = mp.WatchMrfp(congestion=False)
        self.line: Line | None = None
        self._gateway = gateway
        self._settings = settings
        self._now = gateway.clock
        transactions = Transactions(
            ids=gateway.transaction_ids,
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
        self._gateway.execution.trace("sent", "", mp.describe_service_change(number, change))
        self._flush()
        return await answer

    def notify(self, indications: Sequence[mp.NotifyIndication]) -> int:
        """Indicate, in one transaction; the answer is only logged. Gives the transaction id."""
        number = self._request(tuple(action for each in indications for action in mp.notify_actions(each)))
        ids = [self._gateway.execution.ids(each.context, each.termination) for each in indications]
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
                return self._gateway.execution.carry_out(request)
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


class MpGateway:
    """The Mp side of an MRFP.

    * `media` carries out procedures; it must not block. A bare function serves where nothing is ever audited.
    * `on_registered()`: an MRFC commands us from now on. `on_lost()`: it does no longer.
    * `load()`: share of the media side's resources that is taken.
    """

    def __init__(
        self,
        settings: MpSettings,
        media: MediaSide | Callable[[mp.Procedure], mp.Acknowledgement],
        tracer: Tracer,
        *,
        on_registered: Callable[[], None] = _nothing,
        on_lost: Callable[[], None] = _nothing,
        load: Callable[[], float] = _no_load,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.transaction_ids = TransactionIds(random.randrange(1, 1 << 32))  # noqa: S311 - unlike the last run's
        self.execution = Execution(_Procedures(media) if callable(media) else media, self, tracer)
        self._settings = settings
        self._on_registered = on_registered
        self._on_lost = on_lost
        self._load = load
        self._link: _Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._next_tick = 0.0
        self._congestion = Congestion()
        self._indications: list[mp.NotifyIndication] = []
        self._handoff: MrfcAddress | None = None
        self._available = True
        self._told_available = True
        self._telling: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def registered(self) -> bool:
        """Whether an MRFC commands us."""
        return self._link is not None and self._link.registered

    def start(self) -> None:
        """Connect and register, for as long as `close` is not called."""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run())
        self._next_tick = self.clock()
        self._tick()

    async def close(self, grace: float = 0.0) -> None:
        """Say good-bye (ServiceChange Forced) if there is an MRFC to hear it, and disconnect.

        With `grace` the MRFC is asked first to bring nothing new (Graceful), and has so many seconds to take back what
        is there.
        """
        self._stopping = True
        if grace > 0 and self.registered:
            self.execution.accepts_new = False
            reason = ServiceChangeReason.TERMINATION_OUT_OF_SERVICE
            await self._tell(mp.ServiceMethod.GRACEFUL, reason, delay=round(grace))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._emptied()
        if self._ticker is not None:
            self._ticker.cancel()
        await self._tell(mp.ServiceMethod.FORCED, ServiceChangeReason.TERMINATION_OUT_OF_SERVICE)
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
            method, reason = (
                (mp.ServiceMethod.RESTART, ServiceChangeReason.CANCEL_GRACEFUL)
                if available
                else (mp.ServiceMethod.GRACEFUL, ServiceChangeReason.TERMINATION_OUT_OF_SERVICE)
            )
            try:
                await link.service_change(mp.ServiceChange(method, reason, VERSION, self._settings.profile))
            except (H248Error, OSError, TimeoutError) as error:
                _log.warning("Mp: the MRFC did not take a change of service: %s", error)
                await asyncio.sleep(self._settings.timeout)
                continue
            self._told_available = available

    async def _emptied(self) -> None:
        """Wait until nothing is left, or nobody who could take it back."""
        while self.registered and self._load() > 0:  # noqa: ASYNC110 - the media side tells nobody when it is empty
            await asyncio.sleep(_TICK)

    async def _tell(
        self, method: mp.ServiceMethod, reason: ServiceChangeReason, delay: int | None = None
    ) -> None:
        if self._link is None or not self._link.registered:
            return
        change = mp.ServiceChange(method, reason, VERSION, self._settings.profile, delay)
        try:
            async with asyncio.timeout(1.0):
                await self._link.service_change(change)
        except (H248Error, OSError, TimeoutError) as error:
            _log.info("Mp: ServiceChange %s not answered: %s", method, error)

    def notify(self, indication: mp.NotifyIndication) -> None:
        """Indicate to the MRFC; dropped when there is none, since it has then ended the call anyway.

        Goes out in the next turn of the loop, so behind the reply to a command that is being carried out, and
        together with what else there is to indicate then.
        """
        if not self._indications:
            asyncio.get_running_loop().call_soon(self._notify)
        self._indications.append(indication)

    def _notify(self) -> None:
        indications, self._indications = self._indications, []
        for start in range(0, len(indications), _TOGETHER):
            batch = indications[start : start + _TOGETHER]
            if not self._notify_together(batch) and len(batch) > 1:
                for indication in batch:
                    self._notify_together([indication])

    def _notify_together(self, indications: list[mp.NotifyIndication]) -> bool:
        """False: they cannot be written, and nothing was sent."""
        if self._link is None or not self._link.registered:
            for each in indications:
                whose = self.execution.ids(each.context, each.termination)
                _log.info("Mp: no MRFC to tell: %s", each, extra=whose)
            return True
        try:
            number = self._link.notify(indications)
        except H248Error as error:
            if len(indications) == 1:
                whose = self.execution.ids(indications[0].context, indications[0].termination)
                _log.error("Mp: an indication cannot be written: %s", error, extra=whose)
            return False
        for indication in indications:
            correlation = self.execution.correlation(indication.context, indication.termination)
            self.execution.trace("sent", correlation, mp.describe_notify(number, indication))
        return True

    # -- what the MRFC asks of ROOT ----------------------------------------------------------------------------------

    def watch(self, watch: mp.WatchMrfp) -> None:
        """Congestion and silence are to be told from now on, as asked."""
        if self._link is not None:
            self._link.watch = watch
            self._congestion = Congestion()

    def service_change(self, change: mp.ServiceChange) -> mp.ServiceChangeAccepted:
        """The MRFC takes us out of service or back, or hands us over to another."""
        execution = self.execution
        if change.method is mp.ServiceMethod.HANDOFF:
            if change.mgc is not None:
                self._handoff = self._address_of(change.mgc)
            if self._link is not None:
                where = "it stops" if change.mgc is None else "handed over to another one"
                asyncio.get_running_loop().call_soon(self._link.disconnect, where)
        elif change.method is mp.ServiceMethod.FORCED:
            execution.accepts_new, execution.service = False, ServiceState.OUT_OF_SERVICE
            execution.release(ALL_CONTEXTS, ALL)
        elif change.method is mp.ServiceMethod.GRACEFUL:
            execution.accepts_new = False
        elif change.method is mp.ServiceMethod.RESTART:
            execution.accepts_new, execution.service = True, ServiceState.IN_SERVICE
        else:
            raise H248Error(ErrorCode.UNKNOWN_VALUE)
        version = VERSION if self._link is None else min(change.version, VERSION)
        return mp.ServiceChangeAccepted(version, change.profile)

    def _address_of(self, mid: MId) -> MrfcAddress:
        """Where an MRFC is by its name, by the transport of the association that we have."""
        transport = Transport.TCP
        if self._link is not None and self._link.line is not None:
            transport = self._link.line.transport
        if isinstance(mid, DomainAddress):
            return MrfcAddress(mid.address, mid.port or _MP_PORT, transport)
        if isinstance(mid, DomainName):
            return MrfcAddress(mid.name, mid.port or _MP_PORT, transport)
        raise H248Error(ErrorCode.UNKNOWN_VALUE, "An MRFC without an address")

    # -- connecting --------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(_TICK, self._tick)
        now = self.clock()
        late, self._next_tick = max(0.0, now - self._next_tick), now + _TICK
        link = self._link
        if link is None:
            return
        link.tick(now)
        if link.registered and link.watch.congestion:
            busy = link.waiting / self._settings.max_executing
            reduction = self._congestion.measure(self._load(), busy, late=late)
            if reduction is not None:
                link.notify_root(mp.MrfpCongestion(reduction, link.watch.request_id))

    async def _run(self) -> None:
        """Be registered somewhere, always. The first of the list is the preferred one."""
        pause = self._settings.first_pause
        last: MrfcAddress | None = None
        while True:
            for address in self._candidates():
                handed = self._handoff is not None
                self._handoff = None
                if await self._serve(address, last, handed):
                    last = address
                    pause = self._settings.first_pause
                    break
            if self._handoff is not None:
                continue  # at once: the calls that we have go on there
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - spreads load, hides nothing
            pause = min(2 * pause, self._settings.longest_pause)

    def _candidates(self) -> list[MrfcAddress]:
        listed = [MrfcAddress(*address) for address in self._settings.mrfcs]
        return listed if self._handoff is None else [self._handoff, *listed]

    def _change(self, address: MrfcAddress, last: MrfcAddress | None, handed: bool) -> mp.ServiceChange:
        """How we come to an MRFC (RFC 3525 11.2, 11.5): anew, back, from one that failed, or sent by another."""
        if last is None:
            method, reason = mp.ServiceMethod.RESTART, ServiceChangeReason.COLD_BOOT
        elif handed:
            method, reason = mp.ServiceMethod.HANDOFF, ServiceChangeReason.MGC_DIRECTED_CHANGE
        elif address == last:
            method, reason = mp.ServiceMethod.DISCONNECTED, ServiceChangeReason.SERVICE_RESTORED
        else:
            method, reason = mp.ServiceMethod.FAILOVER, ServiceChangeReason.MGC_IMPENDING_FAILURE
        return mp.ServiceChange(method, reason, VERSION, self._settings.profile)

    async def _serve(self, address: MrfcAddress, last: MrfcAddress | None, handed: bool) -> bool:
        """Be there for one MRFC, as long as it is there; False when the registration failed."""
        link = _Link(self, self._settings, address.transport)
        host, port, transport = address
        try:
            refuse_cleartext("Mp", transport, host, self._settings.allow_cleartext)
            # not wait_for: on Python 3.11 it forgets that it was cancelled when the connection fails just then
            async with asyncio.timeout(self._settings.connect_timeout):
                await connect(transport, host, port, link, self._settings.tls)
        except (OSError, CleartextError, UnicodeError) as error:  # the last: what is no host name
            _log.warning("Mp: no MRFC at %s:%d: %s", host, port, error or "no answer")
            return False
        self._link = link
        try:
            try:
                accepted = await self._register(link, self._change(address, last, handed))
            except (H248Error, OSError, TimeoutError) as error:
                _log.warning("Mp: MRFC at %s:%d did not take us: %s", host, port, error)
                return False
            if accepted.mgc is not None:
                self._handoff = self._address_of(accepted.mgc)
                return True
            _log.info("Mp: registered with the MRFC at %s:%d", host, port)
            if not self._stopping:  # what an earlier MRFC had closed is open for this one
                self.execution.accepts_new, self.execution.service = True, ServiceState.IN_SERVICE
            self._told_available = True
            self.set_available(self._available)
            self._on_registered()
            try:
                reason = await link.closed
                _log.warning("Mp: MRFC at %s:%d lost: %s", host, port, reason)
            finally:
                self._on_lost()
            return True
        finally:
            self._link = None
            if link.line is not None:
                link.line.abort()

    async def _register(self, link: _Link, change: mp.ServiceChange) -> mp.ServiceChangeAccepted:
        """Register; an MRFC that does not know our version gets an older one (RFC 3525 11.3)."""
        version = change.version
        while True:
            attempt = mp.ServiceChange(change.method, change.reason, version, change.profile)
            try:
                return await link.service_change(attempt)
            except H248Error as error:
                if error.code != ErrorCode.VERSION_NOT_SUPPORTED or version == 1:
                    raise
                version -= 1


class _Procedures:
    """A media side that only carries out procedures."""

    def __init__(self, handle: Callable[[mp.Procedure], mp.Acknowledgement]) -> None:
        self.handle = handle

    def inventory(self, in_service: ServiceState) -> mp.Inventory:
        """Nothing that could be audited."""
        return mp.Inventory(mp.RootFacts(in_service, 0, 0, 0.0), {}, ())
