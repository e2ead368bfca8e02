"""Memory of the MRFC for each call that stands: callers dial in over UDP, acknowledge, and do nothing any more.

PSS of all Kamailio processes, before and after: the dialogs in the engine, and what is left of their transactions in
Kamailio's shared memory once its timers have run out.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from dial_ins import lab_settings, tickets, transfers
from figures import Figure, Table
from lab import Lab, Settings
from processes import allow_many_files, family, memory
from sipp import STAND, call, write_transfers

RATE = 300
BATCH = 1_000  # callers whose messages stay fresh while they call, on a slow machine, too
AT_ONCE = 100  # calls that are being set up: a slow machine takes longer and refuses none
SETTLE = 8.0  # longer than tm remembers a transaction (wait_timer, 5 s)
FILES = 65_536  # of the MRFP, which opens one for each call; where that is not allowed, there are fewer calls
FILES_BESIDE = 200
PORTS = (12_000, 32_700)


def settings() -> Settings:
    """Room for all, and an MRFP that waits for their connections."""
    chosen = lab_settings()
    chosen.mrfp["media"] = {"ports": list(PORTS), "quarantine": 0}
    chosen.mrfc["limits"] = {"participants": 21_000}
    chosen.mrfp["limits"] = {"terminations": 30_000}  # far from full: an MRFP that is nearly so asks for less
    chosen.mrfp["termination"] = {"tcp_connect": 3600.0, "client_hello": 3600.0}
    return chosen


def pss_of(lab: Lab) -> int:
    """kB of all Kamailio processes."""
    return sum(memory(pid).pss for pid in family(lab.elements["mrfc"].pid))


def dial(lab: Lab, folder: Path, rate: int, count: int) -> int:
    """Have so many callers dial in and stay; how many do."""
    responder = lab.conference()
    granted = asyncio.run(tickets(lab, responder))
    path, standing = folder / "transfers.csv", 0
    while standing < count:
        batch = min(BATCH, count - standing)
        write_transfers(path, transfers(granted, responder, batch))
        more = call(lab.sip_address, "meeting", rate, path, batch, folder, STAND, AT_ONCE).succeeded
        if not more:
            raise RuntimeError(
                f"no more than {standing} calls can stand here: see the MRFP's log for what is full"
            )
        standing += more
        if lab.status()["calls"] < standing:
            raise RuntimeError(f"of {standing} calls {lab.status()['calls']} stand")
    return standing


def run(quick: bool) -> Table:
    """PSS per call at 20,000 calls, or as many as open files allow."""
    count, settle = (200, 0.5) if quick else (20_000, SETTLE)
    count = min(count, allow_many_files(FILES) - FILES_BESIDE)
    with tempfile.TemporaryDirectory() as name, Lab(Path(name), settings()) as lab:
        lab.start()
        dial(lab, Path(name), RATE, 50)  # first uses of everything
        time.sleep(settle)
        empty = pss_of(lab)
        standing = dial(lab, Path(name), RATE, count)
        time.sleep(settle)
        full = pss_of(lab)
    return Table(
        f"Memory of the MRFC at {standing:,} calls that stand",
        [
            Figure("PSS of a call, all Kamailio processes", (full - empty) / standing, "kB"),
            Figure("PSS of all", full / 1024, "MB"),
        ],
    )
