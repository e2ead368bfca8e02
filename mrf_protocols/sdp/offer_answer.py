"""Offer/answer for one BFCP stream (RFC 3264; RFC 8856 10, RFC 4583 for older peers; RFC 4145; RFC 4567
4.1.2).

The answerer's way:  evaluate_offer -> (keys, ports) -> answer_bfcp.
The offerer's way:   offer_bfcp -> accept_answer.
Later exchanges:     the same, then `successor` gives the new description its place after the previous one.

Decisions where texts disagree or are silent:

* The offerer is the TLS client whoever opened TCP (RFC 4583 8, RFC 8856 8), in spite of RFC 8856 10.2.
* c-s in an offer is "c-only s-only" and is answered by one role (RFC 8856 5.1); RFC 4583 answered c-s by c-s.
* The answer carries floorctrl always, and bfcpver only when the offer had it: an RFC 4583 peer gets no
  attribute that it cannot know.
* floorid lines carry the labels that the conference has configured, whether or not an m-line of this
  session has them: RFC 8856's grammar demands mstrm, and the streams of a conference may be negotiated in
  another session.
* The side that opens the connection writes port 9 (RFC 4145 4.1).
* Key-mgmt of the answer stands at the level where the offer had it.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from mrf_protocols.sdp.bfcp import (
    BfcpMedia,
    BfcpProto,
    FloorControlRole,
    FloorStreams,
    bfcp_media,
    bfcp_streams,
    find_bfcp,
)
from mrf_protocols.sdp.errors import RejectReason, SdpRejected
from mrf_protocols.sdp.key_management import MIKEY, KeyMgmt, KeyMgmtLevel
from mrf_protocols.sdp.transport import (
    CONNECTION_ANSWERS,
    DEFAULT_CONNECTION,
    DEFAULT_SETUP_ANSWER,
    DEFAULT_SETUP_OFFER,
    DISCARD_PORT,
    SETUP_ANSWERS,
    ConnectionUse,
    Setup,
    answer_connection,
    answer_setup,
)
from mrf_protocols.sdp.values import (
    Address,
    Attribute,
    Connection,
    MediaDescription,
    Origin,
    SessionDescription,
    ip_literal,
)

_BROADCAST = ip_literal("255.255.255.255")
_NONE_ACCEPTED: Mapping[int, MediaDescription] = MappingProxyType({})


class Party(enum.Enum):
    """The two sides of one offer/answer exchange."""

    OFFERER = "offerer"
    ANSWERER = "answerer"


@dataclasses.dataclass(frozen=True, slots=True)
class AnswerPolicy:
    """What the answerer is ready to do.

    role: the floor control role it takes. protos: transports it serves, the preferred one first. setup: ACTIVE
    or PASSIVE, its choice where the offer leaves one. versions: BFCP versions it speaks. key_mgmt: key management
    protocols it speaks, the offer must have one of them for a new secured connection; empty: none wanted.
    """

    role: FloorControlRole = FloorControlRole.S_ONLY
    protos: tuple[BfcpProto, ...] = (BfcpProto.TCP_TLS,)
    setup: Setup = Setup.ACTIVE
    versions: tuple[int, ...] = (1,)
    key_mgmt: tuple[str, ...] = (MIKEY,)


@dataclasses.dataclass(frozen=True, slots=True)
class ServerMedia:
    """The own side of a stream when it is the floor control server.

    address: where it listens, or for the active side its host (the port is then not written). key_mgmt: the
    messages to send, in an answer at most one.
    """

    address: Address
    conference_id: int
    user_id: int
    floors: tuple[FloorStreams, ...]
    key_mgmt: tuple[KeyMgmt, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ClientMedia:
    """The own side of a stream when it is the floor control client. Fields as in ServerMedia."""

    address: Address
    key_mgmt: tuple[KeyMgmt, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Agreement:
    """What an exchange settles for its BFCP stream.

    peer: the other side's m-section. setup, connection, versions: what the answer says. tcp_opener,
    tls_client: who does it now; None when nothing is to be opened (existing connection, holdconn), and no
    tls_client for plain TCP. key_mgmt: the peer's message to process, None where there is none.
    """

    peer: BfcpMedia
    setup: Setup
    connection: ConnectionUse
    versions: tuple[int, ...]
    floor_control_server: Party
    tcp_opener: Party | None
    tls_client: Party | None
    key_mgmt: KeyMgmt | None


@dataclasses.dataclass(frozen=True, slots=True)
class AcceptedAnswer(Agreement):
    """An Agreement seen by the offerer, with the identifiers that the floor control server gave."""

    conference_id: int
    user_id: int
    floors: tuple[FloorStreams, ...]


def evaluate_offer(offer: SessionDescription, policy: AnswerPolicy, connected: bool = False) -> Agreement:
    """Choose the BFCP stream of the offer that the policy can serve, and settle what the answer will say:
    the first one of the transport that the policy prefers.

    connected: whether this side still has the connection of the previous exchange. A re-offer with
    connection:existing then needs no key-mgmt, and no usable setup or address. Raises SdpRejected with the
    reason of the first stream that failed, of those with a transport that is served; DISABLED when all have
    port 0. A malformed attribute of a stream that could have been chosen rejects the whole offer (RFC 4567
    4.1.2 demands it for key-mgmt).
    """
    streams = list(bfcp_streams(offer))
    alive = [index for index in streams if offer.media[index].port]
    if not alive:
        raise SdpRejected(RejectReason.DISABLED if streams else RejectReason.NO_BFCP_STREAM)
    failures: list[SdpRejected] = []
    for proto in policy.protos:
        for index in alive:
            if BfcpProto(offer.media[index].proto) is not proto:
                continue
            peer = bfcp_media(offer, index)
            try:
                return _evaluate_stream(peer, policy, connected)
            except SdpRejected as failure:
                failures.append(failure)
    raise failures[0] if failures else SdpRejected(RejectReason.PROTO_UNSUPPORTED)


def _evaluate_stream(peer: BfcpMedia, policy: AnswerPolicy, connected: bool) -> Agreement:
    willing = peer.willing or {FloorControlRole.C_ONLY}
    if _OPPOSITE[policy.role] not in willing:
        raise SdpRejected(RejectReason.ROLE_IMPOSSIBLE)
    versions = tuple(version for version in peer.offered_versions if version in policy.versions)
    if not versions:
        raise SdpRejected(RejectReason.VERSION_UNSUPPORTED)
    connection = answer_connection(peer.connection or DEFAULT_CONNECTION, connected)
    setup = answer_setup(peer.setup or DEFAULT_SETUP_OFFER, policy.setup)
    anew = connection is ConnectionUse.NEW
    if anew:
        if setup is Setup.HOLDCONN:
            raise SdpRejected(RejectReason.SETUP_FORBIDDEN, "holdconn")
        _check_address(peer.address, connects=setup is Setup.ACTIVE)
    server = Party.ANSWERER if policy.role is FloorControlRole.S_ONLY else Party.OFFERER
    return Agreement(
        peer=peer,
        setup=setup,
        connection=connection,
        versions=versions,
        floor_control_server=server,
        tcp_opener=_tcp_opener(peer.proto, setup) if anew else None,
        tls_client=_tls_client(peer.proto) if anew else None,
        key_mgmt=_choose_key_mgmt(peer, policy.key_mgmt, required=anew),
    )


def answer_bfcp(
    offer: SessionDescription,
    agreement: Agreement,
    local: ServerMedia | ClientMedia,
    origin: Origin,
    accepted: Mapping[int, MediaDescription] = _NONE_ACCEPTED,
) -> SessionDescription:
    """The complete answer: the stream of the agreement served, the other m-lines answered as in `accepted` by
    position (with a=label where a floor controls them), and all that are not there refused with port 0.

    Raises ValueError when `local` is not of the role that the agreement gives to this side.
    """
    if isinstance(local, ServerMedia) != (agreement.floor_control_server is Party.ANSWERER):
        raise ValueError("floor control role differs from the agreement")
    peer = agreement.peer
    at_session = peer.key_mgmt_level is KeyMgmtLevel.SESSION
    keys = tuple(entry.attribute() for entry in local.key_mgmt)
    section = _section(
        local,
        peer.proto,
        agreement.setup,
        agreement.connection,
        versions=agreement.versions if peer.versions else (),
        keys=() if at_session else keys,
    )
    return answer(
        offer,
        origin,
        Connection.of(local.address.host),
        {**accepted, peer.index: section},
        keys if at_session else (),
    )


def answer(
    offer: SessionDescription,
    origin: Origin,
    connection: Connection,
    accepted: Mapping[int, MediaDescription],
    attributes: tuple[Attribute, ...] = (),
) -> SessionDescription:
    """An answer that accepts the m-lines given by position and refuses all others with port 0 (RFC 3264 6).

    connection, attributes: of the session level. The answer has the m-lines of the offer in their order
    and its t= lines. A stream that was offered with port 0 stays refused (RFC 3264 8.2).
    """
    return SessionDescription(
        origin=origin,
        connection=connection,
        timings=offer.timings,
        attributes=attributes,
        media=tuple(
            accepted[index] if index in accepted and media.port else refuse(media)
            for index, media in enumerate(offer.media)
        ),
    )


def refuse(media: MediaDescription) -> MediaDescription:
    """The m-section that refuses or removes a stream: port 0, same media, proto and formats, nothing else."""
    return MediaDescription(media.media, 0, media.proto, media.formats)


def offer_bfcp(
    origin: Origin,
    local: ServerMedia | ClientMedia,
    *,
    setup: Setup = Setup.ACTPASS,
    connection: ConnectionUse = ConnectionUse.NEW,
    proto: BfcpProto = BfcpProto.TCP_TLS,
    versions: tuple[int, ...] = (1,),
    others: Sequence[MediaDescription] = (),
) -> SessionDescription:
    """An offer with `others` first and then the BFCP stream, whose floorctrl follows from the kind of
    `local`.

    key-mgmt stands at media level, in the order of preference. For RFC 8856 10.1 a server gives those of
    `others` that a floor controls an a=label.
    """
    keys = tuple(entry.attribute() for entry in local.key_mgmt)
    section = _section(local, proto, setup, connection, versions=versions, keys=keys)
    return SessionDescription(
        origin=origin, connection=Connection.of(local.address.host), media=(*others, section)
    )


def accept_answer(
    offer: SessionDescription, received: SessionDescription, key_mgmt: tuple[str, ...] = (MIKEY,)
) -> AcceptedAnswer:
    """Check the answer to our offer. Raises SdpRejected.

    key_mgmt: protocols of which the answer must carry a message when a secured connection is new or the
    offer had one; empty: none wanted. DISABLED: the peer refused the stream with port 0. A setup of
    HOLDCONN is a valid answer: tcp_opener and tls_client are then None.
    """
    own = find_bfcp(offer)
    if own is None:
        raise SdpRejected(RejectReason.NO_BFCP_STREAM)
    peer = _answering_stream(offer, received, own)
    connection = peer.connection or DEFAULT_CONNECTION
    if connection not in CONNECTION_ANSWERS[own.connection or DEFAULT_CONNECTION]:
        raise SdpRejected(RejectReason.CONNECTION_FORBIDDEN)
    setup = peer.setup or DEFAULT_SETUP_ANSWER
    anew = connection is ConnectionUse.NEW
    if anew:
        if setup not in SETUP_ANSWERS[own.setup or DEFAULT_SETUP_OFFER]:
            raise SdpRejected(RejectReason.SETUP_FORBIDDEN)
        if setup is not Setup.HOLDCONN:
            _check_address(peer.address, connects=setup is Setup.PASSIVE)
    versions = tuple(version for version in peer.offered_versions if version in own.offered_versions)
    if not versions:
        raise SdpRejected(RejectReason.VERSION_UNSUPPORTED)
    server = _answered_server(own, peer)
    source = peer if server is Party.ANSWERER else own
    if source.conference_id is None or source.user_id is None:
        raise SdpRejected(RejectReason.IDENTIFIERS_MISSING)
    offered = {entry.protocol for entry in own.key_mgmt}
    wanted = tuple(protocol for protocol in key_mgmt if protocol in offered or not offered)
    opener = _tcp_opener(peer.proto, setup) if anew else None
    return AcceptedAnswer(
        peer=peer,
        setup=setup,
        connection=connection,
        versions=versions,
        floor_control_server=server,
        tcp_opener=opener,
        tls_client=_tls_client(peer.proto) if opener else None,
        key_mgmt=_choose_key_mgmt(peer, wanted, required=anew or bool(offered)),
        conference_id=source.conference_id,
        user_id=source.user_id,
        floors=source.floors,
    )


def successor(previous: SessionDescription, following: SessionDescription) -> SessionDescription:
    """`following` as the description after `previous` of the same side (RFC 3264 8), offers and answers
    alike.

    It gets the previous origin with the version incremented, or is `previous` itself when nothing else
    differs. Raises SdpRejected(MEDIA_MISMATCH) when it has fewer m-lines: a removed stream keeps its
    place with port 0.
    """
    if len(following.media) < len(previous.media):
        raise SdpRejected(RejectReason.MEDIA_MISMATCH, "m-lines were removed")
    if dataclasses.replace(following, origin=previous.origin) == previous:
        return previous
    origin = dataclasses.replace(previous.origin, version=previous.origin.version + 1)
    return dataclasses.replace(following, origin=origin)


_OPPOSITE = {
    FloorControlRole.C_ONLY: FloorControlRole.S_ONLY,
    FloorControlRole.S_ONLY: FloorControlRole.C_ONLY,
}


def _section(
    local: ServerMedia | ClientMedia,
    proto: BfcpProto,
    setup: Setup,
    connection: ConnectionUse,
    *,
    versions: tuple[int, ...],
    keys: tuple[Attribute, ...],
) -> MediaDescription:
    """The own m-section. A side that does not listen writes port 9."""
    listens = setup in (Setup.PASSIVE, Setup.ACTPASS) or not proto.reliable
    attributes = [Attribute("setup", setup.value), Attribute("connection", connection.value), *keys]
    if isinstance(local, ServerMedia):
        attributes += [
            Attribute("floorctrl", FloorControlRole.S_ONLY.value),
            Attribute("confid", str(local.conference_id)),
            Attribute("userid", str(local.user_id)),
            *(floor.attribute() for floor in local.floors),
        ]
    else:
        attributes.append(Attribute("floorctrl", FloorControlRole.C_ONLY.value))
    if versions:
        attributes.append(Attribute("bfcpver", " ".join(map(str, versions))))
    return MediaDescription(
        "application",
        local.address.port if listens else DISCARD_PORT,
        proto.value,
        ("*",),
        connections=(Connection.of(local.address.host),),
        attributes=tuple(attributes),
    )


def _answering_stream(offer: SessionDescription, received: SessionDescription, own: BfcpMedia) -> BfcpMedia:
    """The m-section of the answer that belongs to our stream (by position, RFC 3264 6), checked to be
    that."""
    if len(received.media) != len(offer.media):
        raise SdpRejected(RejectReason.MEDIA_MISMATCH, "number of m-lines")
    media = received.media[own.index]
    if media.media != offer.media[own.index].media:
        raise SdpRejected(RejectReason.MEDIA_MISMATCH, "media type")
    if not media.port:
        raise SdpRejected(RejectReason.DISABLED)
    if media.proto != own.proto.value:
        raise SdpRejected(RejectReason.PROTO_CHANGED)
    return bfcp_media(received, own.index)


def _answered_server(own: BfcpMedia, peer: BfcpMedia) -> Party:
    """Who is the floor control server, from the roles of the offer and of the answer.

    Older answerers leave floorctrl out, or answer c-s: whatever leaves one reading is taken. Without
    floorctrl on either side the answerer is the server (RFC 8856 5.1).
    """
    offered = own.willing or {FloorControlRole.C_ONLY}
    possible = {_OPPOSITE[role] for role in offered}
    if peer.willing:
        possible &= peer.willing
    elif FloorControlRole.S_ONLY in possible:
        possible = {FloorControlRole.S_ONLY}
    if len(possible) != 1:
        raise SdpRejected(RejectReason.ROLE_IMPOSSIBLE)
    return Party.ANSWERER if FloorControlRole.S_ONLY in possible else Party.OFFERER


def _check_address(address: Address, connects: bool) -> None:
    """An IP literal of one host, and one to connect to where this side opens the connection. Names are not
    taken: what a name resolves to may change between its check and its use."""
    literal = ip_literal(address.host)
    if literal is None or literal.is_multicast or literal == _BROADCAST:
        raise SdpRejected(RejectReason.ADDRESS_UNUSABLE)
    if connects and literal.is_unspecified:
        raise SdpRejected(RejectReason.ADDRESS_UNUSABLE)


def _tcp_opener(proto: BfcpProto, answered: Setup) -> Party | None:
    if not proto.reliable or answered is Setup.HOLDCONN:
        return None
    return Party.ANSWERER if answered is Setup.ACTIVE else Party.OFFERER


def _tls_client(proto: BfcpProto) -> Party | None:
    """The offerer, whoever opens TCP (RFC 4583 8, RFC 8856 8)."""
    return Party.OFFERER if proto is BfcpProto.TCP_TLS else None


def _choose_key_mgmt(peer: BfcpMedia, wanted: tuple[str, ...], required: bool) -> KeyMgmt | None:
    """The peer's first key-mgmt message of a protocol wanted. An unsecured stream has no use for
    session-level messages, which are for other streams then (RFC 4567 5.2)."""
    if not wanted or not peer.proto.secured:
        return None
    for entry in peer.key_mgmt:
        if entry.protocol in wanted:
            return entry
    if peer.key_mgmt:
        raise SdpRejected(RejectReason.KEY_MGMT_UNSUPPORTED)
    if required:
        raise SdpRejected(RejectReason.KEY_MGMT_MISSING)
    return None
