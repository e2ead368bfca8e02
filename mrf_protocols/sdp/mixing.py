"""One session of a participant that two serve: its BFCP stream here, all other streams by a mixer.

The mixer gets an offer with the same m-lines, those for BFCP with port 0, so that positions are the same on both sides
and stay so when m-lines are used again (RFC 3264 8.2). What stands at the session level and means streams (c=,
direction, ICE and DTLS attributes) is written into the streams when descriptions are joined, since it is not true of
the BFCP stream; a=ice-lite and what else belongs to the session as a whole stays there. BUNDLE and other groups keep
the streams that are served (RFC 5888, RFC 9143 7). Key management of the session level is that of BFCP and stays here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping

from mrf_protocols.sdp.bfcp import is_bfcp
from mrf_protocols.sdp.errors import RejectReason, SdpError, SdpRejected
from mrf_protocols.sdp.offer_answer import answer, refuse, successor
from mrf_protocols.sdp.transport import ConnectionUse, Setup
from mrf_protocols.sdp.values import (
    Attribute,
    Connection,
    MediaDescription,
    Origin,
    SessionDescription,
)

_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})
_OF_STREAMS = frozenset({"setup", "fingerprint", "tls-id", "ice-ufrag", "ice-pwd", "extmap", "maxptime"})
"""Session-level attributes that are the defaults of streams; directions beside them."""
_MAX_OF_STREAMS = 8192
"""Characters of such defaults; each stream gets a copy of them."""
_OF_BFCP = frozenset({"key-mgmt", "connection"})
_OF_SESSION = frozenset(
    {
        "group",
        "ice-lite",
        "ice-options",
        "ice-pacing",
        "msid-semantic",
        "extmap-allow-mixed",
        "ts-refclk",
        "mediaclk",
    }
)
"""What stays at the session level of a joined description; what else stands there is said of the mixer alone."""


@dataclasses.dataclass(frozen=True, slots=True)
class MixedStream:
    """A stream that the mixer serves: position of its m-line, its label ("" without one), and what it is."""

    index: int
    label: str
    media: str


@dataclasses.dataclass(frozen=True, slots=True)
class Mixed:
    """What a mixer serves of a session: its m-sections by position, and attributes of the session level."""

    media: Mapping[int, MediaDescription] = dataclasses.field(default_factory=dict)
    attributes: tuple[Attribute, ...] = ()

    @property
    def streams(self) -> tuple[MixedStream, ...]:
        """The streams that are served."""
        return tuple(
            MixedStream(index, each.label or "", each.media) for index, each in sorted(self.media.items())
        )


def has_mixable(offer: SessionDescription) -> bool:
    """Whether an offer has a live m-line that is not for BFCP."""
    return any(media.port and not is_bfcp(media) for media in offer.media)


def offer_to_mixer(offer: SessionDescription, origin: Origin) -> SessionDescription:
    """The offer of a participant as the mixer gets it, from us (`origin`)."""
    return _without_bfcp(offer, origin)


def from_mixer(offered: SessionDescription, answered: SessionDescription) -> Mixed:
    """What the mixer's answer says of our offer to it. Raises SdpRejected(MEDIA_MISMATCH), or SdpError."""
    if len(answered.media) != len(offered.media):
        raise SdpRejected(RejectReason.MEDIA_MISMATCH, "number of m-lines")
    media: dict[int, MediaDescription] = {}
    for index, (asked, given) in enumerate(zip(offered.media, answered.media, strict=True)):
        if (given.media, given.proto) != (asked.media, asked.proto):
            raise SdpRejected(RejectReason.MEDIA_MISMATCH, "media or proto of an m-line")
        if given.port and not is_bfcp(given) and _is_alive(offered, index):
            media[index] = _self_contained(given, answered)
    return Mixed(media, _of_session(answered, _mids(media.values())))


def join(answered: SessionDescription, mixed: Mixed) -> SessionDescription:
    """Our answer, in which all but BFCP is refused, with the streams that the mixer serves."""
    media = tuple(mixed.media.get(index, each) for index, each in enumerate(answered.media))
    attributes = (*answered.attributes, *mixed.attributes)
    return dataclasses.replace(answered, media=media, attributes=attributes)


def join_again(
    previous: SessionDescription, answered: SessionDescription, mixed: Mixed
) -> SessionDescription:
    """The same for an answer after `previous`, our last description (RFC 3264 8)."""
    return successor(previous, join(dataclasses.replace(answered, origin=previous.origin), mixed))


def with_labels(mixed: Mixed, offer: SessionDescription, labels: Mapping[str, str]) -> Mixed:
    """The streams with labels by what they hold: a=content of the offer (RFC 4796) first, else the kind of media.

    A stream that `labels` does not know keeps the label that the mixer gave it. Each label is used once.
    """
    media: dict[int, MediaDescription] = {}
    left = dict(labels)
    for index, section in mixed.media.items():
        content = (offer.media[index].value_of("content") or "").lower()
        key = content if content in left else section.media
        label = left.pop(key, None)
        media[index] = section if label is None else _labelled(section, label)
    return Mixed(media, mixed.attributes)


def offer_from_mixer(own: SessionDescription, offer: SessionDescription) -> SessionDescription:
    """The mixer's new offer as the participant gets it, after `own`, our last description to him.

    BFCP streams stay, with their connection. Raises SdpRejected when the mixer's m-lines do not fit, or SdpError.
    """
    if len(offer.media) < len(own.media):
        raise SdpRejected(RejectReason.MEDIA_MISMATCH, "m-lines were removed")
    media = []
    for index, section in enumerate(offer.media):
        ours = own.media[index] if index < len(own.media) else None
        if ours is not None and is_bfcp(ours) and ours.port:
            if section.port:
                raise SdpRejected(RejectReason.MEDIA_MISMATCH, "the m-line of BFCP is used by the mixer")
            media.append(_kept(ours))
        else:
            label = ours.label if ours is not None else None
            live = _self_contained(section, offer) if section.port else section
            media.append(_labelled(live, label) if section.port and label else live)
    attributes = _of_session(offer, _mids(media))
    made = dataclasses.replace(own, media=tuple(media), attributes=attributes)
    return successor(own, made)


def answer_to_mixer(
    offer: SessionDescription, answered: SessionDescription, origin: Origin
) -> SessionDescription:
    """The participant's answer to `offer_from_mixer` as the mixer gets it. Raises SdpRejected(MEDIA_MISMATCH), or
    SdpError."""
    if len(answered.media) != len(offer.media):
        raise SdpRejected(RejectReason.MEDIA_MISMATCH, "number of m-lines")
    accepted = {
        index: _self_contained(section, answered)
        for index, section in enumerate(answered.media)
        if section.port and not is_bfcp(section)
    }
    connection = answered.connection or Connection.of(origin.address)
    return answer(offer, origin, connection, accepted, _of_session(answered, _mids(accepted.values())))


def without_mixed(own: SessionDescription) -> SessionDescription:
    """Our description with all streams but BFCP removed, as an offer after `own`: the mixer has gone."""
    media = tuple(_kept(each) if is_bfcp(each) and each.port else refuse(each) for each in own.media)
    return successor(own, dataclasses.replace(own, media=media, attributes=()))


def _without_bfcp(description: SessionDescription, origin: Origin) -> SessionDescription:
    media = tuple(refuse(each) if is_bfcp(each) else each for each in description.media)
    others = (each for each in description.attributes if each.name not in _OF_BFCP)
    return SessionDescription(
        origin=origin,
        connection=description.connection,
        bandwidths=description.bandwidths,
        timings=description.timings,
        attributes=_grouped(others, _mids(media, dead_too=True)),
        media=media,
    )


def _is_alive(offer: SessionDescription, index: int) -> bool:
    """A stream that can be accepted: with a port, or one that shares the port of its bundle (RFC 9143 6)."""
    media = offer.media[index]
    return media.port != 0 or media.value_of("bundle-only") is not None


def _self_contained(section: MediaDescription, session: SessionDescription) -> MediaDescription:
    """A section that means the same in another session. Raises SdpError when that would take too much."""
    connections = section.connections or ((session.connection,) if session.connection else ())
    own = {each.name for each in section.attributes}
    given_direction = own & _DIRECTIONS
    more = tuple(
        each
        for each in session.attributes
        if (each.name in _OF_STREAMS and each.name not in own)
        or (each.name in _DIRECTIONS and not given_direction)
    )
    if sum(len(each.name) + len(each.value or "") for each in more) > _MAX_OF_STREAMS:
        raise SdpError("too much at the session level to be said for each stream")
    return dataclasses.replace(
        section, connections=connections, attributes=(*section.attributes, *more), order=""
    )


def _of_session(session: SessionDescription, mids: Collection[str]) -> tuple[Attribute, ...]:
    return _grouped((each for each in session.attributes if each.name in _OF_SESSION), mids)


def _grouped(attributes: Iterable[Attribute], mids: Collection[str]) -> tuple[Attribute, ...]:
    """The attributes, with groups of those streams only that are in `mids`; a group of none is left out."""
    kept: list[Attribute] = []
    for each in attributes:
        if each.name != "group":
            kept.append(each)
            continue
        kind, *members = (each.value or "").split()
        if left := [mid for mid in members if mid in mids]:
            kept.append(Attribute("group", " ".join((kind, *left))))
    return tuple(kept)


def _mids(media: Iterable[MediaDescription], *, dead_too: bool = False) -> set[str]:
    return {mid for each in media if each.port or dead_too for mid in each.values_of("mid")}


def _labelled(section: MediaDescription, label: str) -> MediaDescription:
    others = tuple(each for each in section.attributes if each.name != "label")
    return dataclasses.replace(section, attributes=(*others, Attribute("label", label)), order="")


def _kept(section: MediaDescription) -> MediaDescription:
    """Our section of a BFCP stream in an offer that leaves its connection alone (RFC 4145 5)."""
    changes = {"setup": Setup.ACTPASS.value, "connection": ConnectionUse.EXISTING.value}
    attributes = tuple(
        Attribute(each.name, changes.get(each.name, each.value))
        for each in section.attributes
        if each.name != "key-mgmt"
    )
    return dataclasses.replace(section, attributes=attributes)
