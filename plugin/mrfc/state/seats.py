"""Seats in a conference: who gets one, and which BFCP user id goes with it."""

from __future__ import annotations

from mrfc.jobs import CallKey
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state.store import Conference, NoFreeNumber, Store


def take_seat(store: Store, conference: Conference, key: CallKey, limit: int) -> int:
    """A seat in a conference that may have `limit` of them; gives its BFCP user id. Raises Refusal."""
    if store.draining:
        raise Refusal(Cause.DRAINING)
    if len(conference.seats) >= limit:
        raise Refusal(Cause.FULL, "the conference has no seat left")
    try:
        return store.take_seat(conference, key)
    except NoFreeNumber:
        raise Refusal(Cause.FULL, "the conference has no user id left") from None
