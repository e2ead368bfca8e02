"""Offers in the manner of real devices, each with the quirk that its fixture is named for."""

import json
import os
from pathlib import Path

import pytest

from mrf_protocols.sdp import (
    Address,
    Agreement,
    AnswerPolicy,
    BfcpProto,
    ConnectionUse,
    FloorControlRole,
    FloorStreams,
    Origin,
    Party,
    RejectReason,
    SdpError,
    SdpRejected,
    ServerMedia,
    SessionDescription,
    Setup,
    answer_bfcp,
    bfcp_media,
    bfcp_streams,
    encode,
    evaluate_offer,
    find_bfcp,
    parse,
)
from mrf_protocols.sdp.bfcp import BfcpMedia

FIXTURES = Path(__file__).parent / "fixtures"
BROKEN = "folded-lines.sdp"
NAMES = sorted(path.name for path in FIXTURES.glob("*.sdp"))
PLAIN = AnswerPolicy(protos=(BfcpProto.TCP, BfcpProto.TCP_TLS), key_mgmt=())
C_S = (FloorControlRole.C_S,)


def load(name: str) -> SessionDescription:
    return parse((FIXTURES / name).read_bytes())


def stream(name: str) -> BfcpMedia:
    found = find_bfcp(load(name))
    assert found is not None
    return found


def reason(name: str, policy: AnswerPolicy = PLAIN) -> RejectReason:
    with pytest.raises(SdpRejected) as caught:
        evaluate_offer(load(name), policy)
    return caught.value.reason


def plain_answer(name: str) -> tuple[Agreement, SessionDescription]:
    offer = load(name)
    agreement = evaluate_offer(offer, PLAIN)
    local = ServerMedia(Address("192.0.2.200", 7000), 5, 6, (FloorStreams(1, ("3",)),))
    return agreement, answer_bfcp(offer, agreement, local, Origin.of("192.0.2.200", 9))


@pytest.mark.parametrize("name", [name for name in NAMES if name != BROKEN])
def test_octets_come_back(name: str) -> None:
    data = (FIXTURES / name).read_bytes()
    assert encode(parse(data)) == data


def test_folded_lines_are_not_sdp() -> None:
    with pytest.raises(SdpError) as caught:
        load(BROKEN)
    assert caught.value.line == 9


def test_udp_without_setup() -> None:
    found = stream("udp-without-setup.sdp")
    assert (found.proto, found.setup, found.connection) == (BfcpProto.UDP, None, None)
    assert found.address == Address("192.0.2.21", 20006)
    assert found.versions == (1,)
    assert reason("udp-without-setup.sdp") is RejectReason.PROTO_UNSUPPORTED


def test_dangling_label() -> None:
    offer = load("dangling-label.sdp")
    assert stream("dangling-label.sdp").floors == (FloorStreams(2, ("12",)),)
    assert [media.label for media in offer.media] == [None, "11", None]


def test_timing_before_connection() -> None:
    offer = load("timing-before-connection.sdp")
    assert offer.order == "vostc"
    assert list(bfcp_streams(offer)) == [2]
    assert stream("timing-before-connection.sdp").address == Address("192.0.2.35", 22006)


def test_two_versions() -> None:
    found = stream("two-versions.sdp")
    assert found.versions == (2, 1)
    assert found.roles == C_S


def test_media_connections_only() -> None:
    assert load("media-connections-only.sdp").connection is None
    assert stream("media-connections-only.sdp").address == Address("192.0.2.87", 24006)


def test_bandwidth_before_timing() -> None:
    found = stream("bandwidth-before-timing.sdp")
    assert found.roles == (FloorControlRole.C_ONLY,)
    assert (found.conference_id, found.user_id, found.floors) == (None, None, ())


def test_fields_in_any_order() -> None:
    found = stream("connection-after-timing-and-bandwidth.sdp")
    assert found.address == Address("2001:db8::6", 25012)
    agreement, answer = plain_answer("connection-after-timing-and-bandwidth.sdp")
    assert agreement.tcp_opener is Party.ANSWERER
    assert answer.name == "-"


def test_client_without_identifiers() -> None:
    agreement, answer = plain_answer("client-without-identifiers.sdp")
    assert agreement.setup is Setup.PASSIVE
    assert agreement.tcp_opener is Party.OFFERER
    assert [(media.media, media.port) for media in answer.media] == [
        ("audio", 0),
        ("video", 0),
        ("application", 0),
        ("control", 0),
        ("application", 7000),
    ]


def test_dead_udp_beside_tcp() -> None:
    agreement, answer = plain_answer("dead-udp-and-tcp.sdp")
    assert agreement.peer.index == 2
    assert agreement.peer.proto is BfcpProto.TCP
    assert [media.port for media in answer.media] == [0, 0, 9]
    assert answer.media[1].proto == "UDP/BFCP"
    assert reason("dead-udp-and-tcp.sdp", AnswerPolicy()) is RejectReason.PROTO_UNSUPPORTED


def test_other_host_for_bfcp() -> None:
    assert stream("other-host-for-bfcp.sdp").address == Address("192.0.2.104", 29004)


def test_floorid_without_streams() -> None:
    found = stream("floorid-without-streams.sdp")
    assert found.floors == (FloorStreams(5, ()),)
    assert found.connection is None
    assert plain_answer("floorid-without-streams.sdp")[0].connection is ConnectionUse.NEW
    assert reason("floorid-without-streams.sdp", AnswerPolicy()) is RejectReason.KEY_MGMT_MISSING


def test_misspelt_streams() -> None:
    found = stream("misspelt-streams.sdp")
    assert found.floors == (FloorStreams(1, ("10",)), FloorStreams(2, ("11", "12")))
    assert reason("misspelt-streams.sdp") is RejectReason.ROLE_IMPOSSIBLE


def test_tcp_actpass_without_label() -> None:
    agreement, answer = plain_answer("tcp-actpass-no-label.sdp")
    assert agreement.tcp_opener is Party.ANSWERER
    assert agreement.tls_client is None
    section = bfcp_media(answer, 2)
    assert section.roles == (FloorControlRole.S_ONLY,)
    assert section.versions == ()


def shared_data() -> Path:
    """Where offers recorded from devices lie for those who have them."""
    beside = Path(__file__).parents[4] / "shared" / "data"
    return Path(os.environ.get("MRF_SHARED_DATA", beside)) / "sdp"


def recorded_offers() -> list[dict[str, str]]:
    index = shared_data() / "index.json"
    offers: list[dict[str, str]] = json.loads(index.read_text()) if index.is_file() else []
    return offers


RECORDED = {entry["file"]: entry for entry in recorded_offers()}


@pytest.mark.parametrize("file", list(RECORDED) or ["no recorded offers here: set MRF_SHARED_DATA"])
def test_recorded_offers(file: str) -> None:
    """Each recorded offer comes back octet for octet and has the stream that its index entry says."""
    recorded = RECORDED.get(file)
    if recorded is None:  # the fixtures beside this file stand for the recordings where there are none
        assert not (shared_data() / "index.json").exists()
        return
    data = (shared_data() / file).read_bytes()
    if "broken capture" in recorded["quirk"]:
        with pytest.raises(SdpError):
            parse(data)
        return
    session = parse(data)
    assert encode(session) == data
    found = find_bfcp(session)
    assert found is not None
    assert found.proto.value == recorded["proto"]
    assert found.roles == (FloorControlRole(recorded["floorctrl"]),)
