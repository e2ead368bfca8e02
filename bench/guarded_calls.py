"""Dial-ins through a trunk: CPU time of all Kamailio processes for each, beside a script that only answers the call.

As in dial_ins.py, and in front of it the guard: networks of the trunk, rates, sizes, counters that all processes share.
What the guard itself takes of a request is measured in memory, for a trunk by its addresses and for one with digest.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from dial_ins import Caller, bare_kemi, lab_settings
from figures import Figure, Table
from lab import Lab, Settings
from mrf_ops.config import Secret
from mrfc.trunks.digest import Algorithm, Challenge, Login, ha1
from mrfc.trunks.guard import Gate
from mrfc.trunks.settings import Guard, Trunk

RATES = (100, 500, 1000)
REALM = "conf.example"
URI = f"sip:meeting@{REALM}"


def trunk_settings() -> Settings:
    """The lab of dial_ins.py with a trunk of loopback beside others."""
    settings = lab_settings()
    others = [{"name": f"other-{number}", "networks": [f"10.{number}.0.0/16"]} for number in range(50)]
    own = {"name": "own", "networks": ["127.0.0.0/8", "::1/128"], "rate": 20_000, "flood": 40_000}
    settings.mrfc["trunk"] = [*others, own]
    return settings


@dataclass
class Request:
    """What the guard looks at."""

    source: str = "127.0.0.1"
    transport: str = "udp"
    port: int = 5060
    method: str = "INVITE"
    in_dialog: bool = False
    values: list[str] = field(default_factory=list)

    def size(self) -> int:
        return 1500

    def body_size(self) -> int:
        return 900

    def certificate(self) -> str:
        return ""

    def authorization(self) -> list[str]:
        return self.values

    def repeated(self) -> bool:
        return False

    def request_uri(self) -> str:
        return URI


class Memory:
    """Counters of one process."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def rate(self, key: str) -> int:
        self._counts[key] += 1
        return self._counts[key]

    use = rate


def gate(trunk: Trunk) -> Gate:
    """A guard with one trunk."""
    guard = Guard(rate=10**9, flood=10**9)
    return Gate(guard, [trunk], REALM, os.urandom(32), time.time, lambda: secrets.token_hex(12))


def judging(trunk: Trunk, requests: list[Request]) -> float:
    """Microseconds for each of the requests, all of which are served."""
    judge, memory = gate(trunk).judge, Memory()
    begin = time.process_time()
    served = sum(judge(request, memory).served for request in requests)
    spent = time.process_time() - begin
    if served != len(requests):
        raise RuntimeError(f"{served} of {len(requests)} requests were served")
    return spent * 1e6 / len(requests)


def with_digest(count: int) -> float:
    """Microseconds for a request with good credentials."""
    known = ha1(Algorithm.SHA_256, "pbx", REALM, "secret")
    trunk = Trunk("pbx", users_file=Secret(f"pbx:{REALM}:{known}".encode()))
    guarded, memory = gate(trunk), Memory()
    challenge = Challenge.parse(guarded.judge(Request(), memory).headers[0][1])
    login = Login("pbx", "secret")
    requests = [
        Request(values=[login.answer(challenge, "INVITE", URI, number, "c")])
        for number in range(1, count + 1)
    ]
    begin = time.process_time()
    served = sum(guarded.judge(request, memory).served for request in requests)
    spent = time.process_time() - begin
    if served != count:
        raise RuntimeError(f"{served} of {count} requests were served")
    return spent * 1e6 / count


def run(quick: bool) -> Table:
    """CPU time per call at three rates, how many were answered, and the guard by itself."""
    rates, seconds, rounds, count = ((50, 100), 1, 1, 2_000) if quick else (RATES, 5, 3, 50_000)
    figures = []
    with tempfile.TemporaryDirectory() as name, Lab(Path(name), trunk_settings()) as lab:
        lab.start()
        caller = Caller(lab, Path(name))
        caller.mrfc(rates[0], rates[0])  # first uses of everything
        with bare_kemi(lab.elements["mrfc"].pid, Path(name)) as bare:
            for rate in rates:
                figures += at(caller, bare, rate, rate * seconds, rounds)
        lab.wait_for("everything to be given back", lambda: not lab.status()["calls"])
    by_address = Trunk("own", networks=["127.0.0.0/8"])
    return Table(
        "Dial-ins through a trunk over UDP, all Kamailio processes",
        [
            *figures,
            Figure("the guard of it, a request by address", judging(by_address, [Request()] * count), "us"),
            Figure("a request with digest, SHA-256", with_digest(count), "us"),
        ],
        ("The guard is measured in memory, without Kamailio's part: reading the message, shared counters.",),
        peer="KEMI script that answers INVITE and BYE and does nothing else",
    )


def at(caller: Caller, bare: tuple[str, int], rate: int, count: int, rounds: int) -> list[Figure]:
    """CPU time of both at one rate, in turns, and the share of calls that were answered."""
    own, peer, answered = [], [], []
    for _ in range(rounds):
        calls, spent = caller.mrfc(rate, count)
        own.append(spent)
        answered.append(100 * calls.succeeded / count)
        peer.append(caller.run(*bare, rate, count)[1])
    return [
        Figure(f"CPU of a dial-in, {rate}/s", median(own), "us", median(peer)),
        Figure("calls that were answered", median(answered), "%"),
    ]
