"""Text to values and back: what is kept, what is forgiven, what is refused."""

import dataclasses

import pytest

from mrf_protocols.sdp import (
    Attribute,
    Bandwidth,
    Connection,
    MediaDescription,
    Origin,
    SdpError,
    SessionDescription,
    Timing,
    encode,
    parse,
    serialize,
)
from mrf_protocols.sdp.codec import MAX_MEDIA, MAX_SIZE

HEAD = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\n"
SMALL = HEAD + "t=0 0\r\n"

EVERYTHING = (
    "v=0\r\n"
    "o=jdoe 3724394400 3724394405 IN IP6 2001:db8::1\r\n"
    "s=Call with everything\r\n"
    "i=All fields\r\n"
    "u=http://example.com/call\r\n"
    "e=a@example.com (A)\r\n"
    "e=b@example.com\r\n"
    "p=+1 555 0100\r\n"
    "c=IN IP4 233.252.0.1/127/3\r\n"
    "b=CT:128\r\n"
    "b=X-YZ:64\r\n"
    "t=3724394400 3724398000\r\n"
    "r=7d 1h 0 25h\r\n"
    "z=3730928400 -1h 3749680800 0\r\n"
    "t=0 0\r\n"
    "k=prompt\r\n"
    "a=recvonly\r\n"
    "a=tool:x y:z\r\n"
    "m=audio 49170/2 RTP/AVP 0 8 97\r\n"
    "i=Sound\r\n"
    "c=IN IP4 192.0.2.2\r\n"
    "c=IN IP4 192.0.2.3\r\n"
    "b=AS:64\r\n"
    "k=clear:secret\r\n"
    "a=rtpmap:97 iLBC/8000\r\n"
    "a=ptime:20\r\n"
    "m=application 0 TCP/TLS/BFCP *\r\n"
)


def test_every_field_is_kept() -> None:
    session = parse(EVERYTHING)
    assert session.origin == Origin("jdoe", 3724394400, 3724394405, "2001:db8::1", "IN", "IP6")
    assert session.name == "Call with everything"
    assert (session.information, session.uri) == ("All fields", "http://example.com/call")
    assert session.emails == ("a@example.com (A)", "b@example.com")
    assert session.phones == ("+1 555 0100",)
    assert session.connection == Connection("233.252.0.1/127/3", "IN", "IP4")
    assert session.bandwidths == (Bandwidth("CT", 128), Bandwidth("X-YZ", 64))
    assert session.timings == (
        Timing(3724394400, 3724398000, ("7d 1h 0 25h",), ("3730928400 -1h 3749680800 0",)),
        Timing(0, 0),
    )
    assert session.key == "prompt"
    assert session.attributes == (Attribute("recvonly"), Attribute("tool", "x y:z"))
    audio, bfcp = session.media
    assert audio == MediaDescription(
        "audio",
        49170,
        "RTP/AVP",
        ("0", "8", "97"),
        port_count=2,
        information="Sound",
        connections=(Connection("192.0.2.2"), Connection("192.0.2.3")),
        bandwidths=(Bandwidth("AS", 64),),
        key="clear:secret",
        attributes=(Attribute("rtpmap", "97 iLBC/8000"), Attribute("ptime", "20")),
    )
    assert bfcp == MediaDescription("application", 0, "TCP/TLS/BFCP", ("*",))
    assert serialize(session) == EVERYTHING


def test_octets_that_are_not_utf_8_come_back() -> None:
    data = SMALL.encode().replace(b"s=-", b"s=Caf\xe9 \xff") + b"a=x:\xc3\xa9\x80\r\n"
    assert encode(parse(data)) == data


def test_order_as_received_is_kept() -> None:
    text = HEAD + (
        "a=early\r\nt=0 0\r\nr=1 2 3\r\nb=AS:1\r\nc=IN IP4 192.0.2.1\r\nt=5 6\r\nb=AS:2\r\n"
        "m=audio 1 RTP/AVP 0\r\na=x\r\nc=IN IP4 192.0.2.2\r\na=y\r\n"
    )
    session = parse(text)
    assert session.timings == (Timing(0, 0, ("1 2 3",)), Timing(5, 6))
    assert serialize(session) == text


def test_order_is_the_standard_one_when_fields_were_changed() -> None:
    session = parse(HEAD + "t=0 0\r\nc=IN IP4 192.0.2.1\r\n")
    changed = dataclasses.replace(session, bandwidths=(Bandwidth("AS", 1),))
    assert serialize(changed) == HEAD + "c=IN IP4 192.0.2.1\r\nb=AS:1\r\nt=0 0\r\n"


@pytest.mark.parametrize(
    "text",
    [
        SMALL.replace("\r\n", "\n"),
        SMALL + "\r\n\n\r\n",
        SMALL.removesuffix("\r\n"),
        SMALL.replace("t=0 0", "t=0 0 \t").replace("192.0.2.1", "192.0.2.1 "),
        SMALL.encode(),
    ],
    ids=["lf", "empty-lines-at-end", "no-line-end-at-end", "blanks-at-end-of-line", "bytes"],
)
def test_forgiven(text: str | bytes) -> None:
    assert serialize(parse(text)) == SMALL


def test_empty_values_differ_from_none() -> None:
    text = SMALL.replace("s=-", "s=") + "a=x:\r\na=y\r\n"
    session = parse(text)
    assert session.attributes == (Attribute("x", ""), Attribute("y", None))
    assert session.value_of("y") == ""
    assert session.value_of("z") is None
    assert serialize(session) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 0),
        ("\r\n", 0),
        ("v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\nt=0 0\r\n", 0),
        ("o=- 1 2 IN IP4 192.0.2.1\r\nv=0\r\ns=-\r\nt=0 0\r\n", 0),
        (SMALL.replace("v=0", "v=1"), 1),
        (HEAD, 0),
        (HEAD + "r=1 2 3\r\nt=0 0\r\n", 4),
        (SMALL + "\r\na=x\r\n", 5),
        (SMALL + "max-mbps=1\r\n", 5),
        (SMALL + "x=1\r\n", 5),
        (SMALL + "A=x\r\n", 5),
        (SMALL + " a=x\r\n", 5),
        (SMALL + "a x\r\n", 5),
        (SMALL + "a=\r\n", 5),
        (SMALL + "a=:x\r\n", 5),
        (SMALL + "a=x:\x00\r\n", 5),
        (SMALL + "a=x:1\r2\r\n", 5),
        (SMALL + "a=x:1\r\r\n", 5),
        (SMALL + "s=again\r\n", 5),
        (SMALL + "c=IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\n", 6),
        (SMALL + "c=IN IP4\r\n", 5),
        (SMALL + "c=IN IP4 192.0.2.1 x\r\n", 5),
        (SMALL + "b=AS\r\n", 5),
        (SMALL + "b=AS:-1\r\n", 5),
        (SMALL + "b=AS:\u0661\r\n", 5),
        (SMALL.replace("t=0 0", "t=0"), 4),
        (SMALL.replace("- 1 2", "- -1 2"), 2),
        (SMALL.replace("- 1 2", "- " + "1" * 5000 + " 2"), 2),
        (SMALL + "m=audio 65536 RTP/AVP 0\r\n", 5),
        (SMALL + "m=audio 1 RTP/AVP\r\n", 5),
        (SMALL + "m=audio RTP/AVP 0\r\n", 5),
        (SMALL + "m=audio 1 RTP//AVP 0\r\n", 5),
        (SMALL + "m=audio 1 RTP/AVP 0\r\nt=0 0\r\n", 6),
        (SMALL + "m=audio 1 RTP/AVP 0\r\nk=prompt\r\nk=prompt\r\n", 7),
        (SMALL + "m=audio 1 RTP/AVP 0\r\n" * (MAX_MEDIA + 1), 5 + MAX_MEDIA),
        (SMALL + "a=" + "x" * MAX_SIZE, 0),
    ],
)
def test_refused(text: str, line: int) -> None:
    with pytest.raises(SdpError) as caught:
        parse(text)
    assert caught.value.line == line
    assert caught.value.status == 400


def test_the_limits_themselves_are_allowed() -> None:
    assert len(parse(SMALL + "m=audio 1 RTP/AVP 0\r\n" * MAX_MEDIA).media) == MAX_MEDIA
    start = SMALL + "a="
    assert parse(start + "x" * (MAX_SIZE - len(start))).attributes


def test_error_text_does_not_quote_the_description() -> None:
    with pytest.raises(SdpError) as caught:
        parse(SMALL + "a=crypto 1 inline:c2VjcmV0\r\n".replace("a=", "a= "))
    assert "c2VjcmV0" not in str(caught.value)
    assert str(caught.value) == "line 5: malformed a= line"


def test_representation_hides_keys() -> None:
    session = parse(
        SMALL + "k=clear:topsecret\r\na=key-mgmt:mikey dG9wc2VjcmV0\r\n"
        "m=audio 1 RTP/SAVP 0\r\nk=clear:topsecret\r\na=crypto:1 AES inline:topsecret\r\na=label:10\r\n"
    )
    shown = repr(session)
    assert "topsecret" not in shown
    assert "dG9wc2VjcmV0" not in shown
    assert "Attribute('label', '10')" in shown


@pytest.mark.parametrize(
    "session",
    [
        SessionDescription(Origin.of("192.0.2.1", 1), name="x\r\na=evil"),
        SessionDescription(Origin.of("192.0.2.1", 1, username="two words")),
        SessionDescription(Origin.of("192.0.2.1", -1)),
        SessionDescription(Origin.of("192.0.2.1", 1), connection=Connection("a\nb")),
        SessionDescription(Origin.of("192.0.2.1", 1), attributes=(Attribute("x", "1\r\na=y"),)),
        SessionDescription(Origin.of("192.0.2.1", 1), attributes=(Attribute("", "1"),)),
        SessionDescription(Origin.of("192.0.2.1", 1), bandwidths=(Bandwidth("AS", -1),)),
        SessionDescription(Origin.of("192.0.2.1", 1), uri=""),
        SessionDescription(
            Origin.of("192.0.2.1", 1), media=(MediaDescription("audio", 70000, "RTP/AVP", ("0",)),)
        ),
        SessionDescription(Origin.of("192.0.2.1", 1), media=(MediaDescription("audio", 1, "RTP/AVP", ()),)),
    ],
)
def test_values_cannot_break_out_of_their_line(session: SessionDescription) -> None:
    with pytest.raises(SdpError):
        serialize(session)


def test_text_without_utf_8_form_is_refused() -> None:
    with pytest.raises(SdpError):
        encode(SessionDescription(Origin.of("192.0.2.1", 1), name="\ud800"))


def test_address_types_follow_the_host() -> None:
    session = SessionDescription(Origin.of("2001:db8::1", 7), connection=Connection.of("192.0.2.1"))
    assert serialize(session) == (
        "v=0\r\no=- 7 0 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    )
