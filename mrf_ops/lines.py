"""Lines: ways to exchange octets with one peer, alike for TCP, TLS, UDP and SCTP, by asyncio.

TCP and TLS carry a stream, which the user frames; UDP and SCTP keep messages apart. A `User` of a line is told what
arrives and when the line ends; nothing of the messages is known here. What travels in clear text off this host needs
the operator's word: see `refuse_cleartext`.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol, cast

_log = logging.getLogger(__name__)

MAX_MESSAGE: Final = 1 << 17
"""Octets of one message over SCTP."""
SCTP: Final = getattr(socket, "IPPROTO_SCTP", 132)
_SCTP_SNDRCV: Final = 1
_NOTHING_LEFT: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""This host has no descriptor or no memory for one more connection, which stays in the queue."""
_PAUSE_WITH_NOTHING_LEFT: Final = 0.5
_MAX_PEERS: Final = 1024
"""Peers of a UDP port at one time; their users forget those that do not register."""


class Transport(StrEnum):
    """Transports, by the names that configurations use."""

    TCP = "tcp"
    UDP = "udp"
    TLS = "tls"
    SCTP = "sctp"

    @property
    def keeps_messages(self) -> bool:
        """Messages arrive as they were sent; else they are a stream of octets."""
        return self in {Transport.UDP, Transport.SCTP}

    @property
    def loses_messages(self) -> bool:
        """What is sent may not arrive."""
        return self is Transport.UDP


class CleartextError(Exception):
    """A transport without protection off this host, which nobody has allowed."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files for TLS with certificates of both sides: ours, its key, and who vouches for the peer's."""

    certificate: Path
    key: Path
    authority: Path

    def context(self, server_side: bool) -> ssl.SSLContext:
        """Raises OSError (a missing file), ssl.SSLError (what is in it)."""
        purpose = ssl.Purpose.CLIENT_AUTH if server_side else ssl.Purpose.SERVER_AUTH
        context = ssl.create_default_context(purpose, cafile=str(self.authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.certificate, self.key)
        return context

    def fault(self, error: OSError) -> str:
        """What `context` has raised, in words, with the file: Python's ssl module does not name it."""
        for file in (self.certificate, self.key, self.authority):
            try:
                file.open("rb").close()
            except OSError as unreadable:
                return f"{file}: {unreadable.strerror}"
        return f"{self.certificate}, {self.key}, {self.authority}: {error}"


class Line(Protocol):
    """A way to one peer."""

    @property
    def transport(self) -> Transport:
        """What carries it."""
        ...

    @property
    def peer(self) -> str:
        """Address of the peer, for people."""
        ...

    @property
    def unsent(self) -> int:
        """Octets that wait because the peer does not read."""
        ...

    def write(self, octets: bytes) -> None:
        """Send octets of the stream, or one message."""
        ...

    def abort(self) -> None:
        """End at once; the user is told later."""
        ...


class User(Protocol):
    """Who uses a line."""

    def line_up(self, line: Line) -> None:
        """The line can be used."""
        ...

    def line_received(self, octets: bytes) -> None:
        """Some octets of the stream, or one message."""
        ...

    def line_down(self, reason: str) -> None:
        """The line has ended; called once."""
        ...


NewUser = Callable[[], User]


@dataclass(frozen=True, slots=True)
class Listening:
    """An open port."""

    transport: Transport
    host: str
    port: int
    close: Callable[[], None]


def is_loopback(host: str) -> bool:
    """True for addresses of this host alone; a name other than localhost is not taken for one."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_cleartext(what: str, transport: Transport, host: str, allowed: bool) -> None:
    """Raise CleartextError for clear text off this host; when it is allowed, say so loudly instead."""
    if transport is Transport.TLS or is_loopback(host):
        return
    if not allowed:
        raise CleartextError(
            f"{what} over {transport} with {host} would carry keys in clear text; "
            "use tls, or set allow_cleartext = true"
        )
    _log.critical(
        "%s over %s with %s carries the keys of all users IN CLEAR TEXT (allow_cleartext = true)",
        what,
        transport,
        host,
    )


def has_sctp() -> bool:
    """Whether this kernel speaks SCTP."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, SCTP).close()
    except OSError:
        return False
    return True


async def listen(
    transport: Transport, host: str, port: int, user: NewUser, tls: TlsFiles | None = None
) -> Listening:
    """Open a port; every peer that comes gets a user of its own.

    Raises OSError, ssl.SSLError, and CleartextError for TLS without `tls`.
    """
    loop = asyncio.get_running_loop()
    if transport is Transport.UDP:
        _, endpoint = await loop.create_datagram_endpoint(lambda: _Datagrams(user), (host, port))
        return Listening(transport, host, endpoint.port, endpoint.close)
    if transport is Transport.SCTP:
        return _listen_sctp(loop, host, port, user)
    context = _tls_context(transport, tls, server_side=True)
    server = await loop.create_server(lambda: _Stream(user(), transport), host, port, ssl=context)
    return Listening(transport, host, server.sockets[0].getsockname()[1], server.close)


async def connect(
    transport: Transport, host: str, port: int, user: User, tls: TlsFiles | None = None
) -> None:
    """Open a line to a peer; `user.line_up` has been called on return.

    Raises OSError, ssl.SSLError, and CleartextError for TLS without `tls`.
    """
    loop = asyncio.get_running_loop()
    if transport is Transport.UDP:
        await loop.create_datagram_endpoint(lambda: _ConnectedDatagrams(user), remote_addr=(host, port))
    elif transport is Transport.SCTP:
        await _connect_sctp(loop, host, port, user)
    else:
        context = _tls_context(transport, tls, server_side=False)
        await loop.create_connection(lambda: _Stream(user, transport), host, port, ssl=context)


def _tls_context(transport: Transport, tls: TlsFiles | None, *, server_side: bool) -> ssl.SSLContext | None:
    """None for TCP. What is called TLS is never clear text: without files CleartextError."""
    if transport is not Transport.TLS:
        return None
    if tls is None:
        raise CleartextError("TLS needs certificate, key and authority")
    return tls.context(server_side)


def _address(peer: object) -> str:
    if isinstance(peer, tuple) and len(peer) >= 2:
        return f"{peer[0]}:{peer[1]}"
    return str(peer or "?")


# -- TCP and TLS -----------------------------------------------------------------------------------------------------


class _Stream(asyncio.Protocol):
    """A connection."""

    def __init__(self, user: User, transport: Transport) -> None:
        self.transport = transport
        self.peer = "?"
        self._user = user
        self._stream: asyncio.Transport | None = None

    @property
    def unsent(self) -> int:
        return 0 if self._stream is None else self._stream.get_write_buffer_size()

    def write(self, octets: bytes) -> None:
        if self._stream is not None:
            self._stream.write(octets)

    def abort(self) -> None:
        if self._stream is not None:
            self._stream.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a stream is needed")
        self._stream = transport
        self.peer = _address(transport.get_extra_info("peername"))
        self._user.line_up(self)

    def data_received(self, data: bytes) -> None:
        self._user.line_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._stream = None
        self._user.line_down(str(error or "closed"))


# -- UDP -------------------------------------------------------------------------------------------------------------


class _ConnectedDatagrams(asyncio.DatagramProtocol):
    """A socket that knows its only peer; what others send never arrives."""

    transport = Transport.UDP
    unsent = 0

    def __init__(self, user: User) -> None:
        self.peer = "?"
        self._user = user
        self._socket: asyncio.DatagramTransport | None = None

    def write(self, octets: bytes) -> None:
        if self._socket is not None:
            self._socket.sendto(octets)

    def abort(self) -> None:
        if self._socket is not None:
            self._socket.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own class does not say that it is one
        self._socket = cast(asyncio.DatagramTransport, transport)
        self.peer = _address(transport.get_extra_info("peername"))
        self._user.line_up(self)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._user.line_received(data)

    def error_received(self, exc: Exception) -> None:
        """ICMP says that nobody is there, now; the user's own time decides."""
        _log.info("UDP to %s: %s", self.peer, exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self._socket = None
        self._user.line_down(str(exc or "closed"))


class _DatagramPeer:
    """One peer of a UDP port."""

    transport = Transport.UDP
    unsent = 0

    def __init__(self, port: _Datagrams, address: tuple[str, int], user: User) -> None:
        self.peer = _address(address)
        self.user = user
        self._port = port
        self._address = address

    def write(self, octets: bytes) -> None:
        self._port.send(octets, self._address)

    def abort(self) -> None:
        self._port.forget(self._address, "disconnected")


class _Datagrams(asyncio.DatagramProtocol):
    """A UDP port and its peers by address."""

    def __init__(self, user: NewUser) -> None:
        self.port = 0
        self._new_user = user
        self._peers: dict[tuple[str, int], _DatagramPeer] = {}
        self._socket: asyncio.DatagramTransport | None = None

    def close(self) -> None:
        for address in list(self._peers):
            self.forget(address, "closed")
        if self._socket is not None:
            self._socket.close()

    def send(self, octets: bytes, address: tuple[str, int]) -> None:
        if self._socket is not None and address in self._peers:
            self._socket.sendto(octets, address)

    def forget(self, address: tuple[str, int], reason: str) -> None:
        peer = self._peers.pop(address, None)
        if peer is not None:
            asyncio.get_running_loop().call_soon(peer.user.line_down, reason)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own class does not say that it is one
        self._socket = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        peer = self._peers.get(addr)
        if peer is None:
            if len(self._peers) >= _MAX_PEERS:
                return  # whoever is in earnest repeats it
            peer = self._peers[addr] = _DatagramPeer(self, addr, self._new_user())
            peer.user.line_up(peer)
        peer.user.line_received(data)

    def error_received(self, exc: Exception) -> None:
        _log.info("UDP: %s", exc)


# -- SCTP ------------------------------------------------------------------------------------------------------------


class MessageSocket:
    """A socket that keeps messages apart: SCTP one to one, or anything else of that kind."""

    transport = Transport.SCTP

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, user: User, ppid: int, peer: str = ""
    ) -> None:
        self.peer = peer or _address(sock.getpeername())
        self._loop = loop
        self._socket = sock
        self._user = user
        # struct sctp_sndrcvinfo: stream, ssn, flags, (pad), ppid in network order, context, ttl, tsn, cumtsn, assoc
        information = struct.pack("=HHHxxIIIIIi", 0, 0, 0, socket.htonl(ppid), 0, 0, 0, 0, 0)
        self._ancillary = [(SCTP, _SCTP_SNDRCV, information)] if sock.proto == SCTP else []
        self._waiting: deque[bytes] = deque()
        self._writing = False
        self._closed = False
        sock.setblocking(False)
        loop.add_reader(sock, self._readable)
        user.line_up(self)

    @property
    def unsent(self) -> int:
        return sum(map(len, self._waiting))

    def write(self, octets: bytes) -> None:
        if not self._closed:
            self._waiting.append(octets)
            self._send()

    def abort(self) -> None:
        self._end("disconnected")

    def _send(self) -> None:
        while self._waiting and not self._closed:
            try:
                self._socket.sendmsg([self._waiting[0]], self._ancillary)
            except BlockingIOError:
                break
            except OSError as error:
                self._end(str(error))
                return
            self._waiting.popleft()
        if self._closed or bool(self._waiting) == self._writing:
            return
        self._writing = bool(self._waiting)
        if self._writing:
            self._loop.add_writer(self._socket, self._send)
        else:
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            octets = self._socket.recv(MAX_MESSAGE)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(str(error))
            return
        if octets:
            self._user.line_received(octets)
        else:
            self._end("closed")

    def _end(self, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._loop.call_soon(self._user.line_down, reason)


H248_TEXT_PPID: Final = 8
"""Payload protocol identifier of H.248 in text over SCTP (IANA)."""


def _sctp_socket(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.socket(family, socket.SOCK_STREAM, SCTP)


def _listen_sctp(loop: asyncio.AbstractEventLoop, host: str, port: int, user: NewUser) -> Listening:
    listener = _sctp_socket(host)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise

    def accept() -> None:
        try:
            accepted, peer = listener.accept()
        except OSError as error:  # gone again
            if error.errno in _NOTHING_LEFT:  # readable for ever: look again later
                loop.remove_reader(listener)
                loop.call_later(_PAUSE_WITH_NOTHING_LEFT, look_again)
            return
        MessageSocket(loop, accepted, user(), H248_TEXT_PPID, _address(peer))

    def look_again() -> None:
        if listener.fileno() >= 0:
            loop.add_reader(listener, accept)

    def close() -> None:
        loop.remove_reader(listener)
        listener.close()

    loop.add_reader(listener, accept)
    return Listening(Transport.SCTP, host, listener.getsockname()[1], close)


async def _connect_sctp(loop: asyncio.AbstractEventLoop, host: str, port: int, user: User) -> None:
    sock = _sctp_socket(host)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, (host, port))
    except BaseException:
        sock.close()
        raise
    MessageSocket(loop, sock, user, H248_TEXT_PPID)


def write_all(line: Line, messages: Sequence[bytes], frame: Callable[[bytes], bytes]) -> None:
    """Send messages, framed where the line is a stream."""
    if line.transport.keeps_messages:
        for message in messages:
            line.write(message)
    elif messages:
        line.write(b"".join(map(frame, messages)))
