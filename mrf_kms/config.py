"""Configuration of the KMS: one TOML file, see configs/kms.toml."""

from pathlib import Path
from typing import Annotated

import msgspec

from mrf_kms.client import DEFAULT_PATH
from mrf_ops import config
from mrf_ops.config import Count, PortOrAny, Seconds
from mrf_ops.logs import Form, Level


class Kms(msgspec.Struct, forbid_unknown_fields=True):
    """Who this KMS is and what it grants."""

    identity: str
    clock_skew: Seconds = 60.0
    ticket_lifetime: Seconds = 86400.0
    allow_reuse: bool = False
    allow_self_made: bool = True


class Http(msgspec.Struct, forbid_unknown_fields=True):
    """Where requests are answered; HTTPS when a certificate and its key are given."""

    port: PortOrAny
    host: str = "127.0.0.1"
    path: Annotated[str, msgspec.Meta(pattern="^/")] = DEFAULT_PATH
    certificate: Path | None = None
    private_key: Path | None = None
    body_limit: Count = 16384
    stop_grace: Seconds = 5.0

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together")


class Store(msgspec.Struct, forbid_unknown_fields=True):
    """Where users and ticket keys are kept."""

    file: Path


class Log(msgspec.Struct, forbid_unknown_fields=True):
    """Log lines, on standard error."""

    level: Level = "info"
    form: Form = "text"


class Trace(msgspec.Struct, forbid_unknown_fields=True):
    """Trace events for ladder diagrams."""

    file: Path | None = None
    requester: str = "UE-A"
    resolver: str = "MRFC"
    peers: dict[str, str] = msgspec.field(default_factory=dict)


class KmsConfig(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    kms: Kms
    http: Http
    store: Store
    log: Log = msgspec.field(default_factory=Log)
    trace: Trace = msgspec.field(default_factory=Trace)


def load(path: Path | str) -> KmsConfig:
    """Read the file. Raises mrf_ops.config.ConfigError with all its faults."""
    return config.load(path, KmsConfig)
