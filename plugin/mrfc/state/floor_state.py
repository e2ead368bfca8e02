"""The floors of a conference as the MRFC knows them: plain values, kept from the MRFP's reports (TS 23.333 8.48)."""

from __future__ import annotations

from dataclasses import dataclass, field

from mrf_protocols.h248.mp import FloorRequestReport, FloorRequestState

ENDS = frozenset(
    {
        FloorRequestState.DENIED,
        FloorRequestState.CANCELLED,
        FloorRequestState.RELEASED,
        FloorRequestState.REVOKED,
    }
)
HOLDING = frozenset({FloorRequestState.GRANTING, FloorRequestState.GRANTED})


@dataclass(slots=True)
class FloorRequestRecord:
    """One floor request that is not over. `user_id` benefits, `requester_id` has asked."""

    request_id: int
    user_id: int
    requester_id: int
    floors: tuple[int, ...]
    state: FloorRequestState
    reason: str = ""


@dataclass(slots=True)
class FloorState:
    """Requests by id; of each floor the requests that hold it and those in its queue, in order; its chair."""

    requests: dict[int, FloorRequestRecord] = field(default_factory=dict)
    holders: dict[int, list[int]] = field(default_factory=dict)
    queues: dict[int, list[int]] = field(default_factory=dict)
    chairs: dict[int, int] = field(default_factory=dict)

    def apply(self, report: FloorRequestReport, user_id: int) -> None:
        """Take a report about a request of this user; one that says what is known already changes nothing."""
        request_id, state = report.floor_request_id, report.state
        if state is FloorRequestState.ACCEPTED or state in ENDS:
            self._take_out(self.holders, request_id)
        self._take_out(self.queues, request_id)
        if state in ENDS:
            self.requests.pop(request_id, None)
            return
        self.requests[request_id] = FloorRequestRecord(
            request_id, user_id, report.requester or user_id, report.floors, state, report.reason
        )
        if state in HOLDING:
            for floor_id in report.floors:
                holders = self.holders.setdefault(floor_id, [])
                if request_id not in holders:
                    holders.append(request_id)
        for floor_id, position in zip(report.floors, report.positions, strict=False):
            self.queues.setdefault(floor_id, []).insert(max(0, position - 1), request_id)

    def user_left(self, user_id: int) -> list[FloorRequestRecord]:
        """A user's termination is released: its requests and offices end. Gives the requests that held a floor."""
        mine = [record for record in self.requests.values() if record.user_id == user_id]
        for record in mine:
            del self.requests[record.request_id]
            self._take_out(self.holders, record.request_id)
            self._take_out(self.queues, record.request_id)
        self.chairs = {floor: chair for floor, chair in self.chairs.items() if chair != user_id}
        return [record for record in mine if record.state in HOLDING]

    @staticmethod
    def _take_out(lists: dict[int, list[int]], request_id: int) -> None:
        for members in lists.values():
            if request_id in members:
                members.remove(request_id)

    def holding(self, floor_id: int) -> list[FloorRequestRecord]:
        """Requests that hold a floor, also those whose media are being changed, the longest holder first."""
        return [self.requests[request_id] for request_id in self.holders.get(floor_id, [])]

    def queued(self, floor_id: int) -> list[FloorRequestRecord]:
        """Requests in the queue of a floor, in order."""
        return [self.requests[request_id] for request_id in self.queues.get(floor_id, [])]

    def pending(self, floor_id: int) -> list[FloorRequestRecord]:
        """Requests that wait for the chair of a floor, or of another one of theirs."""
        return [
            record
            for record in self.requests.values()
            if record.state is FloorRequestState.PENDING and floor_id in record.floors
        ]
