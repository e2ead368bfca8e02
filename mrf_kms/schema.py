"""The tables of the store, and the version that every change of what requests are answered from counts up."""

from contextlib import AbstractContextManager

from mrf_kms.database import Cursor

SCHEMA = """
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


def version(cursor: Cursor) -> int:
    """Give the version of what requests are answered from."""
    return int(cursor.run("SELECT value FROM meta WHERE name = 'version'")[0][0])


def lock(cursor: Cursor) -> None:
    """Let other changes wait until this one is done: a row that all of them write."""
    cursor.run("UPDATE meta SET value = value WHERE name = 'version'")


def count_up(cursor: Cursor) -> None:
    """Say that what requests are answered from changes in this transaction."""
    lock(cursor)
    cursor.run("UPDATE meta SET value = ? WHERE name = 'version'", str(version(cursor) + 1))


class Change:
    """A transaction that changes what requests are answered from, and so counts up the version."""

    def __init__(self, transaction: "AbstractContextManager[Cursor]") -> None:
        self._transaction = transaction

    def __enter__(self) -> Cursor:
        cursor = self._transaction.__enter__()
        count_up(cursor)
        return cursor

    def __exit__(self, *raised: object) -> bool | None:
        return self._transaction.__exit__(*raised)  # type: ignore[arg-type] # handed on
