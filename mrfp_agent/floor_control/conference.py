"""State of a conference: users, chairs, requests, and the rules by which floors change hands.

Nothing here knows messages. What changed since the last ``take_changes`` is kept for those who tell it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mrf_protocols.bfcp import BfcpError, ErrorCode, Priority, RequestStatus
from mrfp_agent.floor_control.book import FloorBook
from mrfp_agent.floor_control.requests import FloorRequest, Step
from mrfp_agent.floor_control.values import Floor, Policy, WithoutChair

HIGHEST_REQUEST_ID = 0xFFFF

Decision = tuple[RequestStatus, int]
"""What a chair wants for one floor: Accepted, Granted, Denied or Revoked; and a queue position or 0."""


class User:
    """A user of the conference, and the ongoing requests it made or benefits from."""

    __slots__ = ("connected", "display_name", "requests", "subscriptions", "uri", "user_id")

    def __init__(self, user_id: int, display_name: str | None, uri: str | None) -> None:
        self.user_id = user_id
        self.display_name = display_name
        self.uri = uri
        self.connected = False
        self.requests: dict[int, FloorRequest] = {}
        self.subscriptions: tuple[int, ...] = ()


@dataclass(slots=True)
class Changes:
    """What is to be told: requests by id, and floors with whether everybody may know of the change."""

    requests: dict[int, FloorRequest] = field(default_factory=dict)
    floors: dict[int, bool] = field(default_factory=dict)
    queue: bool = False


class Conference:
    """Floors, users and requests of one conference.

    ``grace``: seconds for which what a lost connection had is kept; ``confirm_timeout``: seconds in which the
    media of a request have to be confirmed.
    """

    def __init__(self, floors: Iterable[Floor], grace: float, confirm_timeout: float = 10.0) -> None:
        self.book = FloorBook(floors)
        self.chairs: dict[int, int | None] = {
            floor_id: floor.chair for floor_id, floor in self.book.floors.items()
        }
        self.users: dict[int, User] = {}
        self.requests: dict[int, FloorRequest] = {}
        self._grace = grace
        self._confirm_timeout = confirm_timeout
        self._last_request_id = 0
        self._lost: dict[int, float] = {}
        self._holding: dict[int, float] = {}
        self._confirming: dict[int, float] = {}
        self._changes = Changes()

    # Users

    def present(self, user_id: int | None) -> bool:
        """Whether a user is connected, or was so lately that it may come back."""
        if user_id is None:
            return False
        user = self.users.get(user_id)
        return user is not None and (user.connected or user_id in self._lost)

    def join(self, user_id: int, display_name: str | None, uri: str | None) -> None:
        """Add a user, or learn its names."""
        user = self.users.get(user_id)
        if user is None:
            self.users[user_id] = User(user_id, display_name, uri)
        else:
            user.display_name, user.uri = display_name, uri

    def connect(self, user: User) -> None:
        """The connection is there."""
        user.connected = True
        self._lost.pop(user.user_id, None)

    def lose(self, user: User, now: float) -> None:
        """The connection is gone: the grace time begins."""
        if user.connected:
            user.connected = False
            self._lost[user.user_id] = now + self._grace

    def leave(self, user: User) -> None:
        """A user leaves for good. What it asked for others is theirs from now on."""
        user_id = user.user_id
        user.connected = False
        self._lost.pop(user_id, None)
        self._user_gone(user)
        for request in user.requests.values():
            request.requester = request.beneficiary
        del self.users[user_id]
        for floor_id, chair in self.chairs.items():
            if chair == user_id:
                self.chairs[floor_id] = None

    def _user_gone(self, user: User) -> None:
        """End what a user held and wanted, and what nobody would be left to release."""
        for request in list(user.requests.values()):
            if request.beneficiary == user.user_id or not self.present(request.beneficiary):
                request.info = "connection lost"
                self.end(request, Step.EXPIRE)
        for floor_id, chair in self.chairs.items():
            if chair == user.user_id:
                self._chair_gone(floor_id)

    # Requests

    def admit(
        self,
        floors: tuple[int, ...],
        requester: User,
        beneficiary: User,
        priority: Priority | None,
        participant_info: str | None,
    ) -> FloorRequest:
        """A new request, which the policies of its floors allow, queue or deny."""
        request = FloorRequest(
            self._new_request_id(),
            floors,
            requester.user_id,
            beneficiary.user_id,
            priority,
            participant_info,
        )
        settings = [self.book.floors[floor_id] for floor_id in floors]
        if priority is not None and all(floor.honour_priority for floor in settings):
            request.rank = priority
        undecided: list[int] = []
        denied = False
        for floor in settings:
            if floor.policy is Policy.CHAIR_MODERATED:
                present = self.present(self.chairs[floor.floor_id])
                if present or floor.without_chair is WithoutChair.QUEUE:
                    undecided.append(floor.floor_id)
                denied |= not present and floor.without_chair is WithoutChair.DENY
        request.undecided = frozenset(undecided)
        self.requests[request.request_id] = request
        requester.requests[request.request_id] = request
        beneficiary.requests[request.request_id] = request
        if denied:
            request.info = "no chair"
            self.end(request, Step.REFUSE)
        else:
            self._advance(request)
        return request

    def _new_request_id(self) -> int:
        """The next id that no ongoing request has, from 1 to 65535 and around again."""
        if len(self.requests) >= HIGHEST_REQUEST_ID:
            raise BfcpError(ErrorCode.GENERIC_ERROR, "no floor request id is free")
        request_id = self._last_request_id
        while True:
            request_id = request_id % HIGHEST_REQUEST_ID + 1
            if request_id not in self.requests:
                self._last_request_id = request_id
                return request_id

    def _advance(self, request: FloorRequest) -> None:
        """Let a request enter the queue once every chair it needs has spoken."""
        if request.status is RequestStatus.PENDING and not request.undecided:
            request.step(Step.ACCEPT)
            self.book.enqueue(request)
        self._note(request)

    def grant_what_is_due(self, now: float) -> None:
        """Grant the requests whose turn has come."""
        if not self.book.queue:
            return
        for request in self.book.grantable():
            self.book.grant(request)
            if any(self.book.floors[floor_id].confirm_media for floor_id in request.floors):
                request.granting = True
                self._confirming[request.request_id] = now + self._confirm_timeout
                self._note(request)
            else:
                self._grant(request, now)

    def _grant(self, request: FloorRequest, now: float) -> None:
        request.step(Step.GRANT)
        limits = [self.book.floors[floor_id].max_holding_time for floor_id in request.floors]
        shortest = min((limit for limit in limits if limit is not None), default=None)
        if shortest is not None:
            self._holding[request.request_id] = now + shortest
        self._note(request)

    def confirm(self, request: FloorRequest, now: float, *, done: bool, info: str | None) -> None:
        """The media of a request have been changed, or cannot be: grant it, or deny it.

        Raises ``BfcpError`` when the request does not wait for that.
        """
        if not request.granting:
            raise BfcpError(ErrorCode.GENERIC_ERROR, "the request does not wait for its media")
        request.info = info
        if not done:
            self.end(request, Step.REFUSE)
            return
        request.granting = False
        del self._confirming[request.request_id]
        self._grant(request, now)

    def end(self, request: FloorRequest, step: Step) -> None:
        """Bring a request to a terminal state and forget it."""
        self._note(request)
        request.step(step)
        self._note(request)
        self.book.drop(request)
        del self.requests[request.request_id]
        request.granting = False
        self._holding.pop(request.request_id, None)
        self._confirming.pop(request.request_id, None)
        for party in request.parties:
            user = self.users.get(party)
            if user is not None:
                user.requests.pop(request.request_id, None)

    # Policies and chairs

    def configure(self, floors: Iterable[Floor], grace: float | None = None) -> None:
        """Give floors that are there another policy, and lost connections another grace time; what is held stays held.
        Chairs are not part of it."""
        if grace is not None and grace != self._grace:
            self._lost = {user_id: at + grace - self._grace for user_id, at in self._lost.items()}
            self._grace = grace
        for floor in floors:
            floor_id = floor.floor_id
            self.book.floors[floor_id] = floor
            if floor.policy is not Policy.CHAIR_MODERATED:
                self._without_chair(floor_id)
            elif not self.present(self.chairs[floor_id]):
                self._chair_gone(floor_id)

    def appoint(self, floor_id: int, user_id: int | None) -> None:
        """Make a user the chair of a floor."""
        self.chairs[floor_id] = user_id
        self._changes.floors.setdefault(floor_id, False)
        if not self.present(user_id):
            self._chair_gone(floor_id)

    def decide(self, request: FloorRequest, decisions: Mapping[int, Decision], info: str | None) -> None:
        """Combine decisions for floors of a request into its state (RFC 8855 11.1 and 13.6).

        One refusal refuses the request. A refusal that crosses a grant on the wire revokes, and the other way
        round. Raises ``BfcpError`` when a granted request is to go back to the queue.
        """
        wanted = [status for status, _ in decisions.values()]
        if RequestStatus.DENIED in wanted or RequestStatus.REVOKED in wanted:
            request.info = info
            self.end(request, Step.REFUSE)
            return
        if request.status is RequestStatus.GRANTED or request.granting:
            if RequestStatus.ACCEPTED in wanted:
                raise BfcpError(ErrorCode.GENERIC_ERROR, "the request is granted already")
            return
        request.info = info
        moderated = {
            floor_id for floor_id in decisions if self.book.floors[floor_id].policy is Policy.CHAIR_MODERATED
        }
        accepted = {
            floor_id
            for floor_id in moderated
            if decisions[floor_id][0] is RequestStatus.ACCEPTED and self._waits_for_chair(floor_id)
        }
        request.undecided -= decisions.keys()
        request.waiting = (request.waiting - moderated) | accepted
        self._advance(request)
        for floor_id, (_, position) in decisions.items():
            if position and request.status is RequestStatus.ACCEPTED:
                self.book.move(request, floor_id, position)

    def _waits_for_chair(self, floor_id: int) -> bool:
        """Whether a chair has still to grant what is accepted; an operator accepts where there may be none."""
        floor = self.book.floors[floor_id]
        return floor.without_chair is WithoutChair.QUEUE or self.present(self.chairs[floor_id])

    def _chair_gone(self, floor_id: int) -> None:
        """Treat what waits for a chair that is not there any more as the policy of the floor says."""
        floor = self.book.floors[floor_id]
        if floor.policy is not Policy.CHAIR_MODERATED or floor.without_chair is WithoutChair.QUEUE:
            return
        if floor.without_chair is WithoutChair.GRANT:
            self._without_chair(floor_id)
            return
        for request in self._waiting_for_chair(floor_id):
            request.info = "no chair"
            self.end(request, Step.REFUSE)

    def _without_chair(self, floor_id: int) -> None:
        """What waits for the chair of a floor does not need one any more."""
        for request in self._waiting_for_chair(floor_id):
            request.undecided -= {floor_id}
            request.waiting -= {floor_id}
            self._advance(request)

    def _waiting_for_chair(self, floor_id: int) -> list[FloorRequest]:
        return [
            request
            for request in self.requests.values()
            if floor_id in request.undecided or floor_id in request.waiting
        ]

    # Time

    def expire(self, now: float) -> None:
        """End the grace times and holding times that are over."""
        for user_id in [user_id for user_id, deadline in self._lost.items() if deadline <= now]:
            del self._lost[user_id]
            self._user_gone(self.users[user_id])
        for request_id in [key for key, deadline in self._holding.items() if deadline <= now]:
            request = self.requests[request_id]
            request.info = "holding time is over"
            self.end(request, Step.EXPIRE)
        for request_id in [key for key, deadline in self._confirming.items() if deadline <= now]:
            request = self.requests[request_id]
            request.info = "media not confirmed in time"
            self.end(request, Step.REFUSE)

    def next_deadline(self) -> float | None:
        """When ``expire`` is wanted next."""
        if not (self._lost or self._holding or self._confirming):
            return None
        # the grace is the same for all: who was lost first is due first
        deadlines = [next(iter(self._lost.values()))] if self._lost else []
        return min([*deadlines, *self._holding.values(), *self._confirming.values()])

    # What is to be told

    def _note(self, request: FloorRequest) -> None:
        """A request has changed its state, or is about to leave this one."""
        changes = self._changes
        changes.requests.pop(request.request_id, None)  # the last to change is the last to be told
        changes.requests[request.request_id] = request
        public = request.status in (RequestStatus.ACCEPTED, RequestStatus.GRANTED)
        changes.queue |= public
        for floor_id in request.floors:
            changes.floors[floor_id] = changes.floors.get(floor_id, False) or public

    def take_changes(self) -> Changes:
        """What changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes
