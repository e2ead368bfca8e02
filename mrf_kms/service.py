"""What the KMS does with one request: octets in, octets and what to tell out. No sockets, no clock."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from mrf_kms.replay import ReplayCache
from mrf_kms.store import Image
from mrf_protocols.mikey import (
    DataType,
    ErrorNumber,
    KmsRules,
    MikeyError,
    error_message,
    issue_ticket,
    resolve_ticket,
)

_BAD_REQUEST = frozenset(
    {
        ErrorNumber.UNSPECIFIED,
        ErrorNumber.INVALID_DT,
        ErrorNumber.INVALID_PRF,
        ErrorNumber.INVALID_MAC,
        ErrorNumber.INVALID_EA,
        ErrorNumber.INVALID_HA,
        ErrorNumber.UNSUPPORTED_MESSAGE,
    }
)
"""Errors in the form of a message; all others mean that the KMS understood and refuses."""


class RequestType(Enum):
    """What the query part of the URL asks for."""

    TICKET_REQUEST = "ticketrequest"
    TICKET_RESOLVE = "ticketresolve"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended: HTTP `status` and `body`, and words for log and trace.

    `request` and `response` are names of messages; `reason` is "" when the ticket was granted or resolved, `fault`
    names the error that was answered then.
    """

    status: int
    body: bytes
    request: str
    response: str
    csb_id: int = 0
    psk_id: str = ""
    initiator: str = ""
    responders: tuple[str, ...] = ()
    reason: str = ""
    fault: str = ""


class KmsService:
    """Grants and resolves tickets.

    `image` gives the present users and ticket keys; `rand` random octets; `self_made` whether users may make
    tickets themselves with their pre-shared key (mode 3).
    """

    def __init__(
        self,
        *,
        rules: KmsRules,
        image: Callable[[], Image],
        replay: ReplayCache,
        rand: Callable[[int], bytes],
        self_made: bool = True,
    ) -> None:
        self._rules, self._image, self._replay, self._rand = rules, image, replay, rand
        self._self_made = self_made

    def handle(self, kind: RequestType, request: bytes, now: float) -> Outcome:
        """Answer one message at Unix time `now`. Raises StoreError only."""
        name = message_name(request)
        csb_id = int.from_bytes(request[4:8])
        image = self._image()
        try:
            if kind is RequestType.TICKET_REQUEST:
                outcome, replay_key = self._issue(request, image, now)
            else:
                outcome, replay_key = self._resolve(request, image, now)
            if not self._replay.first_time(replay_key, now):
                raise MikeyError(ErrorNumber.INVALID_TS, "the message was answered before")
        except MikeyError as error:
            status = 400 if error.number in _BAD_REQUEST else 403
            body = error_message(request, error.number, now)
            return Outcome(
                status, body, name, "Error", csb_id, reason=str(error), fault=_fault_name(error.number)
            )
        return outcome

    def _issue(self, request: bytes, image: Image, now: float) -> tuple[Outcome, bytes]:
        issued = issue_ticket(
            request,
            rules=self._rules,
            find_credential=image.credential,
            ticket_key=image.current_key(),
            rand=self._rand,
            now=now,
        )
        outcome = Outcome(
            200,
            issued.response,
            message_name(request),
            DataType.REQUEST_RESP.name,
            issued.csb_id,
            issued.psk_id,
            issued.initiator,
            issued.responders,
        )
        return outcome, issued.replay_key

    def _resolve(self, request: bytes, image: Image, now: float) -> tuple[Outcome, bytes]:
        resolved = resolve_ticket(
            request,
            rules=self._rules,
            find_credential=image.credential,
            find_ticket_key=lambda name: image.ticket_key(name, now, self._self_made),
            rand=self._rand,
            now=now,
        )
        outcome = Outcome(
            200,
            resolved.response,
            message_name(request),
            DataType.RESOLVE_RESP.name,
            resolved.csb_id,
            resolved.psk_id,
            resolved.initiator,
            (resolved.responder,),
        )
        return outcome, resolved.replay_key


def _fault_name(number: int) -> str:
    try:
        return ErrorNumber(number).name
    except ValueError:
        return str(number)


def message_name(message: bytes) -> str:
    """Give the name of a message's data type, for log and trace."""
    try:
        return DataType(message[1]).name
    except (ValueError, IndexError):
        return "unknown message"
