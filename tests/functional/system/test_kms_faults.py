"""A KMS that is silent, refuses, or answers nonsense."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from system_support import ELEMENT_TIMEOUT, KmsBehaviour, Scene, System, Ue, warning_code

from mrf_protocols import mikey

MIKEY = "application/mikey"


def answering(status: int, body: bytes = b"", content_type: str = MIKEY) -> KmsBehaviour:
    """Always this answer."""

    async def behave(request: web.Request, asked: bytes) -> web.StreamResponse:
        return web.Response(status=status, body=body, content_type=content_type)

    return behave


def refusing_with(status: int) -> KmsBehaviour:
    """A MIKEY Error message, as RFC 6043 has it."""

    async def behave(request: web.Request, asked: bytes) -> web.StreamResponse:
        body = mikey.error_message(asked, mikey.ErrorNumber.INVALID_ID, 0.0)
        return web.Response(status=status, body=body, content_type=MIKEY)

    return behave


refusing = refusing_with(403)


async def hanging_up(request: web.Request, asked: bytes) -> web.StreamResponse:
    """The connection ends instead of an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def breaking_off(request: web.Request, asked: bytes) -> web.StreamResponse:
    """Half an answer."""
    response = web.StreamResponse(headers={"Content-Type": MIKEY, "Content-Length": "400"})
    await response.prepare(request)
    await response.write(b"\x01\x12" + bytes(100))
    assert request.transport is not None
    request.transport.close()
    return response


def echoing(status: int = 200) -> KmsBehaviour:
    """Our own request as the answer."""

    async def behave(request: web.Request, asked: bytes) -> web.StreamResponse:
        return web.Response(status=status, body=asked, content_type=MIKEY)

    return behave


UNAVAILABLE: dict[str, KmsBehaviour] = {
    "fails": answering(500),
    "is overloaded": answering(503),
    "hangs up": hanging_up,
    "breaks off": breaking_off,
    "answers with a web page": answering(200, b"<html>", "text/html"),
    "answers without end": answering(200, bytes(100_000)),
    "redirects": answering(302),
    "knows no such resource": answering(404),
    "wants a login": answering(401),
    "answers nothing": answering(200),
    "answers random octets": answering(200, b"\x01\x02\x03\x04" * 20),
    "answers our own message": echoing(),
}
REFUSES: dict[str, KmsBehaviour] = {
    "refuses": refusing,
    "refuses with status 200": refusing_with(200),
    "refuses with status 410": refusing_with(410),
    "refuses without saying why": answering(403),
    "refuses with our own message": echoing(403),
}


async def refused(scene: Scene, status: int, words: str = "") -> Ue:
    """Dial in and be refused."""
    ue = await scene.ue()
    scene.expect("mrfc", f"refused: {status} .*{words}.*{ue.call_id}")
    response = await ue.dial()
    assert response.status_code == status
    if status == 503:
        assert response.get_header("Retry-After") == "5"
    else:
        assert warning_code(response) == 399
    return ue


@pytest.mark.parametrize("fault", UNAVAILABLE)
async def test_out_of_order(scene: Scene, system: System, fault: str) -> None:
    with system.kms.behaving(UNAVAILABLE[fault]):
        await refused(scene, 503)


@pytest.mark.parametrize("fault", REFUSES)
async def test_refuses(scene: Scene, system: System, fault: str) -> None:
    with system.kms.behaving(REFUSES[fault]):
        await refused(scene, 488)


async def test_answers_with_an_older_answer(scene: Scene, system: System) -> None:
    """A RESOLVE_RESP of another exchange, genuine as it is, opens nothing; the caller can do nothing about it."""
    older = system.kms.last_answer  # the bystander's
    assert older
    with system.kms.behaving(answering(200, older)):
        await refused(scene, 503, "answer of the KMS is not acceptable")


async def test_silent(scene: Scene, system: System) -> None:
    """Many callers wait for a silent KMS at once; each is told in time, and the standing call goes on."""
    loop = asyncio.get_running_loop()
    with system.kms.silent():
        began = loop.time()
        waiting = asyncio.gather(*(refused(scene, 503, "no answer within") for _ in range(5)))
        assert scene.bystander is not None
        served = 0
        while not waiting.done():
            await scene.bystander.hello()
            served += 1
            await asyncio.sleep(0.1)
        await waiting
        assert served > 1
        assert loop.time() - began < 10 * ELEMENT_TIMEOUT
    scene.may_log("kms", "RESOLVE_INIT_PSK refused")  # the relay hands on what has grown old


async def test_back_again(scene: Scene, system: System) -> None:
    with system.kms.behaving(answering(500)):
        await refused(scene, 503)
    ue = await scene.ue()
    await ue.join_bfcp()
    await ue.bye()
