"""Any run of legal and illegal actions against the server, judged from the outside.

The test keeps its own account of what each user has been told; at every step that account, the views of the
server and the rules of floor control must agree.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mrf_protocols.bfcp import (
    Attribute,
    BeneficiaryId,
    BfcpError,
    FloorId,
    FloorRequestId,
    FloorRequestInformation,
    FloorRequestStatus,
    Message,
    Primitive,
    Priority,
    PriorityAttribute,
    RequestStatus,
    RequestStatusAttribute,
    decode,
    encode,
)
from mrf_protocols.h248.mp import FloorRequestReport, FloorRequestState
from mrfc.state.floor_state import FloorState
from mrfp_agent.floor_control import (
    CloseConnection,
    Floor,
    FloorControlServer,
    FloorStateChanged,
    Output,
    Policy,
    RequestChanged,
    Send,
    WithoutChair,
)
from mrfp_agent.floor_control.server import DECISIONS

CONFERENCE = 1
USERS = (1, 2, 3, 4)
GRACE = 20.0
CONFIRM = 15.0
FLOORS = (
    Floor(1, max_requests_per_user=2),
    Floor(2, max_holders=2, max_holding_time=50.0),
    Floor(3, policy=Policy.CHAIR_MODERATED, chair=1, max_holders=2),
    Floor(4, policy=Policy.CHAIR_MODERATED, chair=2, without_chair=WithoutChair.GRANT),
    Floor(5, policy=Policy.CHAIR_MODERATED, chair=3, without_chair=WithoutChair.DENY),
    Floor(6, confirm_media=True, max_holders=2),
)
HOLDERS = {floor.floor_id: floor.max_holders for floor in FLOORS}
_STATES = {status: FloorRequestState(status.label) for status in RequestStatus}
ONGOING = {RequestStatus.PENDING, RequestStatus.ACCEPTED, RequestStatus.GRANTED}
FOLLOWS = {
    None: set(RequestStatus),
    RequestStatus.PENDING: set(RequestStatus),
    RequestStatus.ACCEPTED: set(RequestStatus) - {RequestStatus.PENDING},
    RequestStatus.GRANTED: {RequestStatus.GRANTED, RequestStatus.RELEASED, RequestStatus.REVOKED},
}

users = st.sampled_from(USERS)
floor_ids = st.integers(1, 7)
request_ids = st.integers(1, 12)
decisions = st.sampled_from([*RequestStatus])


class FloorControl(RuleBasedStateMachine):
    """Users who come, go, ask, release, decide and subscribe in any order, with right and wrong ids."""

    def __init__(self) -> None:
        super().__init__()
        self.server = FloorControlServer(CONFERENCE, FLOORS, grace=GRACE, confirm_timeout=CONFIRM)
        self.server.reporting = True
        self.mrfc = FloorState()
        self.now = 0.0
        self.transaction = 0
        self.connected: set[int] = set()
        self.members: set[int] = set()
        self.subscribed: dict[int, set[int]] = {}
        self.told: dict[tuple[int, int], RequestStatus] = {}
        self.positions: dict[tuple[int, int], tuple[int, ...]] = {}
        self.over: set[int] = set()
        self.state: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
            floor.floor_id: ((), ()) for floor in FLOORS
        }

    # Judging what the server does

    def judge(self, outputs: list[Output], asked: Message | None = None, user: int = 0) -> list[Message]:
        """Check every output; give the messages to ``user``."""
        informed: dict[int, set[int]] = {}
        changed: dict[int, FloorStateChanged] = {}
        received: list[Message] = []
        for output in outputs:
            if isinstance(output, FloorStateChanged):
                assert output.floor_id not in changed
                changed[output.floor_id] = output
            elif isinstance(output, RequestChanged):
                self.report(output)
            elif isinstance(output, Send):
                message = decode(encode(output.message))
                if output.user_id == user:
                    received.append(message)
                if message.primitive == Primitive.FLOOR_REQUEST_STATUS:
                    self.hear(output.user_id, message)
                if message.primitive == Primitive.FLOOR_STATUS and message.transaction_id == 0:
                    informed.setdefault(output.user_id, set()).update(message.floor_ids)
                assert output.user_id in self.connected
        if asked is not None:
            assert received[0].transaction_id == asked.transaction_id
            assert all(message.transaction_id == 0 for message in received[1:])
        for floor_id, change in changed.items():
            self.state[floor_id] = (change.holders, change.queue)
            for subscriber, floors in self.subscribed.items():
                assert floor_id not in floors or floor_id in informed.get(subscriber, set())
        return received

    def report(self, changed: RequestChanged) -> None:
        """The MRFC hears of a request, unless its user's termination has gone."""
        if changed.beneficiary in self.members:
            state = FloorRequestState.GRANTING if changed.granting else _STATES[changed.status]
            told = FloorRequestReport(
                1,
                "bfcp/1",
                changed.request_id,
                changed.floors,
                state,
                changed.positions,
                changed.requester,
                changed.info or "",
            )
            self.mrfc.apply(told, changed.beneficiary)

    def hear(self, user: int, message: Message) -> None:
        """A user is told the state of a request: it must follow from what it was told before."""
        request = message.floor_request
        assert request is not None
        assert isinstance(request.status, RequestStatus)
        key = (user, request.floor_request_id)
        assert request.floor_request_id not in self.over or request.status not in ONGOING
        assert request.status in FOLLOWS.get(self.told.get(key), set())
        self.told[key] = request.status
        self.positions[key] = (request.queue_position,)
        if len(request.floors) > 1:
            self.positions[key] = tuple(
                floor.status.queue_position for floor in request.floors if floor.status
            )
        if request.status not in ONGOING:
            del self.told[key]
            self.over.add(request.floor_request_id)

    def say(self, user: int, primitive: Primitive, *attributes: Attribute) -> list[Message]:
        self.transaction += 1
        message = Message(primitive, CONFERENCE, self.transaction, user, attributes)
        return self.judge(self.server.receive(user, message, self.now), message, user)

    # What users do

    @initialize(present=st.sets(users))
    def begin(self, present: set[int]) -> None:
        for user in sorted(present):
            self.join_and_connect(user)
            if user % 2:
                self.try_subscribe(user, set(HOLDERS))

    @rule(user=users)
    def join_and_connect(self, user: int) -> None:
        self.server.add_user(user, f"user {user}")
        self.members.add(user)
        self.connected.add(user)
        # What happened while it was away it is told now, as far as it is not over.
        self.told = {key: status for key, status in self.told.items() if key[0] != user}
        self.judge(self.server.connection_up(user, self.now))

    @rule(user=users)
    def join(self, user: int) -> None:
        self.server.add_user(user)
        self.members.add(user)

    @rule(user=users)
    def lose_connection(self, user: int) -> None:
        self.connected.discard(user)
        self.subscribed.pop(user, None)
        self.judge(self.server.connection_lost(user, self.now))

    @rule(user=users)
    def leave(self, user: int) -> None:
        self.subscribed.pop(user, None)
        was_member = user in self.members
        self.members.discard(user)
        if was_member:
            self.mrfc.user_left(user)
        outputs = self.server.remove_user(user, self.now)
        assert any(isinstance(o, CloseConnection) for o in outputs) == (user in self.connected)
        self.judge(outputs)
        self.connected.discard(user)
        self.told = {key: status for key, status in self.told.items() if key[0] != user}

    @precondition(lambda self: self.connected)
    @rule(
        data=st.data(),
        floors=st.lists(floor_ids, min_size=1, max_size=3),
        beneficiary=st.none() | st.none() | users,
        priority=st.none() | st.sampled_from(Priority),
    )
    def ask(
        self, data: st.DataObject, floors: list[int], beneficiary: int | None, priority: Priority | None
    ) -> None:
        user = data.draw(st.sampled_from(sorted(self.connected)))
        extra: list[Attribute] = [] if beneficiary is None else [BeneficiaryId(beneficiary)]
        if priority is not None:
            extra.append(PriorityAttribute(priority))
        response = self.say(user, Primitive.FLOOR_REQUEST, *map(FloorId, floors), *extra)[0]
        if response.primitive == Primitive.FLOOR_REQUEST_STATUS:
            assert response.floor_request is not None
            assert response.floor_request.floor_ids == tuple(dict.fromkeys(floors))

    @rule(
        floor=st.sampled_from([1, 2, 3, 6]),
        for_whom=st.none() | users,
        priorities=st.lists(st.sampled_from(Priority), min_size=len(USERS), max_size=len(USERS)),
    )
    def all_ask(self, floor: int, for_whom: int | None, priorities: list[Priority]) -> None:
        for user, priority in zip(USERS, priorities, strict=True):
            self.join_and_connect(user)
            extra: list[Attribute] = [] if for_whom is None else [BeneficiaryId(for_whom)]
            extra.append(PriorityAttribute(priority))
            self.say(user, Primitive.FLOOR_REQUEST, FloorId(floor), *extra)

    @rule(data=st.data(), status=st.sampled_from([RequestStatus.ACCEPTED, RequestStatus.GRANTED]))
    def chair_decides(self, data: st.DataObject, status: RequestStatus) -> None:
        """A chair decides on a request that waits, for all of its own floors."""
        conference = self.server._conference
        waiting = [
            (chair, request)
            for request in conference.requests.values()
            for chair in {conference.chairs[floor] for floor in request.floors} & self.connected
        ]
        if not waiting:
            return
        chair, request = data.draw(st.sampled_from(sorted(waiting, key=lambda each: each[1].request_id)))
        position = data.draw(st.integers(0, 3)) if status is RequestStatus.ACCEPTED else 0
        floors = tuple(
            FloorRequestStatus(floor, RequestStatusAttribute(status, position))
            for floor in request.floors
            if conference.chairs[floor] == chair
        )
        self.say(
            chair or 0, Primitive.CHAIR_ACTION, FloorRequestInformation(request.request_id, floors=floors)
        )

    @precondition(lambda self: self.connected)
    @rule(data=st.data(), request_id=request_ids)
    def release(self, data: st.DataObject, request_id: int) -> None:
        self.try_release(data.draw(st.sampled_from(sorted(self.connected))), request_id)

    def try_release(self, user: int, request_id: int) -> None:
        mine = (user, request_id) in self.told
        response = self.say(user, Primitive.FLOOR_RELEASE, FloorRequestId(request_id))[0]
        assert mine == (response.primitive == Primitive.FLOOR_REQUEST_STATUS)

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def release_own(self, data: st.DataObject) -> None:
        user, request_id = data.draw(st.sampled_from(sorted(self.told)))
        if user in self.connected:
            self.try_release(user, request_id)

    @precondition(lambda self: self.connected)
    @rule(data=st.data(), floors=st.sets(floor_ids, max_size=3))
    def subscribe(self, data: st.DataObject, floors: set[int]) -> None:
        self.try_subscribe(data.draw(st.sampled_from(sorted(self.connected))), floors)

    def try_subscribe(self, user: int, floors: set[int]) -> None:
        response = self.say(user, Primitive.FLOOR_QUERY, *map(FloorId, sorted(floors)))[0]
        assert (response.primitive == Primitive.ERROR) == (not floors <= HOLDERS.keys())
        if response.primitive == Primitive.FLOOR_STATUS:
            self.subscribed[user] = floors

    @precondition(lambda self: self.connected)
    @rule(
        data=st.data(),
        request_id=request_ids,
        wanted=st.dictionaries(floor_ids, decisions, min_size=1, max_size=2),
        position=st.integers(0, 3),
    )
    def decide(
        self, data: st.DataObject, request_id: int, wanted: dict[int, RequestStatus], position: int
    ) -> None:
        user = data.draw(st.sampled_from(sorted(self.connected)))
        floors = tuple(
            FloorRequestStatus(
                floor, RequestStatusAttribute(status, position if status is RequestStatus.ACCEPTED else 0)
            )
            for floor, status in wanted.items()
        )
        self.say(user, Primitive.CHAIR_ACTION, FloorRequestInformation(request_id, floors=floors))

    @rule(request_id=request_ids, done=st.booleans())
    def confirm(self, request_id: int, done: bool) -> None:
        """The MRFC confirms media, or says that it cannot; also for requests that do not wait for that."""
        request = self.server._conference.requests.get(request_id)
        if request is not None and request.granting:
            self.judge(self.server.confirm(request_id, self.now, done=done))
            assert request.status is (RequestStatus.GRANTED if done else RequestStatus.DENIED)
            return
        with contextlib.suppress(BfcpError):
            self.server.confirm(request_id, self.now, done=done)
            raise AssertionError("confirmed what was not to be confirmed")

    @rule(request_id=request_ids, status=st.sampled_from(sorted(DECISIONS)))
    def operator(self, request_id: int, status: RequestStatus) -> None:
        with contextlib.suppress(BfcpError):
            self.judge(self.server.decide(request_id, status, self.now))

    @rule(
        floor=st.sampled_from(FLOORS),
        policy=st.sampled_from(Policy),
        without_chair=st.sampled_from(WithoutChair),
        confirm=st.booleans(),
    )
    def configure(self, floor: Floor, policy: Policy, without_chair: WithoutChair, confirm: bool) -> None:
        changed = replace(floor, policy=policy, without_chair=without_chair, confirm_media=confirm)
        self.judge(self.server.configure([changed], self.now))

    @rule(floor=st.integers(1, 6), user=st.none() | users)
    def appoint(self, floor: int, user: int | None) -> None:
        if user is None or user in self.members:
            self.judge(self.server.appoint_chair(floor, user, self.now))

    @precondition(lambda self: self.connected)
    @rule(data=st.data(), primitive=st.sampled_from([Primitive.USER_QUERY, Primitive.HELLO]))
    def query(self, data: st.DataObject, primitive: Primitive) -> None:
        user = data.draw(st.sampled_from(sorted(self.connected)))
        response = self.say(user, primitive)[0]
        if primitive == Primitive.USER_QUERY:
            told = {(user, request.floor_request_id): request.status for request in response.floor_requests}
            assert told == {key: status for key, status in self.told.items() if key[0] == user}

    @rule(seconds=st.sampled_from([1.0, 10.0, 25.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.judge(self.server.tick(self.now))
        deadline = self.server.next_deadline()
        assert deadline is None or deadline > self.now

    # What must always be true

    @invariant()
    def no_more_holders_than_allowed(self) -> None:
        for floor_id, most in HOLDERS.items():
            assert len(self.server.holders(floor_id)) <= most

    @invariant()
    def the_driver_knows_holders_and_queue(self) -> None:
        for floor_id, (holders, queue) in self.state.items():
            assert self.server.holders(floor_id) == holders
            assert self.server.queue(floor_id) == queue

    @invariant()
    def every_request_is_in_one_place(self) -> None:
        conference = self.server._conference
        queued = [request.request_id for request in conference.book.queue]
        assert len(queued) == len(set(queued))
        for request_id, request in conference.requests.items():
            waits = request.status is RequestStatus.ACCEPTED and not request.granting
            assert (request_id in queued) == waits
            has_place = request.granting or request.status is RequestStatus.GRANTED
            for floor_id in HOLDERS:
                holds = conference.book.holders[floor_id].count(request)
                assert holds == (has_place and floor_id in request.floors)
        held = {request for holders in conference.book.holders.values() for request in holders}
        assert held | set(conference.book.queue) <= set(conference.requests.values())
        assert not conference.book.grantable()

    @invariant()
    def connected_parties_know_the_state(self) -> None:
        for request in self.server._conference.requests.values():
            for party in request.parties:
                if party in self.connected:
                    assert self.told[party, request.request_id] is request.status
                    positions = self.positions[party, request.request_id]
                    for floor_id, position in zip(request.floors, positions, strict=True):
                        queue = self.server._conference.book.waiting_for(floor_id)
                        assert position == (queue.index(request) + 1 if request in queue else 0)

    @invariant()
    def the_mrfc_has_repeated_the_queues(self) -> None:
        conference = self.server._conference
        assert set(self.mrfc.requests) == set(conference.requests)
        for floor_id in HOLDERS:
            holding = [record.request_id for record in self.mrfc.holding(floor_id)]
            queued = [record.request_id for record in self.mrfc.queued(floor_id)]
            assert holding == [request.request_id for request in conference.book.holders[floor_id]]
            assert queued == [request.request_id for request in conference.book.waiting_for(floor_id)]

    @invariant()
    def nothing_waits_for_a_chair_that_is_not_there(self) -> None:
        conference = self.server._conference
        for floor in conference.book.floors.values():
            if floor.without_chair is WithoutChair.QUEUE or conference.present(
                conference.chairs[floor.floor_id]
            ):
                continue
            for request in conference.requests.values():
                assert floor.floor_id not in request.undecided | request.waiting

    @invariant()
    def nothing_is_left_when_nobody_is_left(self) -> None:
        if not self.members:
            assert not self.server._conference.requests
            assert self.server.next_deadline() is None
            assert all(self.server.holders(floor) == () for floor in HOLDERS)

    def teardown(self) -> None:
        """All lose their connection; after the grace time every floor is free."""
        for user in USERS:
            self.lose_connection(user)
        self.now += GRACE
        self.judge(self.server.tick(self.now))
        assert not self.server._conference.requests
        assert self.server.next_deadline() is None


FloorControl.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestFloorControl = FloorControl.TestCase
