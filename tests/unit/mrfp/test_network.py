"""TCP connections of the media side: what is done when octets, or the means of this host, are too many or too few."""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import dataclass, field

import pytest

from mrfp_agent.network import Connection, Listener, SocketOptions
from mrfp_agent.ports import Address
from mrfp_agent.readiness import Readiness

LIMIT = 1000


@dataclass
class Owner:
    """Who is told of connections."""

    lost: list[str] = field(default_factory=list)

    def tcp_accepted(self, accepted: socket.socket, peer: Address) -> None:
        """Nobody can come here."""
        raise AssertionError

    def tcp_connected(self, connection: Connection) -> None:
        """Nobody calls here."""
        raise AssertionError

    def tcp_connect_failed(self, connection: Connection, reason: str) -> None:
        """Nobody calls here."""
        raise AssertionError

    def tcp_received(self, connection: Connection, octets: memoryview) -> None:
        """The other end says nothing."""
        raise AssertionError

    def tcp_lost(self, connection: Connection, reason: str) -> None:
        """Remember why."""
        self.lost.append(reason)


async def test_nothing_is_kept_for_a_peer_that_has_been_given_up() -> None:
    loop, owner = asyncio.get_running_loop(), Owner()
    readiness = Readiness(loop)
    ours, theirs = socket.socketpair()
    connection = Connection(readiness, 1, ours, owner, SocketOptions(send_limit=LIMIT))
    with theirs:
        for _ in range(10_000):  # all in one turn of the loop, more than the kernel takes
            connection.send(bytes(LIMIT))
        assert not connection._unsent
        assert owner.lost == [], "told in the next turn, not to who is just sending"
        await asyncio.sleep(0)
        assert owner.lost == ["peer-does-not-read"]
    readiness.close()


class NoMeans:
    """A listening socket of a host that has no descriptor or no memory left."""

    def __init__(self, number: int, real: socket.socket) -> None:
        self.number, self.tried, self.real = number, 0, real

    def listen(self, backlog: int) -> None:
        self.real.listen(backlog)

    def fileno(self) -> int:
        return self.real.fileno()

    def close(self) -> None:
        self.real.close()

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        self.tried += 1
        raise OSError(self.number, "nothing left")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_host_with_nothing_left_is_not_asked_again_and_again(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mrfp_agent.network._PAUSE_WITH_NOTHING_LEFT", 3600.0)
    readiness = Readiness(asyncio.get_running_loop())
    real = socket.socket()
    real.bind(("127.0.0.1", 0))
    bound = NoMeans(number, real)
    listener = Listener(readiness, Address(*real.getsockname()), Owner(), bound)  # type: ignore[arg-type] # a stand-in
    with socket.socket() as caller:
        caller.setblocking(False)
        caller.connect_ex(real.getsockname())
        async with asyncio.timeout(30):
            while not bound.tried:
                await asyncio.sleep(0.001)
        for _ in range(20):
            await asyncio.sleep(0)
        assert bound.tried == 1
    listener.close()
    readiness.close()
