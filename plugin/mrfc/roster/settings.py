"""The tables [identity] and [roster] of mrfc.toml."""

from __future__ import annotations

from typing import Annotated

import msgspec

from mrf_ops.config import Count
from mrfc.sip.identity import Network, networks

WholeSeconds = Annotated[int, msgspec.Meta(ge=1, le=2**31)]


class IdentitySettings(msgspec.Struct, forbid_unknown_fields=True):
    """Who is believed about who somebody is, what we say of ourselves, and who is told."""

    trusted_peers: list[str] = msgspec.field(default_factory=list)
    assert_own: bool = False
    charging: bool = False
    show_to_operators: bool = False

    def __post_init__(self) -> None:
        self.trusted_networks()

    def trusted_networks(self) -> tuple[Network, ...]:
        """Sources whose P-Asserted-Identity and P-Charging-Vector are believed. Raises ValueError."""
        return networks(self.trusted_peers)


class RosterSettings(msgspec.Struct, forbid_unknown_fields=True):
    """Who may watch a conference, for how long, and how often he is told."""

    participants_may_subscribe: bool = True
    allow_subscribe: list[str] = msgspec.field(default_factory=list)
    expires: WholeSeconds = 3600
    min_expires: WholeSeconds = 60
    interval: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    subscriptions: Count = 1_000
    document_size: Annotated[int, msgspec.Meta(ge=1_000, le=60_000)] = 30_000
    departed_kept: Annotated[float, msgspec.Meta(ge=0)] = 10.0

    def __post_init__(self) -> None:
        if self.min_expires > self.expires:
            raise ValueError("min_expires is longer than expires")
