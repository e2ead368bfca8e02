"""Encoding and decoding of the Mp messages of a dial-in: Configure (Add) and Release (Subtract), with replies."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

from figures import Figure, Table
from mrf_protocols.h248 import decode, encode, mp
from mrf_protocols.h248.values import DomainAddress, Message, TransactionReply, TransactionRequest

MID = DomainAddress("127.0.0.1", 2944)
CONFIGURE = mp.ConfigureBfcpTermination(
    ("192.0.2.1", 50_000),
    7,
    3,
    psk=bytes(range(16)),
    psk_identity="55667788.1",
    events=mp.EventRequest(tcp_failure=True, tls_failure=True, released=True, tls_established=True),
    correlation="1-2345@192.0.2.1",
)
ROUNDS = 5


def messages() -> dict[str, Message]:
    """The four messages by name."""
    release = mp.ReleaseBfcpTermination(3, "bfcp/17", CONFIGURE.correlation)
    configured = mp.TerminationConfigured(3, "bfcp/17", ("192.0.2.9", 12_017))
    released = mp.TerminationReleased(3, "bfcp/17")
    return {
        "Add request": _message(TransactionRequest(7, mp.request_actions(CONFIGURE))),
        "Add reply": _message(TransactionReply(7, (mp.reply_action(CONFIGURE, configured),))),
        "Subtract request": _message(TransactionRequest(8, mp.request_actions(release))),
        "Subtract reply": _message(TransactionReply(8, (mp.reply_action(release, released),))),
    }


def _message(transaction: TransactionRequest | TransactionReply) -> Message:
    return Message(3, MID, (transaction,))


def rate(work: Callable[[], object], count: int) -> float:
    """Times per CPU second, median of some rounds."""
    rates = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(count):
            work()
        rates.append(count / (time.process_time() - began))
    return median(rates)


def run(quick: bool) -> Table:
    """Messages per second and core, compact text as on the wire."""
    count = 100 if quick else 3000
    figures = []
    for name, message in messages().items():
        octets = encode(message)
        figures += [
            Figure(f"encode {name} ({len(octets)} octets)", rate(partial(encode, message), count), "/s"),
            Figure(f"decode {name}", rate(partial(decode, octets), count), "/s"),
        ]
    return Table("H.248 text codec, messages per CPU second", figures)
