"""Offers that went through the mill, in real INVITEs: each gets a final answer, and nothing is left of any."""

from __future__ import annotations

import random

from device_offers import FIXTURES, RECORDED, body, recorded
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sip_peer import Message, SipPeer
from system_support import Scene

from lab import DOMAIN

FILES = [*sorted(FIXTURES.glob("*.sdp")), *(RECORDED / name for name in recorded())]
LONGEST = 40_000  # octets: what surely passes in one datagram with its headers
VALUES = [
    "",
    "0",
    "-1",
    "65536",
    "9" * 30,
    "::1",
    "0.0.0.0",
    "255.255.255.255",
    "é",
    "\t",
    "a=",
    "%00",
    "x" * 2000,
]


def mutate(offer: str, seed: int) -> str:
    """One of endless variations of an offer; the same seed gives the same."""
    chance = random.Random(seed)
    lines = offer.split("\r\n")
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(lines))
        match chance.randrange(8):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[chance.randrange(len(lines))])
            case 2:
                lines[at] = lines[at][: chance.randint(0, len(lines[at]))]
            case 3:
                words = lines[at].split(" ")
                words[chance.randrange(len(words))] = chance.choice(VALUES)
                lines[at] = " ".join(words)
            case 4:
                head, colon, _ = lines[at].partition(":")
                lines[at] = head + colon + chance.choice(VALUES)
            case 5:
                lines[at] *= chance.choice([2, 50])
            case 6:
                lines[at:at] = [lines[at]] * chance.choice([3, 70])
            case _:
                chance.shuffle(lines)
        lines = lines or [""]
    return "\r\n".join(lines).encode()[:LONGEST].decode(errors="ignore")


def test_every_offer_gets_a_final_answer(scene: Scene) -> None:
    scene.may_log("mrfc", "INVITE from sip:room@ue.example .* refused: (400|415|488)")
    scene.may_log("mrfp", "refused: 531 no IPv6 media address")  # the laboratory has no IPv6 address
    lab = scene.lab
    with SipPeer(("127.0.0.1", lab.ports.sip), "room") as peer:
        target = f"sip:meeting@{DOMAIN}"

        @settings(
            max_examples=300,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(st.sampled_from(FILES), st.integers(min_value=0, max_value=2**32))
        @example(FILES[0], -1)
        def call(file: object, seed: int) -> None:
            offer = body(file)  # type: ignore[arg-type] # hypothesis types what it samples as object
            offer = offer if seed < 0 else mutate(offer, seed)
            kind = "application/sdp" if offer else ""
            call_id = peer.request("INVITE", target, content_type=kind, body=offer)

            def ours(message: Message) -> bool:
                return message["Call-ID"] == call_id and message.status >= 200

            answer = peer.wait(ours, 30.0)
            assert answer.status in {200, 400, 488}, answer
            cseq, tag = answer.cseq, answer.to_tag
            peer.request("ACK", target, call_id=call_id, cseq=cseq, to_tag=tag)
            if answer.status == 200:
                assert any(
                    int(line.split()[1]) for line in answer.body.split("\r\n") if line.startswith("m=")
                )
                peer.request("BYE", target, call_id=call_id, cseq=cseq + 1, to_tag=tag)
                assert peer.wait(ours, 30.0).status == 200

        call()
