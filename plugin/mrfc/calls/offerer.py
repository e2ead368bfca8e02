"""The MRFC as offerer: what dial-out and an answer to an INVITE without offer have in common (TS 23.333 6.2.19.3.2).

Before the answer a termination is reserved, after it the termination gets the remote address and the key. The offerer
is TLS client, so the MRFP starts TLS, whoever opens the TCP connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from mrf_ops.trace import Tracer
from mrf_protocols import sdp
from mrf_protocols.h248.mp import (
    AddressFamily,
    ConfigureReservedBfcpTermination,
    ReserveBfcpTermination,
)
from mrf_protocols.mikey import MikeyError, TransferInitiator, TransferResult, kms_user_identity
from mrfc.keys.tickets import Tickets
from mrfc.measures import Measures
from mrfc.mp.bearer import EVENTS, Bearers
from mrfc.mp.faults import refusing_mp_faults
from mrfc.mp.server_media import server_media
from mrfc.mp.user_names import names_of
from mrfc.sip.bodies import session_description
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state import store


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer that waits for its answer. `transfer` and `termination` are those of a new connection, None where the
    one in use is offered."""

    transfer: TransferInitiator | None
    media: sdp.ServerMedia
    description: sdp.SessionDescription
    termination: str | None

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
        with refusing_mp_faults(), self._measures.mp_seconds.time():
            local = await self._bearers.seize(call, _reserved(call, self._family))
        media = server_media(self._store, call, local, transfer.init())
        origin = sdp.Origin.of(local[0], int.from_bytes(self._random(4)))
        description = sdp.offer_bfcp(origin, media)
        self._tracer.emit(correlation, "local", "", "SDP", "SDP offer built", local=f"{local[0]}:{local[1]}")
        return Offer(transfer, media, description, call.termination)

    async def again(self, call: store.Call) -> Offer:
        """A further offer, of a new connection under a new key. Whoever asks for it gives the termination to the call
        or back (Bearers). Raises Refusal."""
        try:
            initiator, responder = kms_user_identity(call.local_uri), kms_user_identity(call.remote_uri)
        except MikeyError as error:
            raise Refusal(Cause.OFFER_REJECTED, error.text) from error
        transfer = await self._tickets.transfer(initiator, responder, call.dialog.call_id)
        family = AddressFamily.IP6 if ":" in _own(call).origin.address else AddressFamily.IP4
        with refusing_mp_faults(), self._measures.mp_seconds.time():
            termination, local = await self._bearers.seize_another(call, _reserved(call, family))
        media = server_media(self._store, call, local, transfer.init())
        description = sdp.reoffer(_own(call), media, connection=sdp.ConnectionUse.NEW)
        self._tracer.emit(
            call.dialog.call_id, "local", "", "SDP", "SDP offer built", local=f"{local[0]}:{local[1]}"
        )
        return Offer(transfer, media, description, termination)

    def present(self, call: store.Call) -> Offer:
        """An offer of the connection that the call has. Raises Refusal when it has none."""
        own = sdp.find_bfcp(_own(call))
        if own is None:
            raise Refusal(Cause.PENDING, "no connection is in use")
        media = server_media(self._store, call, own.address, b"")
        description = sdp.reoffer(_own(call), media, connection=sdp.ConnectionUse.EXISTING)
        return Offer(None, media, description, None)

    def renewed(self, call: store.Call, offer: Offer) -> Offer:
        """A further offer as it has to be now that the session may have changed. Raises Refusal when its termination
        has gone meanwhile."""
        if offer.termination not in (call.termination, call.successor):
            raise Refusal(Cause.PENDING, "the participant has changed the session himself")
        description = sdp.reoffer(_own(call), offer.media, connection=sdp.ConnectionUse.NEW)
        return replace(offer, description=description)

    async def take(self, call: store.Call, offer: Offer, content_type: str, body: str) -> None:
        """Verify the answer before anything else happens, then configure the reservation (steps 8 to 11).

        Raises Refusal.
        """
        body = session_description(content_type, body)
        if not body:
            raise Refusal(Cause.OFFER_REJECTED, "the response carries no answer")
        transfer = offer.transfer
        early = None if transfer is None or transfer.awaits_response else transfer.early_result()
        wanted = () if transfer is None or early else (sdp.MIKEY,)
        try:
            answer = sdp.accept_answer(offer.description, sdp.parse(body), wanted)
        except sdp.SdpError as error:
            raise Refusal(Cause.OFFER_REJECTED, str(error), error.warning) from error
        if transfer is not None and offer.termination is not None:
            result = _verified(transfer, answer, early)
            if answer.tcp_opener is None:
                raise Refusal(Cause.OFFER_REJECTED, "the answer holds the connection back")
            await self._configure_reserved_bfcp_termination(call, offer.termination, answer, result)
            call.csb = transfer.session()
            call.key_expires = transfer.policy.renew_by(time.time()) or 0.0
        elif answer.connection is not sdp.ConnectionUse.EXISTING:
            raise Refusal(Cause.OFFER_REJECTED, "a new connection needs a new key")
        call.offer_sdp, call.answer_sdp = body, offer.body

    async def _configure_reserved_bfcp_termination(
        self, call: store.Call, termination: str, answer: sdp.AcceptedAnswer, result: TransferResult
    ) -> None:
        where = self._bearers.place(call)
        if where is None or termination not in (call.termination, call.successor):
            raise Refusal(Cause.MRFP_UNAVAILABLE, "the reserved termination has gone")
        mrfp, context = where
        wanted = ConfigureReservedBfcpTermination(
            context=context,
            termination=termination,
            remote=(answer.peer.address.host, answer.peer.address.port),
            psk=result.tek,
            psk_identity=result.psk_identity,
            start_tcp=answer.tcp_opener is sdp.Party.OFFERER,
            start_tls=answer.tls_client is sdp.Party.OFFERER,
            correlation=call.dialog.call_id,
            names=names_of(call),
        )
        with refusing_mp_faults():
            await self._bearers.change(mrfp, wanted)


def _verified(
    transfer: TransferInitiator, answer: sdp.AcceptedAnswer, early: TransferResult | None
) -> TransferResult:
    if answer.key_mgmt is None:
        if early is None:
            raise Refusal(Cause.OFFER_REJECTED, "the answer carries no TRANSFER_RESP")
        return early
    try:
        return transfer.response(answer.key_mgmt.data, time.time())
    except MikeyError as error:
        raise Refusal(Cause.TICKET_REFUSED, f"TRANSFER_RESP: {error.text}") from error


def _reserved(call: store.Call, family: AddressFamily) -> ReserveBfcpTermination:
    return ReserveBfcpTermination(
        user_id=call.user_id, family=family, events=EVENTS, correlation=call.dialog.call_id
    )


def _own(call: store.Call) -> sdp.SessionDescription:
    """Our last description."""
    try:
        return sdp.parse(call.answer_sdp)
    except sdp.SdpError as error:
        raise Refusal(Cause.PENDING, "the first exchange is not finished") from error
