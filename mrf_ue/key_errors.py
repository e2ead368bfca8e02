"""MIKEY Error messages in SIP: what a refusal says of our ticket, and what we say of another's (RFC 4567 4.1.2)."""

import secrets
import time

from mrf_protocols import mikey, sdp
from mrf_protocols.mikey import MikeyError, TransferInitiator, TransferResponder
from mrf_ue.errors import KmsFailed, OfferRefused, SipRefused
from mrf_ue.keys import KeyOffer


def explained(refused: SipRefused, transfer: KeyOffer | None) -> SipRefused:
    """The refusal of our offer, in words also what its Error message says of the ticket."""
    message = sdp.message_in_refusal(refused.body) if refused.body else None
    if message is None or not isinstance(transfer, TransferInitiator):
        return refused
    error = transfer.reported(message)
    said = f"the far end says of the ticket: {error}" if error.reported else f"with no proper Error: {error}"
    return SipRefused(refused.text, refused.status, refused.warning, refused.body, said)


def unreadable(error: MikeyError, message: bytes) -> OfferRefused:
    """The refusal of an offer whose TRANSFER_INIT cannot be accepted by itself."""
    return OfferRefused(str(error), 488, 399, mikey.error_message(message, error.number, time.time()))


def unresolved(error: MikeyError | KmsFailed, transfer: TransferResponder) -> OfferRefused:
    """The refusal of an offer whose ticket does not resolve; 480 where the KMS did not say so."""
    if error.number is None:
        return OfferRefused(str(error), 480, 399)
    return OfferRefused(str(error), 488, 399, transfer.error(error.number, time.time()))


def body_of(refusal: OfferRefused, host: str) -> bytes:
    """The body that tells the Error message, b"" without one; `host` is for its origin."""
    if not refusal.mikey:
        return b""
    return sdp.encode(sdp.refusal_with(refusal.mikey, host, secrets.randbits(62)))
