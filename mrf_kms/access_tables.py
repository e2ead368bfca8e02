"""Who may have tickets for whom, and what is revoked, in the store."""

from collections.abc import Sequence

from mrf_kms.database import Cursor, StoreError
from mrf_kms.image import Revocation, RevocationKind
from mrf_kms.ticket_keys import longest_ticket

MARGIN = 3600.0
"""Seconds that a revocation outlives the tickets it is about: more than clocks may differ."""


def allow(cursor: Cursor, initiator: str, responder: str, lifetime: float | None) -> int:
    """Let initiators of a pattern or group have tickets for responders of another; gives the number of the rule."""
    if not initiator or not responder:
        raise StoreError("a rule names an initiator and a responder")
    rows = cursor.run(
        "INSERT INTO permissions (initiator, responder, lifetime) VALUES (?, ?, ?) RETURNING number",
        initiator,
        responder,
        lifetime,
    )
    return int(rows[0][0])


def disallow(cursor: Cursor, number: int) -> None:
    """Take a rule away."""
    cursor.run("DELETE FROM permissions WHERE number = ?", number)
    if not cursor.changed():
        raise StoreError(f"there is no rule {number}")


def add_members(cursor: Cursor, group: str, patterns: Sequence[str]) -> None:
    """Add identity patterns to a group."""
    if not group or not all(patterns):
        raise StoreError("a group has a name and members")
    for pattern in patterns:
        cursor.run("INSERT INTO members VALUES (?, ?) ON CONFLICT DO NOTHING", group, pattern)


def remove_members(cursor: Cursor, group: str, patterns: Sequence[str]) -> None:
    """Take patterns out of a group; all of them when none is given."""
    removed = 0
    for pattern in patterns:
        cursor.run("DELETE FROM members WHERE group_name = ? AND pattern = ?", group, pattern)
        removed += cursor.changed()
    if not patterns:
        cursor.run("DELETE FROM members WHERE group_name = ?", group)
        removed = cursor.changed()
    if not removed:
        raise StoreError(f'there is nothing of that in group "{group}"')


def revoke(cursor: Cursor, revocation: Revocation) -> None:
    """Let tickets not resolve any more, or refuse a certificate.

    It is kept until the last ticket that it can be about has expired, also one of a time with longer lives.
    """
    until, longest = revocation.until, longest_ticket(cursor)
    if longest and revocation.kind is not RevocationKind.CERTIFICATE:
        until = max(until, revocation.revoked + longest + MARGIN)
    cursor.run(
        "INSERT INTO revocations VALUES (?, ?, ?, ?)"
        " ON CONFLICT (kind, subject) DO UPDATE SET revoked = excluded.revoked, until = excluded.until",
        revocation.kind.value,
        revocation.subject,
        revocation.revoked,
        until,
    )


def restore_certificate(cursor: Cursor, subject: str) -> None:
    """Take a certificate again that was revoked."""
    kind = RevocationKind.CERTIFICATE.value
    cursor.run("DELETE FROM revocations WHERE kind = ? AND subject = ?", kind, subject)
    if not cursor.changed():
        raise StoreError(f"no certificate {subject} is revoked")
