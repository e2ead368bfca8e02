"""{dial-in, dial-out} x {MRFP opens TCP, UE opens TCP} x {TLS 1.2, TLS 1.3}: the offerer is the TLS client in all."""

from __future__ import annotations

import pytest
from callee_support import Callee
from system_support import SECONDS, Scene

from mrf_protocols.sdp import Party, Setup
from mrf_ue.options import TLS_POLICIES
from mrf_ue.talk import TalkSteps

VERSIONS = {"1.2": "TLSv1.2", "1.3": "TLSv1.3"}
OTHER_FLOOR = (2,)  # the bystander holds floor 1


async def use_floor(ue: TalkSteps) -> None:
    """Ask for a floor, get it, give it back."""
    await ue.hello()
    await ue.floor.request(OTHER_FLOOR, SECONDS)
    await ue.release_floor()


@pytest.mark.parametrize("tls", VERSIONS)
@pytest.mark.parametrize("setup", [Setup.ACTIVE, Setup.PASSIVE])
async def test_dial_in(scene: Scene, setup: Setup, tls: str) -> None:
    ue = await scene.ue(setup=setup, tls=TLS_POLICIES[tls])
    await ue.join()
    assert ue.answer.tcp_opener is (Party.OFFERER if setup is Setup.ACTIVE else Party.ANSWERER)
    assert ue.answer.tls_client is Party.OFFERER
    await ue.connect()
    await ue.secure()
    assert ue.connection.tls_version == VERSIONS[tls]
    await use_floor(ue)
    await ue.bye()


@pytest.mark.parametrize("tls", VERSIONS)
@pytest.mark.parametrize("setup", [Setup.ACTIVE, Setup.PASSIVE])
async def test_dial_out(scene: Scene, setup: Setup, tls: str) -> None:
    async with Callee.waiting(scene, setup=setup, tls=TLS_POLICIES[tls]) as callee:
        ue = await callee.called()
        await ue.pick_up()
        assert ue.agreement.tcp_opener is (Party.ANSWERER if setup is Setup.ACTIVE else Party.OFFERER)
        assert ue.agreement.tls_client is Party.OFFERER
        await ue.connect()
        await ue.secure()
        assert ue.connection.tls_version == VERSIONS[tls]
        await use_floor(ue)
        await ue.bye()
        assert (await callee.outcome())["status"] == 200


@pytest.mark.parametrize("tls", VERSIONS)
@pytest.mark.parametrize("setup", [Setup.ACTIVE, Setup.PASSIVE])
async def test_late_offer(scene: Scene, setup: Setup, tls: str) -> None:
    """An INVITE without offer: the MRFC offers in the 200, so the MRFP is TLS client, and the ACK has the answer."""
    async with Callee.calling(scene, setup=setup, tls=TLS_POLICIES[tls]) as ue:
        assert ue.agreement.tls_client is Party.OFFERER
        await ue.connect()
        await ue.secure()
        assert ue.connection.tls_version == VERSIONS[tls]
        await use_floor(ue)
        await ue.bye()
