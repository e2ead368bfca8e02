"""sipp, a SIP stack that is not ours, calls the whole installation and is called by it, over UDP and TCP.

sipp is required: without it these tests fail. It offers setup:active, so that the MRFP listens and nobody has to
connect within the short call.
"""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from callee_support import ask_for_call
from system_support import System, lonely_scene

from lab import CALLEE, CALLER, KMS_IDENTITY
from loopback_ports import free_ports
from mrf_protocols import mikey

CALLS = 20
LONGEST = 30.0
SCENARIOS = Path(__file__).with_name("sipp")
TRANSPORTS = {"udp": "u1", "tcp": "t1"}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """KMS, MRFC and MRFP."""
    with System.running(tmp_path_factory.mktemp("sipp")) as running:
        yield running


def transfers(system: System, path: Path) -> Path:
    """A file for sipp's -inf with one TRANSFER_INIT a line, with tickets that Alice made herself (mode 3)."""
    lines = ["SEQUENTIAL"]
    responder, now = mikey.kms_user_identity(system.lab.conference()), time.time()
    for number in range(CALLS):
        ticket = mikey.make_ticket(
            tpk=bytes.fromhex(system.lab.caller_psk),
            tpk_id="alice",
            initiator=CALLER,
            kms=KMS_IDENTITY,
            responders=(responder,),
            rand=os.urandom,
            now=now,
        )
        offer = mikey.TransferInitiator(ticket, CALLER, responder, csb_id=number, rand=os.urandom, now=now)
        lines.append(base64.b64encode(offer.init()).decode())
    path.write_text("\n".join(lines) + "\n")
    return path


def sipp(system: System, scenario: str, transport: str, folder: Path) -> None:
    """Run a scenario; fails unless every call went as it says."""
    command = ["sipp", system.lab.sip_address, "-i", "127.0.0.1", "-t", TRANSPORTS[transport]]
    command += ["-sf", str(SCENARIOS / scenario), "-inf", str(transfers(system, folder / "transfers.csv"))]
    command += ["-m", str(CALLS), "-r", "50", "-l", str(CALLS), "-recv_timeout", "10000", "-nostdin"]
    command += ["-trace_err", "-error_file", "errors.log"]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        cwd=folder,
        timeout=LONGEST,
        env={**os.environ, "TERM": "dumb"},
    )
    errors = folder / "errors.log"
    told = (
        errors.read_text(errors="replace")
        if errors.exists()
        else done.stdout.decode(errors="replace")[-2000:]
    )
    assert done.returncode == 0, told


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_invite_ack_bye(system: System, tmp_path: Path, transport: str) -> None:
    async with lonely_scene(system.lab) as scene:
        sipp(system, "dial_in.xml", transport, tmp_path)
        joined = [line for line in scene.logs["mrfc"].lines() if "joined, floor control at" in line]
        assert len(joined) == CALLS


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_cancel(system: System, tmp_path: Path, transport: str) -> None:
    """The KMS keeps silent meanwhile, so that every CANCEL comes before the answer."""
    async with lonely_scene(system.lab) as scene:
        with system.kms.silent():
            sipp(system, "cancel.xml", transport, tmp_path)
        gone = [line for line in scene.logs["mrfc"].lines() if "left: cancelled" in line]
        assert len(gone) == CALLS


CALLED = {
    "called_busy.xml": "refused: 486",
    "called_answers.xml": "failed: 488",
    "called_rings.xml": "no answer",
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", CALLED)
async def test_called(system: System, tmp_path: Path, scenario: str, transport: str) -> None:
    """sipp is called by the MRFC: it is busy, answers badly, or rings until the CANCEL comes."""
    calls = 5
    [port] = free_ports(1)
    command = ["sipp", "-i", "127.0.0.1", "-p", str(port), "-t", TRANSPORTS[transport], "-m", str(calls)]
    command += ["-sf", str(SCENARIOS / scenario), "-recv_timeout", "10000", "-nostdin"]
    command += ["-trace_err", "-error_file", "errors.log"]
    async with lonely_scene(system.lab) as scene:
        for _ in range(calls):
            scene.expect("mrfc", CALLED[scenario])
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.DEVNULL, env={**os.environ, "TERM": "dumb"}
        ) as called:
            await asyncio.sleep(
                0.5
            )  # sipp tells nobody when it listens; over UDP the INVITE would be repeated
            suffix = "" if transport == "udp" else ";transport=tcp"
            for _ in range(calls):
                await asyncio.to_thread(ask_for_call, system.lab, f"{CALLEE}:{port}{suffix}")
            status = await asyncio.to_thread(called.wait, LONGEST)
        errors = tmp_path / "errors.log"
        assert status == 0, errors.read_text(errors="replace") if errors.exists() else "no errors told"
