"""All that requests are answered from, at one moment of the store, as values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from mrf_kms.database import StoreError
from mrf_protocols.mikey import Credential, TicketKey
from mrf_protocols.mikey.identity import canonical

KEY_PREFIX = "kms-key-"
"""How the names of the KMS's own ticket keys begin; no user may be named so."""


@dataclass(frozen=True, slots=True)
class User:
    """A user and what an operator set for it.

    `opens_tickets`: it may open tickets that are for it alone with its own key (RFC 6043 4.1.1, mode 2);
    `rate`: requests per second, None for the usual limit.
    """

    credential: Credential
    enabled: bool = True
    opens_tickets: bool = False
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class StoredTicketKey:
    """A ticket key: times are Unix seconds; `resolves_until` is None for the one in use."""

    name: str
    key: bytes = field(repr=False)
    created: float
    resolves_until: float | None


@dataclass(frozen=True, slots=True)
class Permission:
    """Who may have tickets for whom: patterns, or "@name" for a group; `lifetime` in seconds, None: no shorter."""

    number: int
    initiator: str
    responder: str
    lifetime: float | None


class RevocationKind(Enum):
    """What a revocation is about: one ticket by its id, all of an initiator by pattern, or a user's certificate
    by its SHA-256 fingerprint or its serial number (hexadecimal digits both).
    """

    TICKET = "ticket"
    INITIATOR = "initiator"
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True)
class Revocation:
    """What is not good any more: tickets made until `revoked`, or a certificate; kept `until` it would be over
    anyway.
    """

    kind: RevocationKind
    subject: str
    revoked: float
    until: float


@dataclass(frozen=True, slots=True)
class Image:
    """All that requests are answered from, at one moment; `ticket_keys` newest first."""

    users: dict[str, User]
    ticket_keys: tuple[StoredTicketKey, ...]
    permissions: tuple[Permission, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    revoked_tickets: dict[str, float] = field(default_factory=dict)
    revoked_initiators: tuple[Revocation, ...] = ()
    revoked_certificates: dict[str, float] = field(default_factory=dict)
    version: int = 0
    by_identity: dict[str, tuple[str, ...]] = field(default_factory=dict)
    by_certificate: dict[bytes, str] = field(default_factory=dict)
    opening: tuple[str, ...] = ()

    @classmethod
    def of(cls, users: Iterable[User], ticket_keys: Sequence[StoredTicketKey], **rest: object) -> "Image":
        """Make an image with its indexes."""
        known = {user.credential.psk_id: user for user in users}
        names: dict[str, tuple[str, ...]] = {}
        for user in known.values():
            for identity in user.credential.identities:
                place = canonical(identity)
                names[place] = (*names.get(place, ()), user.credential.psk_id)
        certificates = {
            user.credential.certificate: psk_id
            for psk_id, user in known.items()
            if user.credential.certificate
        }
        opening = tuple(psk_id for psk_id, user in known.items() if user.opens_tickets and user.enabled)
        indexes = {"by_identity": names, "by_certificate": certificates, "opening": opening}
        return cls(known, tuple(ticket_keys), **indexes, **rest)  # type: ignore[arg-type] # fields by name

    def user(self, psk_id: str | None, identity: str | None = None) -> User | None:
        """Give the user of a PSK identifier; without one, the only user with exactly that identity."""
        if psk_id is None and identity is not None:
            found = self.by_identity.get(canonical(identity), ())
            psk_id = found[0] if len(found) == 1 else None
        user = None if psk_id is None else self.users.get(psk_id)
        return user if user is not None and user.enabled else None

    def credential(self, psk_id: str | None, identity: str | None) -> Credential | None:
        """Give the key of a user who is not revoked, found as `user` does."""
        user = self.user(psk_id, identity)
        return None if user is None else user.credential

    def current_key(self) -> TicketKey:
        """Give the key to make tickets with. Raises StoreError when there is none."""
        for key in self.ticket_keys:
            if key.resolves_until is None:
                return TicketKey(key.name, key.key)
        raise StoreError("there is no ticket key; run: mrf-kms ticket-key rotate")

    def ticket_key(self, name: str | None, now: float, self_made: bool) -> TicketKey | None:
        """Give the key that a ticket names: one of ours, even replaced, or with `self_made` that of a user."""
        for key in self.ticket_keys:
            if key.name == name:
                kept = key.resolves_until is None or now <= key.resolves_until
                return TicketKey(key.name, key.key) if kept else None
        found = self.credential(name, None) if self_made and name is not None else None
        if found is None or not found.psk:
            return None
        return TicketKey(found.psk_id, found.psk, found.identities)
