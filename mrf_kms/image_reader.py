"""The image that requests are answered from, read out of the store's tables."""

from mrf_kms import ticket_keys, user_table
from mrf_kms.database import Cursor, Row
from mrf_kms.image import (
    KEY_PREFIX,
    Image,
    Permission,
    Revocation,
    RevocationKind,
    StoredTicketKey,
    User,
)
from mrf_kms.schema import version
from mrf_kms.vault import Vault
from mrf_protocols.mikey import Credential


def read_image(cursor: Cursor, vault: Vault) -> Image:
    """Read all that requests are answered from. Raises StoreError, also for keys that the vault does not open."""
    revoked = _revocations(cursor)
    return Image.of(
        _users(cursor, vault),
        _ticket_keys(cursor, vault),
        permissions=_permissions(cursor),
        groups=_groups(cursor),
        revoked_tickets={r.subject: r.revoked for r in revoked if r.kind is RevocationKind.TICKET},
        revoked_initiators=tuple(r for r in revoked if r.kind is RevocationKind.INITIATOR),
        revoked_certificates={r.subject: r.revoked for r in revoked if r.kind is RevocationKind.CERTIFICATE},
        version=version(cursor),
    )


def _users(cursor: Cursor, vault: Vault) -> list[User]:
    patterns: dict[str, list[str]] = {}
    for psk_id, pattern in cursor.run("SELECT psk_id, pattern FROM identities ORDER BY psk_id, pattern"):
        patterns.setdefault(psk_id, []).append(pattern)
    rows = cursor.run(
        "SELECT psk_id, psk, certificate, enabled, opens_tickets, rate FROM users ORDER BY psk_id"
    )
    return [_user(row, tuple(patterns.get(row[0], ())), vault) for row in rows]


def _user(row: Row, identities: tuple[str, ...], vault: Vault) -> User:
    psk_id, psk, certificate, enabled, opens_tickets, rate = row
    key = vault.open(user_table.sealing_name(psk_id), psk) if psk else b""
    credential = Credential(psk_id, key, identities, bytes(certificate))
    return User(credential, bool(enabled), bool(opens_tickets), rate)


def _ticket_keys(cursor: Cursor, vault: Vault) -> list[StoredTicketKey]:
    rows = cursor.run(
        "SELECT number, ticket_key, created, resolves_until FROM ticket_keys ORDER BY number DESC"
    )
    return [
        StoredTicketKey(
            f"{KEY_PREFIX}{number}", vault.open(ticket_keys.sealing_name(created), key), created, until
        )
        for number, key, created, until in rows
    ]


def _groups(cursor: Cursor) -> dict[str, tuple[str, ...]]:
    groups: dict[str, tuple[str, ...]] = {}
    for name, pattern in cursor.run("SELECT group_name, pattern FROM members ORDER BY group_name, pattern"):
        groups[name] = (*groups.get(name, ()), pattern)
    return groups


def _permissions(cursor: Cursor) -> tuple[Permission, ...]:
    rows = cursor.run("SELECT number, initiator, responder, lifetime FROM permissions ORDER BY number")
    return tuple(Permission(*row) for row in rows)


def _revocations(cursor: Cursor) -> list[Revocation]:
    rows = cursor.run("SELECT kind, subject, revoked, until FROM revocations ORDER BY revoked, subject")
    return [Revocation(RevocationKind(kind), subject, at, until) for kind, subject, at, until in rows]
