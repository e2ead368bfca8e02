"""An MRFP dies, and its conference goes on at another one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from system_support import SECONDS, System, lonely_scene, until

from lab import Lab
from mrf_protocols.sdp import Setup

FLOOR = (1,)
SECOND = "mrfp-b"


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Lab]:
    """A laboratory whose MRFC moves calls."""
    with System.running(
        tmp_path / "lab", mp={"on_mrfp_loss": "move"}, sip={"ack_timeout": SECONDS}
    ) as running:
        yield running.lab


async def test_the_mrfp_of_a_conference_is_killed(moving: Lab) -> None:
    """The participants get a re-INVITE, connect to the other MRFP, and ask for the floor once more."""
    async with lonely_scene(moving) as scene:
        await asyncio.to_thread(moving.start_another_mrfp, SECOND)
        await until(lambda: moving.status()["mrfps"] == 2)
        elsewhere = await scene.ue(
            "conf-factory"
        )  # at the first MRFP, so that the meeting goes to the second
        await elsewhere.join_bfcp()
        ues = [await scene.ue(setup=setup) for setup in (Setup.ACTIVE, Setup.PASSIVE)]
        for ue in ues:
            await ue.join_bfcp()
        await ues[0].floor.request(FLOOR, SECONDS)
        assert moving.mrfp_status()["terminations"] == 1
        before = [ue.connection for ue in ues]
        scene.expect("mrfc", f"MRFP {SECOND} lost: [^0-9]")
        scene.expect("mrfc", f"MRFP {SECOND} lost: 2 of 2 participants move.*meeting")
        moving.elements.pop(SECOND).kill()
        for ue, old in zip(ues, before, strict=True):
            await until(lambda ue=ue, old=old: ue.connection is not old)  # type: ignore[misc] # their values now
            await ue.hello()
        assert moving.mrfp_status()["terminations"] == 3
        assert moving.status()["calls"] == 3
        await ues[1].floor.request(FLOOR, SECONDS)  # nobody holds it any more
        await ues[1].floor.release(SECONDS)
        await ues[0].floor.request(FLOOR, SECONDS)
        for ue in (elsewhere, *ues):
            assert not ue.call.hung_up.is_set()
            await ue.bye()
