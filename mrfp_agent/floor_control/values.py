"""What a floor control server is told and what it tells: floors, policies and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from mrf_protocols.bfcp import Message


class Policy(Enum):
    """Who decides on a request for a floor (TS 23.333 8.45: the algorithm)."""

    FIRST_COME_FIRST_SERVED = "first-come-first-served"
    CHAIR_MODERATED = "chair-moderated"


class WithoutChair(Enum):
    """What becomes of requests for a chair moderated floor while no chair is there."""

    QUEUE = "queue"
    """They wait, pending, for a chair."""
    GRANT = "grant"
    """They are served first come first served."""
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Floor:
    """One floor of a conference and its policy.

    ``max_requests_per_user`` bounds the ongoing requests of one beneficiary for this floor (error 8).
    ``max_holding_time`` is in seconds; when it is over the floor is revoked. ``allowed_users`` None means
    that every user of the conference may ask.
    """

    floor_id: int
    max_holders: int = 1
    policy: Policy = Policy.FIRST_COME_FIRST_SERVED
    without_chair: WithoutChair = WithoutChair.QUEUE
    chair: int | None = None
    max_requests_per_user: int = 1
    max_holding_time: float | None = None
    honour_priority: bool = True
    allowed_users: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message on the connection of this user."""

    user_id: int
    message: Message


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """Close the connection of this user gracefully, after what was to be sent before."""

    user_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class FloorStateChanged:
    """A floor has other holders or another queue than before: user ids (beneficiaries), in order."""

    conference_id: int
    floor_id: int
    holders: tuple[int, ...]
    queue: tuple[int, ...]


Output: TypeAlias = Send | CloseConnection | FloorStateChanged
"""What a driver has to do, in order."""
