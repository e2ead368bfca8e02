"""Users and ticket keys of the KMS in an SQLite file, and an image of them in memory to serve from."""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from mrf_protocols.mikey import Credential, TicketKey
from mrf_protocols.mikey.identity import same_identity

TICKET_KEY_LENGTH = 32
"""Octets of a ticket key: enough for either suite."""
KEY_PREFIX = "kms-key-"
"""How the names of the KMS's own ticket keys begin; no user may be named so."""
MIN_PSK, MAX_PSK = 16, 64

_SCHEMA = """
CREATE TABLE IF NOT EXISTS users (psk_id TEXT PRIMARY KEY, psk BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS identities (
    psk_id TEXT NOT NULL REFERENCES users(psk_id) ON DELETE CASCADE, pattern TEXT NOT NULL,
    PRIMARY KEY (psk_id, pattern));
CREATE TABLE IF NOT EXISTS ticket_keys (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL, created REAL NOT NULL,
    longest_ticket REAL NOT NULL DEFAULT 0, resolves_until REAL);
"""


class StoreError(Exception):
    """What was asked of the store cannot be done; str() says why."""


@dataclass(frozen=True, slots=True)
class StoredTicketKey:
    """A ticket key: times are Unix seconds; `resolves_until` is None for the one in use."""

    name: str
    key: bytes = field(repr=False)
    created: float
    resolves_until: float | None


@dataclass(frozen=True, slots=True)
class Image:
    """All of the store at one moment; `ticket_keys` newest first."""

    users: dict[str, Credential]
    ticket_keys: tuple[StoredTicketKey, ...]

    def credential(self, psk_id: str | None, identity: str | None) -> Credential | None:
        """Give the user of a PSK identifier; without one, the only user with exactly that identity."""
        if psk_id is not None:
            return self.users.get(psk_id)
        if identity is None:
            return None
        found = [
            user
            for user in self.users.values()
            if any(same_identity(own, identity) for own in user.identities)
        ]
        return found[0] if len(found) == 1 else None

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
        user = self.users.get(name) if self_made and name is not None else None
        return None if user is None else TicketKey(user.psk_id, user.psk, user.identities)


class Store:
    """The SQLite file. Several processes may have it open: the server reads while an operator changes users.

    Raises StoreError when the file cannot be used. The file is made readable for its owner only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: int | None = None
        self._image = Image({}, ())
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"store {path} cannot be used: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def image(self) -> Image:
        """Give what the store holds now. It is read again only after a change; asking costs some
        microseconds.
        """
        try:
            version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
            if version != self._seen:
                self._image = self._read()
                self._seen = version
        except sqlite3.Error as error:
            raise StoreError(f"store {self._path} cannot be read: {error}") from None
        return self._image

    def _read(self) -> Image:
        patterns: dict[str, list[str]] = {}
        with closing(self._db.cursor()) as cursor:
            cursor.execute("BEGIN")
            for psk_id, pattern in cursor.execute("SELECT psk_id, pattern FROM identities ORDER BY rowid"):
                patterns.setdefault(psk_id, []).append(pattern)
            users = {
                psk_id: Credential(psk_id, psk, tuple(patterns.get(psk_id, ())))
                for psk_id, psk in cursor.execute("SELECT psk_id, psk FROM users ORDER BY psk_id")
            }
            keys = tuple(
                StoredTicketKey(f"{KEY_PREFIX}{number}", key, created, resolves_until)
                for number, key, created, resolves_until in cursor.execute(
                    "SELECT number, key, created, resolves_until FROM ticket_keys ORDER BY number DESC"
                )
            )
            cursor.execute("COMMIT")
        return Image(users, keys)

    def add_user(self, psk_id: str, psk: bytes, identities: Iterable[str], *, replace: bool = False) -> None:
        """Add a user with key and identity patterns.

        Raises StoreError when it exists, or a value cannot be used.
        """
        patterns = list(dict.fromkeys(identities))
        if not psk_id or psk_id.startswith(KEY_PREFIX) or not psk_id.isprintable():
            raise StoreError(f'"{psk_id}" cannot name a user')
        if not MIN_PSK <= len(psk) <= MAX_PSK:
            raise StoreError(f"a pre-shared key has {MIN_PSK} to {MAX_PSK} octets, not {len(psk)}")
        if not patterns or not all(patterns):
            raise StoreError("a user has at least one identity")
        with self._change() as cursor:
            if replace:
                cursor.execute("DELETE FROM users WHERE psk_id = ?", (psk_id,))
            try:
                cursor.execute("INSERT INTO users VALUES (?, ?)", (psk_id, psk))
            except sqlite3.IntegrityError:
                raise StoreError(f'there is a user "{psk_id}" already') from None
            cursor.executemany("INSERT INTO identities VALUES (?, ?)", [(psk_id, p) for p in patterns])

    def remove_user(self, psk_id: str) -> None:
        """Remove a user. Raises StoreError when there is none."""
        with self._change() as cursor:
            if not cursor.execute("DELETE FROM users WHERE psk_id = ?", (psk_id,)).rowcount:
                raise StoreError(f'there is no user "{psk_id}"')

    def rotate_ticket_key(self, key: bytes, now: float, *, longest_ticket: float, grace: float) -> str:
        """Make tickets with `key` from now on; gives its name.

        The key before resolves until the tickets made with it have expired: the longest life that was ever
        granted while it was in use, plus `grace`, in seconds. Keys past that are deleted.
        """
        with self._change() as cursor:
            cursor.execute("DELETE FROM ticket_keys WHERE resolves_until < ?", (now,))
            cursor.execute(
                "UPDATE ticket_keys SET resolves_until = ? + max(longest_ticket, ?) + ?"
                " WHERE resolves_until IS NULL",
                (now, longest_ticket, grace),
            )
            cursor.execute(
                "INSERT INTO ticket_keys (key, created, longest_ticket) VALUES (?, ?, ?)",
                (key, now, longest_ticket),
            )
            return f"{KEY_PREFIX}{cursor.lastrowid}"

    def note_lifetime(self, longest_ticket: float) -> None:
        """Remember that tickets of that life (seconds) are made with the key in use."""
        with self._change() as cursor:
            cursor.execute(
                "UPDATE ticket_keys SET longest_ticket = max(longest_ticket, ?) WHERE resolves_until IS NULL",
                (longest_ticket,),
            )

    def _change(self) -> "_Change":
        self._seen = None  # data_version tells of changes by others only
        return _Change(self._db, self._path)


class _Change:
    """One transaction: all of it or nothing; SQLite's errors become StoreError."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._cursor, self._path = db.cursor(), path

    def __enter__(self) -> sqlite3.Cursor:
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise StoreError(f"store {self._path} cannot be changed: {error}") from None
        return self._cursor

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            self._cursor.execute("COMMIT" if error is None else "ROLLBACK")
        except sqlite3.Error as failure:
            error = error or failure
        self._cursor.close()
        if isinstance(error, sqlite3.Error):
            raise StoreError(f"store {self._path} cannot be changed: {error}") from None
