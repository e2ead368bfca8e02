"""Who holds which floor and who waits for it: holders per floor and one queue for the conference.

One queue, not one per floor, so that requests for several floors cannot wait for each other in a circle.
The position of a request for a floor is its place among those in the queue that want this floor.
"""

from __future__ import annotations

from collections.abc import Iterable

from mrfp_agent.floor_control.requests import FloorRequest
from mrfp_agent.floor_control.values import Floor


class FloorBook:
    """Holders and queue of every floor of one conference."""

    def __init__(self, floors: Iterable[Floor]) -> None:
        self.floors = {floor.floor_id: floor for floor in floors}
        self.holders: dict[int, list[FloorRequest]] = {floor_id: [] for floor_id in self.floors}
        self.queue: list[FloorRequest] = []

    def enqueue(self, request: FloorRequest) -> None:
        """Put a request behind all of its own rank or a higher one."""
        place = len(self.queue)
        while place and self.queue[place - 1].rank < request.rank:
            place -= 1
        self.queue.insert(place, request)

    def move(self, request: FloorRequest, floor_id: int, position: int) -> None:
        """Put a queued request at a position (from 1) of the queue for one floor, or at its end."""
        self.queue.remove(request)
        seen = 0
        for place, other in enumerate(self.queue):
            if floor_id in other.floors:
                seen += 1
                if seen == position:
                    self.queue.insert(place, request)
                    return
        self.queue.append(request)

    def grant(self, request: FloorRequest) -> None:
        """Make a request the holder of its floors; the caller knows that they have room."""
        if request in self.queue:
            self.queue.remove(request)
        for floor_id in request.floors:
            self.holders[floor_id].append(request)

    def drop(self, request: FloorRequest) -> None:
        """Forget a request, wherever it is."""
        if request in self.queue:
            self.queue.remove(request)
        for floor_id in request.floors:
            if request in self.holders[floor_id]:
                self.holders[floor_id].remove(request)

    def grantable(self) -> list[FloorRequest]:
        """Queued requests whose turn has come, in order.

        Nobody is overtaken on a floor by a later request: one that has to wait for another of its floors
        keeps its claim on all of them. Requests that wait for their chair claim nothing.
        """
        if len(self.queue) == 1:  # mostly: who asks is granted at once
            request = self.queue[0]
            room = request.ready and all(self._room(floor_id) > 0 for floor_id in request.floors)
            return [request] if room else []
        free = {floor_id: self._room(floor_id) for floor_id in self.floors}
        open_floors = sum(room > 0 for room in free.values())
        found: list[FloorRequest] = []
        for request in self.queue:
            if not open_floors:
                break
            if not request.ready:
                continue
            if all(free[floor_id] > 0 for floor_id in request.floors):
                found.append(request)
            for floor_id in request.floors:
                free[floor_id] -= 1
                open_floors -= free[floor_id] == 0
        return found

    def _room(self, floor_id: int) -> int:
        return self.floors[floor_id].max_holders - len(self.holders[floor_id])

    def waiting_for(self, floor_id: int) -> list[FloorRequest]:
        """The queue of one floor."""
        return [request for request in self.queue if floor_id in request.floors]

    def positions(self) -> dict[int, tuple[int, ...]]:
        """For each queued request id the position (from 1) on each of its floors, in their order."""
        counts = dict.fromkeys(self.floors, 0)
        found: dict[int, tuple[int, ...]] = {}
        for request in self.queue:
            for floor_id in request.floors:
                counts[floor_id] += 1
            found[request.request_id] = tuple([counts[floor_id] for floor_id in request.floors])
        return found
