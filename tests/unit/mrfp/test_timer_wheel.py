"""The timer wheel on an event loop whose clock the test turns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from mrfp_agent.timer_wheel import STEP, Timer, TimerWheel


class Clock:
    """As much of an event loop as the wheel uses."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.due.append((self.now + delay, callback))

    def advance(self, seconds: float) -> None:
        """Let time pass in small pieces, calling what is due."""
        end = self.now + seconds
        while self.due and min(self.due, key=lambda entry: entry[0])[0] <= end:
            entry = min(self.due, key=lambda entry: entry[0])
            self.due.remove(entry)
            self.now = entry[0]
            entry[1]()
        self.now = end


def new_wheel() -> tuple[Clock, TimerWheel]:
    clock = Clock()
    return clock, TimerWheel(cast(asyncio.AbstractEventLoop, clock))


@given(
    delays=st.lists(st.floats(min_value=0, max_value=30), max_size=30),
    cancelled=st.sets(st.integers(0, 29)),
)
def test_timers_fire_once_in_time_unless_cancelled(delays: list[float], cancelled: set[int]) -> None:
    clock, wheel = new_wheel()
    start, fired = clock.now, dict[int, float]()

    def fire(number: int) -> None:
        assert number not in fired
        fired[number] = clock.now

    timers = [
        wheel.set(start + delay, lambda number=number: fire(number))  # type: ignore[misc] # lambda default
        for number, delay in enumerate(delays)
    ]
    for number in cancelled & set(range(len(timers))):
        wheel.cancel(timers[number])
        wheel.cancel(timers[number])
    clock.advance(31)
    assert set(fired) == set(range(len(delays))) - cancelled
    for number, when in fired.items():
        assert start + delays[number] <= when <= start + delays[number] + 2 * STEP + 1e-6
    assert len(wheel) == 0
    assert clock.due == [], "an idle wheel does not wake the loop"


def test_a_callback_may_set_and_cancel_others_of_the_same_moment() -> None:
    clock, wheel = new_wheel()
    fired: list[str] = []
    others: list[Timer] = []

    def first() -> None:
        fired.append("first")
        for other in others:
            wheel.cancel(other)
        wheel.set(clock.now - 1, lambda: fired.append("at once"))

    def second() -> None:
        fired.append("second")

    others.append(wheel.set(clock.now + 1, first))
    others.append(wheel.set(clock.now + 1, first))
    clock.advance(2)
    assert sorted(fired) == ["at once", "first"]
    wheel.set(clock.now + 1, second)
    clock.advance(1.2)
    assert fired[-1] == "second"
    assert len(wheel) == 0


def test_a_fault_in_one_callback_stops_no_other_timer() -> None:
    clock, wheel = new_wheel()
    fired: list[str] = []

    def faulty() -> None:
        fired.append("faulty")
        raise RuntimeError

    for _ in range(2):  # whichever of a slot is first
        wheel.set(clock.now + 1, faulty)
        wheel.set(clock.now + 1, lambda: fired.append("together"))
    wheel.set(clock.now + 2, lambda: fired.append("later"))
    for _ in range(3):
        with contextlib.suppress(RuntimeError):  # the event loop tells it
            clock.advance(3)
    assert sorted(fired) == ["faulty", "faulty", "later", "together", "together"]
    assert len(wheel) == 0
    assert clock.due == []
