"""Floor procedures as MODIFY of a user's termination, and the reports as observed events (TS 23.333 8.46 to 8.49)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.mp import elements as e
from mrf_protocols.h248.mp import fields
from mrf_protocols.h248.mp.floor_procedures import (
    ConfirmMediaUpdate,
    Decision,
    DesignateFloorChair,
    FloorProcedure,
    FloorRequestDecision,
    FloorRequestReport,
    FloorRequestState,
)
from mrf_protocols.h248.values import (
    Command,
    CommandKind,
    MediaDescriptor,
    ObservedEvent,
    Property,
    Relation,
    Signal,
    SignalsDescriptor,
    TerminationState,
)

_NONE: Final = "0"


def floor_command(procedure: FloorProcedure) -> Command:
    """The MODIFY that asks for a floor procedure."""
    if isinstance(procedure, DesignateFloorChair):
        floors = tuple(map(str, procedure.floors)) or (_NONE,)
        state = [Property(e.CHAIR.identifier, floors, Relation.ALL_OF)]
        if procedure.correlation:
            state.append(Property(e.CORRELATION.identifier, (fields.quoted_text(procedure.correlation),)))
        media = MediaDescriptor((), TerminationState(properties=tuple(state)))
        return Command(CommandKind.MODIFY, (procedure.termination,), (media,))
    parameters = [Property(e.REQUEST.identifier, (str(procedure.floor_request_id),))]
    if isinstance(procedure, FloorRequestDecision):
        element = e.DECIDE
        parameters.append(Property(e.DECISION.identifier, (procedure.decision.value,)))
    else:
        element = e.MEDIA
        parameters.append(Property(e.RESULT.identifier, (e.DONE if procedure.done else e.FAILED,)))
    if procedure.reason:
        parameters.append(Property(e.INFO.identifier, (fields.quoted_text(procedure.reason),)))
    signals = SignalsDescriptor((Signal(element.identifier, tuple(parameters)),))
    return Command(CommandKind.MODIFY, (procedure.termination,), (signals,))


def parse_floor_command(context: int, command: Command) -> FloorProcedure | None:
    """The floor procedure that a MODIFY asks for; None when it is about the connection. Raises H248Error."""
    media, signals = command.find(MediaDescriptor), command.find(SignalsDescriptor)
    if len(command.descriptors) != 1 or len(command.terminations) != 1:
        return None
    termination = command.termination
    if media is not None and not media.streams and media.termination_state is not None:
        found = fields.properties(media.termination_state.properties, (e.CHAIR, e.CORRELATION))
        chair = found.get(e.CHAIR.identifier)
        if chair is None:
            return None
        correlation = found.get(e.CORRELATION.identifier)
        text = "" if correlation is None else fields.single(correlation, e.CORRELATION)
        return DesignateFloorChair(context, termination, _chaired(chair), fields.plain_text(text))
    if signals is None or len(signals.signals) != 1:
        return None
    signal = signals.signals[0]
    if not isinstance(signal, Signal):
        return None
    if signal.name.lower() == e.DECIDE.identifier.lower():
        found = _parameters(signal.parameters, (e.REQUEST, e.DECISION, e.INFO))
        decision = fields.word(_value(found, e.DECISION), e.DECISION, Decision)
        return FloorRequestDecision(context, termination, _request(found), decision, _info(found))
    if signal.name.lower() == e.MEDIA.identifier.lower():
        found = _parameters(signal.parameters, (e.REQUEST, e.RESULT, e.INFO))
        results = {e.DONE.lower(): True, e.FAILED.lower(): False}
        done = results.get(_value(found, e.RESULT).lower())
        if done is None:
            raise fields.invalid(e.RESULT)
        return ConfirmMediaUpdate(context, termination, _request(found), done, _info(found))
    return None


def report_event(report: FloorRequestReport, timestamp: str | None) -> ObservedEvent:
    """The observed event of a report."""
    parameters = [
        Property(e.REQUEST.identifier, (str(report.floor_request_id),)),
        Property(e.REQUESTED_FLOORS.identifier, (_words(report.floors),)),
        Property(e.STATE.identifier, (report.state.value,)),
    ]
    if report.positions:
        parameters.append(Property(e.POSITIONS.identifier, (_words(report.positions),)))
    if report.requester:
        parameters.append(Property(e.REQUESTER.identifier, (str(report.requester),)))
    if report.reason:
        parameters.append(Property(e.INFO.identifier, (fields.quoted_text(report.reason),)))
    return ObservedEvent(e.REPORT.identifier, tuple(parameters), timestamp=timestamp)


def parse_report(context: int, termination: str, request_id: int, event: ObservedEvent) -> FloorRequestReport:
    """The report in an observed event. Raises H248Error."""
    found = _parameters(
        event.parameters, (e.REQUEST, e.REQUESTED_FLOORS, e.STATE, e.POSITIONS, e.REQUESTER, e.INFO)
    )
    floors = found.get(e.REQUESTED_FLOORS.identifier)
    if floors is None:
        raise H248Error(ErrorCode.MISSING_PARAMETER)
    positions, requester = found.get(e.POSITIONS.identifier), found.get(e.REQUESTER.identifier)
    return FloorRequestReport(
        context,
        termination,
        _request(found),
        tuple(_numbers(floors, e.REQUESTED_FLOORS)),
        fields.word(_value(found, e.STATE), e.STATE, FloorRequestState),
        () if positions is None else tuple(_numbers(positions, e.POSITIONS)),
        0 if requester is None else fields.number(requester.value, e.REQUESTER, 0xFFFF),
        _info(found),
        request_id,
    )


def _chaired(item: Property) -> tuple[int, ...]:
    texts = fields.listed(item, e.CHAIR)
    if texts == (_NONE,):
        return ()
    return tuple(dict.fromkeys(fields.number(text, e.CHAIR, 0xFFFF) for text in texts))


def _parameters(items: Iterable[Property], allowed: Iterable[e.Element]) -> dict[str, Property]:
    known = {element.identifier.lower(): element.identifier for element in allowed}
    found: dict[str, Property] = {}
    for item in items:
        identifier = known.get(item.name.lower())
        if identifier is None:
            raise H248Error(ErrorCode.UNKNOWN_PARAMETER)
        found[identifier] = item
    return found


def _value(found: dict[str, Property], element: e.Element) -> str:
    item = found.get(element.identifier)
    if item is None:
        raise H248Error(ErrorCode.MISSING_PARAMETER)
    return fields.single(item, element)


def _request(found: dict[str, Property]) -> int:
    return fields.number(_value(found, e.REQUEST), e.REQUEST, 0xFFFF)


def _info(found: dict[str, Property]) -> str:
    item = found.get(e.INFO.identifier)
    return "" if item is None else fields.plain_text(fields.single(item, e.INFO))


def _words(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))


def _numbers(item: Property, element: e.Element) -> Iterable[int]:
    return (fields.number(text, element, 0xFFFF) for text in fields.single(item, element).split())
