"""sipp, a SIP stack that is not ours, calls the whole installation and is called by it, over UDP and TCP.

The command lines are those that configs/sipp/README.md tells an operator. sipp is required: without it these tests
fail. Its offers say setup:active, so that the MRFP listens and nobody has to connect within the short call.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from callee_support import ask_for_call
from kernel_tables import is_bound
from system_support import System, lonely_scene

from lab import CALLEE, CALLER, ROOT, tool
from loopback_ports import free_ports

LONGEST = 120.0
SIPP = ROOT / "configs" / "sipp"
TRANSPORTS = {"udp": "u1", "tcp": "t1"}
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


def commands() -> Iterator[list[str]]:
    """The command lines of the README."""
    for block in re.findall(r"```sh\n(.*?)```", (SIPP / "README.md").read_text(), re.DOTALL):
        yield from (shlex.split(line) for line in block.splitlines())


COMMANDS = {
    words[words.index("-sf") + 1]: words for words in commands() if words[0] == "sipp" and "-l" not in words
}
CALLING = [name for name in COMMANDS if name not in CALLED and name != "refer.xml"]


@dataclass(frozen=True)
class Bench:
    """An installation, and a folder to run in."""

    system: System
    folder: Path

    def words(self, words: list[str], transport: str, **more: str) -> list[str]:
        """A command line of the README for this installation."""
        lab = self.system.lab
        own = {
            "mrf-ue": tool("mrf-ue"),
            "192.0.2.10:5060": lab.sip_address,
            "sip:conf@mrf.example": lab.conference(),
            "alice.psk": str(lab.folder / "alice.psk"),
            "u1": TRANSPORTS[transport],
            **more,
        }
        own |= {path.name: str(path) for path in SIPP.glob("*.xml")}
        return [own.get(word, word) for word in words]

    def offers(self) -> None:
        """Make the file with the offers, as the README says."""
        [words] = [words for words in commands() if words[-1] == "offers.csv"]
        made = subprocess.run(
            self.words(words[:-2], "udp"), check=True, capture_output=True, text=True, timeout=LONGEST
        )
        (self.folder / "offers.csv").write_text(made.stdout)

    def sipp(self, scenario: str, transport: str, **more: str) -> None:
        """Run a scenario; fails unless every call went as it says."""
        words = self.words(COMMANDS[scenario], transport, **more)
        done = subprocess.run(
            [*words, *OPTIONS],
            check=False,
            capture_output=True,
            cwd=self.folder,
            timeout=LONGEST,
            env={**os.environ, "TERM": "dumb"},
        )
        assert done.returncode == 0, self.told() or done.stdout.decode(errors="replace")[-2000:]

    def told(self) -> str:
        """What sipp says that went wrong."""
        errors = self.folder / "errors.log"
        return errors.read_text(errors="replace") if errors.exists() else ""


OPTIONS = ["-i", "127.0.0.1", "-recv_timeout", "60000", "-nostdin", "-trace_err", "-error_file", "errors.log"]


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
def bench(system: System, tmp_path: Path) -> Bench:
    return Bench(system, tmp_path)


@contextmanager
def waiting(bench: Bench, scenario: str, transport: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """sipp waits for calls; gives it, and the URI to call."""
    [port] = free_ports(1)
    words = bench.words(COMMANDS[scenario], transport, **{"5070": str(port)})
    with subprocess.Popen(
        [*words, *OPTIONS], cwd=bench.folder, stdout=subprocess.DEVNULL, env={**os.environ, "TERM": "dumb"}
    ) as called:
        end = time.monotonic() + LONGEST
        while not is_bound(transport, port):
            assert called.poll() is None, bench.told()
            assert time.monotonic() < end, "sipp does not listen"
            time.sleep(0.02)  # a poll: sipp tells nobody when it listens
        try:
            yield called, f"{CALLEE}:{port}" + ("" if transport == "udp" else ";transport=tcp")
        finally:
            if called.poll() is None:
                called.terminate()


def calls_of(scenario: str) -> int:
    words = COMMANDS[scenario]
    return int(words[words.index("-m") + 1])


def test_the_readme_tells_of_every_scenario() -> None:
    assert COMMANDS.keys() == {path.name for path in SIPP.glob("*.xml")}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", CALLING)
async def test_calling(bench: Bench, scenario: str, transport: str) -> None:
    """Where a CANCEL is to come before the answer, the KMS keeps silent meanwhile."""
    pattern, warning = LOGGED.get(scenario, ("", False))
    async with lonely_scene(bench.system.lab) as scene:
        for _ in range(calls_of(scenario) if warning else 0):
            scene.expect("mrfc", pattern)
        if "-inf" in COMMANDS[scenario]:
            bench.offers()
        if scenario == "cancel.xml":
            with bench.system.kms.silent():
                bench.sipp(scenario, transport)
        else:
            bench.sipp(scenario, transport)
        logged = [line for line in scene.logs["mrfc"].lines() if re.search(pattern, line)]
        assert not pattern or len(logged) == calls_of(scenario)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", CALLED)
async def test_called(bench: Bench, scenario: str, transport: str) -> None:
    """sipp is called by the MRFC: it is busy, answers badly, or rings until the CANCEL comes."""
    async with lonely_scene(bench.system.lab) as scene:
        scene.expect("mrfc", CALLED[scenario])
        with waiting(bench, scenario, transport) as (called, callee):
            await asyncio.to_thread(ask_for_call, bench.system.lab, callee)
            status = await asyncio.to_thread(called.wait, LONGEST)
        assert status == 0, bench.told()


async def test_refer(bench: Bench, tmp_path: Path) -> None:
    """One sipp has another one called, which is busy, and is told so."""
    other = Bench(bench.system, tmp_path / "guest")
    other.folder.mkdir()
    async with lonely_scene(bench.system.lab) as scene:
        scene.expect("mrfc", "refused: 486")
        with waiting(other, "called_busy.xml", "udp") as (called, callee):
            guest = {"sip:bob@192.0.2.20:5070": callee}
            await asyncio.to_thread(bench.sipp, "refer.xml", "udp", **guest)
            assert await asyncio.to_thread(called.wait, LONGEST) == 0, other.told()
