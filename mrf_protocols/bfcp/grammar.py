"""Which attributes a message must and may carry, in order (the ABNF of RFC 8855 5.3)."""

from __future__ import annotations

from mrf_protocols.bfcp.attributes import (
    BeneficiaryId,
    BeneficiaryInformation,
    ErrorCodeAttribute,
    ErrorInfo,
    FloorId,
    FloorRequestId,
    FloorRequestInformation,
    ParticipantProvidedInfo,
    PriorityAttribute,
    SupportedAttributes,
    SupportedPrimitives,
    UnknownAttribute,
)
from mrf_protocols.bfcp.errors import BfcpError
from mrf_protocols.bfcp.message import Message
from mrf_protocols.bfcp.numbers import ErrorCode, Primitive

MANY = 0xFFFF

GRAMMAR: dict[int, tuple[tuple[type, int, int], ...]] = {
    Primitive.FLOOR_REQUEST: (
        (FloorId, 1, MANY),
        (BeneficiaryId, 0, 1),
        (ParticipantProvidedInfo, 0, 1),
        (PriorityAttribute, 0, 1),
    ),
    Primitive.FLOOR_RELEASE: ((FloorRequestId, 1, 1),),
    Primitive.FLOOR_REQUEST_QUERY: ((FloorRequestId, 1, 1),),
    Primitive.FLOOR_REQUEST_STATUS: ((FloorRequestInformation, 1, 1),),
    Primitive.USER_QUERY: ((BeneficiaryId, 0, 1),),
    Primitive.USER_STATUS: ((BeneficiaryInformation, 0, 1), (FloorRequestInformation, 0, MANY)),
    Primitive.FLOOR_QUERY: ((FloorId, 0, MANY),),
    # The ABNF has any number of FLOOR-ID, but a FloorStatus is about a single floor (RFC 8855 13.5).
    Primitive.FLOOR_STATUS: ((FloorId, 0, 1), (FloorRequestInformation, 0, MANY)),
    Primitive.CHAIR_ACTION: ((FloorRequestInformation, 1, 1),),
    Primitive.CHAIR_ACTION_ACK: (),
    Primitive.HELLO: (),
    Primitive.HELLO_ACK: ((SupportedPrimitives, 1, 1), (SupportedAttributes, 1, 1)),
    Primitive.ERROR: ((ErrorCodeAttribute, 1, 1), (ErrorInfo, 0, 1)),
    Primitive.FLOOR_REQUEST_STATUS_ACK: (),
    Primitive.FLOOR_STATUS_ACK: (),
    Primitive.GOODBYE: (),
    Primitive.GOODBYE_ACK: (),
}
"""For each primitive the attribute classes in order, with least and most occurrences."""


def check(message: Message) -> None:
    """Raise ``BfcpError`` unless the message follows its ABNF; extension attributes may end any message."""
    rules = GRAMMAR.get(message.primitive)
    if rules is None:
        raise BfcpError(ErrorCode.UNKNOWN_PRIMITIVE, f"no message with primitive {message.primitive}")
    attributes = message.attributes
    index, total = 0, len(attributes)
    for kind, least, most in rules:
        count = 0
        while index < total and count < most and type(attributes[index]) is kind:
            index += 1
            count += 1
        if count < least:
            raise BfcpError(ErrorCode.GENERIC_ERROR, f"{message.name} without {kind.__name__}")
    while index < total and type(attributes[index]) is UnknownAttribute:
        index += 1
    if index < total:
        misplaced = type(attributes[index]).__name__
        raise BfcpError(ErrorCode.GENERIC_ERROR, f"{message.name} cannot have {misplaced} there")
