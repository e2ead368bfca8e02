"""What operators may do to the MRFC as a whole over HTTP: drain it, end a call, have the configuration read again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from mrf_ops.config import ConfigError, Secret
from mrfc.calls.calls import Calls
from mrfc.calls.rekey import Rekeys
from mrfc.calls.requests import RequestFailed
from mrfc.jobs import QueryAnswer, QueryJob
from mrfc.operator.http import Door, as_error, as_json
from mrfc.sip.refusal import Refusal
from mrfc.state.store import Call, Store

log = logging.getLogger(__name__)

CLOSED = "closed to operators; dial_out.operator_token_file in mrfc.toml opens it"


class Drain(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request to take no new calls, or to take them again."""

    draining: bool = True


class Operations:
    """`POST /drain`, `/reload`, `/calls/<call-id>/kick`, `/calls/<call-id>/rekey`. `reload` gives what a reload has
    changed."""

    def __init__(
        self,
        token: Secret | None,
        store: Store,
        calls: Calls,
        rekeys: Rekeys,
        reload: Callable[[], dict[str, list[str]]],
    ) -> None:
        self._door = Door(token, CLOSED)
        self._store = store
        self._calls = calls
        self._rekeys = rekeys
        self._reload = reload

    def drain(self, query: QueryJob) -> QueryAnswer:
        """New participants are refused with 503 and Retry-After; the calls that stand go on."""
        wanted = self._door.body(query, Drain, '{"draining": true or false}', none="{}")
        if isinstance(wanted, QueryAnswer):
            return wanted
        self._store.draining = wanted.draining
        log.warning("operator: %s", "no new calls" if wanted.draining else "new calls are taken again")
        return as_json(200, {"draining": wanted.draining, "calls": len(self._store.calls())})

    def kick(self, call_id: str, query: QueryJob) -> QueryAnswer:
        """End a call."""
        if (refused := self._door.refusal(query)) is not None:
            return refused
        found = self._named(call_id)
        for call in found:
            self._calls.logger(call).warning("operator: call ended")
            call.booted = True
            self._calls.end(call, "ended by the operator")
        if not found:
            return as_error(404, "no call has this Call-ID")
        return as_json(200, {"ended": len(found)})

    def rekey(self, call_id: str, query: QueryJob) -> QueryAnswer | Coroutine[Any, Any, QueryAnswer]:
        """Give a call a new key, by an offer of ours; answered when the participant has answered."""
        if (refused := self._door.refusal(query)) is not None:
            return refused
        found = self._named(call_id)
        if not found:
            return as_error(404, "no call has this Call-ID")
        return self._rekey_all(found)

    def _named(self, call_id: str) -> list[Call]:
        """The calls with a Call-ID; a forked INVITE may have begun several."""
        return [call for call in self._store.calls() if call.dialog.call_id == call_id]

    async def _rekey_all(self, calls: list[Call]) -> QueryAnswer:
        for call in calls:
            self._calls.logger(call).warning("operator: re-keyed")
            try:
                await self._rekeys.rekey(call)
            except (Refusal, RequestFailed) as error:
                return as_error(409, f"not re-keyed, the old key stays: {error}")
        return as_json(200, {"rekeyed": len(calls)})

    def reload(self, query: QueryJob) -> QueryAnswer:
        """Read the configuration again."""
        if (refused := self._door.refusal(query)) is not None:
            return refused
        try:
            return as_json(200, self._reload())
        except ConfigError as error:
            for fault in error.faults:
                log.error("not reloaded: %s", fault)
            return as_json(409, {"error": "not reloaded", "faults": [str(fault) for fault in error.faults]})
