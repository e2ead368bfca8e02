"""Octets to values (RFC 8855 5.2).

Strict about lengths, which could lead astray; liberal about the rest: an M bit on a known attribute, a
known attribute where it does not belong in a group (dropped), a second one where one is allowed (the first
counts), a group whose Length leaves out the padding of its last child, broken UTF-8, unknown states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

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
from mrf_protocols.bfcp.numbers import AttributeType, ErrorCode, Primitive, Priority, RequestStatus

_Decoder = Callable[[bytes, int, int], Attribute]
_Table = dict[int, _Decoder]
_A = TypeVar("_A")

_PRIORITIES = (*Priority, Priority.HIGHEST, Priority.HIGHEST, Priority.HIGHEST)
_STATUSES: dict[int, int] = {status.value: status for status in RequestStatus}
_ERROR_CODES: dict[int, int] = {code.value: code for code in ErrorCode}
_PRIMITIVES: dict[int, int] = {primitive.value: primitive for primitive in Primitive}
_TYPES: dict[int, int] = {kind.value: kind for kind in AttributeType}


class MalformedError(Exception):
    """Octets that are no attributes; becomes a ``BfcpError`` once the message is known."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def decode_attributes(data: bytes, offset: int, end: int) -> tuple[Attribute, ...]:
    """All attributes between two offsets, which are a multiple of four apart."""
    return tuple(_walk(data, offset, end, _DECODERS, ErrorCode.INCORRECT_MESSAGE_LENGTH))


def _walk(data: bytes, offset: int, end: int, table: _Table, code: ErrorCode) -> list[Attribute]:
    """Decode with the decoders of ``table``; ``code`` is the error when an attribute leaves its place."""
    found: list[Attribute] = []
    while offset < end:
        kind = data[offset] >> 1
        size = data[offset + 1]
        following = offset + (size + 3 & ~3)
        if size < 2 or following > end:
            raise MalformedError(code, f"attribute {kind} of {size} octets where {end - offset} are left")
        decoder = table.get(kind)
        if decoder is not None:
            found.append(decoder(data, offset, offset + size))
        elif kind not in _DECODERS:
            mandatory = bool(data[offset] & 1)
            found.append(UnknownAttribute(kind, mandatory, data[offset + 2 : offset + size]))
        offset = following
    return found


def _number(data: bytes, offset: int, stop: int) -> int:
    """The 16 bits of an attribute that has nothing else."""
    if stop - offset != 4:
        raise MalformedError(
            ErrorCode.UNABLE_TO_PARSE_MESSAGE, f"attribute {data[offset] >> 1} of {stop - offset} octets"
        )
    return data[offset + 2] << 8 | data[offset + 3]


def _string(data: bytes, offset: int, stop: int) -> str:
    return data[offset + 2 : stop].decode("utf-8", "replace")


def _beneficiary_id(data: bytes, offset: int, stop: int) -> Attribute:
    return BeneficiaryId(_number(data, offset, stop))


def _floor_id(data: bytes, offset: int, stop: int) -> Attribute:
    return FloorId(_number(data, offset, stop))


def _floor_request_id(data: bytes, offset: int, stop: int) -> Attribute:
    return FloorRequestId(_number(data, offset, stop))


def _priority(data: bytes, offset: int, stop: int) -> Attribute:
    return PriorityAttribute(_PRIORITIES[_number(data, offset, stop) >> 13])


def _request_status(data: bytes, offset: int, stop: int) -> Attribute:
    value = _number(data, offset, stop)
    return RequestStatusAttribute(_STATUSES.get(value >> 8, value >> 8), value & 0xFF)


def _error_code(data: bytes, offset: int, stop: int) -> Attribute:
    if stop - offset < 3:
        raise MalformedError(ErrorCode.UNABLE_TO_PARSE_MESSAGE, "ERROR-CODE without a code")
    code = data[offset + 2]
    return ErrorCodeAttribute(_ERROR_CODES.get(code, code), data[offset + 3 : stop])


def _error_info(data: bytes, offset: int, stop: int) -> Attribute:
    return ErrorInfo(_string(data, offset, stop))


def _participant_info(data: bytes, offset: int, stop: int) -> Attribute:
    return ParticipantProvidedInfo(_string(data, offset, stop))


def _status_info(data: bytes, offset: int, stop: int) -> Attribute:
    return StatusInfo(_string(data, offset, stop))


def _supported_attributes(data: bytes, offset: int, stop: int) -> Attribute:
    kinds = [octet >> 1 for octet in data[offset + 2 : stop]]
    return SupportedAttributes(tuple([_TYPES.get(kind, kind) for kind in kinds]))


def _supported_primitives(data: bytes, offset: int, stop: int) -> Attribute:
    return SupportedPrimitives(tuple([_PRIMITIVES.get(octet, octet) for octet in data[offset + 2 : stop]]))


def _display_name(data: bytes, offset: int, stop: int) -> Attribute:
    return UserDisplayName(_string(data, offset, stop))


def _user_uri(data: bytes, offset: int, stop: int) -> Attribute:
    return UserUri(_string(data, offset, stop))


def _group(data: bytes, offset: int, stop: int, table: _Table) -> tuple[int, list[Attribute]]:
    """Number in the header of a group, and its children."""
    if stop - offset < 4:
        raise MalformedError(
            ErrorCode.UNABLE_TO_PARSE_MESSAGE, f"group {data[offset] >> 1} of {stop - offset} octets"
        )
    number = data[offset + 2] << 8 | data[offset + 3]
    end = offset + (stop - offset + 3 & ~3)
    children = _walk(data, offset + 4, end, table, ErrorCode.UNABLE_TO_PARSE_MESSAGE)
    return number, children


def _pick(children: Iterable[Attribute], kind: type[_A]) -> _A | None:
    for child in children:
        if isinstance(child, kind):
            return child
    return None


def _pick_text(children: list[Attribute], kind: type[StatusInfo | UserDisplayName | UserUri]) -> str | None:
    found = _pick(children, kind)
    return None if found is None else found.text


def _extensions(children: list[Attribute]) -> tuple[UnknownAttribute, ...]:
    return tuple([child for child in children if isinstance(child, UnknownAttribute)])


def _user(data: bytes, offset: int, stop: int) -> tuple[int, str | None, str | None, Any]:
    number, children = _group(data, offset, stop, _USER_CHILDREN)
    return (
        number,
        _pick_text(children, UserDisplayName),
        _pick_text(children, UserUri),
        _extensions(children),
    )


def _beneficiary_information(data: bytes, offset: int, stop: int) -> Attribute:
    return BeneficiaryInformation(*_user(data, offset, stop))


def _requested_by_information(data: bytes, offset: int, stop: int) -> Attribute:
    return RequestedByInformation(*_user(data, offset, stop))


def _status(
    data: bytes, offset: int, stop: int
) -> tuple[int, RequestStatusAttribute | None, str | None, Any]:
    number, children = _group(data, offset, stop, _STATUS_CHILDREN)
    return (
        number,
        _pick(children, RequestStatusAttribute),
        _pick_text(children, StatusInfo),
        _extensions(children),
    )


def _floor_request_status(data: bytes, offset: int, stop: int) -> Attribute:
    return FloorRequestStatus(*_status(data, offset, stop))


def _overall_request_status(data: bytes, offset: int, stop: int) -> Attribute:
    return OverallRequestStatus(*_status(data, offset, stop))


def _floor_request_information(data: bytes, offset: int, stop: int) -> Attribute:
    number, children = _group(data, offset, stop, _REQUEST_CHILDREN)
    priority = _pick(children, PriorityAttribute)
    info = _pick(children, ParticipantProvidedInfo)
    return FloorRequestInformation(
        number,
        _pick(children, OverallRequestStatus),
        tuple([child for child in children if isinstance(child, FloorRequestStatus)]),
        _pick(children, BeneficiaryInformation),
        _pick(children, RequestedByInformation),
        None if priority is None else priority.priority,
        None if info is None else info.text,
        _extensions(children),
    )


_USER_CHILDREN: _Table = {
    AttributeType.USER_DISPLAY_NAME.value: _display_name,
    AttributeType.USER_URI.value: _user_uri,
}

_STATUS_CHILDREN: _Table = {
    AttributeType.REQUEST_STATUS.value: _request_status,
    AttributeType.STATUS_INFO.value: _status_info,
}

_REQUEST_CHILDREN: _Table = {
    AttributeType.OVERALL_REQUEST_STATUS.value: _overall_request_status,
    AttributeType.FLOOR_REQUEST_STATUS.value: _floor_request_status,
    AttributeType.BENEFICIARY_INFORMATION.value: _beneficiary_information,
    AttributeType.REQUESTED_BY_INFORMATION.value: _requested_by_information,
    AttributeType.PRIORITY.value: _priority,
    AttributeType.PARTICIPANT_PROVIDED_INFO.value: _participant_info,
}

_DECODERS: _Table = {
    AttributeType.BENEFICIARY_ID.value: _beneficiary_id,
    AttributeType.FLOOR_ID.value: _floor_id,
    AttributeType.FLOOR_REQUEST_ID.value: _floor_request_id,
    AttributeType.REQUEST_STATUS.value: _request_status,
    AttributeType.ERROR_CODE.value: _error_code,
    AttributeType.ERROR_INFO.value: _error_info,
    AttributeType.STATUS_INFO.value: _status_info,
    AttributeType.SUPPORTED_ATTRIBUTES.value: _supported_attributes,
    AttributeType.SUPPORTED_PRIMITIVES.value: _supported_primitives,
    AttributeType.FLOOR_REQUEST_INFORMATION.value: _floor_request_information,
    **_USER_CHILDREN,
    **_REQUEST_CHILDREN,
}
"""Every attribute of RFC 8855, wherever it stands at top level."""
