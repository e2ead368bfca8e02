"""CSB updates: a later offer that brings a new key to the session instead of a new ticket (RFC 6043 5.2)."""

from __future__ import annotations

import time
from collections.abc import Callable

from mrf_protocols import sdp
from mrf_protocols.mikey import (
    CsbSession,
    KeyData,
    KeyType,
    MikeyError,
    TransferResult,
    error_message,
    is_csb_update,
)
from mrfc.sip.refusal import Cause, Refusal


def is_update(agreed: sdp.Agreement, session: CsbSession | None) -> bool:
    """Whether the offer's key management is an update of this session."""
    return session is not None and agreed.key_mgmt is not None and is_csb_update(agreed.key_mgmt.data)


def updated(session: CsbSession, message: bytes, random: Callable[[int], bytes]) -> TransferResult:
    """The session's new key, and the TRANSFER_RESP where one is wanted. Raises Refusal; the session goes on as it was.

    Who brings the new key the policy says: the participant in a KEMAC, or we do when he asks for one.
    """
    now = time.time()
    own: tuple[KeyData, ...] = ()
    if session.supplies_keys:
        own = (KeyData(KeyType.TGK, random(session.suite.key_length), spi=random(4)),)
    try:
        return session.receive(message, now=now, keys=own)
    except MikeyError as error:
        told = error_message(message, error.number, now)
        raise Refusal(Cause.TICKET_UNACCEPTABLE, f"CSB update: {error.text}", mikey=told) from error
