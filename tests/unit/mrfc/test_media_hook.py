"""The operator's hook: order, attempts, bounds."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from mrf_ops.config import Secret
from mrfc.config import MediaHook as Settings
from mrfc.floors.media_hook import FloorEvent, FloorStreams, HookFailed, HttpPost, MediaHook

QUICK = Settings(url="http://x", first_pause=0.001, longest_pause=0.002, attempts=3, queue=4)


def event(number: int, conference: str = "meeting") -> FloorEvent:
    return FloorEvent(
        conference, 4321, number, "grant", 5, (FloorStreams(1, ("10",)),), 7, "sip:alice@ue.example", "call-1"
    )


class Receiver:
    """Answers as told and notes what came."""

    def __init__(self, *statuses: int | Exception) -> None:
        self.statuses = list(statuses)
        self.numbers: list[int] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, body: bytes) -> int:
        self.numbers.append(msgspec.json.decode(body, type=FloorEvent).number)
        if self.gate is not None:
            await self.gate.wait()
        answer = self.statuses.pop(0) if self.statuses else 200
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_order_is_kept_through_failures() -> None:
    receiver = Receiver(503, OSError("refused"), 200, TimeoutError(), 204)
    hook = MediaHook(QUICK, receiver)
    answers = [hook.tell(event(number)) for number in (1, 2, 3)]
    await asyncio.gather(*answers)
    assert receiver.numbers == [1, 1, 1, 2, 2, 3]
    await asyncio.sleep(0)
    assert hook.waiting == 0


@pytest.mark.parametrize(
    ("statuses", "attempts", "words"),
    [
        ([503, 503, 503], 3, "HTTP status 503 after 3 attempts"),
        ([aiohttp.ClientConnectionError("gone")] * 3, 3, "gone after 3 attempts"),
        ([409], 1, "HTTP status 409"),
        ([302], 1, "HTTP status 302"),
    ],
)
async def test_given_up(statuses: list[int | Exception], attempts: int, words: str) -> None:
    receiver = Receiver(*statuses)
    hook = MediaHook(QUICK, receiver)
    first, second = hook.tell(event(1)), hook.tell(event(2))
    with pytest.raises(HookFailed, match=words):
        await first
    await second  # one event that fails does not hold the others back
    assert receiver.numbers == [1] * attempts + [2]


async def test_conferences_do_not_wait_for_each_other() -> None:
    receiver = Receiver()
    receiver.gate = asyncio.Event()
    hook = MediaHook(QUICK, receiver)
    answers = [hook.tell(event(1)), hook.tell(event(1, "other"))]
    for _ in range(5):
        await asyncio.sleep(0)
    assert receiver.numbers == [1, 1]
    receiver.gate.set()
    await asyncio.gather(*answers)


async def test_the_queue_is_bounded() -> None:
    receiver = Receiver()
    receiver.gate = asyncio.Event()
    hook = MediaHook(QUICK, receiver)
    answers = [hook.tell(event(number)) for number in range(1, 6)]
    with pytest.raises(HookFailed, match="too many"):
        await answers[4]
    assert hook.waiting == 4
    receiver.gate.set()
    await asyncio.gather(*answers[:4])
    assert receiver.numbers == [1, 2, 3, 4]


async def test_what_waits_at_the_end_fails() -> None:
    receiver = Receiver()
    receiver.gate = asyncio.Event()
    hook = MediaHook(QUICK, receiver)
    answer = hook.tell(event(1))
    await asyncio.sleep(0)
    await hook.close()
    with pytest.raises(HookFailed, match="stops"):
        await answer


async def test_over_http() -> None:
    got: list[tuple[Any, str]] = []

    async def take(request: web.Request) -> web.Response:
        got.append((await request.json(), request.headers["Authorization"]))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/floors", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    settings = Settings(url=f"http://127.0.0.1:{port}/floors", token_file=Secret(b"s3cret"))
    post = HttpPost(settings)
    hook = MediaHook(settings, post)
    await hook.tell(event(1))
    await post.close()
    await runner.cleanup()
    [(body, authorization)] = got
    assert authorization == "Bearer s3cret"
    assert body == {
        "conference": "meeting",
        "conference_id": 4321,
        "number": 1,
        "event": "grant",
        "request": 5,
        "floors": [{"id": 1, "streams": ["10"]}],
        "user": 7,
        "participant": "sip:alice@ue.example",
        "call_id": "call-1",
        "mixer": None,
    }
