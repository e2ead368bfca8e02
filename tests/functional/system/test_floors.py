"""Floors on real elements: media confirmed by a hook, events of Kamailio, an operator who decides by mrfc-ctl."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from system_support import SECONDS, Scene, Ue, until

from lab import ROOT, Lab, Settings
from loopback_ports import free_ports
from mrf_ue.console import Console, ConsoleOptions
from mrf_ue.errors import FloorNotGranted


@dataclass
class Hook:
    """The operator's mixer: answers as told, notes what came."""

    status: int = 204
    events: list[dict[str, Any]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.events.append(await request.json())
        return web.Response(status=self.status)

    def seen(self) -> list[tuple[int, str]]:
        return [(event["number"], event["event"]) for event in self.events]


@dataclass
class Floors:
    """A laboratory whose floor 1 waits for the hook and whose floor 2 has a chair."""

    lab: Lab
    hook: Hook
    scene: Scene
    events_port: int

    async def user(self) -> Ue:
        """A participant up to HelloAck."""
        ue = await self.scene.ue()
        await ue.join_bfcp()
        return ue

    async def ctl(self, *arguments: str, token: bool = True) -> tuple[int, str]:
        """mrfc-ctl: exit status and output."""
        command = [sys.executable, "-m", "mrfc.ctl.cli", *arguments]
        command += ["--url", f"http://127.0.0.1:{self.lab.ports.http}"]
        command += ["--token-file", str(self.lab.folder / "operator.token")] if token else []
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=ROOT / "plugin"
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()


@pytest.fixture
async def floors(tmp_path: Path) -> AsyncIterator[Floors]:
    hook = Hook()
    app = web.Application()
    app.router.add_post("/floors", hook.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    [events_port] = free_ports(1)
    settings = Settings(
        mrfc={
            "conference": [
                {
                    "user": "meeting",
                    "id": 4321,
                    "floors": [
                        {"id": 1, "streams": ["10"], "confirm_media": True},
                        {"id": 2, "streams": ["11"], "algorithm": "chair"},
                    ],
                }
            ],
            "media_hook": {
                "url": f"http://127.0.0.1:{runner.addresses[0][1]}/floors",
                "attempts": 2,
                "first_pause": 0.05,
                "kamailio_event": True,
            },
        },
        defines={"MRFC_LISTEN_EVENTS": f'"127.0.0.1:{events_port}"'},
    )
    with Lab(tmp_path / "lab", settings) as lab:
        await asyncio.to_thread(lab.start)
        scene = Scene(lab)
        yield Floors(lab, hook, scene, events_port)
        await scene.close()
    await runner.cleanup()


async def test_media_follow_the_floor_and_an_operator_takes_it(floors: Floors) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", floors.events_port)
    alice, bob = await floors.user(), await floors.user()
    await alice.request_floor()
    assert floors.hook.seen() == [(1, "grant")]
    assert floors.hook.events[0]["floors"] == [{"id": 1, "streams": ["10"]}]
    status, table = await floors.ctl("floors", token=False)
    assert status == 0
    assert "#1 alice" in table
    hold = asyncio.ensure_future(alice.floor.hold(SECONDS))
    status, output = await floors.ctl("revoke", "meeting", "1", "--reason", "time is over")
    assert (status, output) == (0, "done\n")
    with pytest.raises(FloorNotGranted, match="time is over"):
        await hold
    await until(lambda: floors.hook.seen() == [(1, "grant"), (2, "release")])
    event = json.loads((await _netstring(reader)).decode())
    assert (event["event"], event["request"], event["conference"]) == ("grant", 1, "meeting")
    writer.close()
    floors.hook.status = 409
    with pytest.raises(FloorNotGranted, match="media not changed: HTTP status 409"):
        await bob.request_floor()
    for ue in (alice, bob):
        await ue.bye()
    status, output = await floors.ctl("grant", "meeting", "1")
    assert (status, output) == (1, "mrfc-ctl: 404 no floor request 1 in this conference\n")


async def test_a_chair_by_appointment(floors: Floors) -> None:
    alice, bob = await floors.user(), await floors.user()
    assert await floors.ctl("appoint-chair", "meeting", "2", "2") == (0, "done\n")
    shown: list[str] = []

    def show(topic: str, line: str) -> None:
        shown.append(line)

    chair = ConsoleOptions(("expect request", "grant"), chair=True)
    participant = ConsoleOptions(("ask 2", "expect granted", "release"))
    await asyncio.gather(
        Console(bob.floor, (2,), chair, show, SECONDS).run(),
        Console(alice.floor, (2,), participant, show, SECONDS).run(),
    )
    assert "request 1 for floor 2: granted" in shown
    assert await floors.ctl("appoint-chair", "meeting", "2", "nobody") == (0, "done\n")
    assert (await floors.ctl("appoint-chair", "meeting", "2", "9"))[0] == 1
    for ue in (alice, bob):
        await ue.bye()


async def _netstring(reader: asyncio.StreamReader) -> bytes:
    """The next event of Kamailio: length, colon, content, comma."""
    async with asyncio.timeout(SECONDS):
        size = int((await reader.readuntil(b":"))[:-1])
        content = await reader.readexactly(size + 1)
    assert content.endswith(b",")
    return content[:-1]
