"""An MRFP that is silent, refuses, or is gone in the middle."""

from __future__ import annotations

import asyncio

from system_support import RECONNECT_GRACE, Scene, System, lonely_scene, until, warning_code


async def test_silent(scene: Scene, system: System) -> None:
    """The answer that comes too late is given back."""
    ue = await scene.ue()
    scene.expect("mrfc", f"refused: 503 .*did not answer Configure BFCP Termination.*{ue.call_id}")
    with system.mp.holding_replies():
        response = await ue.dial()
        assert (response.status_code, response.get_header("Retry-After")) == (503, "5")
        _, mrfp = await scene.status()
        assert mrfp["terminations"] == 2  # the MRFP has done what it was told
    await scene.told("mrfc", "releasing .* which came too late")


async def test_silent_in_a_new_conference(scene: Scene, system: System) -> None:
    """The same for a conference, and its context, that this call would have made."""
    ue = await scene.ue("conf-factory")
    scene.expect("mrfc", f"refused: 503 .*{ue.call_id}")
    with system.mp.holding_replies():
        assert (await ue.dial()).status_code == 503


async def test_has_no_such_address(scene: Scene) -> None:
    """It has no IPv6 address to give, and will have none the next time."""
    ue = await scene.ue()
    ue.edit_offer = lambda body: body.replace(b"IN IP4 127.0.0.1", b"IN IP6 ::1")
    scene.expect("mrfp", "Configure BFCP Termination refused: 531 no IPv6")
    scene.expect("mrfc", f"refused: 488 .*531.*{ue.call_id}")
    response = await ue.dial()
    assert (response.status_code, warning_code(response), response.get_header("Retry-After")) == (
        488,
        301,
        None,
    )


async def test_gone_while_it_is_asked(system: System) -> None:
    """The association breaks under a request: that call is refused, standing calls are ended, all is given back."""
    async with lonely_scene(system.lab) as scene:
        standing, asking = await scene.ue(), await scene.ue()
        await standing.join_bfcp()
        scene.expect("mrfc", "MRFP mrfp lost")
        scene.expect("mrfp", "MRFC at .* lost")
        with system.mp.holding_replies():
            dialling = asyncio.ensure_future(asking.dial())
            await until(lambda: system.mp.commands)
            system.mp.cut()
            response = await dialling
        assert (response.status_code, response.get_header("Retry-After")) == (503, "5")
        await scene.told("mrfc", f"left: MRFP lost.*{asking.call_id}")
        assert 'text="MRFP lost"' in await standing.far_end_bye()
        await until(lambda: system.lab.status()["mrfps"] == 1)
        again = await scene.ue()
        await again.join_bfcp()
        await again.bye()


async def test_gone_and_back_before_anybody_noticed(system: System) -> None:
    """Calls of the time before are ended, and the MRFP that comes back is emptied: no context is orphaned."""
    async with lonely_scene(system.lab) as scene:
        ues = [await scene.ue(), await scene.ue("conf-factory")]
        for ue in ues:
            await ue.join_bfcp()
        scene.expect("mrfc", "MRFP mrfp lost")
        scene.expect("mrfp", "MRFC at .* lost")
        system.mp.cut()
        for ue in ues:
            assert 'text="MRFP lost"' in await ue.far_end_bye()
        await until(lambda: system.lab.status()["mrfps"] == 1)


async def test_late_indications_hit_nobody(scene: Scene, system: System) -> None:
    """What an MRFP says about a termination whose call has ended meanwhile changes nothing."""
    ue = await scene.ue()
    await ue.join_bfcp()
    with system.mp.holding_replies():
        ue.close_connection()
        await ue.bye()
        await asyncio.sleep(RECONNECT_GRACE)
    assert not ue.endpoint.requests("BYE")
