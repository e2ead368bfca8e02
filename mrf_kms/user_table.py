"""Users in the store: what each is named, its sealed key or certificate, and its identities."""

import time
from collections.abc import Sequence

from mrf_kms.access_tables import revoke
from mrf_kms.database import AlreadyThere, Cursor, StoreError, placeholders
from mrf_kms.image import KEY_PREFIX, Revocation, RevocationKind, User
from mrf_kms.vault import Vault

MIN_PSK, MAX_PSK = 16, 64


def add(cursor: Cursor, vault: Vault, user: User, *, replace: bool) -> None:
    """Add a user; `replace` one of that name. Raises StoreError."""
    credential = user.credential
    psk_id, psk = credential.psk_id, credential.psk
    if replace:
        cursor.run("DELETE FROM users WHERE psk_id = ?", psk_id)
    sealed = vault.seal(sealing_name(psk_id), psk) if psk else b""
    values = (
        psk_id,
        sealed,
        credential.certificate,
        int(user.enabled),
        int(user.opens_tickets),
        user.rate,
        time.time(),
    )
    try:
        cursor.run(f"INSERT INTO users VALUES {placeholders(1, values)}", *values)  # noqa: S608 - only "?"
    except AlreadyThere:
        raise StoreError(f'there is a user "{psk_id}" already') from None
    for pattern in credential.identities:
        cursor.run("INSERT INTO identities VALUES (?, ?)", psk_id, pattern)


def check(psk_id: str, psk: bytes, certificate: bytes, patterns: Sequence[str]) -> None:
    """Refuse what is no user (StoreError)."""
    if not psk_id or psk_id.startswith(KEY_PREFIX) or not psk_id.isprintable():
        raise StoreError(f'"{psk_id}" cannot name a user')
    if not certificate and not MIN_PSK <= len(psk) <= MAX_PSK:
        raise StoreError(f"a pre-shared key has {MIN_PSK} to {MAX_PSK} octets, not {len(psk)}")
    if not patterns or not all(patterns):
        raise StoreError("a user has at least one identity")


def sealing_name(psk_id: str) -> str:
    """Give what a user's key is sealed under."""
    return f"user {psk_id}"


def enable(cursor: Cursor, psk_id: str, enabled: bool) -> None:
    """Serve a user, or not. Raises StoreError when there is none."""
    cursor.run("UPDATE users SET enabled = ? WHERE psk_id = ?", int(enabled), psk_id)
    if not cursor.changed():
        raise StoreError(f'there is no user "{psk_id}"')


def revoke_tickets_of(cursor: Cursor, psk_id: str, now: float, longest_ticket: float) -> None:
    """Let the tickets made for a user's identities until now not resolve any more. Raises StoreError."""
    if not cursor.run("SELECT 1 FROM users WHERE psk_id = ?", psk_id):
        raise StoreError(f'there is no user "{psk_id}"')
    for (pattern,) in cursor.run("SELECT pattern FROM identities WHERE psk_id = ?", psk_id):
        revoke(cursor, Revocation(RevocationKind.INITIATOR, pattern, now, now + longest_ticket))


def seal_anew(cursor: Cursor, old: Vault, new: Vault) -> None:
    """Seal all keys of users under another master key."""
    for psk_id, psk in cursor.run("SELECT psk_id, psk FROM users"):
        if psk:
            name = sealing_name(psk_id)
            cursor.run(
                "UPDATE users SET psk = ? WHERE psk_id = ?", new.seal(name, old.open(name, psk)), psk_id
            )
