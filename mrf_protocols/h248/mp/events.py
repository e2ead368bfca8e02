"""Events of terminations that the MRFC asks for, as an Events descriptor, and back (RFC 3525 7.1.9)."""

from __future__ import annotations

from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.mp import elements as e
from mrf_protocols.h248.mp import fields
from mrf_protocols.h248.mp.procedures import EventRequest
from mrf_protocols.h248.values import EventsDescriptor, Property, Relation, RequestedEvent


def event_descriptor(request: EventRequest) -> EventsDescriptor | None:
    """The descriptor that asks for them; None when nothing is asked for."""
    found: list[RequestedEvent] = []
    tcp = [e.FAILED] * request.tcp_failure + [e.RELEASED] * request.released
    tls = [e.FAILED] * request.tls_failure + [e.ESTABLISHED] * request.tls_established
    for element, types in ((e.TCP_CHANGE, tcp), (e.TLS_CHANGE, tls)):
        if types:
            wanted = Property(e.CHANGE_TYPE.identifier, tuple(types), Relation.ANY_OF)
            found.append(RequestedEvent(element.identifier, (wanted,)))
    if request.heartbeat:
        timer = Property(e.HEARTBEAT_TIMER.identifier, (str(request.heartbeat),))
        found.append(RequestedEvent(e.HEARTBEAT.identifier, (timer,)))
    if request.floor_decisions:
        found.append(RequestedEvent(e.REPORT.identifier))
    return EventsDescriptor(request.request_id, tuple(found)) if found else None


def parse_events(descriptor: EventsDescriptor) -> EventRequest:
    """What is asked for. Raises H248Error with the code to answer with."""
    asked: set[tuple[str, str]] = set()
    heartbeat, floor_decisions = 0, False
    for event in descriptor.events:
        name = event.name.lower()
        parameters = {item.name.lower(): item for item in event.parameters}
        if name in {e.TCP_CHANGE.identifier.lower(), e.TLS_CHANGE.identifier.lower()}:
            asked |= {(name[:3], kind) for kind in _change_types(name[:3], parameters)}
        elif name == e.HEARTBEAT.identifier.lower():
            timer = parameters.get(e.HEARTBEAT_TIMER.identifier.lower())
            if timer is None:
                raise H248Error(ErrorCode.MISSING_PARAMETER)
            heartbeat = fields.number(timer.value, e.HEARTBEAT_TIMER, 0xFFFF)
        elif name == e.REPORT.identifier.lower():
            floor_decisions = True
        else:
            raise fields.unknown(event.name, ErrorCode.NO_SUCH_EVENT)
    return EventRequest(
        ("tcp", "fail") in asked,
        ("tls", "fail") in asked,
        ("tcp", "rel") in asked,
        ("tls", "est") in asked,
        heartbeat,
        descriptor.request_id or 0,
        floor_decisions,
    )


def _change_types(which: str, parameters: dict[str, Property]) -> tuple[str, ...]:
    """The changes that an event descriptor asks for; all when it names none."""
    wanted = parameters.get(e.CHANGE_TYPE.identifier.lower())
    known = ("fail", "rel") if which == "tcp" else ("fail", "est")
    if wanted is None:
        return known
    types = tuple(value.lower() for value in wanted.values)
    if wanted.relation not in {Relation.EQUAL, Relation.ANY_OF} or not set(types) <= set(known):
        raise H248Error(ErrorCode.NO_SUCH_PARAMETER_VALUE)
    return types
