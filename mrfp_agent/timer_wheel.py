"""Timers by the ten thousand: constant time to set and to cancel, at the price of firing up to one step
late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

STEP = 0.05
"""Seconds between two looks at what is due."""


class Timer:
    """A timer that is set; `when` is its time on the event loop's clock."""

    __slots__ = ("callback", "slot", "when")

    def __init__(self, when: float, slot: int, callback: Callable[[], None]) -> None:
        self.when = when
        self.slot = slot
        self.callback = callback


class TimerWheel:
    """Timers in slots of one step each. The event loop is woken only while there are any."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, set[Timer]] = {}
        self._count = 0
        self._next_slot = 0
        self._ticking = False

    def __len__(self) -> int:
        return self._count

    def set(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back at `when`, never before it, at most about one step later."""
        if not self._ticking:
            self._ticking = True
            self._next_slot = int(self._loop.time() / STEP)
            self._loop.call_later(STEP, self._tick)
        timer = Timer(when, max(int(when / STEP) + 1, self._next_slot), callback)
        slot = self._slots.get(timer.slot)
        if slot is None:
            self._slots[timer.slot] = {timer}
        else:
            slot.add(timer)
        self._count += 1
        return timer

    def cancel(self, timer: Timer) -> None:
        """Forget a timer; nothing happens when it has fired or was cancelled before."""
        slot = self._slots.get(timer.slot)
        if slot is not None and timer in slot:
            slot.remove(timer)
            self._count -= 1
            if not slot:
                del self._slots[timer.slot]

    def follow(
        self, timer: Timer | None, deadline: float | None, callback: Callable[[], None]
    ) -> Timer | None:
        """The timer for a deadline that moves, None without one; give it to the next call.

        A timer that is early anyway is left to fire and have its owner look again.
        """
        if timer is not None:
            if deadline is not None and timer.when <= deadline:
                return timer
            self.cancel(timer)
        return None if deadline is None else self.set(deadline, callback)

    def _tick(self) -> None:
        try:
            self._fire(int(self._loop.time() / STEP))
        finally:  # a fault in one callback must not stop the timers of all others
            self._ticking = bool(self._slots)
            if self._ticking:
                self._loop.call_later(STEP, self._tick)

    def _fire(self, present: int) -> None:
        """Call back for all slots up to the present one."""
        while self._next_slot <= present:
            # One by one: a callback may cancel another, or set one that is due at once.
            while slot := self._slots.get(self._next_slot):
                timer = slot.pop()
                self._count -= 1
                timer.callback()
            self._slots.pop(self._next_slot, None)
            self._next_slot += 1
