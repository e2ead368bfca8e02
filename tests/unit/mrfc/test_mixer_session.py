"""The session of a leg to the mixer: what it is offered, and what both come back to."""

from __future__ import annotations

from mrf_protocols import sdp
from mrf_protocols.sdp import Origin, SessionDescription
from mrfc.mixer.session import LegSession

HEAD = "v=0\r\no=- 1 {version} IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
AUDIO = "m=audio {port} RTP/AVP 0\r\n"
VIDEO = "m=video {port} RTP/AVP 96\r\n"


def described(*lines: str, version: int = 1) -> str:
    return HEAD.format(version=version) + "".join(lines)


def parsed(*lines: str) -> SessionDescription:
    return sdp.parse(described(*lines))


def standing() -> LegSession:
    """A session of one audio stream."""
    session = LegSession({})
    session.begin(parsed(AUDIO.format(port=4000)), Origin.of("198.51.100.1", 5))
    answered(session, AUDIO.format(port=6000))
    return session


def answered(session: LegSession, *lines: str) -> None:
    session.agree(session.read("application/sdp", described(*lines)))


def test_a_change_that_comes_to_nothing_is_taken_back_with_its_stream() -> None:
    session = standing()
    first, mixed = session.offered, session.mixed
    session.change(parsed(AUDIO.format(port=4000), VIDEO.format(port=4002)))
    answered(session, AUDIO.format(port=6000), VIDEO.format(port=6002))
    assert set(session.mixed.media) == {0, 1}
    session.undo()
    session.restore()
    back = session.offered
    assert back.origin.version == first.origin.version + 2
    assert [each.port for each in back.media] == [4000, 0]
    session.restored()
    assert session.mixed == mixed
    session.repeat()
    assert session.offered == back  # a refresh, the version as the mixer knows it
    assert session.is_same(parsed(AUDIO.format(port=4000)))
    assert not session.is_same(parsed(AUDIO.format(port=4444)))


def test_an_offer_after_that_still_has_the_place_of_the_stream() -> None:
    session = standing()
    session.change(parsed(AUDIO.format(port=4000), VIDEO.format(port=4002)))
    session.restore()  # nobody waited for the answer
    session.restored()
    session.change(parsed(AUDIO.format(port=4444)))
    assert [each.port for each in session.offered.media] == [4444, 0]


def test_nothing_is_there_before_the_first_offer() -> None:
    session = LegSession({})
    assert not session.stands
    assert not session.is_same(parsed(AUDIO.format(port=4000)))
