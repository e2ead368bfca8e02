"""The table mixer of the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from mrf_ops import config
from mrfc.sip import uri as sip_uri

Label = Annotated[str, msgspec.Meta(pattern=r"^[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+$")]
Wait = Annotated[float, msgspec.Meta(gt=0, le=10)]
"""Seconds; with KMS and MRFP before it, it has to stay below what Kamailio lets an INVITE wait."""

Interval = Annotated[int, msgspec.Meta(ge=0)]
"""Seconds within which a dialog with the mixer is refreshed, 0 for never."""

CONFERENCE = "{conference}"


class Mixer(msgspec.Struct, forbid_unknown_fields=True):
    """Who serves what participants offer beside BFCP; nobody without a URI."""

    uri: str = ""
    next_hop: str = ""
    timeout: Wait = 4.0
    session_expires: Interval = 180
    on_failure: Literal["decline", "refuse"] = "decline"
    without_floor_control: Literal["refuse", "join"] = "refuse"
    labels: dict[str, Label] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, text in (("uri", self.uri_of("meeting")), ("next_hop", self.next_hop)):
            try:
                sip_uri.request_uri(text or "sip:none.invalid")
            except sip_uri.UriError as error:
                raise ValueError(f"{name}: {error}") from error
        config.refuse_doubles("labels", list(self.labels.values()))

    def uri_of(self, conference_user: str) -> str:
        """The mixer's URI for a conference."""
        return self.uri.replace(CONFERENCE, conference_user)
