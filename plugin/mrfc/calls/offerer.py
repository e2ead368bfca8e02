"""The MRFC as offerer: what dial-out and an answer to an INVITE without offer have in common (TS 23.333 6.2.19.3.2).

Before the answer a termination is reserved, after it the termination gets the remote address and the key. The offerer
is TLS client, so the MRFP starts TLS, whoever opens the TCP connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mrf_ops.trace import Tracer
from mrf_protocols import sdp
from mrf_protocols.h248.mp import (
    AddressFamily,
    ConfigureReservedBfcpTermination,
    ReserveBfcpTermination,
)
from mrf_protocols.mikey import MikeyError, TransferInitiator, TransferResult
from mrfc.keys.tickets import Tickets
from mrfc.measures import Measures
from mrfc.mp.bearer import EVENTS, Bearers
from mrfc.mp.faults import refusing_mp_faults
from mrfc.mp.server_media import server_media
from mrfc.sip.bodies import session_description
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state import store


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer that waits for its answer."""

    transfer: TransferInitiator
    description: sdp.SessionDescription

    @property
    def body(self) -> str:
        """The session description to send."""
        return sdp.serialize(self.description)


class Offerer:
    """Makes offers and takes their answers.

    `random` gives that many random octets; `family` is that of the address offered.
    """

    def __init__(
        self,
        calls: store.Store,
        bearers: Bearers,
        tickets: Tickets,
        tracer: Tracer,
        measures: Measures,
        random: Callable[[int], bytes],
        family: AddressFamily = AddressFamily.IP4,
    ) -> None:
        self._family = family
        self._store = calls
        self._bearers = bearers
        self._tickets = tickets
        self._tracer = tracer
        self._measures = measures
        self._random = random

    async def make(self, call: store.Call, initiator: str, responder: str) -> Offer:
        """Ticket, reservation, offer (steps 1 to 5). Identities are KMS user identities. Raises Refusal."""
        correlation = call.dialog.call_id
        transfer = await self._tickets.transfer(initiator, responder, correlation)
        local = await self._reserve_bfcp_termination(call)
        media = server_media(self._store, call, local, transfer.init())
        origin = sdp.Origin.of(local[0], int.from_bytes(self._random(4)))
        description = sdp.offer_bfcp(origin, media)
        self._tracer.emit(correlation, "local", "", "SDP", "SDP offer built", local=f"{local[0]}:{local[1]}")
        return Offer(transfer, description)

    async def take(self, call: store.Call, offer: Offer, content_type: str, body: str) -> None:
        """Verify the answer before anything else happens, then configure the reservation (steps 8 to 11).

        Raises Refusal.
        """
        body = session_description(content_type, body)
        if not body:
            raise Refusal(Cause.OFFER_REJECTED, "the response carries no answer")
        early = None if offer.transfer.awaits_response else offer.transfer.early_result()
        try:
            answer = sdp.accept_answer(offer.description, sdp.parse(body), () if early else (sdp.MIKEY,))
        except sdp.SdpError as error:
            raise Refusal(Cause.OFFER_REJECTED, str(error), error.warning) from error
        result = self._verified(offer, answer, early)
        if answer.tcp_opener is None:
            raise Refusal(Cause.OFFER_REJECTED, "the answer holds the connection back")
        await self._configure_reserved_bfcp_termination(call, answer, result)
        call.offer_sdp, call.answer_sdp = body, offer.body

    def _verified(
        self, offer: Offer, answer: sdp.AcceptedAnswer, early: TransferResult | None
    ) -> TransferResult:
        if answer.key_mgmt is None:
            if early is None:
                raise Refusal(Cause.OFFER_REJECTED, "the answer carries no TRANSFER_RESP")
            return early
        try:
            return offer.transfer.response(answer.key_mgmt.data, time.time())
        except MikeyError as error:
            raise Refusal(Cause.TICKET_REFUSED, f"TRANSFER_RESP: {error.text}") from error

    async def _reserve_bfcp_termination(self, call: store.Call) -> tuple[str, int]:
        wanted = ReserveBfcpTermination(
            user_id=call.user_id, family=self._family, events=EVENTS, correlation=call.dialog.call_id
        )
        with refusing_mp_faults(), self._measures.mp_seconds.time():
            return await self._bearers.seize(call, wanted)

    async def _configure_reserved_bfcp_termination(
        self, call: store.Call, answer: sdp.AcceptedAnswer, result: TransferResult
    ) -> None:
        where = self._bearers.place(call)
        if where is None or call.termination is None:
            raise Refusal(Cause.MRFP_UNAVAILABLE, "the reserved termination has gone")
        mrfp, context = where
        wanted = ConfigureReservedBfcpTermination(
            context=context,
            termination=call.termination,
            remote=(answer.peer.address.host, answer.peer.address.port),
            psk=result.tek,
            psk_identity=result.psk_identity,
            start_tcp=answer.tcp_opener is sdp.Party.OFFERER,
            start_tls=answer.tls_client is sdp.Party.OFFERER,
            correlation=call.dialog.call_id,
        )
        with refusing_mp_faults():
            await self._bearers.change(mrfp, wanted)
