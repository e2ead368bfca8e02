"""The floors that Mp describes, as the floor control server wants them (TS 23.333 8.45)."""

from __future__ import annotations

from mrf_protocols.h248 import mp
from mrfp_agent.floor_control import Floor, Policy, WithoutChair

_POLICIES = {
    mp.FloorControlAlgorithm.FIRST_COME_FIRST_SERVED: Policy.FIRST_COME_FIRST_SERVED,
    mp.FloorControlAlgorithm.CHAIR: Policy.CHAIR_MODERATED,
}


def floors_of(conference: mp.Conference) -> list[Floor]:
    """Every floor of a conference with its policy."""
    return [
        Floor(
            floor.floor_id,
            max_holders=floor.max_holders,
            policy=_POLICIES[floor.algorithm],
            without_chair=WithoutChair(floor.without_chair.value),
            max_holding_time=floor.max_holding_time or None,
            honour_priority=floor.honour_priority,
            allowed_users=None if floor.allowed_users is None else frozenset(floor.allowed_users),
            confirm_media=floor.confirm_media,
        )
        for floor in conference.floors
    ]
