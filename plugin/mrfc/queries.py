"""What an operator may ask the engine over HTTP: health, metrics and the state in figures and lists."""

from __future__ import annotations

import re
from collections.abc import Coroutine
from typing import Any
from urllib.parse import unquote

import msgspec

from mrf_ops import metrics
from mrfc.bearer import Bearers
from mrfc.floors import Floors
from mrfc.jobs import QueryAnswer, QueryJob
from mrfc.measures import Measures
from mrfc.mp_controller import MpController
from mrfc.operator_calls import OperatorCalls
from mrfc.operator_floors import OperatorFloors
from mrfc.store import Store

JSON = "application/json"
TEXT = "text/plain"
PARTICIPANTS = re.compile(r"/conferences/([^/]+)/participants")
REQUESTS = re.compile(r"/conferences/([^/]+)/requests/(\d{1,5})")
CHAIRS = re.compile(r"/conferences/([^/]+)/floors/(\d{1,5})/chair")
DIAL_OUTS = "/dial-outs/"

Answer = QueryAnswer | Coroutine[Any, Any, QueryAnswer]
"""An answer, or the work that ends in one: what an MRFP has to be asked for."""


class Queries:
    """Answers from the store, at the moment of asking."""

    def __init__(
        self,
        store: Store,
        bearers: Bearers,
        mp: MpController,
        measures: Measures,
        operator: OperatorCalls,
        floors: Floors,
        operator_floors: OperatorFloors,
    ) -> None:
        self._store = store
        self._bearers = bearers
        self._mp = mp
        self._measures = measures
        self._operator = operator
        self._floors = floors
        self._operator_floors = operator_floors

    def answer(self, query: QueryJob) -> Answer:
        """The answer to one request."""
        path = query.path.partition("?")[0]
        for pattern, work in (
            (REQUESTS, self._operator_floors.decide),
            (CHAIRS, self._operator_floors.appoint),
        ):
            if (named := pattern.fullmatch(path)) is not None:
                if query.method != "POST":
                    return _only("POST")
                return work(unquote(named[1]), int(named[2]), query)
        if (invited := PARTICIPANTS.fullmatch(path)) is not None:
            if query.method != "POST":
                return _only("POST")
            return self._operator.invite(unquote(invited[1]), query)
        known = {
            "/health": self._health,
            "/metrics": self._metrics,
            "/status": self._status,
            "/conferences": self._conferences,
            "/calls": self._calls,
            "/mrfps": self._mrfps,
            "/floors": self._all_floors,
        }.get(path)
        if known is None and not path.startswith(DIAL_OUTS):
            return QueryAnswer(404, TEXT, "not found\n")
        if query.method != "GET":
            return _only("GET")
        return known() if known is not None else self._operator.outcome(unquote(path[len(DIAL_OUTS) :]))

    def _health(self) -> QueryAnswer:
        ready = bool(self._mp.mrfps())
        return _json({"status": "ready" if ready else "no MRFP is registered"}, 200 if ready else 503)

    def _metrics(self) -> QueryAnswer:
        self._measures.calls.set(len(self._store.calls()))
        self._measures.conferences.set(len(self._store.conferences()))
        self._measures.terminations.set(self._bearers.in_use)
        return QueryAnswer(200, metrics.CONTENT_TYPE, self._measures.metrics.render().decode())

    def _status(self) -> QueryAnswer:
        return _json(
            {
                "calls": len(self._store.calls()),
                "conferences": len(self._store.conferences()),
                "terminations": self._bearers.in_use,
                "releasing": self._bearers.releasing,
                "mrfps": len(self._mp.mrfps()),
            }
        )

    def _conferences(self) -> QueryAnswer:
        return _json(
            [
                {
                    "user": conference.user,
                    "id": conference.conference_id,
                    "participants": len(conference.seats),
                    "mrfp": conference.mrfp,
                    "context": conference.context,
                }
                for conference in self._store.conferences()
            ]
        )

    def _calls(self) -> QueryAnswer:
        return _json(
            [
                {
                    "call_id": call.dialog.call_id,
                    "conference": call.conference_user,
                    "user": call.user_id,
                    "remote": call.remote_uri,
                    "state": call.state.value,
                    "termination": call.termination,
                }
                for call in self._store.calls()
            ]
        )

    def _all_floors(self) -> QueryAnswer:
        return _json(self._floors.overview())

    def _mrfps(self) -> QueryAnswer:
        return _json(self._mp.mrfps())


def _only(method: str) -> QueryAnswer:
    return QueryAnswer(405, TEXT, f"only {method} is served here\n", (("Allow", method),))


def _json(value: object, status: int = 200) -> QueryAnswer:
    return QueryAnswer(status, JSON, msgspec.json.encode(value).decode() + "\n")
