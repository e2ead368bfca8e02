"""An MRFP's media gateway in this process, and users who come to it by TCP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from loopback_ports import port_range
from mrf_ops.metrics import Metrics
from mrf_ops.trace import ListSink, Tracer
from mrf_protocols.bfcp import BfcpError, Deframer, FloorId, FloorRequestId, Message, Primitive, encode
from mrf_protocols.h248.mp import Conference as MpConference
from mrf_protocols.h248.mp import (
    ConfigureBfcpTermination,
    NotifyIndication,
    ReleaseBfcpTermination,
    TerminationConfigured,
)
from mrf_protocols.h248.mp import Floor as MpFloor
from mrf_protocols.tls_psk import PskCredentials, TlsEngine, TlsPolicy, TlsRole, make_context
from mrfp_agent.endpoint import MediaNetwork
from mrfp_agent.gateway import GatewaySettings, MediaGateway
from mrfp_agent.metrics import MediaMetrics
from mrfp_agent.network import SocketOptions
from mrfp_agent.ports import MediaPorts, PortRange
from mrfp_agent.termination_values import TerminationTimers

KEY = bytes(range(32))
IDENTITY = "55667788.1"
CONFERENCE = MpConference(4321, (MpFloor(1), MpFloor(2)))
SECONDS = 60.0
"""Longest wait for something that has to happen."""
QUICK = TerminationTimers(tcp_connect=1.5, tcp_retry=0.05, client_hello=1.5, handshake=1.5, message=1.5)

PATIENT = replace(QUICK, tcp_connect=4.0, client_hello=4.0, handshake=4.0)
"""For users who fail: another one is waited for until the time is over, and a program has to be up by then."""


class LocalMrfp:
    """A media gateway without an Mp side: procedures by call, indications in a list."""

    def __init__(
        self,
        *,
        timers: TerminationTimers | None = None,
        policy: TlsPolicy | None = None,
        accept_any_identity: bool = False,
        hosts: tuple[str, ...] = ("127.0.0.1",),
        send_limit: int = 65536,
        ports: int = 8,
        allow_unsecured: bool = True,
    ) -> None:
        self.trace = ListSink()
        self.metrics = Metrics("mrfp")
        self.indications: list[NotifyIndication] = []
        first, last = port_range(ports)
        self.gateway = MediaGateway(
            GatewaySettings(
                timers=timers or TerminationTimers(),
                accept_any_identity=accept_any_identity,
                allow_unsecured=allow_unsecured,
            ),
            MediaNetwork(asyncio.get_running_loop(), SocketOptions(send_limit=send_limit)),
            MediaPorts([PortRange(host, first, last) for host in hosts], quarantine=0),
            {role: make_context(role, policy or TlsPolicy()) for role in TlsRole},
            MediaMetrics(self.metrics),
            Tracer("MRFP", self.trace),
        )
        self.gateway.notify = self.indications.append

    def configure(self, procedure: ConfigureBfcpTermination) -> TerminationConfigured:
        """Configure BFCP Termination."""
        acknowledgement = self.gateway.handle(procedure)
        assert isinstance(acknowledgement, TerminationConfigured)
        return acknowledgement

    def release(self, configured: TerminationConfigured) -> None:
        """Release BFCP Termination, and see that nothing is left of it."""
        self.gateway.handle(ReleaseBfcpTermination(configured.context, configured.termination))

    def left_over(self) -> dict[str, int]:
        """What is still there of all that should be gone."""
        return {name: count for name, count in self.gateway.status().items() if count and name != "ports"}

    async def indication(self, kind: type[NotifyIndication]) -> NotifyIndication:
        """Wait for an indication."""
        found: list[NotifyIndication] = []

        def arrived() -> bool:
            found[:] = [each for each in self.indications if isinstance(each, kind)]
            return bool(found)

        await until(arrived)
        return found[0]


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that other tasks bring about. Raises TimeoutError."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


@dataclass
class User:
    """A user's end of a BFCP connection: TLS (or none) and BFCP over asyncio streams."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    engine: TlsEngine | None = None
    deframer: Deframer = field(default_factory=Deframer)
    waiting: list[Message | BfcpError] = field(default_factory=list)

    async def secure(self, role: TlsRole, *, key: bytes = KEY, identity: str = IDENTITY) -> None:
        """Do the TLS handshake. Raises TlsPskError, EOFError."""
        self.engine = TlsEngine(make_context(role, TlsPolicy()), role, PskCredentials(identity, key))
        self.engine.start()
        self._flush()
        while not self.engine.ready:
            await self._read()

    def send(self, message: Message) -> None:
        """Send a message."""
        self.send_octets(encode(message))

    def send_octets(self, octets: bytes) -> None:
        """Send octets inside TLS."""
        if self.engine is None:
            self.writer.write(octets)
        else:
            self.engine.write(octets)
            self._flush()

    async def receive(self) -> Message:
        """The next message. Raises EOFError when the connection ends first."""
        while not self.waiting:
            await self._read()
        message = self.waiting.pop(0)
        assert isinstance(message, Message)
        return message

    async def closed(self) -> None:
        """Wait until the far end closes."""
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                await self._read()

    async def close(self) -> None:
        """Leave, in good order."""
        if self.engine is not None:
            self.engine.close()
            self._flush()
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def _read(self) -> None:
        async with asyncio.timeout(SECONDS):
            octets = await self.reader.read(65536)
        if not octets:
            raise EOFError
        plaintext = [octets]
        if self.engine is not None:
            plaintext = self.engine.feed(octets)
            self._flush()
        for chunk in plaintext:
            self.waiting += self.deframer.feed(chunk)
        if self.engine is not None and self.engine.closed and not self.waiting:
            raise EOFError

    def _flush(self) -> None:
        if self.engine is not None:
            self.writer.write(self.engine.take())


async def come(local: tuple[str, int], from_host: str = "127.0.0.1") -> User:
    """Connect to a termination."""
    return User(*await asyncio.open_connection(*local, local_addr=(from_host, 0)))


class Callee:
    """A user who listens, as one whose SDP says setup:passive."""

    def __init__(self) -> None:
        self.arrivals: asyncio.Queue[User] = asyncio.Queue()

    async def __aenter__(self) -> Callee:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def address(self) -> tuple[str, int]:
        """Where he listens."""
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def arrival(self) -> User:
        """The connection that the MRFP opens."""
        async with asyncio.timeout(SECONDS):
            return await self.arrivals.get()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.arrivals.put_nowait(User(reader, writer))


def floor_request(user_id: int, transaction: int = 1, floor: int = 1) -> Message:
    """A FloorRequest for one floor of CONFERENCE."""
    return Message(Primitive.FLOOR_REQUEST, 4321, transaction, user_id, (FloorId(floor),))


def floor_release(user_id: int, request: int, transaction: int = 2) -> Message:
    """A FloorRelease."""
    return Message(Primitive.FLOOR_RELEASE, 4321, transaction, user_id, (FloorRequestId(request),))
