"""Configuration of the MRFC: the tables of configs/mrfc.toml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from mrf_ops import config, lines
from mrf_ops.config import ConfigError, Count, PortOrAny, Seconds, Secret
from mrf_ops.logs import Form, Level
from mrfc.keys.config import Kms, Mikey, SharedKey
from mrfc.mixer.settings import Label, Mixer
from mrfc.mp.controller import MpTransports
from mrfc.roster.settings import IdentitySettings, RosterSettings
from mrfc.sip import uri
from mrfc.trunks.settings import Guard, Trunk, refuse_contradictions

FloorNumber = Annotated[int, msgspec.Meta(ge=1, le=65535)]
ConferenceNumber = Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]
UriUser = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9\-_.!~*'()&=+$,;?/%]+$")]


class Contacts(msgspec.Struct, forbid_unknown_fields=True):
    """Where we are reached by other ways than UDP on IPv4; empty: at the usual Contact."""

    udp6: str = ""
    tcp: str = ""
    tcp6: str = ""
    tls: str = ""
    tls6: str = ""


class Sip(msgspec.Struct, forbid_unknown_fields=True):
    """How the focus is reached."""

    domain: str
    contact: str
    ack_timeout: Seconds = 32.0
    reconnect_grace: Seconds = 15.0
    session_timers: bool = True
    session_expires: Count = 1800
    min_se: Count = 90
    contacts: Contacts = msgspec.field(default_factory=Contacts)
    reliable_provisionals: Literal["refuse", "required", "supported"] = "required"

    @property
    def host(self) -> str:
        """The host of `contact`: our address in session descriptions that no MRFP has part in."""
        return uri.host_of(f"sip:{self.contact}").strip("[]")

    def __post_init__(self) -> None:
        if self.session_expires < self.min_se:
            raise ValueError("session_expires is at least min_se")


class Mp(msgspec.Struct, forbid_unknown_fields=True):
    """Where MRFPs register and how long we wait for them."""

    port: PortOrAny
    host: str = "127.0.0.1"
    timeout: Seconds = 3.0
    heartbeat: Seconds = 10.0
    loss_grace: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    on_mrfp_loss: Literal["end", "move"] = "end"
    transports: list[Literal["tcp", "udp", "tls", "sctp"]] = msgspec.field(default_factory=lambda: ["tcp"])
    tls_port: PortOrAny = 0
    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None
    allow_cleartext: bool = False

    def __post_init__(self) -> None:
        if not self.transports:
            raise ValueError("transports needs at least one")
        if "tls" in self.transports and self.tls() is None:
            raise ValueError("tls needs certificate, key and authority")
        clear = [each for each in self.transports if each != "tls"]
        if clear and not (self.allow_cleartext or lines.is_loopback(self.host)):
            raise ValueError(
                f"Mp at {self.host} over {clear[0]} would carry keys in clear text: "
                'use transports = ["tls"], or set allow_cleartext = true'
            )

    def tls(self) -> lines.TlsFiles | None:
        """Our certificate, where TLS is used."""
        if self.certificate is None or self.key is None or self.authority is None:
            return None
        return lines.TlsFiles(self.certificate, self.key, self.authority)

    def how(self) -> MpTransports:
        """How MRFPs may come."""
        transports = tuple(map(lines.Transport, self.transports))
        return MpTransports(transports, self.tls_port, self.tls(), self.allow_cleartext)


class Bfcp(msgspec.Struct, forbid_unknown_fields=True):
    """BFCP streams of those who dial in."""

    unsecured: Literal["refuse", "allow"] = "refuse"


class Floor(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A floor, the media streams (labels, RFC 4574) that it controls, and its policy (TS 23.333 8.45)."""

    id: FloorNumber
    streams: list[Label]
    max_holders: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1
    algorithm: Literal["fcfs", "chair"] = "fcfs"
    chair: str = ""
    without_chair: Literal["queue", "grant", "deny"] = "queue"
    max_holding_time: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 0
    honour_priority: bool = True
    may_ask: list[str] = msgspec.field(default_factory=lambda: ["*"])
    confirm_media: bool = False


class Terms(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a conference is called, whose it is, how many may take part, and when it has to end (roster/ending.py)."""

    display_text: str = ""
    subject: str = ""
    owner: str = ""
    max_participants: Annotated[int, msgspec.Meta(ge=0)] = 0
    max_duration: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    ends_with_owner: bool = False
    required: list[str] = msgspec.field(default_factory=list)
    absence_grace: Annotated[float, msgspec.Meta(ge=0)] = 30.0


NO_TERMS = Terms()


class Conference(Terms, forbid_unknown_fields=True, kw_only=True):
    """A conference that exists as long as the MRFC runs."""

    user: UriUser
    id: ConferenceNumber
    floors: list[Floor]


class Factory(Terms, forbid_unknown_fields=True, kw_only=True):
    """A conference factory URI (TS 24.147 5.3.2.3): each call to it creates a conference."""

    user: UriUser
    floors: list[Floor]


class DialOut(msgspec.Struct, forbid_unknown_fields=True):
    """Calls of the MRFC to participants, and who may ask for them; nobody unless it is said here."""

    ticket: Literal["kms", "self-made"] = "kms"
    ticket_lifetime: Seconds = 3600.0
    suite: Literal["128", "256"] = "128"
    key_forking: bool = False
    session_key: Literal["TGK", "TEK", "GTGK"] = "TGK"
    reuse_tickets: bool = False
    ring_timeout: Seconds = 60.0
    next_hop: str = ""
    address_family: Literal["IP4", "IP6"] = "IP4"
    allow_refer: list[str] = msgspec.field(default_factory=list)
    allow_uri_list: list[str] = msgspec.field(default_factory=list)
    operator_token_file: Secret | None = None
    callees: list[str] = msgspec.field(default_factory=lambda: ["*"])
    uri_list_entries: Count = 20


class MediaHook(msgspec.Struct, forbid_unknown_fields=True):
    """Who is told when floors change hands, so that media can follow."""

    url: str = ""
    token_file: Secret | None = None
    timeout: Seconds = 2.0
    attempts: Count = 4
    first_pause: Seconds = 0.2
    longest_pause: Seconds = 2.0
    queue: Count = 256
    kamailio_event: bool = False

    def __post_init__(self) -> None:
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError(f'"{self.url}" is no http or https URL')


class Limits(msgspec.Struct, forbid_unknown_fields=True):
    """Bounds that keep one conference from starving the rest."""

    conferences: Count = 10_000
    participants: Count = 1_000
    calls: Count = 100_000
    conferences_per_owner: Count = 1_000


class Control(msgspec.Struct, forbid_unknown_fields=True):
    """Who may have participants removed by REFER; nobody unless it is said here."""

    owners_remove: bool = False
    chairs_remove: bool = False
    allow_remove: list[str] = msgspec.field(default_factory=list)


class Log(msgspec.Struct, forbid_unknown_fields=True):
    """Log lines; Kamailio writes them where it writes its own."""

    level: Level = "info"
    form: Form = "text"


class Trace(msgspec.Struct, forbid_unknown_fields=True):
    """Trace events for ladder diagrams."""

    file: Path | None = None


class Web(msgspec.Struct, forbid_unknown_fields=True):
    """The page for people on Kamailio's HTTP port."""

    page: bool = False
    recent_calls: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


class MrfcConfig(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    sip: Sip
    kms: Kms
    mp: Mp
    mikey: Mikey = msgspec.field(default_factory=Mikey)
    bfcp: Bfcp = msgspec.field(default_factory=Bfcp)
    conference: list[Conference] = msgspec.field(default_factory=list)
    factory: Factory | None = None
    dial_out: DialOut = msgspec.field(default_factory=DialOut)
    mixer: Mixer = msgspec.field(default_factory=Mixer)
    media_hook: MediaHook = msgspec.field(default_factory=MediaHook)
    identity: IdentitySettings = msgspec.field(default_factory=IdentitySettings)
    control: Control = msgspec.field(default_factory=Control)
    roster: RosterSettings = msgspec.field(default_factory=RosterSettings)
    limits: Limits = msgspec.field(default_factory=Limits)
    log: Log = msgspec.field(default_factory=Log)
    trace: Trace = msgspec.field(default_factory=Trace)
    web: Web = msgspec.field(default_factory=Web)
    guard: Guard = msgspec.field(default_factory=Guard)
    trunk: list[Trunk] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        refuse_contradictions(self.trunk, self.sip.domain)
        self._check_keys()
        users = [conference.user for conference in self.conference]
        if self.factory is not None:
            users.append(self.factory.user)
        config.refuse_doubles("conference.user", users)
        config.refuse_doubles("conference.id", [conference.id for conference in self.conference])
        for floors in [c.floors for c in self.conference] + ([self.factory.floors] if self.factory else []):
            if not floors:
                raise ValueError("a conference needs at least one floor")
            config.refuse_doubles("floors.id", [floor.id for floor in floors])
            if not self.media_hook.url and any(floor.confirm_media for floor in floors):
                raise ValueError("a floor with confirm_media needs media_hook.url")

    def _check_keys(self) -> None:
        """Tickets that are made or opened here need a key that the KMS shares with us."""
        if self.kms.psk_file is None and self.mikey.open_tickets:
            raise ValueError("mikey.open_tickets needs kms.psk_file")
        if self.kms.psk_file is None and self.dial_out.ticket == "self-made":
            raise ValueError('dial_out.ticket = "self-made" needs kms.psk_file')


def parse(data: Mapping[str, Any], path: Path) -> MrfcConfig:
    """What a file held, checked; `path` names it in faults. Raises ConfigError."""
    return config.parse(data, MrfcConfig, path)


def load(path: Path | str) -> MrfcConfig:
    """Read the file. Raises mrf_ops.config.ConfigError with every fault."""
    return config.load(path, MrfcConfig)


__all__ = [
    "Conference",
    "ConfigError",
    "Factory",
    "Floor",
    "Kms",
    "Mikey",
    "MrfcConfig",
    "SharedKey",
    "Sip",
    "load",
    "parse",
]
