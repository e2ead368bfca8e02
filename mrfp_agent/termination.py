"""State machine of one BFCP termination: the MRFP's end of one user's BFCP connection.

No socket and no clock: the driver reports what happens together with the time and carries out the outputs
in order. Whoever reaches the port first is only a candidate. Several candidates may try at the same time;
the first that proves the key (TCP/BFCP: that comes from the signalled address) is the peer, the others are
dropped. A stranger can therefore neither get in nor keep the peer out.
"""

from __future__ import annotations

import ssl
from collections import Counter, deque
from collections.abc import Mapping

from mrf_protocols.bfcp import BfcpError, Deframer, Message
from mrf_protocols.tls_psk import PskCredentials, TlsEngine, TlsFailure, TlsPskError, TlsRole
from mrfp_agent.ports import Address, literal
from mrfp_agent.termination_values import (
    BfcpReceived,
    CandidateDropped,
    ClientHello,
    CloseTcp,
    Connect,
    ConnectionEnded,
    Established,
    EstablishmentFailed,
    FailureKind,
    Output,
    RemoteEnd,
    SendOctets,
    StartListening,
    StopListening,
    TcpRole,
    TcpUp,
    TerminationState,
    TerminationTimers,
    Transport,
)

MAXIMUM_EARLY_OCTETS = 4096
"""Kept of a candidate before Configure: room for a ClientHello or some BFCP messages."""
MAXIMUM_PAYLOAD_WORDS = 2048
"""Longest BFCP payload taken from a client, in 4-octet units; real requests have less than 300."""

TlsContexts = Mapping[TlsRole, ssl.SSLContext]


class _Candidate:
    """A TCP connection that may turn out to be the peer's."""

    __slots__ = ("connection", "deadline", "early", "engine", "heard", "peer")

    def __init__(self, connection: int, peer: Address) -> None:
        self.connection = connection
        self.peer = peer
        self.engine: TlsEngine | None = None
        self.early = b""
        self.heard = False
        self.deadline: float | None = None


class Termination:
    """One BFCP termination.

    NEW -> [reserve] -> RESERVED -> [configure] -> ESTABLISHING -> ESTABLISHED -> ENDED. `configure` may
    come at once (dial-in). ENDED also follows a failed establishment; it lasts until the MRFC subtracts
    the termination. `deadline` is when `tick` is wanted; look at it after each call.

    `contexts`: one per TLS role, shared by all terminations. `maximum_candidates` bounds the connections that
    are tried at the same time. Methods taking `now` (seconds of a steady clock) return the outputs.
    """

    __slots__ = (
        "_backlog",
        "_candidates",
        "_connection",
        "_contexts",
        "_deadline",
        "_deframer",
        "_engine",
        "_last_tls_failure",
        "_listening",
        "_maximum_candidates",
        "_next_connection",
        "_remote",
        "_retry_at",
        "_timers",
        "deadline",
        "state",
        "transport",
    )

    def __init__(
        self,
        transport: Transport,
        timers: TerminationTimers,
        contexts: TlsContexts,
        maximum_candidates: int = 8,
    ) -> None:
        self.transport = transport
        self.state = TerminationState.NEW
        self.deadline: float | None = None
        self._timers = timers
        self._contexts = contexts
        self._maximum_candidates = maximum_candidates
        self._remote: RemoteEnd | None = None
        self._candidates: dict[int, _Candidate] | None = {}
        self._next_connection = 1
        self._listening = False
        self._last_tls_failure = ""
        self._deadline: float | None = None
        self._retry_at: float | None = None
        self._connection = 0
        self._engine: TlsEngine | None = None
        self._deframer: Deframer | None = None
        self._backlog: deque[Message | BfcpError] | None = None

    # What the MRFC asks for

    def reserve(self) -> list[Output]:
        """Reserve BFCP Termination: listen; candidates may come, nothing is sent to them."""
        self._expect(TerminationState.NEW)
        self.state = TerminationState.RESERVED
        self._listening = True
        return [StartListening()]

    def configure(self, remote: RemoteEnd, now: float) -> list[Output]:
        """Configure BFCP Termination, or Configure Reserved BFCP Termination after `reserve`.

        Raises ValueError when TLS role and credentials do not fit the transport, or the state does not
        allow it.
        """
        self._expect(TerminationState.NEW, TerminationState.RESERVED)
        secured = self.transport is Transport.TCP_TLS_BFCP
        if secured != (remote.tls_role is not None) or secured != (remote.credentials is not None):
            raise ValueError("a TLS role and a pre-shared key go with TCP/TLS/BFCP, and only with it")
        self.state = TerminationState.ESTABLISHING
        self._remote = remote
        self._deadline = now + self._timers.tcp_connect
        outputs: list[Output] = []
        if remote.tcp_role is TcpRole.ACTIVE:
            self._stop_listening(outputs)
            for candidate in list(self._waiting.values()):
                self._drop(candidate, "the MRFP opens the connection", outputs)
            self._attempt(remote, outputs)
        else:
            if not self._listening:
                self._listening = True
                outputs.append(StartListening())
            for candidate in list(self._waiting.values()):
                if self.state is TerminationState.ESTABLISHING:
                    self._begin(candidate, now, outputs)
        return self._done(outputs)

    def release(self) -> list[Output]:
        """Release BFCP Termination: close everything; nothing follows."""
        outputs: list[Output] = []
        self._shut(outputs)
        return self._done(outputs)

    def end(self, reason: str) -> list[Output]:
        """Close the established connection from this side."""
        outputs: list[Output] = []
        if self.state is TerminationState.ESTABLISHED:
            self._end_connection(reason, outputs)
        return self._done(outputs)

    def send(self, message: bytes) -> list[Output]:
        """Send an encoded BFCP message to the peer; lost when there is no connection."""
        outputs: list[Output] = []
        if self.state is not TerminationState.ESTABLISHED:
            return outputs
        if self._engine is None:
            outputs.append(SendOctets(self._connection, message))
            return outputs
        try:
            self._engine.write(message)
        except TlsPskError as error:
            self._end_connection(error.reason.value, outputs)
            return self._done(outputs)
        outputs.append(SendOctets(self._connection, self._engine.take()))
        return outputs

    # Messages that have come together

    @property
    def has_more(self) -> bool:
        """Whether `proceed` has something to give. Until it has not, no octets are wanted."""
        return self._backlog is not None

    def proceed(self, now: float) -> list[Output]:
        """Give the next of the messages that have come together; nothing once the connection has ended.

        `octets_received` and `configure` give the first one only: what a message causes may take long, and it is for
        the driver to see who else waits.
        """
        outputs: list[Output] = []
        if self._backlog:
            outputs.append(BfcpReceived(self._backlog.popleft()))
        elif self._backlog is not None:
            self._backlog = None
            self._all_given(now, outputs, complete=True)
        return self._done(outputs)

    # What the driver reports

    def new_connection(self) -> int:
        """Number for a connection that a driver has accepted."""
        number = self._next_connection
        self._next_connection += 1
        return number

    def accepted(self, connection: int, peer: Address, now: float) -> list[Output]:
        """Somebody has connected to the local address."""
        outputs: list[Output] = []
        if not self._listening:
            return [CloseTcp(connection)]
        if len(self._waiting) >= self._maximum_candidates:
            self._make_room(outputs)
        candidate = self._waiting[connection] = _Candidate(connection, peer)
        outputs.append(TcpUp(connection, peer, accepted=True))
        if self.state is TerminationState.ESTABLISHING:
            self._begin(candidate, now, outputs)
        return self._done(outputs)

    def connected(self, connection: int, now: float) -> list[Output]:
        """An attempt to connect has succeeded."""
        outputs: list[Output] = []
        candidate = self._waiting.get(connection)
        if candidate is None:
            return [CloseTcp(connection)]
        outputs.append(TcpUp(connection, candidate.peer, accepted=False))
        self._begin(candidate, now, outputs)
        return self._done(outputs)

    def connect_failed(self, connection: int, now: float) -> list[Output]:
        """An attempt to connect has failed; another one follows until the time is over."""
        if self._waiting.pop(connection, None) is not None:
            self._retry_at = now + self._timers.tcp_retry
        return self._done([])

    def octets_received(self, connection: int, octets: bytes | memoryview, now: float) -> list[Output]:
        """Octets have come on a connection. A memoryview is not kept."""
        outputs: list[Output] = []
        if self.state is TerminationState.ESTABLISHED and connection == self._connection:
            self._receive(octets, now, outputs)
        else:
            candidate = self._waiting.get(connection)
            if candidate is not None:
                self._hear(candidate, octets, now, outputs)
        return self._done(outputs)

    def connection_lost(self, connection: int, reason: str) -> list[Output]:
        """A connection has been closed by the other side or has broken; `reason` is one word for logs."""
        outputs: list[Output] = []
        if self.state is TerminationState.ESTABLISHED and connection == self._connection:
            if self._engine is not None:
                reason = _reason_of_end(self._engine, reason)
            self._end_connection(reason, outputs)
        else:
            candidate = self._waiting.get(connection)
            if candidate is not None:
                self._give_up(candidate, TlsFailure.CLOSED_IN_HANDSHAKE.value, outputs)
        return self._done(outputs)

    def tick(self, now: float) -> list[Output]:
        """Do what is due."""
        outputs: list[Output] = []
        if self.state is TerminationState.ESTABLISHED:
            if self._deadline is not None and self._deadline <= now:
                self._end_connection("unfinished-message-timeout", outputs)
            return self._done(outputs)
        for candidate in list(self._waiting.values()):
            if candidate.deadline is not None and candidate.deadline <= now:
                late = TlsFailure.HANDSHAKE_TIMEOUT if candidate.heard else TlsFailure.CLIENT_HELLO_TIMEOUT
                self._give_up(candidate, late.value, outputs)
        if self._deadline is not None and self._deadline <= now:
            self._time_over(outputs)
        elif self._retry_at is not None and self._retry_at <= now and self._remote is not None:
            self._retry_at = None
            self._attempt(self._remote, outputs)
        return self._done(outputs)

    # Candidates

    @property
    def _waiting(self) -> dict[int, _Candidate]:
        if self._candidates is None:
            return {}
        return self._candidates

    def _attempt(self, remote: RemoteEnd, outputs: list[Output]) -> None:
        connection = self.new_connection()
        self._waiting[connection] = _Candidate(connection, remote.address)
        outputs.append(Connect(connection, remote.address))

    def _begin(self, candidate: _Candidate, now: float, outputs: list[Output]) -> None:
        """Put a connected candidate to the test."""
        remote = self._remote
        if remote is None:
            return
        if remote.tls_role is None or remote.credentials is None:
            if candidate.peer.host != remote.address.host:
                self._drop(candidate, "not the signalled address", outputs)
            else:
                self._establish(candidate, now, outputs)
            return
        credentials: PskCredentials = remote.credentials
        engine = candidate.engine = TlsEngine(self._contexts[remote.tls_role], remote.tls_role, credentials)
        candidate.deadline = now + self._timers.client_hello
        if remote.tls_role is TlsRole.CLIENT:
            candidate.heard = True
            candidate.deadline = now + self._timers.handshake
            engine.start()
            outputs.append(ClientHello(candidate.connection, sent=True))
            outputs.append(SendOctets(candidate.connection, engine.take()))
        if candidate.early:
            early, candidate.early = candidate.early, b""
            self._hear(candidate, early, now, outputs)

    def _hear(
        self, candidate: _Candidate, octets: bytes | memoryview, now: float, outputs: list[Output]
    ) -> None:
        """Octets of a candidate: keep them before Configure, give them to TLS afterwards."""
        engine = candidate.engine
        if engine is None:
            candidate.early += bytes(octets)
            if len(candidate.early) > MAXIMUM_EARLY_OCTETS:
                self._drop(candidate, "too much before the start", outputs)
            return
        if not candidate.heard:
            candidate.heard = True
            candidate.deadline = now + self._timers.handshake
            outputs.append(ClientHello(candidate.connection, sent=False))
        try:
            plaintext = engine.feed(octets)
        except TlsPskError as error:
            self._flush(candidate.connection, engine, outputs)
            self._give_up(candidate, error.reason.value, outputs)
            return
        self._flush(candidate.connection, engine, outputs)
        if engine.ready:
            self._establish(candidate, now, outputs)
            self._take_plaintext(plaintext, now, outputs)

    def _establish(self, candidate: _Candidate, now: float, outputs: list[Output]) -> None:
        """The candidate is the peer: drop the others and all that only establishment needed."""
        del self._waiting[candidate.connection]
        self._connection, self._engine = candidate.connection, candidate.engine
        self._deframer = Deframer(MAXIMUM_PAYLOAD_WORDS)
        self.state = TerminationState.ESTABLISHED
        engine = candidate.engine
        if engine is None:
            outputs.append(Established(candidate.connection, candidate.peer))
        else:
            identity = engine.peer_identity
            if not identity and self._remote is not None and self._remote.credentials is not None:
                identity = self._remote.credentials.identity
            outputs.append(
                Established(candidate.connection, candidate.peer, engine.version, engine.cipher, identity)
            )
        self._forget_establishment(outputs)
        if engine is None and candidate.early:
            self._take_plaintext([candidate.early], now, outputs)

    def _forget_establishment(self, outputs: list[Output]) -> None:
        """Stop listening, drop candidates and the key, disarm every timer."""
        self._stop_listening(outputs)
        for other in list(self._waiting.values()):
            self._drop(other, "another connection is the peer's", outputs)
        self._candidates = None
        self._remote = None
        self._deadline = self._retry_at = None

    def _give_up(self, candidate: _Candidate, reason: str, outputs: list[Output]) -> None:
        """A candidate has failed the test. One that we called ourselves was the peer: then all is lost."""
        self._drop(candidate, reason, outputs)
        remote = self._remote
        if remote is None:
            return
        self._last_tls_failure = reason
        if remote.tcp_role is TcpRole.ACTIVE or (not self._listening and not self._waiting):
            self._fail(outputs)

    def _drop(self, candidate: _Candidate, reason: str, outputs: list[Output]) -> None:
        del self._waiting[candidate.connection]
        outputs.append(CandidateDropped(candidate.connection, candidate.peer, reason))
        outputs.append(CloseTcp(candidate.connection))

    def _make_room(self, outputs: list[Output]) -> None:
        """Drop a candidate of the host that has most of them, first a silent one, first an old one. A host, or in
        IPv6 a whole network, can only drive out itself, and the signalled one goes last."""
        signalled = self._remote.address.host if self._remote else ""
        share = Counter(_origin(candidate.peer.host) for candidate in self._waiting.values())
        victim = max(
            self._waiting.values(),
            key=lambda candidate: (
                share[_origin(candidate.peer.host)] if candidate.peer.host != signalled else 0,
                not candidate.heard,
                -candidate.connection,
            ),
        )
        self._drop(victim, "too many connections", outputs)

    def _time_over(self, outputs: list[Output]) -> None:
        """Nobody new is let in; candidates that are still being tried keep their own time."""
        self._deadline = None
        self._stop_listening(outputs)
        being_tried = [candidate for candidate in self._waiting.values() if candidate.engine is not None]
        if not being_tried:
            self._fail(outputs)

    def _fail(self, outputs: list[Output]) -> None:
        kind = FailureKind.TLS if self._last_tls_failure else FailureKind.TCP
        outputs.append(EstablishmentFailed(kind, self._last_tls_failure or "tcp-connect-timeout"))
        self._shut(outputs)

    # The established connection

    def _receive(self, octets: bytes | memoryview, now: float, outputs: list[Output]) -> None:
        engine = self._engine
        if engine is None:
            self._take_plaintext([bytes(octets)], now, outputs)
            return
        try:
            plaintext = engine.feed(octets)
        except TlsPskError as error:
            self._flush(self._connection, engine, outputs)
            self._end_connection(error.reason.value, outputs)
            return
        self._flush(self._connection, engine, outputs)
        self._take_plaintext(plaintext, now, outputs)

    def _take_plaintext(self, plaintext: list[bytes], now: float, outputs: list[Output]) -> None:
        """Cut the octets into messages."""
        deframer = self._deframer
        if deframer is None:
            return
        found = [content for chunk in plaintext for content in deframer.feed(chunk)]
        if self._backlog is not None:
            self._backlog.extend(found)
            return
        if found:
            outputs.append(BfcpReceived(found[0]))
        closed = self._engine is not None and self._engine.closed
        if len(found) > 1 or (found and closed):
            self._backlog = deque(found[1:])  # the end of the connection comes after its last message
        else:
            self._all_given(now, outputs, complete=bool(found))

    def _all_given(self, now: float, outputs: list[Output], *, complete: bool) -> None:
        """Nothing has been left but perhaps a part of a message. The time for the rest runs from its first octet."""
        deframer, engine = self._deframer, self._engine
        if deframer is None or not deframer.pending:
            self._deadline = None
        elif complete or self._deadline is None:
            self._deadline = now + self._timers.message
        if engine is not None and engine.closed:
            self._end_connection("closed-by-peer", outputs)

    def _end_connection(self, reason: str, outputs: list[Output]) -> None:
        outputs.append(ConnectionEnded(reason))
        self._shut(outputs)

    # Ends

    def _shut(self, outputs: list[Output]) -> None:
        """Close all there is and forget the key."""
        was_established = self.state is TerminationState.ESTABLISHED
        self.state = TerminationState.ENDED
        if was_established:
            if self._engine is not None:
                self._engine.close()
                self._flush(self._connection, self._engine, outputs, last=True)
            outputs.append(CloseTcp(self._connection))
        self._engine = self._deframer = self._backlog = None
        for candidate in self._waiting.values():
            outputs.append(CloseTcp(candidate.connection))
        self._candidates = None
        self._stop_listening(outputs)
        self._remote = None
        self._deadline = self._retry_at = None

    def _stop_listening(self, outputs: list[Output]) -> None:
        if self._listening:
            self._listening = False
            outputs.append(StopListening())

    def _flush(
        self, connection: int, engine: TlsEngine, outputs: list[Output], *, last: bool = False
    ) -> None:
        octets = engine.take()
        if octets:
            outputs.append(SendOctets(connection, octets, last))

    def _expect(self, *states: TerminationState) -> None:
        if self.state not in states:
            raise ValueError(f"not possible for a termination that is {self.state.value}")

    def _done(self, outputs: list[Output]) -> list[Output]:
        """Work out the next deadline after a change."""
        deadline = self._deadline
        if self._retry_at is not None and (deadline is None or self._retry_at < deadline):
            deadline = self._retry_at
        if self._candidates:
            for candidate in self._candidates.values():
                if candidate.deadline is not None and (deadline is None or candidate.deadline < deadline):
                    deadline = candidate.deadline
        self.deadline = deadline
        return outputs


def _origin(host: str) -> str | int:
    """What one subscriber has of addresses: one of IPv4, but every one of a /64 in IPv6."""
    return int(literal(host)) >> 64 if ":" in host else host


def _reason_of_end(engine: TlsEngine, reason: str) -> str:
    try:
        engine.end_of_stream()
    except TlsPskError as error:
        return error.reason.value if reason == "closed-by-peer" else reason
    return reason
