"""Participants who are called and do not join as they should: nothing is left of any of them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from aiohttp import web
from callee_support import CalledUe, Callee
from system_support import SECONDS, Scene, System, lonely_scene

from mrf_protocols import mikey
from mrf_protocols.sdp import Setup
from mrf_protocols.tls_psk import PskCredentials
from mrf_ue.errors import OfferRefused, UeError

FLOOR = (2,)  # the bystander holds floor 1


async def used(ue: CalledUe) -> None:
    """The floor is asked for, granted and given back."""
    await ue.secure()
    await ue.hello()
    await ue.floor.request(FLOOR, SECONDS)
    await ue.release_floor()
    await ue.bye()


@pytest.mark.parametrize("status", [486, 488, 603])
async def test_refused(scene: Scene, status: int) -> None:
    scene.expect("mrfc", f"refused: {status}")
    async with Callee.waiting(scene) as callee:
        ue = await callee.called()
        await ue.prepare()
        await ue.refuse(OfferRefused("no", status, 399))
        assert (await callee.outcome())["status"] == status


async def test_a_ticket_that_the_kms_of_the_callee_refuses(scene: Scene) -> None:
    """It says so in a MIKEY Error message, and the MRFC understands it."""
    scene.expect("kms", "RESOLVE_INIT_PSK refused")
    scene.expect("mrfc", r"refused: 488 .*: MIKEY AUTH_FAILURE \(0\): reported in an Error message")
    async with Callee.waiting(scene) as callee:
        callee._options = replace(callee._options, keys=replace(callee._options.keys, psk=bytes(32)))
        ue = await callee.called()
        with pytest.raises(OfferRefused) as caught:
            await ue.prepare()
        await ue.refuse(caught.value)
        assert (await callee.outcome())["status"] == 488


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_silent_after_ringing(scene: Scene, transport: str) -> None:
    scene.expect("mrfc", "no answer")
    async with Callee.waiting(scene, transport=transport) as callee:
        ue = await callee.called()
        await ue.ring()
        assert (await callee.outcome())["status"] == 408
        await asyncio.wait_for(ue.call.hung_up.wait(), SECONDS)  # the CANCEL


async def test_nobody_there(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """No response at all, not even to the CANCEL: the reservation is given back when ringing ends."""
    scene.expect("mrfc", "no answer")
    async with Callee.waiting(scene) as callee:
        monkeypatch.setattr(callee._endpoint, "send", lambda message, first=True: None)  # deaf and dumb
        _, before = await scene.status()
        await callee.ask()
        assert (await callee.outcome())["status"] == 408
        end = time.monotonic() + SECONDS
        while (await scene.status())[1]["terminations"] != before["terminations"]:
            assert time.monotonic() < end


@pytest.mark.parametrize(
    ("edit", "word"),
    [
        (lambda answer: re.sub(rb"a=key-mgmt[^\r]*\r\n", b"", answer), "key-mgmt"),
        (lambda answer: answer.replace(b"a=setup:active", b"a=setup:actpass"), "setup"),
        (lambda answer: answer.replace(b"TCP/TLS/BFCP", b"TCP/BFCP"), "transport protocol"),
        (lambda answer: answer.replace(b"m=application 9", b"m=application 0"), "port 0"),
        (lambda answer: b"", "no answer"),
    ],
)
async def test_an_answer_that_does_not_fit(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, edit: Callable[[bytes], bytes], word: str
) -> None:
    scene.expect("mrfc", f"dial-out.*failed.*{word}")
    async with Callee.waiting(scene) as callee:
        ue = await callee.called()
        await ue.prepare()
        accept = ue.call.accept
        monkeypatch.setattr(ue.call, "accept", lambda body: accept(edit(body)))
        await ue.accept()
        await ue.hung_up()
        assert (await callee.outcome())["status"] == 488


async def test_transfer_resp_with_a_wrong_mac(scene: Scene) -> None:
    scene.expect("mrfc", "dial-out.*failed.*TRANSFER_RESP")
    async with Callee.waiting(scene) as callee:
        ue = await callee.called()
        await ue.prepare()
        ue.edit_response = lambda message: message[:-1] + bytes([message[-1] ^ 1])
        await ue.accept()
        await ue.hung_up()


@pytest.mark.parametrize("setup", [Setup.ACTIVE, Setup.PASSIVE])
async def test_wrong_key_at_the_participant(scene: Scene, setup: Setup) -> None:
    scene.expect("mrfp", "tls-establishment-failure")
    async with Callee.waiting(scene, setup=setup) as callee:
        ue = await callee.called()
        await ue.pick_up()
        ue.wrong_credentials = PskCredentials(ue.credentials().identity, bytes(16))
        await ue.connect()
        with pytest.raises(UeError):
            await ue.secure()
        await ue.hung_up()


async def test_the_port_of_the_answer_refuses(scene: Scene) -> None:
    scene.expect("mrfp", "tcp-establishment-failure")
    async with Callee.waiting(scene, setup=Setup.PASSIVE) as callee:
        ue = await callee.called()
        await ue.prepare()
        await ue.accept()
        await ue.bearer.close()
        await ue.wait_ack()
        await ue.hung_up()


async def test_connected_before_the_answer(scene: Scene) -> None:
    """The MRFP listens from Reserve on, accepts early, and sends no ClientHello before it is told to."""
    async with Callee.waiting(scene) as callee:
        ue = await callee.called()
        await ue.prepare()
        await ue.connect()
        await asyncio.sleep(0.1)
        assert not ue.connection._early  # nothing came
        await ue.accept()
        await ue.wait_ack()
        await used(ue)


async def test_connected_while_the_answer_is_on_its_way(scene: Scene) -> None:
    """TCP comes up about when the MRFP is configured, sometimes before and sometimes after."""
    for delay in (0.0, 0.001, 0.003, 0.006, 0.012):
        async with Callee.waiting(scene) as callee:
            ue = await callee.called()
            await ue.prepare()
            await ue.accept()
            await asyncio.sleep(delay)
            await ue.connect()
            await ue.wait_ack()
            await used(ue)


async def test_a_stranger_is_first_at_the_reserved_port(scene: Scene) -> None:
    """He does not keep the participant out, and does not get in."""
    async with Callee.waiting(scene) as callee:
        ue = await callee.called()
        await ue.prepare()
        reserved = ue.agreement.peer.address
        strangers = [await asyncio.open_connection(reserved.host, reserved.port) for _ in range(3)]
        strangers[0][1].write(b"\x16\x03\x01\x00\x05hello")
        await ue.accept()
        await ue.wait_ack()
        await ue.connect()
        await used(ue)
        for reader, writer in strangers:
            rest = await asyncio.wait_for(reader.read(65536), SECONDS)
            assert b"\x17\x03\x03" not in rest  # no application data of anybody
            writer.close()


async def test_the_kms_refuses(system: System, scene: Scene) -> None:
    scene.expect("mrfc", "dial-out.*failed.*refused with status 403")

    async def refusing(request: web.Request, asked: bytes) -> web.StreamResponse:
        body = mikey.error_message(asked, mikey.ErrorNumber.INVALID_ID, 0.0)
        return web.Response(status=403, body=body, content_type="application/mikey")

    async with Callee.waiting(scene) as callee:
        with system.kms.behaving(refusing):
            await callee.ask()
            assert (await callee.outcome())["status"] == 488


async def test_the_mrfp_is_silent(system: System, scene: Scene) -> None:
    scene.expect("mrfc", "dial-out.*failed")
    async with Callee.waiting(scene) as callee:
        with system.mp.holding_replies():
            await callee.ask()
            assert (await callee.outcome())["status"] == 503


async def test_the_mrfp_goes_between_reserve_and_configure(breakable: System) -> None:
    async with lonely_scene(breakable.lab) as scene, Callee.waiting(scene) as callee:
        scene.may_log("mrfc", "lost|failed|was not released|no answer")
        scene.may_log("mrfp", ".")
        ue = await callee.called()
        await ue.prepare()
        breakable.mp.cut()
        await asyncio.wait_for(ue.call.hung_up.wait(), SECONDS)
        await scene.nothing_left()


async def test_many_at_once(scene: Scene) -> None:
    """Twenty participants are called at once; half of them join."""
    for _ in range(10):
        scene.expect("mrfc", "refused: 486")

    async def one(number: int) -> None:
        async with Callee.waiting(scene) as callee:
            ue = await callee.called()
            await ue.prepare()
            if number % 2:
                await ue.refuse(OfferRefused("busy", 486, 399))
                return
            await ue.accept()
            await ue.wait_ack()
            await ue.connect()
            await ue.secure()
            await ue.hello()
            await ue.bye()

    await asyncio.gather(*(one(number) for number in range(20)))
