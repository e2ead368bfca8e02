"""What a BFCP termination is told and what it asks for."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeAlias

from mrf_protocols.bfcp import BfcpError, Message
from mrf_protocols.tls_psk import PskCredentials, TlsRole
from mrfp_agent.ports import Address


class Transport(enum.Enum):
    """Transport protocol of the BFCP stream, as the SDP m-line names it."""

    TCP_BFCP = "TCP/BFCP"
    TCP_TLS_BFCP = "TCP/TLS/BFCP"


class TcpRole(enum.Enum):
    """Who opens the TCP connection, seen from the MRFP (RFC 4145)."""

    ACTIVE = "active"
    PASSIVE = "passive"


class FailureKind(enum.Enum):
    """Which of the two establishment failures of TS 23.333 has happened."""

    TCP = "tcp-establishment-failure"
    TLS = "tls-establishment-failure"


class TerminationState(enum.Enum):
    """Life of a termination; see `Termination`."""

    NEW = "new"
    RESERVED = "reserved"
    ESTABLISHING = "establishing"
    ESTABLISHED = "established"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class TerminationTimers:
    """Seconds a termination waits for its peer.

    `tcp_connect`: for the TCP connection, from Configure on. `tcp_retry`: between attempts when the peer
    refuses.
    `client_hello`: as TLS server, from the TCP connection to the first octet; covers the time in which the
    peer waits for its SDP answer. `handshake`: from the first octet (TLS client: from the ClientHello) to the
    end of the handshake. `message`: for the rest of a BFCP message that has begun.
    """

    tcp_connect: float = 30.0
    tcp_retry: float = 0.5
    client_hello: float = 30.0
    handshake: float = 10.0
    message: float = 10.0


@dataclass(frozen=True, slots=True)
class RemoteEnd:
    """What Configure says about the peer. `tls_role` and `credentials` belong to TCP/TLS/BFCP, both or
    none.
    """

    address: Address
    tcp_role: TcpRole
    tls_role: TlsRole | None = None
    credentials: PskCredentials | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class StartListening:
    """Listen on the local address; report each connection by `Termination.accepted`."""


@dataclass(frozen=True, slots=True)
class StopListening:
    """Close the listening socket."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a TCP connection from the local address; report by `connected` or `connect_failed`."""

    connection: int
    remote: Address


@dataclass(frozen=True, slots=True)
class SendOctets:
    """Write to a connection. `last`: the next output closes it."""

    connection: int
    octets: bytes = field(repr=False)
    last: bool = False


@dataclass(frozen=True, slots=True)
class CloseTcp:
    """Close a connection (or an attempt) after what was to be sent on it; it is not reported any more."""

    connection: int


@dataclass(frozen=True, slots=True)
class TcpUp:
    """A TCP connection with a possible peer is there."""

    connection: int
    peer: Address
    accepted: bool


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The TLS handshake has begun on a connection: sent (TLS client) or received (TLS server)."""

    connection: int
    sent: bool


@dataclass(frozen=True, slots=True)
class CandidateDropped:
    """A connection turned out not to be the peer's; the termination goes on waiting for the right one."""

    connection: int
    peer: Address
    reason: str


@dataclass(frozen=True, slots=True)
class Established:
    """The peer is connected and, with TLS, has proved the key. The three texts are "" for TCP/BFCP."""

    connection: int
    peer: Address
    tls_version: str = ""
    cipher: str = ""
    psk_identity: str = ""


@dataclass(frozen=True, slots=True)
class BfcpReceived:
    """A BFCP message of the peer, or in its place why it cannot be read."""

    content: Message | BfcpError


@dataclass(frozen=True, slots=True)
class EstablishmentFailed:
    """There will be no connection; the termination only waits for its release."""

    kind: FailureKind
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """The established connection is gone; the termination only waits for its release."""

    reason: str


Output: TypeAlias = (
    StartListening
    | StopListening
    | Connect
    | SendOctets
    | CloseTcp
    | TcpUp
    | ClientHello
    | CandidateDropped
    | Established
    | BfcpReceived
    | EstablishmentFailed
    | ConnectionEnded
)
"""What a driver has to do or to tell, in order."""
