"""What the MRFC answers to offers in the manner of real devices: each served m-line, each refused one, each refusal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from device_offers import FIXTURES, RECORDED, body, recorded
from focus_world import Caller, make_world

from mrf_protocols import sdp
from mrfc import jobs
from mrfc.sip.port import Response

PLAIN = {"unsecured": "allow"}
PORT = 20_000  # where the MRFP of these tests listens
DISCARD = 9  # what stands there when it connects


async def answered(folder: Path, offer: str, **tables: Any) -> Response:
    """The final response to an INVITE with this offer."""
    world = make_world(folder, **tables)
    caller = Caller(world.kms)
    world.focus.on_invite(caller.invite(offer))
    await world.settle()
    response = world.sip.answers[caller.transaction]
    if response.status == 200:
        world.focus.on_ack(caller.ack())
        world.focus.on_bye(caller.bye())
    await world.settle()
    assert set(world.busy().values()) == {0}
    return response


def warning(response: Response) -> int:
    value = dict(response.headers).get("Warning", "")
    return int(value.split()[0]) if value else 0


def ports(response: Response) -> list[int]:
    return [media.port for media in sdp.parse(response.body).media]


SERVED = {
    "client-without-identifiers.sdp": [0, 0, 0, 0, PORT],
    "connection-after-timing-and-bandwidth.sdp": None,
    "dead-udp-and-tcp.sdp": [0, 0, DISCARD],
    "other-host-for-bfcp.sdp": None,
    "tcp-actpass-no-label.sdp": [0, 0, DISCARD],
    "nothing-said-of-bfcp.sdp": [0, PORT],
    "far-end-camera-control.sdp": [0, 0, PORT, 0],
    "two-live-bfcp-streams.sdp": [DISCARD, 0],
    "bundle.sdp": [0, 0, PORT],
}
"""Served where TCP/BFCP is allowed: the ports of the answer."""

REFUSED = {
    "udp-without-setup.sdp": (488, 302),
    "dangling-label.sdp": (488, 302),
    "timing-before-connection.sdp": (488, 302),
    "two-versions.sdp": (488, 302),
    "media-connections-only.sdp": (488, 302),
    "bandwidth-before-timing.sdp": (488, 302),
    "dtls.sdp": (488, 302),
    "no-bfcp.sdp": (488, 304),
    "misspelt-streams.sdp": (488, 399),  # it wants to be the server itself
    "floorid-without-streams.sdp": (488, 399),  # TLS without a ticket
    "folded-lines.sdp": (400, 399),
}
KEYED = {"secured-dial-in.sdp", "session-level-keys.sdp"}
"""Their tickets are from elsewhere; tests of tickets serve such offers."""


def test_every_fixture_is_looked_at() -> None:
    assert {path.name for path in FIXTURES.glob("*.sdp")} == SERVED.keys() | REFUSED.keys() | KEYED


@pytest.mark.parametrize("name", SERVED)
async def test_served_where_the_operator_allows_it(tmp_path: Path, name: str) -> None:
    offer = body(FIXTURES / name)
    response = await answered(tmp_path, offer, bfcp=PLAIN)
    assert response.status == 200
    offered, answer = sdp.parse(offer), sdp.parse(response.body)
    assert [(each.media, each.proto, each.formats) for each in answer.media] == [
        (each.media, each.proto, each.formats) for each in offered.media
    ]
    if (wanted := SERVED[name]) is not None:
        assert ports(response) == wanted
    [index] = [index for index, media in enumerate(answer.media) if media.port]
    stream = sdp.bfcp_media(answer, index)
    assert stream.roles == (sdp.FloorControlRole.S_ONLY,)
    assert (stream.conference_id, stream.user_id) == (4321, 1)
    assert stream.floors == (sdp.FloorStreams(1, ("10",)),)
    assert (
        answer.attributes == ()
    )  # no BUNDLE, no ICE: an answerer without them says nothing of them (RFC 9143 7.3)
    assert "mid" not in {attribute.name for media in answer.media for attribute in media.attributes}


@pytest.mark.parametrize("name", SERVED)
async def test_refused_by_default(tmp_path: Path, name: str) -> None:
    response = await answered(tmp_path, body(FIXTURES / name))
    assert (response.status, warning(response)) == (488, 302)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("bfcp", [{}, PLAIN], ids=["secured", "unsecured"])
async def test_refused(tmp_path: Path, name: str, bfcp: dict[str, str]) -> None:
    wanted = REFUSED[name]
    if name == "misspelt-streams.sdp" and not bfcp:
        wanted = (488, 302)
    response = await answered(tmp_path, body(FIXTURES / name), bfcp=bfcp)
    assert (response.status, warning(response)) == wanted


async def test_absent_attributes_have_the_defaults_of_their_standards(tmp_path: Path) -> None:
    """No a=setup: the offerer connects (RFC 4145 4.1); no a=floorctrl: it is the client (RFC 8856 5.1)."""
    response = await answered(tmp_path, body(FIXTURES / "nothing-said-of-bfcp.sdp"), bfcp=PLAIN)
    stream = sdp.bfcp_media(sdp.parse(response.body), 1)
    assert (stream.setup, stream.connection) == (sdp.Setup.PASSIVE, sdp.ConnectionUse.NEW)
    assert stream.versions == ()


async def test_no_way_back_from_tls(tmp_path: Path) -> None:
    """Who has proved himself with a key does not go on without, whatever a later offer says."""
    world = make_world(tmp_path, bfcp=PLAIN)
    caller = Caller(world.kms)
    world.focus.on_invite(caller.invite())
    await world.settle()
    world.focus.on_ack(caller.ack())
    [call] = world.store.calls()
    gone = sdp.parse(caller.offer())
    plain = "m=application 5002 TCP/BFCP *\r\na=setup:active\r\na=floorctrl:c-only\r\n"
    body = sdp.serialize(replace(gone, media=tuple(map(sdp.refuse, gone.media)))) + plain
    transaction = jobs.TransactionId(caller.number, 50)
    world.focus.on_invite(caller.invite(body, in_dialog=True, cseq=2, transaction=transaction))
    await world.settle()
    response = world.sip.answers[transaction]
    assert (response.status, warning(response)) == (488, 302)
    assert (call.secured, call.termination is not None) == (True, True)
    world.focus.on_bye(caller.bye())
    await world.settle()
    assert set(world.busy().values()) == {0}


RECORDINGS = recorded()


@pytest.mark.parametrize("file", list(RECORDINGS) or ["no recorded offers here: set MRF_SHARED_DATA"])
async def test_recorded_offers(tmp_path: Path, file: str) -> None:
    """TCP is served where it is allowed, everything else is refused with the reason."""
    recording = RECORDINGS.get(file)
    if recording is None:  # the fixtures stand for the recordings where there are none
        assert not RECORDED.exists()
        return
    response = await answered(tmp_path, body(RECORDED / file), bfcp=PLAIN)
    if "broken capture" in recording["quirk"]:
        assert (response.status, warning(response)) == (400, 399)
    elif recording["proto"] == "TCP/BFCP" and recording["floorctrl"] != "s-only":
        assert response.status == 200
        assert [media.proto for media in sdp.parse(response.body).media if media.port] == ["TCP/BFCP"]
    else:
        assert (response.status, warning(response)) in {(488, 302), (488, 399)}
