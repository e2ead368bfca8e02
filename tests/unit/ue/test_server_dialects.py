"""Floor control servers as they are: states left out, answers twice, late or never."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from mrf_protocols.bfcp import (
    Attribute,
    BeneficiaryInformation,
    FloorId,
    FloorRequestInformation,
    FloorRequestStatus,
    Message,
    OverallRequestStatus,
    Primitive,
    RequestStatus,
    RequestStatusAttribute,
    SupportedAttributes,
    SupportedPrimitives,
    decode,
    encode,
)
from mrf_ue.bearer import Connection
from mrf_ue.console import Console, ConsoleOptions
from mrf_ue.errors import BearerFailed, StepTimeout, TlsFailed
from mrf_ue.floor_session import FloorSession
from mrf_ue.show import quiet

USER, REQUEST = 7, 3


class Server:
    """Answers each primitive with prepared messages, as (transaction told, primitive, attributes)."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message | BearerFailed | TlsFailed] = asyncio.Queue()
        self.answers: dict[int, list[tuple[bool, Primitive, tuple[Attribute, ...]]]] = {}

    def send(self, message: Message) -> None:
        for told, primitive, attributes in self.answers.get(message.primitive, []):
            transaction = message.transaction_id if told else 0
            self.messages.put_nowait(Message(primitive, 4321, transaction, USER, attributes))

    async def script(self, *lines: str) -> list[str]:
        shown: list[str] = []
        session = FloorSession(cast(Connection, self), 4321, USER, quiet)
        options = ConsoleOptions(lines)
        await Console(session, (1,), options, lambda _, line: shown.append(line), 0.2).run()
        return shown


def status(value: RequestStatus) -> FloorRequestInformation:
    attribute = RequestStatusAttribute(value)
    return FloorRequestInformation(
        REQUEST,
        OverallRequestStatus(REQUEST, attribute),
        (FloorRequestStatus(1),),
        BeneficiaryInformation(USER),
    )


STATUS = Primitive.FLOOR_REQUEST_STATUS


async def test_floor_status_before_the_answer_and_released_twice() -> None:
    server = Server()
    granted = (True, STATUS, (status(RequestStatus.GRANTED),))
    seen = (False, Primitive.FLOOR_STATUS, (FloorId(1), status(RequestStatus.GRANTED)))
    released = (True, STATUS, (status(RequestStatus.RELEASED),))
    server.answers = {Primitive.FLOOR_REQUEST: [seen, granted], Primitive.FLOOR_RELEASE: [released, released]}
    shown = await server.script("ask", "expect granted", "release", "expect released", "wait 0.02")
    assert shown[:2] == ["floor 1: held by you (request 3)", "request 3 for floor 1: granted"]
    assert shown[2] == "request 3 for floor 1: released"
    assert shown[3] == "FloorRequestStatus Released is not expected: no such transaction"


async def test_a_server_that_never_answers_user_query() -> None:
    with pytest.raises(StepTimeout, match="no response"):
        await Server().script("requests")


async def test_request_status_0_per_floor() -> None:
    octets = bytearray(
        encode(
            Message(
                STATUS,
                4321,
                0,
                USER,
                (
                    FloorRequestInformation(
                        REQUEST,
                        OverallRequestStatus(REQUEST, RequestStatusAttribute(RequestStatus.GRANTED)),
                        (FloorRequestStatus(1, RequestStatusAttribute(RequestStatus.GRANTED)),),
                    ),
                ),
            )
        )
    )
    assert octets[-2] == RequestStatus.GRANTED
    octets[-2] = 0
    server = Server()
    message = decode(bytes(octets))
    server.answers = {Primitive.FLOOR_REQUEST: [(True, STATUS, message.attributes)]}
    assert await server.script("ask", "expect granted") == ["request 3 for floor 1: granted"]


async def test_supported_attributes_that_are_not_shifted() -> None:
    server = Server()
    hello = (SupportedPrimitives((1, 2, 3)), SupportedAttributes((1, 2, 9)))
    server.answers = {Primitive.HELLO: [(True, Primitive.HELLO_ACK, hello)]}
    assert await server.script("hello") == ["the server is there"]


async def test_a_state_that_nobody_knows() -> None:
    server = Server()
    strange = FloorRequestInformation(REQUEST, None, (FloorRequestStatus(1),))
    server.answers = {Primitive.FLOOR_REQUEST: [(True, STATUS, (strange,))]}
    assert await server.script("ask") == ["request 3 for floor 1: status 0"]
