"""The trace events of the last calls, kept in memory: for looking at a call without a trace file."""

from __future__ import annotations

from collections import OrderedDict

from mrf_ops.trace import Sink, TraceEvent


class RecentCalls:
    """A sink that keeps the events of the last `calls` calls, at most `events` of each, and passes all on.

    Events without a correlation belong to no call and are only passed on.
    """

    enabled = True

    def __init__(self, onward: Sink, calls: int = 100, events: int = 400) -> None:
        self._onward = onward
        self._calls, self._events = calls, events
        self._kept: OrderedDict[str, list[TraceEvent]] = OrderedDict()

    @property
    def dropped(self) -> int:
        """Events that the sink behind this one has lost."""
        return self._onward.dropped

    def write(self, event: TraceEvent) -> None:
        self._onward.write(event)
        if not event.correlation:
            return
        events = self._kept.get(event.correlation)
        if events is None:
            events = self._kept[event.correlation] = []
            while len(self._kept) > self._calls:
                self._kept.popitem(last=False)
        if len(events) < self._events:
            events.append(event)

    def close(self) -> None:
        self._onward.close()

    def correlations(self) -> list[str]:
        """The calls, latest first."""
        return list(reversed(self._kept))

    def events(self, correlation: str) -> list[TraceEvent]:
        """The events of a call in the order of their coming; none for a call that is not kept."""
        return list(self._kept.get(correlation, ()))
