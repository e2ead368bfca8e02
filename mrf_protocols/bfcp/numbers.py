"""Code points of BFCP (RFC 8855 section 5), under the names of the standard."""

from __future__ import annotations

from enum import IntEnum

VERSION_RELIABLE = 1
"""Version of every message on TCP (RFC 8855 5.1)."""

VERSION_UNRELIABLE = 2
"""Version of every message on UDP (RFC 8855 5.1)."""


class Primitive(IntEnum):
    """What a message is for (RFC 8855 table 1). The last four exist on UDP only."""

    FLOOR_REQUEST = 1
    FLOOR_RELEASE = 2
    FLOOR_REQUEST_QUERY = 3
    FLOOR_REQUEST_STATUS = 4
    USER_QUERY = 5
    USER_STATUS = 6
    FLOOR_QUERY = 7
    FLOOR_STATUS = 8
    CHAIR_ACTION = 9
    CHAIR_ACTION_ACK = 10
    HELLO = 11
    HELLO_ACK = 12
    ERROR = 13
    FLOOR_REQUEST_STATUS_ACK = 14
    FLOOR_STATUS_ACK = 15
    GOODBYE = 16
    GOODBYE_ACK = 17

    @property
    def label(self) -> str:
        """The name as the standard writes it: ``FloorRequestStatus``."""
        return self.name.title().replace("_", "")


class AttributeType(IntEnum):
    """Attribute types (RFC 8855 table 2)."""

    BENEFICIARY_ID = 1
    FLOOR_ID = 2
    FLOOR_REQUEST_ID = 3
    PRIORITY = 4
    REQUEST_STATUS = 5
    ERROR_CODE = 6
    ERROR_INFO = 7
    PARTICIPANT_PROVIDED_INFO = 8
    STATUS_INFO = 9
    SUPPORTED_ATTRIBUTES = 10
    SUPPORTED_PRIMITIVES = 11
    USER_DISPLAY_NAME = 12
    USER_URI = 13
    BENEFICIARY_INFORMATION = 14
    FLOOR_REQUEST_INFORMATION = 15
    REQUESTED_BY_INFORMATION = 16
    FLOOR_REQUEST_STATUS = 17
    OVERALL_REQUEST_STATUS = 18


class RequestStatus(IntEnum):
    """State of a floor request (RFC 8855 table 4)."""

    PENDING = 1
    ACCEPTED = 2
    GRANTED = 3
    DENIED = 4
    CANCELLED = 5
    RELEASED = 6
    REVOKED = 7

    @property
    def label(self) -> str:
        """The name as the standard writes it: ``Granted``."""
        return self.name.capitalize()

    @property
    def ongoing(self) -> bool:
        """Whether a request in this state still occupies the server (RFC 8855 10.1.2)."""
        return self <= RequestStatus.GRANTED


class Priority(IntEnum):
    """Priority asked for by a participant (RFC 8855 table 3)."""

    LOWEST = 0
    LOW = 1
    NORMAL = 2
    HIGH = 3
    HIGHEST = 4


class ErrorCode(IntEnum):
    """Error codes (RFC 8855 table 5)."""

    CONFERENCE_DOES_NOT_EXIST = 1
    USER_DOES_NOT_EXIST = 2
    UNKNOWN_PRIMITIVE = 3
    UNKNOWN_MANDATORY_ATTRIBUTE = 4
    UNAUTHORIZED_OPERATION = 5
    INVALID_FLOOR_ID = 6
    FLOOR_REQUEST_ID_DOES_NOT_EXIST = 7
    TOO_MANY_ONGOING_FLOOR_REQUESTS = 8
    USE_TLS = 9
    UNABLE_TO_PARSE_MESSAGE = 10
    USE_DTLS = 11
    UNSUPPORTED_VERSION = 12
    INCORRECT_MESSAGE_LENGTH = 13
    GENERIC_ERROR = 14
