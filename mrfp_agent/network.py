"""TCP sockets of the media side: listening, connecting, reading, writing, without a task or a buffer each.

Thin on purpose: readiness callbacks on plain non-blocking sockets. asyncio's transports
would cost a task per accepted connection and more memory than the TLS session.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mrfp_agent.ports import Address, make_address
from mrfp_agent.readiness import READ, WRITE, Readiness

_RECEIVE_BUFFER = memoryview(bytearray(16384))
"""Shared by all connections: each read is used up before the next one begins. Decoding it all takes some ms."""
_BACKLOG = 16
_NOTHING_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""This host has no descriptor or no memory for one more connection, which stays in the queue."""
_PAUSE_WITH_NOTHING_LEFT = 0.5


class NetworkError(Exception):
    """A local address cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """Of every media connection.

    `dscp`: Differentiated Services code point, 0..63. `keepalive`: seconds of silence before the first probe.
    `user_timeout`: seconds that sent octets may stay unacknowledged. `send_limit`: octets that may wait for a
    peer that does not read, in this process; more of them end the connection. About as many wait in the kernel.
    """

    dscp: int = 0
    keepalive: int = 60
    user_timeout: float = 30.0
    send_limit: int = 65536


class ConnectionUser(Protocol):
    """Who is told what happens on a connection."""

    def tcp_connected(self, connection: Connection) -> None:
        """An attempt to connect has succeeded."""

    def tcp_connect_failed(self, connection: Connection, reason: str) -> None:
        """An attempt to connect has failed; the socket is closed."""

    def tcp_received(self, connection: Connection, octets: memoryview) -> None:
        """Octets have come; the memory is used again afterwards."""

    def tcp_lost(self, connection: Connection, reason: str) -> None:
        """The connection is gone and its socket closed; not told after `Connection.close`."""


class ListenerUser(Protocol):
    """Who is told of accepted connections."""

    def tcp_accepted(self, accepted: socket.socket, peer: Address) -> None:
        """Somebody has connected; the socket is the user's from now on."""


MakeSocket = Callable[[socket.AddressFamily], socket.socket]


def plain_socket(family: socket.AddressFamily) -> socket.socket:
    """A TCP socket in the network namespace of this process."""
    return socket.socket(family, socket.SOCK_STREAM)


def media_socket(
    local: Address, options: SocketOptions, make: MakeSocket = plain_socket, device: str = ""
) -> socket.socket:
    """A non-blocking TCP socket bound to a local address.

    `make` opens it; `device` is the interface (a VRF) that it sends and receives on. Raises NetworkError.
    """
    version6 = ":" in local.host
    try:
        made = make(socket.AF_INET6 if version6 else socket.AF_INET)
    except OSError as error:
        raise NetworkError(f"{local} cannot be used: {error.strerror}") from None
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if device:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        if version6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _set_options(made, options, version6)
        made.bind((local.host, local.port))
    except OSError as error:
        made.close()
        raise NetworkError(f"{local} cannot be used: {error.strerror}") from None
    return made


def _set_options(made: socket.socket, options: SocketOptions, version6: bool) -> None:
    """Options that accepted sockets inherit from the listening one."""
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(
        socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_limit
    )  # else the kernel takes megabytes
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, options.keepalive)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, options.keepalive // 4))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(options.user_timeout * 1000))
    if options.dscp:
        traffic_class = options.dscp << 2
        if version6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, traffic_class)
        else:
            made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, traffic_class)


class Listener:
    """A listening socket on one local address."""

    __slots__ = ("_readiness", "_socket", "_user")

    def __init__(
        self, readiness: Readiness, local: Address, user: ListenerUser, bound: socket.socket
    ) -> None:
        """Listen at once on a socket that is bound to `local`. Raises NetworkError."""
        self._readiness = readiness
        self._user = user
        self._socket: socket.socket | None = bound
        try:
            self._socket.listen(_BACKLOG)
        except OSError as error:  # another process listens, both with SO_REUSEADDR
            self._socket.close()
            raise NetworkError(f"{local} cannot be used: {error.strerror}") from None
        readiness.watch(self._socket.fileno(), READ, self._acceptable)

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            self._readiness.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _accept_again(self) -> None:
        if self._socket is not None:
            self._readiness.watch(self._socket.fileno(), READ, self._acceptable)

    def _acceptable(self, events: int) -> None:
        """Take one; the loop calls again as long as there are more, and mostly there is just the one."""
        if self._socket is None:
            return
        try:
            accepted, name = self._socket.accept()
        except OSError as error:  # gone again
            if error.errno in _NOTHING_LEFT:  # readable for ever: look again later
                self._readiness.watch(self._socket.fileno(), 0, self._acceptable)
                self._readiness.loop.call_later(_PAUSE_WITH_NOTHING_LEFT, self._accept_again)
            return
        host, port = name[:2]
        # An IPv4 address of the kernel has only one spelling.
        peer = make_address(host.partition("%")[0], port) if ":" in host else Address(host, port)
        self._user.tcp_accepted(accepted, peer)


class Connection:
    """One TCP connection, or the attempt to open one; `number` is its name at the user's."""

    __slots__ = (
        "_connecting",
        "_given_up",
        "_limit",
        "_readiness",
        "_socket",
        "_unsent",
        "_user",
        "_watched",
        "number",
    )

    def __init__(
        self,
        readiness: Readiness,
        number: int,
        connected: socket.socket,
        user: ConnectionUser,
        options: SocketOptions,
    ) -> None:
        """`connected`: an accepted socket, or one that `connect` is called for next."""
        self.number = number
        self._readiness = readiness
        self._user = user
        self._limit = options.send_limit
        self._unsent: bytearray | None = None
        self._connecting = False
        self._given_up = False
        self._watched = 0  # what of READ and WRITE is watched
        self._socket: socket.socket | None = connected
        connected.setblocking(False)

    def start_reading(self) -> None:
        """Report octets and the end from now on."""
        self._watch(self._watched | READ)

    def stop_reading(self) -> None:
        """Report no octets until `start_reading`, only that the connection has broken."""
        self._watch(self._watched & ~READ)

    def connect(self, remote: Address) -> None:
        """Open the connection; the outcome is reported, never raised, and not within this call."""
        if self._socket is None:
            return
        try:
            outcome = self._socket.connect_ex((remote.host, remote.port))
        except OSError as error:  # an address that the socket's family does not have
            outcome = error.errno or errno.EADDRNOTAVAIL
        if outcome in (0, errno.EINPROGRESS):
            self._connecting = True
            self._watch(WRITE)
        else:
            self._readiness.loop.call_soon(self._connect_failed, outcome)

    def send(self, octets: bytes, last: bool = False) -> None:
        """Write now what the kernel takes, the rest later; too much of a rest ends the connection.

        `last`: `close` follows at once, so that the kernel may put these octets and the end into one segment.
        """
        if self._socket is None or self._given_up:
            return
        if self._unsent is not None:
            self._unsent += octets
            if len(self._unsent) > self._limit:
                self._give_up("peer-does-not-read")
            return
        try:
            sent = self._socket.send(octets, socket.MSG_MORE if last else 0)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._give_up(_word(error.errno))
            return
        if sent < len(octets):
            self._unsent = bytearray(memoryview(octets)[sent:])
            self._watch(self._watched | WRITE)

    def close(self) -> None:
        """Close without a report; what the kernel has taken still reaches the peer."""
        if self._socket is None:
            return
        self._readiness.forget(self._socket.fileno())
        self._socket.close()
        self._socket = None
        self._unsent = None

    def _watch(self, events: int) -> None:
        if self._socket is not None:
            self._watched = events
            self._readiness.watch(self._socket.fileno(), events, self._ready)

    def _ready(self, events: int) -> None:
        if self._connecting:
            self._connect_finished()
            return
        if events & ~WRITE:
            self._readable()
        if events & WRITE:
            self._writable()

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            count = self._socket.recv_into(_RECEIVE_BUFFER)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(_word(error.errno))
            return
        if count:
            self._user.tcp_received(self, _RECEIVE_BUFFER[:count])
        else:
            self._lost("closed-by-peer")

    def _writable(self) -> None:
        if self._socket is None or self._unsent is None:
            return
        try:
            sent = self._socket.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(_word(error.errno))
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._unsent = None
            self._watch(self._watched & ~WRITE)

    def _connect_finished(self) -> None:
        if self._socket is None:
            return
        self._connecting = False
        outcome = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if outcome:
            self._connect_failed(outcome)
        else:
            self._watch(READ)
            self._user.tcp_connected(self)

    def _give_up(self, reason: str) -> None:
        """The end is reported in the next turn of the loop; whoever sends is not called back meanwhile."""
        self._given_up = True
        self._unsent = None
        self._readiness.loop.call_soon(self._lost, reason)

    def _connect_failed(self, outcome: int) -> None:
        if self._socket is not None:
            self.close()
            self._user.tcp_connect_failed(self, _word(outcome))

    def _lost(self, reason: str) -> None:
        if self._socket is not None:
            self.close()
            self._user.tcp_lost(self, reason)


def _word(number: int | None) -> str:
    """An errno as one word for logs, "connection-reset-by-peer"."""
    return os.strerror(number or 0).lower().replace(" ", "-")


def file_descriptors_needed(terminations: int) -> int:
    """Descriptors for this many terminations: a listener or candidates, then one connection each; and
    some.
    """
    return 2 * terminations + 64


def raise_file_descriptor_limit(wanted: int) -> int:
    """Raise the soft limit of open files up to `wanted` as far as the hard limit allows; returns the
    limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):  # a sandbox may forbid it: then the limit stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            return more
    return soft
