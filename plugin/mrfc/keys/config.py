"""Configuration of keys: the tables [kms] and [mikey] of configs/mrfc.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from mrf_ops import config
from mrf_ops.config import Seconds, Secret
from mrf_protocols.mikey import (
    PSK_IDENTITY_TEMPLATE,
    Account,
    CertifiedAccount,
    EnvelopeKey,
    MikeyError,
    PskAccount,
    PskIdentityForm,
    Signer,
    TicketKey,
)


class Kms(msgspec.Struct, forbid_unknown_fields=True):
    """The key management server, at one URL or several in order of preference, and our account there.

    The account is a pre-shared key (`psk_identity`, `psk_file`), or an RSA certificate (`user_certificate`,
    `user_key`, with `kms_certificate` to encrypt envelope keys to). `certificate` and `private_key` are of HTTPS.
    """

    url: str | list[str]
    identity: str
    psk_identity: str = ""
    psk_file: Secret | None = None
    user_certificate: Path | None = None
    user_key: Secret | None = None
    kms_certificate: Path | None = None
    timeout: Seconds = 3.0
    ca_file: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None

    def __post_init__(self) -> None:
        if not self.url:
            raise ValueError("url names at least one KMS")
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together")
        try:
            self.account()
        except MikeyError as error:
            raise ValueError(f"user_certificate, user_key, kms_certificate: {error.text}") from None
        except OSError as error:
            raise ValueError(f"{error.filename} cannot be read: {error.strerror}") from None

    def account(self) -> Account:
        """Give what the KMS knows us by. Raises ValueError, OSError; MikeyError for certificates that will not do."""
        with_psk = bool(self.psk_identity) and self.psk_file is not None
        if not self._certified():
            if not with_psk or self.psk_file is None:
                raise ValueError(
                    "an account is psk_identity and psk_file, or user_certificate, user_key and kms_certificate"
                )
            return PskAccount(self.psk_file.reveal_hex(), self.psk_identity)
        if self.user_certificate is None or self.user_key is None or self.kms_certificate is None:
            raise ValueError("user_certificate, user_key and kms_certificate go together")
        signer = Signer.from_pem(self.user_key.reveal(), self.user_certificate.read_bytes())
        return CertifiedAccount(signer, EnvelopeKey.from_pem(self.kms_certificate.read_bytes()))

    def ticket_key(self) -> TicketKey | None:
        """Give the key that the KMS shares with us, as one that tickets are made with; None without one."""
        if not self.psk_identity or self.psk_file is None:
            return None
        return TicketKey(self.psk_identity, self.psk_file.reveal_hex())

    def _certified(self) -> bool:
        return any((self.user_certificate, self.user_key, self.kms_certificate))


class SharedKey(msgspec.Struct, forbid_unknown_fields=True):
    """A key shared with UEs, for tickets that go without any KMS (RFC 6043 4.1.1, mode 4)."""

    name: str
    file: Secret
    peers: list[str]


class Mikey(msgspec.Struct, forbid_unknown_fields=True):
    """What we accept in a TRANSFER_INIT."""

    clock_skew: Seconds = 60.0
    protocol_types: list[Annotated[int, msgspec.Meta(ge=0, le=255)]] = msgspec.field(
        default_factory=lambda: [241]
    )
    require_sdp_ids: bool = False
    suites: list[Literal["128", "256"]] = msgspec.field(default_factory=lambda: ["128", "256"])
    psk_identity: str = PSK_IDENTITY_TEMPLATE
    replay_file: Path | None = None
    rekey_margin: Seconds = 60.0
    reuse_tickets: bool = False
    open_tickets: bool = False
    shared_key: list[SharedKey] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.suites or not self.protocol_types:
            raise ValueError("suites and protocol_types name at least one each")
        config.refuse_doubles("shared_key.name", [key.name for key in self.shared_key])
        try:
            PskIdentityForm(self.psk_identity)
        except ValueError as error:
            raise ValueError(f"psk_identity: {error}") from None
