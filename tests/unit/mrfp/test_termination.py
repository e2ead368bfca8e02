"""The termination machine with explicit time and a peer in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from mrf_protocols.bfcp import BfcpError, ErrorCode, FloorId, Message, Primitive, encode
from mrf_protocols.tls_psk import (
    PskCredentials,
    TlsEngine,
    TlsFailure,
    TlsPolicy,
    TlsPskError,
    TlsRole,
    make_context,
)
from mrfp_agent.ports import Address
from mrfp_agent.termination import Termination
from mrfp_agent.termination_values import (
    BfcpReceived,
    CandidateDropped,
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
    TerminationState,
    TerminationTimers,
    Transport,
)

KEY, OTHER_KEY = bytes(range(16)), bytes(range(16, 32))
IDENTITY = "55667788.1"
PEER, STRANGER = Address("192.0.2.7", 4000), Address("198.51.100.66", 6666)
CONTEXTS = {role: make_context(role, TlsPolicy()) for role in TlsRole}
TIMERS = TerminationTimers(tcp_connect=30, tcp_retry=1, client_hello=20, handshake=5, message=4)
OPPOSITE = {TlsRole.CLIENT: TlsRole.SERVER, TlsRole.SERVER: TlsRole.CLIENT}
REQUEST = encode(Message(Primitive.FLOOR_REQUEST, 1, 7, 3, (FloorId(1),)))


def remote_end(tcp: TcpRole, tls: TlsRole | None, address: Address = PEER) -> RemoteEnd:
    credentials = PskCredentials(IDENTITY, KEY) if tls else None
    return RemoteEnd(address, tcp, tls, credentials)


@dataclass
class Far:
    """The other end of one connection to a termination under test."""

    termination: Termination
    connection: int
    engine: TlsEngine | None = None
    closed: bool = False
    failure: TlsFailure | None = None
    said: list[Output] = field(default_factory=list)
    plaintext: list[bytes] = field(default_factory=list)

    def take_in(self, outputs: Iterable[Output], now: float) -> None:
        """Play the network for the outputs of the termination, and the driver who takes all that it has to give."""
        self._play(outputs, now)
        while self.termination.has_more:
            self._play(self.termination.proceed(now), now)

    def _play(self, outputs: Iterable[Output], now: float) -> None:
        for output in outputs:
            self.said.append(output)
            if isinstance(output, CloseTcp) and output.connection == self.connection:
                self.closed = True
            if isinstance(output, SendOctets) and output.connection == self.connection:
                self._hear(output.octets, now)

    def _hear(self, octets: bytes, now: float) -> None:
        if self.engine is None:
            self.plaintext.append(octets)
            return
        try:
            self.plaintext += self.engine.feed(octets)
        except TlsPskError as error:
            self.failure = error.reason
        answer = self.engine.take()
        if answer:
            self.take_in(self.termination.octets_received(self.connection, answer, now), now)

    def start(self, now: float) -> None:
        assert self.engine is not None
        self.engine.start()
        self.say_octets(self.engine.take(), now)

    def say_octets(self, octets: bytes, now: float) -> None:
        self.take_in(self.termination.octets_received(self.connection, octets, now), now)

    def say(self, plaintext: bytes, now: float) -> None:
        octets = plaintext
        if self.engine is not None:
            self.engine.write(plaintext)
            octets = self.engine.take()
        self.say_octets(octets, now)

    def told(self, kind: type[Output]) -> list[Output]:
        return [output for output in self.said if isinstance(output, kind)]


def arrive(
    termination: Termination,
    tls: TlsRole | None,
    now: float,
    *,
    key: bytes = KEY,
    peer: Address = PEER,
    identity: str = IDENTITY,
) -> Far:
    """Somebody connects to the termination; `tls` is his own TLS role."""
    far = Far(termination, termination.new_connection())
    if tls is not None:
        far.engine = TlsEngine(CONTEXTS[tls], tls, PskCredentials(identity, key))
    far.take_in(termination.accepted(far.connection, peer, now), now)
    return far


def new_termination(transport: Transport = Transport.TCP_TLS_BFCP, candidates: int = 3) -> Termination:
    return Termination(transport, TIMERS, CONTEXTS, maximum_candidates=candidates)


def state_of(termination: Termination) -> TerminationState:
    return termination.state


def kinds(outputs: Iterable[Output]) -> list[type[Output]]:
    return [type(output) for output in outputs]


@pytest.mark.parametrize("tls", list(TlsRole))
@pytest.mark.parametrize("tcp", list(TcpRole))
@pytest.mark.parametrize("reserved", [False, True], ids=["configured", "reserved"])
def test_the_connection_comes_up_in_every_combination_of_roles(
    tls: TlsRole, tcp: TcpRole, reserved: bool
) -> None:
    termination = new_termination()
    if reserved:
        assert termination.reserve() == [StartListening()]
    outputs = termination.configure(remote_end(tcp, tls), now=100)
    if tcp is TcpRole.ACTIVE:
        (connect,) = [output for output in outputs if isinstance(output, Connect)]
        assert connect.remote == PEER
        far = Far(termination, connect.connection)
        far.engine = TlsEngine(CONTEXTS[OPPOSITE[tls]], OPPOSITE[tls], PskCredentials(IDENTITY, KEY))
        far.take_in(termination.connected(connect.connection, 101), 101)
    else:
        assert outputs == ([] if reserved else [StartListening()])
        far = arrive(termination, OPPOSITE[tls], 101)
    if tls is TlsRole.SERVER:
        far.start(102)
    assert state_of(termination) is TerminationState.ESTABLISHED
    (established,) = far.told(Established)
    assert isinstance(established, Established)
    assert (established.tls_version, established.psk_identity) == ("TLSv1.3", IDENTITY)
    assert termination.deadline is None
    far.say(REQUEST, 103)
    (received,) = far.told(BfcpReceived)
    assert isinstance(received, BfcpReceived)
    assert isinstance(received.content, Message)
    assert received.content.user_id == 3
    far.take_in(termination.send(REQUEST), 104)
    assert far.plaintext == [REQUEST]


def test_plain_bfcp_is_taken_from_the_signalled_address_only() -> None:
    termination = new_termination(Transport.TCP_BFCP)
    termination.configure(remote_end(TcpRole.PASSIVE, None), now=0)
    stranger = arrive(termination, None, 1, peer=STRANGER)
    assert stranger.closed
    assert state_of(termination) is TerminationState.ESTABLISHING
    peer = arrive(termination, None, 2, peer=Address(PEER.host, 5555))
    assert state_of(termination) is TerminationState.ESTABLISHED
    peer.say(REQUEST, 3)
    assert len(peer.told(BfcpReceived)) == 1


def test_early_octets_of_a_reserved_plain_termination_are_not_lost() -> None:
    termination = new_termination(Transport.TCP_BFCP)
    termination.reserve()
    far = arrive(termination, None, 1)
    far.say(REQUEST, 1)
    assert not far.told(BfcpReceived)
    far.take_in(termination.configure(remote_end(TcpRole.PASSIVE, None), now=2), 2)
    assert len(far.told(BfcpReceived)) == 1


def test_no_client_hello_before_configure() -> None:
    termination = new_termination()
    termination.reserve()
    far = arrive(termination, TlsRole.SERVER, 1)
    assert not far.told(SendOctets)
    assert termination.tick(1000) == []
    assert not far.closed
    far.take_in(termination.configure(remote_end(TcpRole.PASSIVE, TlsRole.CLIENT), now=1001), 1001)
    assert state_of(termination) is TerminationState.ESTABLISHED


def test_a_client_hello_that_comes_before_configure_is_kept() -> None:
    termination = new_termination()
    termination.reserve()
    far = arrive(termination, TlsRole.CLIENT, 1)
    far.start(1)
    far.take_in(termination.configure(remote_end(TcpRole.PASSIVE, TlsRole.SERVER), now=2), 2)
    assert state_of(termination) is TerminationState.ESTABLISHED


def test_a_flood_before_configure_is_dropped() -> None:
    termination = new_termination()
    termination.reserve()
    far = arrive(termination, None, 1)
    far.say_octets(bytes(4096), 1)
    assert not far.closed
    far.say_octets(b"x", 1)
    assert far.closed


@pytest.mark.parametrize("tls", list(TlsRole))
def test_a_silent_stranger_who_is_first_keeps_nobody_out_and_does_not_get_in(tls: TlsRole) -> None:
    termination = new_termination()
    termination.configure(remote_end(TcpRole.PASSIVE, tls), now=0)
    stranger = arrive(termination, None, 1, peer=STRANGER)
    peer = arrive(termination, OPPOSITE[tls], 2)
    if tls is TlsRole.SERVER:
        peer.start(2)
    assert state_of(termination) is TerminationState.ESTABLISHED
    assert CloseTcp(stranger.connection) in peer.said
    assert StopListening() in peer.said
    late = arrive(termination, None, 3)
    assert late.closed


def test_a_stranger_with_a_wrong_key_does_not_end_the_termination() -> None:
    termination = new_termination()
    termination.configure(remote_end(TcpRole.PASSIVE, TlsRole.SERVER), now=0)
    stranger = arrive(termination, TlsRole.CLIENT, 1, key=OTHER_KEY, peer=STRANGER)
    stranger.start(1)
    assert stranger.failure is TlsFailure.WRONG_KEY
    assert stranger.closed
    assert state_of(termination) is TerminationState.ESTABLISHING
    peer = arrive(termination, TlsRole.CLIENT, 2)
    peer.start(2)
    assert state_of(termination) is TerminationState.ESTABLISHED


def test_a_crowd_of_strangers_only_drives_out_itself() -> None:
    termination = new_termination(candidates=3)
    termination.reserve()
    peer = arrive(termination, TlsRole.SERVER, 1)
    crowd = [arrive(termination, None, 2, peer=STRANGER) for _ in range(20)]
    dropped = [output for far in crowd for output in far.told(CandidateDropped)]
    assert len(dropped) == 18
    assert {output.peer for output in dropped if isinstance(output, CandidateDropped)} == {STRANGER}
    peer.take_in(termination.configure(remote_end(TcpRole.PASSIVE, TlsRole.CLIENT), now=3), 3)
    assert state_of(termination) is TerminationState.ESTABLISHED


def test_a_crowd_from_one_network_only_drives_out_itself() -> None:
    termination = new_termination(candidates=3)
    termination.reserve()
    peer = Address("2001:db8:1::7", 4000)
    arrived = termination.new_connection()
    termination.accepted(arrived, peer, 1)
    dropped: list[Output] = []
    for number in range(1, 30):  # one subscriber has 2^64 addresses
        stranger = Address(f"2001:db8:bad::{number:x}", 6666)
        dropped += termination.accepted(termination.new_connection(), stranger, 2)
    assert CloseTcp(arrived) not in dropped
    assert sum(isinstance(output, CandidateDropped) for output in dropped) == 27


def test_nobody_comes() -> None:
    termination = new_termination()
    termination.configure(remote_end(TcpRole.PASSIVE, TlsRole.SERVER), now=0)
    assert termination.deadline == 30
    assert termination.tick(29.9) == []
    outputs = termination.tick(30)
    assert outputs == [StopListening(), EstablishmentFailed(FailureKind.TCP, "tcp-connect-timeout")]
    assert termination.deadline is None
    assert state_of(termination) is TerminationState.ENDED


def test_the_peer_refuses_and_the_attempt_is_repeated_until_the_time_is_over() -> None:
    termination = new_termination()
    outputs = termination.configure(remote_end(TcpRole.ACTIVE, TlsRole.SERVER), now=0)
    attempts, now = 0, 0.0
    while True:
        for output in outputs:
            if isinstance(output, Connect):
                attempts += 1
                termination.connect_failed(output.connection, now)
        if termination.deadline is None:
            break
        now = termination.deadline
        outputs = termination.tick(now)
    assert attempts == 30
    assert outputs == [EstablishmentFailed(FailureKind.TCP, "tcp-connect-timeout")]


def test_an_attempt_that_hangs_is_closed_at_the_end() -> None:
    termination = new_termination()
    (connect,) = termination.configure(remote_end(TcpRole.ACTIVE, TlsRole.SERVER), now=0)
    assert isinstance(connect, Connect)
    assert termination.tick(30) == [
        EstablishmentFailed(FailureKind.TCP, "tcp-connect-timeout"),
        CloseTcp(connect.connection),
    ]
    assert termination.connected(connect.connection, 31) == [CloseTcp(connect.connection)]


@pytest.mark.parametrize(
    ("octets", "reason", "after"),
    [
        (b"", "client-hello-timeout", 20),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "handshake-timeout", 5),
    ],
)
def test_a_peer_that_stops_within_the_handshake_is_a_tls_failure(
    octets: bytes, reason: str, after: float
) -> None:
    termination = new_termination()
    (connect,) = termination.configure(remote_end(TcpRole.ACTIVE, TlsRole.SERVER), now=0)
    assert isinstance(connect, Connect)
    termination.connected(connect.connection, 1)
    if octets:
        termination.octets_received(connect.connection, octets, 1)
    assert termination.tick(0.9 + after) == []
    outputs = termination.tick(1 + after)
    assert EstablishmentFailed(FailureKind.TLS, reason) in outputs
    assert CloseTcp(connect.connection) in outputs
    assert termination.deadline is None


def test_a_passive_termination_reports_the_last_tls_failure_when_its_time_is_over() -> None:
    termination = new_termination()
    termination.configure(remote_end(TcpRole.PASSIVE, TlsRole.SERVER), now=0)
    far = arrive(termination, None, 25)
    assert kinds(termination.tick(30)) == [StopListening]
    outputs = termination.tick(45)
    assert EstablishmentFailed(FailureKind.TLS, "client-hello-timeout") in outputs
    assert CloseTcp(far.connection) in outputs


@pytest.mark.parametrize(
    ("key", "identity", "reason"),
    [
        (OTHER_KEY, IDENTITY, "wrong-psk"),
        (KEY, "55667788.2", "unknown-psk-identity"),
    ],
)
def test_a_wrong_key_or_identity_on_a_connection_of_ours_fails_at_once(
    key: bytes, identity: str, reason: str
) -> None:
    termination = new_termination()
    (connect,) = termination.configure(remote_end(TcpRole.ACTIVE, TlsRole.SERVER), now=0)
    assert isinstance(connect, Connect)
    termination.connected(connect.connection, 1)
    engine = TlsEngine(CONTEXTS[TlsRole.CLIENT], TlsRole.CLIENT, PskCredentials(identity, key))
    engine.start()
    outputs = termination.octets_received(connect.connection, engine.take(), 1)
    assert EstablishmentFailed(FailureKind.TLS, reason) in outputs
    assert SendOctets in kinds(outputs)  # the alert
    assert state_of(termination) is TerminationState.ENDED


def established(tls: TlsRole | None = TlsRole.SERVER) -> Far:
    termination = new_termination(Transport.TCP_TLS_BFCP if tls else Transport.TCP_BFCP)
    termination.configure(remote_end(TcpRole.PASSIVE, tls), now=0)
    far = arrive(termination, OPPOSITE[tls] if tls else None, 1)
    if tls is TlsRole.SERVER:
        far.start(1)
    assert state_of(termination) is TerminationState.ESTABLISHED
    far.said.clear()
    return far


@pytest.mark.parametrize("tls", [TlsRole.SERVER, None], ids=["tls", "plain"])
def test_half_a_message_and_silence_ends_the_connection(tls: TlsRole | None) -> None:
    far = established(tls)
    far.say(REQUEST[:7], 10)
    assert far.termination.deadline == 14
    far.say(REQUEST[7:9], 13)
    assert far.termination.deadline == 14, "trickling does not prolong"
    far.take_in(far.termination.tick(14), 14)
    assert far.told(ConnectionEnded) == [ConnectionEnded("unfinished-message-timeout")]
    assert far.closed


def test_a_message_in_pieces_disarms_the_timer_when_complete() -> None:
    far = established()
    for octet in REQUEST:
        far.say(bytes((octet,)), 10)
    assert far.termination.deadline is None
    assert len(far.told(BfcpReceived)) == 1
    far.say(REQUEST * 3 + REQUEST[:1], 11)
    assert len(far.told(BfcpReceived)) == 4
    assert far.termination.deadline == 15


@pytest.mark.parametrize("tls", [TlsRole.SERVER, None], ids=["tls", "plain"])
def test_messages_that_come_together_are_given_one_by_one_in_their_order(tls: TlsRole | None) -> None:
    far, now = established(tls), 10.0
    termination, given = far.termination, list[int]()

    def octets(*transactions: int, rest: bytes = b"") -> bytes:
        messages = [Message(Primitive.FLOOR_REQUEST, 1, number, 3, (FloorId(1),)) for number in transactions]
        plaintext = b"".join(map(encode, messages)) + rest
        if far.engine is None:
            return plaintext
        far.engine.write(plaintext)
        return far.engine.take()

    def take(outputs: list[Output]) -> None:
        contents = [output.content for output in outputs if isinstance(output, BfcpReceived)]
        assert len(contents) <= 1
        given.extend(content.transaction_id for content in contents if isinstance(content, Message))

    take(termination.octets_received(far.connection, octets(1, 2, 3), now))
    assert given == [1]
    take(termination.octets_received(far.connection, octets(4, rest=REQUEST[:5]), now))
    assert termination.deadline is None, "who waits for its turn is not late"
    while termination.has_more:
        take(termination.proceed(now + 20))
    assert given == [1, 2, 3, 4]
    assert termination.deadline == now + 24, "the rest of the fifth has its time from now on"
    take(termination.proceed(now + 20))
    assert given == [1, 2, 3, 4]


def test_what_was_said_before_a_good_bye_in_one_segment_is_heard() -> None:
    far = established()
    assert far.engine is not None
    far.engine.write(REQUEST)
    far.engine.close()
    termination, seen = far.termination, list[tuple[type[Output], TerminationState]]()
    outputs = termination.octets_received(far.connection, far.engine.take(), 10)
    seen += [(type(output), state_of(termination)) for output in outputs]
    while termination.has_more:
        outputs = termination.proceed(10)
        seen += [(type(output), state_of(termination)) for output in outputs]
    assert seen[0] == (BfcpReceived, TerminationState.ESTABLISHED), "who is gone has nothing to say"
    assert (ConnectionEnded, TerminationState.ENDED) in seen[1:]


@pytest.mark.parametrize("how", ["release", "end", "reset"])
def test_nothing_is_given_of_a_connection_that_has_ended_meanwhile(how: str) -> None:
    far = established(None)
    termination = far.termination
    termination.octets_received(far.connection, REQUEST * 3, 10)
    assert termination.has_more
    if how == "release":
        termination.release()
    elif how == "end":
        termination.end("enough")
    else:
        termination.connection_lost(far.connection, "connection-reset-by-peer")
    assert not termination.has_more
    assert termination.proceed(10) == []
    assert termination.deadline is None


def test_a_length_that_lies_is_reported_for_an_answer_and_nothing_is_read_after_it() -> None:
    far = established()
    far.say(REQUEST[:2] + b"\xff\xff" + REQUEST[4:], 10)
    (received,) = far.told(BfcpReceived)
    assert isinstance(received, BfcpReceived)
    assert isinstance(received.content, BfcpError)
    assert received.content.fatal
    assert received.content.code is ErrorCode.INCORRECT_MESSAGE_LENGTH
    far.say(REQUEST, 11)
    assert len(far.told(BfcpReceived)) == 1


@pytest.mark.parametrize("tls", [TlsRole.SERVER, None], ids=["tls", "plain"])
def test_the_end_of_the_connection_is_reported_once(tls: TlsRole | None) -> None:
    far = established(tls)
    if far.engine is not None:
        far.engine.close()
        far.say_octets(far.engine.take(), 5)
    far.take_in(far.termination.connection_lost(far.connection, "closed-by-peer"), 5)
    assert far.told(ConnectionEnded) == [ConnectionEnded("closed-by-peer")]
    assert state_of(far.termination) is TerminationState.ENDED


def test_a_connection_cut_without_close_notify_is_told_as_such() -> None:
    far = established()
    far.take_in(far.termination.connection_lost(far.connection, "closed-by-peer"), 5)
    assert far.told(ConnectionEnded) == [ConnectionEnded("closed-without-close-notify")]


@pytest.mark.parametrize("moment", ["reserved", "waiting", "handshake", "established", "connecting", "ended"])
def test_release_closes_everything_at_any_moment(moment: str) -> None:
    termination = new_termination()
    opened, closed = 0, 0
    if moment == "reserved":
        termination.reserve()
        arrive(termination, None, 0)
        opened = 1
    elif moment == "connecting":
        termination.configure(remote_end(TcpRole.ACTIVE, TlsRole.SERVER), now=0)
        opened = 1
    elif moment == "ended":
        termination.configure(remote_end(TcpRole.PASSIVE, TlsRole.SERVER), now=0)
        termination.tick(100)
    else:
        termination.configure(remote_end(TcpRole.PASSIVE, TlsRole.SERVER), now=0)
        if moment == "handshake":
            arrive(termination, None, 0)
            opened = 1
        elif moment == "established":
            arrive(termination, TlsRole.CLIENT, 0).start(0)
            opened = 1
    outputs = termination.release()
    closed = sum(isinstance(output, CloseTcp) for output in outputs)
    assert closed == opened
    assert (StopListening() in outputs) == (moment in {"reserved", "waiting", "handshake"})
    assert termination.deadline is None
    assert termination.release() == []
    assert termination.accepted(99, PEER, 1) == [CloseTcp(99)]


def test_credentials_must_fit_the_transport() -> None:
    for transport, tls in ((Transport.TCP_BFCP, TlsRole.SERVER), (Transport.TCP_TLS_BFCP, None)):
        with pytest.raises(ValueError, match="TCP/TLS/BFCP"):
            new_termination(transport).configure(remote_end(TcpRole.PASSIVE, tls), now=0)


def test_a_termination_is_configured_only_once() -> None:
    far = established()
    with pytest.raises(ValueError, match="established"):
        far.termination.configure(remote_end(TcpRole.PASSIVE, TlsRole.SERVER), now=2)
    with pytest.raises(ValueError, match="established"):
        far.termination.reserve()


def test_sending_without_a_connection_is_nothing() -> None:
    termination = new_termination()
    assert termination.send(REQUEST) == []
