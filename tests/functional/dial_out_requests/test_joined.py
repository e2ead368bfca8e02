"""A participant brings another one in by REFER within its own dialog, and leaves before that one answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from callee_support import Callee
from sip_peer import Answer, SipPeer
from system_support import SECONDS, Scene

from lab import Lab
from mrf_ue.talk import TalkSteps

Peers = Callable[..., SipPeer]


def tag(value: str | None) -> str:
    """The tag in a From or To."""
    found = re.search(r";tag=([^;>]+)", value or "")
    assert found is not None
    return found[1]


async def use_floor(ue: TalkSteps) -> None:
    """Secure the connection, ask for a floor, give it back."""
    await ue.connect()
    await ue.secure()
    await ue.hello()
    await ue.floor.request((2,), SECONDS)
    await ue.release_floor()


async def test_referred_by_a_participant_who_then_leaves(lab: Lab, peer: Peers) -> None:
    """The peer stands for the SIP half of the participant: it knows the dialog, and its Contact takes the NOTIFYs."""
    scene, half = Scene(lab), peer("alice")
    half.answers = {"NOTIFY": Answer()}
    try:
        alice = await scene.ue()
        response = await alice.dial()
        await alice.wait_answer()
        alice.check_answer()
        await alice.ack()
        half.tag = tag(response.get_header("From"))
        async with Callee.waiting(scene) as callee:
            coming = callee.next_call()
            half.request(
                "REFER",
                lab.conference(),
                f"Refer-To: <{callee.uri}>",
                call_id=alice.call_id,
                cseq=50,
                to_tag=tag(response.get_header("To")),
            )
            accepted = await asyncio.to_thread(half.response, "REFER")
            assert accepted.status == 202
            trying = await asyncio.to_thread(half.incoming, "NOTIFY")
            assert (trying["Event"], trying.body) == ("refer", "SIP/2.0 100 Trying\r\n")
            call = await asyncio.wait_for(coming, SECONDS)
            half.request(
                "BYE", lab.conference(), call_id=alice.call_id, cseq=51, to_tag=tag(response.get_header("To"))
            )
            assert (await asyncio.to_thread(half.response, "BYE")).status == 200
            bob = callee.take(call)
            await bob.pick_up()
            final = await asyncio.to_thread(
                half.wait, lambda message: message.method == "NOTIFY" and "200" in message.body
            )
            assert final["Subscription-State"] == "terminated;reason=noresource"
            assert final.cseq > trying.cseq
            await use_floor(bob)
            await bob.bye()
    finally:
        await scene.close()
