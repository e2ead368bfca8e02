"""Values to octets (RFC 8855 5.2): writes nothing that the standard does not allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from struct import Struct
from typing import Any

from mrf_protocols.bfcp.attributes import (
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
    SupportedAttributes,
    SupportedPrimitives,
    UnknownAttribute,
)
from mrf_protocols.bfcp.errors import BfcpError
from mrf_protocols.bfcp.numbers import AttributeType, ErrorCode, Priority, RequestStatus

MAX_CONTENTS = 253
"""Octets of contents that the 8-bit Length leaves to an attribute."""

GROUP_ROOM = 248
"""Octets of padded children that the Length leaves to a group after its own four."""

_FIXED = Struct(">BBH")
_STATUS = Struct(">BBBB")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


def encode_attribute(attribute: object) -> bytes:
    """One attribute with its padding. Raises ``BfcpError`` or ``struct.error`` (a number out of range)."""
    return _ENCODERS[type(attribute)](attribute)


def _octets(kind: int, contents: bytes, mandatory: bool = False) -> bytes:
    """An attribute of any length that is not a group."""
    size = 2 + len(contents)
    if size > 2 + MAX_CONTENTS:
        raise BfcpError(ErrorCode.GENERIC_ERROR, f"attribute {kind} of {size} octets")
    return bytes((kind << 1 | mandatory, size)) + contents + _PADDING[size & 3]


def _cut(text: str, room: int) -> bytes:
    """UTF-8, cut on the border of a character so that it fills no more than ``room`` octets."""
    octets = text.encode("utf-8", "replace")
    if len(octets) <= room:
        return octets
    return octets[:room].decode("utf-8", "ignore").encode()


def _text(kind: int, text: str, room: int = 256) -> bytes:
    """A text attribute within ``room`` octets of a group; nothing if there is no room for a word."""
    if room < 8:
        return b""
    return _octets(kind, _cut(text, min(MAX_CONTENTS, (room & ~3) - 2)))


def _whole_text(kind: int, text: str, room: int) -> bytes:
    """A text that says something else when it is cut, such as a URI: all of it or nothing."""
    octets = text.encode("utf-8", "replace")
    if len(octets) > min(MAX_CONTENTS, (room & ~3) - 2):
        return b""
    return _octets(kind, octets)


def _group(kind: int, number: int, children: bytes) -> bytes:
    if len(children) > GROUP_ROOM:
        name = AttributeType(kind).name
        raise BfcpError(ErrorCode.GENERIC_ERROR, f"{name} of {4 + len(children)} octets")
    return _FIXED.pack(kind << 1, 4 + len(children), number) + children


def _extensions(extensions: tuple[UnknownAttribute, ...]) -> bytes:
    return b"".join([_unknown(extension) for extension in extensions]) if extensions else b""


def _unknown(attribute: UnknownAttribute) -> bytes:
    if attribute.type in _KNOWN or not 0 <= attribute.type < 128:
        raise BfcpError(ErrorCode.GENERIC_ERROR, f"no extension attribute can have type {attribute.type}")
    return _octets(attribute.type, attribute.contents, attribute.mandatory)


def _beneficiary_id(attribute: BeneficiaryId) -> bytes:
    return _FIXED.pack(AttributeType.BENEFICIARY_ID << 1, 4, attribute.user_id)


def _floor_id(attribute: FloorId) -> bytes:
    return _FIXED.pack(AttributeType.FLOOR_ID << 1, 4, attribute.floor_id)


def _floor_request_id(attribute: FloorRequestId) -> bytes:
    return _FIXED.pack(AttributeType.FLOOR_REQUEST_ID << 1, 4, attribute.floor_request_id)


def _priority(attribute: PriorityAttribute) -> bytes:
    return _priority_value(attribute.priority)


def _priority_value(priority: Priority) -> bytes:
    if not Priority.LOWEST <= priority <= Priority.HIGHEST:
        raise BfcpError(ErrorCode.GENERIC_ERROR, f"no priority {priority}")
    return _FIXED.pack(AttributeType.PRIORITY << 1, 4, priority << 13)


def _request_status(attribute: RequestStatusAttribute) -> bytes:
    status, position = attribute.status, attribute.queue_position
    if not RequestStatus.PENDING <= status <= RequestStatus.REVOKED:
        raise BfcpError(ErrorCode.GENERIC_ERROR, f"no request status {status}")
    if position and status != RequestStatus.ACCEPTED:
        raise BfcpError(ErrorCode.GENERIC_ERROR, f"queue position with request status {status}")
    return _STATUS.pack(AttributeType.REQUEST_STATUS << 1, 4, status, position)


def _error_code(attribute: ErrorCodeAttribute) -> bytes:
    if attribute.details and attribute.code <= ErrorCode.GENERIC_ERROR and attribute.code != 4:
        raise BfcpError(ErrorCode.GENERIC_ERROR, f"error code {attribute.code} has no details")
    if not 1 <= attribute.code <= 255:
        raise BfcpError(ErrorCode.GENERIC_ERROR, f"no error code {attribute.code}")
    return _octets(AttributeType.ERROR_CODE, bytes((attribute.code,)) + attribute.details)


def _error_info(attribute: ErrorInfo) -> bytes:
    return _text(AttributeType.ERROR_INFO, attribute.text)


def _participant_info(attribute: ParticipantProvidedInfo) -> bytes:
    return _text(AttributeType.PARTICIPANT_PROVIDED_INFO, attribute.text)


def _supported_attributes(attribute: SupportedAttributes) -> bytes:
    try:
        octets = bytes([kind << 1 for kind in attribute.types])
    except ValueError:
        raise BfcpError(ErrorCode.GENERIC_ERROR, "attribute types have seven bits") from None
    return _octets(AttributeType.SUPPORTED_ATTRIBUTES, octets)


def _supported_primitives(attribute: SupportedPrimitives) -> bytes:
    try:
        octets = bytes(attribute.primitives)
    except ValueError:
        raise BfcpError(ErrorCode.GENERIC_ERROR, "primitives have eight bits") from None
    return _octets(AttributeType.SUPPORTED_PRIMITIVES, octets)


def _user_information(attribute: BeneficiaryInformation | RequestedByInformation) -> bytes:
    """A user; the display name is cut, or left out, before the URI is."""
    extensions = _extensions(attribute.extensions)
    name = uri = b""
    room = GROUP_ROOM - len(extensions)
    if attribute.uri is not None:
        uri = _whole_text(AttributeType.USER_URI, attribute.uri, room)
    if attribute.display_name is not None:
        name = _text(AttributeType.USER_DISPLAY_NAME, attribute.display_name, room - len(uri))
    return _group(attribute.TYPE, attribute.user_id, name + uri + extensions)


def _status_group(attribute: FloorRequestStatus | OverallRequestStatus, number: int) -> bytes:
    children = b"" if attribute.status is None else _request_status(attribute.status)
    extensions = _extensions(attribute.extensions)
    if attribute.info is not None:
        room = GROUP_ROOM - len(children) - len(extensions)
        children += _text(AttributeType.STATUS_INFO, attribute.info, room)
    return _group(attribute.TYPE, number, children + extensions)


def _floor_request_status(attribute: FloorRequestStatus) -> bytes:
    return _status_group(attribute, attribute.floor_id)


def _overall_request_status(attribute: OverallRequestStatus) -> bytes:
    return _status_group(attribute, attribute.floor_request_id)


def _floor_request_information(attribute: FloorRequestInformation) -> bytes:
    """A floor request; what is said only for humans goes first when it is more than a group can hold."""
    if not attribute.floors:
        raise BfcpError(ErrorCode.GENERIC_ERROR, "FLOOR-REQUEST-INFORMATION without FLOOR-REQUEST-STATUS")
    children = _floor_request_children(attribute)
    if len(children) > GROUP_ROOM:
        for smaller in _ever_smaller(attribute):
            children = _floor_request_children(smaller)
            if len(children) <= GROUP_ROOM:
                break
    return _group(attribute.TYPE, attribute.floor_request_id, children)


def _floor_request_children(attribute: FloorRequestInformation) -> bytes:
    parts = [] if attribute.overall is None else [_overall_request_status(attribute.overall)]
    parts += [_floor_request_status(floor) for floor in attribute.floors]
    if attribute.beneficiary is not None:
        parts.append(_user_information(attribute.beneficiary))
    if attribute.requested_by is not None:
        parts.append(_user_information(attribute.requested_by))
    if attribute.priority is not None:
        parts.append(_priority_value(attribute.priority))
    if attribute.participant_info is not None:
        parts.append(_text(AttributeType.PARTICIPANT_PROVIDED_INFO, attribute.participant_info))
    if attribute.extensions:
        parts.append(_extensions(attribute.extensions))
    return b"".join(parts)


def _ever_smaller(request: FloorRequestInformation) -> Iterator[FloorRequestInformation]:
    """The request with less and less of what only a human reads, and last without the state per floor."""
    overall = None if request.overall is None else replace(request.overall, info=None)
    request = replace(
        request, overall=overall, floors=tuple(replace(floor, info=None) for floor in request.floors)
    )
    yield request
    beneficiary, requested_by = request.beneficiary, request.requested_by
    if beneficiary is not None:
        beneficiary = replace(beneficiary, display_name=None)
    if requested_by is not None:
        requested_by = replace(requested_by, display_name=None)
    yield (request := replace(request, beneficiary=beneficiary, requested_by=requested_by))
    if beneficiary is not None:
        beneficiary = replace(beneficiary, uri=None)
    if requested_by is not None:
        requested_by = replace(requested_by, uri=None)
    yield (request := replace(request, beneficiary=beneficiary, requested_by=requested_by))
    if request.participant_info is not None:
        without = replace(request, participant_info=None)
        room = GROUP_ROOM - len(_floor_request_children(without))
        if room >= 8:
            yield replace(request, participant_info=_cut(request.participant_info, (room & ~3) - 2).decode())
        request = without
        yield request
    yield replace(request, floors=tuple(replace(floor, status=None) for floor in request.floors))


_KNOWN = frozenset(AttributeType)

_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    BeneficiaryId: _beneficiary_id,
    FloorId: _floor_id,
    FloorRequestId: _floor_request_id,
    PriorityAttribute: _priority,
    ErrorCodeAttribute: _error_code,
    ErrorInfo: _error_info,
    ParticipantProvidedInfo: _participant_info,
    SupportedAttributes: _supported_attributes,
    SupportedPrimitives: _supported_primitives,
    BeneficiaryInformation: _user_information,
    FloorRequestInformation: _floor_request_information,
    UnknownAttribute: _unknown,
}
