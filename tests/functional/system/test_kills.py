"""Elements that die in the middle: what stands, what ends, and that all works again when they are back."""

from __future__ import annotations

import asyncio
import os
import signal

from system_support import SECONDS, Scene, System, Ue, lonely_scene, until

from mrf_ue.errors import UeError


async def works(scene: Scene) -> None:
    """A call from beginning to end."""
    ue = await scene.ue()
    await ue.join_bfcp()
    await ue.floor.request((2,), SECONDS)
    await ue.bye()


async def refused(scene: Scene, words: str) -> None:
    """A call that gets 503."""
    ue = await scene.ue()
    scene.expect("mrfc", f"refused: 503 .*{words}.*{ue.call_id}")
    response = await ue.dial()
    assert (response.status_code, response.get_header("Retry-After")) == (503, "5")


async def registered(system: System) -> None:
    """The MRFP is back."""
    await until(lambda: system.lab.status()["mrfps"] == 1)


async def disconnected(ue: Ue) -> None:
    """The BFCP connection ends."""
    async with asyncio.timeout(SECONDS):
        while not isinstance(await ue.connection.messages.get(), UeError):
            pass


async def test_kms_killed(breakable: System) -> None:
    """Calls that stand need no KMS; new ones get 503 until it is back, with its tickets and users."""
    lab = breakable.lab
    async with lonely_scene(lab) as scene:
        standing, ticketed = await scene.ue(), await scene.ue()
        await standing.join_bfcp()
        await ticketed.get_ticket()
        lab.elements["kms"].kill()
        scene.expect("mrfc", f"refused: 503 .*{ticketed.call_id}")
        assert (await ticketed.dial()).status_code == 503
        await standing.hello()
        await asyncio.to_thread(lab.start_kms)
        await works(scene)
        await standing.hello()
        await standing.bye()


async def test_mrfp_killed(breakable: System) -> None:
    """Standing calls get BYE, new ones 503; a new MRFP serves again."""
    lab = breakable.lab
    async with lonely_scene(lab) as scene:
        ues = [await scene.ue() for _ in range(3)]
        for ue in ues:
            await ue.join_bfcp()
        scene.expect("mrfc", "MRFP mrfp lost")
        lab.elements["mrfp"].kill()
        for ue in ues:
            assert 'text="MRFP lost"' in await ue.far_end_bye()
        await until(lambda: lab.status()["calls"] == 0)
        await refused(scene, "no MRFP is in service")
        await asyncio.to_thread(lab.start_mrfp)
        await registered(breakable)
        await works(scene)


async def test_mrfp_stopped(breakable: System) -> None:
    """It stands still, with its connections up: requests get 503 in time, and it is used again when it goes on."""
    lab = breakable.lab
    async with lonely_scene(lab) as scene:
        mrfp = lab.elements["mrfp"].pid
        standing = await scene.ue()
        await standing.join_bfcp()
        os.kill(mrfp, signal.SIGSTOP)
        try:
            await refused(scene, "did not answer")
        finally:
            os.kill(mrfp, signal.SIGCONT)
        await scene.told("mrfc", "releasing .* which came too late")
        await standing.hello()
        await standing.bye()
        await works(scene)


async def test_kamailio_killed(breakable: System) -> None:
    """The MRFP releases what nobody commands any more; a new MRFC knows nothing of old calls and takes new ones."""
    lab = breakable.lab
    async with lonely_scene(lab) as scene:
        standing = await scene.ue()
        await standing.join_bfcp()
        scene.expect("mrfp", "MRFC at .* lost")
        scene.may_log("mrfp", "no MRFC at|did not take us|terminations released")
        lab.elements["mrfc"].kill()
        await standing.hello()  # floor control goes on for a while without the focus
        await until(lambda: lab.mrfp_status()["terminations"] == 0)
        await disconnected(standing)
        await asyncio.to_thread(lab.start_mrfc)
        await registered(breakable)
        standing.send_in_dialog("BYE")
        assert (await standing.final("BYE")).status_code == 481
        await works(scene)


async def test_kamailio_restarted_at_once(breakable: System) -> None:
    """The new MRFC is there before the MRFP gives up: what it finds there is cleared first."""
    lab = breakable.lab
    async with lonely_scene(lab) as scene:
        standing = await scene.ue()
        await standing.join_bfcp()
        scene.expect("mrfp", "MRFC at .* lost")
        scene.may_log("mrfp", "no MRFC at|did not take us|terminations released")
        lab.elements["mrfc"].kill()
        await asyncio.to_thread(lab.start_mrfc)
        await registered(breakable)
        await disconnected(standing)
        await works(scene)
