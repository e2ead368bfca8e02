"""What the focus wants of SIP: a small port that Kamailio's side implements, and tests too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mrfc.jobs import TransactionId

Fields = tuple[tuple[str, str], ...]
"""Header fields of ours: names and values."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response to a suspended request. Headers are name and value, without line ends."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = ""
    body: str = ""


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request within a dialog, complete but for Via, Max-Forwards and Content-Length, which the stack adds."""

    method: str
    request_uri: str
    next_hop: str
    headers: tuple[tuple[str, str], ...]
    body: str = ""


class SipPort(Protocol):
    """The SIP transaction layer as the focus sees it."""

    def answer(self, transaction: TransactionId, response: Response) -> bool:
        """Answer a suspended request. False: the transaction was gone (cancelled, timed out), nothing was sent."""
        ...

    def provisional(self, transaction: TransactionId, response: Response) -> bool:
        """Send a provisional response to a suspended INVITE, which stays suspended. False: the transaction was gone."""
        ...

    def send(self, request: OutgoingRequest) -> bool:
        """Send a request within a dialog. False: it could not be sent. Its response comes as a `ResponseJob`."""
        ...

    def cancel(self, call_id: str, cseq: int, status: int) -> bool:
        """Cancel an INVITE of ours that has no final response; `status` is told as Reason. False: there is none."""
        ...

    def publish(self, event: str) -> bool:
        """Hand an event (a line of JSON) to whoever listens at the SIP stack. False: it cannot do that."""
        ...

    def renewed(self) -> None:
        """The tables guard and trunk of the configuration have changed: SIP workers shall read them again."""
        ...

    def counted(self, trunk: str, result: str) -> int:
        """How many requests of a trunk the SIP workers have dealt with in this way (mrfc.trunks.guard.CAUSES)."""
        ...
