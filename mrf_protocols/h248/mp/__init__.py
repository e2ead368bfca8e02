"""Mp, the reference point between MRFC and MRFP: procedures as values, and their H.248 form.

MRFC side: `request_actions(procedure)` gives the actions of a transaction, `parse_reply(procedure, reply)` the
acknowledgement or an H248Error with the MRFP's code; `parse_notify(action, command)` reads indications and
`parse_service_change(action, command)` registrations.
MRFP side: `parse_command(action, command)` gives the procedure, `reply_action(procedure, acknowledgement)` or
`error_action(action, command, error)` the answer; `notify_actions(indication)` indicates, `service_change_actions`
registers. `elements.ELEMENTS` lists every package element that travels.
"""

from mrf_protocols.h248.mp.commands import (
    command_kind,
    error_action,
    parse_command,
    parse_reply,
    procedure_name,
    reply_action,
    request_actions,
)
from mrf_protocols.h248.mp.description import (
    Description,
    describe_notify,
    describe_reply,
    describe_request,
    describe_service_change,
)
from mrf_protocols.h248.mp.indications import (
    indication_name,
    notify_actions,
    notify_reply_action,
    parse_notify,
    parse_notify_reply,
)
from mrf_protocols.h248.mp.procedures import (
    Acknowledgement,
    Address,
    AddressFamily,
    AuditHeartbeat,
    BearerReleased,
    Conference,
    ConfigureBfcpTermination,
    ConfigureReservedBfcpTermination,
    EventRequest,
    Floor,
    FloorControlAlgorithm,
    HeartbeatAnswered,
    NotifyIndication,
    Procedure,
    ReleaseBfcpTermination,
    ReserveBfcpTermination,
    ServiceChange,
    ServiceChangeAccepted,
    ServiceMethod,
    TcpEstablishmentFailed,
    TerminationConfigured,
    TerminationHeartbeat,
    TerminationReleased,
    TlsEstablished,
    TlsEstablishmentFailed,
    Transport,
)
from mrf_protocols.h248.mp.service import (
    REGISTRATION_VERSION,
    parse_service_change,
    parse_service_change_reply,
    service_change_actions,
    service_change_reply_action,
)

__all__ = [
    "REGISTRATION_VERSION",
    "Acknowledgement",
    "Address",
    "AddressFamily",
    "AuditHeartbeat",
    "BearerReleased",
    "Conference",
    "ConfigureBfcpTermination",
    "ConfigureReservedBfcpTermination",
    "Description",
    "EventRequest",
    "Floor",
    "FloorControlAlgorithm",
    "HeartbeatAnswered",
    "NotifyIndication",
    "Procedure",
    "ReleaseBfcpTermination",
    "ReserveBfcpTermination",
    "ServiceChange",
    "ServiceChangeAccepted",
    "ServiceMethod",
    "TcpEstablishmentFailed",
    "TerminationConfigured",
    "TerminationHeartbeat",
    "TerminationReleased",
    "TlsEstablished",
    "TlsEstablishmentFailed",
    "Transport",
    "command_kind",
    "describe_notify",
    "describe_reply",
    "describe_request",
    "describe_service_change",
    "error_action",
    "indication_name",
    "notify_actions",
    "notify_reply_action",
    "parse_command",
    "parse_notify",
    "parse_notify_reply",
    "parse_reply",
    "parse_service_change",
    "parse_service_change_reply",
    "procedure_name",
    "reply_action",
    "request_actions",
    "service_change_actions",
    "service_change_reply_action",
]
