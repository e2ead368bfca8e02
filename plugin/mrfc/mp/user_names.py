"""What the MRFP tells the users of a conference of one another."""

from __future__ import annotations

from mrf_protocols.h248.mp import UserNames
from mrfc.state.store import Call


def names_of(call: Call) -> UserNames:
    """A participant as the others may see him: one who wants privacy has a number and no name (RFC 3323 4.3)."""
    identity, number = call.identity, call.user_id
    return UserNames.fitting(identity.shown_display(number), identity.shown_uri(number))
