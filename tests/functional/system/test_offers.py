"""Offers that cannot be served, and odd ones that can: what the caller is answered, and that nothing is left."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable

import pytest
from system_support import Scene, warning_code

from mrf_protocols import mikey, sdp
from mrf_protocols.sdp import Setup

Edit = Callable[[bytes], bytes]
_KEY_MGMT = re.compile(rb"a=key-mgmt:mikey [A-Za-z0-9+/=]+\r\n")
AUDIO = b"m=audio 40000 RTP/AVP 0\r\n"
VIDEO = b"m=video 40002 RTP/AVP 31\r\n"


def key_mgmt(line: bytes) -> Edit:
    """Put this in place of the key-mgmt line."""
    return lambda body: _KEY_MGMT.sub(lambda _: line, body)


def proto(name: bytes) -> Edit:
    """Another transport in the m-line."""
    return lambda body: body.replace(b"TCP/TLS/BFCP", name)


def before_bfcp(lines: bytes) -> Edit:
    """M-lines before that of BFCP."""
    return lambda body: body.replace(b"m=application", lines + b"m=application")


def sections(body: bytes) -> tuple[bytes, bytes]:
    """What is before the BFCP section, and the section."""
    head, separator, section = body.partition(b"m=application")
    return head, separator + section


REFUSED: dict[str, tuple[Edit, int, int, str]] = {
    "no key-mgmt": (key_mgmt(b""), 488, 399, "key-mgmt"),
    "key-mgmt that is no base64": (key_mgmt(b"a=key-mgmt:mikey !!!!\r\n"), 488, 306, "base64|syntax"),
    "key-mgmt without data": (key_mgmt(b"a=key-mgmt:mikey\r\n"), 488, 306, "syntax"),
    "key-mgmt of random octets": (key_mgmt(b"a=key-mgmt:mikey AQIDBAUGBwg=\r\n"), 488, 306, "data end"),
    "key-mgmt of another protocol only": (key_mgmt(b"a=key-mgmt:other AAAA\r\n"), 488, 306, "key"),
    "BFCP over TCP without TLS": (proto(b"TCP/BFCP"), 488, 302, "transport"),
    "BFCP over UDP": (proto(b"UDP/BFCP"), 488, 302, "transport"),
    "BFCP over DTLS": (proto(b"UDP/TLS/BFCP"), 488, 302, "transport"),
    "no BFCP m-line": (lambda body: sections(body)[0] + AUDIO, 488, 304, "BFCP"),
    "BFCP m-line with port 0": (
        lambda body: re.sub(rb"m=application \d+", b"m=application 0", body),
        488,
        304,
        "BFCP|port",
    ),
    "host name for an address": (
        lambda body: body.replace(b"IN IP4 127.0.0.1", b"IN IP4 ue.example"),
        488,
        301,
        "address",
    ),
    "we would have to be the client": (lambda body: body.replace(b"c-only", b"s-only"), 488, 399, "role"),
    "a BFCP version nobody speaks": (
        lambda body: body.replace(b"bfcpver:1", b"bfcpver:7"),
        488,
        399,
        "version",
    ),
    "nothing to open": (
        lambda body: re.sub(rb"setup:\w+", b"setup:holdconn", body),
        488,
        399,
        "setup|holdconn",
    ),
    "broken session description": (lambda body: b"v=0\r\nthis is not SDP\r\n", 400, 399, "Bad Request"),
}


@pytest.mark.parametrize("fault", REFUSED)
async def test_refused(scene: Scene, fault: str) -> None:
    edit, status, code, words = REFUSED[fault]
    ue = await scene.ue()
    ue.edit_offer = edit
    scene.expect("mrfc", f"INVITE from {ue.options.sip.identity}.*refused: {status}.*({words}).*{ue.call_id}")
    response = await ue.dial()
    assert (response.status_code, warning_code(response)) == (status, code)
    assert not response.body


async def test_refused_when_it_is_no_text(scene: Scene) -> None:
    ue = await scene.ue()
    ue.edit_offer = lambda body: body.replace(b"s=-", b"s=caf\xe9")
    scene.expect("mrfc", r"message from 127\.0\.0\.1:\d+ is not UTF-8")
    assert (await ue.dial()).status_code == 400


async def test_refused_with_another_content_type(scene: Scene) -> None:
    ue = await scene.ue()
    ue.endpoint.edit = lambda request: request.set_header("Content-Type", "text/plain")
    scene.expect("mrfc", "refused: 415")
    response = await ue.dial()
    assert response.status_code == 415
    assert response.get_header("Accept") == "application/sdp"


async def test_two_protocols_are_served_when_both_are_authenticated(scene: Scene) -> None:
    ue = await scene.ue()
    await ue.get_ticket()
    ue.transfer = mikey.TransferInitiator(
        ue.ticket,
        ue.initiator,
        ue.responder,
        csb_id=7,
        rand=os.urandom,
        now=time.time(),
        sdp_ids="mikey;other",
    )
    ue.edit_offer = lambda body: _KEY_MGMT.sub(lambda found: found[0] + b"a=key-mgmt:other AAAA\r\n", body)
    response = await ue.dial()
    assert response.status_code == 200
    await ue.leave()


async def test_a_list_of_protocols_that_was_tampered_with_is_refused(scene: Scene) -> None:
    """Somebody put a protocol into the offer that the caller did not authenticate (RFC 4567 4.1.4)."""
    ue = await scene.ue()
    ue.edit_offer = lambda body: _KEY_MGMT.sub(lambda found: found[0] + b"a=key-mgmt:other AAAA\r\n", body)
    scene.expect("mrfc", "refused: 488.*list of key management protocols")
    response = await ue.dial()
    assert response.status_code == 488
    assert warning_code(response) in (306, 399)


async def test_other_streams_are_refused_in_order(scene: Scene) -> None:
    ue = await scene.ue()
    ue.edit_offer = lambda body: before_bfcp(AUDIO + VIDEO)(body) + AUDIO
    response = await ue.dial()
    assert response.status_code == 200
    answer = sdp.parse(response.body)
    assert [media.media for media in answer.media] == ["audio", "video", "application", "audio"]
    assert [bool(media.port) for media in answer.media] == [False, False, True, False]
    await ue.leave()


async def test_of_two_bfcp_streams_the_one_that_can_be_served_is(scene: Scene) -> None:
    ue = await scene.ue(setup=Setup.ACTIVE)
    ue.edit_offer = before_bfcp(b"m=application 40000 UDP/BFCP *\r\na=floorctrl:c-only\r\n")
    response = await ue.dial()
    assert response.status_code == 200
    assert [bool(media.port) for media in sdp.parse(response.body).media] == [False, True]
    await ue.leave()
