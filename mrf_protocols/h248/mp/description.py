"""Mp messages in words: names, keys and telling fields, the same at both ends. Never a pre-shared key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mrf_protocols.h248.errors import H248Error
from mrf_protocols.h248.mp.commands import command_kind, procedure_name
from mrf_protocols.h248.mp.fields import parse_session
from mrf_protocols.h248.mp.floor_procedures import (
    ConfigureConference,
    ConfirmMediaUpdate,
    DesignateFloorChair,
    FloorProcedure,
    FloorRequestDecision,
    FloorRequestReport,
)
from mrf_protocols.h248.mp.indications import indication_name
from mrf_protocols.h248.mp.procedures import (
    Address,
    AuditHeartbeat,
    ChangeEvents,
    ConfigureBfcpTermination,
    ConfigureReservedBfcpTermination,
    NotifyIndication,
    Procedure,
    ReleaseBfcpTermination,
    ReserveBfcpTermination,
    ServiceChange,
)
from mrf_protocols.h248.values import (
    ALL_CONTEXTS,
    CHOOSE_CONTEXT,
    NULL_CONTEXT,
    ErrorDescriptor,
    MediaDescriptor,
    TransactionReply,
)

_CONTEXT: Final = "Context"
"""Where other messages have their command: a request for the properties of a context has none."""


@dataclass(frozen=True, slots=True)
class Description:
    """Name of a message, key that pairs its two ends, and fields worth reading."""

    name: str
    key: str
    fields: dict[str, str] = field(default_factory=dict)


def describe_request(transaction_id: int, procedure: Procedure) -> Description:
    """A procedure that the MRFC asks for."""
    name = f"{command_kind(procedure) or _CONTEXT} request: {procedure_name(procedure)}"
    return Description(name, f"{transaction_id} request", _request_fields(procedure))


def describe_reply(reply: TransactionReply, procedure: Procedure) -> Description:
    """The MRFP's answer."""
    kind = command_kind(procedure) or _CONTEXT
    found: dict[str, str] = {}
    error = reply.error
    for action in reply.actions:
        found["context"] = _context(action.context_id)
        error = error or action.error
        for command in action.commands:
            found["termination"] = command.termination
            error = error or command.find(ErrorDescriptor)
            media = command.find(MediaDescriptor)
            for stream in media.streams if media is not None else ():
                found |= _local(stream.local)
    if error is not None:
        found["error"] = f"{error.code} {error.text}"
    name = f"{kind} reply" if error is None else f"{kind} reply: {error.code}"
    return Description(name, f"{reply.transaction_id} reply", found)


def describe_notify(transaction_id: int, indication: NotifyIndication) -> Description:
    """An indication of the MRFP."""
    found = {"context": _context(indication.context), "termination": indication.termination}
    if isinstance(indication, FloorRequestReport):
        found |= {
            "floor": ",".join(map(str, indication.floors)),
            "request": str(indication.floor_request_id),
            "state": indication.state.value,
        }
    if indication.reason:
        found["reason"] = indication.reason
    return Description(f"Notify request: {indication_name(indication)}", f"{transaction_id} request", found)


def describe_service_change(transaction_id: int, change: ServiceChange) -> Description:
    """A registration, or another change of the MRFP's service."""
    found = {"reason": str(change.reason), "profile": change.profile, "version": str(change.version)}
    return Description(f"ServiceChange request: {change.method}", f"{transaction_id} request", found)


def format_address(address: Address) -> str:
    """`host:port`, with brackets around IPv6."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _local(text: str | None) -> dict[str, str]:
    try:
        address = parse_session(text or "")[2]
    except H248Error:
        return {}
    return {} if address is None else {"local": format_address(address)}


def _context(number: int) -> str:
    return {NULL_CONTEXT: "-", CHOOSE_CONTEXT: "$", ALL_CONTEXTS: "*"}.get(number, str(number))


def _request_fields(procedure: Procedure) -> dict[str, str]:
    if isinstance(procedure, AuditHeartbeat):
        return {}
    found = {"context": _context(procedure.context)}
    if isinstance(procedure, ConfigureConference):
        return {**found, "conference": str(procedure.conference.conference_id)}
    if isinstance(procedure, ReleaseBfcpTermination | ChangeEvents):
        return {**found, "termination": procedure.termination}
    if isinstance(procedure, DesignateFloorChair | FloorRequestDecision | ConfirmMediaUpdate):
        return {**found, "termination": procedure.termination, **_floor_fields(procedure)}
    found["transport"] = procedure.transport.value
    if isinstance(procedure, ConfigureReservedBfcpTermination):
        found["termination"] = procedure.termination
    else:
        found |= {"user": str(procedure.user_id), "local": f"asked ({procedure.family})"}
        if procedure.conference is not None:
            found["conference"] = str(procedure.conference.conference_id)
    if isinstance(procedure, ReserveBfcpTermination):
        return found
    return found | _connection_fields(procedure)


def _floor_fields(procedure: FloorProcedure) -> dict[str, str]:
    if isinstance(procedure, DesignateFloorChair):
        return {"floor": ",".join(map(str, procedure.floors)) or "none"}
    found = {"request": str(procedure.floor_request_id)}
    if isinstance(procedure, FloorRequestDecision):
        return {**found, "decision": procedure.decision.value}
    return {**found, "media": "changed" if procedure.done else "not changed"}


def _connection_fields(
    procedure: ConfigureBfcpTermination | ConfigureReservedBfcpTermination,
) -> dict[str, str]:
    found = {
        "remote": format_address(procedure.remote),
        "start_tcp": "yes" if procedure.start_tcp else "no",
        "start_tls": "yes" if procedure.start_tls else "no",
    }
    if procedure.psk_identity is not None:
        found["psk_identity"] = procedure.psk_identity
    return found
