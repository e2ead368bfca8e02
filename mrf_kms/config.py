"""Configuration of the KMS: one TOML file, see configs/kms.toml."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from mrf_kms.client import DEFAULT_PATH
from mrf_kms.vault import Vault
from mrf_ops import config
from mrf_ops.config import Count, PortOrAny, Seconds, Secret
from mrf_ops.logs import Form, Level

Rate = Annotated[float, msgspec.Meta(gt=0)]


class Kms(msgspec.Struct, forbid_unknown_fields=True):
    """Who this KMS is and what it grants."""

    identity: str
    clock_skew: Seconds = 60.0
    ticket_lifetime: Seconds = 86400.0
    access: Literal["open", "permitted"] = "open"
    allow_reuse: bool = False
    allow_self_made: bool = True
    suites: list[Literal["128", "256"]] = msgspec.field(default_factory=lambda: ["128", "256"])

    def __post_init__(self) -> None:
        if not self.suites:
            raise ValueError("suites names at least one suite")


class Http(msgspec.Struct, forbid_unknown_fields=True):
    """Where requests are answered; HTTPS when a certificate and its key are given."""

    port: PortOrAny
    host: str = "127.0.0.1"
    path: Annotated[str, msgspec.Meta(pattern="^/")] = DEFAULT_PATH
    certificate: Path | None = None
    private_key: Path | None = None
    client_ca: Path | None = None
    require_client_certificate: bool = False
    body_limit: Count = 16384
    pending_limit: Count = 1000
    stop_grace: Seconds = 5.0

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client_ca needs certificate: client certificates are of HTTPS")
        if self.require_client_certificate and self.client_ca is None:
            raise ValueError("require_client_certificate needs client_ca")


class Store(msgspec.Struct, forbid_unknown_fields=True):
    """Where users and ticket keys are kept: an SQLite file, or a PostgreSQL database."""

    file: Path | None = None
    url: Annotated[str, msgspec.Meta(pattern="^postgres(ql)?://")] | None = None
    master_key_file: Secret | None = None

    def __post_init__(self) -> None:
        if (self.file is None) == (self.url is None):
            raise ValueError("either file or url is given")

    @property
    def where(self) -> Path | str:
        """Path or URL, whichever is given."""
        return self.file or self.url or ""

    def vault(self) -> Vault:
        """Give the vault with the master key. Raises ValueError, StoreError."""
        return Vault(None if self.master_key_file is None else self.master_key_file.reveal_hex())


class TicketKeys(msgspec.Struct, forbid_unknown_fields=True):
    """How long a ticket key makes tickets."""

    rotate_after: Seconds = 604800.0


class PublicKey(msgspec.Struct, forbid_unknown_fields=True):
    """Users with certificates: the KMS's own RSA certificate, and the authorities it trusts."""

    certificate: Path
    private_key: Path
    trusted: Path | None = None


class Gba(msgspec.Struct, forbid_unknown_fields=True):
    """Keys of GBA users from the operator's Zn proxy."""

    url: Annotated[str, msgspec.Meta(pattern="^https?://")]
    naf_id: str
    names: str = "*@*"
    timeout: Seconds = 2.0
    ca_file: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together")


class Limits(msgspec.Struct, forbid_unknown_fields=True):
    """How often one user may ask: requests per second in the long run, and at once."""

    user_rate: Rate = 1000.0
    user_burst: Rate = 2000.0


class Audit(msgspec.Struct, forbid_unknown_fields=True):
    """The audit log, in the store; `refusal_rate` is in records per second, `refusal_burst` so many at once."""

    keep: Seconds = 7776000.0
    refusal_rate: Rate = 0.1
    refusal_burst: Rate = 1000.0


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
    ticket_keys: TicketKeys = msgspec.field(default_factory=TicketKeys)
    public_key: PublicKey | None = None
    gba: Gba | None = None
    limits: Limits = msgspec.field(default_factory=Limits)
    audit: Audit = msgspec.field(default_factory=Audit)
    log: Log = msgspec.field(default_factory=Log)
    trace: Trace = msgspec.field(default_factory=Trace)


def load(path: Path | str) -> KmsConfig:
    """Read the file. Raises mrf_ops.config.ConfigError with all its faults."""
    return config.load(path, KmsConfig)
