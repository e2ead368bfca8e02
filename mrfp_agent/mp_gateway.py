"""Mp at the MRFP: has an MRFC to serve, always; and tells it what becomes of terminations and of the MRFP itself.

The MRFP is the media gateway of H.248. It connects to the first MRFC of its list that answers, registers by
ServiceChange, and comes back by itself when the association (`mp_link`) ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Final

from mrf_ops.lines import CleartextError, Transport, connect, refuse_cleartext
from mrf_ops.trace import Tracer
from mrf_protocols.h248 import mp
from mrf_protocols.h248.errors import ErrorCode, H248Error, ServiceChangeReason
from mrf_protocols.h248.transactions import TransactionIds
from mrf_protocols.h248.values import (
    ALL,
    ALL_CONTEXTS,
    DomainAddress,
    DomainName,
    MId,
    ServiceState,
)
from mrfp_agent.congestion import Congestion
from mrfp_agent.mp_execution import Execution, MediaSide
from mrfp_agent.mp_link import VERSION, Link
from mrfp_agent.mp_settings import MpSettings, MrfcAddress

_log = logging.getLogger(__name__)

_TICK: Final = 0.1
_MP_PORT: Final = 2944
_TOGETHER: Final = 32
"""Indications that one transaction may carry: some kB, far below what a message can hold."""


def _nothing() -> None:
    return None


def _no_load() -> float:
    return 0.0


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
        self._clock = clock
        self._transaction_ids = TransactionIds(random.randrange(1, 1 << 32))  # noqa: S311 - unlike the last run's
        self._execution = Execution(_Procedures(media) if callable(media) else media, self, tracer)
        self._settings = settings
        self._on_registered = on_registered
        self._on_lost = on_lost
        self._load = load
        self._link: Link | None = None
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
        self._next_tick = self._clock()
        self._tick()

    async def close(self, grace: float = 0.0) -> None:
        """Say good-bye (ServiceChange Forced) if there is an MRFC to hear it, and disconnect.

        With `grace` the MRFC is asked first to bring nothing new (Graceful), and has so many seconds to take back what
        is there.
        """
        self._stopping = True
        if grace > 0 and self.registered:
            self._execution.accepts_new = False
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
                whose = self._execution.ids(each.context, each.termination)
                _log.info("Mp: no MRFC to tell: %s", each, extra=whose)
            return True
        try:
            number = self._link.notify(indications)
        except H248Error as error:
            if len(indications) == 1:
                whose = self._execution.ids(indications[0].context, indications[0].termination)
                _log.error("Mp: an indication cannot be written: %s", error, extra=whose)
            return False
        for indication in indications:
            correlation = self._execution.correlation(indication.context, indication.termination)
            self._execution.trace("sent", correlation, mp.describe_notify(number, indication))
        return True

    # -- what the MRFC asks of ROOT ----------------------------------------------------------------------------------

    def watch(self, watch: mp.WatchMrfp) -> None:
        """Congestion and silence are to be told from now on, as asked."""
        if self._link is not None:
            self._link.watch = watch
            self._congestion = Congestion()

    def service_change(self, change: mp.ServiceChange) -> mp.ServiceChangeAccepted:
        """The MRFC takes us out of service or back, or hands us over to another."""
        execution = self._execution
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
        now = self._clock()
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
        link = Link(self._settings, address.transport, self._execution, self._transaction_ids, self._clock)
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
                self._execution.accepts_new, self._execution.service = True, ServiceState.IN_SERVICE
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

    async def _register(self, link: Link, change: mp.ServiceChange) -> mp.ServiceChangeAccepted:
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
