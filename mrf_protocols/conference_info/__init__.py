"""Conference information documents (RFC 4575): values, what a notifier writes, what a subscriber makes of it."""

from mrf_protocols.conference_info.mirror import Mirror, Update
from mrf_protocols.conference_info.values import (
    CONTENT_TYPE,
    ConferenceInfoError,
    ConferenceState,
    Description,
    DisconnectionMethod,
    Endpoint,
    EndpointStatus,
    Execution,
    FloorControl,
    JoiningMethod,
    Media,
    User,
)
from mrf_protocols.conference_info.writer import Part, contents, deleted_user, document, write_user

__all__ = [
    "CONTENT_TYPE",
    "ConferenceInfoError",
    "ConferenceState",
    "Description",
    "DisconnectionMethod",
    "Endpoint",
    "EndpointStatus",
    "Execution",
    "FloorControl",
    "JoiningMethod",
    "Media",
    "Mirror",
    "Part",
    "Update",
    "User",
    "contents",
    "deleted_user",
    "document",
    "write_user",
]
