"""Tickets used more than once, where their policy allows it (flag J): resolved ones, and ones granted to us."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")
MAX_TICKETS = 10_000
MAX_AGE = 600.0
"""Seconds after which the KMS is asked again all the same, so that a revocation counts."""


class TicketMemory(Generic[T]):
    """Remembers something by name until a time; the oldest goes when there are too many."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, name: Hashable, now: float) -> T | None:
        """What is remembered under a name, None when nothing is or its time is over."""
        until, value = self._known.get(name, (0.0, None))
        if value is not None and now < until:
            return value
        self._known.pop(name, None)
        return None

    def put(self, name: Hashable, value: T, now: float, expires: float | None) -> None:
        """Remember something for MAX_AGE, and not beyond `expires` (Unix time)."""
        self._known[name] = (min(now + MAX_AGE, now + MAX_AGE if expires is None else expires), value)
        self._known.move_to_end(name)
        if len(self._known) > MAX_TICKETS:
            self._known.popitem(last=False)
