"""Later offer/answer exchanges of a session (RFC 3264 8, RFC 4145 5, RFC 8856 10.4): what a new offer wants of the BFCP
stream that is in use, and how it is answered.

The answerer's way:  evaluate_reoffer -> answer_kept, or answer_bfcp and successor, or answer and successor.
The offerer's way:   reoffer -> accept_answer.

A new key asks for a new connection, whatever a=connection says, since TLS cannot change its pre-shared key within one;
and a new secured connection needs a new key, so that no key opens two connections. From that follow the decisions:

* A new key-mgmt message with connection:existing is answered by connection:new, which RFC 4145 5.1 allows.
* connection:new without a new key-mgmt message is refused (KEY_MGMT_MISSING), unless the m-section is what it was but
  for hold: then the offer is about something else, and connection, key and answer stay.
* Without TLS connection:new is taken literally, the same m-section or not.
* An absent a=connection and no new key-mgmt message leave the connection, although RFC 4145 has "new" as the default:
  those who leave it out do not know it.
"""

from __future__ import annotations

import dataclasses

from mrf_protocols.sdp.bfcp import BfcpProto, bfcp_media, bfcp_streams, is_bfcp
from mrf_protocols.sdp.errors import RejectReason, SdpRejected
from mrf_protocols.sdp.key_management import key_mgmt_of
from mrf_protocols.sdp.offer_answer import (
    Agreement,
    AnswerPolicy,
    ClientMedia,
    ServerMedia,
    answer,
    evaluate_offer,
    offer_bfcp,
    refuse,
    successor,
)
from mrf_protocols.sdp.transport import ConnectionUse, Setup
from mrf_protocols.sdp.values import (
    Attribute,
    Connection,
    MediaDescription,
    SessionDescription,
    ip_literal,
)

_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})


@dataclasses.dataclass(frozen=True, slots=True)
class Exchange:
    """The last exchange of a session: our description and the peer's, whoever made the offer."""

    own: SessionDescription
    peer: SessionDescription

    @property
    def stream(self) -> int | None:
        """Position of the BFCP stream in use; None when there is none now."""
        return next((index for index in bfcp_streams(self.own) if self.own.media[index].port), None)


def evaluate_reoffer(
    offer: SessionDescription, last: Exchange, policy: AnswerPolicy, *, connected: bool
) -> Agreement | None:
    """What a new offer settles for the BFCP stream: its connection stays (EXISTING) or there is a new one (NEW).
    None: the stream is given up, all BFCP m-lines have port 0.

    connected: whether we have the connection of the last exchange, or may still get it. Raises SdpRejected.
    """
    if len(offer.media) < len(last.own.media):
        raise SdpRejected(RejectReason.MEDIA_MISMATCH, "m-lines were removed")
    index = last.stream
    if index is not None and _goes_on(offer.media[index], last.own.media[index]):
        return _evaluate_served(offer, last, index, policy, connected)
    try:
        return evaluate_offer(offer, policy)
    except SdpRejected as rejected:
        if rejected.reason is RejectReason.DISABLED:
            return None
        raise


def answer_kept(
    offer: SessionDescription, agreement: Agreement, last: Exchange, others: dict[int, MediaDescription]
) -> SessionDescription:
    """The answer that keeps the connection, with `others` accepted by position. Key-mgmt of ours is repeated where the
    offer repeats its own."""
    index = agreement.peer.index
    section = last.own.media[index]
    repeats = bool(key_mgmt_of(offer, offer.media[index])[0])
    anew = offer.media[index].value_of("connection") == ConnectionUse.NEW.value
    changes = {
        "setup": agreement.setup.value,
        "connection": (ConnectionUse.NEW if anew else ConnectionUse.EXISTING).value,
    }
    if not repeats:
        section = _without_keys(section)
    section = dataclasses.replace(
        section,
        attributes=tuple(
            Attribute(each.name, changes.get(each.name, each.value)) for each in section.attributes
        ),
    )
    connection = last.own.connection or section.connections[0]
    keys = tuple(each for each in last.own.attributes if repeats and each.name == "key-mgmt")
    described = answer(offer, last.own.origin, connection, {**others, index: section}, keys)
    return successor(last.own, described)


def reoffer(
    own: SessionDescription,
    local: ServerMedia | ClientMedia,
    *,
    connection: ConnectionUse,
    setup: Setup = Setup.ACTPASS,
) -> SessionDescription:
    """A new offer after `own`, our last description: the BFCP stream as given, everything else as it was."""
    streams = list(bfcp_streams(own))
    if not streams:
        raise ValueError("the session never had a BFCP stream")
    index = next((each for each in streams if own.media[each].port), streams[0])
    proto = bfcp_media(own, index).proto
    made = offer_bfcp(own.origin, local, setup=setup, connection=connection, proto=proto)
    media = (*own.media[:index], *made.media, *own.media[index + 1 :])
    rest = tuple(each for each in own.attributes if each.name != "key-mgmt")
    described = dataclasses.replace(own, connection=made.connection, attributes=rest, media=media)
    return successor(own, described)


def without_stream(offer: SessionDescription, last: Exchange) -> SessionDescription:
    """The answer to an offer that gives up the BFCP stream: all m-lines refused."""
    connection = last.own.connection or Connection.of(last.own.origin.address)
    return successor(last.own, answer(offer, last.own.origin, connection, {}))


def _goes_on(offered: MediaDescription, own: MediaDescription) -> bool:
    return is_bfcp(offered) and offered.port != 0 and offered.proto == own.proto


def _evaluate_served(
    offer: SessionDescription, last: Exchange, index: int, policy: AnswerPolicy, connected: bool
) -> Agreement:
    keys = key_mgmt_of(offer, offer.media[index])[0]
    fresh = bool(set(keys) - set(key_mgmt_of(last.peer, last.peer.media[index])[0]))
    stays = offer.media[index].value_of("connection") != ConnectionUse.NEW.value
    if BfcpProto(offer.media[index].proto).secured:
        stays = stays or _is_the_same(offer, last.peer, index)
    if connected and not fresh and stays:
        return evaluate_offer(_alone(offer, index, ConnectionUse.EXISTING, keys=True), policy, True)
    return evaluate_offer(_alone(offer, index, ConnectionUse.NEW, keys=fresh), policy)


def _is_the_same(offer: SessionDescription, before: SessionDescription, index: int) -> bool:
    """Whether a stream is what it was before, on hold or not (RFC 3264 8.4: by direction, by a null address of old)."""
    (now, host), (then, host_then) = _without_hold(offer, index), _without_hold(before, index)
    literal = ip_literal(host)
    return now == then and (host == host_then or (literal is not None and literal.is_unspecified))


def _without_hold(session: SessionDescription, index: int) -> tuple[MediaDescription, str]:
    section = session.media[index]
    attributes = tuple(each for each in section.attributes if each.name not in _DIRECTIONS)
    bare = dataclasses.replace(section, connections=(), attributes=attributes)
    return bare, bfcp_media(session, index).address.host


def _alone(
    offer: SessionDescription, index: int, connection: ConnectionUse, *, keys: bool
) -> SessionDescription:
    """The offer with this one stream and what it means by a=connection; without `keys` without its key management."""
    section = offer.media[index]
    if not keys:
        section = _without_keys(section)
        offer = dataclasses.replace(
            offer, attributes=tuple(each for each in offer.attributes if each.name != "key-mgmt")
        )
    meant = (
        *(each for each in section.attributes if each.name != "connection"),
        Attribute("connection", connection.value),
    )
    section = dataclasses.replace(section, attributes=meant)
    media = tuple(section if at == index else refuse(each) for at, each in enumerate(offer.media))
    return dataclasses.replace(offer, media=media)


def _without_keys(section: MediaDescription) -> MediaDescription:
    return dataclasses.replace(
        section, attributes=tuple(each for each in section.attributes if each.name != "key-mgmt")
    )
