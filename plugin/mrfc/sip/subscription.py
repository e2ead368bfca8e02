"""When the NOTIFYs of a subscription go out, and when it is over, sans-IO (RFC 6665 4.2.2).

One NOTIFY is under way at a time, and two are an interval apart at least; what happens meanwhile is told by the next
one. What there is to tell is the matter of each event package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

ANSWER_LIMIT = 32.0  # seconds in which a NOTIFY has to be answered (RFC 3261 timer F)

Notice = TypeVar("Notice")
"""What a package says of a NOTIFY that has to be sent now."""


class Subscription(ABC, Generic[Notice]):
    """From the acceptance to the final NOTIFY. `interval`: seconds between two NOTIFYs."""

    def __init__(self, duration: float, interval: float, now: float) -> None:
        self.ended = False
        self._expiry = now + duration
        self._interval = interval
        self._earliest = now
        self._answer_due: float | None = None
        self._closing = False  # the final NOTIFY is under way

    @property
    def deadline(self) -> float | None:
        """When to call `tick`; None: not any more."""
        if self.ended:
            return None
        if self._answer_due is not None:
            return self._answer_due
        return min(self._earliest, self._expiry) if self._has_news else self._expiry

    @abstractmethod
    def answered(self, status: int, now: float) -> Notice | None:
        """The NOTIFY under way has its final response."""

    def tick(self, now: float) -> Notice | None:
        """Time has passed."""
        if self._answer_due is not None and now >= self._answer_due:
            self.ended = True
        return self._next(now)

    @property
    @abstractmethod
    def _has_news(self) -> bool:
        """Whether there is something to tell as soon as that may be."""

    @abstractmethod
    def _due(self, now: float) -> Notice | None:
        """The NOTIFY that is due; asked while none is under way."""

    def _next(self, now: float) -> Notice | None:
        return None if self.ended or self._answer_due is not None else self._due(now)

    def _sent(self, state: str, now: float) -> None:
        """A NOTIFY with this Subscription-State goes out."""
        self._closing = state.startswith("terminated")
        self._earliest, self._answer_due = now + self._interval, now + ANSWER_LIMIT
