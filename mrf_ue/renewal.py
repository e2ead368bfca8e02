"""Another BFCP connection in a call that stands, under a new key: by our offer or the far end's (RFC 8856 10.4).

The offerer is the TLS client of the new connection, whoever called. The old connection serves until the new one is
secured; a change that fails leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from aiosipua import SipRequest

from mrf_ops.trace import Tracer
from mrf_protocols import sdp
from mrf_protocols.mikey import (
    Acceptance,
    CsbSession,
    MikeyError,
    TransferInitiator,
    TransferResponder,
    TransferResult,
)
from mrf_protocols.sdp import FloorControlRole, Party, SdpError
from mrf_protocols.tls_psk import PskCredentials, TlsPolicy, TlsRole, make_context
from mrf_ue.accepted import Accepted
from mrf_ue.bearer import Bearer, Connection
from mrf_ue.errors import AnswerRefused, KmsFailed, OfferRefused, SipRefused, UeError
from mrf_ue.key_errors import body_of, explained, unreadable, unresolved
from mrf_ue.keys import KeyOffer, KeyUpdate, get_ticket, resolve_ticket, start_transfer
from mrf_ue.options import KeySettings, Timeouts
from mrf_ue.show import Show
from mrf_ue.sip_live_call import LiveCall

ATTEMPTS = 5
PAUSE = 2.0
"""How often, and after how many seconds, a lost connection is asked for again; the far end hangs up meanwhile."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a call that stands has settled. `own` and `peer` are KMS user identities, `setup` what our offers say."""

    call: LiveCall[Any]
    tracer: Tracer
    show: Show
    keys: KeySettings
    accepted: Accepted
    timeouts: Timeouts
    tls: TlsPolicy
    own: str
    peer: str
    host: str
    setup: sdp.Setup
    secured: bool


def _without() -> None:
    """The session of a connection without TLS."""


class Renewals:
    """Changes of one call's BFCP connection. `moved` is told each new connection when it is secured, `given_up` when
    there shall be none for now.
    """

    def __init__(
        self,
        standing: Standing,
        exchange: sdp.Exchange,
        moved: Callable[[Connection], None],
        given_up: Callable[[], None],
    ) -> None:
        self.exchange = exchange
        self.session: Callable[[], CsbSession | None] = _without
        """Gives what CSB updates begin from; None without TLS."""
        self._standing = standing
        self._moved = moved
        self._given_up = given_up
        self._tasks: set[asyncio.Task[None]] = set()
        standing.call.on_reoffer = self._reoffered

    async def close(self) -> None:
        """Stop what is under way."""
        self._standing.call.on_reoffer = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # our offers

    async def renew(self) -> None:
        """A new ticket and a re-INVITE with connection:new. Raises UeError; the old connection is then as it was."""
        await self._change(await self._transfer() if self._standing.secured else None)

    async def update(self) -> None:
        """The same with a key of ours and no ticket. Raises UeError; connection and session are then as they were."""
        session = self.session()
        if session is None:
            raise KmsFailed("a connection without TLS has no key")
        update = KeyUpdate(session)
        self.session = update.session  # the same from now on: it knows which timestamps were used
        try:
            await self._change(update)
        finally:
            update.abandon()

    async def _change(self, transfer: KeyOffer | None) -> None:
        now = self._standing
        bearer = Bearer(now.tracer, now.call.call_id)
        try:
            address = sdp.Address(now.host, 0)
            if now.setup is not sdp.Setup.ACTIVE:
                address = sdp.Address(*await bearer.listen(now.host))
            keys = () if transfer is None else (sdp.KeyMgmt(sdp.MIKEY, transfer.init()),)
            offer = sdp.reoffer(
                self.exchange.own,
                sdp.ClientMedia(address, keys),
                connection=sdp.ConnectionUse.NEW,
                setup=now.setup,
            )
            try:
                body = await self._reinvite(sdp.encode(offer))
            except SipRefused as refused:
                raise explained(refused, transfer) from None
            answer, result = _read_answer(offer, body, transfer)
            self.exchange = sdp.Exchange(offer, sdp.parse(body))
            self.session = _without if transfer is None else transfer.session
            await self._replace(bearer, answer, Party.OFFERER, result)
        finally:
            await bearer.close()

    async def recover(self) -> None:
        """The same for a connection that is lost, tried several times. Raises UeError."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self.renew()
            except UeError as error:
                if attempt == ATTEMPTS or self._standing.call.hung_up.is_set():
                    raise
                self._standing.show("SIP", f"not back yet: {error}")
                await asyncio.sleep(PAUSE)
            else:
                return

    async def _transfer(self) -> TransferInitiator:
        now = self._standing
        ticket = await get_ticket(now.keys, now.own, now.peer, now.call.call_id, now.tracer)
        now.show("KMS", f"another ticket for {now.peer}")
        transfer = start_transfer(ticket, now.own, now.peer, now.keys.psk_identity)
        now.tracer.emit(
            now.call.call_id, "local", "", "MIKEY", "TRANSFER_INIT", "", initiator=now.own, responder=now.peer
        )
        return transfer

    async def _reinvite(self, body: bytes) -> bytes:
        """The answer to a re-INVITE; who was out of turn tries again (RFC 3261 14.1)."""
        now = self._standing
        for _ in range(ATTEMPTS):
            try:
                now.show("SIP", f"-> INVITE within the call ({len(body)} octets of SDP)")
                response = await now.call.reinvite(body, now.timeouts.answer)
            except SipRefused as refused:
                if refused.status not in (491, 500):
                    raise
                await asyncio.sleep(random.uniform(2.1, 4.0))  # noqa: S311 - spreads two who collide, hides nothing
            else:
                now.show("SIP", f"<- {response.status_code} {response.reason_phrase}")
                return response.body
        raise SipRefused("the session cannot be changed now", 491)

    # offers of the far end

    def _reoffered(self, request: SipRequest) -> None:
        self._start(self._answer(request))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: SipRequest) -> None:
        now = self._standing
        now.show("SIP", f"<- {request.method} within the call")
        try:
            await self._answer_offer(request.body)
        except OfferRefused as refusal:
            now.show("SIP", f"-> {refusal.status}: {refusal}")
            text = str(refusal).replace("\\", "").replace('"', "'")
            warning = ("Warning", f'{refusal.warning} mrf-ue "{text}"')
            told = body_of(refusal, now.host)
            now.call.answer_reoffer(refusal.status, "Not Acceptable Here", told, headers=(warning,))
        except UeError as error:
            now.show("UE", f"the new connection failed, the old one stays: {error}")

    async def _answer_offer(self, body: bytes) -> None:
        """Answer, and change to the new connection if there is one. Raises OfferRefused, UeError."""
        now = self._standing
        if not body:
            self._accept(self.exchange.own)  # our offer: what we have
            return
        try:
            offer = sdp.parse(body)
            policy = sdp.AnswerPolicy(
                role=FloorControlRole.C_ONLY,
                protos=(sdp.BfcpProto.TCP_TLS if now.secured else sdp.BfcpProto.TCP,),
                setup=sdp.Setup.PASSIVE if now.setup is sdp.Setup.PASSIVE else sdp.Setup.ACTIVE,
            )
            agreed = sdp.evaluate_reoffer(offer, self.exchange, policy, connected=True)
        except SdpError as error:
            raise OfferRefused(str(error), error.status, error.warning) from None
        if agreed is None:
            self._give_up(offer)
            return
        if agreed.connection is sdp.ConnectionUse.EXISTING:
            answer = sdp.answer_kept(offer, agreed, self.exchange, {})
            self.exchange = sdp.Exchange(answer, offer)
            self._accept(answer)
            return
        result = await self._resolved(agreed)
        bearer = Bearer(now.tracer, now.call.call_id)
        try:
            address = sdp.Address(now.host, 9)
            if agreed.tcp_opener is Party.OFFERER:
                address = sdp.Address(*await bearer.listen(now.host))
            keys = (sdp.KeyMgmt(sdp.MIKEY, result.message),) if result and result.message else ()
            described = sdp.answer_bfcp(
                offer, agreed, sdp.ClientMedia(address, keys), self.exchange.own.origin
            )
            answer = sdp.successor(self.exchange.own, described)
            self.exchange = sdp.Exchange(answer, offer)
            self._accept(answer)
            await self._replace(bearer, agreed, Party.ANSWERER, result)
        finally:
            await bearer.close()

    def _give_up(self, offer: sdp.SessionDescription) -> None:
        """The far end takes floor control out of the call (port 0, RFC 3264 8.2), and may bring it back later."""
        own = self.exchange.own
        connection = own.connection or next(each for media in own.media for each in media.connections)
        answer = sdp.successor(own, sdp.answer(offer, own.origin, connection, {}))
        self.exchange = sdp.Exchange(answer, offer)
        self._accept(answer)
        self._standing.show("BFCP", "the far end has taken floor control out of the call")
        self._given_up()

    def _accept(self, answer: sdp.SessionDescription) -> None:
        self._standing.show("SIP", "-> 200 OK")
        self._standing.call.answer_reoffer(200, "OK", sdp.encode(answer))

    async def _resolved(self, agreed: sdp.Agreement) -> TransferResult | None:
        now = self._standing
        if agreed.key_mgmt is None:
            return None
        acceptance = Acceptance(responders=(now.own,), psk_identity=now.keys.psk_identity)
        try:
            transfer = TransferResponder(agreed.key_mgmt.data, time.time(), acceptance)
        except MikeyError as error:
            raise unreadable(error, agreed.key_mgmt.data) from None
        try:
            result = await resolve_ticket(
                now.keys, transfer, now.own, now.call.call_id, now.tracer, now.accepted
            )
            self.session = transfer.session
            return result
        except (KmsFailed, MikeyError) as error:
            raise unresolved(error, transfer) from None

    # both

    async def _replace(
        self, bearer: Bearer, agreed: sdp.Agreement, party: Party, result: TransferResult | None
    ) -> None:
        now = self._standing
        where = agreed.peer.address
        if agreed.tcp_opener is party:
            connection = await bearer.connect((where.host, where.port), now.host, now.timeouts.connect)
        else:
            connection = await bearer.accepted(where.host, now.timeouts.connect)
        try:
            if result is None:
                connection.go_without_tls()
            else:
                role = TlsRole.CLIENT if agreed.tls_client is party else TlsRole.SERVER
                credentials = PskCredentials(result.psk_identity, result.tek)
                context = make_context(role, now.tls)
                version, cipher = await connection.secure(context, role, credentials, now.timeouts.tls)
                now.show("TLS", f"renewed: {version} {cipher}, PSK identity {credentials.identity}")
        except UeError:
            connection.close()
            raise
        self._moved(connection)


def _read_answer(
    offer: sdp.SessionDescription, body: bytes, transfer: KeyOffer | None
) -> tuple[sdp.AcceptedAnswer, TransferResult | None]:
    """The answer, and the key; None without TLS. Raises AnswerRefused."""
    early = None
    if isinstance(transfer, TransferInitiator) and not transfer.awaits_response:
        early = transfer.early_result()
    wanted = () if transfer is None or early else (sdp.MIKEY,)
    try:
        answer = sdp.accept_answer(offer, sdp.parse(body), wanted)
        result = early
        if transfer is not None and answer.key_mgmt is not None:
            result = transfer.response(answer.key_mgmt.data, time.time())
    except SdpError as error:
        raise AnswerRefused(f"the answer is not acceptable: {error}") from None
    except MikeyError as error:
        raise AnswerRefused(f"TRANSFER_RESP is not acceptable: {error}") from None
    if answer.tcp_opener is None or (transfer is not None and result is None):
        raise AnswerRefused("the answer opens no connection")
    return answer, result
