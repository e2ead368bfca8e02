"""What lists of an operator hold: conferences, floors and calls as the store has them at the moment of asking."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mrf_protocols.h248.mp import FloorRequestState
from mrfc.config import Floor
from mrfc.state.floor_state import FloorRequestRecord
from mrfc.state.store import Conference, Store


class ConferenceRow(msgspec.Struct, frozen=True):
    """A conference; `mrfp` and `context` are None while nobody in it has a termination."""

    user: str
    id: int
    participants: int
    subscribers: int
    owner: str
    mrfp: str | None
    context: int | None


class CallRow(msgspec.Struct, frozen=True):
    """A call; `secured` is None without a termination, `mixer` the Call-ID of its leg."""

    call_id: str
    conference: str
    user: int
    remote: str
    state: str
    termination: str | None
    secured: bool | None
    mixer: str | None


class Person(msgspec.Struct, frozen=True):
    """A BFCP user, and its URI as operators may see it."""

    user: int
    uri: str


class RequestRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A floor request and whom it is for; `waits_for`: what a granted one waits for, `asked_by`: who else has asked."""

    request: int
    user: int
    uri: str
    waits_for: str = ""
    asked_by: int | None = None


class FloorRow(msgspec.Struct, frozen=True):
    """A floor, its chair, and its requests: those that hold it, those in its queue, those that wait for a chair."""

    conference: str
    floor: int
    algorithm: str
    chair: Person | None
    holders: list[RequestRow]
    queue: list[RequestRow]
    pending: list[RequestRow]


def conferences(store: Store, subscribers: Callable[[str], int]) -> list[ConferenceRow]:
    """All conferences; `subscribers` tells how many watch one."""
    return [
        ConferenceRow(
            conference.user,
            conference.conference_id,
            len(conference.seats),
            subscribers(conference.user),
            conference.owner_shown,
            conference.mrfp,
            conference.context,
        )
        for conference in store.conferences()
    ]


def calls(store: Store) -> list[CallRow]:
    """All calls."""
    return [
        CallRow(
            call.dialog.call_id,
            call.conference_user,
            call.user_id,
            call.operators_uri,
            call.state.value,
            call.termination,
            call.secured if call.termination else None,
            call.mixer.dialog.call_id if call.mixer else None,
        )
        for call in store.calls()
    ]


def floors(store: Store) -> list[FloorRow]:
    """Every floor of every conference that has participants."""
    return [
        _floor(store, conference, floor)
        for conference in store.conferences()
        if conference.seats
        for floor in conference.floors
    ]


def _floor(store: Store, conference: Conference, floor: Floor) -> FloorRow:
    state = conference.floor_state
    chair = state.chairs.get(floor.id)
    return FloorRow(
        conference.user,
        floor.id,
        floor.algorithm,
        None if chair is None else Person(chair, _uri(store, conference, chair)),
        [_request(store, conference, record) for record in state.holding(floor.id)],
        [_request(store, conference, record) for record in state.queued(floor.id)],
        [_request(store, conference, record) for record in state.pending(floor.id)],
    )


def _request(store: Store, conference: Conference, record: FloorRequestRecord) -> RequestRow:
    return RequestRow(
        record.request_id,
        record.user_id,
        _uri(store, conference, record.user_id),
        waits_for="media" if record.state is FloorRequestState.GRANTING else "",
        asked_by=None if record.requester_id == record.user_id else record.requester_id,
    )


def _uri(store: Store, conference: Conference, user_id: int) -> str:
    key = conference.seats.get(user_id)
    call = None if key is None else store.call_with(key)
    return "" if call is None else call.operators_uri
