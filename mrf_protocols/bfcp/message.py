"""A BFCP message as a value (RFC 8855 5.1 and 5.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from mrf_protocols.bfcp.attributes import (
    Attribute,
    BeneficiaryId,
    BeneficiaryInformation,
    ErrorCodeAttribute,
    ErrorInfo,
    FloorId,
    FloorRequestId,
    FloorRequestInformation,
    ParticipantProvidedInfo,
    PriorityAttribute,
    UnknownAttribute,
)
from mrf_protocols.bfcp.numbers import VERSION_RELIABLE, Primitive, Priority, RequestStatus

_A = TypeVar("_A")


@dataclass(frozen=True, slots=True)
class Message:
    """One message: the fields of the COMMON-HEADER and the attributes in order.

    ``primitive`` is a :class:`Primitive`, or a plain int when the codec does not know it. ``responder``
    is the R flag, which means something in version 2 (UDP) only.
    """

    primitive: int
    conference_id: int
    transaction_id: int
    user_id: int
    attributes: tuple[Attribute, ...] = ()
    version: int = VERSION_RELIABLE
    responder: bool = False

    def response(self, primitive: Primitive, *attributes: Attribute) -> Message:
        """The response to this request: the same three identifiers (RFC 8855 8.2)."""
        return Message(
            primitive,
            self.conference_id,
            self.transaction_id,
            self.user_id,
            attributes,
            self.version,
            self.version != VERSION_RELIABLE,
        )

    def error(self, code: int, text: str = "", details: bytes = b"") -> Message:
        """The Error message that answers this request (RFC 8855 13.8)."""
        if text:
            return self.response(Primitive.ERROR, ErrorCodeAttribute(code, details), ErrorInfo(text))
        return self.response(Primitive.ERROR, ErrorCodeAttribute(code, details))

    @property
    def name(self) -> str:
        """The primitive, and the status if one is told: ``FloorRequestStatus Granted``."""
        label = (
            self.primitive.label if isinstance(self.primitive, Primitive) else f"primitive {self.primitive}"
        )
        if self.primitive != Primitive.FLOOR_REQUEST_STATUS:
            return label
        request = self.floor_request
        status = None if request is None else request.status
        return f"{label} {status.label}" if isinstance(status, RequestStatus) else label

    def all(self, kind: type[_A]) -> Iterator[_A]:
        """The attributes of one class, in order."""
        return (attribute for attribute in self.attributes if isinstance(attribute, kind))

    def first(self, kind: type[_A]) -> _A | None:
        """The first attribute of one class."""
        for attribute in self.attributes:
            if isinstance(attribute, kind):
                return attribute
        return None

    @property
    def floor_ids(self) -> tuple[int, ...]:
        """The values of all FLOOR-ID attributes."""
        return tuple([a.floor_id for a in self.attributes if isinstance(a, FloorId)])

    @property
    def floor_request_id(self) -> int | None:
        """The FLOOR-REQUEST-ID, else the id in the first FLOOR-REQUEST-INFORMATION."""
        for attribute in self.attributes:
            if isinstance(attribute, FloorRequestId | FloorRequestInformation):
                return attribute.floor_request_id
        return None

    @property
    def beneficiary_id(self) -> int | None:
        """The BENEFICIARY-ID."""
        found = self.first(BeneficiaryId)
        return None if found is None else found.user_id

    @property
    def priority(self) -> Priority | None:
        """The PRIORITY."""
        found = self.first(PriorityAttribute)
        return None if found is None else found.priority

    @property
    def participant_info(self) -> str | None:
        """The PARTICIPANT-PROVIDED-INFO."""
        found = self.first(ParticipantProvidedInfo)
        return None if found is None else found.text

    @property
    def floor_request(self) -> FloorRequestInformation | None:
        """The first FLOOR-REQUEST-INFORMATION."""
        return self.first(FloorRequestInformation)

    @property
    def floor_requests(self) -> tuple[FloorRequestInformation, ...]:
        """Every FLOOR-REQUEST-INFORMATION."""
        return tuple(self.all(FloorRequestInformation))

    def unknown_mandatory(self) -> tuple[int, ...]:
        """Types of the unknown attributes with the M bit, at any depth, each once (RFC 8855 5.2)."""
        found: dict[int, None] = {}
        for attribute in self.attributes:
            if isinstance(attribute, UnknownAttribute):
                if attribute.mandatory:
                    found[attribute.type] = None
            elif isinstance(attribute, _GROUPS):
                found.update(dict.fromkeys(_unknown_inside(attribute)))
        return tuple(found)


_GROUPS = (FloorRequestInformation, BeneficiaryInformation)
"""The groups that stand at top level in some message."""


def _unknown_inside(group: FloorRequestInformation | BeneficiaryInformation) -> list[int]:
    """Types of the unknown attributes with the M bit in a group and in its groups."""
    extensions = list(group.extensions)
    if isinstance(group, FloorRequestInformation):
        for child in (group.overall, *group.floors, group.beneficiary, group.requested_by):
            if child is not None:
                extensions += child.extensions
    return [extension.type for extension in extensions if extension.mandatory]
