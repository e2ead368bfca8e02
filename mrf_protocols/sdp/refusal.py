"""Why key management was refused, told in the body of the refusal by a message of its protocol (RFC 4567 4.1.2)."""

from mrf_protocols.sdp.codec import parse
from mrf_protocols.sdp.errors import SdpError
from mrf_protocols.sdp.key_management import MIKEY, KeyMgmt, parse_key_mgmt
from mrf_protocols.sdp.values import Origin, SessionDescription


def refusal_with(message: bytes, host: str, session_id: int) -> SessionDescription:
    """The body of a 488: a session without media, whose key-mgmt is a MIKEY Error message.

    `host` and `session_id` are for its origin.
    """
    return SessionDescription(
        origin=Origin.of(host, session_id), attributes=(KeyMgmt(MIKEY, message).attribute(),)
    )


def message_in_refusal(body: str | bytes) -> bytes | None:
    """The first MIKEY message in the body of a refusal, at either level; None without one that can be read."""
    try:
        session = parse(body)
        found = [*session.values_of("key-mgmt")]
        found += [value for media in session.media for value in media.values_of("key-mgmt")]
        messages = [entry.data for entry in map(parse_key_mgmt, found) if entry.protocol == MIKEY]
    except SdpError:
        return None
    return messages[0] if messages else None
