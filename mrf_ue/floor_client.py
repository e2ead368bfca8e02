"""BFCP client of one user in one conference (RFC 8855 10 to 12), without input or output.

Each operation gives the message to send; ``receive`` turns what the server sent into events. Times are
seconds of any steady clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mrf_protocols.bfcp import (
    Attribute,
    BeneficiaryId,
    BeneficiaryInformation,
    BfcpError,
    ErrorCode,
    ErrorCodeAttribute,
    ErrorInfo,
    FloorId,
    FloorRequestId,
    FloorRequestInformation,
    FloorRequestStatus,
    Message,
    ParticipantProvidedInfo,
    Primitive,
    Priority,
    PriorityAttribute,
    RequestStatus,
    RequestStatusAttribute,
    SupportedAttributes,
    SupportedPrimitives,
)

HIGHEST_TRANSACTION_ID = 0xFFFF

RESPONSES = {
    Primitive.FLOOR_REQUEST: Primitive.FLOOR_REQUEST_STATUS,
    Primitive.FLOOR_RELEASE: Primitive.FLOOR_REQUEST_STATUS,
    Primitive.FLOOR_REQUEST_QUERY: Primitive.FLOOR_REQUEST_STATUS,
    Primitive.USER_QUERY: Primitive.USER_STATUS,
    Primitive.FLOOR_QUERY: Primitive.FLOOR_STATUS,
    Primitive.CHAIR_ACTION: Primitive.CHAIR_ACTION_ACK,
    Primitive.HELLO: Primitive.HELLO_ACK,
}
"""The message that answers each request when all is well (RFC 8855 10 to 12)."""

NOTIFICATIONS = frozenset({Primitive.FLOOR_REQUEST_STATUS, Primitive.FLOOR_STATUS})
"""What a server may send on its own, with transaction id 0 (RFC 8855 8.2)."""


@dataclass(frozen=True, slots=True)
class FloorRequestEvent:
    """A floor request is in some state.

    ``transaction_id`` is that of the operation that is answered, 0 when the server told it on its own.
    ``info`` is a text for the user, from the overall status or the first floor that has one. This class
    itself is given when the state is not one of RFC 8855.
    """

    transaction_id: int
    floor_request_id: int
    floor_ids: tuple[int, ...]
    info: str | None
    request: FloorRequestInformation


@dataclass(frozen=True, slots=True)
class Pending(FloorRequestEvent):
    """The request waits for a chair."""


@dataclass(frozen=True, slots=True)
class Accepted(FloorRequestEvent):
    """The request is in the queue; position 0 means that the server does not tell."""

    queue_position: int


@dataclass(frozen=True, slots=True)
class Granted(FloorRequestEvent):
    """The floors of the request are held now."""


@dataclass(frozen=True, slots=True)
class Denied(FloorRequestEvent):
    """The request was refused."""


@dataclass(frozen=True, slots=True)
class Cancelled(FloorRequestEvent):
    """The request ended before it was granted."""


@dataclass(frozen=True, slots=True)
class Released(FloorRequestEvent):
    """The floors were given back."""


@dataclass(frozen=True, slots=True)
class Revoked(FloorRequestEvent):
    """The floors were taken away."""


@dataclass(frozen=True, slots=True)
class FloorStatusEvent:
    """State of one floor, or of none after the end of a subscription (``floor_id`` None)."""

    transaction_id: int
    floor_id: int | None
    requests: tuple[FloorRequestInformation, ...]


@dataclass(frozen=True, slots=True)
class UserStatusEvent:
    """State of a user's floor requests."""

    transaction_id: int
    user: BeneficiaryInformation | None
    requests: tuple[FloorRequestInformation, ...]


@dataclass(frozen=True, slots=True)
class HelloAcknowledged:
    """The server is alive and tells what it supports."""

    transaction_id: int
    primitives: tuple[int, ...]
    attributes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChairActionAcknowledged:
    """The server took the decision of the chair."""

    transaction_id: int


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """The server refused an operation; ``code`` 0 stands for an Error message without ERROR-CODE."""

    transaction_id: int
    request: Message
    code: int
    info: str | None
    unknown_types: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ResponseTimeout:
    """No response came in time; the transaction id is free again."""

    request: Message


@dataclass(frozen=True, slots=True)
class Unexpected:
    """A message that fits no operation and is no notification: nothing was done with it."""

    message: Message
    reason: str


Event: TypeAlias = (
    FloorRequestEvent
    | FloorStatusEvent
    | UserStatusEvent
    | HelloAcknowledged
    | ChairActionAcknowledged
    | ErrorEvent
    | ResponseTimeout
    | Unexpected
)
"""What ``FloorClient.receive`` and ``FloorClient.tick`` give."""

_STATES: dict[int, type[FloorRequestEvent]] = {
    RequestStatus.PENDING: Pending,
    RequestStatus.GRANTED: Granted,
    RequestStatus.DENIED: Denied,
    RequestStatus.CANCELLED: Cancelled,
    RequestStatus.RELEASED: Released,
    RequestStatus.REVOKED: Revoked,
}


class FloorClient:
    """A participant or chair: one user id in one conference, on one connection.

    ``response_timeout`` is in seconds. ``last_transaction_id`` is the id before the first one used: a
    caller who reconnects passes the ``last_transaction_id`` of the client before.
    """

    def __init__(
        self,
        conference_id: int,
        user_id: int,
        *,
        response_timeout: float = 10.0,
        last_transaction_id: int = 0,
    ) -> None:
        self.conference_id = conference_id
        self.user_id = user_id
        self.response_timeout = response_timeout
        self.last_transaction_id = last_transaction_id
        self._outstanding: dict[int, tuple[Message, float]] = {}

    # Operations of every client (RFC 8855 12)

    def hello(self, now: float) -> Message:
        """Hello: is the server alive, what does it support (RFC 8855 12.4)."""
        return self._begin(Primitive.HELLO, (), now)

    def query_floors(self, floor_ids: Sequence[int], now: float) -> Message:
        """FloorQuery: be told about these floors from now on, and no others (RFC 8855 12.1)."""
        return self._begin(Primitive.FLOOR_QUERY, tuple(FloorId(floor) for floor in floor_ids), now)

    def query_request(self, floor_request_id: int, now: float) -> Message:
        """FloorRequestQuery (RFC 8855 12.2)."""
        return self._begin(Primitive.FLOOR_REQUEST_QUERY, (FloorRequestId(floor_request_id),), now)

    def query_user(self, now: float, user_id: int | None = None) -> Message:
        """UserQuery about another user, or about oneself (RFC 8855 12.3)."""
        about = () if user_id is None or user_id == self.user_id else (BeneficiaryId(user_id),)
        return self._begin(Primitive.USER_QUERY, about, now)

    # Operations of a participant (RFC 8855 10)

    def request(
        self,
        floor_ids: Sequence[int],
        now: float,
        *,
        beneficiary: int | None = None,
        priority: Priority | None = None,
        info: str | None = None,
    ) -> Message:
        """FloorRequest: all these floors or none, for oneself or for ``beneficiary`` (RFC 8855 10.1)."""
        attributes: list[Attribute] = [FloorId(floor) for floor in floor_ids]
        if beneficiary is not None and beneficiary != self.user_id:
            attributes.append(BeneficiaryId(beneficiary))
        if info is not None:
            attributes.append(ParticipantProvidedInfo(info))
        if priority is not None:
            attributes.append(PriorityAttribute(priority))
        return self._begin(Primitive.FLOOR_REQUEST, tuple(attributes), now)

    def release(self, floor_request_id: int, now: float) -> Message:
        """FloorRelease: give the floors back, or take the request back (RFC 8855 10.2)."""
        return self._begin(Primitive.FLOOR_RELEASE, (FloorRequestId(floor_request_id),), now)

    # Operations of a chair (RFC 8855 11)

    def decide(
        self,
        floor_request_id: int,
        decisions: Mapping[int, RequestStatus],
        now: float,
        *,
        queue_position: int = 0,
        info: str | None = None,
    ) -> Message:
        """ChairAction: Accepted, Granted, Denied or Revoked for each floor id (RFC 8855 11.1).

        ``queue_position`` goes with Accepted; 0 leaves the choice to the server.
        """
        floors = tuple(
            FloorRequestStatus(
                floor,
                RequestStatusAttribute(status, queue_position if status == RequestStatus.ACCEPTED else 0),
                info,
            )
            for floor, status in decisions.items()
        )
        action = FloorRequestInformation(floor_request_id, floors=floors)
        return self._begin(Primitive.CHAIR_ACTION, (action,), now)

    # What comes back

    def receive(self, message: Message) -> list[Event]:
        """Take a message of the server."""
        if message.conference_id != self.conference_id or message.user_id != self.user_id:
            return [Unexpected(message, "conference or user of somebody else")]
        if message.transaction_id == 0:
            if message.primitive not in NOTIFICATIONS:
                return [Unexpected(message, "no notification")]
            return [_event(message)]
        begun = self._outstanding.get(message.transaction_id)
        if begun is None:
            return [Unexpected(message, "no such transaction")]
        request = begun[0]
        if message.primitive == Primitive.ERROR:
            del self._outstanding[message.transaction_id]
            return [_error(message, request)]
        if message.primitive != RESPONSES[Primitive(request.primitive)]:
            return [Unexpected(message, f"no response to {request.name}")]
        del self._outstanding[message.transaction_id]
        return [_event(message)]

    def tick(self, now: float) -> list[Event]:
        """Give up the operations whose response is overdue."""
        late = [request for request, deadline in self._outstanding.values() if deadline <= now]
        for request in late:
            del self._outstanding[request.transaction_id]
        return [ResponseTimeout(request) for request in late]

    def next_deadline(self) -> float | None:
        """When ``tick`` is wanted next."""
        return min((deadline for _, deadline in self._outstanding.values()), default=None)

    @property
    def outstanding(self) -> tuple[Message, ...]:
        """Requests without a response: what may be sent again on a new connection (RFC 8855 6.1)."""
        return tuple(request for request, _ in self._outstanding.values())

    def _begin(self, primitive: Primitive, attributes: tuple[Attribute, ...], now: float) -> Message:
        """Open a transaction under an id that is not 0 and not outstanding (RFC 8855 8.1)."""
        if len(self._outstanding) >= HIGHEST_TRANSACTION_ID:
            raise BfcpError(ErrorCode.GENERIC_ERROR, "every transaction id is outstanding")
        transaction_id = self.last_transaction_id
        while True:
            transaction_id = transaction_id % HIGHEST_TRANSACTION_ID + 1
            if transaction_id not in self._outstanding:
                break
        self.last_transaction_id = transaction_id
        message = Message(primitive, self.conference_id, transaction_id, self.user_id, attributes)
        self._outstanding[transaction_id] = (message, now + self.response_timeout)
        return message


def _event(message: Message) -> Event:
    """The event for a message whose primitive was checked against what is expected."""
    transaction = message.transaction_id
    if message.primitive == Primitive.FLOOR_REQUEST_STATUS:
        return _request_event(message)
    if message.primitive == Primitive.FLOOR_STATUS:
        floor = message.first(FloorId)
        return FloorStatusEvent(
            transaction, None if floor is None else floor.floor_id, message.floor_requests
        )
    if message.primitive == Primitive.USER_STATUS:
        return UserStatusEvent(transaction, message.first(BeneficiaryInformation), message.floor_requests)
    if message.primitive == Primitive.CHAIR_ACTION_ACK:
        return ChairActionAcknowledged(transaction)
    primitives = message.first(SupportedPrimitives)
    attributes = message.first(SupportedAttributes)
    return HelloAcknowledged(
        transaction,
        () if primitives is None else primitives.primitives,
        () if attributes is None else attributes.types,
    )


def _request_event(message: Message) -> Event:
    """The event for a FloorRequestStatus."""
    request = message.floor_request
    if request is None:
        return Unexpected(message, "FloorRequestStatus without FLOOR-REQUEST-INFORMATION")
    status = _overall_status(request)
    info = request.overall.info if request.overall is not None else None
    if info is None:
        info = next((floor.info for floor in request.floors if floor.info is not None), None)
    common = (message.transaction_id, request.floor_request_id, request.floor_ids, info, request)
    if status == RequestStatus.ACCEPTED:
        return Accepted(*common, _overall_position(request))
    return _STATES.get(status, FloorRequestEvent)(*common)


def _overall_status(request: FloorRequestInformation) -> int:
    """The overall status; servers that tell it per floor only are understood when the floors agree."""
    if request.status is not None:
        return request.status
    told = {floor.status.status for floor in request.floors if floor.status is not None}
    return told.pop() if len(told) == 1 else 0


def _overall_position(request: FloorRequestInformation) -> int:
    """The overall queue position, else the worst of the floors."""
    told = [floor.status.queue_position for floor in request.floors if floor.status is not None]
    return request.queue_position or max(told, default=0)


def _error(message: Message, request: Message) -> ErrorEvent:
    """The event for an Error message; an unknown or missing code is a failure as well (RFC 8855 5.2.6)."""
    code = message.first(ErrorCodeAttribute) or ErrorCodeAttribute(0)
    info = message.first(ErrorInfo)
    return ErrorEvent(
        message.transaction_id,
        request,
        code.code,
        None if info is None else info.text,
        code.unknown_types,
    )
