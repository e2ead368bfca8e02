"""Trace events of the media side: TCP, TLS and BFCP as the MRFP sees them."""

from __future__ import annotations

from mrf_ops.trace import FieldValue, Kind, Tracer
from mrf_protocols.bfcp import ErrorCode, ErrorCodeAttribute, Message, Primitive
from mrfp_agent.endpoint import Event
from mrfp_agent.ports import Address
from mrfp_agent.termination_values import (
    CandidateDropped,
    ClientHello,
    ConnectionEnded,
    Established,
    EstablishmentFailed,
    FailureKind,
    TcpUp,
)


class MediaTrace:
    """Emits the events of one termination. `peer` is the element at the other end, for who reads the
    ladder.
    """

    __slots__ = ("_correlation", "_identity", "_link", "_local", "_peer", "_tls_server", "_tracer")

    def __init__(self, tracer: Tracer, correlation: str, local: Address, peer: str) -> None:
        self._tracer = tracer
        self._correlation = correlation
        self._local = str(local)
        self._peer = peer
        self._identity = ""
        self._link = ""
        self._tls_server = True

    def expect(self, psk_identity: str) -> None:
        """The identity that the handshake events are told under; never the key."""
        self._identity = psk_identity

    def event(self, event: Event) -> None:
        """A step of the connection's life."""
        if not self._tracer.enabled:
            return
        match event:
            case TcpUp(peer=peer, accepted=True):
                self._connected("received", str(peer), self._local)
            case TcpUp(peer=peer):
                self._connected("sent", self._local, str(peer))
            case ClientHello(sent=sent):
                self._tls_server = not sent
                self._tls("ClientHello", sent)
            case Established(tls_version=version) if version:
                self._tls("TLS established", self._tls_server, version=version, cipher=event.cipher)
            case CandidateDropped(peer=peer, reason=reason):
                self._local_event("TCP", "TCP closed", self._link, reason=reason, address=str(peer))
            case EstablishmentFailed(kind=kind, reason=reason):
                tls = kind is FailureKind.TLS
                name, key = ("TLS failed", self._identity) if tls else ("TCP failed", self._local)
                self._local_event(name[:3], name, key, reason=reason)
            case ConnectionEnded(reason=reason):
                self._local_event("TCP", "TCP closed", self._link, reason=reason)

    def seized(self, termination: str) -> None:
        """A termination has its local address."""
        self._local_event(
            "Mp", "local address taken", termination, termination=termination, local=self._local
        )

    def configured(self, termination: str) -> None:
        """A reserved termination has its remote address and its key."""
        self._local_event("Mp", "termination configured", termination, psk_identity=self._identity)

    def message(self, message: Message, sent: bool) -> None:
        """A BFCP message."""
        if not self._tracer.enabled:
            return
        self._tracer.emit(
            self._correlation,
            "sent" if sent else "received",
            self._peer,
            "BFCP",
            message.name,
            _message_key(message),
            **_message_fields(message),
        )

    def _connected(self, kind: str, active: str, passive: str) -> None:
        self._link = f"{active}->{passive}"
        self._emit(kind == "sent", "TCP", "TCP connect", self._link, active=active, passive=passive)

    def _tls(self, name: str, sent: bool, **fields: FieldValue) -> None:
        self._emit(sent, "TLS", name, self._identity, psk_identity=self._identity, **fields)

    def _emit(self, sent: bool, protocol: str, name: str, key: str, **fields: FieldValue) -> None:
        kind: Kind = "sent" if sent else "received"
        self._tracer.emit(self._correlation, kind, self._peer, protocol, name, key, **fields)

    def _local_event(self, protocol: str, name: str, key: str, **fields: FieldValue) -> None:
        self._tracer.emit(self._correlation, "local", "", protocol, name, key, **fields)


def _message_key(message: Message) -> str:
    primitive = message.primitive
    label = primitive.label if isinstance(primitive, Primitive) else f"primitive {primitive}"
    return f"{label} {message.transaction_id} {message.user_id}"


def _message_fields(message: Message) -> dict[str, FieldValue]:
    request = message.floor_request
    floors = message.floor_ids if request is None else request.floor_ids
    fields: dict[str, FieldValue] = {
        "conference": message.conference_id,
        "user": message.user_id,
        "request_id": message.floor_request_id,
        "floor": ", ".join(map(str, floors)),
    }
    error = message.first(ErrorCodeAttribute)
    if error is not None:
        known = error.code in ErrorCode.__members__.values()
        fields["error"] = f"{error.code:d} {ErrorCode(error.code).name}" if known else str(error.code)
    return fields
