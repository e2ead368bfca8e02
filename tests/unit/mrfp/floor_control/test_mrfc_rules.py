"""What the MRFC rules: policies, media that have to be confirmed, decisions, reports (TS 23.333 8.45 to 8.49)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mrf_protocols.bfcp import (
    BfcpError,
    ErrorCode,
    FloorId,
    FloorRequestId,
    FloorRequestInformation,
    FloorRequestStatus,
    Message,
    Primitive,
    RequestStatus,
    RequestStatusAttribute,
)
from mrfp_agent.floor_control import (
    Floor,
    FloorControlServer,
    Output,
    Policy,
    RequestChanged,
    Send,
    WithoutChair,
)

ALICE, BOB, CAROL, CHAIR = 1, 2, 3, 9
CONFIRMED = Floor(1, confirm_media=True)
MODERATED = Floor(1, policy=Policy.CHAIR_MODERATED, chair=CHAIR)


class Meeting:
    def __init__(self, *floors: Floor) -> None:
        self.server = FloorControlServer(4321, floors, confirm_timeout=10.0)
        self.server.reporting = True
        for user in (ALICE, BOB, CAROL, CHAIR):
            self.server.add_user(user)
            self.server.connection_up(user, 0.0)

    def ask(self, user: int, floor: int = 1) -> list[Output]:
        message = Message(Primitive.FLOOR_REQUEST, 4321, 7, user, (FloorId(floor),))
        return self.server.receive(user, message, 0.0)

    def release(self, user: int, request_id: int) -> list[Output]:
        message = Message(Primitive.FLOOR_RELEASE, 4321, 8, user, (FloorRequestId(request_id),))
        return self.server.receive(user, message, 0.0)


def told(outputs: list[Output]) -> list[tuple[int, str]]:
    return [(o.user_id, o.message.name) for o in outputs if isinstance(o, Send)]


def reports(outputs: list[Output]) -> list[tuple[int, str, tuple[int, ...]]]:
    return [
        (o.request_id, "Granting" if o.granting else o.status.label, o.positions)
        for o in outputs
        if isinstance(o, RequestChanged)
    ]


def test_granted_only_after_confirmation() -> None:
    meeting = Meeting(CONFIRMED)
    outputs = meeting.ask(ALICE)
    assert told(outputs) == [(ALICE, "FloorRequestStatus Accepted")]
    assert reports(outputs) == [(1, "Granting", ())]
    assert meeting.server.holders(1) == ()
    outputs = meeting.ask(BOB)  # the place is taken though nobody holds the floor yet
    assert reports(outputs) == [(2, "Accepted", (1,))]
    outputs = meeting.server.confirm(1, 1.0, done=True)
    assert told(outputs) == [(ALICE, "FloorRequestStatus Granted")]
    assert reports(outputs) == [(1, "Granted", ())]
    assert meeting.server.holders(1) == (ALICE,)
    assert meeting.server.next_deadline() is None


def test_denied_when_the_media_cannot_be_changed() -> None:
    meeting = Meeting(CONFIRMED)
    meeting.ask(ALICE)
    meeting.ask(BOB)
    outputs = meeting.server.confirm(1, 1.0, done=False, info="no mixer")
    assert told(outputs)[0] == (ALICE, "FloorRequestStatus Denied")
    assert reports(outputs) == [(1, "Denied", ()), (2, "Granting", ())]


def test_denied_when_nobody_confirms_in_time() -> None:
    meeting = Meeting(CONFIRMED)
    meeting.ask(ALICE)
    assert meeting.server.next_deadline() == 10.0
    assert told(meeting.server.tick(9.9)) == []
    assert told(meeting.server.tick(10.0)) == [(ALICE, "FloorRequestStatus Denied")]
    with pytest.raises(BfcpError) as caught:
        meeting.server.confirm(1, 10.1, done=True)
    assert caught.value.code == ErrorCode.FLOOR_REQUEST_ID_DOES_NOT_EXIST


def test_taken_back_before_it_was_confirmed() -> None:
    meeting = Meeting(CONFIRMED)
    meeting.ask(ALICE)
    outputs = meeting.release(ALICE, 1)
    assert told(outputs) == [(ALICE, "FloorRequestStatus Cancelled")]
    assert reports(outputs) == [(1, "Cancelled", ())]
    assert meeting.server.next_deadline() is None


def test_confirmation_of_what_is_granted_already() -> None:
    meeting = Meeting(Floor(1))
    meeting.ask(ALICE)
    with pytest.raises(BfcpError) as caught:
        meeting.server.confirm(1, 0.0, done=True)
    assert caught.value.code == ErrorCode.GENERIC_ERROR
    assert meeting.server.holders(1) == (ALICE,)


def test_a_chair_cannot_put_back_what_is_being_granted() -> None:
    meeting = Meeting(replace(MODERATED, confirm_media=True))
    meeting.ask(ALICE)
    grant = FloorRequestStatus(1, RequestStatusAttribute(RequestStatus.GRANTED))
    accept = FloorRequestStatus(1, RequestStatusAttribute(RequestStatus.ACCEPTED, 1))
    words = []
    for decision in (grant, accept):
        action = FloorRequestInformation(1, floors=(decision,))
        outputs = meeting.server.receive(
            CHAIR, Message(Primitive.CHAIR_ACTION, 4321, 5, CHAIR, (action,)), 0.0
        )
        words.append(told(outputs)[0][1])
    assert words == ["ChairActionAck", "Error"]
    assert told(meeting.server.confirm(1, 0.0, done=True)) == [(ALICE, "FloorRequestStatus Granted")]


def test_holding_time_begins_with_the_confirmation() -> None:
    meeting = Meeting(replace(CONFIRMED, max_holding_time=60.0))
    meeting.ask(ALICE)
    meeting.server.confirm(1, 5.0, done=True)
    assert meeting.server.next_deadline() == 65.0


def test_operator_grants_at_the_head_of_the_queue() -> None:
    meeting = Meeting(Floor(1))
    for user in (ALICE, BOB, CAROL):
        meeting.ask(user)
    assert meeting.server.queue(1) == (BOB, CAROL)
    meeting.server.decide(3, RequestStatus.GRANTED, 0.0)
    assert meeting.server.queue(1) == (CAROL, BOB)
    meeting.server.decide(1, RequestStatus.REVOKED, 0.0)
    assert meeting.server.holders(1) == (CAROL,)


def test_a_chair_is_not_needed_any_more() -> None:
    meeting = Meeting(MODERATED)
    meeting.ask(ALICE)
    meeting.ask(BOB)
    outputs = meeting.server.configure([Floor(1)], 0.0)
    assert reports(outputs) == [(1, "Granted", ()), (2, "Accepted", (1,))]


def test_a_floor_gets_a_chair_who_is_not_there() -> None:
    meeting = Meeting(replace(MODERATED, chair=None))
    meeting.ask(ALICE)
    assert told(meeting.server.configure([replace(MODERATED, without_chair=WithoutChair.DENY)], 0.0)) == [
        (ALICE, "FloorRequestStatus Denied")
    ]


def test_more_holders_are_allowed_and_others_may_ask() -> None:
    meeting = Meeting(Floor(1, allowed_users=frozenset({ALICE, BOB})))
    meeting.ask(ALICE)
    meeting.ask(BOB)
    assert told(meeting.ask(CAROL)) == [(CAROL, "Error")]
    outputs = meeting.server.configure([Floor(1, max_holders=3)], 0.0)
    assert told(outputs) == [(BOB, "FloorRequestStatus Granted")]
    assert told(meeting.ask(CAROL)) == [(CAROL, "FloorRequestStatus Granted")]
    with pytest.raises(BfcpError):
        meeting.server.configure([Floor(2)], 0.0)


def test_65535_requests_use_every_number_once() -> None:
    floor = Floor(1, max_requests_per_user=70_000)
    server = FloorControlServer(4321, [floor], max_requests=70_000)
    server.add_user(ALICE)
    server.connection_up(ALICE, 0.0)
    # Requests that wait for nothing: the book is not what is tested, and a queue of 65,535 costs its square.
    admit = server._conference.admit
    server._conference.book.enqueue = lambda request: None  # type: ignore[method-assign]  # as said above
    user = server._conference.users[ALICE]
    numbers = {admit((1,), user, user, None, None).request_id for _ in range(0xFFFF)}
    assert numbers == set(range(1, 0x10000))
    with pytest.raises(BfcpError) as caught:
        admit((1,), user, user, None, None)
    assert caught.value.code == ErrorCode.GENERIC_ERROR
