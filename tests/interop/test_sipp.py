"""sipp, a SIP stack that is not ours, calls the whole installation and is called by it, over UDP and TCP.

The command lines are those that configs/sipp/README.md tells an operator. sipp is required: without it these tests
fail. Its offers say setup:active, so that the MRFP listens and nobody has to connect within the short call. Over
TLS and IPv6 it calls in test_trunk_ways.py.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from callee_support import ask_for_call
from sipp_support import COMMANDS, LONGEST, SIPP, TRANSPORTS, SippBench, calls_of
from system_support import System, lonely_scene

from lab import CALLER

CALLED = {
    "called_busy.xml": "refused: 486",
    "called_answers.xml": "failed: 488",
    "called_rings.xml": "no answer",
    "called_reliable.xml": "refused: 486",
}
"""Scenarios that wait for a call, and what the MRFC says of it."""

LOGGED = {
    "dial_in.xml": ("joined, floor control at", False),
    "cancel.xml": ("left: cancelled", False),
    "no_keys.xml": ("refused: 488 .*key-mgmt", True),
    "session_timer_small.xml": ("refused: 422", True),
    "reliable.xml": ("joined, floor control at", False),
}
"""What the MRFC logs of each call of a scenario, and whether that is a warning."""


CALLING = [name for name in COMMANDS if name not in CALLED and name != "refer.xml"]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """KMS, MRFC and MRFP; the caller may have others called, and watch."""
    with System.running(
        tmp_path_factory.mktemp("sipp"),
        dial_out={"allow_refer": [CALLER], "ring_timeout": 4.0},
        roster={"allow_subscribe": [CALLER]},
    ) as running:
        yield running


@pytest.fixture
def bench(system: System, tmp_path: Path) -> SippBench:
    return SippBench(system.lab, tmp_path)


def test_the_readme_tells_of_every_scenario() -> None:
    assert COMMANDS.keys() == {path.name for path in SIPP.glob("*.xml")}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", CALLING)
async def test_calling(system: System, bench: SippBench, scenario: str, transport: str) -> None:
    """Where a CANCEL is to come before the answer, the KMS keeps silent meanwhile."""
    pattern, warning = LOGGED.get(scenario, ("", False))
    async with lonely_scene(bench.lab) as scene:
        for _ in range(calls_of(scenario) if warning else 0):
            scene.expect("mrfc", pattern)
        if "-inf" in COMMANDS[scenario]:
            bench.offers()
        if scenario == "cancel.xml":
            with system.kms.silent():
                bench.call(scenario, transport)
        else:
            bench.call(scenario, transport)
        logged = [line for line in scene.logs["mrfc"].lines() if re.search(pattern, line)]
        assert not pattern or len(logged) == calls_of(scenario)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", CALLED)
async def test_called(bench: SippBench, scenario: str, transport: str) -> None:
    """sipp is called by the MRFC: it is busy, answers badly, or rings until the CANCEL comes."""
    async with lonely_scene(bench.lab) as scene:
        scene.expect("mrfc", CALLED[scenario])
        with bench.waiting(scenario, transport) as (called, callee):
            await asyncio.to_thread(ask_for_call, bench.lab, callee)
            status = await asyncio.to_thread(called.wait, LONGEST)
        assert status == 0, bench.told()


async def test_refer(bench: SippBench, tmp_path: Path) -> None:
    """One sipp has another one called, which is busy, and is told so."""
    other = SippBench(bench.lab, tmp_path / "guest")
    other.folder.mkdir()
    async with lonely_scene(bench.lab) as scene:
        scene.expect("mrfc", "refused: 486")
        with other.waiting("called_busy.xml", "udp") as (called, callee):
            guest = {"sip:bob@192.0.2.20:5070": callee}
            await asyncio.to_thread(bench.call, "refer.xml", "udp", **guest)
            assert await asyncio.to_thread(called.wait, LONGEST) == 0, other.told()
