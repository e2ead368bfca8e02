"""Events of the MRFP as a whole, on ROOT: congestion (H.248.10) and silence of the MRFC (H.248.14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.mp import elements as e
from mrf_protocols.h248.mp import fields
from mrf_protocols.h248.values import (
    NULL_CONTEXT,
    ROOT,
    Action,
    Command,
    CommandKind,
    EventsDescriptor,
    ObservedEvent,
    ObservedEventsDescriptor,
    Property,
    RequestedEvent,
)

_TENTH: Final = 100
"""Units of the inactivity time in a second."""


@dataclass(frozen=True, slots=True)
class WatchMrfp:
    """What the MRFC wants to hear of an MRFP: TS 23.333 Resource Congestion Handling - Activate, and a sign of life
    after `inactivity` seconds without a message of the MRFC (0: none)."""

    congestion: bool = True
    inactivity: float = 0.0
    request_id: int = 1


@dataclass(frozen=True, slots=True)
class MrfpCongestion:
    """Resource Congestion Handling - Indication: leave out this share of new terminations, 0 to 100 per cent."""

    reduction: int
    request_id: int = 1


@dataclass(frozen=True, slots=True)
class MrfcInactivity:
    """The MRFP has not heard the MRFC for the time asked for."""

    request_id: int = 1


RootIndication = MrfpCongestion | MrfcInactivity


def watch_actions(watch: WatchMrfp) -> tuple[Action, ...]:
    """The MODIFY of ROOT that asks for it."""
    events: list[RequestedEvent] = []
    if watch.congestion:
        events.append(RequestedEvent(e.CONGESTION.identifier))
    if watch.inactivity:
        time = Property(e.INACTIVITY_TIME.identifier, (str(max(1, round(watch.inactivity * _TENTH))),))
        events.append(RequestedEvent(e.INACTIVITY.identifier, (time,)))
    descriptor = EventsDescriptor(watch.request_id if events else None, tuple(events))
    return (Action(NULL_CONTEXT, (Command(CommandKind.MODIFY, (ROOT,), (descriptor,)),)),)


def parse_watch(command: Command) -> WatchMrfp:
    """What a MODIFY of ROOT asks for. Raises H248Error with the code to answer with."""
    congestion, inactivity, request_id = False, 0.0, 0
    for descriptor in command.descriptors:
        if not isinstance(descriptor, EventsDescriptor):
            raise H248Error(ErrorCode.UNKNOWN_DESCRIPTOR)
        request_id = descriptor.request_id or 0
        for event in descriptor.events:
            if event.name.lower() == e.CONGESTION.identifier.lower():
                congestion = True
            elif event.name.lower() == e.INACTIVITY.identifier.lower():
                inactivity = _time(event)
            else:
                raise fields.unknown(event.name, ErrorCode.NO_SUCH_EVENT)
    return WatchMrfp(congestion, inactivity, request_id)


def _time(event: RequestedEvent) -> float:
    parameters = {item.name.lower(): item for item in event.parameters}
    time = parameters.get(e.INACTIVITY_TIME.identifier.lower())
    if time is None:
        raise H248Error(ErrorCode.MISSING_PARAMETER)
    return fields.number(fields.single(time, e.INACTIVITY_TIME), e.INACTIVITY_TIME, 0xFFFF) / _TENTH


def root_notify_actions(indication: RootIndication) -> tuple[Action, ...]:
    """The NOTIFY of an indication."""
    if isinstance(indication, MrfpCongestion):
        share = Property(e.REDUCTION.identifier, (str(indication.reduction),))
        event = ObservedEvent(e.CONGESTION.identifier, (share,))
    else:
        event = ObservedEvent(e.INACTIVITY.identifier)
    observed = ObservedEventsDescriptor(indication.request_id, (event,))
    return (Action(NULL_CONTEXT, (Command(CommandKind.NOTIFY, (ROOT,), (observed,)),)),)


def parse_root_notify(command: Command) -> tuple[RootIndication, ...]:
    """The indications of a NOTIFY of ROOT. Raises H248Error with the code to answer with."""
    observed = command.find(ObservedEventsDescriptor)
    if observed is None:
        raise H248Error(ErrorCode.UNKNOWN_DESCRIPTOR)
    if len(command.terminations) != 1:
        raise H248Error(ErrorCode.NOT_IMPLEMENTED, "One termination at a time")
    return tuple(_indication(observed.request_id, event) for event in observed.events)


def _indication(request_id: int, event: ObservedEvent) -> RootIndication:
    name = event.name.lower()
    if name == e.INACTIVITY.identifier.lower():
        return MrfcInactivity(request_id)
    if name != e.CONGESTION.identifier.lower():
        raise fields.unknown(event.name, ErrorCode.NO_SUCH_EVENT)
    parameters = {item.name.lower(): item.value for item in event.parameters}
    text = parameters.get(e.REDUCTION.identifier.lower())
    if text is None:
        raise H248Error(ErrorCode.MISSING_PARAMETER)
    if text == "0":
        return MrfpCongestion(0, request_id)
    return MrfpCongestion(fields.number(text, e.REDUCTION, 100), request_id)
