"""The procedures as data: numbered steps, and which rows of a ladder belong to which step.

Local events that a procedure looks for (kind "local", any protocol): "TRANSFER_INIT" where an initiator has
built it, "TRANSFER_RESP" where the MRFC has built it, and "local address seized" at the MRFP when it has
one for a termination. A name may say more than that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mrf_ops.ladder.rows import UNKNOWN, Row, pair
from mrf_ops.trace import TraceEvent

CORE = ("MRFC", "KMS", "MRFP")
UE = "UE"  # in a pattern: whichever element is none of the core's


@dataclass(frozen=True, slots=True)
class Pattern:
    """Fits rows by protocol ("" for any), by regular expression on the name, and by who sends to whom.

    either: the opposite direction fits as well. required: the step is missing without such a row.
    """

    protocol: str
    name: str
    source: str
    target: str
    either: bool = False
    required: bool = True

    def fits(self, row: Row) -> bool:
        """True when the row is such a message or local event (source and target the same)."""
        if self.protocol and row.protocol != self.protocol:
            return False
        if (self.source == self.target) != (row.seen == "local") or not re.search(self.name, row.name):
            return False
        ends = (_role(row.source), _role(row.target))
        return ends == (self.source, self.target) or (self.either and ends == (self.target, self.source))


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered step; it took place when each of its required patterns fits a row."""

    number: int
    title: str
    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Procedure:
    """A call flow: its name, the elements from left to right, its steps."""

    name: str
    columns: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class NumberedRow:
    """A row and its step; step is None for what belongs to none, first is True for the step's first row."""

    row: Row
    step: Step | None = None
    first: bool = False


@dataclass(frozen=True, slots=True)
class Ladder:
    """What a renderer draws. start: Unix time of the first row, from which offsets count."""

    procedure: Procedure
    columns: tuple[str, ...]
    rows: tuple[NumberedRow, ...]
    start: float
    missing: tuple[Step, ...]


def _role(element: str) -> str:
    return element if element in CORE else UE


def _local(element: str, name: str, required: bool = True) -> Pattern:
    return Pattern("", name, element, element, required=required)


def _tls(client: str, server: str) -> tuple[Pattern, ...]:
    return (
        Pattern("TLS", "^ClientHello$", client, server),
        Pattern("TLS", "^TLS established$", server, client),
    )


_SEIZED = r"(?i)\blocal address\b"

DIAL_IN = Procedure(
    "Dial-in",
    ("UE-A", "MRFC", "KMS", "MRFP"),
    (
        Step(
            1,
            "UE-A gets a ticket from the KMS and makes TRANSFER_INIT",
            (
                Pattern("KMS", "^REQUEST_INIT", UE, "KMS", required=False),
                Pattern("KMS", "^REQUEST_RESP", "KMS", UE, required=False),
                _local(UE, "TRANSFER_INIT"),
            ),
        ),
        Step(2, "UE-A invites the conference with its offer", (Pattern("SIP", "^INVITE$", UE, "MRFC"),)),
        Step(
            3,
            "MRFC resolves the ticket at the KMS",
            (Pattern("KMS", "^RESOLVE_INIT", "MRFC", "KMS"), Pattern("KMS", "^RESOLVE_RESP", "KMS", "MRFC")),
        ),
        Step(
            4,
            "MRFC asks for a termination and hands over address and PSK",
            (Pattern("Mp", "request: Configure BFCP Termination", "MRFC", "MRFP"),),
        ),
        Step(5, "MRFP takes a local address", (_local("MRFP", _SEIZED),)),
        Step(6, "MRFP answers with the local address", (Pattern("Mp", "^Add reply", "MRFP", "MRFC"),)),
        Step(
            7,
            "TCP comes up between MRFP and UE-A",
            (Pattern("TCP", "^TCP connect", "MRFP", UE, either=True),),
        ),
        Step(8, "MRFC makes TRANSFER_RESP and the answer", (_local("MRFC", "TRANSFER_RESP"),)),
        Step(9, "MRFC answers the call", (Pattern("SIP", r"^200 OK \(INVITE\)", "MRFC", UE),)),
        Step(10, "TLS with the PSK, UE-A as TLS client", _tls(UE, "MRFP")),
    ),
)

DIAL_OUT = Procedure(
    "Dial-out",
    ("UE-B", "MRFC", "KMS", "MRFP"),
    (
        Step(
            1,
            "MRFC gets a ticket for UE-B and makes TRANSFER_INIT",
            (
                Pattern("KMS", "^REQUEST_INIT", "MRFC", "KMS", required=False),
                Pattern("KMS", "^REQUEST_RESP", "KMS", "MRFC", required=False),
                _local("MRFC", "TRANSFER_INIT"),
            ),
        ),
        Step(2, "MRFC reserves a termination", (Pattern("Mp", "request: Reserve BFCP", "MRFC", "MRFP"),)),
        Step(3, "MRFP takes a local address", (_local("MRFP", _SEIZED),)),
        Step(4, "MRFP answers with the local address", (Pattern("Mp", "^Add reply", "MRFP", "MRFC"),)),
        Step(5, "MRFC makes the offer", (_local("MRFC", "(?i)offer"),)),
        Step(6, "MRFC invites UE-B with the offer", (Pattern("SIP", "^INVITE$", "MRFC", UE),)),
        Step(
            7,
            "UE-B resolves the ticket at the KMS",
            (Pattern("KMS", "^RESOLVE_INIT", UE, "KMS"), Pattern("KMS", "^RESOLVE_RESP", "KMS", UE)),
        ),
        Step(8, "UE-B answers with TRANSFER_RESP", (Pattern("SIP", r"^200 OK \(INVITE\)", UE, "MRFC"),)),
        Step(
            9,
            "MRFC hands over address and PSK, asks for the start of TLS",
            (Pattern("Mp", "request: Configure Reserved BFCP Termination", "MRFC", "MRFP"),),
        ),
        Step(10, "MRFP sets up the termination", (_local("MRFP", "(?i)configured"),)),
        Step(11, "MRFP confirms", (Pattern("Mp", "^Modify reply", "MRFP", "MRFC"),)),
        Step(
            12,
            "TCP comes up, in the direction of the answer",
            (Pattern("TCP", "^TCP connect", "MRFP", UE, True),),
        ),
        Step(13, "TLS with the PSK, MRFP as TLS client", _tls("MRFP", UE)),
    ),
)


def number(rows: Sequence[Row], procedure: Procedure) -> list[NumberedRow]:
    """Give rows their steps. Each pattern takes the first row that fits it; later ones (retransmissions, a
    re-INVITE) stay without number."""
    open_patterns = [(step, pattern) for step in procedure.steps for pattern in step.patterns]
    begun: set[int] = set()
    numbered = []
    for row in rows:
        taken = next((entry for entry in open_patterns if entry[1].fits(row)), None)
        if taken is None:
            numbered.append(NumberedRow(row))
            continue
        open_patterns.remove(taken)
        step = taken[0]
        numbered.append(NumberedRow(row, step, step.number not in begun))
        begun.add(step.number)
    return numbered


def build(events: Iterable[TraceEvent], procedure: Procedure) -> Ladder:
    """Pair the events of one call and number the steps of the procedure."""
    rows = _rows(events, procedure)
    return Ladder(
        procedure=procedure,
        columns=_columns(rows, procedure),
        rows=tuple(number(rows, procedure)),
        start=rows[0].time if rows else 0.0,
        missing=tuple(_missing(rows, procedure)),
    )


def check(events: Iterable[TraceEvent], procedure: Procedure) -> list[Step]:
    """Steps of the procedure that did not take place, in order; empty when all did."""
    return _missing(pair(events), procedure)


def _missing(rows: Sequence[Row], procedure: Procedure) -> list[Step]:
    def took_place(step: Step) -> bool:
        return all(any(map(pattern.fits, rows)) for pattern in step.patterns if pattern.required)

    return [step for step in procedure.steps if not took_place(step)]


def _rows(events: Iterable[TraceEvent], procedure: Procedure) -> list[Row]:
    """Paired rows in which a silent UE goes by one name, though each of the core's elements may call it
    otherwise.

    That name is the one of the UE that tells of itself, if there is one, else the procedure's.
    """
    told = list(events)
    ues = list(dict.fromkeys(event.element for event in told if event.element not in CORE))
    ue = ues[0] if ues else procedure.columns[0]
    named = {*CORE, *ues, UNKNOWN}
    rows = []
    for row in pair(told):
        source = ue if row.source not in named and row.target in CORE else row.source
        target = ue if row.target not in named and row.source in CORE else row.target
        rows.append(replace(row, source=source, target=target))
    return rows


def _columns(rows: Sequence[Row], procedure: Procedure) -> tuple[str, ...]:
    """The procedure's columns; elements by other names come to the right, or replace an absent UE."""
    seen = list(dict.fromkeys(name for row in rows for name in (row.source, row.target)))
    strangers = [name for name in seen if name not in procedure.columns]
    columns = list(procedure.columns)
    if strangers and columns[0] not in seen:
        columns[0] = strangers.pop(0)
    return (*columns, *strangers)


def ladder_of(events: Sequence[TraceEvent]) -> Ladder:
    """The ladder of the procedure that the events fit best."""
    return build(events, min((DIAL_IN, DIAL_OUT), key=lambda each: len(check(events, each))))
