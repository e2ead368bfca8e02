"""Properties of the codec over generated descriptions and over arbitrary input."""

import contextlib
import string
import time

from hypothesis import given
from hypothesis import strategies as st

from mrf_protocols.sdp import (
    Address,
    AnswerPolicy,
    Attribute,
    Bandwidth,
    BfcpProto,
    Connection,
    FloorControlRole,
    KeyMgmt,
    MediaDescription,
    Origin,
    SdpError,
    ServerMedia,
    SessionDescription,
    Timing,
    accept_answer,
    answer_bfcp,
    encode,
    evaluate_offer,
    parse,
    serialize,
)
from mrf_protocols.sdp.bfcp import FloorStreams, bfcp_media, parse_floorid
from mrf_protocols.sdp.codec import MAX_SIZE
from mrf_protocols.sdp.key_management import parse_key_mgmt

TOKEN_CHARACTERS = string.ascii_letters + string.digits + "!#$%&'*+-.^_`{|}~"
tokens = st.text(TOKEN_CHARACTERS, min_size=1, max_size=8)
numbers = st.integers(0, 10**12)
texts = st.text(st.characters(blacklist_characters="\0\r\n", blacklist_categories=["Cs"]), max_size=20)
nonempty = texts.filter(bool)
words = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)
connections = st.builds(Connection, words, tokens, tokens)
bandwidths = st.lists(st.builds(Bandwidth, tokens, numbers), max_size=2).map(tuple)
attributes = st.lists(st.builds(Attribute, tokens, st.none() | texts), max_size=4).map(tuple)
media_descriptions = st.builds(
    MediaDescription,
    media=tokens,
    port=st.integers(0, 65535),
    proto=st.lists(tokens, min_size=1, max_size=3).map("/".join),
    formats=st.lists(words, min_size=1, max_size=3).map(tuple),
    port_count=st.none() | st.integers(0, 99999),
    information=st.none() | texts,
    connections=st.lists(connections, max_size=2).map(tuple),
    bandwidths=bandwidths,
    key=st.none() | nonempty,
    attributes=attributes,
)
sessions = st.builds(
    SessionDescription,
    origin=st.builds(Origin, words, numbers, numbers, words, tokens, tokens),
    name=texts,
    information=st.none() | texts,
    uri=st.none() | nonempty,
    emails=st.lists(nonempty, max_size=2).map(tuple),
    phones=st.lists(nonempty, max_size=2).map(tuple),
    connection=st.none() | connections,
    bandwidths=bandwidths,
    timings=st.lists(
        st.builds(
            Timing,
            numbers,
            numbers,
            st.lists(nonempty, max_size=2).map(tuple),
            st.lists(nonempty, max_size=1).map(tuple),
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
    key=st.none() | nonempty,
    attributes=attributes,
    media=st.lists(media_descriptions, max_size=3).map(tuple),
)

LINES = (
    "v=0",
    "o=- 1 2 IN IP4 192.0.2.1",
    "s=-",
    "t=0 0",
    "c=IN IP4 192.0.2.2",
    "b=AS:1",
    "r=1 2 3",
    "k=prompt",
    "m=application 5000 TCP/TLS/BFCP *",
    "m=application 0 UDP/BFCP *",
    "m=audio 5002 RTP/AVP 0",
    "a=setup:actpass",
    "a=setup:passive",
    "a=connection:existing",
    "a=connection:maybe",
    "a=floorctrl:c-s",
    "a=floorctrl:s-only",
    "a=floorctrl:",
    "a=confid:99999999999",
    "a=confid:1",
    "a=userid:2",
    "a=floorid:1 m-stream:3",
    "a=floorid:x",
    "a=bfcpver:2 1",
    "a=key-mgmt:mikey AQID",
    "a=key-mgmt:mikey AQI",
    "a=key-mgmt:other AQID",
    "",
)


@given(sessions)
def test_values_survive_text(session: SessionDescription) -> None:
    text = serialize(session)
    assert parse(text) == session
    assert serialize(parse(text)) == text
    assert parse(encode(session)) == session


@given(st.text())
def test_text_raises_only_sdp_error(text: str) -> None:
    with contextlib.suppress(SdpError):
        encode(parse(text))


@given(st.binary())
def test_octets_raise_only_sdp_error(data: bytes) -> None:
    with contextlib.suppress(SdpError):
        encode(parse(data))


@given(st.lists(st.sampled_from(LINES), max_size=12), st.booleans())
def test_shuffled_lines_raise_only_sdp_error(lines: list[str], begin: bool) -> None:
    head = LINES[:4] if begin else ()
    text = "".join(f"{line}\r\n" for line in (*head, *lines))
    with contextlib.suppress(SdpError):
        session = parse(text)
        again = serialize(session)
        assert parse(again) == session
        assert sorted(again.split()) == sorted(text.split())
        assert "r=" in text or again == text.rstrip("\r\n") + "\r\n"  # r= moves next to its t=
        for role in (FloorControlRole.S_ONLY, FloorControlRole.C_ONLY):
            with contextlib.suppress(SdpError):
                evaluate_offer(session, AnswerPolicy(role=role))
            with contextlib.suppress(SdpError):
                accept_answer(session, session)


@given(
    st.text(), st.sampled_from(["setup", "connection", "floorctrl", "confid", "userid", "floorid", "bfcpver"])
)
def test_attribute_values_raise_only_sdp_error(value: str, name: str) -> None:
    media = MediaDescription("application", 1, "TCP/BFCP", ("*",), attributes=(Attribute(name, value),))
    with contextlib.suppress(SdpError):
        bfcp_media(SessionDescription(Origin.of("192.0.2.1", 1), media=(media,)), 0)
    with contextlib.suppress(SdpError):
        parse_key_mgmt(value)


@given(st.integers(0, 65535), st.lists(tokens, max_size=4))
def test_floor_survives_text(floor_id: int, labels: list[str]) -> None:
    floor = FloorStreams(floor_id, tuple(labels))
    assert parse_floorid(floor.attribute().value or "") == floor


@given(st.binary(min_size=1), st.sampled_from(["mikey", "other1"]))
def test_key_message_survives_text(data: bytes, protocol: str) -> None:
    entry = KeyMgmt(protocol, data)
    assert parse_key_mgmt(entry.attribute().value or "") == entry


@given(st.lists(media_descriptions, max_size=4), st.integers(0, 4))
def test_answers_mirror_any_offer(others: list[MediaDescription], place: int) -> None:
    bfcp = MediaDescription(
        "application", 5000, "TCP/TLS/BFCP", ("*",), attributes=(Attribute("setup", "actpass"),)
    )
    media = (*others[:place], bfcp, *others[place:])
    offer = SessionDescription(
        Origin.of("192.0.2.1", 1), connection=Connection("192.0.2.1"), timings=(Timing(1, 2),), media=media
    )
    offer = parse(serialize(offer))
    policy = AnswerPolicy(protos=(BfcpProto.TCP_TLS,), key_mgmt=())
    local = ServerMedia(Address("192.0.2.9", 6000), 1, 2, ())
    agreement = evaluate_offer(offer, policy)
    answer = answer_bfcp(offer, agreement, local, Origin.of("192.0.2.9", 3))
    assert parse(serialize(answer)) == answer
    assert answer.timings == offer.timings
    assert [(m.media, m.proto) for m in answer.media] == [(m.media, m.proto) for m in offer.media]
    assert [index for index, m in enumerate(answer.media) if m.port] == [agreement.peer.index]


def test_hostile_sizes_take_linear_time() -> None:
    """The largest inputs of each kind parse in well under a second; quadratic work would take minutes."""
    head = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
    room = MAX_SIZE - len(head) - 64
    hostile = [
        head + "a=x\n" * (room // 4),
        head + "t=0 0\n" * (room // 6),
        head + "b=A:1\na=x\n" * (room // 10),
        head + "a=" + "x" * room,
        head + "m=a 1 " + "a/" * (room // 2) + " *",
        head + "m=a 1 a" + " a" * (room // 2),
        head + "o=" + "1 " * (room // 2),
        head + "m=application 1 TCP/BFCP *\na=floorid:1 mstrm:" + "a " * (room // 2),
        head + "m=application 1 TCP/BFCP *\na=key-mgmt:mikey " + "A" * room,
        head + "\n" * room,
        "\n" * room,
    ]
    begin = time.process_time()
    for text in hostile:
        with contextlib.suppress(SdpError):
            bfcp_media(parse(text), 0) if "BFCP" in text else parse(text)
    assert time.process_time() - begin < 60  # what grows with the square would take hours
