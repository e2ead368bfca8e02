"""Seats in a conference: who gets one, and which BFCP user id goes with it."""

from __future__ import annotations

from mrfc.config import Limits
from mrfc.jobs import CallKey
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state.store import Conference, NoFreeNumber, Store


def most_participants(conference: Conference, limits: Limits) -> int:
    """How many may take part in a conference."""
    return min(conference.terms.max_participants or limits.participants, limits.participants)


def take_seat(store: Store, conference: Conference, key: CallKey, limits: Limits) -> int:
    """A seat in a conference; gives its BFCP user id. Raises Refusal."""
    if store.draining:
        raise Refusal(Cause.DRAINING)
    if store.call_count >= limits.calls:
        raise Refusal(Cause.FULL, "no room for another call")
    if len(conference.seats) >= most_participants(conference, limits):
        raise Refusal(Cause.FULL, "the conference has no seat left")
    try:
        return store.take_seat(conference, key)
    except NoFreeNumber:
        raise Refusal(Cause.FULL, "the conference has no user id left") from None
