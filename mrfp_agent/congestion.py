"""When the MRFP asks for less new work (TS 23.333, Resource Congestion Handling; H.248.10)."""

from __future__ import annotations

from typing import Final

_FREE: Final = 0.8
"""Share of a resource up to which nothing is said."""
_STEP: Final = 25
"""Per cent between two indications, so that not every termination causes one."""
_LATE: Final = 1.0
"""Seconds by which a busy event loop may run late before no new work is wanted."""


class Congestion:
    """Measures loads and gives the reduction to ask for, in per cent; sans-IO."""

    def __init__(self) -> None:
        self.reduction = 0
        self._was_late = 0.0

    def measure(self, *loads: float, late: float = 0.0) -> int | None:
        """Loads are shares of what there is (1.0: all of it); `late` in seconds. A new reduction, or None.

        The reduction rises at once and falls only when the load is a whole step below. One late measure alone says
        nothing: the process may have been stopped, or the host asleep.
        """
        late, self._was_late = min(late, self._was_late), late
        load = max(*loads, min(late / _LATE, 1.0), 0.0)
        exact = max(0.0, min((load - _FREE) / (1 - _FREE), 1.0)) * 100
        step = 100 if load >= 1 else int(exact // _STEP) * _STEP
        if step < self.reduction and exact > self.reduction - _STEP and load >= _FREE:
            return None
        if step == self.reduction:
            return None
        self.reduction = step
        return step
