"""Participants on connections of their own, TLS-PSK and BFCP, driven from one thread: the load for floor benches.

Written for little work of its own: requests are octets made before, and of an answer only what is needed is looked at.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Iterable, Sequence

from mrf_protocols.bfcp import FloorId, FloorRequestId, Message, Primitive, encode
from mrf_protocols.tls_psk import PskCredentials, TlsEngine, TlsPolicy, TlsRole, make_context
from mrfp import HOST, Target

REQUEST_ID = slice(14, 16)  # of a FloorRequestStatus: header, then FLOOR-REQUEST-INFORMATION with the id
HEADER = 12
POLICIES = {
    "TLS 1.3": TlsPolicy(ecdhe_psk=False, plain_psk=False),
    "TLS 1.2": TlsPolicy(tls13=False, ecdhe_psk=False),
}


class BenchUser:
    """One connection. `changes` counts the FloorStatus messages that came."""

    __slots__ = ("_ask", "_engine", "_give", "_rest", "changes", "cycles", "socket", "target")

    def __init__(self, target: Target, context: ssl.SSLContext) -> None:
        self.target = target
        self.cycles = 0
        self.changes = 0
        self.socket = socket.create_connection((HOST, target.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._engine = TlsEngine(context, TlsRole.CLIENT, PskCredentials(target.identity, target.psk))
        self._rest = b""
        self._engine.start()
        self._flush()
        while not self._engine.ready:
            self._engine.feed(self.socket.recv(65536))
            self._flush()
        self._ask = self._message(Primitive.FLOOR_REQUEST, FloorId(1))
        self._give = self._message(Primitive.FLOOR_RELEASE, FloorRequestId(1))[:-2]

    def _message(self, primitive: Primitive, attribute: FloorId | FloorRequestId) -> bytes:
        return encode(Message(primitive, self.target.conference, 7, self.target.user, (attribute,)))

    def _flush(self) -> None:
        octets = self._engine.take()
        if octets:
            self.socket.sendall(octets)

    def _send(self, octets: bytes) -> None:
        self._engine.write(octets)
        self.socket.sendall(self._engine.take())

    def ask(self) -> None:
        """FloorRequest."""
        self._send(self._ask)

    def give(self, request_id: bytes) -> None:
        """FloorRelease."""
        self._send(self._give + request_id)

    def subscribe(self) -> None:
        """FloorQuery, and its answer."""
        self._send(self._message(Primitive.FLOOR_QUERY, FloorId(1)))
        while not self.changes:
            self.receive()
        self.changes = 0

    def receive(self) -> list[bytes]:
        """The messages that one read completes; none after the far end has closed."""
        plaintext = self._rest + b"".join(self._engine.feed(self.socket.recv(65536)))
        messages: list[bytes] = []
        while len(plaintext) >= HEADER:
            end = HEADER + 4 * int.from_bytes(plaintext[2:4])
            if len(plaintext) < end:
                break
            if plaintext[1] == Primitive.FLOOR_STATUS:
                self.changes += 1
            messages.append(plaintext[:end])
            plaintext = plaintext[end:]
        self._rest = plaintext
        return messages

    def turn(self) -> bool:
        """Take what came: a grant is given back, a release ends a cycle. True when a cycle has ended."""
        ended = False
        for message in self.receive():
            if message[1] != Primitive.FLOOR_REQUEST_STATUS:
                continue
            if message[HEADER + 10] == 3:  # OVERALL-REQUEST-STATUS: Granted
                self.give(message[REQUEST_ID])
            else:
                self.cycles += 1
                ended = True
        return ended

    def close(self) -> None:
        """Close TLS and TCP."""
        self._engine.close()
        self._flush()
        self.socket.close()


def connect(targets: Iterable[Target], tls: str) -> list[BenchUser]:
    """A user for each target, one after the other."""
    context = make_context(TlsRole.CLIENT, POLICIES[tls])
    return [BenchUser(target, context) for target in targets]


def run_cycles(users: Sequence[BenchUser], count: int) -> None:
    """That many cycles altogether, all users at it all the time."""
    poll = select.epoll()
    by_descriptor = {user.socket.fileno(): user for user in users}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    started = ended = 0
    for user in users[:count]:
        user.ask()
        started += 1
    while ended < count:
        for descriptor, _ in poll.poll():
            user = by_descriptor[descriptor]
            if user.turn():
                ended += 1
                if started < count:
                    user.ask()
                    started += 1
    poll.close()


def times_to_grant(user: BenchUser, count: int) -> list[float]:
    """Seconds from FloorRequest to Granted, one cycle after the other."""
    found: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        user.ask()
        [granted] = user.receive()
        found.append(time.perf_counter() - began)
        user.give(granted[REQUEST_ID])
        user.receive()
    return found


def time_to_tell(asker: BenchUser, others: Sequence[BenchUser]) -> float:
    """Seconds from a FloorRequest until octets have arrived at all others; the floor is given back afterwards."""
    poll = select.epoll()
    for user in others:
        user.changes = 0
        poll.register(user.socket.fileno(), select.EPOLLIN | select.EPOLLET)
    began = time.perf_counter()
    asker.ask()
    told: set[int] = set()
    while len(told) < len(others):
        told.update(descriptor for descriptor, _ in poll.poll(maxevents=4096))
    seconds = time.perf_counter() - began
    poll.close()
    [granted] = asker.receive()
    asker.give(granted[REQUEST_ID])
    asker.receive()
    for user in others:  # held, and free again: nobody was forgotten
        while user.changes < 2:
            user.receive()
    return seconds
