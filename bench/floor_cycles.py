"""Floor cycles: FloorRequest, Granted, FloorRelease, Released, at the real mrfp-agent over TLS-PSK, and in memory.

Each user has a connection of its own. The MRFP's cost is its CPU time; the time to grant is wall time, as users see it.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

from bfcp_cycle import measure as measure_memory
from figures import Figure, Table
from floor_users import POLICIES, BenchUser, connect, run_cycles, time_to_tell, times_to_grant
from mrf_protocols.h248.mp import Conference, EventRequest, Floor
from mrf_protocols.h248.values import CHOOSE_CONTEXT
from mrfp import AT_ONCE, QUIET, Mrfp, Target, mrfp
from processes import allow_many_files, memory

USERS = 64
PARTICIPANTS = 10_000
AIM_CYCLES = 8_000.0
AIM_GRANT = 0.15  # ms
AIM_TELL = 1.0  # s
ROUNDS = 3
REPORTED = replace(QUIET, floor_decisions=True)
WARM_UP = 500


async def alone(agent: Mrfp, count: int, events: EventRequest = QUIET) -> list[Target]:
    """Users with a conference each."""
    found: list[Target] = []
    for number in range(1, count + 1):
        conference = Conference(number, (Floor(1),))
        found.append((await agent.seize(CHOOSE_CONTEXT, conference, 1, events))[1])
    return found


async def together(agent: Mrfp, count: int, holders: int) -> list[Target]:
    """Users of one conference with one floor."""
    conference = Conference(1, (Floor(1, max_holders=holders),))
    context, first = await agent.seize(CHOOSE_CONTEXT, conference, 1, QUIET)
    found = [first]
    for start in range(2, count + 1, AT_ONCE):
        users = range(start, min(start + AT_ONCE, count + 1))
        batch = [agent.seize(context, conference, user, QUIET) for user in users]
        found += [target for _, target in await asyncio.gather(*batch)]
    return found


async def cycles(agent: Mrfp, targets: list[Target], tls: str, count: int) -> float:
    """Cycles per CPU second of the agent."""
    users = await asyncio.to_thread(connect, targets, tls)
    await asyncio.to_thread(run_cycles, users, WARM_UP)
    rates: list[float] = []
    for _ in range(ROUNDS):
        before = agent.cpu()
        await asyncio.to_thread(run_cycles, users, count)
        rates.append(count / (agent.cpu() - before))
    await leave(agent, users)
    return median(rates)


async def leave(agent: Mrfp, users: list[BenchUser]) -> None:
    """Everybody goes."""
    for user in users:
        user.socket.close()
    await agent.release_all()


async def served(agent: Mrfp, count: int) -> list[Figure]:
    """Cycles per second and core with 64 users."""
    figures: list[Figure] = []
    for tls in POLICIES:
        targets = await alone(agent, USERS)
        rate = await cycles(agent, targets, tls, count)
        figures.append(Figure(f"{USERS} users, a conference each, {tls}", rate, "/s", least=AIM_CYCLES))
    rate = await cycles(agent, await together(agent, USERS, USERS), "TLS 1.3", count)
    figures.append(Figure(f"{USERS} users of one floor with room for all, TLS 1.3", rate, "/s"))
    rate = await cycles(agent, await alone(agent, USERS, REPORTED), "TLS 1.3", count)
    figures.append(Figure("the same in conferences, every change reported to the MRFC", rate, "/s"))
    return figures


async def granted(agent: Mrfp, count: int) -> list[Figure]:
    """Time from FloorRequest to Granted with one user."""
    figures: list[Figure] = []
    for tls in POLICIES:
        users = await asyncio.to_thread(connect, await alone(agent, 1), tls)
        await asyncio.to_thread(times_to_grant, users[0], WARM_UP)
        times = await asyncio.to_thread(times_to_grant, users[0], count)
        figures.append(
            Figure(f"one user: to grant, median, {tls}", median(times) * 1e3, "ms", most=AIM_GRANT)
        )
        await leave(agent, users)
    return figures


async def growth(agent: Mrfp, count: int) -> Figure:
    """What the agent's memory has grown by after many cycles."""
    users = await asyncio.to_thread(connect, await alone(agent, USERS), "TLS 1.2")
    await asyncio.to_thread(run_cycles, users, max(WARM_UP, count // 10))
    before = memory(agent.pid).rss
    await asyncio.to_thread(run_cycles, users, count)
    grown = memory(agent.pid).rss - before
    await leave(agent, users)
    return Figure(f"growth (RSS) over {count:,} cycles", grown, "kB", most=256)


async def crowd(agent: Mrfp, count: int) -> list[Figure]:
    """A floor changes hands, and everybody in a large conference is told."""
    targets = await together(agent, count, 1)
    users = await asyncio.to_thread(connect, targets, "TLS 1.3")
    for user in users[1:]:
        await asyncio.to_thread(user.subscribe)
    size = memory(agent.pid).rss
    before = agent.cpu()
    seconds = [await asyncio.to_thread(time_to_tell, users[0], users[1:]) for _ in range(ROUNDS)]
    spent = (agent.cpu() - before) / (2 * ROUNDS)
    await leave(agent, users)
    return [
        Figure(f"{count:,} participants: a change told to all, longest", max(seconds), "s", most=AIM_TELL),
        Figure("the same: CPU of the MRFP for a change", spent, "s"),
        Figure("the same: memory of the MRFP", size / 1024, "MB"),
    ]


async def measure(folder: Path, quick: bool) -> list[Figure]:
    """Everything at the agent."""
    allow_many_files()
    async with mrfp(folder) as agent:
        figures = await served(agent, 500 if quick else 20_000)
        figures += await granted(agent, 200 if quick else 5_000)
        figures.append(await growth(agent, 5_000 if quick else 1_000_000))
        figures += await crowd(agent, 200 if quick else PARTICIPANTS)
    return figures


def in_memory(quick: bool) -> list[Figure]:
    """Codec and floor control server alone, with nobody, one and ten others who are told of the floor."""
    figures: list[Figure] = []
    for subscribers in (0, 1, 10):
        count = max(1, (200 if quick else 10_000) // (1 + subscribers))
        spent = median(measure_memory(count, subscribers) for _ in range(ROUNDS))
        figures.append(Figure(f"in memory, {subscribers} subscribers", count / spent, "/s"))
    return figures


def run(quick: bool) -> Table:
    """Cycles, time to grant, growth, a crowd."""
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder), quick))
    return Table(
        f"Floor cycles of the MRFP over TLS-PSK, per second and core, median of {ROUNDS}",
        [*figures, *in_memory(quick)],
        (
            "a cycle: FloorRequest, Granted, FloorRelease, Released, on a connection of its own.",
            "told: from the FloorRequest until octets have arrived at every other participant.",
        ),
    )
