"""Calls as users of a conference information document: who is shown, how, and what is kept back (RFC 4575 5.6, 5.7)."""

from __future__ import annotations

from collections.abc import Iterable

from mrf_protocols.conference_info import (
    Description,
    DisconnectionMethod,
    Endpoint,
    EndpointStatus,
    Execution,
    FloorControl,
    JoiningMethod,
    Media,
    User,
)
from mrfc.mp.floor_policies import is_one_of
from mrfc.sip.refusal import quotable
from mrfc.state.store import Call, Conference

BFCP = "bfcp"


def description(conference: Conference, domain: str, participants: int) -> Description:
    """The conference as a whole; `participants`: how many it may have."""
    return Description(
        display_text=conference.terms.display_text,
        subject=conference.terms.subject,
        uris=(f"sip:{conference.user}@{domain}",),
        maximum_user_count=participants,
    )


def user(conference: Conference, calls: Iterable[Call]) -> User:
    """The user whose calls these are, all of one entity."""
    calls = sorted(calls, key=lambda call: call.user_id)
    first = calls[0]
    roles = ["participant"]
    if any(call.user_id in conference.floor_state.chairs.values() for call in calls):
        roles.append("chair")
    if owns(conference, first):
        roles.append("owner")
    return User(
        entity=entity(first),
        display_text=first.identity.shown_display(first.user_id),
        roles=tuple(roles),
        endpoints=tuple(_endpoint(conference, call) for call in calls),
    )


def entity(call: Call) -> str:
    """Under which URI others see a participant."""
    return call.identity.shown_uri(call.user_id)


def owns(conference: Conference, call: Call) -> bool:
    """Whether this is the owner of the conference."""
    return bool(conference.owner) and is_one_of(call.identity.uri, [conference.owner])


def endpoint_name(call: Call) -> str:
    """What tells the devices of one user apart; addresses are nobody's business."""
    return f"bfcp-user-{call.user_id}"


def _endpoint(conference: Conference, call: Call) -> Endpoint:
    return Endpoint(
        entity=endpoint_name(call),
        status=EndpointStatus.CONNECTED,
        joining_method=JoiningMethod.DIALED_OUT if call.dialed_out else JoiningMethod.DIALED_IN,
        joining_info=Execution(when=int(call.joined)) if call.joined else None,
        media=(_media(conference, call),) if call.termination else (),
    )


def _media(conference: Conference, call: Call) -> Media:
    state = conference.floor_state
    holds = tuple(
        floor.id
        for floor in conference.floors
        if any(record.user_id == call.user_id for record in state.holding(floor.id))
    )
    chairs = tuple(sorted(floor for floor, chair in state.chairs.items() if chair == call.user_id))
    return Media(BFCP, "application", "sendrecv", FloorControl(call.user_id, holds, chairs))


def departed(was: User, call: Call, now: float) -> User:
    """The user after the end of this call, which was his last one; it goes on being shown for a while."""
    endpoint = Endpoint(
        entity=endpoint_name(call),
        status=EndpointStatus.DISCONNECTED,
        joining_method=JoiningMethod.DIALED_OUT if call.dialed_out else JoiningMethod.DIALED_IN,
        joining_info=Execution(when=int(call.joined)) if call.joined else None,
        disconnection_method=_method(call),
        disconnection_info=Execution(when=int(now), reason=f'Reason: SIP;text="{quotable(call.end_reason)}"'),
    )
    return User(was.entity, was.display_text, was.roles, (endpoint,))


def _method(call: Call) -> DisconnectionMethod:
    if call.end_reason in ("", "BYE"):
        return DisconnectionMethod.DEPARTED
    return DisconnectionMethod.BOOTED if call.booted else DisconnectionMethod.FAILED
