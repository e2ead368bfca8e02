"""The floor control server, transaction by transaction (RFC 8855 section 13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from mrf_protocols.bfcp import (
    Attribute,
    AttributeType,
    BeneficiaryId,
    BeneficiaryInformation,
    BfcpError,
    Deframer,
    ErrorCode,
    ErrorCodeAttribute,
    FloorId,
    FloorRequestId,
    FloorRequestInformation,
    FloorRequestStatus,
    Message,
    OverallRequestStatus,
    ParticipantProvidedInfo,
    Primitive,
    Priority,
    PriorityAttribute,
    RequestedByInformation,
    RequestStatus,
    RequestStatusAttribute,
    SupportedAttributes,
    SupportedPrimitives,
    UnknownAttribute,
    decode,
    encode,
)
from mrfp_agent.floor_control import (
    CloseConnection,
    Floor,
    FloorControlServer,
    FloorStateChanged,
    Output,
    Policy,
    Send,
    WithoutChair,
)

CONFERENCE = 4321
ALICE, BOB, CAROL, CHAIR = 1, 2, 3, 9

Line = tuple[int, int, str]
"""User, transaction id and, in words, the message that is sent to it."""


class Meeting:
    """A server with users on it, driven by hand; what it sends must survive the codec."""

    def __init__(
        self, *floors: Floor, users: Sequence[int] = (ALICE, BOB, CAROL, CHAIR), **options: object
    ) -> None:
        self.server = FloorControlServer(CONFERENCE, floors or (Floor(1),), **options)  # type: ignore[arg-type] # any mix of options
        self.transaction = 0
        self.now = 0.0
        for user in users:
            self.server.add_user(user)
            self.server.connection_up(user, self.now)

    def say(self, user: int, primitive: Primitive, *attributes: Attribute) -> list[Output]:
        self.transaction += 1
        message = Message(primitive, CONFERENCE, self.transaction, user, attributes)
        return self.server.receive(user, decode(encode(message)), self.now)

    def ask(self, user: int, *floors: int, extra: Sequence[Attribute] = ()) -> list[Output]:
        return self.say(user, Primitive.FLOOR_REQUEST, *map(FloorId, floors), *extra)

    def release(self, user: int, request_id: int) -> list[Output]:
        return self.say(user, Primitive.FLOOR_RELEASE, FloorRequestId(request_id))

    def act(self, user: int, request_id: int, decisions: dict[int, RequestStatusAttribute]) -> list[Output]:
        floors = tuple(FloorRequestStatus(floor, status) for floor, status in decisions.items())
        return self.say(user, Primitive.CHAIR_ACTION, FloorRequestInformation(request_id, floors=floors))


def sent(outputs: list[Output]) -> list[Line]:
    """What is sent, short: user, transaction id, and the message in words."""
    lines: list[Line] = []
    for output in outputs:
        if isinstance(output, Send):
            message = decode(encode(output.message))
            assert message == output.message
            assert message.user_id == output.user_id or message.primitive == Primitive.ERROR
            words = message.name
            code = message.first(ErrorCodeAttribute)
            if code is not None:
                words += f" {code.code:d}"
            if message.primitive == Primitive.FLOOR_REQUEST_STATUS and message.floor_request is not None:
                words += f" #{message.floor_request_id}"
                if message.floor_request.queue_position:
                    words += f" at {message.floor_request.queue_position}"
            lines.append((output.user_id, message.transaction_id, words))
    return lines


def message_to(outputs: list[Output], user: int) -> Message:
    return next(output.message for output in outputs if isinstance(output, Send) and output.user_id == user)


def changes(outputs: list[Output]) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    return [(o.floor_id, o.holders, o.queue) for o in outputs if isinstance(o, FloorStateChanged)]


def decision(status: RequestStatus, position: int = 0) -> RequestStatusAttribute:
    return RequestStatusAttribute(status, position)


GRANT = decision(RequestStatus.GRANTED)
ACCEPT = decision(RequestStatus.ACCEPTED)
DENY = decision(RequestStatus.DENIED)
REVOKE = decision(RequestStatus.REVOKED)


# FloorRequest and FloorRelease


def test_free_floor_is_granted_in_the_response() -> None:
    meeting = Meeting()
    outputs = meeting.ask(ALICE, 1)
    assert message_to(outputs, ALICE) == Message(
        Primitive.FLOOR_REQUEST_STATUS,
        CONFERENCE,
        1,
        ALICE,
        (
            FloorRequestInformation(
                1,
                OverallRequestStatus(1, RequestStatusAttribute(RequestStatus.GRANTED)),
                (FloorRequestStatus(1),),
            ),
        ),
    )
    assert changes(outputs) == [(1, (ALICE,), ())]


def test_queue_positions_are_told_and_kept() -> None:
    meeting = Meeting()
    meeting.ask(ALICE, 1)
    assert sent(meeting.ask(BOB, 1)) == [(BOB, 2, "FloorRequestStatus Accepted #2 at 1")]
    assert sent(meeting.ask(CAROL, 1)) == [(CAROL, 3, "FloorRequestStatus Accepted #3 at 2")]
    outputs = meeting.release(ALICE, 1)
    assert sent(outputs) == [
        (ALICE, 4, "FloorRequestStatus Released #1"),
        (BOB, 0, "FloorRequestStatus Granted #2"),
        (CAROL, 0, "FloorRequestStatus Accepted #3 at 1"),
    ]
    assert changes(outputs) == [(1, (BOB,), (CAROL,))]


def test_release_of_what_was_not_granted_cancels() -> None:
    meeting = Meeting()
    meeting.ask(ALICE, 1)
    meeting.ask(BOB, 1)
    meeting.ask(CAROL, 1)
    assert sent(meeting.release(BOB, 2)) == [
        (BOB, 4, "FloorRequestStatus Cancelled #2"),
        (CAROL, 0, "FloorRequestStatus Accepted #3 at 1"),
    ]
    assert sent(meeting.release(BOB, 2)) == [(BOB, 5, "Error 7")]


def test_several_holders_of_one_floor() -> None:
    meeting = Meeting(Floor(1, max_holders=2))
    meeting.ask(ALICE, 1)
    assert sent(meeting.ask(BOB, 1)) == [(BOB, 2, "FloorRequestStatus Granted #2")]
    assert sent(meeting.ask(CAROL, 1)) == [(CAROL, 3, "FloorRequestStatus Accepted #3 at 1")]
    assert meeting.server.holders(1) == (ALICE, BOB)


def test_several_floors_are_granted_together_or_not_at_all() -> None:
    meeting = Meeting(Floor(1), Floor(2), Floor(3))
    meeting.ask(ALICE, 2)
    outputs = meeting.ask(BOB, 1, 2)
    assert sent(outputs) == [(BOB, 2, "FloorRequestStatus Accepted #2 at 1")]
    request = message_to(outputs, BOB).floor_request
    assert request is not None
    assert request.floor_ids == (1, 2)
    assert meeting.server.holders(1) == ()
    # Nobody overtakes on floor 1 either, but floor 3 has nothing to do with it.
    assert sent(meeting.ask(CAROL, 1)) == [(CAROL, 3, "FloorRequestStatus Accepted #3 at 2")]
    assert sent(meeting.ask(CHAIR, 3)) == [(CHAIR, 4, "FloorRequestStatus Granted #4")]
    outputs = meeting.release(ALICE, 1)
    assert (BOB, 0, "FloorRequestStatus Granted #2") in sent(outputs)
    assert (meeting.server.holders(1), meeting.server.holders(2)) == ((BOB,), (BOB,))
    outputs = meeting.release(BOB, 2)
    assert sent(outputs) == [
        (BOB, 6, "FloorRequestStatus Released #2"),
        (CAROL, 0, "FloorRequestStatus Granted #3"),
    ]
    assert meeting.server.holders(2) == ()


def test_same_floor_twice_in_one_request_counts_once() -> None:
    meeting = Meeting(Floor(1))
    outputs = meeting.ask(ALICE, 1, 1)
    assert sent(outputs) == [(ALICE, 1, "FloorRequestStatus Granted #1")]
    assert meeting.server.holders(1) == (ALICE,)


def test_priority_overtakes_in_the_queue_but_not_the_holder() -> None:
    meeting = Meeting()
    meeting.ask(ALICE, 1)
    meeting.ask(BOB, 1)
    outputs = meeting.ask(CAROL, 1, extra=[PriorityAttribute(Priority.HIGH)])
    assert sent(outputs) == [
        (CAROL, 3, "FloorRequestStatus Accepted #3 at 1"),
        (BOB, 0, "FloorRequestStatus Accepted #2 at 2"),
    ]
    assert meeting.server.queue(1) == (CAROL, BOB)


def test_priority_is_not_honoured_where_the_policy_says_so() -> None:
    meeting = Meeting(Floor(1, honour_priority=False))
    meeting.ask(ALICE, 1)
    meeting.ask(BOB, 1)
    meeting.ask(CAROL, 1, extra=[PriorityAttribute(Priority.HIGHEST)])
    assert meeting.server.queue(1) == (BOB, CAROL)


def test_third_party_request_is_told_to_both_and_released_by_either() -> None:
    meeting = Meeting()
    outputs = meeting.ask(ALICE, 1, extra=[BeneficiaryId(BOB)])
    assert sent(outputs) == [
        (ALICE, 1, "FloorRequestStatus Granted #1"),
        (BOB, 0, "FloorRequestStatus Granted #1"),
    ]
    request = message_to(outputs, BOB).floor_request
    assert request is not None
    assert request.beneficiary == BeneficiaryInformation(BOB)
    assert request.requested_by == RequestedByInformation(ALICE)
    assert meeting.server.holders(1) == (BOB,)
    assert sent(meeting.release(BOB, 1)) == [
        (BOB, 2, "FloorRequestStatus Released #1"),
        (ALICE, 0, "FloorRequestStatus Released #1"),
    ]


def test_request_ids_wrap_and_skip_those_in_use() -> None:
    meeting = Meeting(Floor(1), Floor(2))
    meeting.ask(ALICE, 1)
    meeting.server._conference._last_request_id = 65534
    assert sent(meeting.ask(BOB, 2)) == [(BOB, 2, "FloorRequestStatus Granted #65535")]
    assert sent(meeting.ask(CAROL, 2)) == [(CAROL, 3, "FloorRequestStatus Accepted #2 at 1")]
    assert meeting.server.holders(1) == (ALICE,)


# Errors, in the order of the checks


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (Message(99, CONFERENCE, 7, ALICE), 3),
        (Message(99, 5, 7, BOB), 3),
        (Message(Primitive.FLOOR_REQUEST_STATUS, CONFERENCE, 7, ALICE), 3),
        (Message(Primitive.GOODBYE, CONFERENCE, 7, ALICE), 3),
        (Message(Primitive.HELLO, 5, 7, BOB), 1),
        (Message(Primitive.HELLO, CONFERENCE, 7, BOB, (UnknownAttribute(99, True, b""),)), 5),
        (Message(Primitive.HELLO, CONFERENCE, 7, ALICE, (UnknownAttribute(99, True, b""),)), 4),
        (Message(Primitive.FLOOR_REQUEST, CONFERENCE, 7, ALICE), 14),
        (Message(Primitive.FLOOR_REQUEST, CONFERENCE, 7, ALICE, tuple(map(FloorId, range(29)))), 14),
        (Message(Primitive.FLOOR_REQUEST, CONFERENCE, 7, ALICE, (FloorId(1), FloorId(8))), 6),
        (Message(Primitive.FLOOR_REQUEST, CONFERENCE, 7, ALICE, (FloorId(1), BeneficiaryId(77))), 2),
        (Message(Primitive.FLOOR_REQUEST, CONFERENCE, 7, ALICE, (FloorId(2),)), 5),
        (Message(Primitive.FLOOR_RELEASE, CONFERENCE, 7, ALICE), 7),
        (Message(Primitive.FLOOR_RELEASE, CONFERENCE, 7, ALICE, (FloorRequestId(1),)), 5),
        (Message(Primitive.FLOOR_RELEASE, CONFERENCE, 7, ALICE, (FloorRequestId(2),)), 7),
        (Message(Primitive.FLOOR_REQUEST_QUERY, CONFERENCE, 7, ALICE, (FloorRequestId(2),)), 7),
        (Message(Primitive.USER_QUERY, CONFERENCE, 7, ALICE, (BeneficiaryId(77),)), 2),
        (Message(Primitive.FLOOR_QUERY, CONFERENCE, 7, ALICE, (FloorId(1), FloorId(8))), 6),
        (Message(Primitive.CHAIR_ACTION, CONFERENCE, 7, ALICE), 14),
    ],
)
def test_errors_copy_the_identifiers_and_change_nothing(message: Message, code: int) -> None:
    meeting = Meeting(Floor(1), Floor(2, allowed_users=frozenset({BOB})))
    meeting.ask(BOB, 1)
    (output,) = meeting.server.receive(ALICE, message, 0.0)
    assert isinstance(output, Send)
    assert output.user_id == ALICE
    error = output.message
    assert (error.primitive, error.conference_id, error.transaction_id, error.user_id) == (
        Primitive.ERROR,
        message.conference_id,
        7,
        message.user_id,
    )
    told = decode(encode(error)).first(ErrorCodeAttribute)
    assert told is not None
    assert told.code == code
    assert meeting.server.holders(1) == (BOB,)
    assert meeting.server.queue(1) == ()


def test_error_4_lists_the_types() -> None:
    meeting = Meeting()
    unknown = (
        UnknownAttribute(99, True, b"x"),
        UnknownAttribute(50, False, b""),
        UnknownAttribute(98, True, b""),
    )
    outputs = meeting.ask(ALICE, 1, extra=unknown)
    told = message_to(outputs, ALICE).first(ErrorCodeAttribute)
    assert told is not None
    assert told.unknown_types == (99, 98)
    assert meeting.server.holders(1) == ()


def test_unknown_attribute_without_the_mandatory_bit_is_ignored() -> None:
    outputs = Meeting().ask(ALICE, 1, extra=[UnknownAttribute(99, False, b"x")])
    assert sent(outputs) == [(ALICE, 1, "FloorRequestStatus Granted #1")]


def test_limit_of_ongoing_requests_for_a_floor() -> None:
    meeting = Meeting(Floor(1, max_requests_per_user=2), Floor(2))
    for expected in ("Granted #1", "Accepted #2 at 1"):
        assert sent(meeting.ask(ALICE, 1))[0][2] == f"FloorRequestStatus {expected}"
    assert sent(meeting.ask(ALICE, 1)) == [(ALICE, 3, "Error 8")]
    assert sent(meeting.ask(ALICE, 2)) == [(ALICE, 4, "FloorRequestStatus Granted #3")]
    assert sent(meeting.ask(BOB, 1, extra=[BeneficiaryId(ALICE)])) == [(BOB, 5, "Error 8")]
    meeting.release(ALICE, 2)
    assert sent(meeting.ask(ALICE, 1)) == [(ALICE, 7, "FloorRequestStatus Accepted #4 at 1")]


def test_limit_of_requests_in_the_conference() -> None:
    meeting = Meeting(Floor(1), max_requests=1)
    meeting.ask(ALICE, 1)
    assert sent(meeting.ask(BOB, 1)) == [(BOB, 2, "Error 14")]


def test_third_party_requests_can_be_forbidden() -> None:
    meeting = Meeting(third_party=False)
    assert sent(meeting.ask(ALICE, 1, extra=[BeneficiaryId(BOB)])) == [(ALICE, 1, "Error 5")]
    assert sent(meeting.ask(ALICE, 1, extra=[BeneficiaryId(ALICE)])) == [
        (ALICE, 2, "FloorRequestStatus Granted #1")
    ]


def test_user_who_is_not_in_the_conference() -> None:
    meeting = Meeting()
    assert meeting.server.connection_up(77, 0.0) == [CloseConnection(77, "not in the conference")]
    assert sent(meeting.say(77, Primitive.HELLO)) == [(77, 1, "Error 2")]


def test_an_error_message_is_never_answered() -> None:
    meeting = Meeting()
    error = Message(Primitive.ERROR, CONFERENCE, 3, ALICE, (ErrorCodeAttribute(1),))
    assert meeting.server.receive(ALICE, error, 0.0) == []
    assert meeting.server.reject(ALICE, BfcpError(ErrorCode.GENERIC_ERROR, "?", header=error), 0.0) == []


@pytest.mark.parametrize(
    ("octets", "code", "reason"),
    [
        ("40010001000010e1007b00010404021f", 12, "unsupported-version"),
        ("20010001000010e1007b0001040c021f", 13, "incorrect-message-length"),
    ],
)
def test_unreadable_message_is_answered_and_the_connection_closed(
    octets: str, code: int, reason: str
) -> None:
    meeting = Meeting()
    (error,) = Deframer().feed(bytes.fromhex(octets))
    assert isinstance(error, BfcpError)
    outputs = meeting.server.reject(ALICE, error, 0.0)
    assert sent(outputs) == [(ALICE, 123, f"Error {code}")]
    assert outputs[1:] == [CloseConnection(ALICE, reason)]


# Queries


def test_hello() -> None:
    outputs = Meeting().say(ALICE, Primitive.HELLO)
    assert sent(outputs) == [(ALICE, 1, "HelloAck")]
    message = message_to(outputs, ALICE)
    assert message.first(SupportedPrimitives) == SupportedPrimitives(tuple(Primitive)[:13])
    assert message.first(SupportedAttributes) == SupportedAttributes(tuple(AttributeType))


def test_floor_request_query() -> None:
    meeting = Meeting()
    meeting.server.add_user(ALICE, "Alice", "sip:alice@example.org")
    meeting.ask(ALICE, 1, extra=[ParticipantProvidedInfo("slides"), PriorityAttribute(Priority.LOW)])
    outputs = meeting.say(ALICE, Primitive.FLOOR_REQUEST_QUERY, FloorRequestId(1))
    assert sent(outputs) == [(ALICE, 2, "FloorRequestStatus Granted #1")]
    assert message_to(outputs, ALICE).floor_request == FloorRequestInformation(
        1,
        OverallRequestStatus(1, GRANT),
        (FloorRequestStatus(1),),
        BeneficiaryInformation(ALICE, "Alice", "sip:alice@example.org"),
        None,
        Priority.LOW,
        "slides",
    )
    told = message_to(meeting.say(BOB, Primitive.FLOOR_REQUEST_QUERY, FloorRequestId(1)), BOB).floor_request
    assert told is not None
    assert told.beneficiary == BeneficiaryInformation(ALICE, "Alice")
    assert told.participant_info is None


def test_user_query_lists_requests_as_requester_and_beneficiary() -> None:
    meeting = Meeting(Floor(1), Floor(2), Floor(3))
    meeting.ask(ALICE, 1)
    meeting.ask(ALICE, 2, extra=[BeneficiaryId(BOB)])
    meeting.ask(CAROL, 3)
    outputs = meeting.say(ALICE, Primitive.USER_QUERY)
    assert sent(outputs) == [(ALICE, 4, "UserStatus")]
    told = message_to(outputs, ALICE)
    assert told.first(BeneficiaryInformation) == BeneficiaryInformation(ALICE)
    assert [request.floor_request_id for request in told.floor_requests] == [1, 2]
    told = message_to(meeting.say(CAROL, Primitive.USER_QUERY, BeneficiaryId(BOB)), CAROL)
    assert told.first(BeneficiaryInformation) == BeneficiaryInformation(BOB)
    assert [request.floor_request_id for request in told.floor_requests] == [2]


def floor_status(outputs: list[Output], user: int) -> list[tuple[int, tuple[int, ...], list[int]]]:
    """FloorStatus messages to a user: transaction id, floor ids, request ids."""
    return [
        (
            o.message.transaction_id,
            o.message.floor_ids,
            [r.floor_request_id for r in o.message.floor_requests],
        )
        for o in outputs
        if isinstance(o, Send) and o.user_id == user and o.message.primitive == Primitive.FLOOR_STATUS
    ]


def test_floor_query_answers_for_one_floor_and_notifies_of_the_others() -> None:
    meeting = Meeting(Floor(1), Floor(2), Floor(3))
    meeting.ask(ALICE, 2)
    outputs = meeting.say(BOB, Primitive.FLOOR_QUERY, FloorId(1), FloorId(2), FloorId(1))
    assert floor_status(outputs, BOB) == [(2, (1,), []), (0, (2,), [1])]
    assert floor_status(meeting.ask(CAROL, 2), BOB) == [(0, (2,), [1, 2])]
    assert floor_status(meeting.ask(CAROL, 3), BOB) == []
    assert floor_status(meeting.release(ALICE, 1), BOB) == [(0, (2,), [2])]


def test_floor_query_replaces_the_one_before_and_ends_with_an_empty_one() -> None:
    meeting = Meeting(Floor(1), Floor(2))
    meeting.say(BOB, Primitive.FLOOR_QUERY, FloorId(1))
    meeting.say(BOB, Primitive.FLOOR_QUERY, FloorId(2))
    assert floor_status(meeting.ask(ALICE, 1), BOB) == []
    assert floor_status(meeting.ask(ALICE, 2), BOB) == [(0, (2,), [2])]
    outputs = meeting.say(BOB, Primitive.FLOOR_QUERY)
    assert outputs == [Send(BOB, Message(Primitive.FLOOR_STATUS, CONFERENCE, 5, BOB))]
    assert floor_status(meeting.release(ALICE, 2), BOB) == []


def test_a_refused_floor_query_leaves_the_subscription() -> None:
    meeting = Meeting()
    meeting.say(BOB, Primitive.FLOOR_QUERY, FloorId(1))
    assert sent(meeting.say(BOB, Primitive.FLOOR_QUERY, FloorId(5))) == [(BOB, 2, "Error 6")]
    assert floor_status(meeting.ask(ALICE, 1), BOB) == [(0, (1,), [1])]


def test_long_queues_are_told_as_far_as_numbers_reach() -> None:
    users = range(1, 400)
    meeting = Meeting(users=users)
    for user in users:
        meeting.ask(user, 1)
    outputs = meeting.say(399, Primitive.FLOOR_QUERY, FloorId(1))
    told = message_to(outputs, 399).floor_requests
    assert [request.floor_request_id for request in told] == list(range(1, 257))
    assert told[255].queue_position == 255
    assert len(encode(message_to(outputs, 399))) < 4 * 65536
    request = message_to(
        meeting.say(399, Primitive.FLOOR_REQUEST_QUERY, FloorRequestId(399)), 399
    ).floor_request
    assert request is not None
    assert (request.status, request.queue_position) == (RequestStatus.ACCEPTED, 0)


# Connections that are lost, users who leave, time


def test_requests_of_a_lost_connection_are_kept_and_found_again() -> None:
    meeting = Meeting(grace=30.0)
    meeting.ask(ALICE, 1)
    meeting.ask(BOB, 1)
    assert meeting.server.connection_lost(ALICE, 100.0) == []
    assert meeting.server.next_deadline() == 130.0
    assert meeting.server.tick(129.9) == []
    assert sent(meeting.server.connection_up(ALICE, 129.9)) == [(ALICE, 0, "FloorRequestStatus Granted #1")]
    assert meeting.server.next_deadline() is None
    assert meeting.server.tick(131.0) == []
    assert meeting.server.holders(1) == (ALICE,)


def test_after_the_grace_time_the_floor_is_revoked_and_the_next_granted() -> None:
    meeting = Meeting(Floor(1), Floor(2), grace=30.0)
    meeting.ask(ALICE, 1)
    meeting.ask(CAROL, 2)
    meeting.ask(BOB, 1)
    meeting.ask(ALICE, 2)
    meeting.server.connection_lost(ALICE, 100.0)
    outputs = meeting.server.tick(130.0)
    assert sent(outputs) == [(BOB, 0, "FloorRequestStatus Granted #3")]
    assert changes(outputs) == [(1, (BOB,), ()), (2, (CAROL,), ())]
    assert meeting.server.next_deadline() is None
    assert meeting.server.connection_up(ALICE, 140.0) == []


def test_another_grace_time_holds_for_who_is_lost_already_too() -> None:
    meeting = Meeting(grace=30.0)
    meeting.ask(ALICE, 1)
    meeting.server.connection_lost(ALICE, 100.0)
    meeting.server.configure((Floor(1),), 105.0, grace=20.0)
    assert meeting.server.next_deadline() == 120.0
    meeting.server.connection_lost(BOB, 110.0)
    assert meeting.server.next_deadline() == 120.0
    meeting.server.tick(120.0)
    assert meeting.server.holders(1) == ()
    assert meeting.server.next_deadline() == 130.0


def test_a_connection_in_place_of_another_is_told_what_the_user_has_and_watches() -> None:
    meeting = Meeting()
    meeting.ask(ALICE, 1)
    meeting.say(ALICE, Primitive.FLOOR_QUERY, FloorId(1))
    told = meeting.server.connection_up(ALICE, 1.0)
    assert sent(told) == [(ALICE, 0, "FloorRequestStatus Granted #1"), (ALICE, 0, "FloorStatus")]
    assert floor_status(meeting.release(ALICE, 1), ALICE)


def test_subscriptions_end_with_the_connection() -> None:
    meeting = Meeting()
    meeting.say(BOB, Primitive.FLOOR_QUERY, FloorId(1))
    meeting.server.connection_lost(BOB, 0.0)
    meeting.server.connection_up(BOB, 1.0)
    assert floor_status(meeting.ask(ALICE, 1), BOB) == []


def test_a_user_who_leaves_gives_everything_back_at_once() -> None:
    meeting = Meeting()
    meeting.ask(ALICE, 1)
    meeting.ask(BOB, 1)
    meeting.say(ALICE, Primitive.FLOOR_QUERY, FloorId(1))
    outputs = meeting.server.remove_user(ALICE, 5.0)
    assert sent(outputs) == [
        (ALICE, 0, "FloorRequestStatus Revoked #1"),
        (BOB, 0, "FloorRequestStatus Granted #2"),
    ]
    assert outputs[1] == CloseConnection(ALICE, "left the conference")
    assert meeting.server.users == (BOB, CAROL, CHAIR)
    assert meeting.server.remove_user(ALICE, 5.0) == []
    assert meeting.server.connection_lost(ALICE, 6.0) == []
    assert meeting.server.next_deadline() is None


def test_requests_for_others_outlive_the_requester_while_the_beneficiary_is_there() -> None:
    meeting = Meeting(Floor(1), Floor(2))
    meeting.server.add_user(50)
    meeting.ask(ALICE, 1, extra=[BeneficiaryId(BOB)])
    meeting.ask(ALICE, 2, extra=[BeneficiaryId(50)])
    outputs = meeting.server.remove_user(ALICE, 1.0)
    assert sent(outputs) == [(ALICE, 0, "FloorRequestStatus Revoked #2")]
    assert (meeting.server.holders(1), meeting.server.holders(2)) == ((BOB,), ())
    assert sent(meeting.release(BOB, 1)) == [(BOB, 3, "FloorRequestStatus Released #1")]


def test_holding_time() -> None:
    meeting = Meeting(Floor(1, max_holding_time=60.0))
    meeting.ask(ALICE, 1)
    meeting.ask(BOB, 1)
    assert meeting.server.next_deadline() == 60.0
    outputs = meeting.server.tick(60.0)
    assert sent(outputs) == [
        (ALICE, 0, "FloorRequestStatus Revoked #1"),
        (BOB, 0, "FloorRequestStatus Granted #2"),
    ]
    request = message_to(outputs, ALICE).floor_request
    assert request is not None
    assert request.overall is not None
    assert request.overall.info == "holding time is over"
    assert meeting.server.next_deadline() == 120.0
    meeting.now = 100.0
    meeting.release(BOB, 2)
    assert meeting.server.next_deadline() is None


# Chairs

MODERATED = Floor(1, policy=Policy.CHAIR_MODERATED, chair=CHAIR)


def test_chair_grants() -> None:
    meeting = Meeting(MODERATED)
    meeting.say(CHAIR, Primitive.FLOOR_QUERY, FloorId(1))
    meeting.say(BOB, Primitive.FLOOR_QUERY, FloorId(1))
    outputs = meeting.ask(ALICE, 1, extra=[ParticipantProvidedInfo("please")])
    assert sent(outputs) == [
        (ALICE, 3, "FloorRequestStatus Pending #1"),
        (CHAIR, 0, "FloorStatus"),
    ]
    assert message_to(outputs, CHAIR).floor_requests[0].participant_info == "please"
    assert changes(outputs) == []
    outputs = meeting.act(CHAIR, 1, {1: GRANT})
    assert sent(outputs) == [
        (CHAIR, 4, "ChairActionAck"),
        (ALICE, 0, "FloorRequestStatus Granted #1"),
        (CHAIR, 0, "FloorStatus"),
        (BOB, 0, "FloorStatus"),
    ]
    assert sent(meeting.act(CHAIR, 1, {1: GRANT})) == [(CHAIR, 5, "ChairActionAck")]
    assert sent(meeting.act(CHAIR, 1, {1: ACCEPT})) == [(CHAIR, 6, "Error 14")]


def test_chair_accepts_then_grants() -> None:
    meeting = Meeting(MODERATED)
    meeting.ask(ALICE, 1)
    meeting.ask(BOB, 1)
    assert sent(meeting.act(CHAIR, 1, {1: ACCEPT}))[1:] == [(ALICE, 0, "FloorRequestStatus Accepted #1 at 1")]
    assert sent(meeting.act(CHAIR, 2, {1: decision(RequestStatus.ACCEPTED, 1)}))[1:] == [
        (BOB, 0, "FloorRequestStatus Accepted #2 at 1"),
        (ALICE, 0, "FloorRequestStatus Accepted #1 at 2"),
    ]
    # The chair lets the second in the queue pass the first, whom it has not granted.
    assert sent(meeting.act(CHAIR, 1, {1: GRANT}))[1:] == [(ALICE, 0, "FloorRequestStatus Granted #1")]
    # What the chair granted while the floor is taken follows by itself.
    assert sent(meeting.act(CHAIR, 2, {1: GRANT})) == [(CHAIR, 6, "ChairActionAck")]
    assert sent(meeting.release(ALICE, 1))[1:] == [(BOB, 0, "FloorRequestStatus Granted #2")]


@pytest.mark.parametrize("word", [DENY, REVOKE])
def test_chair_refuses_whatever_it_calls_it(word: RequestStatusAttribute) -> None:
    meeting = Meeting(MODERATED)
    meeting.ask(ALICE, 1)
    meeting.ask(BOB, 1)
    meeting.act(CHAIR, 1, {1: GRANT})
    assert sent(meeting.act(CHAIR, 2, {1: word})) == [
        (CHAIR, 4, "ChairActionAck"),
        (BOB, 0, "FloorRequestStatus Denied #2"),
    ]
    assert sent(meeting.act(CHAIR, 1, {1: word})) == [
        (CHAIR, 5, "ChairActionAck"),
        (ALICE, 0, "FloorRequestStatus Revoked #1"),
    ]
    assert meeting.server.holders(1) == ()


def test_two_chairs_decide_on_their_floors() -> None:
    meeting = Meeting(MODERATED, replace(MODERATED, floor_id=2, chair=CAROL))
    outputs = meeting.ask(ALICE, 1, 2)
    assert sent(outputs) == [(ALICE, 1, "FloorRequestStatus Pending #1")]
    assert sent(meeting.act(CHAIR, 1, {1: GRANT})) == [(CHAIR, 2, "ChairActionAck")]
    told = message_to(
        meeting.say(ALICE, Primitive.FLOOR_REQUEST_QUERY, FloorRequestId(1)), ALICE
    ).floor_request
    assert told is not None
    assert told.status == RequestStatus.PENDING
    assert [floor.status for floor in told.floors] == [ACCEPT, decision(RequestStatus.PENDING)]
    assert sent(meeting.act(CAROL, 1, {2: GRANT}))[1:] == [(ALICE, 0, "FloorRequestStatus Granted #1")]
    assert sent(meeting.act(CAROL, 1, {2: REVOKE}))[1:] == [(ALICE, 0, "FloorRequestStatus Revoked #1")]
    meeting.ask(ALICE, 1, 2)
    meeting.act(CHAIR, 2, {1: GRANT})
    assert sent(meeting.act(CAROL, 2, {2: DENY}))[1:] == [(ALICE, 0, "FloorRequestStatus Denied #2")]
    assert (meeting.server.holders(1), meeting.server.holders(2)) == ((), ())


@pytest.mark.parametrize(
    ("user", "request_id", "decisions", "code"),
    [
        (ALICE, 1, {1: GRANT}, 5),
        (CHAIR, 1, {2: GRANT}, 5),
        (CHAIR, 1, {3: GRANT}, 6),
        (CHAIR, 2, {1: GRANT}, 7),
        (CHAIR, 1, {1: decision(RequestStatus.RELEASED)}, 14),
    ],
)
def test_chair_actions_that_are_refused(
    user: int, request_id: int, decisions: dict[int, RequestStatusAttribute], code: int
) -> None:
    meeting = Meeting(MODERATED, Floor(2), Floor(3, chair=CHAIR))
    meeting.ask(ALICE, 1)
    assert sent(meeting.act(user, request_id, decisions)) == [(user, 2, f"Error {code}")]
    assert meeting.server.holders(1) == ()


def test_overall_status_stands_in_for_floors_without_one() -> None:
    meeting = Meeting(MODERATED)
    meeting.ask(ALICE, 1)
    action = FloorRequestInformation(1, OverallRequestStatus(1, GRANT, "go"), (FloorRequestStatus(1),))
    outputs = meeting.say(CHAIR, Primitive.CHAIR_ACTION, action)
    request = message_to(outputs, ALICE).floor_request
    assert request is not None
    assert request.overall == OverallRequestStatus(1, GRANT, "go")


def test_pending_requests_are_for_the_chair_and_the_parties() -> None:
    meeting = Meeting(MODERATED)
    meeting.ask(ALICE, 1)
    assert sent(meeting.say(BOB, Primitive.FLOOR_REQUEST_QUERY, FloorRequestId(1))) == [(BOB, 2, "Error 5")]
    assert message_to(meeting.say(BOB, Primitive.USER_QUERY, BeneficiaryId(ALICE)), BOB).floor_requests == ()
    assert floor_status(meeting.say(BOB, Primitive.FLOOR_QUERY, FloorId(1)), BOB) == [(4, (1,), [])]
    assert floor_status(meeting.say(CHAIR, Primitive.FLOOR_QUERY, FloorId(1)), CHAIR) == [(5, (1,), [1])]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (WithoutChair.QUEUE, "Pending #1"),
        (WithoutChair.GRANT, "Granted #1"),
        (WithoutChair.DENY, "Denied #1"),
    ],
)
def test_moderated_floor_without_a_chair(policy: WithoutChair, words: str) -> None:
    meeting = Meeting(replace(MODERATED, chair=None, without_chair=policy))
    assert sent(meeting.ask(ALICE, 1)) == [(ALICE, 1, f"FloorRequestStatus {words}")]
    assert meeting.server.queue(1) == ()


@pytest.mark.parametrize(
    ("policy", "words"),
    [(WithoutChair.QUEUE, None), (WithoutChair.GRANT, "Granted #1"), (WithoutChair.DENY, "Denied #1")],
)
@pytest.mark.parametrize("accepted", [False, True])
def test_the_chair_goes(policy: WithoutChair, words: str | None, accepted: bool) -> None:
    meeting = Meeting(replace(MODERATED, without_chair=policy), grace=10.0)
    meeting.ask(ALICE, 1)
    if accepted:
        meeting.act(CHAIR, 1, {1: ACCEPT})
    meeting.server.connection_lost(CHAIR, 0.0)
    assert sent(meeting.server.tick(9.0)) == []
    expected = [] if words is None else [(ALICE, 0, f"FloorRequestStatus {words}")]
    assert sent(meeting.server.tick(10.0)) == expected


def test_a_new_chair_is_appointed() -> None:
    meeting = Meeting(MODERATED)
    meeting.ask(ALICE, 1)
    meeting.say(BOB, Primitive.FLOOR_QUERY, FloorId(1))
    meeting.server.remove_user(CHAIR, 0.0)
    assert floor_status(meeting.server.appoint_chair(1, BOB, 0.0), BOB) == [(0, (1,), [1])]
    assert sent(meeting.act(BOB, 1, {1: GRANT}))[:2] == [
        (BOB, 3, "ChairActionAck"),
        (ALICE, 0, "FloorRequestStatus Granted #1"),
    ]
    with pytest.raises(BfcpError) as caught:
        meeting.server.appoint_chair(1, 77, 0.0)
    assert caught.value.code == ErrorCode.USER_DOES_NOT_EXIST
    with pytest.raises(BfcpError) as caught:
        meeting.server.appoint_chair(8, BOB, 0.0)
    assert caught.value.code == ErrorCode.INVALID_FLOOR_ID


def test_the_operator_decides() -> None:
    meeting = Meeting(MODERATED)
    meeting.ask(ALICE, 1)
    assert sent(meeting.server.decide(1, RequestStatus.GRANTED, 0.0)) == [
        (ALICE, 0, "FloorRequestStatus Granted #1")
    ]
    outputs = meeting.server.decide(1, RequestStatus.REVOKED, 0.0, "time for lunch")
    request = message_to(outputs, ALICE).floor_request
    assert request is not None
    assert request.overall == OverallRequestStatus(1, REVOKE, "time for lunch")
    for status, code in ((RequestStatus.GRANTED, 7), (RequestStatus.RELEASED, 7)):
        with pytest.raises(BfcpError) as caught:
            meeting.server.decide(1, status, 0.0)
        assert caught.value.code == code
