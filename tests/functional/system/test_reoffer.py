"""Standing sessions on real elements: re-keyed while the floor is held, broken off and come back, disabled, flooded."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from callee_support import Callee, ask_operator
from system_support import SECONDS, Scene, System, Ue, until
from system_support import scene as play

from lab import Lab
from mrf_protocols import sdp
from mrf_protocols.mikey import DEFAULT_FLAGS, PolicyFlag
from mrf_protocols.sdp import ConnectionUse, Setup
from mrf_ue.console import ConsoleOptions
from mrf_ue.errors import KmsFailed, SipRefused, UeError
from mrf_ue.keys import start_transfer
from mrf_ue.options import TLS_POLICIES
from mrf_ue.talk import TalkSteps

PATIENT = 60.0
"""Seconds for which a call stays without a connection here: longer than anything takes on a slow machine."""
FLOOR = (2,)  # the bystander holds floor 1


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A laboratory whose MRFC waits for those who come back."""
    folder = tmp_path_factory.mktemp("reoffer")
    with System.running(folder, sip={"ack_timeout": SECONDS, "reconnect_grace": PATIENT}) as running:
        yield running


@pytest.fixture
def short_lived(tmp_path: Path) -> Iterator[System]:
    """A laboratory whose MRFC asks for tickets that do not last."""
    times = {"dial_out": {"ticket_lifetime": 8.0}, "mikey": {"rekey_margin": 5.0}}
    with System.running(tmp_path / "lab", **times) as running:
        yield running


@pytest.fixture
async def scene(patient: System) -> AsyncIterator[Scene]:
    async with play(patient.lab) as played:
        yield played


async def holding(scene: Scene, **more: Any) -> tuple[Ue, Ue]:
    """Somebody who holds floor 2, and somebody who waits for it."""
    holder, waiter = await scene.ue(**more), await scene.ue()
    for ue in (holder, waiter):
        await ue.join_bfcp()
    await holder.floor.request(FLOOR, SECONDS)
    waiter.floor.send(waiter.floor.client.request(FLOOR, 0.0))
    await queued(scene.lab, 1)
    return holder, waiter


async def queued(lab: Lab, count: int) -> None:
    """Wait until so many requests are in the queue of floor 2, as the MRFC knows it."""
    async with asyncio.timeout(SECONDS):
        while len(await asyncio.to_thread(queue, lab)) != count:
            await asyncio.sleep(0.02)


def queue(lab: Lab) -> list[Any]:
    """Who waits for floor 2 of "meeting"."""
    floors: Any = ask_operator(lab, "/floors")
    return next(list(floor["queue"]) for floor in floors if floor["floor"] == FLOOR[0])


async def handed_over(holder: TalkSteps, waiter: Ue) -> None:
    """The holder gives the floor back, and who waits gets it: requests and queue are what they were."""
    await holder.release_floor()
    async with asyncio.timeout(SECONDS):
        while type(await waiter.floor.next_event(SECONDS)).__name__ != "Granted":
            pass


async def leave(*ues: Ue) -> None:
    for ue in ues:
        await ue.bye()


async def terminations(scene: Scene, count: int) -> None:
    """Wait until the MRFP has so many."""
    async with asyncio.timeout(SECONDS):
        while (await scene.status())[1]["terminations"] != count:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("setup", [Setup.ACTIVE, Setup.PASSIVE])
async def test_the_key_is_renewed_while_the_floor_is_held(scene: Scene, tls: str, setup: Setup) -> None:
    holder, waiter = await holding(scene, tls=TLS_POLICIES[tls], setup=setup)
    before = holder.connection
    await holder.renewals.renew()
    await holder.renewals.renew()
    assert holder.connection is not before
    await holder.hello()
    await terminations(scene, 3)
    await handed_over(holder, waiter)
    await leave(holder, waiter)


async def test_a_called_participant_renews_its_key(scene: Scene) -> None:
    """Its offer makes it the TLS client, though it was the server when it was called."""
    async with Callee.waiting(scene) as callee:
        ue = await callee.called()
        await ue.prepare()
        await ue.accept()
        await ue.wait_ack()
        await ue.connect()
        await ue.secure()
        await ue.floor.request(FLOOR, SECONDS)
        waiter = await scene.ue()
        await waiter.join_bfcp()
        waiter.floor.send(waiter.floor.client.request(FLOOR, 0.0))
        await queued(scene.lab, 1)
        await ue.renewals.renew()
        await ue.hello()
        await handed_over(ue, waiter)
        await ue.bye()
        await waiter.bye()


@pytest.mark.parametrize("setup", [Setup.ACTIVE, Setup.PASSIVE])
async def test_an_operator_has_a_call_rekeyed(scene: Scene, setup: Setup) -> None:
    """The MRFC offers: the MRFP is TLS client, and the participant opens TCP or not, as it likes."""
    scene.may_log("mrfc", "operator: re-keyed")
    holder, waiter = await holding(scene, setup=setup)
    for _ in range(2):
        before = holder.connection
        path = f"/calls/{quote(holder.call_id, safe='')}/rekey"
        answer = await asyncio.to_thread(ask_operator, scene.lab, path, {})
        assert answer == {"rekeyed": 1}
        await until(lambda before=before: holder.connection is not before)  # type: ignore[misc] # its value now
    await holder.hello()
    await terminations(scene, 3)
    await holder.renewals.renew()  # and the other way round again
    await handed_over(holder, waiter)
    await leave(holder, waiter)


async def test_the_key_of_a_called_participant_is_renewed_in_time(short_lived: System) -> None:
    """Tickets of the MRFC are good for some seconds here: it renews them by itself."""
    async with play(short_lived.lab) as scene, Callee.waiting(scene) as callee:
        ue = await callee.called()
        await ue.pick_up()
        await ue.connect()
        before = ue.connection
        await ue.secure()
        await ue.floor.request(FLOOR, SECONDS)
        await until(lambda: ue.connection is not before, 3 * SECONDS)
        await ue.release_floor()
        await ue.bye()


async def test_a_broken_connection_comes_back_with_floor_and_queue(scene: Scene) -> None:
    holder, waiter = await holding(scene)
    for ue in (holder, waiter):
        ue.floor.recover = ue.renewals.recover
        ue.floor.drop()
    await holder.hello()
    await waiter.hello()
    await handed_over(holder, waiter)
    await leave(holder, waiter)


async def test_who_does_not_come_back_may_still_hang_up(scene: Scene) -> None:
    holder, waiter = await holding(scene)
    holder.floor.drop()
    await scene.told("mrfc", "BFCP connection lost")
    assert await asyncio.to_thread(queue, scene.lab)  # the floor is kept for who may come back
    await holder.bye()
    async with asyncio.timeout(SECONDS):
        while type(await waiter.floor.next_event(SECONDS)).__name__ != "Granted":
            pass
    await waiter.bye()


async def test_existing_keeps_the_connection(scene: Scene) -> None:
    ue = await scene.ue()
    await ue.join_bfcp()
    last = ue.renewals.exchange
    local = sdp.ClientMedia(sdp.Address("127.0.0.1", 9))
    body = sdp.encode(sdp.reoffer(last.own, local, connection=ConnectionUse.EXISTING))
    response = await ue.call.reinvite(body, SECONDS)
    answer = sdp.parse(response.body)
    assert answer.media[0].value_of("connection") == "existing"
    assert answer.origin.version == last.peer.origin.version + 1
    ue.send_in_dialog("UPDATE", body)
    assert (await ue.final("UPDATE")).body == response.body
    await ue.hello()
    await ue.bye()


async def test_floor_control_given_up_and_had_again(scene: Scene) -> None:
    holder, waiter = await holding(scene)
    last = holder.renewals.exchange
    gone = sdp.successor(
        last.own, dataclasses.replace(last.own, media=tuple(map(sdp.refuse, last.own.media)))
    )
    response = await holder.call.reinvite(sdp.encode(gone), SECONDS)
    assert [media.port for media in sdp.parse(response.body).media] == [0]
    await terminations(scene, 2)
    async with asyncio.timeout(SECONDS):
        while type(await waiter.floor.next_event(SECONDS)).__name__ != "Granted":
            pass
    holder.renewals.exchange = sdp.Exchange(gone, sdp.parse(response.body))
    await holder.renewals.renew()
    await holder.hello()
    await leave(holder, waiter)


async def test_a_wrong_mac_keeps_the_old_session(scene: Scene) -> None:
    scene.may_log("mrfc", "refused: 488")
    holder, waiter = await holding(scene)
    await holder.get_ticket()
    init = start_transfer(holder.ticket, holder.initiator, holder.responder).init()
    wrong = init[:-1] + bytes([init[-1] ^ 1])
    media = sdp.ClientMedia(sdp.Address("127.0.0.1", 9), (sdp.KeyMgmt(sdp.MIKEY, wrong),))
    offer = sdp.reoffer(holder.renewals.exchange.own, media, connection=ConnectionUse.NEW, setup=Setup.ACTIVE)
    assert base64.b64encode(wrong) in sdp.encode(offer)
    with pytest.raises(SipRefused) as refused:
        await holder.call.reinvite(sdp.encode(offer), SECONDS)
    assert refused.value.status == 488
    await holder.hello()
    await terminations(scene, 3)
    await handed_over(holder, waiter)
    await leave(holder, waiter)


async def test_a_silent_kms_keeps_the_old_session(scene: Scene, patient: System) -> None:
    scene.may_log("mrfc", "refused: 503|KMS")
    holder, waiter = await holding(scene)
    body = await next_offer(holder)
    with patient.kms.silent(), pytest.raises(SipRefused) as refused:
        await holder.call.reinvite(body, SECONDS)
    assert refused.value.status == 503
    await holder.renewals.renew()
    await handed_over(holder, waiter)
    await leave(holder, waiter)


async def next_offer(ue: Ue) -> bytes:
    """An offer with a new key that makes the MRFP listen."""
    await ue.get_ticket()
    transfer = start_transfer(ue.ticket, ue.initiator, ue.responder)
    media = sdp.ClientMedia(sdp.Address("127.0.0.1", 9), (sdp.KeyMgmt(sdp.MIKEY, transfer.init()),))
    offer = sdp.reoffer(ue.renewals.exchange.own, media, connection=ConnectionUse.NEW, setup=Setup.ACTIVE)
    return sdp.encode(offer)


async def test_bye_in_the_middle_leaves_nothing(scene: Scene, patient: System) -> None:
    scene.may_log("mrfc", "KMS|refused")
    ue = await scene.ue()
    await ue.join_bfcp()
    body = await next_offer(ue)
    with patient.kms.silent():
        change = asyncio.ensure_future(ue.call.reinvite(body, SECONDS))
        await until(lambda: patient.kms.asked)
        await ue.bye()
        with pytest.raises(SipRefused) as refused:
            await change
    assert refused.value.status in (481, 487)


async def test_a_flood_of_offers_costs_a_few_and_touches_nobody(scene: Scene) -> None:
    scene.may_log("mrfc", "refused: 500")
    scene.may_log("mrfp", "client-hello-timeout|tls-establishment-failure|tcp-")
    scene.may_log("mrfc", "new BFCP connection")
    ue = await scene.ue()
    await ue.join_bfcp()
    statuses = []
    for _ in range(20):
        body = await next_offer(ue)
        try:
            response = await ue.call.reinvite(body, SECONDS)
            ue.renewals.exchange = dataclasses.replace(
                ue.renewals.exchange, own=sdp.parse(body), peer=sdp.parse(response.body)
            )
            statuses.append(200)
        except SipRefused as refused:
            statuses.append(refused.status)
    assert set(statuses) == {200, 500}
    assert statuses.count(500) >= 5
    # those of the bystander, of this UE, and of its last try
    await until(lambda: scene.lab.mrfp_status()["terminations"] <= 3)
    await ue.hello()
    await ue.bye()


@pytest.mark.parametrize("flags", [DEFAULT_FLAGS | PolicyFlag.L, DEFAULT_FLAGS])
async def test_a_new_key_without_a_new_ticket(scene: Scene, flags: PolicyFlag) -> None:
    """CSB updates by a UE, one after the other, and after another ticket: the floor stays."""
    ue = await scene.ue()
    keys = dataclasses.replace(ue.options.keys, flags=flags)
    script = ("ask 2", "expect granted", "update", "hello", "update", "rekey", "update", "hello", "release")
    options = dataclasses.replace(ue.options, keys=keys, console=ConsoleOptions(script))
    ue.options = ue._talk = options
    await ue.join()
    if PolicyFlag.L in flags:
        await ue.talk()
        assert ue.floor.client.outstanding == ()
    else:
        with pytest.raises(KmsFailed, match="no key without another ticket"):
            await ue.talk()
        await ue.hello()  # on the connection that is there
    await ue.bye()


@pytest.mark.parametrize("reconnect", [True, False])
async def test_commands_of_the_terminal(scene: Scene, reconnect: bool) -> None:
    script = ("ask 2", "expect granted", "rekey", "hello", "drop", "hello", "requests", "release")
    ue = await scene.ue()
    options = dataclasses.replace(ue.options, console=ConsoleOptions(script), reconnect=reconnect)
    ue.options = ue._talk = options
    await ue.join()
    if reconnect:
        await ue.talk()
        assert ue.floor.client.outstanding == ()
    else:
        with pytest.raises(UeError, match="broke"):
            await ue.talk()
    await ue.bye()
