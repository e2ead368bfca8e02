"""Dial-ins at the MRFC: CPU time of all Kamailio processes for each, beside a script that only answers the call.

A dial-in is INVITE, 100, 200, ACK, BYE, 200 over UDP, with everything that the MRFC does for it: ticket resolved at
the KMS by HTTP, termination configured at and released from the MRFP by Mp. KMS, MRFP and sipp run on the same
machine; their time is not counted. The callers' TRANSFER_INITs are made beforehand, with tickets that the KMS gave.
"""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from figures import Figure, Table
from lab import CALLER, KMS_IDENTITY, Lab, Settings
from loopback_ports import free_ports
from mrf_kms.client import KmsClient
from mrf_protocols import mikey
from processes import cpu_seconds, family
from sipp import Calls, call, write_transfers

AIM_US = 1540.0  # 650 dial-ins per second and core
WORKERS = 3
TICKETS = 20
PORTS = 8000
FULL = 900  # more than one core can do, so that the engine never sleeps: what a core is worth
PROMPT_MS = 100.0  # a mean above it is a queue that grows
RATES = (300, 400, 500, 600, 700, 800)
FOLDER = Path(__file__).parent


def lab_settings() -> Settings:
    """Enough room for everything, no trace, warnings only."""
    return Settings(
        mrfc={
            "limits": {"participants": 20_000, "conferences": 20_000},
            "log": {"level": "warning"},
            "guard": {"rate": 20_000, "flood": 40_000},  # all callers have one address
        },
        mrfp={
            "media": {"ports": [12_000, 12_000 + PORTS - 1], "quarantine": 1},
            "limits": {"terminations": PORTS},
            "log": {"level": "warning"},
        },
        kms={"log": {"level": "warning"}, "kms": {"allow_reuse": True}},
        sip_workers=WORKERS,
        trace=False,
    )


async def tickets(lab: Lab, responder: str) -> list[mikey.GrantedTicket]:
    """Tickets for one conference, from the lab's KMS by HTTP."""
    client = KmsClient(f"http://127.0.0.1:{lab.ports.kms}")
    granted = []
    for number in range(TICKETS):
        exchange = mikey.TicketRequestExchange(
            psk=bytes.fromhex(lab.caller_psk),
            psk_id="alice",
            initiator=CALLER,
            kms=KMS_IDENTITY,
            responders=(responder,),
            flags=mikey.DEFAULT_FLAGS | mikey.PolicyFlag.J,  # each is used for many calls
            csb_id=number,
            rand=os.urandom,
            now=time.time(),
        )
        response = await client.ticket_request(exchange.request(), f"bench-{number}")
        granted.append(exchange.response(response, time.time()))
    await client.close()
    return granted


def transfers(granted: list[mikey.GrantedTicket], responder: str, count: int) -> list[str]:
    """A TRANSFER_INIT of its own for every call, fresh for a minute."""
    made = []
    for number, ticket in enumerate(islice(cycle(granted), count)):
        exchange = mikey.TransferInitiator(
            ticket, CALLER, responder, csb_id=number, rand=os.urandom, now=time.time()
        )
        made.append(base64.b64encode(exchange.init()).decode())
    return made


@contextmanager
def bare_kemi(mrfc: int, folder: Path) -> Iterator[tuple[str, int]]:
    """The answer-and-hang-up script in the Kamailio of the process `mrfc`: its address and process."""
    program = str(Path(f"/proc/{mrfc}/exe").readlink())
    address = f"127.0.0.1:{free_ports(1)[0]}"
    command = [program, "-DD", "-E", "-f", str(FOLDER / "bare_kemi.cfg"), "-m", "256", "-M", "16"]
    command += ["-w", str(folder), "-Y", str(folder), "-A", f"BARE_LISTEN=udp:{address}"]
    command += ["-A", f'BARE_SCRIPT="{FOLDER / "bare_kemi.py"}"', "-A", f"BARE_WORKERS={WORKERS}"]
    with (folder / "bare.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        time.sleep(1.0)  # it has nothing that tells when it is ready
        if process.poll() is not None:
            raise RuntimeError(f"kamailio ended:\n{(folder / 'bare.log').read_text()[-800:]}")
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(10)


class Caller:
    """Makes calls to one lab, and to whatever else shall answer them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self._folder = folder
        self._tickets = {
            user: asyncio.run(tickets(lab, lab.conference(user))) for user in ("meeting", "conf-factory")
        }

    def run(
        self, target: str, pid: int, rate: int, count: int, conference: str = "meeting"
    ) -> tuple[Calls, float]:
        """What became of the calls, and microseconds of the processes for each."""
        path = self._folder / "transfers.csv"
        responder = self._lab.conference(conference)
        write_transfers(path, transfers(self._tickets[conference], responder, count))
        pids = family(pid)
        before = cpu_seconds(pids)
        calls = call(target, conference, rate, path, count, self._folder)
        time.sleep(0.3)  # what the last BYE has set going
        return calls, (cpu_seconds(pids) - before) * 1e6 / max(1, calls.succeeded)

    def mrfc(self, rate: int, count: int, conference: str = "meeting") -> tuple[Calls, float]:
        """Calls to the MRFC."""
        return self.run(self._lab.sip_address, self._lab.elements["mrfc"].pid, rate, count, conference)


def highest_clean_rate(caller: Caller, seconds: int) -> tuple[int, float]:
    """Calls per second at which all were answered promptly and at the first attempt, and the mean ms to the 200."""
    best, answer_ms = 0, 0.0
    for rate in RATES:
        attempts = (caller.mrfc(rate, rate * seconds)[0] for _ in range(2))  # a neighbour may disturb one
        calls = next((calls for calls in attempts if calls.clean and calls.answer_ms <= PROMPT_MS), None)
        if calls is None:
            break
        best, answer_ms = rate, calls.answer_ms
    return best, answer_ms


def run(quick: bool) -> Table:
    """CPU time per dial-in at three rates, and the highest rate that is served at once."""
    calm, busy, full, seconds, rounds = (100, 150, 200, 1, 1) if quick else (300, 500, FULL, 5, 3)
    with tempfile.TemporaryDirectory() as name, Lab(Path(name), lab_settings()) as lab:
        folder = Path(name)
        lab.start()
        caller = Caller(lab, folder)
        caller.mrfc(calm, calm)  # first uses of everything
        figures = []
        with bare_kemi(lab.elements["mrfc"].pid, folder) as bare:
            for rate, aim in ((calm, None), (busy, None), (full, AIM_US)):
                figures += compare(caller, bare, rate, rate * seconds, rounds, aim)
            made = [caller.mrfc(full, full * seconds, "conf-factory")[1] for _ in range(rounds)]
            figures.append(
                Figure(f"CPU of a dial-in that makes its conference, {full}/s", median(made), "us")
            )
        best, answer_ms = highest_clean_rate(caller, seconds)
        lab.wait_for("everything to be given back", lambda: not lab.status()["calls"])
    return Table(
        "Dial-ins at the MRFC over UDP, all Kamailio processes",
        [
            *figures,
            Figure("highest rate, all answered at once", best, "/s"),
            Figure("mean time to the 200 at that rate", answer_ms, "ms"),
        ],
        (
            f"At {full}/s calls come faster than the engine can serve them, it never sleeps, and a queue grows;",
            f"highest of {', '.join(map(str, RATES))}/s without a retransmission and with a mean time to the 200 "
            f"of at most {PROMPT_MS:.0f} ms;",
            f"KMS, MRFP and sipp share the {os.cpu_count()} cores of this machine with the MRFC.",
        ),
        peer="KEMI script that answers INVITE and BYE and does nothing else",
    )


def compare(
    caller: Caller, bare: tuple[str, int], rate: int, count: int, rounds: int, aim: float | None
) -> list[Figure]:
    """CPU time of both at one rate, in turns."""
    own, peer, answers = [], [], []
    for _ in range(rounds):
        calls, spent = caller.mrfc(rate, count)
        own.append(spent)
        answers.append(calls.answer_ms)
        peer.append(caller.run(*bare, rate, count)[1])
    least = None if aim is None else 1e6 / aim
    return [
        Figure(f"CPU of a dial-in, {rate}/s", median(own), "us", median(peer), most=aim),
        Figure("dial-ins per second and core", 1e6 / median(own), "/s", 1e6 / median(peer), least=least),
        Figure("mean time to the 200", median(answers), "ms"),
    ]
