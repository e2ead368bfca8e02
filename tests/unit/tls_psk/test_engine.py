"""TLS engine pairs in memory: what is let in, and above all what is not."""

import gc
import ssl
import weakref

import pytest

from mrf_protocols.tls_psk import (
    PskCredentials,
    TlsEngine,
    TlsFailure,
    TlsPolicy,
    TlsPskError,
    TlsRole,
    make_context,
)

KEY = bytes(range(16))
OTHER_KEY = bytes(range(16, 32))
TLS13 = TlsPolicy(ecdhe_psk=False, plain_psk=False)
TLS12_ECDHE = TlsPolicy(tls13=False, plain_psk=False)
TLS12_PLAIN = TlsPolicy(tls13=False, ecdhe_psk=False)
POLICIES = pytest.mark.parametrize(
    "policy", [TLS13, TLS12_ECDHE, TLS12_PLAIN], ids=["1.3", "1.2 ecdhe", "1.2 plain"]
)


def client_engine(policy: TlsPolicy, identity: str = "55667788.1", key: bytes = KEY) -> TlsEngine:
    context = make_context(TlsRole.CLIENT, policy)
    return TlsEngine(context, TlsRole.CLIENT, PskCredentials(identity, key))


def server_engine(policy: TlsPolicy, any_identity: bool = False) -> TlsEngine:
    credentials = PskCredentials("55667788.1", KEY, accept_any_identity=any_identity)
    return TlsEngine(make_context(TlsRole.SERVER, policy), TlsRole.SERVER, credentials)


def shuttle(client: TlsEngine, server: TlsEngine) -> None:
    """Carry octets both ways until both are quiet."""
    client.start()
    while True:
        to_server = client.take()
        if to_server:
            server.feed(to_server)
        to_client = server.take()
        if to_client:
            client.feed(to_client)
        if not to_server and not to_client:
            return


def reason_of(client: TlsEngine, server: TlsEngine) -> TlsFailure:
    with pytest.raises(TlsPskError) as caught:
        shuttle(client, server)
    return caught.value.reason


@POLICIES
def test_both_ends_with_the_key_are_ready_and_exchange_plaintext(policy: TlsPolicy) -> None:
    client, server = client_engine(policy), server_engine(policy)
    shuttle(client, server)
    assert client.ready
    assert server.ready
    assert client.version == server.version == ("TLSv1.3" if policy.tls13 else "TLSv1.2")
    assert client.cipher == server.cipher
    assert server.peer_identity == "55667788.1"
    client.write(b"FloorRequest")
    assert server.feed(client.take()) == [b"FloorRequest"]
    server.write(b"FloorRequestStatus")
    assert client.feed(server.take()) == [b"FloorRequestStatus"]


def test_the_default_policy_prefers_tls13_and_forward_secrecy_over_plain_suites() -> None:
    client, server = client_engine(TlsPolicy()), server_engine(TlsPolicy())
    shuttle(client, server)
    assert client.version == "TLSv1.3"
    older, server = client_engine(TlsPolicy(tls13=False)), server_engine(TlsPolicy())
    shuttle(older, server)
    assert server.cipher.startswith("ECDHE-PSK")


@pytest.mark.parametrize(
    "suite", ["PSK-AES128-CBC-SHA", "PSK-AES256-CBC-SHA", "PSK-AES128-GCM-SHA256", "PSK-AES256-CBC-SHA384"]
)
def test_every_plain_suite_of_rfc_4279_and_5487_is_taken_when_switched_on(suite: str) -> None:
    context = make_context(TlsRole.CLIENT, TLS12_PLAIN)
    context.set_ciphers(f"{suite}:@SECLEVEL=2")
    client = TlsEngine(context, TlsRole.CLIENT, PskCredentials("55667788.1", KEY))
    server = server_engine(TlsPolicy())
    shuttle(client, server)
    assert server.cipher == suite


def test_a_policy_without_plain_suites_refuses_them() -> None:
    assert reason_of(client_engine(TLS12_PLAIN), server_engine(TlsPolicy(plain_psk=False))) is (
        TlsFailure.NO_COMMON_PARAMETERS
    )


@pytest.mark.parametrize(
    "suite", ["PSK-NULL-SHA256:@SECLEVEL=0", "PSK-AES128-CCM8", "DHE-PSK-AES128-GCM-SHA256"]
)
def test_a_client_with_a_weak_or_costly_suite_is_refused(suite: str) -> None:
    context = make_context(TlsRole.CLIENT, TLS12_PLAIN)
    context.set_ciphers(suite)
    client = TlsEngine(context, TlsRole.CLIENT, PskCredentials("55667788.1", KEY))
    assert reason_of(client, server_engine(TlsPolicy())) is TlsFailure.NO_COMMON_PARAMETERS


def test_a_policy_that_allows_nothing_is_a_fault() -> None:
    with pytest.raises(TlsPskError):
        make_context(TlsRole.SERVER, TlsPolicy(tls13=False, ecdhe_psk=False, plain_psk=False))


@POLICIES
def test_a_wrong_key_is_refused_and_both_ends_know_why(policy: TlsPolicy) -> None:
    client, server = client_engine(policy, key=OTHER_KEY), server_engine(policy)
    assert reason_of(client, server) is TlsFailure.WRONG_KEY
    assert not server.ready
    with pytest.raises(TlsPskError) as caught:
        client.feed(server.take())
    assert caught.value.reason is TlsFailure.WRONG_KEY


@POLICIES
def test_a_wrong_identity_with_the_right_key_is_refused(policy: TlsPolicy) -> None:
    client, server = client_engine(policy, identity="55667788.2"), server_engine(policy)
    assert reason_of(client, server) is TlsFailure.UNKNOWN_IDENTITY
    assert server.take()  # the alert
    assert not server.ready


@POLICIES
def test_any_identity_is_taken_when_allowed_but_never_without_the_key(policy: TlsPolicy) -> None:
    client, server = (
        client_engine(policy, identity="of another habit"),
        server_engine(policy, any_identity=True),
    )
    shuttle(client, server)
    assert server.ready
    assert server.peer_identity == "of another habit"
    thief, server = (
        client_engine(policy, "of another habit", OTHER_KEY),
        server_engine(policy, any_identity=True),
    )
    assert reason_of(thief, server) is TlsFailure.WRONG_KEY


@POLICIES
def test_an_identity_that_is_not_utf8_is_refused_without_a_crash(policy: TlsPolicy) -> None:
    client, server = client_engine(policy, identity="\u00fe\u00feabcdef"), server_engine(policy)
    client.start()
    mark, bad = "\u00fe\u00feabcdef".encode(), b"\xff\xff\xff\xffabcdef"

    def talk() -> None:
        for _ in range(3):
            server.feed(client.take().replace(mark, bad))
            client.feed(server.take())

    with pytest.raises(TlsPskError) as caught:
        talk()
    # TLS 1.3 binders cover the identity, so there the order of the checks decides which reason is seen.
    assert caught.value.reason in {TlsFailure.UNKNOWN_IDENTITY, TlsFailure.WRONG_KEY}
    assert not server.ready


@POLICIES
def test_a_session_of_one_termination_does_not_open_another(policy: TlsPolicy) -> None:
    """Attack: resume the session of a termination whose key is known on one whose key is not."""
    server_context = make_context(TlsRole.SERVER, policy)
    client_context = make_context(TlsRole.CLIENT, policy)
    server_context.options &= ~ssl.OP_NO_TICKET  # even when the first line of defence is gone
    client, server = (
        TlsEngine(client_context, TlsRole.CLIENT, PskCredentials("a.1", KEY)),
        TlsEngine(server_context, TlsRole.SERVER, PskCredentials("a.1", KEY)),
    )
    shuttle(client, server)
    session = client._connection.session
    client.close()
    server.feed(client.take())
    server.close()
    assert server_context.session_stats()["number"] == 0
    thief = TlsEngine(client_context, TlsRole.CLIENT, PskCredentials("b.1", OTHER_KEY))
    if session is not None:
        thief._connection.session = session
    victim = TlsEngine(server_context, TlsRole.SERVER, PskCredentials("b.1", KEY))
    reason_of(thief, victim)
    assert not victim.ready


def test_a_handshake_in_which_the_key_was_never_asked_for_is_refused() -> None:
    """The last line of defence, by itself: session cache on, tickets on, a resumed TLS 1.2 session."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client_context = make_context(TlsRole.CLIENT, TLS12_PLAIN)
    client_context.options &= ~ssl.OP_NO_TICKET
    server_context.set_ciphers(TLS12_PLAIN.cipher_list())
    server_context.maximum_version = ssl.TLSVersion.TLSv1_2
    if hasattr(server_context, "set_psk_server_callback"):
        from mrf_protocols.tls_psk import openssl

        openssl.prepare_context(server_context, True)

    def pair(key: bytes) -> tuple[TlsEngine, TlsEngine]:
        return (
            TlsEngine(client_context, TlsRole.CLIENT, PskCredentials("a.1", key)),
            TlsEngine(server_context, TlsRole.SERVER, PskCredentials("a.1", KEY)),
        )

    client, server = pair(KEY)
    shuttle(client, server)
    session = client._connection.session
    assert session is not None
    thief, victim = pair(OTHER_KEY)
    thief._connection.session = session
    assert reason_of(thief, victim) is TlsFailure.PEER_NOT_PSK
    assert not victim.ready


@POLICIES
def test_a_server_with_a_certificate_instead_of_the_key_is_refused(
    policy: TlsPolicy, certificate: tuple[str, str]
) -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stranger.load_cert_chain(*certificate)
    to_stranger, from_stranger = ssl.MemoryBIO(), ssl.MemoryBIO()
    handshake = stranger.wrap_bio(to_stranger, from_stranger, server_side=True)
    client = client_engine(policy)
    client.start()

    def talk() -> None:
        for _ in range(4):
            to_stranger.write(client.take())
            try:
                handshake.do_handshake()
            except ssl.SSLWantReadError:
                client.feed(from_stranger.read())
            except ssl.SSLError:
                client.feed(from_stranger.read())
                return

    with pytest.raises(TlsPskError) as caught:
        talk()
    expected = TlsFailure.PEER_NOT_PSK if policy.tls13 else TlsFailure.NO_COMMON_PARAMETERS
    assert caught.value.reason is expected
    assert not client.ready


@pytest.mark.parametrize(
    "words", [b"GET / HTTP/1.1\r\n\r\n", b"\x20\x0b\x00\x00" * 4, b"\x16\x03\x01\xff\xff" + bytes(64)]
)
def test_a_peer_that_does_not_speak_tls_is_refused(words: bytes) -> None:
    server = server_engine(TlsPolicy())
    with pytest.raises(TlsPskError) as caught:
        server.feed(words)
    assert caught.value.reason in {TlsFailure.PROTOCOL, TlsFailure.NO_COMMON_PARAMETERS}


def test_two_clients_end_in_an_error() -> None:
    one, two = client_engine(TlsPolicy()), client_engine(TlsPolicy())
    one.start()
    two.start()
    with pytest.raises(TlsPskError) as caught:
        two.feed(one.take())
    assert caught.value.reason is TlsFailure.PROTOCOL


@POLICIES
def test_records_may_come_octet_by_octet(policy: TlsPolicy) -> None:
    client, server = client_engine(policy), server_engine(policy)
    client.start()
    received: list[bytes] = []
    for _ in range(4):
        for octet in client.take():
            received += server.feed(bytes((octet,)))
        for octet in server.take():
            client.feed(bytes((octet,)))
    client.write(b"whole")
    for octet in client.take():
        received += server.feed(bytes((octet,)))
    assert b"".join(received) == b"whole"


@POLICIES
def test_a_changed_octet_in_a_record_is_an_error(policy: TlsPolicy) -> None:
    client, server = client_engine(policy), server_engine(policy)
    shuttle(client, server)
    client.write(b"FloorRequest")
    record = bytearray(client.take())
    record[-1] ^= 1
    with pytest.raises(TlsPskError) as caught:
        server.feed(record)
    assert caught.value.reason is TlsFailure.WRONG_KEY


@POLICIES
def test_close_notify_tells_an_end_from_a_truncation(policy: TlsPolicy) -> None:
    client, server = client_engine(policy), server_engine(policy)
    shuttle(client, server)
    with pytest.raises(TlsPskError) as caught:
        server.end_of_stream()
    assert caught.value.reason is TlsFailure.TRUNCATED
    client, server = client_engine(policy), server_engine(policy)
    shuttle(client, server)
    client.close()
    server.feed(client.take())
    assert server.closed
    server.end_of_stream()


def test_the_end_of_tcp_within_the_handshake_has_its_own_reason() -> None:
    server = server_engine(TlsPolicy())
    with pytest.raises(TlsPskError) as caught:
        server.end_of_stream()
    assert caught.value.reason is TlsFailure.CLOSED_IN_HANDSHAKE


def test_nothing_can_be_written_before_the_handshake_is_complete() -> None:
    client = client_engine(TlsPolicy())
    client.start()
    client.take()
    with pytest.raises(TlsPskError):
        client.write(b"too early")
    assert client.take() == b""


def test_a_failed_engine_stays_failed() -> None:
    client, server = client_engine(TlsPolicy(), key=OTHER_KEY), server_engine(TlsPolicy())
    reason_of(client, server)
    with pytest.raises(TlsPskError):
        server.feed(b"\x16\x03\x01\x00\x00")
    assert not server.ready


def test_the_key_is_dropped_after_the_handshake() -> None:
    class WatchedCredentials(PskCredentials):
        pass

    credentials = WatchedCredentials("a.1", KEY)
    watched = weakref.ref(credentials)
    server = TlsEngine(make_context(TlsRole.SERVER, TLS13), TlsRole.SERVER, credentials)
    del credentials
    assert watched() is not None
    shuttle(client_engine(TLS13, "a.1"), server)
    gc.collect()
    assert server.ready
    assert watched() is None


def test_engines_that_are_dropped_in_the_middle_leave_nothing_behind() -> None:
    class WatchedCredentials(PskCredentials):
        pass

    credentials = WatchedCredentials("a.1", KEY)
    watched = weakref.ref(credentials)
    client = TlsEngine(make_context(TlsRole.CLIENT, TLS13), TlsRole.CLIENT, credentials)
    client.start()
    del client, credentials
    gc.collect()
    assert watched() is None


@pytest.mark.parametrize("identity", ["", "a\0b", "x" * 256, "\u00e9" * 128, "\ud800"])
def test_unusable_identities_are_refused_at_once(identity: str) -> None:
    with pytest.raises(TlsPskError) as caught:
        PskCredentials(identity, KEY)
    assert caught.value.reason is TlsFailure.BAD_CREDENTIALS


@pytest.mark.parametrize("length", [0, 15, 257])
def test_keys_of_a_bad_length_are_refused_and_not_shown(length: int) -> None:
    with pytest.raises(TlsPskError) as caught:
        PskCredentials("a.1", b"k" * length)
    assert caught.value.reason is TlsFailure.BAD_CREDENTIALS
    assert "kkk" not in str(caught.value)


def test_the_key_shows_in_no_repr() -> None:
    assert "k" * 16 not in repr(PskCredentials("a.1", b"k" * 16))


@POLICIES
def test_the_longest_identity_works(policy: TlsPolicy) -> None:
    identity = "x" * 255
    server = TlsEngine(make_context(TlsRole.SERVER, policy), TlsRole.SERVER, PskCredentials(identity, KEY))
    shuttle(client_engine(policy, identity), server)
    assert server.peer_identity == identity
