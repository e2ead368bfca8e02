"""Mp at the MRFC: the port where MRFPs register, and the pool of those that have.

The MRFC is the media gateway controller of H.248. One `MpController` serves all MRFPs from one asyncio loop; it needs
no signal handler, no executor and no task of its own. A peer that misbehaves loses its connection, the others notice
nothing.

An MRFP whose association breaks keeps its terminations for a while, and so does the MRFC (`loss_grace`): when it comes
back in time (ServiceChange Disconnected), both compare what they have and go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

from mrf_ops.lines import (
    CleartextError,
    Listening,
    TlsFiles,
    Transport,
    has_sctp,
    listen,
    refuse_cleartext,
)
from mrf_ops.trace import Tracer
from mrf_protocols.h248 import mp
from mrf_protocols.h248.errors import ServiceChangeReason
from mrf_protocols.h248.transactions import TransactionIds
from mrf_protocols.h248.values import DomainAddress
from mrfc.mp.link import (
    Link,
    LinkSettings,
    MpError,
    MrfpRefused,
    MrfpTimeout,
    MrfpUnavailable,
    Terminations,
)

log = logging.getLogger(__name__)

__all__ = [
    "MpController",
    "MpError",
    "MpTransports",
    "MrfpRefused",
    "MrfpStatus",
    "MrfpTimeout",
    "MrfpUnavailable",
]

MAX_INACTIVITY = 600.0
"""Seconds; more than that an MRFP cannot be told (H.248.14)."""


GOOD_BYE = 1.0
"""Seconds for which MRFPs that are sent away are waited for."""


@dataclass(frozen=True, slots=True)
class MpTransports:
    """How MRFPs may come: by each of these at the port, by TLS at `tls_port`. Keys travel on Mp."""

    transports: tuple[Transport, ...] = (Transport.TCP,)
    tls_port: int = 0
    tls: TlsFiles | None = None
    allow_cleartext: bool = False


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class MrfpStatus:
    """What an operator sees of an MRFP."""

    mrfp: str
    address: str
    in_service: bool
    terminations: int
    outstanding: int
    profile: str
    version: int = 3
    reduction: int = 0


@dataclass(slots=True)
class _Suspended:
    """What an MRFP had when its association broke, and until when that is kept."""

    terminations: Terminations
    until: float


class MpController:
    """Registered MRFPs and what is asked of them.

    * `host`, `port`: where MRFPs connect; port 0 lets the system choose, see `port` after `start`.
    * `transports`: TCP unless others are named; `ports` after `start` tells where each is.
    * `timeout`: seconds until an unanswered request fails. `heartbeat`: seconds between audits of ROOT.
    * `loss_grace`: seconds for which the calls of an MRFP whose association broke are kept.
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
        loss_grace: float = 0.0,
        transports: MpTransports | None = None,
        pretty: bool = False,
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
        self.ports: dict[Transport, int] = {}
        self._loss_grace = loss_grace
        self._transports = transports or MpTransports()
        self._pretty = pretty
        self._ids = TransactionIds(random.randrange(1, 1 << 32))  # noqa: S311 - unlike the last run's
        self._listening: list[Listening] = []
        self._suspended: dict[str, _Suspended] = {}
        self._links: set[Link] = set()
        self._registered: dict[str, Link] = {}
        self._ticker: asyncio.TimerHandle | None = None
        self._drained = asyncio.Event()

    async def start(self) -> None:
        """Open the ports. Raises OSError or ssl.SSLError when that fails, CleartextError when it must not be."""
        loop = asyncio.get_running_loop()
        clock = self._clock or loop.time
        for transport in self._transports.transports:
            if transport is Transport.SCTP and not has_sctp():
                log.warning("Mp: this kernel has no SCTP; it is left out")
                continue
            try:
                await self._listen(transport, clock)
            except BaseException:
                self._close_ports()
                raise
        self._tick(loop, clock)

    async def _listen(self, transport: Transport, clock: Callable[[], float]) -> None:
        refuse_cleartext("Mp", transport, self.host, self._transports.allow_cleartext)
        secure = transport is Transport.TLS
        if secure and self._transports.tls is None:
            raise CleartextError("Mp over TLS needs certificate, key and authority")

        def link() -> Link:
            settings = LinkSettings(
                self._timeout,
                self._heartbeat,
                self._inactivity(),
                clock,
                DomainAddress(self.host, self.ports.get(transport, self.port)),
                self._tracer,
                self._ids,
                self._pretty,
            )
            return Link(self, settings, transport)

        port = self._transports.tls_port if secure else self.port
        listening = await listen(transport, self.host, port, link, self._transports.tls)
        self._listening.append(listening)
        self.ports[transport] = listening.port
        if not secure:
            self.port = listening.port

    def _inactivity(self) -> float:
        """Our silence, in seconds, after which MRFPs are to ask: two heartbeats have not come."""
        silence = 2 * self._heartbeat + self._timeout
        return silence if silence <= MAX_INACTIVITY else 0.0

    def _close_ports(self) -> None:
        for listening in self._listening:
            listening.close()
        self._listening.clear()

    async def close(self) -> None:
        """Close the port and every association."""
        await self._say_good_bye()
        if self._ticker is not None:
            self._ticker.cancel()
        for link in list(self._links):
            link.disconnect("the MRFC stops")
        self._close_ports()
        if self._links:
            self._drained.clear()
            await self._drained.wait()
        for name in list(self._suspended):
            self._give_up(name, "the MRFC stops")

    async def _say_good_bye(self) -> None:
        """Send away the MRFPs that would not notice the end of their association."""
        answers = [link.send_away() for link in self._registered.values() if link.loses_messages]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(GOOD_BYE, self._timeout)):
                await asyncio.gather(*answers)

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
                link.version,
                link.reduction,
            )
            for link in self._registered.values()
        ]

    def choose_mrfp(self, without: Collection[str] = ()) -> str:
        """The MRFP for a new conference, none of those in `without`. Raises MrfpUnavailable.

        In service, able to hold conferences (version 3), least loaded; those that have just refused for want of
        resources come last, and those that ask for less work are left out as often as they ask.
        """
        ready = [link for link in self._ready() if link.name not in without]
        if not ready:
            raise MrfpUnavailable("no other MRFP is in service" if without else "no MRFP is in service")
        now = (self._clock or asyncio.get_running_loop().time)()
        willing = [link for link in ready if link.takes_work()]
        if not willing:
            raise MrfpUnavailable("every MRFP is congested")
        return min(
            willing,
            key=lambda link: (link.busy_until > now, len(link.terminations.known) + link.outstanding),
        ).name

    def has_mrfp(self) -> bool:
        """Whether an MRFP that can hold conferences is in service, be it congested."""
        return bool(self._ready())

    def _ready(self) -> list[Link]:
        return [link for link in self._registered.values() if link.in_service and link.version >= 3]

    def admit(self, mrfp: str) -> None:
        """One user more in a conference of this MRFP. Raises MrfpUnavailable as often as it asks for less work."""
        link = self._registered.get(mrfp)
        if link is not None and not link.takes_work():
            raise MrfpUnavailable(f"{mrfp} is congested")

    async def request(
        self, mrfp: str, procedure: mp.Procedure, deadline: float | None = None
    ) -> mp.Acknowledgement:
        """Run a procedure at an MRFP. Raises MrfpUnavailable, MrfpTimeout or MrfpRefused.

        `deadline` is a time of the controller's clock (the loop's, unless given); by default `timeout` from now.
        A termination whose caller has gone, or that is confirmed too late, is released again.
        """
        link = self._registered.get(mrfp)
        if link is None:
            suspended = self._suspended.get(mrfp)
            if suspended is not None and isinstance(procedure, mp.ReleaseBfcpTermination):
                suspended.terminations.forget(procedure)  # the MRFP will not find it among ours
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
        for name in [name for name, each in self._suspended.items() if each.until <= now]:
            self._give_up(name, "did not come back")

    # -- what links tell -------------------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """A connection came."""
        self._links.add(link)

    def link_service_change(self, link: Link, change: mp.ServiceChange) -> None:
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
            del self._registered[link.name]
            self._suspend(older, "registered anew")
            if older is not link:
                older.disconnect("registered anew")
        suspended = self._suspended.get(link.name)
        link.in_service = False
        link.terminations = Terminations()
        link.to_be_reconciled = suspended is not None and change.method is mp.ServiceMethod.DISCONNECTED
        link.to_be_cleaned = not link.to_be_reconciled and change.method is not mp.ServiceMethod.RESTART
        if suspended is not None and link.to_be_reconciled:
            link.terminations = suspended.terminations
            del self._suspended[link.name]
        elif suspended is not None:
            self._give_up(link.name, "came back without its calls")
        self._registered[link.name] = link
        link.fresh = True

    def link_registered(self, link: Link) -> None:
        """The reply to a ServiceChange is on its way."""
        if self._registered.get(link.name) is not link or not link.fresh:
            return
        link.fresh = False
        if link.version < 3:
            log.warning("Mp: MRFP %s speaks version %d: no conference for it", link.name, link.version)
        link.watch()
        if link.confirmed:
            self.link_confirmed(link)

    def link_confirmed(self, link: Link) -> None:
        """The MRFP knows that it is registered."""
        if self._registered.get(link.name) is not link:
            return
        if link.to_be_reconciled:
            link.to_be_reconciled = False
            link.reconcile()
        elif link.to_be_cleaned:
            link.to_be_cleaned = False
            link.release_all()
        else:
            self.link_in_service(link)

    def link_in_service(self, link: Link) -> None:
        """An MRFP can be used."""
        if self._registered.get(link.name) is link and not link.in_service and not link.leaving:
            link.in_service = True
            log.info("Mp: MRFP %s at %s is in service", link.name, link.address)
            self._call(self.on_registered, link.name)

    def link_notified(self, link: Link, indication: mp.NotifyIndication) -> None:
        """An indication came."""
        self._call(self.on_notify, link.name, indication)

    def link_down(self, link: Link, reason: str) -> None:
        """A connection went."""
        self._links.discard(link)
        if not self._links:
            self._drained.set()
        if self._registered.get(link.name) is link:
            del self._registered[link.name]
            self._suspend(link, reason)

    def _suspend(self, link: Link, reason: str) -> None:
        """The association broke: keep the calls for a while, if there are any and the operator wants it."""
        link.in_service = False
        loop = asyncio.get_running_loop()
        now = (self._clock or loop.time)()
        self._suspended[link.name] = _Suspended(link.terminations, now + self._loss_grace)
        if not self._loss_grace or not link.terminations.known:
            self._give_up(link.name, reason)
        else:
            log.warning("Mp: association with MRFP %s broken: %s", link.name, reason)

    def _give_up(self, name: str, reason: str) -> None:
        del self._suspended[name]
        log.warning("Mp: MRFP %s lost: %s", name, reason)
        self._call(self.on_lost, name)

    def _unregister(self, link: Link, reason: str) -> None:
        del self._registered[link.name]
        link.in_service = False
        log.warning("Mp: MRFP %s lost: %s", link.name, reason)
        self._call(self.on_lost, link.name)

    def _call(self, callback: Callable[..., None], *arguments: object) -> None:
        # from the loop, so that a fault of the callback is not one of the link
        asyncio.get_running_loop().call_soon(callback, *arguments)
