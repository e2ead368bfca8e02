"""What the server says about requests, floors and users: attributes built from the state (RFC 8855 13)."""

from __future__ import annotations

from mrf_protocols.bfcp import (
    Attribute,
    BeneficiaryInformation,
    FloorId,
    FloorRequestInformation,
    FloorRequestStatus,
    OverallRequestStatus,
    RequestedByInformation,
    RequestStatus,
    RequestStatusAttribute,
)
from mrfp_agent.floor_control.conference import Conference, User
from mrfp_agent.floor_control.requests import FloorRequest, News

HIGHEST_POSITION = 255
"""Largest queue position that REQUEST-STATUS can hold; those behind are not told one."""

MAX_LISTED = 256
"""Most requests that one FloorStatus or UserStatus lists, the holders and the head of the queue first."""

_PLAIN = {status: RequestStatusAttribute(status) for status in RequestStatus}


def _status(status: RequestStatus, position: int) -> RequestStatusAttribute:
    if status is RequestStatus.ACCEPTED and position:
        return RequestStatusAttribute(status, position)
    return _PLAIN[status]


def _floors(request: FloorRequest, positions: tuple[int, ...]) -> tuple[FloorRequestStatus, ...]:
    """The floors of a request; with a state for each when there are several."""
    if len(request.floors) == 1:
        return (FloorRequestStatus(request.floors[0]),)
    told: list[FloorRequestStatus] = []
    for index, floor_id in enumerate(request.floors):
        status = request.status
        if status is RequestStatus.PENDING and floor_id not in request.undecided:
            status = RequestStatus.ACCEPTED
        position = positions[index] if positions else 0
        told.append(FloorRequestStatus(floor_id, _status(status, position)))
    return tuple(told)


class Reporter:
    """Answers to queries, for one state of the conference."""

    def __init__(self, conference: Conference) -> None:
        self._conference = conference
        self._positions = conference.book.positions() if conference.book.queue else {}

    def place(self, request: FloorRequest) -> tuple[int, tuple[int, ...]]:
        """Place in the queue of the conference, 0 outside of it, and position on each of its floors."""
        positions = self._positions.get(request.request_id)
        if positions is None:
            return 0, ()
        return self._conference.book.queue.index(request) + 1, positions

    def news(self, request: FloorRequest) -> News:
        """What there is to tell the parties of a request; positions that cannot be told are 0."""
        positions = self._positions.get(request.request_id, ())
        told = tuple([position if position <= HIGHEST_POSITION else 0 for position in positions])
        return (request.status, told, request.info)

    def state(self, request: FloorRequest, news: News | None = None) -> FloorRequestInformation:
        """The short form, for the parties of the request (RFC 8855 13.1); ``news`` if it is known already."""
        status, positions, info = news or self.news(request)
        worst = 0 if not positions or 0 in positions else max(positions)
        request_id = request.request_id
        overall = OverallRequestStatus(request_id, _status(status, worst), info)
        floors = _floors(request, positions)
        if request.requester == request.beneficiary:
            return FloorRequestInformation(request_id, overall, floors)
        return FloorRequestInformation(
            request_id,
            overall,
            floors,
            BeneficiaryInformation(request.beneficiary),
            RequestedByInformation(request.requester),
        )

    def request(self, request: FloorRequest, *, confidential: bool) -> FloorRequestInformation:
        """All about a request; what the participant said to the chair only if ``confidential``."""
        state = self.state(request)
        requested_by = None
        if request.requester != request.beneficiary:
            name, uri = self._names(request.requester, confidential)
            requested_by = RequestedByInformation(request.requester, name, uri)
        return FloorRequestInformation(
            state.floor_request_id,
            state.overall,
            state.floors,
            BeneficiaryInformation(request.beneficiary, *self._names(request.beneficiary, confidential)),
            requested_by,
            request.priority,
            request.participant_info if confidential else None,
        )

    def user(self, user: User) -> BeneficiaryInformation:
        """A user with the names it has."""
        return BeneficiaryInformation(user.user_id, user.display_name, user.uri)

    def floor(self, floor_id: int, *, chair: bool) -> tuple[Attribute, ...]:
        """Contents of a FloorStatus: holders, queue, and for the chair what is pending (RFC 8855 13.5)."""
        book = self._conference.book
        requests = [*book.holders[floor_id], *book.waiting_for(floor_id)]
        if chair:
            requests += [
                request
                for request in self._conference.requests.values()
                if request.status is RequestStatus.PENDING and floor_id in request.floors
            ]
        told = [self.request(request, confidential=chair) for request in requests[:MAX_LISTED]]
        return (FloorId(floor_id), *told)

    def _names(self, user_id: int, confidential: bool) -> tuple[str | None, str | None]:
        user = self._conference.users.get(user_id)
        if user is None:
            return None, None
        return user.display_name, user.uri if confidential else None
