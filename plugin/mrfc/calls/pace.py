"""How often somebody may ask for what costs much: a token bucket, sans-IO."""

from __future__ import annotations


class Pace:
    """`burst` times at once, and once more per `interval` seconds. Times are seconds of a steady clock."""

    __slots__ = ("_burst", "_full_at", "_interval")

    def __init__(self, burst: int, interval: float) -> None:
        self._burst = burst
        self._interval = interval
        self._full_at = 0.0

    def take(self, now: float) -> float:
        """0 when it may be done now, and then it counts; else the seconds to wait."""
        wait = max(self._full_at, now) - now - (self._burst - 1) * self._interval
        if wait > 0:
            return wait
        self._full_at = max(self._full_at, now) + self._interval
        return 0.0
