"""Binary Floor Control Protocol, RFC 8855: values, codec and TCP framing, without input or output.

``decode(data)`` and ``encode(message)`` turn exactly one message from and to bytes; ``Deframer`` cuts the
byte stream of a TCP connection into messages. Nothing here raises anything but ``BfcpError``.
"""

from mrf_protocols.bfcp.attributes import (
    Attribute,
    BeneficiaryId,
    BeneficiaryInformation,
    ErrorCodeAttribute,
    ErrorInfo,
    FloorId,
    FloorRequestId,
    FloorRequestInformation,
    FloorRequestStatus,
    OverallRequestStatus,
    ParticipantProvidedInfo,
    PriorityAttribute,
    RequestedByInformation,
    RequestStatusAttribute,
    StatusInfo,
    SupportedAttributes,
    SupportedPrimitives,
    UnknownAttribute,
    UserDisplayName,
    UserUri,
)
from mrf_protocols.bfcp.codec import HEADER_SIZE, decode, encode, readdress
from mrf_protocols.bfcp.errors import BfcpError
from mrf_protocols.bfcp.framing import Deframer
from mrf_protocols.bfcp.message import Message
from mrf_protocols.bfcp.numbers import (
    VERSION_RELIABLE,
    VERSION_UNRELIABLE,
    AttributeType,
    ErrorCode,
    Primitive,
    Priority,
    RequestStatus,
)

__all__ = [
    "HEADER_SIZE",
    "VERSION_RELIABLE",
    "VERSION_UNRELIABLE",
    "Attribute",
    "AttributeType",
    "BeneficiaryId",
    "BeneficiaryInformation",
    "BfcpError",
    "Deframer",
    "ErrorCode",
    "ErrorCodeAttribute",
    "ErrorInfo",
    "FloorId",
    "FloorRequestId",
    "FloorRequestInformation",
    "FloorRequestStatus",
    "Message",
    "OverallRequestStatus",
    "ParticipantProvidedInfo",
    "Primitive",
    "Priority",
    "PriorityAttribute",
    "RequestStatus",
    "RequestStatusAttribute",
    "RequestedByInformation",
    "StatusInfo",
    "SupportedAttributes",
    "SupportedPrimitives",
    "UnknownAttribute",
    "UserDisplayName",
    "UserUri",
    "decode",
    "encode",
    "readdress",
]
