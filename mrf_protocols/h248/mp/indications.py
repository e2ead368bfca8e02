"""Indications of the MRFP: NOTIFY, and its reply."""

from __future__ import annotations

from typing import Final

from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.mp import elements as e
from mrf_protocols.h248.mp import fields
from mrf_protocols.h248.mp.floor_commands import parse_report, report_event
from mrf_protocols.h248.mp.floor_procedures import FloorRequestReport
from mrf_protocols.h248.mp.procedures import (
    BearerReleased,
    NotifyIndication,
    TcpEstablishmentFailed,
    TerminationHeartbeat,
    TlsEstablished,
    TlsEstablishmentFailed,
)
from mrf_protocols.h248.values import (
    Action,
    Command,
    CommandKind,
    ErrorDescriptor,
    ObservedEvent,
    ObservedEventsDescriptor,
    Property,
    TransactionReply,
)

_EVENTS: Final[dict[type, tuple[str, str]]] = {
    TcpEstablishmentFailed: (e.TCP_CHANGE.identifier, e.FAILED),
    TlsEstablishmentFailed: (e.TLS_CHANGE.identifier, e.FAILED),
    BearerReleased: (e.TCP_CHANGE.identifier, e.RELEASED),
    TlsEstablished: (e.TLS_CHANGE.identifier, e.ESTABLISHED),
    TerminationHeartbeat: (e.HEARTBEAT.identifier, ""),
}
_INDICATIONS: Final = {
    (name.lower(), kind.lower()): indication for indication, (name, kind) in _EVENTS.items()
}
_NAMES: Final[dict[type, str]] = {
    TcpEstablishmentFailed: "TCP connection establishment failure",
    TlsEstablishmentFailed: "TLS session establishment failure",
    BearerReleased: "Bearer released",
    TlsEstablished: "TLS session established",
    TerminationHeartbeat: "Termination heartbeat",
    FloorRequestReport: "Report Floor Request Decision",
}


def indication_name(indication: NotifyIndication) -> str:
    """The stage 2 name."""
    return _NAMES[type(indication)]


def notify_actions(indication: NotifyIndication, timestamp: str | None = None) -> tuple[Action, ...]:
    """The actions of the transaction that indicates; `timestamp` is yyyymmddThhmmssss of the event."""
    event = _observed(indication, timestamp)
    observed = ObservedEventsDescriptor(indication.request_id, (event,))
    command = Command(CommandKind.NOTIFY, (indication.termination,), (observed,))
    return (Action(indication.context, (command,)),)


def _observed(indication: NotifyIndication, timestamp: str | None) -> ObservedEvent:
    if isinstance(indication, FloorRequestReport):
        return report_event(indication, timestamp)
    name, kind = _EVENTS[type(indication)]
    parameters: list[Property] = []
    if kind:
        parameters.append(Property(e.CHANGE_TYPE.identifier, (kind,)))
    if indication.reason:
        parameters.append(Property(e.CHANGE_REASON.identifier, (fields.quoted_text(indication.reason),)))
    return ObservedEvent(name, tuple(parameters), timestamp=timestamp)


def parse_notify(action: Action, command: Command) -> tuple[NotifyIndication, ...]:
    """The indications of a Notify. Raises H248Error with the code to answer with."""
    observed = command.find(ObservedEventsDescriptor)
    if observed is None or len(command.terminations) != 1:
        raise H248Error(ErrorCode.UNKNOWN_DESCRIPTOR)
    return tuple(_indication(action, command, observed.request_id, event) for event in observed.events)


def _indication(action: Action, command: Command, request_id: int, event: ObservedEvent) -> NotifyIndication:
    if event.name.lower() == e.REPORT.identifier.lower():
        return parse_report(action.context_id, command.termination, request_id, event)
    parameters = {item.name.lower(): item.value for item in event.parameters}
    kind = parameters.get(e.CHANGE_TYPE.identifier.lower(), "")
    known = _INDICATIONS.get((event.name.lower(), kind.lower()))
    if known is None:
        raise fields.unknown(event.name, ErrorCode.NO_SUCH_EVENT)
    reason = fields.plain_text(parameters.get(e.CHANGE_REASON.identifier.lower(), ""))
    indication: NotifyIndication = known(action.context_id, command.termination, reason, request_id)
    return indication


def notify_reply_action(action: Action, command: Command) -> Action:
    """The action of a reply that takes note of a Notify."""
    return Action(action.context_id, (Command(CommandKind.NOTIFY, command.terminations),))


def parse_notify_reply(reply: TransactionReply) -> None:
    """Raises H248Error with the code that the MRFC answered."""
    errors = [reply.error]
    for action in reply.actions:
        errors += [action.error, *(item.find(ErrorDescriptor) for item in action.commands)]
    for error in errors:
        if error is not None:
            raise H248Error(error.code, error.text)
