"""The Mp procedures between MRFC and MRFP for BFCP terminations, as values (TS 23.333 6.2.13, 6.2.19.3, 8.44).

Stage 2 names and information elements; `mrf_protocols.h248.mp.commands` and its neighbours map them to H.248.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mrf_protocols.h248.mp.elements import MAX_USER_TEXT
from mrf_protocols.h248.mp.floor_procedures import (
    Conference,
    ConfigureConference,
    ConfirmMediaUpdate,
    ContextConfigured,
    DesignateFloorChair,
    FloorRequestDecision,
    FloorRequestReport,
)
from mrf_protocols.h248.values import ALL, CHOOSE_CONTEXT, MId

Address = tuple[str, int]
"""Host (IPv4 or IPv6 literal without brackets) and port."""


class Transport(StrEnum):
    """Transport of a BFCP connection, as in the SDP media line (RFC 8856)."""

    TCP_BFCP = "TCP/BFCP"
    TCP_TLS_BFCP = "TCP/TLS/BFCP"


class AddressFamily(StrEnum):
    """Address family, as in the SDP connection line."""

    IP4 = "IP4"
    IP6 = "IP6"


@dataclass(frozen=True, slots=True)
class EventRequest:
    """Which events the MRFP is to notify, and under which request id (1 to 4294967294).

    `heartbeat`: seconds between termination heartbeats of H.248.36, 0 for none. `floor_decisions`: every change of
    this user's floor requests.
    """

    tcp_failure: bool = True
    tls_failure: bool = True
    released: bool = True
    tls_established: bool = False
    heartbeat: int = 0
    request_id: int = 1
    floor_decisions: bool = False


@dataclass(frozen=True, slots=True)
class UserNames:
    """What the other users of a conference may learn of a user: display name and URI, "" for none.

    (RFC 8855 5.2.12 and 5.2.13.)
    """

    display_name: str = ""
    uri: str = ""

    @classmethod
    def fitting(cls, display_name: str, uri: str) -> UserNames:
        """Names of any length: a display name is cut, a URI is left out, since a part of it is another one."""
        fits = len(uri.encode()) <= MAX_USER_TEXT
        return cls(display_name.encode()[:MAX_USER_TEXT].decode(errors="ignore"), uri if fits else "")


@dataclass(frozen=True, slots=True)
class ConfigureBfcpTermination:
    """Configure BFCP Termination, MRFC to MRFP, ADD (TS 23.333 8.44): dial-in.

    * `context`: the context, or CHOOSE_CONTEXT for a new one, which must bring its `conference`.
    * `user_id`: the BFCP user that this termination, and no other, speaks for.
    * `family`: the address family of the local address asked for.
    * `remote`: the address of the user.
    * `psk`, `psk_identity`: present with TCP/TLS/BFCP; the key never shows in a repr.
    * `start_tcp`: the MRFP opens the TCP connection; else it listens.
    * `start_tls`: the MRFP is TLS client; else TLS server.
    * `correlation`: SIP Call-ID, for logs and traces only.
    * `names`: the user's, for the others.
    """

    remote: Address
    user_id: int
    context: int = CHOOSE_CONTEXT
    conference: Conference | None = None
    transport: Transport = Transport.TCP_TLS_BFCP
    family: AddressFamily = AddressFamily.IP4
    psk: bytes | None = field(default=None, repr=False)
    psk_identity: str | None = None
    start_tcp: bool = False
    start_tls: bool = False
    events: EventRequest = EventRequest()
    correlation: str = ""
    names: UserNames = UserNames()


@dataclass(frozen=True, slots=True)
class ReserveBfcpTermination:
    """Reserve BFCP Termination, MRFC to MRFP, ADD: dial-out, before the answer. The MRFP listens from now on.

    `names` are better told after the answer: only that says whether the user wants privacy.
    """

    user_id: int
    context: int = CHOOSE_CONTEXT
    conference: Conference | None = None
    transport: Transport = Transport.TCP_TLS_BFCP
    family: AddressFamily = AddressFamily.IP4
    events: EventRequest = EventRequest()
    correlation: str = ""
    names: UserNames = UserNames()


@dataclass(frozen=True, slots=True)
class ConfigureReservedBfcpTermination:
    """Configure Reserved BFCP Termination, MRFC to MRFP, MODIFY: dial-out, after the answer.

    `events` None leaves those of the reservation, and so do empty `names`.
    """

    context: int
    termination: str
    remote: Address
    transport: Transport = Transport.TCP_TLS_BFCP
    psk: bytes | None = field(default=None, repr=False)
    psk_identity: str | None = None
    start_tcp: bool = False
    start_tls: bool = False
    events: EventRequest | None = None
    correlation: str = ""
    names: UserNames = UserNames()


@dataclass(frozen=True, slots=True)
class ReleaseBfcpTermination:
    """Release BFCP Termination, MRFC to MRFP, SUBTRACT (TS 23.333 6.2.13): one, or ALL of a context or all contexts."""

    context: int
    termination: str = ALL
    correlation: str = ""


@dataclass(frozen=True, slots=True)
class ChangeEvents:
    """Other events of a termination from now on, MRFC to MRFP, MODIFY without a connection; None changes nothing."""

    context: int
    termination: str
    events: EventRequest | None = None
    correlation: str = ""


@dataclass(frozen=True, slots=True)
class AuditHeartbeat:
    """MRFC asks whether the MRFP is there: AuditValue of ROOT."""


Procedure = (
    ConfigureBfcpTermination
    | ReserveBfcpTermination
    | ConfigureReservedBfcpTermination
    | ReleaseBfcpTermination
    | ChangeEvents
    | AuditHeartbeat
    | ConfigureConference
    | DesignateFloorChair
    | FloorRequestDecision
    | ConfirmMediaUpdate
)


@dataclass(frozen=True, slots=True)
class TerminationConfigured:
    """Acknowledgement of Configure, Reserve (with `local`), of Configure Reserved and of floor procedures (without)."""

    context: int
    termination: str
    local: Address | None = None


@dataclass(frozen=True, slots=True)
class TerminationReleased:
    """Acknowledgement of Release."""

    context: int
    termination: str = ALL


@dataclass(frozen=True, slots=True)
class HeartbeatAnswered:
    """Acknowledgement of the audit of ROOT."""


Acknowledgement = TerminationConfigured | TerminationReleased | HeartbeatAnswered | ContextConfigured


@dataclass(frozen=True, slots=True)
class TcpEstablishmentFailed:
    """TCP connection establishment failure indication, MRFP to MRFC, NOTIFY."""

    context: int
    termination: str
    reason: str = ""
    request_id: int = 1


@dataclass(frozen=True, slots=True)
class TlsEstablishmentFailed:
    """TLS session establishment failure indication, MRFP to MRFC, NOTIFY."""

    context: int
    termination: str
    reason: str = ""
    request_id: int = 1


@dataclass(frozen=True, slots=True)
class BearerReleased:
    """Bearer released indication, MRFP to MRFC, NOTIFY: the TCP connection ended."""

    context: int
    termination: str
    reason: str = ""
    request_id: int = 1


@dataclass(frozen=True, slots=True)
class TlsEstablished:
    """TLS session established, MRFP to MRFC, NOTIFY; `reason` says version and cipher suite."""

    context: int
    termination: str
    reason: str = ""
    request_id: int = 1


@dataclass(frozen=True, slots=True)
class TerminationHeartbeat:
    """Termination heartbeat, MRFP to MRFC, NOTIFY (H.248.36)."""

    context: int
    termination: str
    reason: str = ""
    request_id: int = 1


NotifyIndication = (
    TcpEstablishmentFailed
    | TlsEstablishmentFailed
    | BearerReleased
    | TlsEstablished
    | TerminationHeartbeat
    | FloorRequestReport
)


class ServiceMethod(StrEnum):
    """ServiceChange methods that Mp uses on ROOT."""

    RESTART = "Restart"
    DISCONNECTED = "Disconnected"
    FORCED = "Forced"
    GRACEFUL = "Graceful"
    FAILOVER = "Failover"
    HANDOFF = "HandOff"


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """MRFP registration, restoration or out of service, on ROOT (TS 23.333, MRFP Restoration and neighbours).

    `reason`: number of H.248.8; `version`: the protocol version that both speak after the reply; `delay`: seconds of
    grace (Graceful); `mgc`: whom to register with (Handoff, MRFC to MRFP).
    """

    method: ServiceMethod
    reason: int
    version: int = 3
    profile: str = "bfcp_mrfp/1"
    delay: int | None = None
    mgc: MId | None = None


@dataclass(frozen=True, slots=True)
class ServiceChangeAccepted:
    """Acknowledgement of ServiceChange. `mgc`: register there instead."""

    version: int = 3
    profile: str = "bfcp_mrfp/1"
    mgc: MId | None = None
