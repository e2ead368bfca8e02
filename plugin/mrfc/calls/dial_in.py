"""The dial-in procedure of the MRFC, steps 2 to 9 (TS 23.333 6.2.19.3.1): from the INVITE to the 200.

The MRFC is Responder of MIKEY-TICKET and answerer of SDP; the offerer is TLS client, so the MRFP is TLS server also
when it opens the TCP connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mrf_ops.trace import Tracer
from mrf_protocols import sdp
from mrf_protocols.h248.mp import AddressFamily, ConfigureBfcpTermination, Transport
from mrf_protocols.mikey import MikeyError, TransferResponder, TransferResult, kms_user_identity, psk_identity
from mrfc.config import MrfcConfig
from mrfc.jobs import InviteJob
from mrfc.keys.resolver import Resolver
from mrfc.measures import Measures
from mrfc.mp.bearer import EVENTS, Bearers
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
        resolver: Resolver,
        tracer: Tracer,
        measures: Measures,
        random: Callable[[int], bytes],
    ) -> None:
        self._config = config
        self._policy = answer_policy(config)
        self._store = calls
        self._bearers = bearers
        self._resolver = resolver
        self._tracer = tracer
        self._measures = measures
        self._random = random

    async def run(self, call: store.Call, job: InviteJob) -> Response:
        """Serve the INVITE of a call that has its seat. Returns the 200, or raises Refusal with nothing left behind
        but the call itself and, if it was made, its termination."""
        offer, agreed = read_offer(job, self._policy)
        call.secured = agreed.peer.proto.secured
        result = await self._agree_on_key(call, agreed, job) if call.secured else None
        local = await self._configure_bfcp_termination(call, agreed, result)
        call.offer_sdp = job.body
        call.answer_sdp = self._answer(call, offer, agreed, result, local)
        if result is None:
            self._measures.unsecured.inc()
        self._tracer.emit(
            call.dialog.call_id,
            "local",
            "",
            "KMS" if result else "SDP",
            "TRANSFER_RESP and SDP answer built" if result else "SDP answer built, BFCP without TLS",
            f"{result.csb_id:08x}" if result else "",
            setup=agreed.setup.value,
            local=f"{local[0]}:{local[1]}",
        )
        return self.success(call)

    def success(self, call: store.Call) -> Response:
        """The 200 of a call that is served, also for a refresh of its session."""
        headers = (
            ("Contact", capabilities.contact(self._config.sip, call.conference_user)),
            ("Allow", capabilities.ALLOW),
            ("Supported", capabilities.supported(self._config.dial_out)),
        )
        return Response(200, "OK", headers, capabilities.SDP, call.answer_sdp)

    async def _agree_on_key(self, call: store.Call, agreed: sdp.Agreement, job: InviteJob) -> TransferResult:
        """Steps 3 and 8: the ticket resolved, and the key that both ends derive from it. Raises Refusal."""
        transfer = self._resolver.read_transfer(agreed)
        self._check_identities(transfer, job)
        await self._resolver.resolve(transfer, call.dialog.call_id)
        return self._respond(transfer)

    def _check_identities(self, transfer: TransferResponder, job: InviteJob) -> None:
        """The ticket must be from the caller and for the called conference (TS 23.333 6.2.19: From and To)."""
        callers = {_identity(job.from_uri)}
        called = {_identity(job.to_uri), _identity(job.request_uri)}
        if _plain(transfer.initiator) not in callers:
            raise Refusal(Cause.TICKET_REFUSED, "the ticket was not made by the caller")
        if _plain(transfer.responder) not in called:
            raise Refusal(Cause.TICKET_REFUSED, "the ticket is for somebody else")
        if uri.user_of(job.request_uri) != transfer.responder.removeprefix("sip:").partition("@")[0]:
            raise Refusal(Cause.TICKET_REFUSED, "the ticket is for another conference")

    def _respond(self, transfer: TransferResponder) -> TransferResult:
        """Build TRANSFER_RESP: it fixes RANDRr and with it the TEK, which the MRFP needs before the answer goes out."""
        try:
            return transfer.respond(self._random, time.time())
        except MikeyError as error:
            raise Refusal(Cause.TICKET_UNACCEPTABLE, error.text) from error

    async def _configure_bfcp_termination(
        self, call: store.Call, agreed: sdp.Agreement, result: TransferResult | None
    ) -> tuple[str, int]:
        """Steps 4 to 6; without a key the termination is one without TLS, which the MRFP must allow, too."""
        host, port = agreed.peer.address.host, agreed.peer.address.port
        wanted = ConfigureBfcpTermination(
            remote=(host, port),
            user_id=call.user_id,
            family=AddressFamily.IP6 if ":" in host else AddressFamily.IP4,
            transport=Transport.TCP_TLS_BFCP if result else Transport.TCP_BFCP,
            psk=result.tek if result else None,
            psk_identity=psk_identity(result.csb_id, result.cs_id) if result else None,
            start_tcp=agreed.tcp_opener is sdp.Party.ANSWERER,
            start_tls=agreed.tls_client is sdp.Party.ANSWERER,
            events=EVENTS,
            correlation=call.dialog.call_id,
        )
        with refusing_mp_faults(), self._measures.mp_seconds.time():
            return await self._bearers.seize(call, wanted)

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


def answer_policy(config: MrfcConfig) -> sdp.AnswerPolicy:
    """What we are ready to serve: TCP/TLS/BFCP, and after it TCP/BFCP where the operator allows that."""
    if config.bfcp.unsecured == "allow":
        return sdp.AnswerPolicy(protos=(sdp.BfcpProto.TCP_TLS, sdp.BfcpProto.TCP))
    return sdp.AnswerPolicy()


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


def _identity(sip_uri: str) -> str:
    try:
        return _plain(kms_user_identity(sip_uri))
    except MikeyError:
        return ""


def _plain(identity: str) -> str:
    """An identity in its NAI form, so that both forms compare equal."""
    return identity.removeprefix("sip:").removeprefix("sips:")
