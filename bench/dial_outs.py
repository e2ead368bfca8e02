"""Dial-outs at the MRFC: CPU time of all Kamailio processes for each, beside dial-ins of the same run.

A dial-out is what an operator asks for by HTTP: ticket from the KMS, Reserve, INVITE, 200, ACK, Configure Reserved, BYE
of the participant, release. The HTTP request is in the figure. The participants are one process (callees.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import aiohttp

from dial_ins import Caller, lab_settings
from figures import Figure, Table
from lab import CALLEE, KMS_IDENTITY, ROOT, Lab, Settings, tool
from loopback_ports import free_ports
from mrf_ops.ladder import calls, read_events
from processes import cpu_seconds, family

FOLDER = Path(__file__).parent
OUTSTANDING = 16  # HTTP requests at a time


@contextlib.contextmanager
def callees(lab: Lab) -> Iterator[int]:
    """Participants who answer; gives their port."""
    [port] = free_ports(1)
    command = [sys.executable, str(FOLDER / "callees.py"), f"http://127.0.0.1:{lab.ports.kms}"]
    command += [lab.callee_psk, str(port)]
    environment = dict(os.environ, PYTHONPATH=f"{ROOT / 'script'}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield port
        finally:
            process.terminate()


async def ask(lab: Lab, uri: str, rate: int, count: int) -> None:
    """Ask for dial-outs at a rate, as an operator over HTTP."""
    token = (lab.folder / "operator.token").read_text().strip()
    url = f"http://127.0.0.1:{lab.ports.http}/conferences/meeting/participants"
    slots = asyncio.Semaphore(OUTSTANDING)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.TaskGroup() as requests:

        async def one() -> None:
            async with slots, session.post(url, json={"uri": uri}) as answer:
                answer.raise_for_status()

        start = time.monotonic()
        for number in range(count):
            await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
            requests.create_task(one())


def dial_outs(lab: Lab, port: int, rate: int, count: int) -> float:
    """Microseconds of all Kamailio processes for each of so many dial-outs."""
    pids = family(lab.elements["mrfc"].pid)
    before = cpu_seconds(pids)
    asyncio.run(ask(lab, f"{CALLEE}:{port}", rate, count))
    lab.wait_for("every participant to leave", lambda: not lab.status()["calls"], 60)
    return (cpu_seconds(pids) - before) * 1e6 / count


def answer_to_bfcp(folder: Path, count: int) -> float:
    """Median ms from the 200 of UE-B to its first BFCP message at the MRFP, TLS handshake and all."""
    with Lab(folder, Settings()) as lab:
        lab.start()
        [port] = free_ports(1)
        command = [tool("mrf-ue"), "answer", "--identity", CALLEE]
        command += ["--local-address", f"127.0.0.1:{port}", "--calls", str(count), "--hold", "0"]
        command += ["--kms", f"http://127.0.0.1:{lab.ports.kms}", "--kms-identity", KMS_IDENTITY]
        command += ["--psk-id", "bob", "--psk-file", str(lab.folder / "bob.psk")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ue:
            assert ue.stdout is not None
            ue.stdout.readline()
            for _ in range(count):
                asyncio.run(ask(lab, f"{CALLEE}:{port}", 1000, 1))
                lab.wait_for("UE-B to leave", lambda: not lab.status()["calls"])
            ue.wait(10)
        return median(first_words(lab))


def first_words(lab: Lab) -> list[float]:
    """For each call in the traces: ms from the 200 at the MRFC to the Hello at the MRFP."""
    found = []
    files = lab.trace_files()
    for correlation in [call.correlation for call in calls(read_events(files)) if call.correlation]:
        times = {
            (event.element, event.name): event.time
            for event in reversed(read_events(files, correlation))
            if event.kind == "received"
        }
        answered, hello = times.get(("MRFC", "200 OK (INVITE)")), times.get(("MRFP", "Hello"))
        if answered is not None and hello is not None:
            found.append((hello - answered) * 1e3)
    return found


def run(quick: bool) -> Table:
    """CPU time per dial-out beside dial-in, and the time to the first BFCP message."""
    rate, count, rounds, answers = (50, 50, 1, 3) if quick else (150, 600, 3, 30)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Lab(folder / "load", lab_settings()) as lab, callees(lab) as port:
            lab.start()
            caller = Caller(lab, folder)
            caller.mrfc(rate, rate)  # first uses of everything
            dial_outs(lab, port, rate, rate)
            out = [dial_outs(lab, port, rate, count) for _ in range(rounds)]
            into = [caller.mrfc(rate, count)[1] for _ in range(rounds)]
        first = answer_to_bfcp(folder / "answers", answers)
    return Table(
        "Dial-outs at the MRFC, all Kamailio processes",
        [
            Figure(f"CPU of a dial-out, {rate}/s", median(out), "us", median(into)),
            Figure("dial-outs per second and core", 1e6 / median(out), "/s", 1e6 / median(into)),
            Figure("from the answer to the first BFCP message", first, "ms"),
        ],
        ("The HTTP request that asks for the call is in the figure of the dial-out.",),
        peer="dial-in at the same rate",
    )
