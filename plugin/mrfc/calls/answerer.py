"""The MRFC as answerer: what the first offer of a call and a later one have in common (TS 23.333 6.2.19.3.1, steps 3 to
8). The offerer is TLS client, so the MRFP is TLS server also when it opens the TCP connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mrf_ops.trace import Tracer
from mrf_protocols import sdp
from mrf_protocols.h248.mp import AddressFamily, ConfigureBfcpTermination, Transport
from mrf_protocols.mikey import CsbSession, MikeyError, TransferResponder, TransferResult, kms_user_identity
from mrfc.config import MrfcConfig
from mrfc.keys.errors import rekeying, telling
from mrfc.keys.resolver import Resolver
from mrfc.keys.updates import is_update, updated
from mrfc.mp.bearer import EVENTS
from mrfc.mp.user_names import names_of
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state import store

Check = Callable[[TransferResponder], None]
"""Raises Refusal when a ticket is not from, or for, who it has to be."""


NO_BFCP_FOR_US = frozenset(
    {sdp.RejectReason.NO_BFCP_STREAM, sdp.RejectReason.DISABLED, sdp.RejectReason.PROTO_UNSUPPORTED}
)
"""What is wrong with the offer of a device that may be welcome without floor control; a fault of a stream over TLS,
such as no key, is not among it."""


@dataclass(frozen=True, slots=True)
class AgreedKey:
    """What key management of an offer came to: the key, the session that a CSB update may bring new ones to, and when
    the key has to be renewed as Unix time, 0 for never."""

    result: TransferResult
    session: CsbSession
    expires: float


class Answerer:
    """Agrees on keys, and says what the MRFP has to make; `random` gives that many random octets."""

    def __init__(self, resolver: Resolver, tracer: Tracer, random: Callable[[int], bytes]) -> None:
        self._resolver = resolver
        self._tracer = tracer
        self._random = random

    async def agree_on_key(self, agreed: sdp.Agreement, check: Check, call: store.Call) -> AgreedKey | None:
        """Steps 3 and 8: the ticket resolved, and the key that both ends derive from it; None without TLS.

        Raises Refusal. TRANSFER_RESP is built here: it fixes RANDRr and with it the TEK, which the MRFP needs before
        the answer goes out. A later offer may bring a CSB update instead of a ticket.
        """
        if not agreed.peer.proto.secured:
            return None
        with rekeying(call.csb is not None):
            if call.csb is not None and agreed.key_mgmt is not None and is_update(agreed, call.csb):
                result = updated(call.csb, agreed.key_mgmt.data, self._random)
                return AgreedKey(result, call.csb, call.key_expires)
            transfer = self._resolver.read_transfer(agreed)
            with telling(transfer):
                check(transfer)
                await self._resolver.resolve(transfer, call.dialog.call_id)
                try:
                    now = time.time()
                    result = transfer.respond(self._random, now)
                    return AgreedKey(result, transfer.session(), transfer.policy.renew_by(now) or 0.0)
                except MikeyError as error:
                    raise Refusal(Cause.TICKET_UNACCEPTABLE, error.text, mikey_error=error.number) from error

    def wanted(
        self, call: store.Call, agreed: sdp.Agreement, result: TransferResult | None
    ) -> ConfigureBfcpTermination:
        """Step 4; without a key the termination is one without TLS, which the MRFP must allow, too."""
        host, port = agreed.peer.address.host, agreed.peer.address.port
        return ConfigureBfcpTermination(
            remote=(host, port),
            user_id=call.user_id,
            family=AddressFamily.IP6 if ":" in host else AddressFamily.IP4,
            transport=Transport.TCP_TLS_BFCP if result else Transport.TCP_BFCP,
            psk=result.tek if result else None,
            psk_identity=result.psk_identity if result else None,
            start_tcp=agreed.tcp_opener is sdp.Party.ANSWERER,
            start_tls=agreed.tls_client is sdp.Party.ANSWERER,
            events=EVENTS,
            correlation=call.dialog.call_id,
            names=names_of(call),
        )

    def built(
        self,
        call: store.Call,
        agreed: sdp.Agreement,
        result: TransferResult | None,
        local: tuple[str, int],
    ) -> None:
        """Step 8 for the trace: the answer stands."""
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


def answer_policy(config: MrfcConfig) -> sdp.AnswerPolicy:
    """What we are ready to serve: TCP/TLS/BFCP, and after it TCP/BFCP where the operator allows that."""
    if config.bfcp.unsecured == "allow":
        return sdp.AnswerPolicy(protos=(sdp.BfcpProto.TCP_TLS, sdp.BfcpProto.TCP))
    return sdp.AnswerPolicy()


def joins_without_floor_control(
    config: MrfcConfig, offer: sdp.SessionDescription, fault: sdp.SdpRejected
) -> bool:
    """Whether an offer whose BFCP cannot be served is welcome for its media."""
    mixer = config.mixer
    welcome = bool(mixer.uri) and mixer.without_floor_control == "join"
    return welcome and fault.reason in NO_BFCP_FOR_US and sdp.has_mixable(offer)


def identity_of(sip_uri: str) -> str:
    """The KMS user identity of a SIP URI in the form in which identities are compared; "" when it has none."""
    try:
        return plain_identity(kms_user_identity(sip_uri))
    except MikeyError:
        return ""


def plain_identity(identity: str) -> str:
    """An identity in its NAI form, so that both forms compare equal."""
    return identity.removeprefix("sip:").removeprefix("sips:")
