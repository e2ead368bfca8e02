"""How long users wait for floors: from the queue, or from nowhere, to the holders."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class FloorWaits:
    """Of one conference. `observe` is told the seconds of each wait that ended with the floor."""

    __slots__ = ("_holders", "_observe", "_since")

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._holders: dict[int, frozenset[int]] = {}
        self._since: dict[tuple[int, int], float] = {}

    def changed(self, floor_id: int, holders: Sequence[int], queue: Sequence[int], now: float) -> None:
        """A floor has other holders or another queue: BFCP user ids; `now` is monotonic."""
        before, since = self._holders.get(floor_id, frozenset()), self._since
        if holders or before:
            present = self._holders[floor_id] = frozenset(holders)
            for user in present - before:
                self._observe(now - since.pop((floor_id, user), now))
        if since:
            waiting = set(queue)
            for key in [key for key in since if key[0] == floor_id and key[1] not in waiting]:
                del since[key]  # gave up
        for user in queue:
            since.setdefault((floor_id, user), now)
