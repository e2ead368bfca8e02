"""The floor control server of one conference: messages in, outputs out (RFC 8855 section 13)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mrf_protocols.bfcp import (
    Attribute,
    AttributeType,
    BfcpError,
    ErrorCode,
    FloorRequestInformation,
    Message,
    Primitive,
    RequestStatus,
    SupportedAttributes,
    SupportedPrimitives,
)
from mrfp_agent.floor_control.conference import Changes, Conference, Decision, User
from mrfp_agent.floor_control.reports import MAX_LISTED, Reporter
from mrfp_agent.floor_control.requests import FloorRequest, Step
from mrfp_agent.floor_control.values import (
    CloseConnection,
    Floor,
    FloorStateChanged,
    Output,
    RequestChanged,
    Send,
)

MAX_FLOORS_PER_REQUEST = 28
"""So many floors fit a FLOOR-REQUEST-INFORMATION with the state of each and the parties."""

DECISIONS = frozenset(
    {RequestStatus.ACCEPTED, RequestStatus.GRANTED, RequestStatus.DENIED, RequestStatus.REVOKED}
)
"""What a chair may say (RFC 8855 11.1)."""

SUPPORTED = (
    SupportedPrimitives(tuple(p for p in Primitive if p < Primitive.FLOOR_REQUEST_STATUS_ACK)),
    SupportedAttributes(tuple(AttributeType)),
)
"""What HelloAck lists: everything but the primitives of UDP (RFC 8855 13.7)."""

_Answer = FloorRequest | list[Message]
"""A handler gives the request whose state is the response, or the response and what follows it at once."""


class FloorControlServer:
    """Floor control of one conference (RFC 8855 13); times are seconds of any steady clock.

    Every method that takes ``now`` returns what is to be done because of it, in order. A driver calls
    ``connection_up`` before the first message of a connection and ``connection_lost`` after the last, also
    after it carried out a ``CloseConnection``.
    """

    def __init__(
        self,
        conference_id: int,
        floors: Sequence[Floor],
        *,
        grace: float = 60.0,
        third_party: bool = True,
        max_requests: int = 1024,
        confirm_timeout: float = 10.0,
    ) -> None:
        """``grace``: seconds for which the requests of a lost connection are kept; ``confirm_timeout``: seconds
        after which a request whose media were not confirmed is denied.

        ``third_party``: whether a user may ask on behalf of another; ``max_requests``: bound of all
        ongoing requests of the conference.
        """
        self.conference_id = conference_id
        self._third_party = third_party
        self._max_requests = max_requests
        self.reporting = False
        """Whether ``RequestChanged`` is given."""
        self._conference = Conference(floors, grace, confirm_timeout)
        self._subscribers: dict[int, dict[int, User]] = {floor.floor_id: {} for floor in floors}
        self._handlers: dict[int, Callable[[User, Message], _Answer]] = {
            Primitive.FLOOR_REQUEST: self._floor_request,
            Primitive.FLOOR_RELEASE: self._floor_release,
            Primitive.FLOOR_REQUEST_QUERY: self._floor_request_query,
            Primitive.USER_QUERY: self._user_query,
            Primitive.FLOOR_QUERY: self._floor_query,
            Primitive.CHAIR_ACTION: self._chair_action,
            Primitive.HELLO: self._hello,
        }

    # Users and their connections

    def add_user(self, user_id: int, display_name: str | None = None, uri: str | None = None) -> None:
        """A user joins the conference; its connection may come later or never."""
        self._conference.join(user_id, display_name, uri)

    def remove_user(self, user_id: int, now: float) -> list[Output]:
        """A user leaves the conference: its requests end at once and its connection is closed."""
        user = self._conference.users.get(user_id)
        if user is None:
            return []
        was_connected = user.connected
        self._subscribe(user, ())
        held = list(user.requests.values())
        self._conference.leave(user)
        outputs = self._settle(now)
        if was_connected:
            reporter = Reporter(self._conference)
            last = [
                Send(user_id, self._status_message(user_id, reporter.state(request)))
                for request in held
                if not request.status.ongoing
            ]
            return [*last, CloseConnection(user_id, "left the conference"), *outputs]
        return outputs

    def connection_up(self, user_id: int, now: float) -> list[Output]:
        """The connection of a user is there, his first one or one in place of another. He is told the state of the
        requests that he has already, and of the floors that he had asked to be told of."""
        user = self._conference.users.get(user_id)
        if user is None:
            return [CloseConnection(user_id, "not in the conference")]
        self._conference.connect(user)
        if not (user.requests or user.subscriptions):
            return []
        reporter = Reporter(self._conference)
        told = [self._status_message(user_id, reporter.state(request)) for request in user.requests.values()]
        told += [
            Message(
                Primitive.FLOOR_STATUS,
                self.conference_id,
                0,
                user_id,
                reporter.floor(floor_id, chair=self._is_chair(user, floor_id)),
            )
            for floor_id in user.subscriptions
        ]
        return [Send(user_id, message) for message in told]

    def connection_lost(self, user_id: int, now: float) -> list[Output]:
        """The connection of a user is gone: requests are kept for the grace time, subscriptions end."""
        user = self._conference.users.get(user_id)
        if user is not None:
            self._subscribe(user, ())
            self._conference.lose(user, now)
        return []

    # Messages

    def receive(self, user_id: int, message: Message, now: float) -> list[Output]:
        """A message came on the connection that is bound to ``user_id`` (RFC 8855 13)."""
        if message.primitive == Primitive.ERROR:
            return []  # No client may send one; to answer could go on for ever.
        try:
            user = self._authorized(user_id, message)
            answer = self._handlers[message.primitive](user, message)
        except BfcpError as error:
            return [Send(user_id, message.error(error.code, error.text, error.details))]
        return self._settle(now, user_id, message, answer)

    def reject(self, user_id: int, error: BfcpError, now: float) -> list[Output]:
        """The deframer gave an error instead of a message: answer it, close if it is fatal."""
        outputs: list[Output] = []
        if error.header is not None and error.header.primitive != Primitive.ERROR:
            outputs.append(Send(user_id, error.header.error(error.code, error.text, error.details)))
        if error.fatal:
            # not its text: numbers of the peer's choice would make ever new reasons in metrics
            outputs.append(CloseConnection(user_id, error.code.name.lower().replace("_", "-")))
        return outputs

    def _authorized(self, user_id: int, message: Message) -> User:
        """The checks that come before any operation, in the order of RFC 8855 13."""
        if message.primitive not in self._handlers:
            raise BfcpError(ErrorCode.UNKNOWN_PRIMITIVE, f"{message.name} is no request")
        if message.conference_id != self.conference_id:
            raise BfcpError(ErrorCode.CONFERENCE_DOES_NOT_EXIST, f"no conference {message.conference_id}")
        user = self._conference.users.get(user_id)
        if user is None:
            raise BfcpError(ErrorCode.USER_DOES_NOT_EXIST, f"no user {user_id}")
        if message.user_id != user_id:
            raise BfcpError(ErrorCode.UNAUTHORIZED_OPERATION, "the connection is bound to another User ID")
        unknown = message.unknown_mandatory()
        if unknown:
            listed = bytes([kind << 1 for kind in unknown])
            raise BfcpError(ErrorCode.UNKNOWN_MANDATORY_ATTRIBUTE, "unknown attributes", details=listed)
        return user

    def _floor_request(self, user: User, message: Message) -> _Answer:
        """FloorRequest (RFC 8855 13.1): everything is checked before anything changes."""
        floors = tuple(dict.fromkeys(message.floor_ids))
        if not floors or len(floors) > MAX_FLOORS_PER_REQUEST:
            raise BfcpError(ErrorCode.GENERIC_ERROR, f"FloorRequest for {len(floors)} floors")
        conference = self._conference
        beneficiary: User | None = user
        named = message.beneficiary_id
        if named is not None and named != user.user_id:
            if not self._third_party:
                raise BfcpError(ErrorCode.UNAUTHORIZED_OPERATION, "requests are for oneself only")
            beneficiary = conference.users.get(named)
        if beneficiary is None:
            raise BfcpError(ErrorCode.USER_DOES_NOT_EXIST, f"no user {named}")
        for floor_id in floors:
            self._check_floor(floor_id)
            floor = conference.book.floors[floor_id]
            if floor.allowed_users is not None and beneficiary.user_id not in floor.allowed_users:
                raise BfcpError(ErrorCode.UNAUTHORIZED_OPERATION, f"floor {floor_id} is not for this user")
            if _ongoing(beneficiary, floor_id) >= floor.max_requests_per_user:
                raise BfcpError(
                    ErrorCode.TOO_MANY_ONGOING_FLOOR_REQUESTS,
                    f"at most {floor.max_requests_per_user} requests for floor {floor_id}",
                )
        if len(conference.requests) >= self._max_requests:
            raise BfcpError(ErrorCode.GENERIC_ERROR, "too many floor requests in the conference")
        return conference.admit(floors, user, beneficiary, message.priority, message.participant_info)

    def _floor_release(self, user: User, message: Message) -> _Answer:
        """FloorRelease (RFC 8855 13.4), by the requester or the beneficiary."""
        request = self._request(message.floor_request_id)
        if user.user_id not in request.parties:
            raise BfcpError(ErrorCode.UNAUTHORIZED_OPERATION, "somebody else's floor request")
        request.info = None
        self._conference.end(request, Step.RELEASE)
        return request

    def _floor_request_query(self, user: User, message: Message) -> _Answer:
        """FloorRequestQuery (RFC 8855 13.2)."""
        request = self._request(message.floor_request_id)
        if not self._may_see(user, request):
            raise BfcpError(ErrorCode.UNAUTHORIZED_OPERATION, "a pending request of somebody else")
        confidential = self._is_close(user, request)
        told = Reporter(self._conference).request(request, confidential=confidential)
        return [message.response(Primitive.FLOOR_REQUEST_STATUS, told)]

    def _user_query(self, user: User, message: Message) -> _Answer:
        """UserQuery (RFC 8855 13.3)."""
        named = message.beneficiary_id
        about = user if named is None else self._conference.users.get(named)
        if about is None:
            raise BfcpError(ErrorCode.USER_DOES_NOT_EXIST, f"no user {named}")
        reporter = Reporter(self._conference)
        seen = [request for request in about.requests.values() if self._may_see(user, request)]
        told = [
            reporter.request(request, confidential=self._is_close(user, request))
            for request in seen[:MAX_LISTED]
        ]
        return [message.response(Primitive.USER_STATUS, reporter.user(about), *told)]

    def _floor_query(self, user: User, message: Message) -> _Answer:
        """FloorQuery: one subscription that replaces the one before (RFC 8855 12.1 and 13.5)."""
        floors = tuple(dict.fromkeys(message.floor_ids))
        for floor_id in floors:
            self._check_floor(floor_id)
        self._subscribe(user, floors)
        if not floors:
            return [message.response(Primitive.FLOOR_STATUS)]
        reporter = Reporter(self._conference)
        views = [reporter.floor(floor_id, chair=self._is_chair(user, floor_id)) for floor_id in floors]
        others = [
            Message(Primitive.FLOOR_STATUS, self.conference_id, 0, user.user_id, view) for view in views[1:]
        ]
        return [message.response(Primitive.FLOOR_STATUS, *views[0]), *others]

    def _chair_action(self, user: User, message: Message) -> _Answer:
        """ChairAction (RFC 8855 13.6)."""
        action = message.floor_request
        if action is None or not action.floors:
            raise BfcpError(ErrorCode.GENERIC_ERROR, "ChairAction for no floor")
        request = self._request(action.floor_request_id)
        decisions: dict[int, Decision] = {}
        for floor in action.floors:
            if not self._is_chair(user, floor.floor_id):
                raise BfcpError(ErrorCode.UNAUTHORIZED_OPERATION, f"not the chair of floor {floor.floor_id}")
            if floor.floor_id not in request.floors:
                raise BfcpError(ErrorCode.INVALID_FLOOR_ID, f"floor {floor.floor_id} was not requested")
            told = floor.status or (action.overall and action.overall.status)
            if told is None or told.status not in DECISIONS:
                raise BfcpError(ErrorCode.GENERIC_ERROR, f"no decision on floor {floor.floor_id}")
            decisions[floor.floor_id] = (RequestStatus(told.status), told.queue_position)
        self._conference.decide(request, decisions, _reason(action))
        return [message.response(Primitive.CHAIR_ACTION_ACK)]

    def _hello(self, user: User, message: Message) -> _Answer:
        """Hello (RFC 8855 13.7)."""
        return [message.response(Primitive.HELLO_ACK, *SUPPORTED)]

    # The operator

    def decide(
        self, request_id: int, status: RequestStatus, now: float, info: str | None = None
    ) -> list[Output]:
        """The operator decides on all floors of a request: Accepted, Granted, Denied or Revoked. A request that
        is granted goes to the head of the queue.

        Raises ``BfcpError``: 7 when there is no such request, 14 for another status.
        """
        request = self._request(request_id)
        if status not in DECISIONS:
            raise BfcpError(ErrorCode.GENERIC_ERROR, f"{status.label} is no decision")
        place = 1 if status is RequestStatus.GRANTED and not request.granting else 0
        self._conference.decide(request, dict.fromkeys(request.floors, (status, place)), info)
        return self._settle(now)

    def confirm(self, request_id: int, now: float, *, done: bool, info: str | None = None) -> list[Output]:
        """The media of a request have been changed, or cannot be changed (TS 23.333 8.49).

        Raises ``BfcpError``: 7 when there is no such request, 14 when it does not wait for that.
        """
        self._conference.confirm(self._request(request_id), now, done=done, info=info)
        return self._settle(now)

    def configure(self, floors: Sequence[Floor], now: float, *, grace: float | None = None) -> list[Output]:
        """Give floors other policies (TS 23.333 8.45), and those who have no connection another grace time.

        Raises ``BfcpError`` 6 when a floor is not there.
        """
        for floor in floors:
            self._check_floor(floor.floor_id)
        self._conference.configure(floors, grace)
        return self._settle(now)

    def appoint_chair(self, floor_id: int, user_id: int | None, now: float) -> list[Output]:
        """Make a user the chair of a floor, or nobody. Raises ``BfcpError``: 6 no such floor, 2 no such user."""
        self._check_floor(floor_id)
        if user_id is not None and user_id not in self._conference.users:
            raise BfcpError(ErrorCode.USER_DOES_NOT_EXIST, f"no user {user_id}")
        self._conference.appoint(floor_id, user_id)
        return self._settle(now)

    # Time

    def tick(self, now: float) -> list[Output]:
        """End the grace times and holding times that are over."""
        self._conference.expire(now)
        return self._settle(now)

    def next_deadline(self) -> float | None:
        """When ``tick`` is wanted next; None: not before something else happens."""
        return self._conference.next_deadline()

    # Views for management and tests

    def holders(self, floor_id: int) -> tuple[int, ...]:
        """Who holds a floor: user ids of the beneficiaries, the longest holder first."""
        return tuple(
            [
                request.beneficiary
                for request in self._conference.book.holders[floor_id]
                if not request.granting
            ]
        )

    def queue(self, floor_id: int) -> tuple[int, ...]:
        """Who is in the queue for a floor: user ids of the beneficiaries, in order."""
        return tuple(request.beneficiary for request in self._conference.book.waiting_for(floor_id))

    def chair(self, floor_id: int) -> int | None:
        """The chair of a floor. Raises ``BfcpError`` 6."""
        self._check_floor(floor_id)
        return self._conference.chairs[floor_id]

    @property
    def users(self) -> tuple[int, ...]:
        """The users of the conference."""
        return tuple(self._conference.users)

    # What follows from a change

    def _settle(
        self,
        now: float,
        user_id: int | None = None,
        message: Message | None = None,
        answer: _Answer | None = None,
    ) -> list[Output]:
        """Grant what is due; then respond, tell the parties, tell the subscribers, tell the driver."""
        self._conference.grant_what_is_due(now)
        changes = self._conference.take_changes()
        outputs: list[Output] = []
        if user_id is not None and isinstance(answer, list):
            outputs += [Send(user_id, told) for told in answer]
        if changes.floors:
            reporter = Reporter(self._conference)
            outputs += self._tell_parties(changes, reporter, user_id, message, answer)
            outputs += self._tell_subscribers(changes, reporter)
            outputs += [
                FloorStateChanged(self.conference_id, floor_id, self.holders(floor_id), self.queue(floor_id))
                for floor_id, public in changes.floors.items()
                if public
            ]
            if self.reporting:
                outputs += self._reports(changes.requests.values(), reporter)
        return outputs

    def report_all(self) -> list[Output]:
        """Every ongoing request once more, for an MRFC that may have missed something."""
        if not self.reporting:
            return []
        return self._reports(self._conference.requests.values(), Reporter(self._conference))

    def _reports(self, requests: Iterable[FloorRequest], reporter: Reporter) -> list[Output]:
        """What the MRFC is told of: those in the queue last, by their places, so that it can repeat the queue."""
        told: list[tuple[int, RequestChanged]] = []
        for request in requests:
            place, positions = reporter.place(request)
            changed = RequestChanged(
                request.request_id,
                request.floors,
                request.beneficiary,
                request.requester,
                request.status,
                request.granting,
                positions,
                request.info,
            )
            told.append((place, changed))
        told.sort(key=lambda entry: entry[0])
        return [changed for _, changed in told]

    def _tell_parties(
        self,
        changes: Changes,
        reporter: Reporter,
        user_id: int | None,
        message: Message | None,
        answer: _Answer | None,
    ) -> list[Output]:
        """FloorRequestStatus: the response first, then to all whose request has moved (RFC 8855 13.1)."""
        moved = changes.requests
        queue = self._conference.book.queue
        if changes.queue and queue:
            moved = moved | {request.request_id: request for request in queue}
        response: list[Output] = []
        outputs: list[Output] = []
        for request in moved.values():
            news = reporter.news(request)
            if news == request.told:
                continue
            request.told = news
            state = reporter.state(request, news)
            for party in request.parties:
                if request is answer and party == user_id and message is not None:
                    response.append(Send(party, message.response(Primitive.FLOOR_REQUEST_STATUS, state)))
                elif self._is_connected(party):
                    outputs.append(Send(party, self._status_message(party, state)))
        return response + outputs

    def _tell_subscribers(self, changes: Changes, reporter: Reporter) -> list[Output]:
        """FloorStatus to those who asked to be informed of a floor that has changed (RFC 8855 13.5.2)."""
        outputs: list[Output] = []
        for floor_id, public in changes.floors.items():
            views: dict[bool, tuple[Attribute, ...]] = {}
            for user in self._subscribers[floor_id].values():
                chair = self._is_chair(user, floor_id)
                if not (public or chair):
                    continue
                if chair not in views:
                    views[chair] = reporter.floor(floor_id, chair=chair)
                told = Message(Primitive.FLOOR_STATUS, self.conference_id, 0, user.user_id, views[chair])
                outputs.append(Send(user.user_id, told))
        return outputs

    def _status_message(self, user_id: int, state: FloorRequestInformation) -> Message:
        """A notification, which has transaction id 0 (RFC 8855 8.2)."""
        return Message(Primitive.FLOOR_REQUEST_STATUS, self.conference_id, 0, user_id, (state,))

    # Small questions

    def _request(self, request_id: int | None) -> FloorRequest:
        request = None if request_id is None else self._conference.requests.get(request_id)
        if request is None:
            raise BfcpError(ErrorCode.FLOOR_REQUEST_ID_DOES_NOT_EXIST, f"no floor request {request_id}")
        return request

    def _check_floor(self, floor_id: int) -> None:
        if floor_id not in self._conference.book.floors:
            raise BfcpError(ErrorCode.INVALID_FLOOR_ID, f"no floor {floor_id}")

    def _is_chair(self, user: User, floor_id: int) -> bool:
        return self._conference.chairs.get(floor_id) == user.user_id

    def _is_connected(self, user_id: int) -> bool:
        user = self._conference.users.get(user_id)
        return user is not None and user.connected

    def _is_close(self, user: User, request: FloorRequest) -> bool:
        """Whether a user is a party of a request, or a chair of one of its floors."""
        return user.user_id in request.parties or any(
            self._is_chair(user, floor_id) for floor_id in request.floors
        )

    def _may_see(self, user: User, request: FloorRequest) -> bool:
        """Pending requests are between the parties and the chairs (RFC 8855 13.5)."""
        return request.status is not RequestStatus.PENDING or self._is_close(user, request)

    def _subscribe(self, user: User, floors: tuple[int, ...]) -> None:
        for floor_id in user.subscriptions:
            self._subscribers[floor_id].pop(user.user_id, None)
        user.subscriptions = floors
        for floor_id in floors:
            self._subscribers[floor_id][user.user_id] = user


def _ongoing(user: User, floor_id: int) -> int:
    """How many requests for a floor a user is the beneficiary of."""
    return sum(
        request.beneficiary == user.user_id and floor_id in request.floors
        for request in user.requests.values()
    )


def _reason(action: FloorRequestInformation) -> str | None:
    """The first STATUS-INFO of a chair's action."""
    if action.overall is not None and action.overall.info is not None:
        return action.overall.info
    return next((floor.info for floor in action.floors if floor.info is not None), None)
