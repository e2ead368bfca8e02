"""Floods, slow connections and many of them: what they cost is theirs, and calls of others go on."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator

import pytest
from sip_peer import SipPeer
from system_support import SECONDS, lonely_scene, until
from torture_messages import AUDIO, plain
from trunk_support import BUSY, HOME, TrunkLab

from lab import DOMAIN

TARGET = f"sip:meeting@{DOMAIN}"
CONNECTIONS = 10_000


def connection(lab: TrunkLab) -> socket.socket:
    return socket.create_connection(("127.0.0.1", lab.ports.sip), 30.0)


def over_tcp(number: int) -> bytes:
    return plain("OPTIONS", TARGET, number).replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP")


def status(stream: socket.socket) -> int:
    """The status of the next response on a connection, 0 when it is closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            more = stream.recv(65_535)
        except ConnectionResetError:
            return 0
        if not more:
            return 0
        data += more
    return int(data.split()[1])


def served(lab: TrunkLab, number: int) -> bool:
    """Whether a new connection is served."""
    with contextlib.suppress(OSError), connection(lab) as stream:
        stream.sendall(over_tcp(number))
        return status(stream) == 200
    return False


async def a_call_goes_through(lab: TrunkLab, transport: str) -> None:
    async with lonely_scene(lab) as scene:
        scene.may_log("mrfc", "")
        ue = await scene.ue(sip=lab.sip(transport))
        await ue.join_bfcp()
        await ue.floor.request((1,), SECONDS)
        await ue.release_floor()
        await ue.bye()


def test_a_request_in_a_thousand_segments(trunks: TrunkLab) -> None:
    request = over_tcp(1).replace(b"Max-F", b"X: " + b"y" * 720 + b"\r\nMax-F")
    assert len(request) >= 1000
    with connection(trunks) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in request:
            stream.send(bytes([octet]))
        assert status(stream) == 200


def test_several_requests_in_one_segment(trunks: TrunkLab) -> None:
    with connection(trunks) as stream:
        stream.sendall(b"\r\n\r\n" + over_tcp(2) + b"\r\n" + over_tcp(3))
        assert status(stream) == 200


def test_64_kb_of_header(trunks: TrunkLab) -> None:
    """More than Kamailio reads: the connection is closed, or the request refused; the next one is served."""
    with connection(trunks) as stream:
        with contextlib.suppress(ConnectionError):
            stream.sendall(over_tcp(4).replace(b"Max-F", b"X: " + b"y" * 65_536 + b"\r\nMax-F"))
        assert status(stream) in (0, 513)
    assert served(trunks, 5)


@pytest.mark.parametrize(
    ("length", "answers"),
    [(b"-1", (0, 400)), (b"x", (0, 400)), (b"99999999999999999999", (0, 400)), (b"", (0, 400))],
)
def test_content_length_that_is_none(trunks: TrunkLab, length: bytes, answers: tuple[int, ...]) -> None:
    with connection(trunks) as stream:
        stream.sendall(over_tcp(6).replace(b"Content-Length: 0", b"Content-Length: " + length))
        stream.shutdown(socket.SHUT_WR)
        assert status(stream) in answers
    assert served(trunks, 7)


async def test_slow_connections(trunks: TrunkLab) -> None:
    """A hundred requests that never end occupy no worker."""
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connection(trunks)) for _ in range(100)]
        for number, stream in enumerate(slow):
            stream.sendall(over_tcp(100 + number)[:-10])
        await a_call_goes_through(trunks, "tcp")
        for number, stream in enumerate(slow):
            stream.sendall(over_tcp(100 + number)[-10:])
            assert status(stream) == 200, "and who comes to an end is served"


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many open files as there shall be connections, while a test runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.fail(f"this test needs {wanted} open files, and no more than {hard} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
async def test_ten_thousand_idle_connections(trunks: TrunkLab) -> None:
    """Kamailio keeps as many as it may, and closes the others; calls over UDP go on, and TCP when they have gone."""
    async with lonely_scene(trunks) as scene:
        scene.may_log("mrfc", "")
        ue = await scene.ue(sip=trunks.sip("udp"))
        await ue.join_bfcp()
        with contextlib.ExitStack() as stack:
            for _ in range(CONNECTIONS):
                with contextlib.suppress(ConnectionError):
                    stack.enter_context(connection(trunks))
            await ue.floor.request((1,), SECONDS)
            await ue.release_floor()
        await until(lambda: served(trunks, 8), 60.0)
        await ue.bye()
    await a_call_goes_through(trunks, "tcp")


@pytest.mark.parametrize("method", ["INVITE", "REFER"])
async def test_a_flood_from_one_source(trunks: TrunkLab, method: str) -> None:
    """Its requests are refused, then dropped; a call of another source is set up and ended meanwhile."""
    before = trunks.counted("busy", "flood")
    flood = [
        plain(method, TARGET, number, AUDIO).replace(b"192.0.2.7", BUSY.encode()) for number in range(3000)
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
        source.bind((BUSY, 0))
        source.connect(("127.0.0.1", trunks.ports.sip))
        for message in flood[:1500]:
            source.send(message)
        await a_call_goes_through(trunks, "udp")
        for message in flood[1500:]:
            source.send(message)
        await a_call_goes_through(trunks, "tls")
    assert trunks.counted("busy", "flood") > before
    with SipPeer(("127.0.0.1", trunks.ports.sip), "home", host=HOME) as neighbour:
        neighbour.request("OPTIONS", TARGET)
        assert neighbour.response("OPTIONS").status == 200


def test_the_flooder_is_served_again_when_it_stops(trunks: TrunkLab) -> None:
    end = time.monotonic() + SECONDS
    statuses: list[int] = []
    with SipPeer(("127.0.0.1", trunks.ports.sip), "busy", host=BUSY) as busy:
        while 200 not in statuses and time.monotonic() < end:
            busy.request("OPTIONS", TARGET)
            with contextlib.suppress(AssertionError):
                statuses.append(busy.wait(lambda message: message.status >= 200, 1.0).status)
    assert 200 in statuses
