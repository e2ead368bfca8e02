"""The dial-in procedure of the MRFC, steps 2 to 9 (TS 23.333 6.2.19.3.1): from the INVITE to the 200.

The MRFC is Responder of MIKEY-TICKET and answerer of SDP; the offerer is TLS client, so the MRFP is TLS server also
when it opens the TCP connection.
"""

from __future__ import annotations

from collections.abc import Callable

from mrf_protocols import sdp
from mrf_protocols.mikey import TransferResponder, TransferResult
from mrfc.calls.answerer import (
    Answerer,
    answer_policy,
    identity_of,
    joins_without_floor_control,
    plain_identity,
)
from mrfc.config import MrfcConfig
from mrfc.jobs import InviteJob
from mrfc.measures import Measures
from mrfc.mixer.legs import Mixer
from mrfc.mp.bearer import Bearers
from mrfc.mp.faults import refusing_mp_faults
from mrfc.mp.server_media import server_media
from mrfc.sip import capabilities, uri
from mrfc.sip.identity import Identity
from mrfc.sip.port import Response
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state import store


class DialIn:
    """One procedure run per INVITE; `random` gives that many random octets."""

    def __init__(
        self,
        config: MrfcConfig,
        calls: store.Store,
        bearers: Bearers,
        answerer: Answerer,
        measures: Measures,
        random: Callable[[int], bytes],
        mixer: Mixer,
    ) -> None:
        self._mixer = mixer
        self._config = config
        self._policy = answer_policy(config)
        self._store = calls
        self._bearers = bearers
        self._answerer = answerer
        self._measures = measures
        self._random = random

    async def run(self, call: store.Call, job: InviteJob) -> Response:
        """Serve the INVITE of a call that has its seat. Returns the 200, or raises Refusal with nothing left behind
        but the call itself and, if it was made, its termination."""
        offer = read_offer(job)
        agreed = self._evaluate(offer)
        if agreed is None:
            return await self._without_floor_control(call, job, offer)
        call.secured = agreed.peer.proto.secured
        key = await self._answerer.agree_on_key(
            agreed, lambda transfer: _check_identities(transfer, job, call.identity), call
        )
        result, call.key_expires = (key.result, key.expires) if key else (None, 0.0)
        with refusing_mp_faults(), self._measures.mp_seconds.time():
            local = await self._bearers.seize(call, self._answerer.wanted(call, agreed, result))
        mixed = await self._mixer.serve(call, offer)
        call.csb = None if key is None else key.session
        call.offer_sdp = job.body
        call.answer_sdp = self._answer(call, offer, agreed, result, local, mixed)
        if result is None:
            self._measures.unsecured.inc()
        self._answerer.built(call, agreed, result, local)
        return self.success(call)

    def success(self, call: store.Call, description: str | None = None) -> Response:
        """The 200 of a call that is served, also for a refresh of its session, or with another description."""
        headers = (
            ("Contact", capabilities.contact(self._config.sip, call.conference_user)),
            ("Allow", capabilities.ALLOW),
            ("Supported", capabilities.supported(self._config)),
        )
        body = call.answer_sdp if description is None else description
        return Response(200, "OK", headers, capabilities.SDP, body)

    def _answer(
        self,
        call: store.Call,
        offer: sdp.SessionDescription,
        agreed: sdp.Agreement,
        result: TransferResult | None,
        local: tuple[str, int],
        mixed: sdp.Mixed,
    ) -> str:
        media = server_media(self._store, call, local, result.message if result else b"")
        origin = sdp.Origin.of(local[0], int.from_bytes(self._random(4)))
        return sdp.serialize(sdp.join(sdp.answer_bfcp(offer, agreed, media, origin), mixed))

    def _evaluate(self, offer: sdp.SessionDescription) -> sdp.Agreement | None:
        """What the answer will say of BFCP; None: it declines it, and the mixer serves the rest. Raises Refusal."""
        try:
            return sdp.evaluate_offer(offer, self._policy)
        except sdp.SdpRejected as error:
            if joins_without_floor_control(self._config, offer, error):
                return None
            raise Refusal(Cause.OFFER_REJECTED, error.text, error.warning) from error

    async def _without_floor_control(
        self, call: store.Call, job: InviteJob, offer: sdp.SessionDescription
    ) -> Response:
        """The answer to an offer whose BFCP cannot be served, where the media alone are welcome. Raises Refusal."""
        call.secured = False
        mixed = await self._mixer.serve(call, offer)
        if not mixed.media:
            raise Refusal(Cause.MIXER_UNAVAILABLE)
        host = self._config.sip.host
        origin = sdp.Origin.of(host, int.from_bytes(self._random(4)))
        declined = sdp.answer(offer, origin, sdp.Connection.of(host), {})
        call.offer_sdp, call.answer_sdp = job.body, sdp.serialize(sdp.join(declined, mixed))
        return self.success(call)


def read_offer(job: InviteJob) -> sdp.SessionDescription:
    """The offer in an INVITE. Raises Refusal."""
    if not job.body:
        raise Refusal(Cause.NO_OFFER)
    if not capabilities.is_sdp(job.content_type):
        raise Refusal(Cause.UNSUPPORTED_TYPE)
    if not job.contact_uri:
        raise Refusal(Cause.NO_CONTACT)
    try:
        return sdp.parse(job.body)
    except sdp.SdpError as error:
        raise Refusal(Cause.BAD_SDP, str(error)) from error


def _check_identities(transfer: TransferResponder, job: InviteJob, caller: Identity) -> None:
    """The ticket must be from the caller and for the called conference (TS 23.333 6.2.19: From and To).

    The caller may have made it with the identity that his network asserts: in From he need not say who he is.
    """
    callers = {identity_of(job.from_uri), identity_of(caller.uri)} - {""}
    called = {identity_of(job.to_uri), identity_of(job.request_uri)}
    if plain_identity(transfer.initiator) not in callers:
        raise Refusal(Cause.TICKET_REFUSED, "the ticket was not made by the caller")
    if plain_identity(transfer.responder) not in called:
        raise Refusal(Cause.TICKET_REFUSED, "the ticket is for somebody else")
    if uri.user_of(job.request_uri) != transfer.responder.removeprefix("sip:").partition("@")[0]:
        raise Refusal(Cause.TICKET_REFUSED, "the ticket is for another conference")
