"""Seconds between asking for a floor and holding it."""

from __future__ import annotations

from mrfp_agent.floor_waits import FloorWaits


def test_waits_end_with_the_floor_and_not_with_giving_up() -> None:
    waits: list[float] = []
    floors = FloorWaits(waits.append)
    floors.changed(1, [7], [], 10.0)  # at once
    floors.changed(1, [7], [8, 9], 11.0)
    floors.changed(2, [8], [], 12.0)  # another floor
    floors.changed(1, [7], [9], 13.0)  # 8 gave up
    floors.changed(1, [9], [], 15.5)
    floors.changed(1, [9], [8], 20.0)
    floors.changed(1, [9, 8], [], 21.0)
    floors.changed(1, [], [], 30.0)
    floors.changed(1, [9], [], 31.0)
    assert waits == [0.0, 0.0, 4.5, 1.0, 0.0]
