"""Ticket keys of the KMS in the store: one makes tickets, replaced ones resolve until their tickets have expired."""

from mrf_kms.database import Cursor
from mrf_kms.image import KEY_PREFIX
from mrf_kms.vault import Vault

TICKET_KEY_LENGTH = 32
"""Octets of a ticket key: enough for either suite."""


def sealing_name(created: float) -> str:
    """Give what a ticket key is sealed under."""
    return f"ticket key {created!r}"


def note_lifetime(cursor: Cursor, longest_ticket: float) -> None:
    """Remember that tickets of that life (seconds) are made with the key in use."""
    cursor.run(
        "UPDATE ticket_keys SET longest_ticket = ? WHERE resolves_until IS NULL AND longest_ticket < ?",
        longest_ticket,
        longest_ticket,
    )


def longest_ticket(cursor: Cursor) -> float:
    """Give the longest life in seconds of the tickets that still resolve."""
    return float(cursor.run("SELECT COALESCE(MAX(longest_ticket), 0) FROM ticket_keys")[0][0])


def rotate(cursor: Cursor, vault: Vault, key: bytes, now: float, longest_ticket: float, grace: float) -> str:
    """Make tickets with `key` from now on; gives its name. Times are Unix seconds, lives and `grace` seconds."""
    note_lifetime(cursor, longest_ticket)
    cursor.run(
        "UPDATE ticket_keys SET resolves_until = ? + longest_ticket WHERE resolves_until IS NULL",
        now + grace,
    )
    rows = cursor.run(
        "INSERT INTO ticket_keys (ticket_key, created, longest_ticket) VALUES (?, ?, ?) RETURNING number",
        vault.seal(sealing_name(now), key),
        now,
        longest_ticket,
    )
    return f"{KEY_PREFIX}{rows[0][0]}"


def seal_anew(cursor: Cursor, old: Vault, new: Vault) -> None:
    """Seal all ticket keys under another master key."""
    for number, key, created in cursor.run("SELECT number, ticket_key, created FROM ticket_keys"):
        name = sealing_name(created)
        sealed = new.seal(name, old.open(name, key))
        cursor.run("UPDATE ticket_keys SET ticket_key = ? WHERE number = ?", sealed, number)
