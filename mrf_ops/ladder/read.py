"""Trace files back into events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mrf_ops.trace import TraceEvent

_DECODER = msgspec.json.Decoder(TraceEvent)


@dataclass(frozen=True, slots=True)
class Call:
    """One correlation id found in trace files. first, last: Unix time in seconds."""

    correlation: str
    first: float
    last: float
    events: int


def _events(path: Path) -> Iterator[TraceEvent]:
    with path.open("rb") as file:
        for line in file:
            try:
                yield _DECODER.decode(line)
            except msgspec.MsgspecError:
                continue  # a line cut by a full disk or a crash; the others still tell their story


def read_events(paths: Iterable[Path | str], correlation: str | None = None) -> list[TraceEvent]:
    """Events of all files in order of time; of one call when `correlation` is given.

    A file that is not there yet counts as empty, since an element that saw nothing may not have made its
    file. Lines that are no events are passed over. Raises OSError when a file cannot be read.
    """
    found = [
        event
        for path in map(Path, paths)
        if path.exists()
        for event in _events(path)
        if correlation is None or event.correlation == correlation
    ]
    return sorted(found, key=lambda event: event.time)


def calls(events: Iterable[TraceEvent]) -> list[Call]:
    """The calls that the events speak of, oldest first."""
    found: dict[str, Call] = {}
    for event in events:
        call = found.get(event.correlation) or Call(event.correlation, event.time, event.time, 0)
        found[event.correlation] = Call(
            call.correlation, min(call.first, event.time), max(call.last, event.time), call.events + 1
        )
    return sorted(found.values(), key=lambda call: call.first)
