"""A real mrfp-agent process, commanded over Mp from here, and the load on it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopback_ports import free_ports
from mrf_ops.trace import NullSink, Tracer
from mrf_protocols.h248.mp import (
    Conference,
    ConfigureBfcpTermination,
    EventRequest,
    Floor,
    ReleaseBfcpTermination,
    TerminationConfigured,
)
from mrf_protocols.h248.values import ALL, ALL_CONTEXTS, CHOOSE_CONTEXT
from mrfc.mp.controller import MpController
from processes import cpu_seconds

HOST = "127.0.0.1"
PEER = (HOST, 9)  # where users would listen; they connect to the MRFP instead
FIRST_PORT, LAST_PORT = 1200, 11_999  # a bench of its own: laboratories and the kernel take higher ports
AT_ONCE = 32
USERS = 100  # of a conference
EVENTS = EventRequest(tcp_failure=True, tls_failure=True, released=True, tls_established=True)
QUIET = EventRequest(tcp_failure=False, tls_failure=False, released=False)


@dataclass(frozen=True, slots=True)
class Target:
    """A termination as the load generator knows it: where, who, with which key."""

    port: int
    identity: str
    psk: bytes
    conference: int
    user: int

    def line(self) -> str:
        """A line of the generator's file."""
        return f"{self.port} {self.identity} {self.psk.hex()} {self.conference} {self.user}\n"


class Mrfp:
    """The agent and its controller."""

    def __init__(self, controller: MpController, name: str, pid: int) -> None:
        self.pid = pid
        self._controller = controller
        self._name = name

    def cpu(self) -> float:
        """CPU seconds of the agent so far."""
        return cpu_seconds([self.pid])

    async def configure(self, count: int, events: EventRequest) -> list[Target]:
        """That many terminations which listen, in conferences of 100 users, each with a key of its own."""
        targets: list[Target] = []
        for number in range(-(-count // USERS)):
            conference = Conference(number + 1, (Floor(1),))
            users = range(1, min(USERS, count - len(targets)) + 1)
            first = await self.seize(CHOOSE_CONTEXT, conference, users[0], events)
            targets.append(first[1])
            for start in range(1, len(users), AT_ONCE):
                batch = [
                    self.seize(first[0], conference, user, events) for user in users[start : start + AT_ONCE]
                ]
                targets += [target for _, target in await asyncio.gather(*batch)]
        return targets

    async def seize(
        self, context: int, conference: Conference, user: int, events: EventRequest
    ) -> tuple[int, Target]:
        """A termination that listens, in this context or a new one: the context, and how it is reached."""
        psk, identity = os.urandom(16), f"{conference.conference_id:08x}.{user}"
        new = conference if context == CHOOSE_CONTEXT else None
        answer = await self._controller.request(
            self._name,
            ConfigureBfcpTermination(PEER, user, context, new, psk=psk, psk_identity=identity, events=events),
        )
        if not isinstance(answer, TerminationConfigured) or answer.local is None:
            raise TypeError("the MRFP gave no local address")
        target = Target(answer.local[1], identity, psk, conference.conference_id, user)
        return answer.context, target

    async def release_all(self) -> None:
        """Give everything back."""
        await self._controller.request(self._name, ReleaseBfcpTermination(ALL_CONTEXTS, ALL))


@asynccontextmanager
async def mrfp(folder: Path) -> AsyncIterator[Mrfp]:
    """Run an agent with room for 10,000 terminations."""
    controller = MpController(HOST, 0, Tracer("MRFC", NullSink()), timeout=30.0, heartbeat=60.0)
    await controller.start()
    (folder / "mrfp.toml").write_text(
        f'[mp]\nmrfcs = ["{HOST}:{controller.port}"]\nretry = 0.1\nsilence = 3600.0\n'
        f'[media]\nipv4 = "{HOST}"\nports = [{FIRST_PORT}, {LAST_PORT}]\nquarantine = 0\n'
        f"[termination]\nclient_hello = 300.0\n[limits]\nterminations = 10_000\n"
        f'[http]\nport = {free_ports(1)[0]}\n[log]\nlevel = "warning"\n'
    )
    command = [sys.executable, "-m", "mrfp_agent.cli", "run", "--config", str(folder / "mrfp.toml")]
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL)
    try:
        async with asyncio.timeout(20):
            while not any(each.in_service for each in controller.mrfps()):
                await asyncio.sleep(0.05)
        yield Mrfp(controller, controller.choose_mrfp(), process.pid)
    finally:
        process.terminate()
        await process.wait()
        await controller.close()


@asynccontextmanager
async def c_server(program: Path, target: Target) -> AsyncIterator[tuple[Target, int]]:
    """The C server with the key of a target: the same target at its port, without conference, and its process."""
    arguments = ["--identity", target.identity, "--psk", target.psk.hex(), "--listen", f"{HOST}:0"]
    process = await asyncio.create_subprocess_exec(program, *arguments, stdout=PIPE, stdin=DEVNULL)
    try:
        port = (await told(process))["listening"]
        yield Target(port, target.identity, target.psk, 0, 0), process.pid
    finally:
        process.kill()
        await process.wait()


async def told(process: Process) -> dict[str, Any]:
    """The next line of JSON that a program prints."""
    if process.stdout is None:
        raise TypeError("the program's output is not read")
    line: dict[str, Any] = json.loads(await process.stdout.readline())
    return line


@asynccontextmanager
async def load(
    program: Path, folder: Path, targets: Sequence[Target], pid: int, *options: str
) -> AsyncIterator[dict[str, Any]]:
    """Run the load generator; its result. Raises RuntimeError when an operation failed."""
    path = folder / "targets"
    path.write_text("".join(target.line() for target in targets))
    path.chmod(0o600)
    command = ["--targets", str(path), "--pid", str(pid), *options]
    process = await asyncio.create_subprocess_exec(program, *command, stdin=PIPE, stdout=PIPE)
    try:
        result = await told(process)
        if result["failures"]:
            raise RuntimeError(f"{result['failures']} operations failed: {result['first_failure']}")
        yield result
    finally:
        if process.stdin is not None:
            process.stdin.close()  # connections that it holds end now
        await process.wait()
