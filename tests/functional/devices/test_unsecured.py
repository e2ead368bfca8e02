"""TCP/BFCP without TLS: served where MRFC and MRFP both allow it, marked wherever an operator looks."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest
from system_support import Scene, lonely_scene, next_error, settings, warning_code

from lab import Lab, tool
from mrf_protocols import sdp
from mrf_protocols.sdp import Party, Setup


async def http(url: str) -> str:
    """The body of an answer."""

    def read() -> str:
        with urllib.request.urlopen(url, timeout=30) as answer:
            body: bytes = answer.read()
            return body.decode()

    return await asyncio.to_thread(read)


@pytest.mark.parametrize("setup", [Setup.ACTIVE, Setup.PASSIVE])
async def test_served_whoever_opens_the_connection(scene: Scene, setup: Setup) -> None:
    ue = await scene.ue(setup=setup, unsecured=True)
    await ue.join()
    assert ue.answer.peer.proto is sdp.BfcpProto.TCP
    assert ue.answer.tls_client is None
    assert ue.answer.tcp_opener is (Party.OFFERER if setup is Setup.ACTIVE else Party.ANSWERER)
    assert b"key-mgmt" not in ue.answer_body
    await ue.connect()
    await ue.secure()
    assert ue.connection.tls_version == ""
    await ue.hello()
    await ue.request_floor()
    await ue.release_floor()
    await ue.bye()


async def test_the_termination_binds_the_user_id(scene: Scene) -> None:
    """Nobody proves who he is, and still one connection speaks for one user of one call."""
    first, second = [await scene.ue(unsecured=True) for _ in range(2)]
    await first.join_bfcp()
    await first.request_floor()
    second.wrong_user_id = first.answer.user_id
    await second.join()
    await second.connect()
    await second.secure()
    hello = asyncio.create_task(second.hello())
    error = await next_error(second)
    hello.cancel()
    await asyncio.gather(hello, return_exceptions=True)
    assert error.conference_id == 4321
    await first.release_floor()
    for ue in (first, second):
        await ue.bye()


async def test_beside_a_secured_participant(scene: Scene) -> None:
    secured, plain = await scene.ue(), await scene.ue(unsecured=True)
    await secured.join_bfcp()
    await plain.join_bfcp()
    assert secured.connection.tls_version
    rows = json.loads(await http(f"http://127.0.0.1:{scene.lab.ports.http}/calls"))
    assert {row["call_id"]: row["secured"] for row in rows} == {secured.call_id: True, plain.call_id: False}
    await secured.request_floor()
    await secured.release_floor()
    await plain.request_floor()
    await plain.release_floor()
    for ue in (secured, plain):
        await ue.bye()


async def test_of_both_transports_the_secured_one_is_taken(scene: Scene) -> None:
    ue = await scene.ue(setup=Setup.ACTIVE)
    plain = b"m=application 40000 TCP/BFCP *\r\na=setup:active\r\na=floorctrl:c-only\r\n"
    ue.edit_offer = lambda body: body.replace(b"m=application", plain + b"m=application")
    response = await ue.dial()
    assert response.status_code == 200
    answer = sdp.parse(response.body)
    assert [(media.proto, bool(media.port)) for media in answer.media] == [
        ("TCP/BFCP", False),
        ("TCP/TLS/BFCP", True),
    ]
    await ue.leave()


async def test_an_operator_sees_it(scene: Scene) -> None:
    metrics = f"http://127.0.0.1:{scene.lab.ports.http}/metrics"
    before = _unsecured(await http(metrics))
    ue = await scene.ue(unsecured=True)
    await ue.join_bfcp()
    assert _unsecured(await http(metrics)) == before + 1
    shown = await asyncio.to_thread(
        subprocess.run,
        [tool("mrfc-ctl"), "calls", "--url", f"http://127.0.0.1:{scene.lab.ports.http}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"\bSECURED\b.*\n.*\bno\b", shown.stdout)
    await scene.told("mrfc", "joined, floor control at .* WITHOUT TLS")
    for element in ("mrfc", "mrfp"):
        assert "WITHOUT TLS" in (scene.lab.folder / f"{element}.log").read_text()
    await ue.bye()


def _unsecured(text: str) -> float:
    found = re.search(r"^mrfc_unsecured_calls_total (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


async def test_the_command_of_a_ue_without_a_key(lab: Lab) -> None:
    command = [tool("mrf-ue"), "dial-in", f"{lab.conference()};transport=udp", "--unsecured", "--hold", "0"]
    command += [
        "--identity",
        "sip:room@ue.example",
        "--proxy",
        lab.sip_address,
        "--local-address",
        "127.0.0.1",
    ]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "granted" in done.stdout


async def test_refused_by_an_mrfp_that_does_not_allow_it(tmp_path: Path) -> None:
    with Lab(tmp_path, settings(bfcp={"unsecured": "allow"})) as lab:
        await asyncio.to_thread(lab.start)
        async with lonely_scene(lab) as scene:
            ue = await scene.ue(unsecured=True)
            scene.expect("mrfp", "515.*TCP/BFCP without TLS is not allowed here")
            scene.expect("mrfc", "refused: 503.*515")
            response = await ue.dial()
            assert (response.status_code, warning_code(response)) == (503, None)
            ue = await scene.ue()
            await ue.join_bfcp()
            await ue.bye()
