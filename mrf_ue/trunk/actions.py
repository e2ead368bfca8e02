"""What a scenario of the trunk test is made of, sans-IO.

A scenario is a generator: it yields actions and is sent events, one for each action. Who plays it carries the actions
out, and tells the time (seconds of a clock that only goes forward).
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from aiosipua import SipRequest, SipResponse

from mrf_protocols import sdp

Message = SipRequest | SipResponse
_T = TypeVar("_T")


# --- actions: what a scenario wants


@dataclass(frozen=True, slots=True)
class Transact:
    """Send a request by a client transaction: it is repeated on UDP, a failure of an INVITE is acknowledged."""

    request: SipRequest


@dataclass(frozen=True, slots=True)
class Emit:
    """Send a message once: an ACK, a response, or a request whose repetitions the scenario decides."""

    message: Message


@dataclass(frozen=True, slots=True)
class Octets:
    """Send octets that are no message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class GetKeys:
    """Get a ticket for the target; answered with Keys or NoKeys."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for what comes, so many seconds at most; answered with Received, Pong, Closed, or Quiet."""

    seconds: float


Action = Transact | Emit | Octets | GetKeys | Wait


# --- events: what came of it


@dataclass(frozen=True, slots=True)
class Done:
    """The action was carried out."""

    at: float


@dataclass(frozen=True, slots=True)
class Received:
    """A message came."""

    at: float
    message: Message


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a keep-alive came (RFC 5626 3.5.1)."""

    at: float


@dataclass(frozen=True, slots=True)
class Quiet:
    """Nothing came in that time."""

    at: float


@dataclass(frozen=True, slots=True)
class Closed:
    """The far end has closed the connection, or it broke: what it was asked there stays unanswered."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class Keys:
    """The key-mgmt attributes for one offer."""

    at: float
    offered: tuple[sdp.KeyMgmt, ...]


@dataclass(frozen=True, slots=True)
class NoKeys:
    """There is no ticket, and why."""

    at: float
    text: str


Event = Done | Received | Pong | Closed | Quiet | Keys | NoKeys
Play = Generator[Action, Event, _T]
