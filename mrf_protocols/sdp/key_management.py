"""a=key-mgmt (RFC 4567 3.1): the messages of a key management protocol inside SDP."""

import base64
import binascii
import dataclasses
import enum

from mrf_protocols.sdp import grammar
from mrf_protocols.sdp.errors import RejectReason, SdpRejected
from mrf_protocols.sdp.values import Attribute, MediaDescription, SessionDescription

MIKEY = "mikey"
"""prtcl-id of MIKEY (RFC 4567 9.4). Protocol identifiers are case sensitive."""
MAX_KEY_MGMT = 16
"""Attributes that may hold for one stream; those of the session hold for each of its m-lines and are read as often."""


@dataclasses.dataclass(frozen=True, slots=True)
class KeyMgmt:
    """One key-mgmt attribute: the protocol identifier and the protocol's message, decoded."""

    protocol: str
    data: bytes = dataclasses.field(repr=False)

    def attribute(self) -> Attribute:
        """The attribute that carries this message."""
        return Attribute("key-mgmt", f"{self.protocol} {base64.b64encode(self.data).decode('ascii')}")


class KeyMgmtLevel(enum.Enum):
    """Where the attributes that hold for a stream stand."""

    SESSION = "session"
    MEDIA = "media"


def parse_key_mgmt(value: str) -> KeyMgmt:
    """The value of one key-mgmt attribute. Raises SdpRejected(KEY_MGMT_MALFORMED).

    Base64 is taken strictly: no white space, padding complete, unused bits zero. One message has one form.
    """
    match = grammar.key_mgmt_value.fullmatch(value)
    if match is None:
        raise SdpRejected(RejectReason.KEY_MGMT_MALFORMED, "syntax")
    text = match["data"].encode("ascii")
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        data = b""
    if not data or base64.b64encode(data) != text:
        raise SdpRejected(RejectReason.KEY_MGMT_MALFORMED, "base64")
    return KeyMgmt(match["protocol"], data)


def key_mgmt_of(
    session: SessionDescription, media: MediaDescription
) -> tuple[tuple[KeyMgmt, ...], KeyMgmtLevel]:
    """The key-mgmt attributes that hold for a stream, in the order of the offerer's preference, and their
    level.

    Attributes of the media section override those of the session, which are then not even looked at
    (RFC 4567 3.1). The list may be empty. Raises SdpRejected(KEY_MGMT_MALFORMED) when one is malformed or
    one protocol appears twice, which would leave open what is authenticated, or when there are too many.
    """
    of_media = tuple(media.values_of("key-mgmt"))
    of_session = tuple(session.values_of("key-mgmt"))
    level = KeyMgmtLevel.SESSION if of_session and not of_media else KeyMgmtLevel.MEDIA
    if len(of_media or of_session) > MAX_KEY_MGMT:
        raise SdpRejected(RejectReason.KEY_MGMT_MALFORMED, "too many")
    found = tuple(parse_key_mgmt(value) for value in of_media or of_session)
    if len({entry.protocol for entry in found}) != len(found):
        raise SdpRejected(RejectReason.KEY_MGMT_MALFORMED, "one protocol more than once")
    return found, level


def protocol_list(entries: tuple[KeyMgmt, ...]) -> str:
    """The prtcl-list that each protocol authenticates against bidding down (RFC 4567 4.1.4):
    "mikey;other"."""
    return ";".join(entry.protocol for entry in entries)
