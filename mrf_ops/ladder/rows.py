"""Events of two ends into rows: one row per message, or per local event."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mrf_ops.trace import TraceEvent

UNKNOWN = "?"  # the other end of a message whose teller did not name it
Seen = Literal["both", "source", "target", "local"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the ladder.

    time: when the first of the two ends saw it, Unix seconds. source, target: elements; the same one for a
    local event. seen: which ends told of it; a foreign peer tells nothing. delay: seconds from sent to
    received, when both ends told. fields: those of the sender, then what the receiver knows besides.
    """

    time: float
    source: str
    target: str
    protocol: str
    name: str
    key: str
    seen: Seen
    delay: float | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


def pair(events: Iterable[TraceEvent]) -> list[Row]:
    """Rows in order of time.

    The n-th "sent" of a (protocol, name, key) belongs to the n-th "received" of the same by another
    element. The row takes the earlier of the two times: a receiver may be quicker to note a message than
    its sender, and what it does next must not come before it.
    """
    waiting: dict[tuple[str, str, str], list[TraceEvent]] = defaultdict(list)
    rows: list[Row] = []
    ordered = sorted(events, key=lambda event: event.time)
    for event in ordered:
        if event.kind == "received":
            waiting[event.protocol, event.name, event.key].append(event)
    for event in ordered:
        if event.kind == "local":
            rows.append(_row(event, event.element, event.element, "local"))
        elif event.kind == "sent":
            rows.append(_sent(event, waiting[event.protocol, event.name, event.key]))
    for lonely in waiting.values():
        rows.extend(_row(event, event.peer, event.element, "target") for event in lonely)
    return sorted(rows, key=lambda row: row.time)


def _sent(sent: TraceEvent, candidates: list[TraceEvent]) -> Row:
    received = next((other for other in candidates if other.element != sent.element), None)
    if received is None:
        return _row(sent, sent.element, sent.peer, "source")
    candidates.remove(received)
    return Row(
        time=min(sent.time, received.time),
        source=sent.element,
        target=received.element,
        protocol=sent.protocol,
        name=sent.name,
        key=sent.key,
        seen="both",
        delay=max(0.0, received.time - sent.time),
        fields=_merged(sent, received),
    )


def _merged(sent: TraceEvent, received: TraceEvent) -> dict[str, str]:
    extra = {name: value for name, value in received.fields.items() if name not in sent.fields}
    return {**sent.fields, **extra}


def _row(event: TraceEvent, source: str, target: str, seen: Seen) -> Row:
    return Row(
        event.time,
        source or "?",
        target or "?",
        event.protocol,
        event.name,
        event.key,
        seen,
        None,
        event.fields,
    )
