"""INVITEs that are cancelled, at every step of the procedure."""

from __future__ import annotations

import asyncio

import pytest
from system_support import SECONDS, Scene, System, Ue, until

from mrf_ue.sip_dialog import new_request
from mrf_ue.sip_transactions import cancel_of

OVERTAKES = r"_reply_light\(\): no resolved dst|t_unref\(\): script writer didn't release transaction"
"""Kamailio, of a CANCEL whose worker finds the transaction that the INVITE's has only begun to open."""


def send_cancel(ue: Ue) -> None:
    """CANCEL, whatever the state of the call."""
    invite = ue.call.machine._invite
    assert invite is not None
    ue.endpoint.send(cancel_of(invite))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_before_the_kms_answers(scene: Scene, system: System, transport: str) -> None:
    ue = await scene.ue(transport=transport)
    await ue.get_ticket()
    with system.kms.silent():
        await ue.invite()
        await until(lambda: system.kms.asked)
        assert await ue.cancel() == 487
        assert (await ue.final("CANCEL")).status_code == 200
        await scene.told("mrfc", f"left: cancelled.*{ue.call_id}")


async def test_while_the_mrfp_is_asked(scene: Scene, system: System) -> None:
    """The termination that comes after all is given back."""
    ue = await scene.ue()
    await ue.get_ticket()
    with system.mp.holding_replies():
        await ue.invite()
        await until(lambda: system.mp.commands)
        assert await ue.cancel() == 487
        await scene.told("mrfc", f"left: cancelled.*{ue.call_id}")
        await until(lambda: scene.lab.mrfp_status()["terminations"] == 2)


async def test_while_the_mrfp_is_asked_for_a_new_conference(scene: Scene, system: System) -> None:
    ue = await scene.ue("conf-factory")
    await ue.get_ticket()
    with system.mp.holding_replies():
        await ue.invite()
        await until(lambda: system.mp.commands)
        assert await ue.cancel() == 487


async def test_at_once(scene: Scene) -> None:
    """INVITE and CANCEL right behind one another, as no UE should: whichever wins, nothing is left."""
    scene.may_log("mrfc", OVERTAKES)
    for _ in range(10):
        ue = await scene.ue()
        await ue.get_ticket()
        await ue.invite()
        send_cancel(ue)
        response = await ue.final()
        assert response.status_code in (200, 487)
        if response.status_code == 200:
            await ue.leave()
        assert (await ue.final("CANCEL")).status_code in (200, 481)


async def test_at_any_moment(scene: Scene) -> None:
    """CANCEL after 0 to 24 ms, and later until one comes too late: every step of the procedure gets hit in the end."""
    scene.may_log("mrfc", OVERTAKES)

    async def give_up_after(seconds: float) -> int:
        ue = await scene.ue()
        await ue.get_ticket()
        await ue.invite()
        await asyncio.sleep(seconds)
        send_cancel(ue)
        response = await ue.final()
        if response.status_code == 200:
            await ue.leave()
        return response.status_code

    statuses = [await give_up_after(step / 1000) for step in range(25)]
    later = 0.024
    while 200 not in statuses:
        later *= 2
        statuses.append(await give_up_after(later))
        assert later < SECONDS
    assert set(statuses) <= {200, 487}


async def test_after_the_200(scene: Scene) -> None:
    """Too late: the CANCEL changes nothing (RFC 3261 9.2), the call goes on."""
    ue = await scene.ue()
    assert (await ue.dial()).status_code == 200
    send_cancel(ue)
    assert (await ue.final("CANCEL")).status_code == 200
    await ue.wait_answer()
    ue.check_answer()
    await ue.ack()
    await ue.connect()
    await ue.secure()
    await ue.hello()
    assert not ue.call.hung_up.is_set()
    await ue.bye()


async def test_of_nothing(scene: Scene) -> None:
    ue = await scene.ue()
    ids = ("nobody-knows", "<sip:alice@ue.example>;tag=1", f"<{scene.lab.conference()}>")
    ue.endpoint.send(
        new_request(
            "CANCEL",
            scene.lab.conference(),
            cseq=1,
            end=ue.endpoint.end,
            branch="z9hG4bKnobody",
            ids=ids,
        )
    )
    assert (await ue.final("CANCEL")).status_code == 481
