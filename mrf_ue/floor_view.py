"""What a user knows of the floors: from what the server tells, in words for a terminal. No input or output."""

from __future__ import annotations

from mrf_protocols.bfcp import FloorRequestInformation, RequestStatus
from mrf_ue.bfcp_trace import error_name
from mrf_ue.floor_client import (
    Accepted,
    ErrorEvent,
    Event,
    FloorRequestEvent,
    FloorStatusEvent,
    HelloAcknowledged,
    Unexpected,
    UserStatusEvent,
)


class FloorView:
    """Floors by id with their requests, and the state of each request that the server told this user about."""

    def __init__(self, user_id: int, *, chair: bool = False) -> None:
        self.user_id = user_id
        self.floors: dict[int, tuple[FloorRequestInformation, ...]] = {}
        self.states: dict[int, int] = {}
        self.last_request: int | None = None
        """The request of ours that was made last."""
        self._chair = chair
        self._announced: set[int] = set()

    def apply(self, event: Event) -> list[str]:
        """Take an event; gives lines that tell it."""
        if isinstance(event, FloorRequestEvent):
            return [self._take_request(event)]
        if isinstance(event, FloorStatusEvent):
            return self._take_floor(event)
        if isinstance(event, UserStatusEvent):
            return [_line(request) for request in event.requests] or ["no requests"]
        if isinstance(event, ErrorEvent):
            words = f": {event.info}" if event.info else ""
            return [f"{event.request.name} refused, Error {error_name(event.code)}{words}"]
        if isinstance(event, HelloAcknowledged):
            return ["the server is there"]
        if isinstance(event, Unexpected):
            return [f"{event.message.name} is not expected: {event.reason}"]
        return []

    def _take_request(self, event: FloorRequestEvent) -> str:
        status = event.request.status or 0
        number = event.floor_request_id
        if event.transaction_id and number not in self.states:
            self.last_request = number
        self.states[number] = status
        words = _status_words(status)
        if isinstance(event, Accepted):
            words += f", position {event.queue_position}" if event.queue_position else ", its turn has come"
        floors = ", ".join(map(str, event.floor_ids))
        return f"request {number} for floor {floors}: {words}" + (f" ({event.info})" if event.info else "")

    def _take_floor(self, event: FloorStatusEvent) -> list[str]:
        if event.floor_id is None:
            self.floors.clear()
            return []
        self.floors[event.floor_id] = event.requests
        lines = [self.line(event.floor_id)]
        if self._chair:
            waiting = [each for each in event.requests if each.status == RequestStatus.PENDING]
            for request in waiting:
                if request.floor_request_id not in self._announced:
                    self._announced.add(request.floor_request_id)
                    number = request.floor_request_id
                    lines.append(
                        f"waits for you: {_line(request)}; grant {number}, accept {number}, deny {number}?"
                    )
        return lines

    def line(self, floor_id: int) -> str:
        """One floor in one line."""
        requests = self.floors.get(floor_id, ())
        parts = []
        for status, words in (
            (RequestStatus.GRANTED, "held by"),
            (RequestStatus.ACCEPTED, "queue:"),
            (RequestStatus.PENDING, "waiting for the chair:"),
        ):
            found = [self._who(each) for each in requests if each.status == status]
            if found:
                parts.append(f"{words} {', '.join(found)}")
        return f"floor {floor_id}: {'; '.join(parts) or 'free'}"

    def _who(self, request: FloorRequestInformation) -> str:
        name = "you" if _user_id(request) == self.user_id else _user(request)
        return f"{name} (request {request.floor_request_id})"

    def lines(self) -> list[str]:
        """Every floor that is watched."""
        return [self.line(floor_id) for floor_id in sorted(self.floors)] or ["no floor is watched"]

    def request(self, number: int) -> FloorRequestInformation | None:
        """A request on a floor that is watched."""
        for requests in self.floors.values():
            for request in requests:
                if request.floor_request_id == number:
                    return request
        return None

    def first(self, *states: RequestStatus) -> int | None:
        """The first request in one of these states on the floors that are watched."""
        for status in states:
            for floor_id in sorted(self.floors):
                for request in self.floors[floor_id]:
                    if request.status == status:
                        return request.floor_request_id
        return None

    def state(self) -> int | None:
        """State of our last request."""
        return None if self.last_request is None else self.states.get(self.last_request)


def _user_id(request: FloorRequestInformation) -> int:
    return 0 if request.beneficiary is None else request.beneficiary.user_id


def _user(request: FloorRequestInformation) -> str:
    """The number, and what the server tells of the name; a chair is told the URI, too."""
    user = f"user {_user_id(request)}"
    if request.beneficiary is None:
        return user
    name, uri = request.beneficiary.display_name, request.beneficiary.uri
    return user + (f' "{name}"' if name else "") + (f" <{uri}>" if uri else "")


def _status_words(status: int) -> str:
    try:
        return RequestStatus(status).label.lower()
    except ValueError:
        return f"status {status}"


def _line(request: FloorRequestInformation) -> str:
    floors = ", ".join(map(str, request.floor_ids))
    text = f"request {request.floor_request_id} of {_user(request)} for floor {floors}, "
    text += _status_words(request.status or 0)
    return text + (f': "{request.participant_info}"' if request.participant_info else "")
