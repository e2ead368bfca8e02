"""The Mp procedures of floor control, as values (TS 23.333 6.2.13.2, 8.45 to 8.49)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FloorControlAlgorithm(StrEnum):
    """Who decides on a request for a floor."""

    FIRST_COME_FIRST_SERVED = "fcfs"
    CHAIR = "chair"


class WithoutChair(StrEnum):
    """What becomes of requests for a floor with the algorithm CHAIR while no chair is there."""

    QUEUE = "queue"
    GRANT = "grant"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Floor:
    """A floor, the SDP labels of the media it controls, and its whole policy.

    * `max_holders`: how many may hold it at once. `max_holding_time`: seconds after which it is taken away, 0: never.
    * `honour_priority`: whether PRIORITY decides on the place in the queue.
    * `allowed_users`: BFCP users who may ask for it; None: all.
    * `confirm_media`: a request is granted only when Confirm Media Update has come.
    """

    floor_id: int
    labels: tuple[str, ...] = ()
    max_holders: int = 1
    algorithm: FloorControlAlgorithm = FloorControlAlgorithm.FIRST_COME_FIRST_SERVED
    without_chair: WithoutChair = WithoutChair.QUEUE
    max_holding_time: int = 0
    honour_priority: bool = True
    allowed_users: tuple[int, ...] | None = None
    confirm_media: bool = False


@dataclass(frozen=True, slots=True)
class Conference:
    """What all BFCP users of a context share: conference identifier and floors (TS 23.333 8.45).

    `grace`: seconds for which the floor requests of a lost connection are kept; None: what the MRFP has configured.
    """

    conference_id: int
    floors: tuple[Floor, ...]
    grace: int | None = None


@dataclass(frozen=True, slots=True)
class ConfigureConference:
    """Configure Conference For Floor Control, MRFC to MRFP, context properties alone (TS 23.333 8.45).

    Changes the policies of the floors of a context that is there; its conference identifier and floors stay.
    """

    context: int
    conference: Conference


@dataclass(frozen=True, slots=True)
class DesignateFloorChair:
    """Designate Floor Chair, MRFC to MRFP, MODIFY (TS 23.333 8.46): all the floors that this user is the chair of.

    Refused with 479 when one of them has another chair; empty takes the office away.
    """

    context: int
    termination: str
    floors: tuple[int, ...]
    correlation: str = ""


class Decision(StrEnum):
    """What an operator decides on a floor request."""

    GRANT = "grant"
    DENY = "deny"
    REVOKE = "revoke"


@dataclass(frozen=True, slots=True)
class FloorRequestDecision:
    """Floor Request Decision, MRFC to MRFP, MODIFY of the beneficiary's termination (TS 23.333 8.47).

    `reason`: words for the participants. A request that is granted goes to the head of the queue and is served as
    soon as there is room.
    """

    context: int
    termination: str
    floor_request_id: int
    decision: Decision
    reason: str = ""
    correlation: str = ""


@dataclass(frozen=True, slots=True)
class ConfirmMediaUpdate:
    """Confirm Media Update, MRFC to MRFP, MODIFY of the beneficiary's termination (TS 23.333 8.49).

    `done`: the media have been changed and the floors can be granted; else the request is denied.
    """

    context: int
    termination: str
    floor_request_id: int
    done: bool = True
    reason: str = ""
    correlation: str = ""


FloorProcedure = DesignateFloorChair | FloorRequestDecision | ConfirmMediaUpdate
"""Procedures that change nothing but the floor control server."""


@dataclass(frozen=True, slots=True)
class ContextConfigured:
    """Acknowledgement of Configure Conference For Floor Control."""

    context: int


class FloorRequestState(StrEnum):
    """State of a floor request (RFC 8855 5.2.5); GRANTING waits for Confirm Media Update."""

    PENDING = "Pending"
    ACCEPTED = "Accepted"
    GRANTING = "Granting"
    GRANTED = "Granted"
    DENIED = "Denied"
    CANCELLED = "Cancelled"
    RELEASED = "Released"
    REVOKED = "Revoked"


@dataclass(frozen=True, slots=True)
class FloorRequestReport:
    """Report Floor Request Decision, MRFP to MRFC, NOTIFY of the beneficiary's termination (TS 23.333 8.48).

    * `positions`: in the queue of each of `floors`, from 1, when the state is ACCEPTED; else empty. Those behind a
      request that leaves the queue move up without a report of their own.
    * `requester`: BFCP user who asked, 0 when it is the beneficiary. `reason`: words.
    """

    context: int
    termination: str
    floor_request_id: int
    floors: tuple[int, ...]
    state: FloorRequestState
    positions: tuple[int, ...] = ()
    requester: int = 0
    reason: str = ""
    request_id: int = 1
