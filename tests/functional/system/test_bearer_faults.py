"""UEs that misbehave on TCP, TLS and BFCP: how the call ends, or that it goes on."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from system_support import SECONDS, Scene, Ue, next_error, until

from mrf_protocols import bfcp
from mrf_protocols.bfcp import ErrorCode, ErrorCodeAttribute, FloorId, Message, Primitive
from mrf_protocols.sdp import Setup
from mrf_protocols.tls_psk import PskCredentials
from mrf_ue.errors import UeError
from mrf_ue.floor_session import FloorSession

NO_TCP = "TCP connection establishment failed"
NO_TLS = "TLS session establishment failed"
RELEASED = "bearer released"


def reason(text: str, cause: int = 503) -> re.Pattern[str]:
    """The Reason header of a BYE of ours (RFC 3326)."""
    return re.compile(f'SIP;cause={cause};text="{text}')


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses connections, and that nobody else gets meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


async def ended(scene: Scene, ue: Ue, text: str, mrfp_line: str = "", cause: int = 503) -> None:
    """The MRFC hangs up for this reason, and MRFP and MRFC say so."""
    if mrfp_line:
        scene.expect("mrfp", f"{mrfp_line}.*{ue.call_id}")
    assert reason(text, cause).match(await ue.far_end_bye())
    await scene.told("mrfc", f"left: {text}.*{ue.call_id}")


async def test_no_ack(scene: Scene) -> None:
    ue = await scene.ue()
    response = await ue.dial()
    assert response.status_code == 200
    await ended(scene, ue, "no ACK", cause=408)
    assert len(ue.endpoint.responses("INVITE")) >= 2  # the 200 was repeated meanwhile (RFC 3261 13.3.1.4)


async def test_nobody_listens_where_the_ue_said(scene: Scene) -> None:
    ue = await scene.ue(setup=Setup.PASSIVE)
    with closed_port() as port:
        ue.edit_offer = lambda body: re.sub(rb"m=application \d+", b"m=application %d" % port, body)
        await ue.join()
        await ended(scene, ue, NO_TCP, "tcp-establishment-failure")


async def test_ue_never_connects(scene: Scene) -> None:
    ue = await scene.ue(setup=Setup.ACTIVE)
    await ue.join()
    await ended(scene, ue, NO_TCP, "tcp-establishment-failure")


@pytest.mark.parametrize("setup", [Setup.ACTIVE, Setup.PASSIVE])
async def test_connected_and_silent(scene: Scene, setup: Setup) -> None:
    ue = await scene.ue(setup=setup)
    await ue.join()
    await ue.connect()
    await ended(scene, ue, NO_TLS, "tls-establishment-failure")


@pytest.mark.parametrize("setup", [Setup.ACTIVE, Setup.PASSIVE])
@pytest.mark.parametrize("wrong", ["key", "identity", "both"])
async def test_wrong_key(scene: Scene, setup: Setup, wrong: str) -> None:
    ue = await scene.ue(setup=setup)
    await ue.join()
    right = ue.credentials()
    ue.wrong_credentials = PskCredentials(
        right.identity if wrong == "key" else "deadbeef.1",
        ue.keys.tek if wrong == "identity" else bytes(len(ue.keys.tek)),
    )
    await ue.connect()
    with pytest.raises(UeError):
        await secure_and_use(ue)
    await ended(scene, ue, NO_TLS, "tls-establishment-failure")


async def test_key_of_another_call(scene: Scene) -> None:
    """The key of one termination opens that termination and no other."""
    ue = await scene.ue(setup=Setup.ACTIVE)
    await ue.join()
    assert scene.bystander is not None
    ue.wrong_credentials = scene.bystander.credentials()
    await ue.connect()
    with pytest.raises(UeError):
        await secure_and_use(ue)
    await ended(scene, ue, NO_TLS, "tls-establishment-failure")


async def test_no_tls_at_all(scene: Scene) -> None:
    ue = await scene.ue(setup=Setup.ACTIVE)
    await ue.join()
    peer = ue.answer.peer.address
    _, writer = await asyncio.open_connection(peer.host, peer.port)
    hello = Message(Primitive.HELLO, ue.answer.conference_id, 1, ue.answer.user_id, ())
    writer.write(bfcp.encode(hello))
    await ended(scene, ue, NO_TLS, "tls-establishment-failure")
    writer.close()


async def test_stranger_at_the_door_does_not_keep_the_ue_out(scene: Scene) -> None:
    """Somebody else connects first and sends nonsense; who has the key gets in."""
    ue = await scene.ue(setup=Setup.ACTIVE)
    await ue.join()
    peer = ue.answer.peer.address
    reader, writer = await asyncio.open_connection(peer.host, peer.port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert len(await reader.read()) < 100  # at most an alert
    writer.close()
    await ue.connect()
    await ue.secure()
    await ue.hello()
    await ue.bye()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_connection_broken(scene: Scene, transport: str) -> None:
    ue = await scene.ue(transport=transport)
    await ue.join_bfcp()
    ue.close_connection()
    await ended(scene, ue, RELEASED)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_ue_crashes(scene: Scene, transport: str) -> None:
    """All its sockets close at once: nobody is there for our BYE either, and yet nothing is left."""
    ue = await scene.ue(transport=transport)
    await ue.join_bfcp()
    scene.may_log("mrfc", r"BYE could not be sent|\btcp|\btm \[")
    await ue.close()
    await scene.told("mrfc", f"left: {RELEASED}.*{ue.call_id}")


async def test_user_id_of_another(scene: Scene) -> None:
    """Error 5, and the call goes on; the other user has noticed nothing."""
    ue = await scene.ue()
    await ue.join()
    assert scene.bystander is not None
    ue.wrong_user_id = scene.bystander.answer.user_id
    await ue.connect()
    await ue.secure()
    stolen = Message(Primitive.FLOOR_REQUEST, ue.answer.conference_id, 7, ue.wrong_user_id, (FloorId(2),))
    ue.connection.send(stolen)
    error = await next_error(ue)
    assert code_of(error) == ErrorCode.UNAUTHORIZED_OPERATION
    assert (error.transaction_id, error.user_id) == (7, ue.wrong_user_id)
    await go_on(ue)


async def test_conference_of_another(scene: Scene) -> None:
    ue = await scene.ue()
    await ue.join()
    await ue.connect()
    await ue.secure()
    ue.connection.send(Message(Primitive.HELLO, 99, 7, ue.answer.user_id, ()))
    assert code_of(await next_error(ue)) == ErrorCode.CONFERENCE_DOES_NOT_EXIST
    await go_on(ue)


async def test_half_a_message(scene: Scene) -> None:
    ue = await scene.ue()
    await ue.join_bfcp()
    ue.connection.send_octets(request_of(ue)[:9])
    await ended(scene, ue, RELEASED)


async def test_length_beyond_what_follows(scene: Scene) -> None:
    """The rest that never comes is waited for, but not for ever."""
    ue = await scene.ue()
    await ue.join_bfcp()
    octets = bytearray(request_of(ue))
    octets[3] += 4
    ue.connection.send_octets(bytes(octets))
    await ended(scene, ue, RELEASED)


async def test_length_beyond_all_measure(scene: Scene) -> None:
    ue = await scene.ue()
    await ue.join_bfcp()
    octets = bytearray(request_of(ue))
    octets[2:4] = b"\xff\xff"
    scene.expect("mrfp", f"unreadable BFCP message.*{ue.call_id}")
    ue.connection.send_octets(bytes(octets))
    assert code_of(await next_error(ue)) == ErrorCode.INCORRECT_MESSAGE_LENGTH
    await ended(scene, ue, RELEASED)


async def test_length_of_an_attribute_beyond_the_message(scene: Scene) -> None:
    """Who writes such a message cannot be trusted with the next length either (RFC 8855 6.1)."""
    ue = await scene.ue()
    await ue.join_bfcp()
    octets = bytearray(request_of(ue))
    octets[13] = 200
    scene.expect("mrfp", f"unreadable BFCP message.*{ue.call_id}")
    ue.connection.send_octets(bytes(octets))
    assert code_of(await next_error(ue)) == ErrorCode.INCORRECT_MESSAGE_LENGTH
    await ended(scene, ue, RELEASED)


async def test_version_of_the_future(scene: Scene) -> None:
    ue = await scene.ue()
    await ue.join_bfcp()
    octets = bytearray(request_of(ue))
    octets[0] = 7 << 5
    scene.expect("mrfp", f"unreadable BFCP message.*{ue.call_id}")
    ue.connection.send_octets(bytes(octets))
    assert code_of(await next_error(ue)) == ErrorCode.UNSUPPORTED_VERSION
    await ended(scene, ue, RELEASED)


async def test_caller_who_leaves_the_floor_is_not_left_holding_it(scene: Scene) -> None:
    """A holder who breaks off makes room for who waits."""
    ue, waiting = await scene.ue(), await scene.ue()
    for each in (ue, waiting):
        await each.join_bfcp()
    await ue.floor.request((2,), SECONDS)
    request = asyncio.ensure_future(waiting.floor.request((2,), SECONDS))
    await asyncio.sleep(0.1)
    assert not request.done()
    ue.close_connection()
    await request
    await ended(scene, ue, RELEASED)
    await waiting.bye()


def code_of(error: Message) -> int:
    """ERROR-CODE of an Error message."""
    attribute = error.first(ErrorCodeAttribute)
    assert attribute is not None
    return attribute.code


def request_of(ue: Ue) -> bytes:
    """A FloorRequest for floor 2."""
    message = Message(Primitive.FLOOR_REQUEST, ue.answer.conference_id, 77, ue.answer.user_id, (FloorId(2),))
    return bfcp.encode(message)


async def secure_and_use(ue: Ue) -> None:
    """With TLS 1.3 a client learns only by use that the server refused it."""
    await ue.secure()
    await ue.hello()


async def go_on(ue: Ue) -> None:
    """Ask for a floor as if nothing had been, and hang up."""
    ue.wrong_user_id = None
    ue.floor = FloorSession(ue.connection, ue.answer.conference_id, ue.user_id())
    await ue.hello()
    await ue.floor.request((2,), SECONDS)
    await ue.release_floor()
    assert not ue.call.hung_up.is_set()
    await ue.bye()
    await until(lambda: ue.endpoint.responses("BYE"))
