"""What this focus says of itself: methods, option tags and body types (RFC 3261 20.1, 20.5, 20.37)."""

from __future__ import annotations

from collections.abc import Collection

from mrfc.config import MrfcConfig, Sip
from mrfc.sip.port import Fields
from mrfc.sip.refusal import CONFERENCE, Cause, Refusal

METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REFER", "UPDATE", "PRACK", "SUBSCRIBE")
ALLOW = ", ".join(METHODS)
ALLOW_EVENTS = CONFERENCE

NO_REFER_SUB = "norefersub"  # RFC 4488
RECIPIENT_LIST = "recipient-list-invite"  # RFC 5366
RELIABLE = "100rel"  # RFC 3262
TIMER = "timer"  # RFC 4028

SDP = "application/sdp"
RESOURCE_LISTS = "application/resource-lists+xml"
MIXED = "multipart/mixed"
ALTERNATIVE = "multipart/alternative"


def invite_options(config: MrfcConfig) -> frozenset[str]:
    """Option tags that an INVITE may require."""
    options = dialog_options(config)
    if config.sip.reliable_provisionals != "refuse":
        options |= {RELIABLE}
    return options | frozenset((RECIPIENT_LIST,) if config.dial_out.allow_uri_list else ())


def dialog_options(config: MrfcConfig) -> frozenset[str]:
    """Option tags that an INVITE or UPDATE within a dialog may require; lists are for new ones (RFC 5366 5.1)."""
    return frozenset((TIMER,) if config.sip.session_timers else ())


def contact(config: Sip, conference_user: str) -> str:
    """The value of Contact for a conference: its URI at this focus (RFC 4579 5.1, RFC 3840 for isfocus)."""
    return f"<sip:{conference_user}@{config.contact}>;isfocus"


def is_sdp(content_type: str) -> bool:
    """Whether a Content-Type, with or without parameters, is that of a session description."""
    return content_type.partition(";")[0].strip().lower() == SDP


def unknown_options(require: str, known: Collection[str]) -> str:
    """The option tags in Require that are not known, as Unsupported lists them; "" when all are (RFC 3261 8.2.2.3)."""
    tags = [tag.strip().lower() for tag in require.split(",")]
    return ", ".join(tag for tag in tags if tag and tag not in known)


def refuse_unknown(require: str, known: Collection[str]) -> None:
    """Look at the option tags in Require. Raises Refusal when one is not known."""
    if unknown := unknown_options(require, known):
        raise Refusal(Cause.BAD_EXTENSION, unknown)


def supported(config: MrfcConfig) -> str:
    """The value of Supported."""
    return ", ".join((NO_REFER_SUB, *sorted(invite_options(config))))


def accepted(config: MrfcConfig) -> str:
    """The value of Accept."""
    return ", ".join(
        (SDP, *((RESOURCE_LISTS,) if config.dial_out.allow_uri_list else ()), MIXED, ALTERNATIVE)
    )


def of_focus(config: MrfcConfig) -> Fields:
    """What a response to OPTIONS tells (RFC 3261 11.2)."""
    return (
        ("Accept", accepted(config)),
        ("Supported", supported(config)),
        ("Allow", ALLOW),
        ("Allow-Events", ALLOW_EVENTS),
    )
