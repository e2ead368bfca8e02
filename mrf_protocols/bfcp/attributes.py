"""The attributes of BFCP as values (RFC 8855 5.2).

Texts are plain ``str``; the codec cuts them to what an attribute can hold. Numbers that a receiver must
accept though it does not know them (request status, error code) are plain ``int``; known ones come out
of the decoder as members of the enums in :mod:`mrf_protocols.bfcp.numbers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from mrf_protocols.bfcp.numbers import AttributeType, Priority


@dataclass(frozen=True, slots=True)
class UnknownAttribute:
    """An attribute of a type this codec does not know, kept as it came (RFC 8855 5.2)."""

    type: int
    mandatory: bool
    contents: bytes


@dataclass(frozen=True, slots=True)
class BeneficiaryId:
    """BENEFICIARY-ID: the user a request or query is about (RFC 8855 5.2.1)."""

    TYPE: ClassVar = AttributeType.BENEFICIARY_ID
    user_id: int


@dataclass(frozen=True, slots=True)
class FloorId:
    """FLOOR-ID (RFC 8855 5.2.2)."""

    TYPE: ClassVar = AttributeType.FLOOR_ID
    floor_id: int


@dataclass(frozen=True, slots=True)
class FloorRequestId:
    """FLOOR-REQUEST-ID (RFC 8855 5.2.3)."""

    TYPE: ClassVar = AttributeType.FLOOR_REQUEST_ID
    floor_request_id: int


@dataclass(frozen=True, slots=True)
class PriorityAttribute:
    """PRIORITY (RFC 8855 5.2.4)."""

    TYPE: ClassVar = AttributeType.PRIORITY
    priority: Priority


@dataclass(frozen=True, slots=True)
class RequestStatusAttribute:
    """REQUEST-STATUS; the queue position is 0 unless the status is Accepted (RFC 8855 5.2.5)."""

    TYPE: ClassVar = AttributeType.REQUEST_STATUS
    status: int
    queue_position: int = 0


@dataclass(frozen=True, slots=True)
class ErrorCodeAttribute:
    """ERROR-CODE; for code 4 the details list the unknown attribute types (RFC 8855 5.2.6)."""

    TYPE: ClassVar = AttributeType.ERROR_CODE
    code: int
    details: bytes = b""

    @property
    def unknown_types(self) -> tuple[int, ...]:
        """The attribute types that an Error with code 4 complains of."""
        return tuple(octet >> 1 for octet in self.details)


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """ERROR-INFO (RFC 8855 5.2.7)."""

    TYPE: ClassVar = AttributeType.ERROR_INFO
    text: str


@dataclass(frozen=True, slots=True)
class ParticipantProvidedInfo:
    """PARTICIPANT-PROVIDED-INFO: why the floor is wanted (RFC 8855 5.2.8)."""

    TYPE: ClassVar = AttributeType.PARTICIPANT_PROVIDED_INFO
    text: str


@dataclass(frozen=True, slots=True)
class StatusInfo:
    """STATUS-INFO (RFC 8855 5.2.9); stands at top level in no message, see the grouped attributes."""

    TYPE: ClassVar = AttributeType.STATUS_INFO
    text: str


@dataclass(frozen=True, slots=True)
class SupportedAttributes:
    """SUPPORTED-ATTRIBUTES: attribute types, unshifted (RFC 8855 5.2.10)."""

    TYPE: ClassVar = AttributeType.SUPPORTED_ATTRIBUTES
    types: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SupportedPrimitives:
    """SUPPORTED-PRIMITIVES (RFC 8855 5.2.11)."""

    TYPE: ClassVar = AttributeType.SUPPORTED_PRIMITIVES
    primitives: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UserDisplayName:
    """USER-DISPLAY-NAME (RFC 8855 5.2.12); at home inside the user information groups."""

    TYPE: ClassVar = AttributeType.USER_DISPLAY_NAME
    text: str


@dataclass(frozen=True, slots=True)
class UserUri:
    """USER-URI (RFC 8855 5.2.13); at home inside the user information groups."""

    TYPE: ClassVar = AttributeType.USER_URI
    text: str


@dataclass(frozen=True, slots=True)
class BeneficiaryInformation:
    """BENEFICIARY-INFORMATION: who gets the floor (RFC 8855 5.2.14)."""

    TYPE: ClassVar = AttributeType.BENEFICIARY_INFORMATION
    user_id: int
    display_name: str | None = None
    uri: str | None = None
    extensions: tuple[UnknownAttribute, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestedByInformation:
    """REQUESTED-BY-INFORMATION: who asked for the floor (RFC 8855 5.2.16)."""

    TYPE: ClassVar = AttributeType.REQUESTED_BY_INFORMATION
    user_id: int
    display_name: str | None = None
    uri: str | None = None
    extensions: tuple[UnknownAttribute, ...] = ()


@dataclass(frozen=True, slots=True)
class FloorRequestStatus:
    """FLOOR-REQUEST-STATUS: one floor of a request (RFC 8855 5.2.17)."""

    TYPE: ClassVar = AttributeType.FLOOR_REQUEST_STATUS
    floor_id: int
    status: RequestStatusAttribute | None = None
    info: str | None = None
    extensions: tuple[UnknownAttribute, ...] = ()


@dataclass(frozen=True, slots=True)
class OverallRequestStatus:
    """OVERALL-REQUEST-STATUS: the request as a whole (RFC 8855 5.2.18)."""

    TYPE: ClassVar = AttributeType.OVERALL_REQUEST_STATUS
    floor_request_id: int
    status: RequestStatusAttribute | None = None
    info: str | None = None
    extensions: tuple[UnknownAttribute, ...] = ()


@dataclass(frozen=True, slots=True)
class FloorRequestInformation:
    """FLOOR-REQUEST-INFORMATION: all there is to say about one floor request (RFC 8855 5.2.15)."""

    TYPE: ClassVar = AttributeType.FLOOR_REQUEST_INFORMATION
    floor_request_id: int
    overall: OverallRequestStatus | None = None
    floors: tuple[FloorRequestStatus, ...] = ()
    beneficiary: BeneficiaryInformation | None = None
    requested_by: RequestedByInformation | None = None
    priority: Priority | None = None
    participant_info: str | None = None
    extensions: tuple[UnknownAttribute, ...] = ()

    @property
    def floor_ids(self) -> tuple[int, ...]:
        """The floors of the request, in order."""
        return tuple(floor.floor_id for floor in self.floors)

    @property
    def status(self) -> int | None:
        """Overall request status, None when it is not told."""
        if self.overall is None or self.overall.status is None:
            return None
        return self.overall.status.status

    @property
    def queue_position(self) -> int:
        """Overall queue position, 0 when it is not told."""
        if self.overall is None or self.overall.status is None:
            return 0
        return self.overall.status.queue_position


Attribute: TypeAlias = (
    BeneficiaryId
    | FloorId
    | FloorRequestId
    | PriorityAttribute
    | RequestStatusAttribute
    | ErrorCodeAttribute
    | ErrorInfo
    | ParticipantProvidedInfo
    | StatusInfo
    | SupportedAttributes
    | SupportedPrimitives
    | UserDisplayName
    | UserUri
    | BeneficiaryInformation
    | FloorRequestInformation
    | RequestedByInformation
    | FloorRequestStatus
    | OverallRequestStatus
    | UnknownAttribute
)
"""Anything that can stand in a message."""
