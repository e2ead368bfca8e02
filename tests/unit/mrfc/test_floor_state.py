"""The MRFC's picture of the floors, report by report."""

from __future__ import annotations

from mrf_protocols.h248.mp import FloorRequestReport, FloorRequestState
from mrfc.state.floor_state import FloorState


def report(
    request: int,
    state: FloorRequestState,
    *positions: int,
    floors: tuple[int, ...] = (1,),
    requester: int = 0,
) -> FloorRequestReport:
    return FloorRequestReport(12, "bfcp/1", request, floors, state, positions, requester)


def queue(state: FloorState, floor: int = 1) -> list[int]:
    return [record.request_id for record in state.queued(floor)]


def test_those_behind_move_up_without_reports() -> None:
    state = FloorState()
    state.apply(report(1, FloorRequestState.GRANTED), 1)
    for number in (2, 3, 4):
        state.apply(report(number, FloorRequestState.ACCEPTED, number - 1), number)
    state.apply(report(4, FloorRequestState.ACCEPTED, 1), 4)
    assert queue(state) == [4, 2, 3]
    state.apply(report(1, FloorRequestState.RELEASED), 1)
    state.apply(report(4, FloorRequestState.GRANTED), 4)
    assert queue(state) == [2, 3]
    assert [record.user_id for record in state.holding(1)] == [4]


def test_the_same_report_twice_changes_nothing() -> None:
    state = FloorState()
    for _ in range(2):
        state.apply(report(1, FloorRequestState.ACCEPTED, 1, 1, floors=(1, 2)), 1)
    assert (queue(state, 1), queue(state, 2)) == ([1], [1])
    for _ in range(2):
        state.apply(report(1, FloorRequestState.GRANTING, floors=(1, 2)), 1)
    assert (queue(state, 1), len(state.holding(2))) == ([], 1)
    for _ in range(2):
        state.apply(report(1, FloorRequestState.DENIED, floors=(1, 2)), 1)
    assert not state.requests
    assert not state.holding(1)


def test_pending_is_shown_at_each_floor() -> None:
    state = FloorState()
    state.apply(report(1, FloorRequestState.PENDING, floors=(1, 2), requester=7), 1)
    assert [record.requester_id for record in state.pending(2)] == [7]
    assert not state.pending(3)


def test_who_leaves_takes_requests_and_offices_along() -> None:
    state = FloorState()
    state.apply(report(1, FloorRequestState.GRANTED), 1)
    state.apply(report(2, FloorRequestState.ACCEPTED, 1), 1)
    state.apply(report(3, FloorRequestState.ACCEPTED, 2), 2)
    state.chairs = {1: 1, 2: 2}
    assert [record.request_id for record in state.user_left(1)] == [1]
    assert queue(state) == [3]
    assert not state.holding(1)
    assert state.chairs == {2: 2}
