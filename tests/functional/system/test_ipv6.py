"""BFCP over IPv6, in both directions of calls, while SIP and Mp stay on IPv4."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from callee_support import Callee
from system_support import SECONDS, lonely_scene, settings

from lab import Lab
from mrf_protocols.sdp import Setup


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """An installation whose MRFP has addresses of both families."""
    chosen = settings(dial_out={"address_family": "IP6"})
    chosen.mrfp["media"] = {**chosen.mrfp.get("media", {}), "ipv4": "127.0.0.1", "ipv6": "::1"}
    with Lab(tmp_path_factory.mktemp("ipv6"), chosen) as running:
        running.start()
        yield running


@pytest.mark.parametrize("setup", [Setup.ACTIVE, Setup.PASSIVE])
async def test_dial_in(lab: Lab, setup: Setup) -> None:
    async with lonely_scene(lab) as scene:
        ue = await scene.ue(setup=setup, bearer_host="::1")
        await ue.join_bfcp()
        assert ue.connection.remote[0] == "::1"
        await ue.floor.request((1,), SECONDS)
        await ue.release_floor()
        await ue.bye()


@pytest.mark.parametrize("setup", [Setup.ACTIVE, Setup.PASSIVE])
async def test_dial_out(lab: Lab, setup: Setup) -> None:
    async with lonely_scene(lab) as scene, Callee.waiting(scene, setup=setup, bearer_host="::1") as callee:
        ue = await callee.called()
        await ue.pick_up()
        await ue.connect()
        assert ue.connection.remote[0] == "::1"
        await ue.secure()
        await ue.hello()
        await ue.floor.request((1,), SECONDS)
        await ue.release_floor()
        await ue.bye()
