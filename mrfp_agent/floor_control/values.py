"""What a floor control server is told and what it tells: floors, policies and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from mrf_protocols.bfcp import Message, RequestStatus


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
    that every user of the conference may ask. ``confirm_media``: a request whose turn has come takes its place
    among the holders, but is granted only when ``FloorControlServer.confirm`` is called.
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
    confirm_media: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message on the connection of this user."""

    user_id: int
    message: Message


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """Close the connection of this user gracefully, after what was to be sent before. `reason` is one of a few."""

    user_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class FloorStateChanged:
    """A floor has other holders or another queue than before: user ids (beneficiaries), in order."""

    conference_id: int
    floor_id: int
    holders: tuple[int, ...]
    queue: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RequestChanged:
    """A floor request has another state: what the MRFC is told (TS 23.333 6.2.13.2.4).

    ``granting``: accepted, and its media have to be confirmed. ``positions``: in the queue of each of
    ``floors``, from 1; empty when it is not in the queue.
    """

    request_id: int
    floors: tuple[int, ...]
    beneficiary: int
    requester: int
    status: RequestStatus
    granting: bool
    positions: tuple[int, ...]
    info: str | None


Output: TypeAlias = Send | CloseConnection | FloorStateChanged | RequestChanged
"""What a driver has to do, in order."""
