"""The real `mrfp-agent` process, commanded over Mp by a real controller."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mrfp_support import SECONDS, until

from loopback_ports import free_ports, port_range
from mrf_ops.trace import ListSink, TraceEvent, Tracer
from mrf_protocols.h248 import mp
from mrfc.mp.controller import MpController


@dataclass
class AgentProcess:
    """A running agent and the controller that it registered with."""

    process: asyncio.subprocess.Process
    controller: MpController
    http_port: int
    folder: Path
    indications: list[mp.NotifyIndication]
    lost: list[str]
    mp_trace: list[TraceEvent]
    name: str = ""
    first_port: int = 0
    idle: dict[str, Any] = field(default_factory=dict)

    async def get(self, path: str) -> bytes:
        """Body of an HTTP answer."""

        def read() -> bytes:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=30) as answer:
                body: bytes = answer.read()
                return body

        return await asyncio.to_thread(read)

    async def status(self) -> dict[str, Any]:
        """/status."""
        counts: dict[str, Any] = json.loads(await self.get("/status"))
        return counts

    async def request(self, procedure: mp.Procedure) -> mp.Acknowledgement:
        """Command the agent."""
        return await self.controller.request(self.name, procedure)

    async def configure(self, procedure: mp.ConfigureBfcpTermination) -> mp.TerminationConfigured:
        """Configure BFCP Termination."""
        acknowledgement = await self.request(procedure)
        assert isinstance(acknowledgement, mp.TerminationConfigured)
        return acknowledgement

    async def release(self, configured: mp.TerminationConfigured) -> None:
        """Release BFCP Termination."""
        await self.request(mp.ReleaseBfcpTermination(configured.context, configured.termination))

    async def indication(self, kind: type[mp.NotifyIndication]) -> mp.NotifyIndication:
        """Wait for an indication."""
        await until(lambda: any(isinstance(each, kind) for each in self.indications))
        return next(each for each in self.indications if isinstance(each, kind))

    async def assert_nothing_left(self) -> None:
        """Everything is as it was before the test."""
        async with asyncio.timeout(SECONDS):
            while await self.status() != self.idle:
                await asyncio.sleep(0.02)

    def log(self) -> str:
        """What the agent has logged."""
        return (self.folder / "mrfp.log").read_text()

    async def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            return await self.process.wait()


QUICK_TIMES = "tcp_connect = 1.5\ntcp_retry = 0.1\nclient_hello = 1.5\nhandshake = 1.5\nmessage = 1.5\n"
StartAgent = Callable[..., Awaitable[AgentProcess]]


@asynccontextmanager
async def _running(folder: Path, times: str = "", more: str = "") -> AsyncIterator[AgentProcess]:
    trace = ListSink()
    controller = MpController("127.0.0.1", 0, Tracer("MRFC", trace), timeout=60.0, heartbeat=60.0)
    await controller.start()
    [http_port] = free_ports(1)
    first, last = port_range(20)
    (folder / "mrfp.toml").write_text(
        f'[mp]\nmrfcs = ["127.0.0.1:{controller.port}"]\nretry = 0.1\nloss_grace = 0.3\n'
        f'[media]\nipv4 = "127.0.0.1"\nports = [{first}, {last}]\nquarantine = 0\n'
        f"[termination]\n{times}[limits]\nterminations = 100\n"
        f'[http]\nport = {http_port}\n[trace]\nfile = "trace.jsonl"\npeer = "UE-A"\n{more}'
    )
    with (folder / "mrfp.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mrfp_agent.cli", "run", "--config", str(folder / "mrfp.toml"), stderr=log
        )
    agent = AgentProcess(process, controller, http_port, folder, [], [], trace.events, first_port=first)
    controller.on_notify = lambda _, indication: agent.indications.append(indication)
    controller.on_lost = agent.lost.append
    try:
        await until(controller.mrfps)
        await until(lambda: controller.mrfps()[0].in_service)
        agent.name = controller.choose_mrfp()
        agent.idle = await agent.status()
        yield agent
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await controller.close()


@pytest.fixture
async def start_agent(tmp_path: Path) -> AsyncIterator[StartAgent]:
    """Starts an agent: `times` are lines of the [termination] table, `more` further tables."""
    async with AsyncExitStack() as stack:

        async def start(times: str = "", more: str = "") -> AgentProcess:
            return await stack.enter_async_context(_running(tmp_path, times, more))

        yield start


@pytest.fixture
async def agent(start_agent: StartAgent) -> AgentProcess:
    """An agent with the usual patience."""
    return await start_agent()


@pytest.fixture
async def hasty_agent(start_agent: StartAgent) -> AgentProcess:
    """An agent whose terminations lose patience quickly."""
    return await start_agent(QUICK_TIMES)
