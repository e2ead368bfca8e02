"""Later exchanges: connection kept or new, keys, disabled and enabled again, hold, and what is refused."""

import dataclasses

import pytest

from mrf_protocols.sdp import (
    Address,
    AnswerPolicy,
    Attribute,
    BfcpProto,
    ClientMedia,
    Connection,
    ConnectionUse,
    Exchange,
    FloorStreams,
    KeyMgmt,
    MediaDescription,
    Origin,
    Party,
    RejectReason,
    SdpRejected,
    ServerMedia,
    SessionDescription,
    Setup,
    accept_answer,
    answer_bfcp,
    answer_kept,
    evaluate_offer,
    evaluate_reoffer,
    offer_bfcp,
    parse,
    reoffer,
    serialize,
    successor,
    without_stream,
)

UE = Address("192.0.2.7", 33002)
MRFP = Address("192.0.2.9", 7000)
INIT = KeyMgmt("mikey", b"\x01init")
AGAIN = KeyMgmt("mikey", b"\x01init again")
RESP = KeyMgmt("mikey", b"\x02resp")
SERVER = ServerMedia(MRFP, 4321, 1234, (FloorStreams(1, ("10",)),), (RESP,))
AUDIO = MediaDescription("audio", 33000, "RTP/AVP", ("0",))
POLICY = AnswerPolicy()
UE_ORIGIN = Origin.of("192.0.2.7", 100)


def offer(
    *keys: KeyMgmt,
    connection: ConnectionUse = ConnectionUse.NEW,
    version: int = 1,
    setup: Setup = Setup.ACTPASS,
    address: Address = UE,
) -> SessionDescription:
    origin = dataclasses.replace(UE_ORIGIN, version=version)
    local = ClientMedia(address, tuple(keys))
    return offer_bfcp(origin, local, setup=setup, connection=connection, others=(AUDIO,))


def first_exchange() -> Exchange:
    """A dial-in: the UE has offered, we have answered."""
    offered = offer(INIT)
    answered = answer_bfcp(offered, evaluate_offer(offered, POLICY), SERVER, Origin.of("192.0.2.9", 5))
    return Exchange(parse(serialize(answered)), parse(serialize(offered)))


LAST = first_exchange()


def refused(new: SessionDescription, last: Exchange = LAST, *, connected: bool = True) -> RejectReason:
    with pytest.raises(SdpRejected) as caught:
        evaluate_reoffer(new, last, POLICY, connected=connected)
    return caught.value.reason


def changed(new: SessionDescription, **changes: object) -> SessionDescription:
    """The BFCP section of an offer with other fields."""
    section = dataclasses.replace(new.media[1], **changes)  # type: ignore[arg-type] # one field each
    return dataclasses.replace(new, media=(new.media[0], section))


def without(new: SessionDescription, name: str) -> SessionDescription:
    return changed(new, attributes=tuple(each for each in new.media[1].attributes if each.name != name))


class TestKept:
    def test_existing_keeps_the_connection_and_says_so(self) -> None:
        new = offer(connection=ConnectionUse.EXISTING, version=2)
        agreed = evaluate_reoffer(new, LAST, POLICY, connected=True)
        assert agreed is not None
        assert (agreed.connection, agreed.tcp_opener, agreed.tls_client) == (
            ConnectionUse.EXISTING,
            None,
            None,
        )
        answered = answer_kept(new, agreed, LAST, {})
        assert answered.origin.version == LAST.own.origin.version + 1
        assert answered.origin.session_id == LAST.own.origin.session_id
        section = answered.media[1]
        assert section.value_of("connection") == "existing"
        assert section.value_of("key-mgmt") is None
        assert (section.port, section.value_of("userid")) == (LAST.own.media[1].port, "1234")
        assert answered.media[0].port == 0
        assert accept_answer(new, answered, ()).connection is ConnectionUse.EXISTING

    def test_the_same_key_again_is_no_new_key_and_our_part_is_repeated(self) -> None:
        new = offer(INIT, connection=ConnectionUse.EXISTING, version=2)
        agreed = evaluate_reoffer(new, LAST, POLICY, connected=True)
        assert agreed is not None
        answered = answer_kept(new, agreed, LAST, {})
        assert answered.media[1].value_of("key-mgmt") == LAST.own.media[1].value_of("key-mgmt")

    def test_an_m_section_that_did_not_change_asks_for_nothing_also_with_connection_new(self) -> None:
        new = dataclasses.replace(
            offer(INIT, version=2), connection=Connection("0.0.0.0"), attributes=(Attribute("inactive"),)
        )
        agreed = evaluate_reoffer(new, LAST, POLICY, connected=True)
        assert agreed is not None
        assert agreed.tcp_opener is None
        answered = answer_kept(new, agreed, LAST, {})
        assert answered == LAST.own  # nothing has changed on our side, nor the version

    @pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7"])
    def test_hold_in_the_m_section_asks_for_nothing_either(self, host: str) -> None:
        new = offer(INIT, version=2)
        attributes = (*new.media[1].attributes, Attribute("inactive"))
        new = changed(new, attributes=attributes, connections=(Connection(host),))
        agreed = evaluate_reoffer(new, LAST, POLICY, connected=True)
        assert agreed is not None
        assert answer_kept(new, agreed, LAST, {}) == LAST.own

    def test_who_does_not_know_the_connection_attribute_keeps_it(self) -> None:
        new = without(offer(version=2), "connection")
        agreed = evaluate_reoffer(new, LAST, POLICY, connected=True)
        assert agreed is not None
        assert agreed.connection is ConnectionUse.EXISTING

    @pytest.mark.parametrize("setup", list(Setup))
    def test_setup_and_address_mean_nothing_for_a_connection_that_stays(self, setup: Setup) -> None:
        new = offer(connection=ConnectionUse.EXISTING, version=2, setup=setup, address=Address("0.0.0.0", 9))
        agreed = evaluate_reoffer(new, LAST, POLICY, connected=True)
        assert agreed is not None
        assert agreed.tcp_opener is None
        assert accept_answer(new, answer_kept(new, agreed, LAST, {}), ()).tcp_opener is None


class TestRenewed:
    @pytest.mark.parametrize("connection", list(ConnectionUse))
    @pytest.mark.parametrize("connected", [True, False])
    def test_a_new_key_means_a_new_connection(self, connection: ConnectionUse, connected: bool) -> None:
        new = offer(AGAIN, connection=connection, version=2, address=Address("198.51.100.3", 4000))
        agreed = evaluate_reoffer(new, LAST, POLICY, connected=connected)
        assert agreed is not None
        assert (agreed.connection, agreed.key_mgmt) == (ConnectionUse.NEW, AGAIN)
        assert (agreed.tcp_opener, agreed.tls_client) == (Party.ANSWERER, Party.OFFERER)
        assert agreed.peer.address == ("198.51.100.3", 4000)
        answered = successor(LAST.own, answer_bfcp(new, agreed, SERVER, Origin.of("192.0.2.9", 99)))
        assert answered.origin.session_id == 5
        assert accept_answer(new, answered).connection is ConnectionUse.NEW

    @pytest.mark.parametrize("keys", [(), (INIT,)], ids=["no key", "the old key"])
    def test_a_new_connection_without_a_new_key_is_refused(self, keys: tuple[KeyMgmt, ...]) -> None:
        new = offer(*keys, version=2, address=Address("198.51.100.3", 4000))
        assert refused(new) is RejectReason.KEY_MGMT_MISSING

    @pytest.mark.parametrize("connection", list(ConnectionUse))
    def test_a_connection_that_is_lost_cannot_be_kept(self, connection: ConnectionUse) -> None:
        assert refused(offer(connection=connection), connected=False) is RejectReason.KEY_MGMT_MISSING

    def test_a_new_connection_that_is_held_back_is_refused(self) -> None:
        assert refused(offer(AGAIN, setup=Setup.HOLDCONN, version=2)) is RejectReason.SETUP_FORBIDDEN

    def test_who_moves_needs_a_new_key(self) -> None:
        new = dataclasses.replace(
            changed(offer(INIT, version=2), connections=()), connection=Connection("198.51.100.3")
        )
        assert refused(new) is RejectReason.KEY_MGMT_MISSING

    def test_without_tls_new_is_new_and_existing_existing(self) -> None:
        policy = AnswerPolicy(protos=(BfcpProto.TCP,))
        bare = dataclasses.replace(SERVER, key_mgmt=())

        def plain(connection: ConnectionUse, version: int) -> SessionDescription:
            origin = dataclasses.replace(UE_ORIGIN, version=version)
            return offer_bfcp(origin, ClientMedia(UE), connection=connection, proto=BfcpProto.TCP)

        first = plain(ConnectionUse.NEW, 1)
        own = answer_bfcp(first, evaluate_offer(first, policy), bare, Origin.of("192.0.2.9", 5))
        for connection in ConnectionUse:
            agreed = evaluate_reoffer(plain(connection, 2), Exchange(own, first), policy, connected=True)
            assert agreed is not None
            assert (agreed.connection, agreed.tls_client) == (connection, None)


class TestDisabled:
    def test_port_0_gives_the_stream_up_and_it_comes_back_with_a_new_key(self) -> None:
        gone = changed(offer(version=2), port=0, attributes=())
        assert evaluate_reoffer(gone, LAST, POLICY, connected=True) is None
        answered = without_stream(gone, LAST)
        assert [media.port for media in answered.media] == [0, 0]
        assert answered.origin.version == LAST.own.origin.version + 1
        last = Exchange(answered, gone)
        assert last.stream is None
        assert evaluate_reoffer(gone, last, POLICY, connected=False) is None
        back = offer(AGAIN, version=3)
        agreed = evaluate_reoffer(back, last, POLICY, connected=False)
        assert agreed is not None
        assert agreed.key_mgmt == AGAIN

    def test_removed_lines_and_other_transports_are_refused(self) -> None:
        assert refused(offer_bfcp(UE_ORIGIN, ClientMedia(UE, (AGAIN,)))) is RejectReason.MEDIA_MISMATCH
        assert refused(changed(offer(AGAIN), proto="UDP/BFCP")) is RejectReason.PROTO_UNSUPPORTED


class TestOurs:
    @pytest.mark.parametrize("connection", list(ConnectionUse))
    def test_our_new_offer_follows_our_answer(self, connection: ConnectionUse) -> None:
        local = dataclasses.replace(SERVER, key_mgmt=())
        made = reoffer(LAST.own, local, connection=connection)
        assert made.origin == dataclasses.replace(LAST.own.origin, version=LAST.own.origin.version + 1)
        assert [media.port for media in made.media] == [0, 7000]
        assert made.media[1].value_of("setup") == "actpass"
        assert made.media[1].value_of("connection") == connection.value
        assert made.media[1].value_of("key-mgmt") is None

    def test_a_session_without_bfcp_has_nothing_to_offer(self) -> None:
        own = dataclasses.replace(LAST.own, media=LAST.own.media[:1])
        with pytest.raises(ValueError, match="never"):
            reoffer(own, SERVER, connection=ConnectionUse.NEW)
