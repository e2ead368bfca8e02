"""ServiceChange on ROOT: registration, restoration and out of service of an MRFP (RFC 3525 7.2.8, 11)."""

from __future__ import annotations

from typing import Final

from mrf_protocols.h248.errors import ErrorCode, H248Error, ServiceChangeReason
from mrf_protocols.h248.mp.indications import parse_notify_reply
from mrf_protocols.h248.mp.procedures import ServiceChange, ServiceChangeAccepted, ServiceMethod
from mrf_protocols.h248.values import (
    NULL_CONTEXT,
    ROOT,
    Action,
    Command,
    CommandKind,
    ServiceChangeDescriptor,
    TransactionReply,
)

REGISTRATION_VERSION: Final = 1
"""Protocol version of the messages that carry a registration; both sides change after the reply."""
_METHODS: Final = {method.value.lower(): method for method in ServiceMethod}


def service_change_actions(change: ServiceChange) -> tuple[Action, ...]:
    """The actions of a ServiceChange request."""
    try:
        reason = ServiceChangeReason(change.reason).text
    except ValueError:
        reason = str(change.reason)
    descriptor = ServiceChangeDescriptor(
        method=change.method.value,
        reason=reason,
        delay=change.delay,
        profile=change.profile,
        version=change.version,
        mgc_id=change.mgc,
    )
    return (Action(NULL_CONTEXT, (Command(CommandKind.SERVICE_CHANGE, (ROOT,), (descriptor,)),)),)


def parse_service_change(action: Action, command: Command) -> ServiceChange:
    """What an MRFP tells about itself. Raises H248Error with the code to answer with."""
    descriptor = command.find(ServiceChangeDescriptor)
    if command.kind is not CommandKind.SERVICE_CHANGE or descriptor is None:
        raise H248Error(ErrorCode.UNKNOWN_COMMAND)
    if action.context_id != NULL_CONTEXT or [name.upper() for name in command.terminations] != [ROOT]:
        raise H248Error(ErrorCode.UNKNOWN_TERMINATION)
    method = _METHODS.get((descriptor.method or "").lower())
    if method is None:
        raise H248Error(ErrorCode.UNKNOWN_VALUE, "Unsupported ServiceChange method")
    digits = (descriptor.reason or "").split(" ", 1)[0]
    reason = int(digits) if digits.isascii() and digits.isdigit() and len(digits) == 3 else 0
    version = REGISTRATION_VERSION if descriptor.version is None else descriptor.version
    return ServiceChange(
        method, reason, version, descriptor.profile or "", descriptor.delay, descriptor.mgc_id
    )


def service_change_reply_action(accepted: ServiceChangeAccepted) -> Action:
    """The action of a reply that accepts."""
    descriptor = ServiceChangeDescriptor(
        profile=accepted.profile or None, version=accepted.version, mgc_id=accepted.mgc
    )
    return Action(NULL_CONTEXT, (Command(CommandKind.SERVICE_CHANGE, (ROOT,), (descriptor,)),))


def parse_service_change_reply(reply: TransactionReply) -> ServiceChangeAccepted:
    """The MRFC's answer. Raises H248Error with its code, or 401 when it is no answer to a ServiceChange."""
    parse_notify_reply(reply)
    commands = [item for action in reply.actions for item in action.commands]
    if not commands or commands[0].kind is not CommandKind.SERVICE_CHANGE:
        raise H248Error(ErrorCode.PROTOCOL_ERROR, "The reply does not fit the request")
    descriptor = commands[0].find(ServiceChangeDescriptor) or ServiceChangeDescriptor()
    version = REGISTRATION_VERSION if descriptor.version is None else descriptor.version
    return ServiceChangeAccepted(version, descriptor.profile or "", descriptor.mgc_id)
