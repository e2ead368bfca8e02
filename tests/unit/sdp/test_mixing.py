"""A session whose streams two serve: what the mixer is offered, and how its answers and offers are joined with ours."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrf_protocols import sdp
from mrf_protocols.sdp import Origin, SdpRejected, SessionDescription

OURS = Origin.of("198.51.100.1", 5)
OFFER = """v=0
o=room 1 1 IN IP4 192.0.2.1
s=-
c=IN IP4 192.0.2.1
b=AS:2000
t=0 0
a=key-mgmt:mikey AAAA
a=group:BUNDLE s p f
a=ice-ufrag:8hhY
a=ice-lite
m=application 5000 TCP/TLS/BFCP *
a=mid:f
a=setup:actpass
a=floorctrl:c-only
m=audio 5002 RTP/AVP 0
a=mid:s
m=video 0 RTP/AVP 96
a=mid:p
a=bundle-only
a=content:slides
m=video 0 RTP/AVP 97
"""
ANSWER = """v=0
o=mixer 7 7 IN IP4 203.0.113.1
s=mix
c=IN IP4 203.0.113.1
t=0 0
a=group:BUNDLE s p
a=ice-ufrag:mMmM
a=ice-lite
a=recvonly
m=application 0 TCP/TLS/BFCP *
m=audio 6000 RTP/AVP 0
a=mid:s
a=sendrecv
a=label:own
m=video 6000 RTP/AVP 96
c=IN IP4 203.0.113.2
a=mid:p
a=ice-ufrag:pPpP
m=video 0 RTP/AVP 97
"""
OWN = """v=0
o=- 9 3 IN IP4 198.51.100.1
s=-
c=IN IP4 198.51.100.1
t=0 0
m=application 7000 TCP/TLS/BFCP *
c=IN IP4 198.51.100.1
a=setup:passive
a=connection:new
a=key-mgmt:mikey BBBB
a=floorctrl:s-only
a=confid:1
a=userid:2
m=audio 0 RTP/AVP 0
m=video 0 RTP/AVP 96
m=video 0 RTP/AVP 97
"""


def parse(text: str) -> SessionDescription:
    return sdp.parse(text.replace("\n", "\r\n"))


def names(session: SessionDescription, index: int) -> list[str]:
    return [
        each.name if each.value is None else f"{each.name}:{each.value}"
        for each in session.media[index].attributes
    ]


def attributes(session: SessionDescription) -> list[str]:
    return [each.name if each.value is None else f"{each.name}:{each.value}" for each in session.attributes]


def test_the_mixer_gets_all_but_bfcp() -> None:
    offered = sdp.offer_to_mixer(parse(OFFER), OURS)
    assert offered.origin == OURS
    assert [(each.media, each.port) for each in offered.media] == [
        ("application", 0),
        ("audio", 5002),
        ("video", 0),
        ("video", 0),
    ]
    assert offered.media[0].attributes == ()
    assert attributes(offered) == ["group:BUNDLE s p", "ice-ufrag:8hhY", "ice-lite"]
    assert offered.connection == parse(OFFER).connection
    assert sdp.parse(sdp.serialize(offered)) == offered


def test_an_offer_of_bfcp_alone_is_nothing_for_a_mixer() -> None:
    offer = parse(OFFER)
    assert sdp.has_mixable(offer)
    assert not sdp.has_mixable(replace(offer, media=offer.media[:1]))
    assert not sdp.has_mixable(replace(offer, media=(offer.media[0], offer.media[3])))


def test_the_answers_are_joined() -> None:
    offered = sdp.offer_to_mixer(parse(OFFER), OURS)
    mixed = sdp.from_mixer(offered, parse(ANSWER))
    joined = sdp.join(parse(OWN), mixed)
    assert [each.port for each in joined.media] == [7000, 6000, 6000, 0]
    assert joined.media[0] == parse(OWN).media[0]
    assert attributes(joined) == ["group:BUNDLE s p", "ice-lite"]
    audio, slides = joined.media[1:3]
    assert [each.address for each in (*audio.connections, *slides.connections)] == [
        "203.0.113.1",
        "203.0.113.2",
    ]
    assert names(joined, 1) == ["mid:s", "sendrecv", "label:own", "ice-ufrag:mMmM"]
    assert names(joined, 2) == ["mid:p", "ice-ufrag:pPpP", "recvonly"]
    assert sdp.parse(sdp.serialize(joined)) == joined


def test_labels_by_content_and_by_kind() -> None:
    offer = parse(OFFER)
    mixed = sdp.from_mixer(sdp.offer_to_mixer(offer, OURS), parse(ANSWER))
    assert [each.label for each in mixed.streams] == ["own", ""]
    labelled = sdp.with_labels(mixed, offer, {"audio": "10", "slides": "12", "video": "11"})
    assert labelled.streams == (sdp.MixedStream(1, "10", "audio"), sdp.MixedStream(2, "12", "video"))
    assert [name for name in names(sdp.join(parse(OWN), labelled), 1) if name.startswith("label")] == [
        "label:10"
    ]


def test_a_label_is_given_once() -> None:
    two = parse(OFFER.replace("m=video 0 RTP/AVP 97", "m=audio 5004 RTP/AVP 0"))
    answer = parse(ANSWER.replace("m=video 0 RTP/AVP 97", "m=audio 6004 RTP/AVP 0"))
    mixed = sdp.from_mixer(sdp.offer_to_mixer(two, OURS), answer)
    assert [each.label for each in sdp.with_labels(mixed, two, {"audio": "10"}).streams] == ["10", "", ""]


def test_a_refused_stream_leaves_its_group() -> None:
    mixed = sdp.from_mixer(
        sdp.offer_to_mixer(parse(OFFER), OURS), parse(ANSWER.replace("m=video 6000", "m=video 0"))
    )
    assert mixed.media.keys() == {1}
    assert [each.value for each in mixed.attributes if each.name == "group"] == ["BUNDLE s"]


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("m=video 0 RTP/AVP 97\n", ""),
        ("m=audio 6000 RTP/AVP", "m=audio 6000 RTP/SAVP"),
        ("m=audio", "m=video"),
    ],
)
def test_answers_that_do_not_fit(what: str, instead: str) -> None:
    with pytest.raises(SdpRejected) as caught:
        sdp.from_mixer(sdp.offer_to_mixer(parse(OFFER), OURS), parse(ANSWER.replace(what, instead)))
    assert caught.value.reason is sdp.RejectReason.MEDIA_MISMATCH


def test_a_mixer_does_not_accept_what_was_not_offered() -> None:
    """Neither the BFCP stream nor one with port 0."""
    greedy = ANSWER.replace("m=application 0", "m=application 9").replace("m=video 0", "m=video 6004")
    assert sdp.from_mixer(sdp.offer_to_mixer(parse(OFFER), OURS), parse(greedy)).media.keys() == {1, 2}


def test_an_offer_of_the_mixer_and_its_answer() -> None:
    own = sdp.join(parse(OWN), sdp.from_mixer(sdp.offer_to_mixer(parse(OFFER), OURS), parse(ANSWER)))
    hold = parse(ANSWER.replace("a=sendrecv", "a=inactive") + "m=audio 6010 RTP/AVP 8\n")
    offered = sdp.offer_from_mixer(own, hold)
    assert offered.origin.version == own.origin.version + 1
    assert [each.port for each in offered.media] == [7000, 6000, 6000, 0, 6010]
    assert names(offered, 0)[:2] == ["setup:actpass", "connection:existing"]
    assert not any(name.startswith("key-mgmt") for name in names(offered, 0))
    assert "inactive" in names(offered, 1)
    answered = parse(OFFER + "m=audio 0 RTP/AVP 8\n")
    to_mixer = sdp.answer_to_mixer(hold, answered, OURS)
    assert [each.port for each in to_mixer.media] == [0, 5002, 0, 0, 0]
    assert "ice-ufrag:8hhY" in names(to_mixer, 1)
    assert attributes(to_mixer) == ["group:BUNDLE s", "ice-lite"]


def test_offers_of_the_mixer_that_do_not_fit() -> None:
    own = parse(OWN)
    for text in (
        ANSWER.replace("m=application 0", "m=application 9"),
        ANSWER.replace("m=video 0 RTP/AVP 97\n", ""),
    ):
        with pytest.raises(SdpRejected):
            sdp.offer_from_mixer(own, parse(text))


def test_the_mixer_has_gone() -> None:
    own = sdp.join(parse(OWN), sdp.from_mixer(sdp.offer_to_mixer(parse(OFFER), OURS), parse(ANSWER)))
    left = sdp.without_mixed(own)
    assert [each.port for each in left.media] == [7000, 0, 0, 0]
    assert (left.attributes, left.origin.version) == ((), own.origin.version + 1)


PORTS = st.sampled_from([0, 9, 4000])


@given(st.lists(st.tuples(PORTS, PORTS), min_size=1, max_size=6))
def test_what_is_served_was_offered(pairs: list[tuple[int, int]]) -> None:
    """Whatever the mixer answers, the participant gets no stream that he did not offer."""
    lines = "\n".join(f"m=audio {offered} RTP/AVP 0" for offered, _ in pairs)
    answers = "\n".join(f"m=audio {given_port} RTP/AVP 0" for _, given_port in pairs)
    head = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n"
    offered = sdp.offer_to_mixer(parse(f"{head}{lines}\n"), OURS)
    mixed = sdp.from_mixer(offered, parse(f"{head}{answers}\n"))
    assert mixed.media.keys() == {index for index, (asked, got) in enumerate(pairs) if asked and got}


@pytest.mark.parametrize(("many", "taken"), [(100, True), (1000, False)])
def test_what_is_said_for_all_streams_at_once_is_not_written_out_without_bound(
    many: int, taken: bool
) -> None:
    head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    streams = "m=audio 9 RTP/AVP 0\r\n" * 63
    asked = sdp.parse(head + streams)
    given = sdp.parse(head + "a=extmap:1 urn:x\r\n" * many + streams)
    if taken:
        assert len(sdp.serialize(sdp.answer_to_mixer(asked, given, Origin.of("192.0.2.9", 1)))) < 200_000
        return
    with pytest.raises(sdp.SdpError):
        sdp.answer_to_mixer(asked, given, Origin.of("192.0.2.9", 1))
    with pytest.raises(sdp.SdpError):
        sdp.from_mixer(asked, given)
