"""Participants removed because somebody asks for it (RFC 4579 5.6), or a rule of the conference does."""

from __future__ import annotations

from collections.abc import Iterable

from mrf_protocols.mikey import MikeyError, kms_user_identity
from mrfc.calls.calls import Calls
from mrfc.calls.permits import Permits
from mrfc.measures import Measures
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state.store import Call, Conference, Store


class Removals:
    """Finds who is meant, and ends calls."""

    def __init__(self, calls_store: Store, calls: Calls, permits: Permits, measures: Measures) -> None:
        self._store = calls_store
        self._calls = calls
        self._permits = permits
        self._measures = measures

    def named(self, conference: Conference, target: str) -> list[Call]:
        """The calls of a participant, by the URI under which others see him; all of them for the conference's own URI.

        Raises Refusal when nobody is meant.
        """
        present = [call for key in conference.seats.values() if (call := self._store.call_with(key))]
        if self._permits.names(conference, target):
            return present
        wanted = _identity(target)
        found = [
            call for call in present if wanted and _identity(call.identity.shown_uri(call.user_id)) == wanted
        ]
        if not found:
            raise Refusal(Cause.UNKNOWN_PARTICIPANT)
        return found

    def remove(self, calls: Iterable[Call], reason: str, by: str) -> None:
        """End calls; `by` is what has wanted it, for the figures."""
        for call in calls:
            self._measures.removals.labels(by).inc()
            call.booted = True
            self._calls.end(call, reason)


def _identity(uri: str) -> str:
    try:
        return kms_user_identity(uri)
    except MikeyError:
        return ""
