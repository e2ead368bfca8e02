"""Ten thousand dial-outs that fail in every way, with a media gateway on real sockets: nothing is left."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from focus_world import BOB, Callee, FakeMrfp, MrfpRefused, World, make_world, response_to
from mrfp_support import LocalMrfp

from mrf_protocols.h248.errors import H248Error
from mrf_protocols.h248.mp import Acknowledgement, Procedure
from mrfc.sip.port import OutgoingRequest

ROUNDS, EACH = 100, 100


class GatewayMrfp(FakeMrfp):
    """An MRFP whose terminations are real: ports, listening sockets, timers."""

    def __init__(self, local: LocalMrfp) -> None:
        super().__init__()
        self.local = local

    async def request(self, mrfp: str, procedure: Procedure) -> Acknowledgement:
        await self.reached(procedure)
        try:
            return self.local.gateway.handle(procedure)
        except H248Error as error:
            raise MrfpRefused(error.code, error.text) from error

    def lose_everything(self) -> None:
        super().lose_everything()
        self.local.gateway.release_everything()


def answer(world: World, invite: OutgoingRequest, chance: random.Random) -> None:
    """One of all the things that a participant may do."""
    status = chance.choice([100, 180, 183, 404, 486, 488, 503, 603, 200, 200])
    body = ""
    if status == 200:
        body = chance.choice(["", "v=0\r\n", "good", "spoilt"])
        if body in {"good", "spoilt"}:
            body = Callee(world.kms).answer(invite.body, spoil=body == "spoilt")
    world.focus.on_response(response_to(invite, status, body=body))
    if chance.random() < 0.1:
        world.focus.on_response(response_to(invite, 200, tag="fork", body=body))


async def test_nothing_is_left_of_ten_thousand_mixed_failures(tmp_path: Path) -> None:
    local = LocalMrfp(ports=2 * EACH)
    mrfp = GatewayMrfp(local)
    world = make_world(
        tmp_path, mrfp=mrfp, dial_out={"ring_timeout": 60.0, "ticket": "self-made"}, sip={"ack_timeout": 60.0}
    )
    conference = world.store.conference("meeting")
    assert conference is not None
    chance = random.Random(6043)
    before = local.left_over()
    for _ in range(ROUNDS):
        for _ in range(EACH):
            world.dial_outs.start(conference, BOB)
        async with asyncio.timeout(120):
            while len(invites := world.sip.sent("INVITE")) < EACH:
                await world.settle()
        for invite in invites:
            answer(world, invite, chance)
        await world.settle()
        if chance.random() < 0.2:
            mrfp.lose_everything()
            world.focus.on_mrfp_lost("mrfp")
        for call in world.store.calls():
            world.calls.end(call, "enough")
        for invite in invites:
            world.focus.on_response(response_to(invite, 487))
        await world.settle()
        world.sip.requests.clear()
    await world.settle(0.2)
    assert not any(world.busy().values())
    assert local.left_over() == before == {}
