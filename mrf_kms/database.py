"""Where the KMS keeps what it knows: an SQLite file or a PostgreSQL database, asked with the same SQL.

Statements have ``?`` for parameters. A `Database` is used by one thread at a time.
"""

import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol

try:
    import psycopg
except ImportError:  # the extra "postgres" is not installed; SQLite needs nothing
    psycopg = None  # type: ignore[assignment] # told apart before use

Row = tuple[Any, ...]
BUSY_TIMEOUT = 2.0
"""Seconds to wait for another process that holds the database."""


class StoreError(Exception):
    """What was asked of the store cannot be done; str() says why."""


class AlreadyThere(StoreError):
    """A row with that key exists."""


class Cursor(Protocol):
    """One transaction under way."""

    def run(self, sql: str, *values: object) -> list[Row]:
        """Run a statement; gives the rows of a SELECT or RETURNING. Raises StoreError."""

    def changed(self) -> int:
        """Give the number of rows that the last statement changed."""


class Database(Protocol):
    """A store of rows."""

    name: str
    """What to call it in messages: no password in it."""

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Cursor]:
        """All of it or nothing. Raises StoreError, also when the end of it fails: then nothing has happened."""

    def backup(self, to: Path) -> None:
        """Copy everything into a file. Raises StoreError."""

    def close(self) -> None:
        """Close it; the next transaction opens it again."""


class SqliteDatabase:
    """A file, readable for its owner only. Several processes may have it open."""

    TYPES: ClassVar = {"serial": "INTEGER PRIMARY KEY AUTOINCREMENT", "blob": "BLOB", "real": "REAL"}

    def __init__(self, path: Path, schema: str) -> None:
        self.name = f"store {path}"
        self._path, self._schema = path, schema
        self._db: sqlite3.Connection | None = None
        self._file: int | None = None
        with self.transaction(write=False):
            pass  # tells at once that the file cannot be used

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            # Made at the start only: a file that vanished later is a fault, not an empty store.
            make = os.O_CREAT if self._file is None else 0
            os.close(os.open(self._path, os.O_RDWR | make | os.O_CLOEXEC, 0o600))
            db = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA foreign_keys = ON")
            db.executescript(self._schema.format(**self.TYPES))
            self._db, self._file = db, os.stat(self._path).st_ino
        elif os.stat(self._path).st_ino != self._file:
            raise OSError("the file was replaced while it was open")
        return self._db

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Cursor]:
        try:
            db = self._open()
            cursor = db.cursor()
            cursor.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise StoreError(f"{self.name} cannot be used: {_in_words(error)}") from None
        try:
            yield _SqliteCursor(cursor, self.name)
            cursor.execute("COMMIT")
        except sqlite3.Error as error:
            self.close()
            raise StoreError(f"{self.name} cannot be changed: {error}") from None
        except BaseException:
            if db.in_transaction:
                cursor.execute("ROLLBACK")
            raise

    def backup(self, to: Path) -> None:
        try:
            os.close(os.open(to, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            target = sqlite3.connect(to)
            self._open().backup(target)
            target.close()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self.name} cannot be copied: {error}") from None

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


def _in_words(error: OSError | sqlite3.Error) -> str:
    """What is wrong, and how to mend it where an operator can."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}; store.file names it: see owner and mode of it and of its folder"
    return f"{error}; df -h shows the disk: make room" if "disk is full" in str(error) else str(error)


class _SqliteCursor:
    def __init__(self, cursor: sqlite3.Cursor, name: str) -> None:
        self._cursor, self._name = cursor, name

    def run(self, sql: str, *values: object) -> list[Row]:
        try:
            return self._cursor.execute(sql, values).fetchall()
        except sqlite3.IntegrityError:
            raise AlreadyThere("it exists already") from None
        except sqlite3.Error as error:
            raise StoreError(f"{self._name} cannot be used: {_in_words(error)}") from None

    def changed(self) -> int:
        return self._cursor.rowcount


class PostgresDatabase:
    """A PostgreSQL database by URL. A lost connection is opened again at the next transaction."""

    TYPES: ClassVar = {
        "serial": "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
        "blob": "BYTEA",
        "real": "DOUBLE PRECISION",
    }

    def __init__(self, url: str, schema: str) -> None:
        if psycopg is None:
            raise StoreError(
                'PostgreSQL needs the extra "postgres": pip install "ims-floor-control[postgres]"'
            )
        self.name = "store " + re.sub(r"//[^/@]*@", "//", url).partition("?")[0]
        self._url, self._schema = url, schema
        self._db: psycopg.Connection[Row] | None = None
        with self.transaction(write=False):
            pass

    def _open(self) -> "psycopg.Connection[Row]":
        if self._db is None or self._db.closed:
            db = psycopg.connect(self._url, connect_timeout=int(BUSY_TIMEOUT) + 1)
            with db.transaction():
                # Two that start at once must not both make the tables.
                db.execute("SELECT pg_advisory_xact_lock(6043)")
                db.execute(f"SET lock_timeout = {int(BUSY_TIMEOUT * 1000)}")
                db.execute(self._schema.format(**self.TYPES).encode())
            self._db = db
        return self._db

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Cursor]:
        try:
            db = self._open()
            with db.transaction(), db.cursor() as cursor:
                yield _PostgresCursor(cursor, self.name)
        except psycopg.Error as error:
            self.close()
            raise StoreError(f"{self.name} cannot be used: {_first_line(error)}") from None

    def backup(self, to: Path) -> None:
        raise StoreError("a PostgreSQL database is saved with pg_dump")

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


class _PostgresCursor:
    def __init__(self, cursor: "psycopg.Cursor[Row]", name: str) -> None:
        self._cursor, self._name = cursor, name

    def run(self, sql: str, *values: object) -> list[Row]:
        try:
            self._cursor.execute(sql.replace("?", "%s").encode(), values, prepare=len(values) < 100)
            return self._cursor.fetchall() if self._cursor.description else []
        except psycopg.errors.UniqueViolation:
            raise AlreadyThere("it exists already") from None

    def changed(self) -> int:
        return self._cursor.rowcount


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def connect(where: Path | str, schema: str) -> Database:
    """Open a database by path (SQLite) or by URL (PostgreSQL). Raises StoreError."""
    if isinstance(where, Path):
        return SqliteDatabase(where, schema)
    return PostgresDatabase(where, schema)


def placeholders(rows: int, columns: Sequence[object]) -> str:
    """Give "(?, ?), (?, ?)" for an INSERT of several rows."""
    return ", ".join(["(" + ", ".join("?" * len(columns)) + ")"] * rows)
