"""The session descriptions that the trunk test offers, and what an answer to them says (RFC 3264)."""

import dataclasses
import enum
from dataclasses import dataclass

from mrf_protocols import sdp
from mrf_protocols.sdp import Attribute, MediaDescription, SdpError, SessionDescription, Setup

AUDIO_PORT, VIDEO_PORT, BFCP_PORT = 40000, 40002, 40004
_PADDING_LINES = 24
_PADDING = "floor control test padding " * 4


class OfferKind(enum.Enum):
    """What is offered."""

    BFCP = "BFCP over TLS"
    BFCP_UDP = "BFCP over UDP"
    AUDIO = "audio"
    EVERYTHING = "audio, video, BFCP"
    LARGE = "audio, video, BFCP, many attributes"


_CODECS: dict[str, tuple[int, tuple[tuple[str, str], ...]]] = {
    "audio": (
        AUDIO_PORT,
        (("8", "PCMA/8000"), ("0", "PCMU/8000"), ("9", "G722/8000"), ("101", "telephone-event/8000")),
    ),
    "video": (VIDEO_PORT, (("96", "H264/90000"), ("97", "VP8/90000"))),
}


def _rtp(media: str, label: str) -> MediaDescription:
    port, codecs = _CODECS[media]
    maps = tuple(Attribute("rtpmap", f"{number} {name}") for number, name in codecs)
    attributes = (*maps, Attribute("sendrecv"), Attribute("label", label))
    return MediaDescription(
        media, port, "RTP/AVP", tuple(number for number, _ in codecs), attributes=attributes
    )


def make_offer(
    kind: OfferKind, host: str, session_id: int, keys: tuple[sdp.KeyMgmt, ...] = ()
) -> SessionDescription:
    """An offer of that kind at the address `host`. The far end opens nothing towards us: BFCP is setup:active."""
    origin = sdp.Origin.of(host, session_id)
    connection = sdp.Connection.of(host)
    if kind is OfferKind.AUDIO:
        return SessionDescription(origin, connection=connection, media=(_rtp("audio", "10"),))
    if kind is OfferKind.BFCP_UDP:
        roles = (Attribute("floorctrl", "c-only"), Attribute("bfcpver", "2"))
        media = MediaDescription("application", BFCP_PORT, "UDP/BFCP", ("*",), attributes=roles)
        return SessionDescription(origin, connection=connection, media=(media,))
    others = () if kind is OfferKind.BFCP else (_rtp("audio", "10"), _rtp("video", "11"))
    local = sdp.ClientMedia(sdp.Address(host, 0), keys)
    offer = sdp.offer_bfcp(origin, local, setup=Setup.ACTIVE, others=others)
    if kind is OfferKind.LARGE:
        padding = tuple(Attribute(f"x-padding-{number}", _PADDING) for number in range(_PADDING_LINES))
        return dataclasses.replace(offer, attributes=(*offer.attributes, *padding))
    return offer


def on_hold(offer: SessionDescription) -> SessionDescription:
    """The same with every stream sendonly, as one more version (RFC 3264 8.4)."""
    media = tuple(_with_direction(each, "sendonly") for each in offer.media)
    return sdp.successor(offer, dataclasses.replace(offer, media=media))


def _with_direction(media: MediaDescription, direction: str) -> MediaDescription:
    kept = tuple(each for each in media.attributes if each.name not in ("sendrecv", "sendonly", "inactive"))
    return dataclasses.replace(media, attributes=(*kept, Attribute(direction)))


def refusing(offer: bytes, host: str, session_id: int) -> bytes:
    """The answer that takes none of the streams of an offer. Raises SdpError."""
    received = sdp.parse(offer)
    return sdp.encode(sdp.answer(received, sdp.Origin.of(host, session_id), sdp.Connection.of(host), {}))


@dataclass(frozen=True, slots=True)
class Described:
    """What an answer says. `lines`: its m-lines in words; `complaints`: what offer and answer do not allow.

    `served`: media types with a port. `bfcp`: whether the BFCP stream is among them; `held`: whether every stream
    that is served only receives, or nothing at all.
    """

    lines: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    served: frozenset[str] = frozenset()
    bfcp: bool = False
    held: bool = False


def describe(offer: SessionDescription, body: bytes) -> Described:
    """Look at the answer to an offer."""
    try:
        answer = sdp.parse(body)
    except SdpError as error:
        return Described(complaints=(f"the answer is no session description: {error}",))
    served = tuple(each for each in answer.media if each.port)
    return Described(
        lines=tuple(_in_words(each) for each in answer.media),
        complaints=tuple(_complaints(offer, answer)),
        served=frozenset(each.media for each in served),
        bfcp=any(sdp.is_bfcp(each) for each in served),
        held=all(_held(each) for each in served),
    )


def _held(media: MediaDescription) -> bool:
    return not media.proto.startswith("RTP") or any(
        media.value_of(name) is not None for name in ("recvonly", "inactive")
    )


def _complaints(offer: SessionDescription, answer: SessionDescription) -> list[str]:
    if len(answer.media) != len(offer.media):
        return [f"{len(answer.media)} m-lines answer {len(offer.media)}"]
    pairs = list(zip(offer.media, answer.media, strict=True))
    found = [
        f"m={theirs.media} {theirs.proto} stands where m={ours.media} {ours.proto} was offered"
        for ours, theirs in pairs
        if (ours.media, ours.proto) != (theirs.media, theirs.proto)
    ]
    found += [
        f"m={theirs.media} is answered with formats that were not offered: {', '.join(strange)}"
        for ours, theirs in pairs
        if theirs.port and (strange := _unmapped(ours, theirs))
    ]
    return found


def _unmapped(ours: MediaDescription, theirs: MediaDescription) -> list[str]:
    """Formats of the answer that the offer has neither by number nor by name (RFC 3264 6.1 lets numbers differ)."""
    names = {value.split()[-1].lower() for value in ours.values_of("rtpmap")}
    named = {words[0]: words[-1].lower() for value in theirs.values_of("rtpmap") if (words := value.split())}
    return [each for each in theirs.formats if each not in ours.formats and named.get(each) not in names]


def _in_words(media: MediaDescription) -> str:
    """`audio RTP/AVP: PCMA/8000, telephone-event/8000`, or `video RTP/AVP: declined`."""
    head = f"{media.media} {media.proto}"
    if not media.port:
        return f"{head}: declined"
    told = [value.partition(" ")[2] for value in media.values_of("rtpmap")] or list(media.formats)
    if sdp.is_bfcp(media):
        names = ("setup", "connection", "floorctrl", "confid", "userid", "floorid", "bfcpver")
        told = [
            f"port {media.port}",
            *(f"{name}:{value}" for name in names for value in media.values_of(name)),
        ]
        told += ["key-mgmt"] * (media.value_of("key-mgmt") is not None)
    direction = [name for name in ("sendonly", "recvonly", "inactive") if media.value_of(name) is not None]
    return f"{head}: {', '.join([*told, *direction])}"
