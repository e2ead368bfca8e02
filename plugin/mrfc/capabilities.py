"""What this focus says of itself: methods, option tags and body types (RFC 3261 20.1, 20.5, 20.37)."""

from __future__ import annotations

from mrfc.config import DialOut

METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REFER")
ALLOW = ", ".join(METHODS)

NO_REFER_SUB = "norefersub"  # RFC 4488
RECIPIENT_LIST = "recipient-list-invite"  # RFC 5366

SDP = "application/sdp"
RESOURCE_LISTS = "application/resource-lists+xml"
MIXED = "multipart/mixed"


def invite_options(config: DialOut) -> frozenset[str]:
    """Option tags that an INVITE may require: a URI list where somebody is allowed to send one."""
    return frozenset((RECIPIENT_LIST,) if config.allow_uri_list else ())


def supported(config: DialOut) -> str:
    """The value of Supported."""
    return ", ".join((NO_REFER_SUB, *sorted(invite_options(config))))


def accepted(config: DialOut) -> str:
    """The value of Accept."""
    return ", ".join((SDP, RESOURCE_LISTS, MIXED) if config.allow_uri_list else (SDP,))
