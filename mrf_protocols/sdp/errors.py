"""What can be wrong with a session description, an offer or an answer, and how SIP says so."""

import enum


class SdpError(Exception):
    """A session description that cannot be used. The text never quotes the description, which may carry keys.

    `status` is the SIP status code that answers it (RFC 3261 21.4), `warning` the warn-code (RFC 3261 20.43).
    `line` counts from 1 and is 0 where no single line is to blame.
    """

    status = 400
    warning = 399

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {text}" if line else text)
        self.text = text
        self.line = line


class RejectReason(enum.Enum):
    """Why an offer or an answer cannot be accepted; the value is fit for a Warning header's text."""

    NO_BFCP_STREAM = "no BFCP stream"
    DISABLED = "BFCP stream with port 0"
    PROTO_UNSUPPORTED = "transport protocol of the BFCP stream not supported"
    PROTO_CHANGED = "transport protocol differs from the offer"
    MEDIA_MISMATCH = "media lines do not match the offer"
    ADDRESS_UNUSABLE = "connection address cannot be used"
    ATTRIBUTE_MALFORMED = "malformed attribute of the BFCP stream"
    SETUP_FORBIDDEN = "setup attribute does not fit the offer or cannot be served"
    CONNECTION_FORBIDDEN = "connection attribute does not fit the offer"
    ROLE_IMPOSSIBLE = "no floor control role left for this side"
    VERSION_UNSUPPORTED = "no common BFCP version"
    IDENTIFIERS_MISSING = "floor control server without confid or userid"
    KEY_MGMT_MISSING = "key-mgmt attribute missing"
    KEY_MGMT_UNSUPPORTED = "key management protocol not supported"
    KEY_MGMT_MALFORMED = "malformed key-mgmt attribute"


_WARN_CODES = {
    RejectReason.NO_BFCP_STREAM: 304,
    RejectReason.DISABLED: 304,
    RejectReason.PROTO_UNSUPPORTED: 302,
    RejectReason.PROTO_CHANGED: 302,
    RejectReason.ADDRESS_UNUSABLE: 301,
    RejectReason.KEY_MGMT_UNSUPPORTED: 306,
    RejectReason.KEY_MGMT_MALFORMED: 306,
}


class SdpRejected(SdpError):
    """Well-formed SDP that this side does not accept: 488 Not Acceptable Here, with the reason as a Warning.

    Warn-codes: 301 incompatible network address, 302 incompatible transport protocol, 304 media type not
    available, 306 attribute not understood (RFC 4567 4.1.2 asks for it when key management fails), else 399.
    """

    status = 488

    def __init__(self, reason: RejectReason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.warning = _WARN_CODES.get(reason, 399)
