"""What a conference information document says (RFC 4575 5), as values."""

from __future__ import annotations

import enum
from dataclasses import dataclass

CONTENT_TYPE = "application/conference-info+xml"
NAMESPACE = "urn:ietf:params:xml:ns:conference-info"
FLOORS_NAMESPACE = "urn:x-ims-floor-control:floors"
"""Our extension of the element media, where the schema leaves room for elements of other namespaces."""


class ConferenceInfoError(ValueError):
    """The document cannot be read."""


class EndpointStatus(enum.Enum):
    """RFC 4575 5.7.3."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    ON_HOLD = "on-hold"
    MUTED_VIA_FOCUS = "muted-via-focus"
    PENDING = "pending"
    ALERTING = "alerting"
    DIALING_IN = "dialing-in"
    DIALING_OUT = "dialing-out"
    DISCONNECTING = "disconnecting"


class JoiningMethod(enum.Enum):
    """RFC 4575 5.7.4."""

    DIALED_IN = "dialed-in"
    DIALED_OUT = "dialed-out"
    FOCUS_OWNER = "focus-owner"


class DisconnectionMethod(enum.Enum):
    """RFC 4575 5.7.6."""

    DEPARTED = "departed"
    BOOTED = "booted"
    FAILED = "failed"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Execution:
    """When, why and by whom something was done (RFC 4575 5.7.5); `when` in whole seconds since 1970, UTC."""

    when: int | None = None
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class FloorControl:
    """Who a participant is on BFCP, and which floors he holds and is the chair of: an extension of ours."""

    user_id: int
    holds: tuple[int, ...] = ()
    chairs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Media:
    """A media stream (RFC 4575 5.8); `type` as in SDP, "application" for BFCP. `status` is an SDP direction or ""."""

    id: str
    type: str
    status: str = ""
    floor_control: FloorControl | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A device of a user and its way in and out (RFC 4575 5.7)."""

    entity: str
    status: EndpointStatus | None = None
    display_text: str = ""
    referred: Execution | None = None
    joining_method: JoiningMethod | None = None
    joining_info: Execution | None = None
    disconnection_method: DisconnectionMethod | None = None
    disconnection_info: Execution | None = None
    media: tuple[Media, ...] = ()


@dataclass(frozen=True, slots=True)
class User:
    """A participant (RFC 4575 5.6)."""

    entity: str
    display_text: str = ""
    roles: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """The conference as a whole (RFC 4575 5.3); `uris` are those to take part by."""

    display_text: str = ""
    subject: str = ""
    uris: tuple[str, ...] = ()
    maximum_user_count: int | None = None


@dataclass(frozen=True, slots=True)
class ConferenceState:
    """RFC 4575 5.5."""

    user_count: int | None = None
    active: bool | None = None
    locked: bool | None = None
