"""What answers leave in the store: the messages answered, so that none is answered twice, and the audit log."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from mrf_kms.database import Cursor, Row, placeholders

_AUDIT = ("at", "message", "psk_id", "initiator", "responders", "ticket", "result", "call_id")


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


def write(cursor: Cursor, entries: Sequence[Entry]) -> list[bool]:
    """Write what answers leave behind: for each, whether its message was not answered before."""
    messages = {entry.replay_key: entry.replay_until for entry in entries if entry.replay_key is not None}
    new = _remember(cursor, messages)
    fresh = [entry.replay_key is None or _pop(new, entry.replay_key) for entry in entries]
    _write_audit(
        cursor, [entry.audit for entry, first in zip(entries, fresh, strict=True) if entry.audit and first]
    )
    return fresh


def read_audit(cursor: Cursor, since: float, psk_id: str | None, limit: int) -> list[AuditRecord]:
    """Give the newest records, oldest first."""
    wanted, values = "at >= ?", list[object]([since])
    if psk_id is not None:
        wanted, values = "at >= ? AND psk_id = ?", [since, psk_id]
    rows = cursor.run(
        f"SELECT {', '.join(_AUDIT)} FROM audit WHERE {wanted} ORDER BY number DESC LIMIT ?",  # noqa: S608 - constants
        *values,
        limit,
    )
    return [_record_of(row) for row in reversed(rows)]


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
