"""Resolves per CPU second of the KMS: over HTTP by a real process, and the decision alone in memory.

The messages are made beforehand. CPU time is that of the KMS process, all of its threads, so figures are per core
whatever else the machine does. Run as a program with --profile for where the time goes.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from figures import Figure, Table
from mrf_kms.image import Image, StoredTicketKey, User
from mrf_kms.rates import RateLimiter
from mrf_kms.service import KmsService, RequestType, Settings
from mrf_protocols import mikey

AIM = 2000.0
KMS = "kms.example"
CALLER, CONFERENCE = "sip:alice@ue.example", "sip:meeting@conf.example"
PSK_CALLER, PSK_FOCUS, TICKET_KEY = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
CONNECTIONS = 64
TICKS = os.sysconf("SC_CLK_TCK")


def resolve_init(suite: mikey.Suite, ticket: mikey.GrantedTicket) -> bytes:
    """A message of its own for one call with this ticket."""
    now = time.time()
    offer = mikey.TransferInitiator(
        ticket, CALLER, CONFERENCE, csb_id=int.from_bytes(os.urandom(4)), rand=os.urandom, now=now
    )
    responder = mikey.TransferResponder(offer.init(), now)
    return responder.resolve_init(
        psk=PSK_FOCUS, psk_id="mrfc", identity=CONFERENCE, kms=KMS, rand=os.urandom, now=now
    )


def self_made(suite: mikey.Suite, flags: mikey.PolicyFlag) -> mikey.GrantedTicket:
    """A ticket under the caller's key; to resolve one of the KMS's own is the same work."""
    return mikey.make_ticket(
        tpk=PSK_CALLER,
        tpk_id="alice",
        initiator=CALLER,
        kms=KMS,
        responders=(CONFERENCE,),
        rand=os.urandom,
        now=time.time(),
        suite=suite,
        flags=flags,
    )


def messages(suite: mikey.Suite, count: int, flags: mikey.PolicyFlag = mikey.DEFAULT_FLAGS) -> list[bytes]:
    """RESOLVE_INITs, each with a ticket of its own."""
    return [resolve_init(suite, self_made(suite, flags)) for _ in range(count)]


def in_memory(suite: mikey.Suite, count: int, flags: mikey.PolicyFlag = mikey.DEFAULT_FLAGS) -> float:
    """Decisions per CPU second, without HTTP and store."""
    image = Image.of(
        (
            User(mikey.Credential("alice", PSK_CALLER, (CALLER,))),
            User(mikey.Credential("mrfc", PSK_FOCUS, ("sip:*@conf.example",))),
        ),
        (StoredTicketKey("kms-key-1", TICKET_KEY, 0.0, None),),
    )
    service = KmsService(Settings(KMS), RateLimiter(1e9, 1e9), os.urandom)
    bodies, now = messages(suite, count, flags), time.time()
    began = time.process_time()
    for body in bodies:
        outcome = service.handle(RequestType.TICKET_RESOLVE, body, image, now)
        assert outcome.status == 200, outcome.reason
    return count / (time.process_time() - began)


@contextmanager
def running_kms(folder: Path, store: str) -> Iterator[tuple[str, int]]:
    """A KMS process with the two users: its URL and process id."""
    config = folder / "kms.toml"
    config.write_text(
        f'[kms]\nidentity = "{KMS}"\n[http]\nport = 0\n[store]\n{store}\n[log]\nlevel = "warning"\n'
        "[limits]\nuser_rate = 1e9\nuser_burst = 1e9\n"
    )
    command = [sys.executable, "-m", "mrf_kms.cli"]
    for name, key, identity in (
        ("alice", PSK_CALLER, CALLER),
        ("mrfc", PSK_FOCUS, "sip:*@conf.example"),
    ):
        add = ["user", "add", name, "--identity", identity, "--psk-stdin", "--config", str(config)]
        subprocess.run([*command, *add], input=key.hex(), text=True, check=True)
    process = subprocess.Popen([*command, "serve", "--config", str(config)])
    try:
        yield _url(process.pid), process.pid
    finally:
        process.terminate()
        process.wait()


def _url(pid: int) -> str:
    """The port that the process has chosen: at this log level it does not say."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        done = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            if f"pid={pid}," in line:
                return f"http://{line.split()[3]}/keymanagement"
        time.sleep(0.05)  # another process that has no event to give
    raise RuntimeError("the KMS does not start")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def flood(url: str, bodies: list[bytes]) -> None:
    """Send all, CONNECTIONS at a time."""
    waiting = iter(bodies)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:

        async def send() -> None:
            for body in waiting:
                async with session.post(
                    url,
                    params={"requesttype": "ticketresolve"},
                    data=body,
                    headers={"Content-Type": "application/mikey", "X-Correlation-ID": "bench"},
                ) as response:
                    await response.read()
                    assert response.status == 200, response.status

        await asyncio.gather(*(send() for _ in range(CONNECTIONS)))


def over_http(suite: mikey.Suite, count: int, store: str) -> tuple[float, float]:
    """Resolves per CPU second of the KMS process, and per second of the clock."""
    with tempfile.TemporaryDirectory() as folder, running_kms(Path(folder), store) as (url, pid):
        asyncio.run(flood(url, messages(suite, 200)))  # what only the first use pays for
        bodies = messages(suite, count)
        cpu, clock = cpu_seconds(pid), time.monotonic()
        asyncio.run(flood(url, bodies))
        return count / (cpu_seconds(pid) - cpu), count / (time.monotonic() - clock)


def run(quick: bool) -> Table:
    """Both suites, with and without forking, in memory and over HTTP."""
    count = 400 if quick else 6000
    figures: list[Figure] = []
    for suite in (mikey.SUITE_128, mikey.SUITE_256):
        plain = in_memory(suite, count)
        forked = in_memory(suite, count, mikey.DEFAULT_FLAGS | mikey.PolicyFlag.I)
        figures.append(Figure(f"suite {suite.name}: decided in memory, per CPU second", plain, "resolves"))
        figures.append(Figure(f"suite {suite.name}: the same, keys forked", forked, "resolves"))
        rate, clock = over_http(suite, count, 'file = "kms.sqlite"')
        figures.append(
            Figure(f"suite {suite.name}: over HTTP, recorded, per CPU second", rate, "resolves", least=AIM)
        )
        figures.append(Figure(f"suite {suite.name}: the same, per second of the clock", clock, "resolves"))
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    notes = (
        f"{count} RESOLVE_INITs each, {CONNECTIONS} at a time on kept connections; SQLite store with audit log.",
        f"Largest KMS process: {used:.0f} MB.",
    )
    return Table("Resolves of the KMS", figures, notes)


def profile() -> None:
    """Where the time of a decision goes."""
    profiler = cProfile.Profile()
    profiler.runcall(in_memory, mikey.SUITE_128, 3000)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    if "--profile" in sys.argv:
        profile()
    else:
        print(run("--quick" in sys.argv).render())
