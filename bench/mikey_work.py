"""CPU time of the MRFC's MIKEY work for one dial-in, in memory: from the TRANSFER_INIT of the offer to the TEK.

The KMS's answers are made beforehand, by the KMS's own functions; what is timed is what the MRFC does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from figures import Figure, Table
from mrf_protocols import mikey

AIM_US = 400.0
KMS = "kms.example"
CALLER, CONFERENCE = "sip:alice@ue.example", "sip:meeting@conf.example"


@dataclass(frozen=True)
class Actors:
    """What caller, MRFC and KMS share, and the KMS's two functions."""

    suite: mikey.Suite
    caller: mikey.Credential
    focus: mikey.Credential
    ticket_key: mikey.TicketKey

    @classmethod
    def of(cls, suite: mikey.Suite) -> Actors:
        """Actors with fresh keys."""
        caller = mikey.Credential("alice", os.urandom(32), (CALLER,))
        focus = mikey.Credential("mrfc", os.urandom(32), (CONFERENCE,))
        return cls(suite, caller, focus, mikey.TicketKey("tpk", os.urandom(32)))

    def transfer_init(self, now: float) -> bytes:
        """A caller's message, with a ticket that the KMS has granted."""
        exchange = mikey.TicketRequestExchange(
            psk=self.caller.psk,
            psk_id=self.caller.psk_id,
            initiator=CALLER,
            kms=KMS,
            responders=(CONFERENCE,),
            csb_id=int.from_bytes(os.urandom(4)),
            rand=os.urandom,
            now=now,
            suite=self.suite,
        )
        issued = mikey.issue_ticket(
            exchange.request(),
            rules=mikey.KmsRules(KMS),
            find_credential=lambda *_: self.caller,
            ticket_key=self.ticket_key,
            rand=os.urandom,
            now=now,
        )
        ticket = exchange.response(issued.response, now)
        csb_id = int.from_bytes(os.urandom(4))
        return mikey.TransferInitiator(
            ticket, CALLER, CONFERENCE, csb_id=csb_id, rand=os.urandom, now=now
        ).init()

    def resolve_resp(self, request: bytes, now: float) -> bytes:
        """The KMS's answer to the MRFC."""
        return mikey.resolve_ticket(
            request,
            rules=mikey.KmsRules(KMS),
            find_credential=lambda *_: self.focus,
            find_ticket_key=lambda _: self.ticket_key,
            rand=os.urandom,
            now=now,
        ).response


def timed(spent: dict[str, float], name: str, work: Callable[[], bytes]) -> bytes:
    """Run a step and add its CPU time."""
    began = time.process_time_ns()
    result = work()
    spent[name] = spent.get(name, 0.0) + (time.process_time_ns() - began) / 1e3
    return result


def one(actors: Actors) -> dict[str, float]:
    """One dial-in: microseconds by step."""
    now = time.time()
    offered = actors.transfer_init(now)
    spent: dict[str, float] = {}
    made: list[mikey.TransferResponder] = []

    def read() -> bytes:
        made.append(mikey.TransferResponder(offered, now))
        return b""

    timed(spent, "read TRANSFER_INIT, check its ticket", read)
    transfer = made[0]
    request = timed(
        spent,
        "build RESOLVE_INIT",
        lambda: transfer.resolve_init(
            psk=actors.focus.psk,
            psk_id=actors.focus.psk_id,
            identity=CONFERENCE,
            kms=KMS,
            rand=os.urandom,
            now=now,
        ),
    )
    response = actors.resolve_resp(request, now)

    def verify() -> bytes:
        transfer.resolved(response, now)
        return b""

    timed(spent, "read and verify RESOLVE_RESP, verify TRANSFER_INIT", verify)
    timed(spent, "derive the TEK, build TRANSFER_RESP", lambda: transfer.respond(os.urandom, now).message)
    return spent


def measure(suite: mikey.Suite, runs: int) -> dict[str, float]:
    """Median microseconds of every step."""
    actors = Actors.of(suite)
    one(actors)  # imports and tables that only the first use pays for
    results = [one(actors) for _ in range(runs)]
    return {name: median(result[name] for result in results) for name in results[0]}


def run(quick: bool) -> Table:
    """The steps of both suites, and their sum beside the aim."""
    figures: list[Figure] = []
    for suite in (mikey.SUITE_128, mikey.SUITE_256):
        steps = measure(suite, 200 if quick else 2000)
        figures += [Figure(f"suite {suite.name}: {name}", value, "us") for name, value in steps.items()]
        figures.append(
            Figure(f"suite {suite.name}: all of a dial-in", sum(steps.values()), "us", most=AIM_US)
        )
    return Table("MIKEY work of the MRFC for one dial-in, CPU time in memory", figures)
