"""Real network namespaces and virtual cables, and an agent whose media realms are on them. Needs root."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mrfp_support import CONFERENCE, IDENTITY, KEY, SECONDS, User, until

from loopback_ports import free_ports, port_range
from mrf_ops.trace import Tracer
from mrf_protocols.h248 import mp
from mrfc.mp.controller import MpController
from mrfp_agent.namespace import NamespaceSockets


def ip(*arguments: str) -> None:
    """The ip command of iproute2."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Cable:
    """Two namespaces and a virtual cable between them: the MRFP's end `media0`, the users' end `user0`.

    `media` and `users` are the namespaces' names; IPv4 and IPv6 addresses .1 and .2 are on the ends.
    """

    def __init__(self) -> None:
        name = f"mrf{secrets.token_hex(4)}"  # also unlike what a killed run has left
        self.media, self.users = f"{name}m", f"{name}u"
        self.sockets = NamespaceSockets(self.users)

    def lay(self) -> None:
        """Make all of it."""
        ip("netns", "add", self.users)
        self.lay_media_end()

    def lay_media_end(self) -> None:
        """Make the MRFP's namespace, and the cable."""
        ip("netns", "add", self.media)
        ip(
            *("link", "add", "media0", "netns", self.media, "type", "veth"),
            *("peer", "name", "user0", "netns", self.users),
        )
        for namespace, link, last in ((self.media, "media0", "1"), (self.users, "user0", "2")):
            ip("-n", namespace, "link", "set", "lo", "up")
            ip("-n", namespace, "addr", "add", f"198.51.100.{last}/24", "dev", link)
            ip("-n", namespace, "addr", "add", f"2001:db8::{last}/64", "dev", link, "nodad")
            ip("-n", namespace, "link", "set", link, "up")

    def pull(self) -> None:
        """Pull the cable at the users' end."""
        ip("-n", self.users, "link", "set", "user0", "down")

    def plug(self) -> None:
        """Plug it in again."""
        ip("-n", self.users, "link", "set", "user0", "up")
        # the kernel takes IPv6 addresses away from an interface that goes down
        ip("-n", self.users, "addr", "replace", "2001:db8::2/64", "dev", "user0", "nodad")

    async def come(self, local: tuple[str, int]) -> User:
        """A user who connects to the MRFP from the other end of the cable."""
        family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
        made = self.sockets.tcp(family)
        made.setblocking(False)
        async with asyncio.timeout(SECONDS):
            await asyncio.get_running_loop().sock_connect(made, (local[0], local[1]))
        return User(*await asyncio.open_connection(sock=made))

    def remove(self) -> None:
        """Take all of it away."""
        self.sockets.close()
        for namespace in (self.media, self.users):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


@pytest.fixture
def cable() -> Iterator[Cable]:
    """A cable between two namespaces of their own."""
    laid = Cable()
    try:
        laid.lay()
        yield laid
    finally:
        laid.remove()


@dataclass
class RealmAgent:
    """A running agent and the controller that it registers with."""

    process: asyncio.subprocess.Process
    controller: MpController
    http_port: int
    folder: Path

    @property
    def in_service(self) -> bool:
        """Whether the MRFC would give it a new call."""
        return any(status.in_service for status in self.controller.mrfps())

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of an HTTP answer."""

        def read() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=30) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        return await asyncio.to_thread(read)

    async def realms(self) -> dict[str, Any]:
        """/realms by name."""
        return {realm["realm"]: realm for realm in json.loads((await self.get("/realms"))[1])}

    async def until_realm(self, name: str, in_service: bool) -> dict[str, Any]:
        """Wait until a realm is in service or out of it."""
        async with asyncio.timeout(SECONDS):
            while (realm := (await self.realms())[name])["in_service"] is not in_service:
                await asyncio.sleep(0.02)
        found: dict[str, Any] = realm
        return found

    async def configure(self, remote: str, user: int = 1) -> mp.TerminationConfigured:
        """Configure BFCP Termination for a user at an address who opens the connection. Raises MrfpRefused."""
        procedure = mp.ConfigureBfcpTermination(
            (remote, 9),
            user,
            conference=CONFERENCE,
            family=mp.AddressFamily.IP6 if ":" in remote else mp.AddressFamily.IP4,
            psk=KEY,
            psk_identity=IDENTITY,
            correlation=f"call-{user}@example",
        )
        answer = await self.controller.request("mrfp", procedure)
        assert isinstance(answer, mp.TerminationConfigured)
        return answer

    def log(self) -> str:
        """What it wrote so far."""
        return (self.folder / "mrfp.log").read_text()

    async def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            return await self.process.wait()


StartAgent = Callable[..., Awaitable[RealmAgent]]


@pytest.fixture
async def start_agent(tmp_path: Path) -> AsyncIterator[StartAgent]:
    """Starts an agent; `media` is the [media] table and its realms, with {ports} for a range that is free."""
    async with AsyncExitStack() as stack:

        async def start(media: str) -> RealmAgent:
            controller = MpController("127.0.0.1", 0, Tracer("MRFC"), timeout=60.0, heartbeat=60.0)
            await controller.start()
            stack.push_async_callback(controller.close)
            [http_port] = free_ports(1)
            first, last = port_range(20)
            config = tmp_path / "mrfp.toml"
            config.write_text(
                f'[mp]\nmrfcs = ["127.0.0.1:{controller.port}"]\nretry = 0.1\n[http]\nport = {http_port}\n'
                + media.replace("{ports}", f"[{first}, {last}]")
            )
            with (tmp_path / "mrfp.log").open("wb") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "mrfp_agent.cli", "run", "--config", str(config), stderr=log
                )
            stack.push_async_callback(_end, process)
            agent = RealmAgent(process, controller, http_port, tmp_path)
            await until(lambda: controller.mrfps() or process.returncode is not None)
            assert process.returncode is None, agent.log()
            return agent

        yield start


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
