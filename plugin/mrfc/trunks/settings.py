"""The tables guard and trunk of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Annotated, Literal

import msgspec

from mrf_ops import config
from mrf_ops.config import Count, Port, Secret
from mrfc.trunks import users

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,40}$")]
Transport = Literal["udp", "tcp", "tls"]
MessageSize = Annotated[int, msgspec.Meta(ge=1_000, le=65_535)]

OTHERS = "-"
"""What stands for a trunk in figures about those who belong to none."""


class Guard(msgspec.Struct, forbid_unknown_fields=True):
    """What every request has to get past before anybody looks into it."""

    strangers: Literal["serve", "refuse", "drop"] = "refuse"
    rate: Count = 1_000
    flood: Count = 4_000
    max_message: MessageSize = 65_535
    max_body: MessageSize = 65_535
    nonce_lifetime: Annotated[int, msgspec.Meta(ge=10, le=3600)] = 300
    verify_servers: bool = True

    def __post_init__(self) -> None:
        if self.flood < self.rate:
            raise ValueError("flood is not below rate")


class Trunk(msgspec.Struct, forbid_unknown_fields=True):
    """One neighbour: how its requests are told from those of others, and how ours reach it."""

    name: Name
    networks: list[str] = msgspec.field(default_factory=list)
    transports: list[Transport] = msgspec.field(default_factory=lambda: ["udp", "tcp", "tls"])
    ports: list[Port] = msgspec.field(default_factory=list)
    subjects: list[str] = msgspec.field(default_factory=list)
    users_file: Secret | None = None
    realm: str = ""
    rate: Count | None = None
    flood: Count | None = None
    callees: list[str] = msgspec.field(default_factory=list)
    next_hop: str = ""
    username: str = ""
    password_file: Secret | None = None

    def __post_init__(self) -> None:
        for network in self.networks:
            ip_network(network)  # its ValueError says what is wrong
        if not (self.networks or self.subjects or self.users_file):
            raise ValueError(f"{self.name}: networks, subjects or users_file has to say who belongs to it")
        if not self.transports:
            raise ValueError(f"{self.name}: transports needs at least one")
        if self.subjects and self.transports != ["tls"]:
            raise ValueError(f'{self.name}: subjects are seen with transports = ["tls"] only')
        if bool(self.username) != (self.password_file is not None):
            raise ValueError(f"{self.name}: username and password_file go together")
        if self.username and not self.next_hop:
            raise ValueError(f"{self.name}: username is for a next_hop")
        if self.users_file is not None:
            users.parse(self.users_file.reveal().decode())


def refuse_contradictions(trunks: Sequence[Trunk], domain: str) -> None:
    """What can be wrong with trunks beside each other. Raises ValueError."""
    config.refuse_doubles("trunk.name", [trunk.name for trunk in trunks])
    for trunk in trunks:
        realm = trunk.realm or domain
        if trunk.users_file is not None and not any(
            realm == known for _, known, _ in users.parse(trunk.users_file.reveal().decode())
        ):
            raise ValueError(f'{trunk.name}: users_file has nobody in the realm "{realm}"')
