import asyncio
from typing import cast

import pytest

from mrf_protocols.bfcp import (
    ErrorCode,
    FloorRequestInformation,
    FloorRequestStatus,
    Message,
    OverallRequestStatus,
    Primitive,
    RequestStatus,
    RequestStatusAttribute,
)
from mrf_ue.bearer import BearerClosed, Connection, Moved
from mrf_ue.errors import BearerFailed, FloorNotGranted, StepTimeout, TlsFailed
from mrf_ue.floor_session import FloorSession

CONFERENCE, USER, REQUEST = 4321, 1234, 7


class FakeConnection:
    """Takes what is sent, and answers it from a list of functions."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message | BearerFailed | TlsFailed] = asyncio.Queue()
        self.sent: list[Message] = []
        self.replies: list[Message] = []

        self.over = False

    def close(self) -> None:
        self.over = True

    def retire(self, successor: object) -> None:
        self.messages.put_nowait(Moved("replaced"))

    def send(self, message: Message) -> None:
        if self.over:
            raise BearerClosed("gone")
        self.sent.append(message)
        for reply in self.replies:
            self.messages.put_nowait(reply)
        self.replies = []


def status(value: RequestStatus, transaction: int, request: int = REQUEST) -> Message:
    information = FloorRequestInformation(
        request,
        overall=OverallRequestStatus(request, RequestStatusAttribute(value, 0)),
        floors=(FloorRequestStatus(1, RequestStatusAttribute(value, 0)),),
    )
    return Message(Primitive.FLOOR_REQUEST_STATUS, CONFERENCE, transaction, USER, (information,))


@pytest.fixture
def connection() -> FakeConnection:
    return FakeConnection()


@pytest.fixture
async def session(connection: FakeConnection) -> FloorSession:
    return FloorSession(cast(Connection, connection), CONFERENCE, USER)


async def test_a_floor_granted_at_once(connection: FakeConnection, session: FloorSession) -> None:
    connection.replies = [status(RequestStatus.GRANTED, 1)]
    granted = await session.request((1,), 1.0)
    assert granted.floor_ids == (1,)
    assert session.floor_request_id == REQUEST
    assert connection.sent[0].floor_ids == (1,)


async def test_a_floor_granted_after_a_wait_in_the_queue(
    connection: FakeConnection, session: FloorSession
) -> None:
    connection.replies = [
        status(RequestStatus.PENDING, 1),
        status(RequestStatus.GRANTED, 0, request=99),
        status(RequestStatus.ACCEPTED, 0),
        status(RequestStatus.GRANTED, 0),
    ]
    assert (await session.request((1,), 1.0)).floor_request_id == REQUEST


@pytest.mark.parametrize("value", [RequestStatus.DENIED, RequestStatus.REVOKED, RequestStatus.CANCELLED])
async def test_a_floor_refused(
    connection: FakeConnection, session: FloorSession, value: RequestStatus
) -> None:
    connection.replies = [status(RequestStatus.PENDING, 1), status(value, 0)]
    with pytest.raises(FloorNotGranted, match=value.name.lower()):
        await session.request((1,), 1.0)
    assert session.floor_request_id is None


async def test_an_error_is_told_by_name(connection: FakeConnection, session: FloorSession) -> None:
    request = Message(Primitive.HELLO, CONFERENCE, 1, USER)
    connection.replies = [request.error(ErrorCode.UNAUTHORIZED_OPERATION, "not you")]
    with pytest.raises(FloorNotGranted, match="Error 5 UNAUTHORIZED_OPERATION: not you"):
        await session.hello(1.0)


async def test_a_floor_taken_away_while_held(connection: FakeConnection, session: FloorSession) -> None:
    connection.replies = [status(RequestStatus.GRANTED, 1), status(RequestStatus.REVOKED, 0)]
    await session.request((1,), 1.0)
    with pytest.raises(FloorNotGranted, match="revoked"):
        await session.hold(1.0)
    await session.release(1.0)
    assert [message.primitive for message in connection.sent] == [Primitive.FLOOR_REQUEST]


async def test_hold_and_release(connection: FakeConnection, session: FloorSession) -> None:
    connection.replies = [status(RequestStatus.GRANTED, 1)]
    await session.request((1,), 1.0)
    await session.hold(0.01)
    connection.replies = [status(RequestStatus.RELEASED, 2)]
    await session.release(1.0)
    assert session.floor_request_id is None
    assert connection.sent[-1].floor_request_id == REQUEST


async def test_silence(session: FloorSession) -> None:
    with pytest.raises(StepTimeout, match="HelloAck"):
        await session.hello(0.01)


async def test_a_lost_connection_fails_every_later_step(
    connection: FakeConnection, session: FloorSession
) -> None:
    connection.messages.put_nowait(BearerClosed("gone"))
    for _ in range(2):
        with pytest.raises(BearerClosed):
            await session.hello(1.0)


@pytest.mark.parametrize("closed_first", [False, True])
async def test_without_connection_by_agreement_steps_wait_for_the_next_one(
    connection: FakeConnection, session: FloorSession, closed_first: bool
) -> None:
    held = asyncio.ensure_future(session.hello(30.0))
    await asyncio.sleep(0)
    session.rest()
    assert connection.over
    if closed_first:
        connection.messages.put_nowait(BearerClosed("gone"))
    asked = asyncio.ensure_future(session.request((1,), 30.0))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not held.done()
    assert not asked.done()
    held.cancel()
    following = FakeConnection()
    following.replies = [status(RequestStatus.GRANTED, 2)]
    session.move(cast(Connection, following))
    assert (await asked).floor_ids == (1,)
    assert following.sent[-1].primitive == Primitive.FLOOR_REQUEST
    following.messages.put_nowait(BearerClosed("gone"))
    with pytest.raises(BearerClosed):  # this one is lost
        await session.hello(30.0)
