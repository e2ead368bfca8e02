"""What the KMS knows: users, ticket keys, who may call whom, what is revoked, what was answered, and the audit log."""

import json
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from mrf_kms.database import AlreadyThere, Cursor, Row, StoreError, connect, placeholders
from mrf_kms.vault import Vault
from mrf_protocols.mikey import Credential, TicketKey
from mrf_protocols.mikey.identity import canonical

TICKET_KEY_LENGTH = 32
"""Octets of a ticket key: enough for either suite."""
KEY_PREFIX = "kms-key-"
"""How the names of the KMS's own ticket keys begin; no user may be named so."""
MIN_PSK, MAX_PSK = 16, 64

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS users (
    psk_id TEXT PRIMARY KEY, psk {blob} NOT NULL, certificate {blob} NOT NULL, enabled INTEGER NOT NULL,
    opens_tickets INTEGER NOT NULL, rate {real}, created {real} NOT NULL);
CREATE TABLE IF NOT EXISTS identities (
    psk_id TEXT NOT NULL REFERENCES users(psk_id) ON DELETE CASCADE, pattern TEXT NOT NULL,
    PRIMARY KEY (psk_id, pattern));
CREATE TABLE IF NOT EXISTS ticket_keys (
    number {serial}, ticket_key {blob} NOT NULL, created {real} NOT NULL, longest_ticket {real} NOT NULL,
    resolves_until {real});
CREATE TABLE IF NOT EXISTS members (
    group_name TEXT NOT NULL, pattern TEXT NOT NULL, PRIMARY KEY (group_name, pattern));
CREATE TABLE IF NOT EXISTS permissions (
    number {serial}, initiator TEXT NOT NULL, responder TEXT NOT NULL, lifetime {real});
CREATE TABLE IF NOT EXISTS revocations (
    kind TEXT NOT NULL, subject TEXT NOT NULL, revoked {real} NOT NULL, until {real} NOT NULL,
    PRIMARY KEY (kind, subject));
CREATE TABLE IF NOT EXISTS answered (mac {blob} PRIMARY KEY, until {real} NOT NULL);
CREATE INDEX IF NOT EXISTS answered_until ON answered (until);
CREATE TABLE IF NOT EXISTS audit (
    number {serial}, at {real} NOT NULL, message TEXT NOT NULL, psk_id TEXT NOT NULL, initiator TEXT NOT NULL,
    responders TEXT NOT NULL, ticket TEXT NOT NULL, result TEXT NOT NULL, call_id TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS audit_at ON audit (at);
INSERT INTO meta (name, value) VALUES ('version', '0') ON CONFLICT DO NOTHING;
"""
_CHECK = "master key"


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
class AuditRecord:
    """What somebody asked for and what came of it; never keys. `at` is Unix time."""

    at: float
    message: str
    psk_id: str
    initiator: str
    responders: tuple[str, ...]
    ticket: str
    result: str
    call_id: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What an answer leaves in the store: the message answered, so that it is not answered again, and its record."""

    replay_key: bytes | None
    replay_until: float
    audit: AuditRecord | None


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


class Store:
    """Users, keys and logs in an SQLite file (a path) or a PostgreSQL database (a URL).

    Several processes may have it open: KMS instances serve from it while an operator changes it. Every method
    raises StoreError. Every change of what requests are answered from counts up a version.
    """

    def __init__(self, where: Path | str, vault: Vault | None = None) -> None:
        self._vault = vault or Vault()
        self._db = connect(where, _SCHEMA)
        self._check_master_key()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def backup(self, to: Path) -> None:
        """Copy the database into a new file (SQLite only), with what is written until now."""
        self._db.backup(to)

    # --- what is served from

    def image(self) -> Image:
        """Read all that requests are answered from."""
        with self._db.transaction(write=False) as cursor:
            version = _version(cursor)
            patterns: dict[str, list[str]] = {}
            for psk_id, pattern in cursor.run(
                "SELECT psk_id, pattern FROM identities ORDER BY psk_id, pattern"
            ):
                patterns.setdefault(psk_id, []).append(pattern)
            rows = cursor.run(
                "SELECT psk_id, psk, certificate, enabled, opens_tickets, rate FROM users ORDER BY psk_id"
            )
            users = [self._user(row, tuple(patterns.get(row[0], ()))) for row in rows]
            keys = [
                StoredTicketKey(f"{KEY_PREFIX}{number}", self._open_key(key, created), created, until)
                for number, key, created, until in cursor.run(
                    "SELECT number, ticket_key, created, resolves_until FROM ticket_keys ORDER BY number DESC"
                )
            ]
            groups: dict[str, tuple[str, ...]] = {}
            for name, pattern in cursor.run(
                "SELECT group_name, pattern FROM members ORDER BY group_name, pattern"
            ):
                groups[name] = (*groups.get(name, ()), pattern)
            permissions = tuple(
                Permission(*row)
                for row in cursor.run(
                    "SELECT number, initiator, responder, lifetime FROM permissions ORDER BY number"
                )
            )
            revoked = [
                Revocation(RevocationKind(kind), subject, at, until)
                for kind, subject, at, until in cursor.run(
                    "SELECT kind, subject, revoked, until FROM revocations ORDER BY revoked, subject"
                )
            ]
        return Image.of(
            users,
            keys,
            permissions=permissions,
            groups=groups,
            revoked_tickets={r.subject: r.revoked for r in revoked if r.kind is RevocationKind.TICKET},
            revoked_initiators=tuple(r for r in revoked if r.kind is RevocationKind.INITIATOR),
            revoked_certificates={
                r.subject: r.revoked for r in revoked if r.kind is RevocationKind.CERTIFICATE
            },
            version=version,
        )

    def _user(self, row: Row, identities: tuple[str, ...]) -> User:
        psk_id, psk, certificate, enabled, opens_tickets, rate = row
        key = self._vault.open(f"user {psk_id}", psk) if psk else b""
        credential = Credential(psk_id, key, identities, bytes(certificate))
        return User(credential, bool(enabled), bool(opens_tickets), rate)

    def _open_key(self, stored: bytes, created: float) -> bytes:
        return self._vault.open(_ticket_key_name(created), stored)

    def version(self) -> int:
        """Give the version of what requests are answered from."""
        with self._db.transaction(write=False) as cursor:
            return _version(cursor)

    def record(self, version: int, entries: Sequence[Entry]) -> list[bool] | None:
        """Write what answers leave behind, all or nothing: for each, whether its message was not answered before.

        None, and nothing written, when they were decided on another version than the present one.
        """
        messages = {entry.replay_key: entry.replay_until for entry in entries if entry.replay_key is not None}
        writes = bool(messages) or any(entry.audit is not None for entry in entries)
        with self._db.transaction(write=writes) as cursor:
            if _version(cursor) != version:
                return None
            new = _remember(cursor, messages)
            fresh = [entry.replay_key is None or _pop(new, entry.replay_key) for entry in entries]
            records = [
                entry.audit for entry, first in zip(entries, fresh, strict=True) if entry.audit and first
            ]
            _write_audit(cursor, records)
        return fresh

    def tidy(self, now: float, keep_audit: float) -> None:
        """Delete what no longer counts: answered messages, ticket keys and revocations past their time, old records."""
        with self._db.transaction(write=True) as cursor:
            cursor.run("DELETE FROM answered WHERE until < ?", now)
            cursor.run("DELETE FROM ticket_keys WHERE resolves_until < ?", now)
            cursor.run("DELETE FROM revocations WHERE until < ?", now)
            cursor.run("DELETE FROM audit WHERE at < ?", now - keep_audit)

    # --- users

    def add_user(
        self,
        psk_id: str,
        psk: bytes,
        identities: Iterable[str],
        *,
        certificate: bytes = b"",
        opens_tickets: bool = False,
        rate: float | None = None,
        replace: bool = False,
    ) -> None:
        """Add a user with a key or a certificate (DER), and identity patterns.

        Raises StoreError when it exists, or a value cannot be used.
        """
        patterns = list(dict.fromkeys(identities))
        if not psk_id or psk_id.startswith(KEY_PREFIX) or not psk_id.isprintable():
            raise StoreError(f'"{psk_id}" cannot name a user')
        if not certificate and not MIN_PSK <= len(psk) <= MAX_PSK:
            raise StoreError(f"a pre-shared key has {MIN_PSK} to {MAX_PSK} octets, not {len(psk)}")
        if not patterns or not all(patterns):
            raise StoreError("a user has at least one identity")
        with self._change() as cursor:
            if replace:
                cursor.run("DELETE FROM users WHERE psk_id = ?", psk_id)
            sealed = self._vault.seal(f"user {psk_id}", psk) if psk else b""
            values = (psk_id, sealed, certificate, 1, int(opens_tickets), rate, time.time())
            try:
                cursor.run(f"INSERT INTO users VALUES {placeholders(1, values)}", *values)  # noqa: S608 - only "?"
            except AlreadyThere:
                raise StoreError(f'there is a user "{psk_id}" already') from None
            for pattern in patterns:
                cursor.run("INSERT INTO identities VALUES (?, ?)", psk_id, pattern)

    def remove_user(self, psk_id: str, now: float, longest_ticket: float) -> None:
        """Remove a user; the tickets made for its identities until now do not resolve any more."""
        with self._change() as cursor:
            self._revoke_tickets_of(cursor, psk_id, now, longest_ticket)
            cursor.run("DELETE FROM users WHERE psk_id = ?", psk_id)

    def revoke_user(self, psk_id: str, now: float, longest_ticket: float) -> None:
        """Refuse a user until it is restored; the tickets made for it until now do not resolve any more."""
        with self._change() as cursor:
            self._revoke_tickets_of(cursor, psk_id, now, longest_ticket)
            cursor.run("UPDATE users SET enabled = 0 WHERE psk_id = ?", psk_id)

    def restore_user(self, psk_id: str) -> None:
        """Serve a revoked user again; its old tickets stay revoked."""
        with self._change() as cursor:
            cursor.run("UPDATE users SET enabled = 1 WHERE psk_id = ?", psk_id)
            if not cursor.changed():
                raise StoreError(f'there is no user "{psk_id}"')

    def _revoke_tickets_of(self, cursor: Cursor, psk_id: str, now: float, longest_ticket: float) -> None:
        if not cursor.run("SELECT 1 FROM users WHERE psk_id = ?", psk_id):
            raise StoreError(f'there is no user "{psk_id}"')
        for (pattern,) in cursor.run("SELECT pattern FROM identities WHERE psk_id = ?", psk_id):
            _revoke(cursor, Revocation(RevocationKind.INITIATOR, pattern, now, now + longest_ticket))

    # --- who may call whom

    def allow(self, initiator: str, responder: str, lifetime: float | None) -> int:
        """Let initiators of a pattern or group have tickets for responders of another; gives the number of the rule."""
        if not initiator or not responder:
            raise StoreError("a rule names an initiator and a responder")
        with self._change() as cursor:
            rows = cursor.run(
                "INSERT INTO permissions (initiator, responder, lifetime) VALUES (?, ?, ?) RETURNING number",
                initiator,
                responder,
                lifetime,
            )
            return int(rows[0][0])

    def disallow(self, number: int) -> None:
        """Take a rule away."""
        with self._change() as cursor:
            cursor.run("DELETE FROM permissions WHERE number = ?", number)
            if not cursor.changed():
                raise StoreError(f"there is no rule {number}")

    def add_members(self, group: str, patterns: Sequence[str]) -> None:
        """Add identity patterns to a group."""
        if not group or not all(patterns):
            raise StoreError("a group has a name and members")
        with self._change() as cursor:
            for pattern in patterns:
                cursor.run("INSERT INTO members VALUES (?, ?) ON CONFLICT DO NOTHING", group, pattern)

    def remove_members(self, group: str, patterns: Sequence[str]) -> None:
        """Take patterns out of a group; all of them when none is given."""
        with self._change() as cursor:
            removed = 0
            for pattern in patterns:
                cursor.run("DELETE FROM members WHERE group_name = ? AND pattern = ?", group, pattern)
                removed += cursor.changed()
            if not patterns:
                cursor.run("DELETE FROM members WHERE group_name = ?", group)
                removed = cursor.changed()
            if not removed:
                raise StoreError(f'there is nothing of that in group "{group}"')

    def revoke(self, revocation: Revocation) -> None:
        """Let tickets not resolve any more, or refuse a certificate."""
        with self._change() as cursor:
            _revoke(cursor, revocation)

    def restore_certificate(self, subject: str) -> None:
        """Take a certificate again that was revoked."""
        with self._change() as cursor:
            kind = RevocationKind.CERTIFICATE.value
            cursor.run("DELETE FROM revocations WHERE kind = ? AND subject = ?", kind, subject)
            if not cursor.changed():
                raise StoreError(f"no certificate {subject} is revoked")

    # --- ticket keys

    def rotate_ticket_key(self, key: bytes, now: float, *, longest_ticket: float, grace: float) -> str:
        """Make tickets with `key` from now on; gives its name.

        The key before resolves until the tickets made with it have expired: the longest life that was ever
        granted while it was in use, plus `grace`, in seconds.
        """
        with self._change() as cursor:
            return self._rotate(cursor, key, now, longest_ticket, grace)

    def rotate_when_due(
        self, key: bytes, now: float, *, after: float, longest_ticket: float, grace: float
    ) -> str | None:
        """Rotate when the key in use is older than `after` seconds, or there is none; gives the new one's name.

        When several instances find it due at once, one of them does it.
        """
        with self._db.transaction(write=True) as cursor:
            _lock(cursor)
            rows = cursor.run("SELECT created FROM ticket_keys WHERE resolves_until IS NULL")
            if rows and now - rows[0][0] < after:
                return None
            _count_up(cursor)
            return self._rotate(cursor, key, now, longest_ticket, grace)

    def _rotate(self, cursor: Cursor, key: bytes, now: float, longest_ticket: float, grace: float) -> str:
        cursor.run(
            "UPDATE ticket_keys SET longest_ticket = ? WHERE resolves_until IS NULL AND longest_ticket < ?",
            longest_ticket,
            longest_ticket,
        )
        cursor.run(
            "UPDATE ticket_keys SET resolves_until = ? + longest_ticket WHERE resolves_until IS NULL",
            now + grace,
        )
        rows = cursor.run(
            "INSERT INTO ticket_keys (ticket_key, created, longest_ticket) VALUES (?, ?, ?) RETURNING number",
            self._vault.seal(_ticket_key_name(now), key),
            now,
            longest_ticket,
        )
        return f"{KEY_PREFIX}{rows[0][0]}"

    def note_lifetime(self, longest_ticket: float) -> None:
        """Remember that tickets of that life (seconds) are made with the key in use."""
        with self._db.transaction(write=True) as cursor:
            cursor.run(
                "UPDATE ticket_keys SET longest_ticket = ? WHERE resolves_until IS NULL AND longest_ticket < ?",
                longest_ticket,
                longest_ticket,
            )

    # --- audit log

    def audit(self, *, since: float = 0.0, psk_id: str | None = None, limit: int = 1000) -> list[AuditRecord]:
        """Give the newest records, oldest first."""
        wanted, values = "at >= ?", [since]
        if psk_id is not None:
            wanted, values = "at >= ? AND psk_id = ?", [since, psk_id]  # type: ignore[list-item] # mixed by intent
        with self._db.transaction(write=False) as cursor:
            rows = cursor.run(
                f"SELECT {', '.join(_AUDIT)} FROM audit WHERE {wanted} ORDER BY number DESC LIMIT ?",  # noqa: S608 - constants
                *values,
                limit,
            )
        records = [_record_of(row) for row in rows]
        return list(reversed(records))

    # --- master key

    def change_master_key(self, vault: Vault) -> None:
        """Seal all keys anew. KMS instances must be started again with the new master key."""
        with self._change() as cursor:
            for psk_id, psk in cursor.run("SELECT psk_id, psk FROM users"):
                if psk:
                    name = f"user {psk_id}"
                    sealed = vault.seal(name, self._vault.open(name, psk))
                    cursor.run("UPDATE users SET psk = ? WHERE psk_id = ?", sealed, psk_id)
            for number, key, created in cursor.run("SELECT number, ticket_key, created FROM ticket_keys"):
                name = _ticket_key_name(created)
                sealed = vault.seal(name, self._vault.open(name, key))
                cursor.run("UPDATE ticket_keys SET ticket_key = ? WHERE number = ?", sealed, number)
            cursor.run(
                "UPDATE meta SET value = ? WHERE name = 'check'", vault.seal(_CHECK, _CHECK.encode()).hex()
            )
        self._vault = vault

    def _check_master_key(self) -> None:
        with self._db.transaction(write=False) as cursor:
            rows = cursor.run("SELECT value FROM meta WHERE name = 'check'")
        if not rows:
            with self._db.transaction(write=True) as cursor:
                cursor.run(
                    "INSERT INTO meta VALUES ('check', ?) ON CONFLICT DO NOTHING",
                    self._vault.seal(_CHECK, _CHECK.encode()).hex(),
                )
                rows = cursor.run("SELECT value FROM meta WHERE name = 'check'")
        stored = bytes.fromhex(rows[0][0])
        self._vault.open(_CHECK, stored)
        if self._vault.seals and stored[:1] == b"\0":
            raise StoreError(
                "the keys in the store are not sealed yet: run mrf-kms master-key change before"
                " store.master_key_file is set"
            )

    def _change(self) -> "_Change":
        return _Change(self._db.transaction(write=True))


class _Change:
    """A transaction that changes what requests are answered from, and so counts up the version."""

    def __init__(self, transaction: "AbstractContextManager[Cursor]") -> None:
        self._transaction = transaction

    def __enter__(self) -> Cursor:
        cursor = self._transaction.__enter__()
        _count_up(cursor)
        return cursor

    def __exit__(self, *raised: object) -> bool | None:
        return self._transaction.__exit__(*raised)  # type: ignore[arg-type] # handed on


_AUDIT = ("at", "message", "psk_id", "initiator", "responders", "ticket", "result", "call_id")


def _ticket_key_name(created: float) -> str:
    return f"ticket key {created!r}"


def _version(cursor: Cursor) -> int:
    return int(cursor.run("SELECT value FROM meta WHERE name = 'version'")[0][0])


def _lock(cursor: Cursor) -> None:
    """Let other changes wait until this one is done: a row that all of them write."""
    cursor.run("UPDATE meta SET value = value WHERE name = 'version'")


def _count_up(cursor: Cursor) -> None:
    _lock(cursor)
    cursor.run("UPDATE meta SET value = ? WHERE name = 'version'", str(_version(cursor) + 1))


def _revoke(cursor: Cursor, revocation: Revocation) -> None:
    cursor.run(
        "INSERT INTO revocations VALUES (?, ?, ?, ?)"
        " ON CONFLICT (kind, subject) DO UPDATE SET revoked = excluded.revoked, until = excluded.until",
        revocation.kind.value,
        revocation.subject,
        revocation.revoked,
        revocation.until,
    )


def _remember(cursor: Cursor, messages: dict[bytes, float]) -> set[bytes]:
    """Write messages answered now; gives those that are new."""
    if not messages:
        return set()
    rows = cursor.run(
        f"INSERT INTO answered VALUES {placeholders(len(messages), ('mac', 'until'))}"  # noqa: S608 - only "?"
        " ON CONFLICT DO NOTHING RETURNING mac",
        *(value for message in messages.items() for value in message),
    )
    return {bytes(row[0]) for row in rows}


def _pop(new: set[bytes], key: bytes) -> bool:
    """Whether a message is new: the first of several equal ones is."""
    if key not in new:
        return False
    new.remove(key)
    return True


def _record_of(row: Row) -> AuditRecord:
    at, message, psk_id, initiator, responders, ticket, result, call_id = row
    named = tuple(json.loads(responders))
    return AuditRecord(at, message, psk_id, initiator, named, ticket, result, call_id)


def _write_audit(cursor: Cursor, records: Sequence[AuditRecord]) -> None:
    if not records:
        return
    values: list[object] = []
    for record in records:
        values += [record.at, record.message, record.psk_id, record.initiator, json.dumps(record.responders)]
        values += [record.ticket, record.result, record.call_id]
    cursor.run(
        f"INSERT INTO audit ({', '.join(_AUDIT)}) VALUES {placeholders(len(records), _AUDIT)}",  # noqa: S608 - constants
        *values,
    )


__all__ = [
    "AuditRecord",
    "Entry",
    "Image",
    "Permission",
    "Revocation",
    "RevocationKind",
    "Store",
    "StoreError",
    "StoredTicketKey",
    "User",
]
