"""Dial-outs that an operator asks for over HTTP, and what became of them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated

import msgspec

from mrfc.calls import permits
from mrfc.calls.dial_out import DialOuts, Outcome
from mrfc.config import DialOut
from mrfc.jobs import QueryAnswer, QueryJob
from mrfc.operator.http import Door, as_error, as_json
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state import store

REMEMBERED = 1_000  # dial-outs whose state can be asked for
CLOSED = "dial-out by operators is closed; dial_out.operator_token_file in mrfc.toml opens it"


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request."""

    uri: Annotated[str, msgspec.Meta(max_length=512)]


@dataclass(slots=True)
class _Entry:
    """One dial-out, as it is told to operators."""

    call_id: str
    conference: str
    uri: str
    state: str = "calling"
    status: int = 0
    reason: str = ""


class OperatorCalls:
    """`POST /conferences/<user>/participants` and `GET /dial-outs/<call-id>`."""

    def __init__(
        self, config: DialOut, calls_store: store.Store, dial_outs: DialOuts, rules: permits.Permits
    ) -> None:
        self._door = Door(config.operator_token_file, CLOSED)
        self._store = calls_store
        self._dial_outs = dial_outs
        self._permits = rules
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def invite(self, user: str, query: QueryJob) -> QueryAnswer:
        """Call a participant into the conference with this URI user part."""
        wanted = self._door.body(query, Wanted, '{"uri": "sip:..."}')
        if isinstance(wanted, QueryAnswer):
            return wanted
        conference = self._store.conference(user)
        if conference is None:
            return as_error(404, Cause.UNKNOWN_CONFERENCE.value.meaning)
        try:
            callee = permits.invitee(wanted.uri)
            self._permits.refuse_own(callee)
            entry = self._start(conference, callee)
        except Refusal as refusal:
            return as_error(refusal.cause.value.status, refusal.detail or refusal.cause.value.meaning)
        return as_json(202, {"call_id": entry.call_id})

    def outcome(self, call_id: str) -> QueryAnswer:
        """What is known of a dial-out."""
        entry = self._entries.get(call_id)
        return as_error(404, "no such dial-out, or it is long ago") if entry is None else as_json(200, entry)

    def _start(self, conference: store.Conference, callee: str) -> _Entry:
        entry = _Entry("", conference.user, callee)

        def watch(outcome: Outcome) -> None:
            entry.status, entry.reason = outcome.status, outcome.reason
            if outcome.status >= 200:
                entry.state = "joined" if outcome.status < 300 else "failed"
            else:
                entry.state = "ringing"

        entry.call_id = self._dial_outs.start(conference, callee, watch).dialog.call_id
        self._entries[entry.call_id] = entry
        while len(self._entries) > REMEMBERED:
            self._entries.popitem(last=False)
        return entry
