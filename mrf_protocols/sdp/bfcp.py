"""The typed view of an m-section for BFCP (RFC 8856, and RFC 4583 for older devices)."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator
from typing import TypeVar

from mrf_protocols.sdp import grammar
from mrf_protocols.sdp.errors import RejectReason, SdpRejected
from mrf_protocols.sdp.key_management import KeyMgmt, KeyMgmtLevel, key_mgmt_of
from mrf_protocols.sdp.transport import ConnectionUse, Setup
from mrf_protocols.sdp.values import Address, Attribute, MediaDescription, SessionDescription

_Member = TypeVar("_Member", bound=enum.Enum)

MAX_CONFERENCE_ID = 0xFFFFFFFF
MAX_USER_ID = 0xFFFF
MAX_FLOOR_ID = 0xFFFF
MAX_VERSION = 7


class BfcpProto(enum.Enum):
    """proto of the m-line (RFC 8856 4)."""

    TCP = "TCP/BFCP"
    TCP_TLS = "TCP/TLS/BFCP"
    TCP_DTLS = "TCP/DTLS/BFCP"
    UDP = "UDP/BFCP"
    UDP_TLS = "UDP/TLS/BFCP"

    @property
    def reliable(self) -> bool:
        """Whether BFCP runs over TCP."""
        return self in (BfcpProto.TCP, BfcpProto.TCP_TLS, BfcpProto.TCP_DTLS)

    @property
    def secured(self) -> bool:
        """Whether BFCP runs over TLS or DTLS."""
        return self in (BfcpProto.TCP_TLS, BfcpProto.TCP_DTLS, BfcpProto.UDP_TLS)

    @property
    def default_versions(self) -> tuple[int, ...]:
        """What is meant without a=bfcpver: 1 over a reliable transport, else 2 (RFC 8856 5.5)."""
        return (1,) if self.reliable else (2,)


class FloorControlRole(enum.Enum):
    """A role of a=floorctrl (RFC 8856 5.1). C_S is RFC 4583's: accepted, never written."""

    C_ONLY = "c-only"
    S_ONLY = "s-only"
    C_S = "c-s"


@dataclasses.dataclass(frozen=True, slots=True)
class FloorStreams:
    """a=floorid (RFC 8856 5.4): a floor and the labels of the streams it controls, possibly none."""

    floor_id: int
    labels: tuple[str, ...] = ()

    def attribute(self) -> Attribute:
        """The attribute; with no labels in RFC 4583's short form, since RFC 8856 has no form for that."""
        streams = f" mstrm:{' '.join(self.labels)}" if self.labels else ""
        return Attribute("floorid", f"{self.floor_id}{streams}")


@dataclasses.dataclass(frozen=True, slots=True)
class BfcpMedia:
    """What one m-section says about BFCP. Absent attributes are None or empty: defaults depend on offer
    or answer.

    index: position of the m-line, from 0. address: host of the section's c=, else the session's ("" without
    any), and the port of the m-line. roles: as written. key_mgmt: those that hold for this stream.
    """

    index: int
    proto: BfcpProto
    address: Address
    setup: Setup | None = None
    connection: ConnectionUse | None = None
    roles: tuple[FloorControlRole, ...] = ()
    conference_id: int | None = None
    user_id: int | None = None
    floors: tuple[FloorStreams, ...] = ()
    versions: tuple[int, ...] = ()
    key_mgmt: tuple[KeyMgmt, ...] = ()
    key_mgmt_level: KeyMgmtLevel = KeyMgmtLevel.MEDIA

    @property
    def willing(self) -> frozenset[FloorControlRole]:
        """The roles this side is willing to take; c-s means both (RFC 8856 5.1). Empty without
        a=floorctrl."""
        both = frozenset({FloorControlRole.C_ONLY, FloorControlRole.S_ONLY})
        return both if FloorControlRole.C_S in self.roles else frozenset(self.roles)

    @property
    def offered_versions(self) -> tuple[int, ...]:
        """The BFCP versions of this side, with the default of the transport in place."""
        return self.versions or self.proto.default_versions


def is_bfcp(media: MediaDescription) -> bool:
    """Whether an m-line is for BFCP over any transport (RFC 8856 4; its fmt list means nothing)."""
    return media.media == "application" and media.proto in _PROTOS


def bfcp_media(session: SessionDescription, index: int) -> BfcpMedia:
    """The view of m-section `index`, which must be for BFCP.

    Raises SdpRejected: NO_BFCP_STREAM, ATTRIBUTE_MALFORMED, KEY_MGMT_MALFORMED. `a=setup` may stand at
    session level (RFC 4145 4), all else but key-mgmt and c= is media level.
    """
    media = session.media[index]
    if not is_bfcp(media):
        raise SdpRejected(RejectReason.NO_BFCP_STREAM)
    key_mgmt, level = key_mgmt_of(session, media)
    connection = media.connections[0] if media.connections else session.connection
    setup = _only("setup", media)
    return BfcpMedia(
        index=index,
        proto=BfcpProto(media.proto),
        address=Address(connection.address if connection else "", media.port),
        setup=_member(Setup, "setup", setup if setup is not None else session.value_of("setup")),
        connection=_member(ConnectionUse, "connection", _only("connection", media)),
        roles=_roles(_only("floorctrl", media)),
        conference_id=_optional_number("confid", _only("confid", media), MAX_CONFERENCE_ID),
        user_id=_optional_number("userid", _only("userid", media), MAX_USER_ID),
        floors=tuple(parse_floorid(value) for value in media.values_of("floorid")),
        versions=_versions(_only("bfcpver", media)),
        key_mgmt=key_mgmt,
        key_mgmt_level=level,
    )


def bfcp_streams(session: SessionDescription) -> Iterator[int]:
    """The positions of all BFCP m-lines, disabled ones too."""
    return (index for index, media in enumerate(session.media) if is_bfcp(media))


def find_bfcp(session: SessionDescription) -> BfcpMedia | None:
    """The first BFCP stream that is not disabled, of any transport; None without one. Raises as
    `bfcp_media`."""
    for index in bfcp_streams(session):
        if session.media[index].port:
            return bfcp_media(session, index)
    return None


def parse_floorid(value: str) -> FloorStreams:
    """The value of a floorid attribute. Raises SdpRejected(ATTRIBUTE_MALFORMED).

    Takes "m-stream:" for "mstrm:" (an example of RFC 4583 has it so, RFC 8856 5.4 recommends to take it) and
    RFC 4583's form without streams.
    """
    match = grammar.floorid_value.fullmatch(value.rstrip(" "))
    if match is None:
        raise _malformed("floorid")
    return FloorStreams(
        _number("floorid", match["floor"], MAX_FLOOR_ID), tuple((match["labels"] or "").split())
    )


_PROTOS = frozenset(proto.value for proto in BfcpProto)


def _malformed(name: str) -> SdpRejected:
    return SdpRejected(RejectReason.ATTRIBUTE_MALFORMED, name)


def _only(name: str, media: MediaDescription) -> str | None:
    """The value of an attribute that a section has once; the same said twice does no harm."""
    values = set(media.values_of(name))
    if len(values) > 1:
        raise SdpRejected(RejectReason.ATTRIBUTE_MALFORMED, f"{name} contradicts itself")
    return values.pop() if values else None


def _member(kind: type[_Member], name: str, value: str | None) -> _Member | None:
    """The enum member for a value; ABNF strings ignore case (RFC 5234 2.3)."""
    if value is None:
        return None
    try:
        return kind(value.rstrip(" ").lower())
    except ValueError:
        raise _malformed(name) from None


def _number(name: str, value: str, maximum: int) -> int:
    text = value.rstrip(" ")
    if grammar.number.fullmatch(text) is None or int(text) > maximum:
        raise _malformed(name)
    return int(text)


def _optional_number(name: str, value: str | None, maximum: int) -> int | None:
    return None if value is None else _number(name, value, maximum)


def _roles(value: str | None) -> tuple[FloorControlRole, ...]:
    if value is None:
        return ()
    roles = [_member(FloorControlRole, "floorctrl", word) for word in value.split(" ") if word]
    if not roles:
        raise _malformed("floorctrl")
    return tuple(dict.fromkeys(role for role in roles if role is not None))


def _versions(value: str | None) -> tuple[int, ...]:
    if value is None:
        return ()
    found = [_number("bfcpver", word, MAX_VERSION) for word in value.split(" ") if word]
    if not found:
        raise _malformed("bfcpver")
    return tuple(dict.fromkeys(found))
