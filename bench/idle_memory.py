"""Memory of the MRFP for each secured connection that does nothing, beside the C server.

Two figures: what a connection adds to a configured termination, and what a termination with its connection takes
altogether. Kernel memory of the sockets is in neither.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from figures import Figure, Table
from mrfp import EVENTS, Target, c_server, load, mrfp
from processes import Memory, allow_many_files, build_c, memory

SUITE = "ecdhe-chacha"
AIM_KB = 25.0
SETTLE = 2.0
FILES_BESIDE = 100  # descriptors that are no connections


async def held(program: Path, folder: Path, targets: list[Target], pid: int) -> Memory:
    """The server's memory while all connections stand."""
    options = ("--suite", SUITE, "--concurrency", "64", "--hold")
    async with load(program, folder, targets, pid, *options):
        await asyncio.sleep(SETTLE)
        return memory(pid)


async def measure(folder: Path, count: int) -> list[Figure]:
    """Both figures, RSS and PSS."""
    program, server = build_c("c_tls_psk_load", folder), build_c("c_tls_psk_server", folder)
    async with mrfp(folder) as agent:
        empty = memory(agent.pid)
        targets = await agent.configure(count, EVENTS)
        configured = memory(agent.pid)
        full = await held(program, folder, targets, agent.pid)
        async with c_server(server, targets[0]) as (target, pid):
            c_empty = memory(pid)
            c_full = await held(program, folder, [target] * count, pid)
    c_rss = (c_full.rss - c_empty.rss) / count
    c_pss = (c_full.pss - c_empty.pss) / count
    return [
        Figure(
            "RSS of a termination, secured and idle", (full.rss - empty.rss) / count, "kB", c_rss, most=AIM_KB
        ),
        Figure("PSS of it", (full.pss - empty.pss) / count, "kB", c_pss, most=AIM_KB),
        Figure("of that RSS before anybody connects", (configured.rss - empty.rss) / count, "kB"),
        Figure("RSS of the whole MRFP", full.rss / 1024, "MB", c_full.rss / 1024),
    ]


def run(quick: bool) -> Table:
    """Memory at 10,000 connections, or at as many as this machine lets a process have."""
    wanted = 500 if quick else 10_000
    count = min(wanted, allow_many_files() - FILES_BESIDE)
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder), count))
    return Table(
        f"Memory of the MRFP at {count:,} idle connections, TLS 1.2 with ECDHE-PSK",
        figures,
        peer="C server on libssl and epoll, buffers released",
    )
