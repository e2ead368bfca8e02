"""The typed view of a BFCP m-section."""

import pytest

from mrf_protocols.sdp import (
    Address,
    BfcpProto,
    ConnectionUse,
    FloorControlRole,
    FloorStreams,
    RejectReason,
    SdpRejected,
    Setup,
    bfcp_media,
    bfcp_streams,
    find_bfcp,
    parse,
)
from mrf_protocols.sdp.bfcp import BfcpMedia

HEAD = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
MEDIA = "m=application 5000 TCP/TLS/BFCP *\r\n"


def view(*lines: str, media: str = MEDIA, session: str = "") -> BfcpMedia:
    return bfcp_media(parse(HEAD + session + media + "".join(f"a={line}\r\n" for line in lines)), 0)


def test_all_attributes() -> None:
    found = view(
        "setup:actpass",
        "connection:existing",
        "floorctrl:c-only s-only",
        "confid:4294967295",
        "userid:65535",
        "floorid:1 mstrm:10 11",
        "floorid:65535",
        "bfcpver:2 1 2",
    )
    assert found == BfcpMedia(
        0,
        BfcpProto.TCP_TLS,
        Address("", 5000),
        Setup.ACTPASS,
        ConnectionUse.EXISTING,
        (FloorControlRole.C_ONLY, FloorControlRole.S_ONLY),
        4294967295,
        65535,
        (FloorStreams(1, ("10", "11")), FloorStreams(65535)),
        (2, 1),
    )


@pytest.mark.parametrize("proto", list(BfcpProto))
def test_transports(proto: BfcpProto) -> None:
    found = view(media=f"m=application 5000 {proto.value} ignored\r\n")
    assert found.proto is proto
    assert found.offered_versions == ((1,) if proto.value.startswith("TCP/") else (2,))
    assert found.proto.secured == ("TLS" in proto.value)


@pytest.mark.parametrize(
    "media",
    ["m=application 5000 TCP/MSRP *\r\n", "m=audio 5000 TCP/BFCP *\r\n", "m=application 1 tcp/bfcp *\r\n"],
)
def test_other_streams_are_not_bfcp(media: str) -> None:
    session = parse(HEAD + media)
    assert find_bfcp(session) is None
    assert list(bfcp_streams(session)) == []
    with pytest.raises(SdpRejected) as caught:
        bfcp_media(session, 0)
    assert caught.value.reason is RejectReason.NO_BFCP_STREAM


def test_first_stream_that_is_not_disabled() -> None:
    session = parse(HEAD + "m=application 0 UDP/BFCP *\r\na=confid:x\r\n" + MEDIA)
    found = find_bfcp(session)
    assert found is not None
    assert found.index == 1
    assert find_bfcp(parse(HEAD + "m=application 0 UDP/BFCP *\r\n")) is None
    assert view(media="m=application 0 UDP/BFCP *\r\n").address.port == 0


def test_case_of_attribute_values_and_blanks_at_their_end_do_not_matter() -> None:
    found = view("setup:Active ", "connection:NEW", "floorctrl:C-S ", "confid:1 ", "floorid:1 mstrm:2 ")
    assert (found.setup, found.connection) == (Setup.ACTIVE, ConnectionUse.NEW)
    assert (found.roles, found.conference_id) == ((FloorControlRole.C_S,), 1)
    assert found.floors == (FloorStreams(1, ("2",)),)


def test_setup_of_the_session_holds_and_that_of_the_media_goes_before() -> None:
    assert view(session="a=setup:passive\r\n").setup is Setup.PASSIVE
    assert view("setup:active", session="a=setup:passive\r\n").setup is Setup.ACTIVE
    assert view(session="a=connection:existing\r\na=floorctrl:s-only\r\n").connection is None


def test_roles_that_one_is_willing_to_take() -> None:
    both = {FloorControlRole.C_ONLY, FloorControlRole.S_ONLY}
    assert view("floorctrl:c-s").willing == both
    assert view("floorctrl:s-only c-only").willing == both
    assert view("floorctrl:s-only").willing == {FloorControlRole.S_ONLY}
    assert view().willing == frozenset()


@pytest.mark.parametrize(
    "line",
    [
        "setup:both",
        "setup",
        "connection:old",
        "floorctrl",
        "floorctrl:server",
        "floorctrl:c-only,s-only",
        "confid:4294967296",
        "confid:-1",
        "confid:",
        "confid:one",
        "confid:\u0661",
        "userid:65536",
        "floorid:65536",
        "floorid:1 mstrm:",
        "floorid:1 stream:2",
        "floorid:1  mstrm:2",
        "floorid: 1",
        "bfcpver:",
        "bfcpver:8",
        "bfcpver:1,2",
    ],
)
def test_malformed_attribute(line: str) -> None:
    with pytest.raises(SdpRejected) as caught:
        view(line)
    assert caught.value.reason is RejectReason.ATTRIBUTE_MALFORMED
    assert line.split(":", maxsplit=1)[0] in str(caught.value)
    assert (caught.value.status, caught.value.warning) == (488, 399)


def test_floor_without_streams_is_written_in_the_short_form() -> None:
    assert FloorStreams(1).attribute().value == "1"
    assert FloorStreams(1, ("a", "b")).attribute().value == "1 mstrm:a b"
