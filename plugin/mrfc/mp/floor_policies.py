"""The policies of a conference's floors as the MRFP is told them (TS 23.333 8.45)."""

from __future__ import annotations

from mrf_protocols.h248 import mp
from mrf_protocols.mikey import MikeyError, kms_user_identity
from mrf_protocols.mikey.identity import matches_any
from mrfc.config import Floor
from mrfc.state.store import Conference, Store

EVERYBODY = "*"


def conference_information(conference: Conference, store: Store) -> mp.Conference:
    """Configure Conference For Floor Control, for those who are in the conference now."""
    return mp.Conference(
        conference.conference_id,
        tuple(
            mp.Floor(
                floor.id,
                tuple(floor.streams),
                floor.max_holders,
                mp.FloorControlAlgorithm(floor.algorithm),
                mp.WithoutChair(floor.without_chair),
                floor.max_holding_time,
                floor.honour_priority,
                _who_may_ask(conference, floor, store),
                floor.confirm_media,
            )
            for floor in conference.floors
        ),
        store.floor_grace,
    )


def depends_on_participants(conference: Conference) -> bool:
    """Whether the policies change with every participant who comes."""
    return any(EVERYBODY not in floor.may_ask for floor in conference.floors)


def is_one_of(who: str, patterns: list[str]) -> bool:
    """Whether a SIP URI matches one of these patterns."""
    try:
        return matches_any(tuple(patterns), kms_user_identity(who))
    except MikeyError:
        return False


def _who_may_ask(conference: Conference, floor: Floor, store: Store) -> tuple[int, ...] | None:
    if EVERYBODY in floor.may_ask:
        return None
    found: list[int] = []
    for user_id, key in sorted(conference.seats.items()):
        call = store.call_with(key)
        if call is not None and is_one_of(call.identity.uri, floor.may_ask):
            found.append(user_id)
    return tuple(found)
