"""The dial-in procedure of the MRFC, steps 2 to 9 (TS 23.333 6.2.19.3.1): from the INVITE to the 200.

The MRFC is Responder of MIKEY-TICKET and answerer of SDP; the offerer is TLS client, so the MRFP is TLS server also
when it opens the TCP connection.
"""

from __future__ import annotations

from collections.abc import Callable

from mrf_protocols import sdp
from mrf_protocols.mikey import TransferResponder, TransferResult
from mrfc.calls.answerer import Answerer, answer_policy, identity_of, plain_identity
from mrfc.config import MrfcConfig
from mrfc.jobs import InviteJob
from mrfc.measures import Measures
from mrfc.mp.bearer import Bearers
from mrfc.mp.faults import refusing_mp_faults
from mrfc.mp.server_media import server_media
from mrfc.sip import capabilities, uri
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
    ) -> None:
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
        offer, agreed = read_offer(job, self._policy)
        call.secured = agreed.peer.proto.secured
        key = await self._answerer.agree_on_key(
            agreed, lambda transfer: _check_identities(transfer, job), call
        )
        result = None if key is None else key.result
        with refusing_mp_faults(), self._measures.mp_seconds.time():
            local = await self._bearers.seize(call, self._answerer.wanted(call, agreed, result))
        call.csb = None if key is None else key.session
        call.offer_sdp = job.body
        call.answer_sdp = self._answer(call, offer, agreed, result, local)
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
    ) -> str:
        media = server_media(self._store, call, local, result.message if result else b"")
        origin = sdp.Origin.of(local[0], int.from_bytes(self._random(4)))
        return sdp.serialize(sdp.answer_bfcp(offer, agreed, media, origin))


def read_offer(job: InviteJob, policy: sdp.AnswerPolicy) -> tuple[sdp.SessionDescription, sdp.Agreement]:
    """The offer in an INVITE and what its answer will say. Raises Refusal."""
    if not job.body:
        raise Refusal(Cause.NO_OFFER)
    if not capabilities.is_sdp(job.content_type):
        raise Refusal(Cause.UNSUPPORTED_TYPE)
    if not job.contact_uri:
        raise Refusal(Cause.NO_CONTACT)
    try:
        offer = sdp.parse(job.body)
        return offer, sdp.evaluate_offer(offer, policy)
    except sdp.SdpRejected as error:
        raise Refusal(Cause.OFFER_REJECTED, error.text, error.warning) from error
    except sdp.SdpError as error:
        raise Refusal(Cause.BAD_SDP, str(error)) from error


def _check_identities(transfer: TransferResponder, job: InviteJob) -> None:
    """The ticket must be from the caller and for the called conference (TS 23.333 6.2.19: From and To)."""
    callers = {identity_of(job.from_uri)}
    called = {identity_of(job.to_uri), identity_of(job.request_uri)}
    if plain_identity(transfer.initiator) not in callers:
        raise Refusal(Cause.TICKET_REFUSED, "the ticket was not made by the caller")
    if plain_identity(transfer.responder) not in called:
        raise Refusal(Cause.TICKET_REFUSED, "the ticket is for somebody else")
    if uri.user_of(job.request_uri) != transfer.responder.removeprefix("sip:").partition("@")[0]:
        raise Refusal(Cause.TICKET_REFUSED, "the ticket is for another conference")
