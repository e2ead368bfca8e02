"""TLS-PSK set-ups of the MRFP, beside a C program on libssl that does the handshake and an echo.

A set-up is TCP accept, full handshake, BFCP Hello and HelloAck, close; the same load generator drives both. Two
figures for each suite: the set-up alone, all terminations having been configured before; and the whole life of a
termination, with configuring and releasing over Mp and the notifications that an MRFC asks for.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from figures import Figure, Table
from mrfp import EVENTS, QUIET, Mrfp, Target, c_server, load, mrfp
from processes import build_c

SUITES = {
    "psk-gcm": "PSK-AES128-GCM, TLS 1.2",
    "ecdhe-chacha": "ECDHE-PSK-CHACHA20, TLS 1.2",
    "tls13": "TLS 1.3 psk_dhe_ke",
}
AIM_SHARE = 0.6
CONCURRENCY = "16"


async def handshakes(program: Path, folder: Path, targets: Sequence[Target], pid: int, suite: str) -> float:
    """CPU microseconds of the server for each set-up, one to each target."""
    async with load(program, folder, targets, pid, "--suite", suite, "--concurrency", CONCURRENCY) as result:
        spent: float = result["cpu_us"]
    return spent


async def whole_life(agent: Mrfp, program: Path, folder: Path, count: int, suite: str) -> float:
    """CPU microseconds of the MRFP for configuring, set-up with notifications, and release."""
    before = agent.cpu()
    targets = await agent.configure(count, EVENTS)
    await handshakes(program, folder, targets, agent.pid, suite)
    await agent.release_all()
    return (agent.cpu() - before) * 1e6 / count


async def measure(folder: Path, count: int, rounds: int) -> list[Figure]:
    """The figures of all suites."""
    program, server = build_c("c_tls_psk_load", folder), build_c("c_tls_psk_server", folder)
    figures: list[Figure] = []
    async with mrfp(folder) as agent:
        for suite, name in SUITES.items():
            own, peer, whole = [], [], []
            for _ in range(rounds):
                targets = await agent.configure(count, QUIET)
                own.append(await handshakes(program, folder, targets, agent.pid, suite))
                await agent.release_all()
                async with c_server(server, targets[0]) as (target, pid):
                    peer.append(await handshakes(program, folder, [target] * count, pid, suite))
                whole.append(await whole_life(agent, program, folder, count, suite))
            c = 1e6 / median(peer)
            figures.append(Figure(f"{name}: set-ups", 1e6 / median(own), "/s", c, least_share=AIM_SHARE))
            figures.append(Figure(f"{name}: whole lives", 1e6 / median(whole), "/s", c))
    return figures


def run(quick: bool) -> Table:
    """Set-ups per second and core."""
    count, rounds = (200, 1) if quick else (2000, 5)
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder), count, rounds))
    return Table(
        f"TLS-PSK set-ups of the MRFP per second and core, median of {rounds} x {count}",
        figures,
        (
            "set-up: accept, handshake, Hello and HelloAck, close; configured before, nothing notified.",
            "whole life: the same with Configure and Release over Mp and two notifications.",
        ),
        peer="C server on libssl and epoll: accept, handshake, echo, close",
    )
