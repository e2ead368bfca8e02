"""The BFCP client: transactions, events, time."""

from __future__ import annotations

import pytest

from mrf_protocols.bfcp import (
    BeneficiaryId,
    BeneficiaryInformation,
    BfcpError,
    ErrorCodeAttribute,
    ErrorInfo,
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
    RequestStatus,
    RequestStatusAttribute,
    SupportedAttributes,
    SupportedPrimitives,
    decode,
    encode,
)
from mrf_ue.floor_client import (
    Accepted,
    Cancelled,
    ChairActionAcknowledged,
    Denied,
    ErrorEvent,
    FloorClient,
    FloorRequestEvent,
    FloorStatusEvent,
    Granted,
    HelloAcknowledged,
    Pending,
    Released,
    ResponseTimeout,
    Revoked,
    Unexpected,
    UserStatusEvent,
)


@pytest.fixture
def client() -> FloorClient:
    return FloorClient(4321, 234, response_timeout=5.0)


def told(status: int, position: int = 0, info: str | None = None) -> FloorRequestInformation:
    overall = OverallRequestStatus(7, RequestStatusAttribute(status, position), info)
    return FloorRequestInformation(7, overall, (FloorRequestStatus(1),))


def notification(information: FloorRequestInformation) -> Message:
    return Message(Primitive.FLOOR_REQUEST_STATUS, 4321, 0, 234, (information,))


def test_operations_become_messages(client: FloorClient) -> None:
    sent = [
        client.hello(0.0),
        client.request([1, 2], 0.0, beneficiary=9, priority=Priority.HIGH, info="slides"),
        client.request([1], 0.0, beneficiary=234),
        client.release(7, 0.0),
        client.query_request(7, 0.0),
        client.query_user(0.0),
        client.query_user(0.0, 9),
        client.query_floors([1, 2], 0.0),
        client.query_floors([], 0.0),
        client.decide(
            7, {1: RequestStatus.ACCEPTED, 2: RequestStatus.DENIED}, 0.0, queue_position=3, info="no"
        ),
    ]
    decisions = (
        FloorRequestStatus(1, RequestStatusAttribute(RequestStatus.ACCEPTED, 3), "no"),
        FloorRequestStatus(2, RequestStatusAttribute(RequestStatus.DENIED), "no"),
    )
    expected = [
        (Primitive.HELLO, ()),
        (
            Primitive.FLOOR_REQUEST,
            (
                FloorId(1),
                FloorId(2),
                BeneficiaryId(9),
                ParticipantProvidedInfo("slides"),
                PriorityAttribute(Priority.HIGH),
            ),
        ),
        (Primitive.FLOOR_REQUEST, (FloorId(1),)),
        (Primitive.FLOOR_RELEASE, (FloorRequestId(7),)),
        (Primitive.FLOOR_REQUEST_QUERY, (FloorRequestId(7),)),
        (Primitive.USER_QUERY, ()),
        (Primitive.USER_QUERY, (BeneficiaryId(9),)),
        (Primitive.FLOOR_QUERY, (FloorId(1), FloorId(2))),
        (Primitive.FLOOR_QUERY, ()),
        (Primitive.CHAIR_ACTION, (FloorRequestInformation(7, floors=decisions),)),
    ]
    assert [(message.primitive, message.attributes) for message in sent] == expected
    assert [message.transaction_id for message in sent] == list(range(1, 11))
    assert all(decode(encode(message)) == message for message in sent)
    assert client.outstanding == tuple(sent)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (RequestStatus.PENDING, Pending),
        (RequestStatus.GRANTED, Granted),
        (RequestStatus.DENIED, Denied),
        (RequestStatus.CANCELLED, Cancelled),
        (RequestStatus.RELEASED, Released),
        (RequestStatus.REVOKED, Revoked),
        (0, FloorRequestEvent),
        (77, FloorRequestEvent),
    ],
)
def test_states_become_events(client: FloorClient, status: int, kind: type[FloorRequestEvent]) -> None:
    (event,) = client.receive(notification(told(status, info="because")))
    assert type(event) is kind
    assert event == kind(0, 7, (1,), "because", told(status, info="because"))


def test_response_ends_the_transaction_and_notifications_follow(client: FloorClient) -> None:
    request = client.request([1], 0.0)
    response = request.response(Primitive.FLOOR_REQUEST_STATUS, told(RequestStatus.ACCEPTED, 2))
    assert client.receive(response) == [Accepted(1, 7, (1,), None, told(RequestStatus.ACCEPTED, 2), 2)]
    assert client.outstanding == ()
    assert client.receive(response) == [Unexpected(response, "no such transaction")]
    assert client.receive(notification(told(RequestStatus.GRANTED))) == [
        Granted(0, 7, (1,), None, told(RequestStatus.GRANTED))
    ]


def test_state_told_per_floor_only(client: FloorClient) -> None:
    floors = tuple(
        FloorRequestStatus(floor, RequestStatusAttribute(RequestStatus.ACCEPTED, floor), "wait")
        for floor in (1, 2)
    )
    information = FloorRequestInformation(7, floors=floors)
    assert client.receive(notification(information)) == [Accepted(0, 7, (1, 2), "wait", information, 2)]


def test_other_responses(client: FloorClient) -> None:
    hello, chair, user, floor = (
        client.hello(0.0),
        client.decide(7, {1: RequestStatus.GRANTED}, 0.0),
        client.query_user(0.0),
        client.query_floors([1], 0.0),
    )
    supported = (SupportedPrimitives((1, 2)), SupportedAttributes((3,)))
    about = BeneficiaryInformation(234, "Bob")
    state = told(RequestStatus.GRANTED)
    assert client.receive(floor.response(Primitive.FLOOR_STATUS, FloorId(1), state)) == [
        FloorStatusEvent(4, 1, (state,))
    ]
    assert client.receive(user.response(Primitive.USER_STATUS, about, state)) == [
        UserStatusEvent(3, about, (state,))
    ]
    assert client.receive(chair.response(Primitive.CHAIR_ACTION_ACK)) == [ChairActionAcknowledged(2)]
    assert client.receive(hello.response(Primitive.HELLO_ACK, *supported)) == [
        HelloAcknowledged(1, (1, 2), (3,))
    ]
    assert client.receive(Message(Primitive.FLOOR_STATUS, 4321, 0, 234, (FloorId(2),))) == [
        FloorStatusEvent(0, 2, ())
    ]


def test_errors(client: FloorClient) -> None:
    first, second, third = client.hello(0.0), client.hello(0.0), client.hello(0.0)
    assert client.receive(first.error(4, "what?", bytes((99 << 1,)))) == [
        ErrorEvent(1, first, 4, "what?", (99,))
    ]
    unknown = second.response(Primitive.ERROR, ErrorCodeAttribute(200), ErrorInfo("new"))
    assert client.receive(unknown) == [ErrorEvent(2, second, 200, "new", ())]
    assert client.receive(third.response(Primitive.ERROR)) == [ErrorEvent(3, third, 0, None, ())]


@pytest.mark.parametrize(
    "message",
    [
        Message(Primitive.HELLO_ACK, 4322, 1, 234),
        Message(Primitive.HELLO_ACK, 4321, 1, 235),
        Message(Primitive.HELLO_ACK, 4321, 2, 234),
        Message(Primitive.HELLO_ACK, 4321, 0, 234),
        Message(Primitive.ERROR, 4321, 0, 234, (ErrorCodeAttribute(1),)),
        Message(Primitive.FLOOR_STATUS, 4321, 1, 234),
        Message(Primitive.HELLO, 4321, 1, 234),
        Message(99, 4321, 1, 234),
        Message(Primitive.FLOOR_REQUEST_STATUS, 4321, 0, 234),
    ],
)
def test_what_fits_nothing_changes_nothing(client: FloorClient, message: Message) -> None:
    hello = client.hello(0.0)
    (event,) = client.receive(message)
    assert isinstance(event, Unexpected)
    assert event.message == message
    assert client.outstanding == (hello,)


def test_timeouts(client: FloorClient) -> None:
    first, second = client.hello(0.0), client.hello(2.0)
    assert client.next_deadline() == 5.0
    assert client.tick(4.9) == []
    assert client.tick(5.0) == [ResponseTimeout(first)]
    assert client.next_deadline() == 7.0
    late = first.response(Primitive.HELLO_ACK)
    assert client.receive(late) == [Unexpected(late, "no such transaction")]
    assert client.tick(7.0) == [ResponseTimeout(second)]
    assert client.next_deadline() is None


def test_transaction_ids_wrap_and_pass_over_those_outstanding() -> None:
    client = FloorClient(1, 2, last_transaction_id=65534)
    assert client.hello(0.0).transaction_id == 65535
    assert client.hello(0.0).transaction_id == 1
    client.last_transaction_id = 65534
    assert client.hello(0.0).transaction_id == 2


def test_all_transaction_ids_outstanding() -> None:
    client = FloorClient(1, 2)
    for _ in range(65535):
        client.hello(0.0)
    with pytest.raises(BfcpError):
        client.hello(0.0)
