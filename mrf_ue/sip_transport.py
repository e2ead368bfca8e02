"""SIP over UDP, TCP and TLS: moves messages between sockets and whoever listens (RFC 3261 18).

aiosipua parses and prints the messages. Its own transports are not used: that for streams takes the CRLF of a
keep-alive (RFC 3261 7.5) for a broken message and cannot speak TLS, that for UDP trips over an assertion of its
own on Python 3.11, and neither tells which port the system gave it.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, cast

from aiosipua import SipRequest, SipResponse, SipTransport

from mrf_ue.errors import SipRefused

Address = tuple[str, int]

MAX_MESSAGE_OCTETS = 256 * 1024


class StreamFramer:
    """Cuts a TCP stream into SIP messages by Content-Length (RFC 3261 18.3), sans-IO."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, octets: bytes) -> list[bytes]:
        """Take octets, give the messages that they complete.

        Raises ValueError when the stream cannot be cut any more: no usable Content-Length, or a message
        beyond 256 kB.
        """
        self._buffer += octets
        messages = []
        while (size := self._complete_message()) is not None:
            messages.append(bytes(self._buffer[:size]))
            del self._buffer[:size]
        return messages

    def _complete_message(self) -> int | None:
        keep_alive = len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))
        del self._buffer[:keep_alive]
        end = self._buffer.find(b"\r\n\r\n")
        size = end + 4 + _content_length(bytes(self._buffer[:end])) if end >= 0 else len(self._buffer)
        if size > MAX_MESSAGE_OCTETS:
            raise ValueError("SIP message too long")
        return size if end >= 0 and len(self._buffer) >= size else None


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"content-length", b"l"):
            if not value.strip().isdigit():
                raise ValueError("SIP Content-Length is not a number")
            return int(value)
    raise ValueError("SIP message on a stream without Content-Length")


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, owner: "UdpTransport") -> None:
        self._owner = owner

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._owner.received(data, addr[:2])


@dataclass
class UdpTransport(SipTransport):
    """SIP over UDP; after `start` `local_addr` holds the port that the system chose."""

    _socket: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Bind. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._socket, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=self.local_addr
        )
        self.local_addr = self._socket.get_extra_info("sockname")[:2]

    async def reach(self, remote: Address) -> None:
        """Nothing to prepare on UDP."""

    def send(self, message: SipRequest | SipResponse, addr: Address) -> None:
        """Send one datagram."""
        self.send_octets(bytes(message), addr)

    def send_octets(self, octets: bytes, addr: Address) -> None:
        """Send one datagram with these octets."""
        if self._socket is not None:
            self._socket.sendto(octets, addr)

    def received(self, octets: bytes, remote: Address) -> None:
        """One datagram came from `remote`; those without a message in them keep a NAT open."""
        if octets.strip():
            self._dispatch(octets, remote)

    async def stop(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Connection(asyncio.Protocol):
    def __init__(self, owner: "StreamTransport", remote: Address | None) -> None:
        self._owner = owner
        self._remote = remote
        self._framer = StreamFramer()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        remote: Address = self._remote or transport.get_extra_info("peername")[:2]
        self._remote = remote
        self._owner.connections[remote] = self

    def data_received(self, data: bytes) -> None:
        if self._remote is None or self.transport is None:
            return
        if not data.strip(b"\r\n"):
            self._owner.on_keep_alive()
        try:
            for message in self._framer.feed(data):
                self._owner.received(message, self._remote)
        except ValueError:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._remote is not None and self._owner.connections.get(self._remote) is self:
            del self._owner.connections[self._remote]
            self._owner.on_lost(str(exc or "closed by the far end"))


@dataclass
class StreamTransport(SipTransport):
    """SIP over TCP or TLS: one connection to each next hop, and (TCP only) a listening port for the far end.

    `tls`: the client context for TLS; None for TCP. `tls_server`: the context for connections of others on TLS;
    without one, we do not listen on TLS, and the far end uses our connection (RFC 5923).
    """

    reliable: ClassVar[bool] = True

    tls: ssl.SSLContext | None = None
    tls_server: ssl.SSLContext | None = None
    names: dict[str, str] = field(default_factory=dict)
    """The host name behind a numeric address: what a certificate has to name (RFC 5922 7.2)."""
    connections: dict[Address, _Connection] = field(default_factory=dict)
    on_keep_alive: Callable[[], None] = lambda: None
    """Called when CRLF comes between messages (RFC 5626 3.5.1)."""
    on_lost: Callable[[str], None] = lambda reason: None
    """Called when the far end closes a connection, or it breaks."""
    _server: asyncio.Server | None = None
    _pending: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen, so that the far end can open a connection for its own requests."""
        if self.tls is not None and self.tls_server is None:
            return
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, None), *self.local_addr, ssl=self.tls_server
        )
        self.local_addr = self._server.sockets[0].getsockname()[:2]

    async def reach(self, remote: Address) -> None:
        """Have a connection to `remote`. Raises SipRefused."""
        if remote in self.connections:
            return
        loop = asyncio.get_running_loop()
        source = (self.local_addr[0], 0) if self.local_addr[0] else None
        try:
            transport, _ = await loop.create_connection(
                lambda: _Connection(self, remote),
                *remote,
                ssl=self.tls,
                server_hostname=self.names.get(remote[0], remote[0]) if self.tls else None,
                local_addr=source,
            )
        except OSError as error:
            raise SipRefused(f"no SIP connection to {remote[0]}:{remote[1]}: {error}") from None
        if self._server is None:
            self.local_addr = transport.get_extra_info("sockname")[:2]

    def send(self, message: SipRequest | SipResponse, addr: Address) -> None:
        """Send now, or as soon as there is a connection to `addr`; a message that cannot go is lost."""
        connection = self.connections.get(addr)
        if connection is not None and connection.transport is not None:
            connection.transport.write(bytes(message))
            return
        task = asyncio.get_running_loop().create_task(self._send_later(message, addr))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    def send_octets(self, octets: bytes, addr: Address) -> None:
        """Send octets that are no message on the connection to `addr`, if there is one."""
        connection = self.connections.get(addr)
        if connection is not None and connection.transport is not None:
            connection.transport.write(octets)

    async def _send_later(self, message: SipRequest | SipResponse, addr: Address) -> None:
        with contextlib.suppress(SipRefused):
            await self.reach(addr)
            connection = self.connections.get(addr)
            if connection is not None and connection.transport is not None:
                connection.transport.write(bytes(message))

    def received(self, octets: bytes, remote: Address) -> None:
        """One message came from `remote`."""
        self._dispatch(octets, remote)

    async def stop(self) -> None:
        """Close every connection and the listening port."""
        for task in list(self._pending):
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)
        for connection in list(self.connections.values()):
            if connection.transport is not None:
                connection.transport.close()
        self.connections.clear()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None


Transport = UdpTransport | StreamTransport
