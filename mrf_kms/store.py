"""The store of the KMS: every transaction on users, ticket keys, permissions, revocations and what answers left."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mrf_kms import access_tables, entries, ticket_keys, user_table
from mrf_kms.database import StoreError, connect
from mrf_kms.entries import AuditRecord, Entry
from mrf_kms.image import Image, Revocation, User
from mrf_kms.image_reader import read_image
from mrf_kms.schema import SCHEMA, Change, count_up, lock, version
from mrf_kms.vault import Vault
from mrf_protocols.mikey import Credential

_CHECK = "master key"


class Store:
    """Users, keys and logs in an SQLite file (a path) or a PostgreSQL database (a URL).

    Several processes may have it open: KMS instances serve from it while an operator changes it. Every method
    raises StoreError. Every change of what requests are answered from counts up a version.
    """

    def __init__(self, where: Path | str, vault: Vault | None = None) -> None:
        self._vault = vault or Vault()
        self._db = connect(where, SCHEMA)
        self._check_master_key()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def backup(self, to: Path) -> None:
        """Copy the database into a new file (SQLite only), with what is written until now."""
        self._db.backup(to)

    # --- what is served from, and what it leaves behind

    def image(self) -> Image:
        """Read all that requests are answered from."""
        with self._db.transaction(write=False) as cursor:
            return read_image(cursor, self._vault)

    def version(self) -> int:
        """Give the version of what requests are answered from."""
        with self._db.transaction(write=False) as cursor:
            return version(cursor)

    def record(self, decided_on: int, left: Sequence[Entry]) -> list[bool] | None:
        """Write what answers leave behind, all or nothing: for each, whether its message was not answered before.

        None, and nothing written, when they were decided on another version than the present one.
        """
        writes = any(entry.replay_key is not None or entry.audit is not None for entry in left)
        with self._db.transaction(write=writes) as cursor:
            return entries.write(cursor, left) if version(cursor) == decided_on else None

    def audit(self, *, since: float = 0.0, psk_id: str | None = None, limit: int = 1000) -> list[AuditRecord]:
        """Give the newest records of the audit log, oldest first."""
        with self._db.transaction(write=False) as cursor:
            return entries.read_audit(cursor, since, psk_id, limit)

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
        patterns = tuple(dict.fromkeys(identities))
        user_table.check(psk_id, psk, certificate, patterns)
        credential = Credential(psk_id, psk, patterns, certificate)
        with self._change() as cursor:
            user_table.add(cursor, self._vault, User(credential, True, opens_tickets, rate), replace=replace)

    def remove_user(self, psk_id: str, now: float, longest_ticket: float) -> None:
        """Remove a user; the tickets made for its identities until now do not resolve any more."""
        with self._change() as cursor:
            user_table.revoke_tickets_of(cursor, psk_id, now, longest_ticket)
            cursor.run("DELETE FROM users WHERE psk_id = ?", psk_id)

    def revoke_user(self, psk_id: str, now: float, longest_ticket: float) -> None:
        """Refuse a user until it is restored; the tickets made for it until now do not resolve any more."""
        with self._change() as cursor:
            user_table.revoke_tickets_of(cursor, psk_id, now, longest_ticket)
            user_table.enable(cursor, psk_id, False)

    def restore_user(self, psk_id: str) -> None:
        """Serve a revoked user again; its old tickets stay revoked."""
        with self._change() as cursor:
            user_table.enable(cursor, psk_id, True)

    # --- who may call whom

    def allow(self, initiator: str, responder: str, lifetime: float | None) -> int:
        """Let initiators of a pattern or group have tickets for responders of another; gives the number of the rule."""
        with self._change() as cursor:
            return access_tables.allow(cursor, initiator, responder, lifetime)

    def disallow(self, number: int) -> None:
        """Take a rule away."""
        with self._change() as cursor:
            access_tables.disallow(cursor, number)

    def add_members(self, group: str, patterns: Sequence[str]) -> None:
        """Add identity patterns to a group."""
        with self._change() as cursor:
            access_tables.add_members(cursor, group, patterns)

    def remove_members(self, group: str, patterns: Sequence[str]) -> None:
        """Take patterns out of a group; all of them when none is given."""
        with self._change() as cursor:
            access_tables.remove_members(cursor, group, patterns)

    def revoke(self, revocation: Revocation) -> None:
        """Let tickets not resolve any more, or refuse a certificate."""
        with self._change() as cursor:
            access_tables.revoke(cursor, revocation)

    def restore_certificate(self, subject: str) -> None:
        """Take a certificate again that was revoked."""
        with self._change() as cursor:
            access_tables.restore_certificate(cursor, subject)

    # --- ticket keys

    def rotate_ticket_key(self, key: bytes, now: float, *, longest_ticket: float, grace: float) -> str:
        """Make tickets with `key` from now on; gives its name.

        The key before resolves until the tickets made with it have expired: the longest life that was ever
        granted while it was in use, plus `grace`, in seconds.
        """
        with self._change() as cursor:
            return ticket_keys.rotate(cursor, self._vault, key, now, longest_ticket, grace)

    def rotate_when_due(
        self, key: bytes, now: float, *, after: float, longest_ticket: float, grace: float
    ) -> str | None:
        """Rotate when the key in use is older than `after` seconds, or there is none; gives the new one's name.

        When several instances find it due at once, one of them does it.
        """
        with self._db.transaction(write=True) as cursor:
            lock(cursor)
            rows = cursor.run("SELECT created FROM ticket_keys WHERE resolves_until IS NULL")
            if rows and now - rows[0][0] < after:
                return None
            count_up(cursor)
            return ticket_keys.rotate(cursor, self._vault, key, now, longest_ticket, grace)

    def note_lifetime(self, longest_ticket: float) -> None:
        """Remember that tickets of that life (seconds) are made with the key in use."""
        with self._db.transaction(write=True) as cursor:
            ticket_keys.note_lifetime(cursor, longest_ticket)

    # --- master key

    def change_master_key(self, vault: Vault) -> None:
        """Seal all keys anew. KMS instances must be started again with the new master key."""
        with self._change() as cursor:
            user_table.seal_anew(cursor, self._vault, vault)
            ticket_keys.seal_anew(cursor, self._vault, vault)
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

    def _change(self) -> Change:
        return Change(self._db.transaction(write=True))
