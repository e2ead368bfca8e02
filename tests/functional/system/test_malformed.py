"""Messages that are no proper SIP: refused or dropped, with nothing left behind and no traceback."""

from __future__ import annotations

import asyncio
import random
import re
import urllib.request
from collections.abc import AsyncIterator
from typing import cast

import pytest
from aiosipua import SipRequest, SipResponse
from system_support import ACK_TIMEOUT, Scene, until

ROUNDS = 300


class Peer(asyncio.DatagramProtocol):
    """Sends octets, and keeps what comes back."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.append(data)

    async def answer(self, octets: bytes) -> str:
        """The status line of the final response to these octets."""
        self.received.clear()
        self.transport.sendto(octets)
        return await until(
            lambda: next(
                (each.split(b"\r\n")[0].decode() for each in self.received if b" 100 " not in each[:12]), ""
            )
        )


@pytest.fixture
async def peer(scene: Scene) -> AsyncIterator[Peer]:
    address = ("127.0.0.1", scene.lab.ports.sip)
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Peer, remote_addr=address)
    yield protocol
    transport.close()


async def invite_of(scene: Scene, peer: Peer) -> bytes:
    """An INVITE that would be served, as octets that were never sent."""
    ue = await scene.ue()
    await ue.get_ticket()
    octets: list[bytes] = []

    def keep(message: SipRequest | SipResponse, *, first: bool = True) -> None:
        octets.append(bytes(message))

    ue.endpoint.send = keep  # type: ignore[method-assign]  # for good: it would be sent again half a second later
    await ue.invite()
    ue.call.close()
    port = peer.transport.get_extra_info("sockname")[1]
    return octets[0].replace(b"127.0.0.1:%d;branch" % ue.endpoint.end.port, b"127.0.0.1:%d;branch" % port)


@pytest.mark.parametrize("number", [2**31, 2**32 - 1, 2**65])
@pytest.mark.parametrize("method", [b"INVITE", b"BYE"])
async def test_cseq_out_of_range(scene: Scene, peer: Peer, method: bytes, number: int) -> None:
    """Kamailio finds numbers beyond 32 bits by itself, and says nothing about it."""
    digits = b"%d" % number
    octets = (await invite_of(scene, peer)).replace(b"CSeq: 1 INVITE", b"CSeq: " + digits + b" " + method)
    octets = octets.replace(b"INVITE sip:", method + b" sip:")
    if number < 2**32:
        scene.expect("mrfc", "message from .* is malformed: CSeq")
    assert (await peer.answer(octets)).startswith("SIP/2.0 400 ")


def stray_responses(scene: Scene) -> int:
    """How many the MRFC has counted."""
    with urllib.request.urlopen(f"http://127.0.0.1:{scene.lab.ports.http}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(
        r'^mrfc_trunk_requests_total{result="stray_response",trunk="-"} (\d+)', text, re.MULTILINE
    )
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("cseq", [b"1 BYE", b"9292394834772304023312 BYE", b"1 INVITE"])
async def test_responses_to_nothing(scene: Scene, peer: Peer, cseq: bytes) -> None:
    """A response that nobody waits for is not sent on by its second Via, makes us send nothing, and is counted."""
    response = (
        b"SIP/2.0 %d OK\r\nVia: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bKx\r\n"
        b"Via: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bKy\r\n"
        b"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: nobodys\r\nContact: <sip:127.0.0.1:%d>\r\n"
        b"CSeq: %s\r\nContent-Length: 0\r\n\r\n"
    )
    before = stray_responses(scene)
    own = peer.transport.get_extra_info("sockname")[1]
    for _ in range(50):
        peer.transport.sendto(response % (404, scene.lab.ports.sip, own, own, cseq))
    peer.transport.sendto(response % (200, scene.lab.ports.sip, own, own, cseq))
    await until(lambda: stray_responses(scene) >= before + 50)
    assert not peer.received


async def test_octets_changed_anywhere(scene: Scene, peer: Peer) -> None:
    """INVITEs with octets changed, lost and added: Kamailio may say what it likes, we have no traceback."""
    invite = await invite_of(scene, peer)
    dice = random.Random(20)
    for number in range(ROUNDS):
        octets = bytearray(invite)
        at = dice.randrange(len(octets))
        match dice.randrange(3):
            case 0:
                octets[at] = dice.randrange(256)
            case 1:
                del octets[at : at + dice.randrange(1, 20)]
            case 2:
                octets[at:at] = dice.randbytes(dice.randrange(1, 6))
        octets = octets.replace(b"branch=z9hG4bK", b"branch=z9hG4bK%d" % number)
        octets = octets.replace(b"Call-ID: ", b"Call-ID: %d-" % number)
        peer.transport.sendto(octets)
        await asyncio.sleep(0.002)
    await asyncio.sleep(ACK_TIMEOUT)  # some may have been served, and nobody acknowledges
    for element in ("mrfc", "mrfp", "kms"):
        assert not [line for line in scene.logs[element].lines() if "Traceback" in line]
        scene.may_log(element, "")
    await until(lambda: len(peer.received) > ROUNDS / 2)
