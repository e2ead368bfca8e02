"""MIKEY Error messages in SIP: ours in a refusal, and the far end's in the refusal of an offer (RFC 4567 4.1.2)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from mrf_protocols import sdp
from mrf_protocols.mikey import ErrorNumber, TransferInitiator, TransferResponder
from mrfc.sip.capabilities import is_sdp
from mrfc.sip.refusal import Cause, Refusal

NOT_ACCEPTABLE, ATTRIBUTE_NOT_UNDERSTOOD = 488, 306


@contextmanager
def telling(transfer: TransferResponder) -> Iterator[None]:
    """Around what may refuse the ticket of an offer: gives the refusal its Error message.

    It is protected once the ticket is resolved and the offer proved to be the caller's (RFC 6043 5.4).
    """
    try:
        yield
    except Refusal as refusal:
        number = refusal.mikey_error
        if number is None and refusal.cause is Cause.TICKET_REFUSED:
            number = ErrorNumber.INVALID_ID  # whose ticket it is, is all that the caller of a step knows
        if number is not None and not refusal.mikey:
            refusal.mikey = transfer.error(number, time.time())
        raise


@contextmanager
def rekeying(later: bool) -> Iterator[None]:
    """Around key management of an offer: RFC 4567 4.1.2 wants Warning 306 where a `later` offer fails by it."""
    try:
        yield
    except Refusal as refusal:
        if later and refusal.cause.value.status == NOT_ACCEPTABLE:
            refusal.warning = ATTRIBUTE_NOT_UNDERSTOOD
        raise


def said_of(transfer: TransferInitiator, content_type: str, body: str) -> str:
    """What the refusal of an offer of ours says about its key management, "" when it says nothing."""
    message = sdp.message_in_refusal(body) if body and is_sdp(content_type) else None
    return "" if message is None else f"MIKEY {transfer.reported(message)}"
