"""Offer/answer as MRFC and as UE: every rule with its own refusal."""

import dataclasses
import itertools

import pytest

from mrf_protocols.sdp import (
    Address,
    AnswerPolicy,
    Attribute,
    BfcpProto,
    ClientMedia,
    Connection,
    ConnectionUse,
    FloorControlRole,
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
    answer,
    answer_bfcp,
    evaluate_offer,
    find_bfcp,
    offer_bfcp,
    parse,
    serialize,
    successor,
)

UE = Address("192.0.2.7", 33002)
MRFP = Address("192.0.2.9", 7000)
INIT = KeyMgmt("mikey", b"\x01init")
RESP = KeyMgmt("mikey", b"\x02resp")
CLIENT = ClientMedia(UE, (INIT,))
SERVER = ServerMedia(MRFP, 4321, 1234, (FloorStreams(1, ("10",)), FloorStreams(2, ("11", "12"))), (RESP,))
UE_ORIGIN = Origin.of("192.0.2.7", 100)
MRFC_ORIGIN = Origin.of("192.0.2.8", 200, username="mrfc")
POLICY = AnswerPolicy()
AUDIO = MediaDescription("audio", 33000, "RTP/AVP", ("0", "8"), attributes=(Attribute("label", "10"),))


def secured_offer(
    *lines: str, c: str = "IN IP4 192.0.2.7", proto: str = "TCP/TLS/BFCP"
) -> SessionDescription:
    """An offer with exactly the attributes given."""
    head = f"v=0\r\no=- 1 2 IN IP4 192.0.2.7\r\ns=-\r\nc={c}\r\nt=5 6\r\nm=application 33002 {proto} *\r\n"
    return parse(head + "".join(f"a={line}\r\n" for line in lines))


KEY = "key-mgmt:mikey AWluaXQ="
USUAL = ("setup:actpass", "connection:new", "floorctrl:c-only", "bfcpver:1", KEY)


def rejected(
    offer: SessionDescription, policy: AnswerPolicy = POLICY, connected: bool = False
) -> RejectReason:
    with pytest.raises(SdpRejected) as caught:
        evaluate_offer(offer, policy, connected)
    return caught.value.reason


class TestAnswerer:
    def test_the_whole_answer(self) -> None:
        offer = parse(
            "v=0\r\no=alice 100 1 IN IP4 192.0.2.7\r\ns=Talk\r\nc=IN IP4 192.0.2.7\r\nt=5 6\r\nr=1d 1h 0\r\n"
            "m=audio 33000/2 RTP/AVP 0 8\r\na=label:10\r\na=rtpmap:0 PCMU/8000\r\n"
            "m=application 33002 TCP/TLS/BFCP *\r\na=setup:actpass\r\na=connection:new\r\n"
            "a=key-mgmt:mikey AWluaXQ=\r\na=floorctrl:c-only s-only\r\na=bfcpver:2 1\r\n"
            "m=video 0 RTP/AVP 31\r\n"
        )
        agreement = evaluate_offer(offer, POLICY)
        assert (agreement.peer.index, agreement.peer.address) == (1, UE)
        assert (agreement.setup, agreement.connection) == (Setup.ACTIVE, ConnectionUse.NEW)
        assert agreement.versions == (1,)
        assert agreement.floor_control_server is Party.ANSWERER
        assert (agreement.tcp_opener, agreement.tls_client) == (Party.ANSWERER, Party.OFFERER)
        assert agreement.key_mgmt == INIT
        assert serialize(answer_bfcp(offer, agreement, SERVER, MRFC_ORIGIN)) == (
            "v=0\r\no=mrfc 200 0 IN IP4 192.0.2.8\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=5 6\r\nr=1d 1h 0\r\n"
            "m=audio 0 RTP/AVP 0 8\r\n"
            "m=application 9 TCP/TLS/BFCP *\r\nc=IN IP4 192.0.2.9\r\na=setup:active\r\na=connection:new\r\n"
            "a=key-mgmt:mikey AnJlc3A=\r\na=floorctrl:s-only\r\na=confid:4321\r\na=userid:1234\r\n"
            "a=floorid:1 mstrm:10\r\na=floorid:2 mstrm:11 12\r\na=bfcpver:1\r\n"
            "m=video 0 RTP/AVP 31\r\n"
        )

    def test_passive_answer_says_where_it_listens(self) -> None:
        offer = secured_offer(*USUAL)
        agreement = evaluate_offer(offer, AnswerPolicy(setup=Setup.PASSIVE))
        assert (agreement.tcp_opener, agreement.tls_client) == (Party.OFFERER, Party.OFFERER)
        section = answer_bfcp(offer, agreement, SERVER, MRFC_ORIGIN).media[0]
        assert (section.port, section.value_of("setup")) == (7000, "passive")

    def test_answer_over_ipv6(self) -> None:
        offer = secured_offer(*USUAL, c="IN IP6 2001:db8::7")
        local = dataclasses.replace(SERVER, address=Address("2001:db8::9", 7000))
        section = answer_bfcp(offer, evaluate_offer(offer, POLICY), local, MRFC_ORIGIN).media[0]
        assert section.connections == (Connection("2001:db8::9", "IN", "IP6"),)

    def test_keys_are_answered_at_the_level_of_the_offer(self) -> None:
        text = serialize(secured_offer(*USUAL[:-1])).replace("m=", f"a={KEY}\r\nm=", 1)
        offer = parse(text)
        agreement = evaluate_offer(offer, POLICY)
        assert agreement.key_mgmt == INIT
        reply = answer_bfcp(offer, agreement, SERVER, MRFC_ORIGIN)
        assert reply.attributes == (RESP.attribute(),)
        assert reply.media[0].value_of("key-mgmt") is None

    def test_old_offer_with_nothing_but_a_key(self) -> None:
        """RFC 4583: client by default, active by default, no bfcpver in the answer."""
        offer = secured_offer(KEY)
        agreement = evaluate_offer(offer, POLICY)
        assert (agreement.setup, agreement.versions) == (Setup.PASSIVE, (1,))
        section = answer_bfcp(offer, agreement, SERVER, MRFC_ORIGIN).media[0]
        assert section.value_of("bfcpver") is None
        assert section.value_of("floorctrl") == "s-only"

    def test_streams_accepted_by_others_keep_their_place(self) -> None:
        offer = offer_bfcp(UE_ORIGIN, CLIENT, others=(AUDIO, AUDIO))
        dead = dataclasses.replace(offer, media=(AUDIO, dataclasses.replace(AUDIO, port=0), offer.media[2]))
        accepted = dataclasses.replace(AUDIO, port=40000, formats=("0",))
        reply = answer_bfcp(
            dead, evaluate_offer(dead, POLICY), SERVER, MRFC_ORIGIN, accepted={0: accepted, 1: accepted}
        )
        assert [media.port for media in reply.media] == [40000, 0, 9]
        assert reply.media[0].label == "10"

    def test_refusing_only_the_bfcp_stream(self) -> None:
        offer = offer_bfcp(UE_ORIGIN, CLIENT, others=(AUDIO,))
        reply = answer(offer, MRFC_ORIGIN, Connection("192.0.2.8"), {0: AUDIO})
        assert [(media.port, media.formats) for media in reply.media] == [(33000, ("0", "8")), (0, ("*",))]

    def test_as_a_client(self) -> None:
        offer = offer_bfcp(MRFC_ORIGIN, dataclasses.replace(SERVER, key_mgmt=(INIT,)))
        policy = AnswerPolicy(role=FloorControlRole.C_ONLY)
        agreement = evaluate_offer(offer, policy)
        assert agreement.floor_control_server is Party.OFFERER
        local = ClientMedia(UE, (RESP,))
        section = answer_bfcp(offer, agreement, local, UE_ORIGIN).media[0]
        assert [a.name for a in section.attributes] == [
            "setup",
            "connection",
            "key-mgmt",
            "floorctrl",
            "bfcpver",
        ]
        with pytest.raises(ValueError, match="role"):
            answer_bfcp(offer, agreement, SERVER, UE_ORIGIN)

    @pytest.mark.parametrize(
        ("lines", "reason"),
        [
            (("floorctrl:s-only",), RejectReason.ROLE_IMPOSSIBLE),
            (("bfcpver:2",), RejectReason.VERSION_UNSUPPORTED),
            (("setup:holdconn",), RejectReason.SETUP_FORBIDDEN),
            (("setup:both",), RejectReason.ATTRIBUTE_MALFORMED),
            (("key-mgmt:other AAAA",), RejectReason.KEY_MGMT_UNSUPPORTED),
            (("key-mgmt:MIKEY AAAA",), RejectReason.KEY_MGMT_UNSUPPORTED),
            (("key-mgmt:mikey A",), RejectReason.KEY_MGMT_MALFORMED),
            (("key-mgmt:mikey AAAA", "key-mgmt:mikey AAAA"), RejectReason.KEY_MGMT_MALFORMED),
        ],
    )
    def test_refusals(self, lines: tuple[str, ...], reason: RejectReason) -> None:
        names = {line.partition(":")[0] for line in lines}
        rest = [line for line in USUAL if line.partition(":")[0] not in names]
        assert rejected(secured_offer(*rest, *lines)) is reason

    def test_refusals_of_whole_streams(self) -> None:
        assert rejected(secured_offer(*USUAL[:-1])) is RejectReason.KEY_MGMT_MISSING
        assert rejected(secured_offer(*USUAL, proto="TCP/BFCP")) is RejectReason.PROTO_UNSUPPORTED
        assert rejected(secured_offer(*USUAL, proto="RTP/AVP")) is RejectReason.NO_BFCP_STREAM
        disabled = parse(serialize(secured_offer(*USUAL)).replace("33002", "0"))
        assert rejected(disabled) is RejectReason.DISABLED

    @pytest.mark.parametrize(
        "c",
        [
            "IN IP4 ue.example.com",
            "IN IP4 224.2.1.1/127",
            "IN IP4 239.1.1.1",
            "IN IP4 255.255.255.255",
            "IN IP6 ff15::1",
            "IN IP4 0.0.0.0",
        ],
    )
    def test_addresses_one_cannot_connect_to(self, c: str) -> None:
        assert rejected(secured_offer(*USUAL, c=c)) is RejectReason.ADDRESS_UNUSABLE

    def test_unspecified_address_of_a_peer_that_connects(self) -> None:
        offer = secured_offer("setup:active", KEY, c="IN IP4 0.0.0.0")
        assert evaluate_offer(offer, POLICY).tcp_opener is Party.OFFERER

    def test_missing_address(self) -> None:
        offer = parse(serialize(secured_offer(*USUAL)).replace("c=IN IP4 192.0.2.7\r\n", ""))
        assert rejected(offer) is RejectReason.ADDRESS_UNUSABLE

    def test_next_stream_is_tried_and_the_first_failure_told(self) -> None:
        bad = secured_offer("floorctrl:s-only", KEY).media[0]
        plain = dataclasses.replace(bad, proto="TCP/BFCP")
        offer = secured_offer(*USUAL)
        both = dataclasses.replace(offer, media=(plain, bad, *offer.media))
        assert evaluate_offer(both, POLICY).peer.index == 2
        neither = dataclasses.replace(offer, media=(bad, plain))
        assert rejected(neither) is RejectReason.ROLE_IMPOSSIBLE

    def test_key_of_a_plain_stream_is_for_others(self) -> None:
        policy = AnswerPolicy(protos=(BfcpProto.TCP,))
        offer = secured_offer(*USUAL, proto="TCP/BFCP")
        agreement = evaluate_offer(offer, policy)
        assert (agreement.key_mgmt, agreement.tls_client) == (None, None)

    def test_several_protocols(self) -> None:
        offer = secured_offer("setup:actpass", "key-mgmt:other AAAA", KEY)
        agreement = evaluate_offer(offer, POLICY)
        assert agreement.key_mgmt == INIT
        assert [entry.protocol for entry in agreement.peer.key_mgmt] == ["other", "mikey"]

    def test_existing_connection(self) -> None:
        offer = secured_offer("setup:holdconn", "connection:existing", c="IN IP4 0.0.0.0")
        agreement = evaluate_offer(offer, POLICY, connected=True)
        assert (agreement.connection, agreement.setup) == (ConnectionUse.EXISTING, Setup.HOLDCONN)
        assert (agreement.tcp_opener, agreement.tls_client, agreement.key_mgmt) == (None, None, None)
        section = answer_bfcp(offer, agreement, dataclasses.replace(SERVER, key_mgmt=()), MRFC_ORIGIN).media[
            0
        ]
        assert (section.value_of("connection"), section.value_of("setup")) == ("existing", "holdconn")

    @pytest.mark.parametrize("line", ["setup:active", "connection:existing", "floorctrl:s-only", "bfcpver:2"])
    def test_attribute_that_contradicts_itself(self, line: str) -> None:
        assert rejected(secured_offer(*USUAL, line)) is RejectReason.ATTRIBUTE_MALFORMED

    def test_attribute_said_twice(self) -> None:
        assert evaluate_offer(secured_offer(*USUAL, *USUAL[:-1]), POLICY).connection is ConnectionUse.NEW

    def test_existing_connection_that_is_not_there(self) -> None:
        existing = tuple("connection:existing" if line == "connection:new" else line for line in USUAL)
        agreement = evaluate_offer(secured_offer(*existing), POLICY)
        assert agreement.connection is ConnectionUse.NEW
        assert agreement.tcp_opener is Party.ANSWERER
        assert (
            rejected(secured_offer("connection:existing", "setup:actpass")) is RejectReason.KEY_MGMT_MISSING
        )

    def test_new_key_on_an_existing_connection(self) -> None:
        offer = secured_offer("connection:existing", KEY)
        assert evaluate_offer(offer, POLICY, connected=True).key_mgmt == INIT
        unknown = secured_offer("connection:existing", "key-mgmt:other AAAA")
        assert rejected(unknown, connected=True) is RejectReason.KEY_MGMT_UNSUPPORTED


def reply_to(
    offer: SessionDescription, *lines: str, port: int = 7000, c: str = "IN IP4 192.0.2.9"
) -> SessionDescription:
    """An answer with exactly the attributes given on the (only) stream."""
    head = f"v=0\r\no=- 3 4 IN IP4 192.0.2.9\r\ns=-\r\nc={c}\r\nt=0 0\r\n"
    proto = offer.media[0].proto
    return parse(head + f"m=application {port} {proto} *\r\n" + "".join(f"a={line}\r\n" for line in lines))


SERVED = ("setup:active", "floorctrl:s-only", "confid:4321", "userid:1234", "floorid:1 mstrm:10", KEY)


def refused(offer: SessionDescription, received: SessionDescription) -> RejectReason:
    with pytest.raises(SdpRejected) as caught:
        accept_answer(offer, received)
    return caught.value.reason


class TestOfferer:
    def test_the_whole_offer_of_a_client(self) -> None:
        assert serialize(offer_bfcp(UE_ORIGIN, CLIENT, others=(AUDIO,))) == (
            "v=0\r\no=- 100 0 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
            "m=audio 33000 RTP/AVP 0 8\r\na=label:10\r\n"
            "m=application 33002 TCP/TLS/BFCP *\r\nc=IN IP4 192.0.2.7\r\na=setup:actpass\r\n"
            "a=connection:new\r\na=key-mgmt:mikey AWluaXQ=\r\na=floorctrl:c-only\r\na=bfcpver:1\r\n"
        )

    def test_offer_of_a_server(self) -> None:
        offer = offer_bfcp(MRFC_ORIGIN, SERVER, setup=Setup.PASSIVE, versions=(1, 2))
        found = find_bfcp(offer)
        assert found is not None
        assert found.roles == (FloorControlRole.S_ONLY,)
        assert (found.conference_id, found.user_id, found.floors) == (4321, 1234, SERVER.floors)
        assert (found.setup, found.address, found.versions) == (Setup.PASSIVE, MRFP, (1, 2))

    @pytest.mark.parametrize(
        ("setup", "port"),
        [(Setup.ACTIVE, 9), (Setup.PASSIVE, 33002), (Setup.ACTPASS, 33002), (Setup.HOLDCONN, 9)],
    )
    def test_port_by_setup(self, setup: Setup, port: int) -> None:
        assert offer_bfcp(UE_ORIGIN, CLIENT, setup=setup).media[0].port == port

    @pytest.mark.parametrize(
        ("offered", "preferred"),
        list(itertools.product((Setup.ACTIVE, Setup.PASSIVE, Setup.ACTPASS), (Setup.ACTIVE, Setup.PASSIVE))),
    )
    @pytest.mark.parametrize("offering_server", [False, True])
    def test_both_sides_agree(self, offered: Setup, preferred: Setup, offering_server: bool) -> None:
        """Dial-in and dial-out: what the answerer settled is what the offerer reads from the answer."""
        if offering_server:
            offering: ServerMedia | ClientMedia = dataclasses.replace(SERVER, key_mgmt=(INIT,))
            answering: ServerMedia | ClientMedia = ClientMedia(UE, (RESP,))
            role = FloorControlRole.C_ONLY
        else:
            offering, answering, role = CLIENT, SERVER, FloorControlRole.S_ONLY
        offer = offer_bfcp(UE_ORIGIN, offering, setup=offered, others=(AUDIO,))
        settled = evaluate_offer(parse(serialize(offer)), AnswerPolicy(role=role, setup=preferred))
        reply = answer_bfcp(offer, settled, answering, MRFC_ORIGIN)
        accepted = accept_answer(offer, parse(serialize(reply)))
        assert accepted.tcp_opener is settled.tcp_opener is not None
        assert accepted.tls_client is settled.tls_client is Party.OFFERER
        assert accepted.floor_control_server is settled.floor_control_server
        assert (accepted.setup, accepted.connection) == (settled.setup, settled.connection)
        assert (accepted.conference_id, accepted.user_id, accepted.floors) == (4321, 1234, SERVER.floors)
        assert accepted.key_mgmt == RESP
        assert settled.key_mgmt == INIT

    @pytest.mark.parametrize(
        ("replaced", "reason"),
        [
            ("setup:actpass", RejectReason.SETUP_FORBIDDEN),
            ("setup:sideways", RejectReason.ATTRIBUTE_MALFORMED),
            ("connection:existing", RejectReason.CONNECTION_FORBIDDEN),
            ("floorctrl:c-only", RejectReason.ROLE_IMPOSSIBLE),
            ("bfcpver:2", RejectReason.VERSION_UNSUPPORTED),
            ("key-mgmt:mikey A", RejectReason.KEY_MGMT_MALFORMED),
            ("key-mgmt:other AAAA", RejectReason.KEY_MGMT_UNSUPPORTED),
        ],
    )
    def test_refusals(self, replaced: str, reason: RejectReason) -> None:
        offer = offer_bfcp(UE_ORIGIN, CLIENT)
        name = replaced.partition(":")[0]
        rest = [line for line in SERVED if line.partition(":")[0] != name]
        assert refused(offer, reply_to(offer, *rest, replaced)) is reason

    @pytest.mark.parametrize(
        ("left_out", "reason"),
        [
            ("confid", RejectReason.IDENTIFIERS_MISSING),
            ("userid", RejectReason.IDENTIFIERS_MISSING),
            ("key-mgmt", RejectReason.KEY_MGMT_MISSING),
        ],
    )
    def test_what_an_answer_needs(self, left_out: str, reason: RejectReason) -> None:
        offer = offer_bfcp(UE_ORIGIN, CLIENT)
        rest = [line for line in SERVED if line.partition(":")[0] != left_out]
        assert refused(offer, reply_to(offer, *rest)) is reason

    def test_answers_that_do_not_fit_the_m_lines(self) -> None:
        offer = offer_bfcp(UE_ORIGIN, CLIENT)
        good = reply_to(offer, *SERVED)
        assert refused(offer, reply_to(offer, *SERVED, port=0)) is RejectReason.DISABLED
        assert refused(offer, dataclasses.replace(good, media=())) is RejectReason.MEDIA_MISMATCH
        assert refused(offer, dataclasses.replace(good, media=good.media * 2)) is RejectReason.MEDIA_MISMATCH
        for media, reason in (
            (dataclasses.replace(good.media[0], proto="TCP/BFCP"), RejectReason.PROTO_CHANGED),
            (dataclasses.replace(good.media[0], media="audio"), RejectReason.MEDIA_MISMATCH),
        ):
            assert refused(offer, dataclasses.replace(good, media=(media,))) is reason
        nothing = dataclasses.replace(offer, media=(AUDIO,))
        assert refused(nothing, nothing) is RejectReason.NO_BFCP_STREAM

    def test_both_sides_waiting_or_both_connecting(self) -> None:
        passive = offer_bfcp(UE_ORIGIN, CLIENT, setup=Setup.PASSIVE)
        active = offer_bfcp(UE_ORIGIN, CLIENT, setup=Setup.ACTIVE)
        without = SERVED[1:]
        assert refused(passive, reply_to(passive, *without)) is RejectReason.SETUP_FORBIDDEN
        assert refused(active, reply_to(active, *SERVED)) is RejectReason.SETUP_FORBIDDEN
        assert accept_answer(active, reply_to(active, *without)).tcp_opener is Party.OFFERER

    def test_address_one_has_to_connect_to(self) -> None:
        offer = offer_bfcp(UE_ORIGIN, CLIENT)
        passive = ("setup:passive", *SERVED[1:])
        assert refused(offer, reply_to(offer, *passive, c="IN IP4 0.0.0.0")) is RejectReason.ADDRESS_UNUSABLE
        assert (
            refused(offer, reply_to(offer, *passive, c="IN IP4 mrfp.example"))
            is RejectReason.ADDRESS_UNUSABLE
        )
        assert accept_answer(offer, reply_to(offer, *passive)).peer.address == MRFP

    def test_connection_on_hold(self) -> None:
        offer = offer_bfcp(UE_ORIGIN, CLIENT)
        accepted = accept_answer(offer, reply_to(offer, "setup:holdconn", *SERVED[1:], c="IN IP4 0.0.0.0"))
        assert (accepted.tcp_opener, accepted.tls_client) == (None, None)

    @pytest.mark.parametrize("floorctrl", [(), ("floorctrl:c-s",), ("floorctrl:c-s c-only",)])
    def test_older_answers_leave_one_role(self, floorctrl: tuple[str, ...]) -> None:
        rest = [line for line in SERVED if not line.startswith("floorctrl")]
        offer = offer_bfcp(UE_ORIGIN, CLIENT)
        accepted = accept_answer(offer, reply_to(offer, *rest, *floorctrl))
        assert accepted.floor_control_server is Party.ANSWERER
        by_server = offer_bfcp(MRFC_ORIGIN, dataclasses.replace(SERVER, key_mgmt=(INIT,)))
        accepted = accept_answer(by_server, reply_to(by_server, "setup:active", KEY, *floorctrl))
        assert accepted.floor_control_server is Party.OFFERER
        assert (accepted.conference_id, accepted.user_id) == (4321, 1234)

    def test_roles_left_open_by_the_offer(self) -> None:
        offer = secured_offer("floorctrl:c-only s-only", "confid:1", "userid:2", KEY)
        serve = reply_to(offer, "floorctrl:s-only", "confid:3", "userid:4", KEY)
        client = reply_to(offer, "floorctrl:c-only", KEY)
        silent = reply_to(offer, "confid:3", "userid:4", KEY)
        assert accept_answer(offer, serve).conference_id == 3
        assert accept_answer(offer, client).conference_id == 1
        assert accept_answer(offer, silent).floor_control_server is Party.ANSWERER
        assert refused(offer, reply_to(offer, "floorctrl:c-s", KEY)) is RejectReason.ROLE_IMPOSSIBLE

    def test_plain_tcp_needs_no_key(self) -> None:
        offer = offer_bfcp(UE_ORIGIN, ClientMedia(UE), proto=BfcpProto.TCP)
        accepted = accept_answer(offer, reply_to(offer, *SERVED[:-1]))
        assert (accepted.tcp_opener, accepted.tls_client, accepted.key_mgmt) == (Party.ANSWERER, None, None)

    def test_caller_may_do_without_keys(self) -> None:
        offer = offer_bfcp(UE_ORIGIN, ClientMedia(UE))
        accepted = accept_answer(offer, reply_to(offer, *SERVED), key_mgmt=())
        assert accepted.key_mgmt is None
        assert accepted.tls_client is Party.OFFERER

    def test_protocol_that_was_not_offered(self) -> None:
        local = ClientMedia(UE, (KeyMgmt("other", b"x"),))
        offer = offer_bfcp(UE_ORIGIN, local)
        with pytest.raises(SdpRejected) as caught:
            accept_answer(offer, reply_to(offer, *SERVED), key_mgmt=("mikey", "other"))
        assert caught.value.reason is RejectReason.KEY_MGMT_UNSUPPORTED

    def test_existing_connection(self) -> None:
        offer = offer_bfcp(
            UE_ORIGIN, ClientMedia(UE), connection=ConnectionUse.EXISTING, setup=Setup.HOLDCONN
        )
        kept = ("connection:existing", "setup:actpass", *SERVED[1:-1])
        accepted = accept_answer(offer, reply_to(offer, *kept))
        assert accepted.connection is ConnectionUse.EXISTING
        assert (accepted.tcp_opener, accepted.tls_client, accepted.key_mgmt) == (None, None, None)
        rekeyed = offer_bfcp(UE_ORIGIN, CLIENT, connection=ConnectionUse.EXISTING)
        assert refused(rekeyed, reply_to(rekeyed, *kept)) is RejectReason.KEY_MGMT_MISSING


class TestSuccessor:
    def test_version_goes_up_by_one(self) -> None:
        first = offer_bfcp(UE_ORIGIN, CLIENT)
        second = successor(
            first, offer_bfcp(Origin.of("192.0.2.66", 5), CLIENT, connection=ConnectionUse.EXISTING)
        )
        assert second.origin == dataclasses.replace(UE_ORIGIN, version=1)
        assert second.media[0].value_of("connection") == "existing"
        assert successor(second, first).origin.version == 2

    def test_same_description_keeps_its_version(self) -> None:
        first = offer_bfcp(UE_ORIGIN, CLIENT)
        assert successor(first, offer_bfcp(Origin.of("192.0.2.66", 5), CLIENT)) is first

    def test_streams_are_never_removed(self) -> None:
        first = offer_bfcp(UE_ORIGIN, CLIENT, others=(AUDIO,))
        with pytest.raises(SdpRejected) as caught:
            successor(first, offer_bfcp(UE_ORIGIN, CLIENT))
        assert caught.value.reason is RejectReason.MEDIA_MISMATCH


def test_every_reason_has_a_text_and_a_warn_code() -> None:
    for reason in RejectReason:
        failure = SdpRejected(reason)
        assert str(failure) == reason.value
        assert failure.status == 488
        assert 300 <= failure.warning <= 399
