"""What an operator may ask the engine over HTTP: health, metrics and the state in figures and lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from mrf_ops import metrics
from mrfc.jobs import QueryAnswer, QueryJob
from mrfc.measures import Measures
from mrfc.mp.bearer import Bearers
from mrfc.mp.controller import MpController
from mrfc.operator import rows
from mrfc.operator.calls import OperatorCalls
from mrfc.operator.floors import OperatorFloors
from mrfc.operator.http import JSON, as_json
from mrfc.operator.operations import Operations
from mrfc.operator.page import Page
from mrfc.roster.notifier import Notifier
from mrfc.state.store import Store

TEXT = "text/plain"
PARTICIPANTS = re.compile(r"/conferences/([^/]+)/participants")
REQUESTS = re.compile(r"/conferences/([^/]+)/requests/(\d{1,5})")
CHAIRS = re.compile(r"/conferences/([^/]+)/floors/(\d{1,5})/chair")
REKEYS = re.compile(r"/calls/([^/]+)/rekey")
KICKS = re.compile(r"/calls/([^/]+)/kick")
DRAIN, RELOAD = re.compile("/drain"), re.compile("/reload")
MAX_ROWS = 200
MAX_ANSWER = 50_000  # octets; one answer is one datagram from the engine to Kamailio's HTTP server
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
        operator_floors: OperatorFloors,
        operations: Operations,
        page: Page,
        notifier: Notifier,
    ) -> None:
        self._notifier = notifier
        self._store = store
        self._bearers = bearers
        self._mp = mp
        self._measures = measures
        self._operator = operator
        self._page = page
        self._posts: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], QueryJob], Answer]], ...] = (
            (REQUESTS, lambda at, query: operator_floors.decide(unquote(at[1]), int(at[2]), query)),
            (CHAIRS, lambda at, query: operator_floors.appoint(unquote(at[1]), int(at[2]), query)),
            (PARTICIPANTS, lambda at, query: operator.invite(unquote(at[1]), query)),
            (KICKS, lambda at, query: operations.kick(unquote(at[1]), query)),
            (REKEYS, lambda at, query: operations.rekey(unquote(at[1]), query)),
            (DRAIN, lambda _, query: operations.drain(query)),
            (RELOAD, lambda _, query: operations.reload(query)),
        )

    def answer(self, query: QueryJob) -> Answer:
        """The answer to one request."""
        path = query.path.partition("?")[0]
        for pattern, work in self._posts:
            if (named := pattern.fullmatch(path)) is not None:
                return work(named, query) if query.method == "POST" else _only("POST")
        known = self._known(path, query.path)
        if known is None and query.method == "GET" and (of_page := self._page.answer(path)) is not None:
            return of_page
        if known is None and not path.startswith(DIAL_OUTS):
            return QueryAnswer(404, TEXT, "not found\n")
        if query.method != "GET":
            return _only("GET")
        return known() if known is not None else self._operator.outcome(unquote(path[len(DIAL_OUTS) :]))

    def _known(self, path: str, whole: str) -> Callable[[], QueryAnswer] | None:
        """What GET of a fixed path is answered by; `whole` has the query part, too."""
        plain: dict[str, Callable[[], QueryAnswer]] = {
            "/health": self._health,
            "/ready": self._health,
            "/live": self._live,
            "/metrics": self._metrics,
            "/status": self._status,
        }
        lists: dict[str, Callable[[], Sequence[object]]] = {
            "/conferences": lambda: rows.conferences(self._store, self._notifier.subscribers),
            "/calls": lambda: rows.calls(self._store),
            "/mrfps": self._mp.mrfps,
            "/floors": lambda: rows.floors(self._store),
        }
        listed = lists.get(path)
        return plain.get(path) if listed is None else lambda: _part(whole, listed())

    def _health(self) -> QueryAnswer:
        wrong = ""
        if self._store.draining:
            wrong = "draining: no new calls"
        elif not self._mp.mrfps():
            wrong = "no MRFP is registered"
        elif not any(mrfp.in_service for mrfp in self._mp.mrfps()):
            wrong = "no MRFP is in service"
        return as_json(503 if wrong else 200, {"status": wrong or "ready"})

    def _live(self) -> QueryAnswer:
        return as_json(200, {"status": "ok"})

    def _metrics(self) -> QueryAnswer:
        self._measures.calls.set(len(self._store.calls()))
        self._measures.conferences.set(len(self._store.conferences()))
        self._measures.terminations.set(self._bearers.in_use)
        mrfps = self._mp.mrfps()
        in_service = sum(mrfp.in_service for mrfp in mrfps)
        self._measures.mrfps.labels("in_service").set(in_service)
        self._measures.mrfps.labels("out_of_service").set(len(mrfps) - in_service)
        self._measures.subscriptions.set(self._notifier.subscriptions)
        self._measures.draining.set(self._store.draining)
        self._floor_figures()
        return QueryAnswer(200, metrics.CONTENT_TYPE, self._measures.metrics.render().decode())

    def _floor_figures(self) -> None:
        holders = queued = 0
        for conference in self._store.conferences():
            holders += sum(map(len, conference.floor_state.holders.values()))
            queued += sum(map(len, conference.floor_state.queues.values()))
        self._measures.floor_requests.labels("granted").set(holders)
        self._measures.floor_requests.labels("queued").set(queued)

    def _status(self) -> QueryAnswer:
        return as_json(
            200,
            {
                "calls": len(self._store.calls()),
                "conferences": len(self._store.conferences()),
                "terminations": self._bearers.in_use,
                "releasing": self._bearers.releasing,
                "mrfps": len(self._mp.mrfps()),
                "subscriptions": self._notifier.subscriptions,
                "draining": self._store.draining,
            },
        )


def _part(path: str, listed: Sequence[object]) -> QueryAnswer:
    """`?from=N` gives what fits one answer from the N-th row on; X-Total tells how many there are."""
    begin = parse_qs(path.partition("?")[2]).get("from", ["0"])[0]
    first = int(begin) if begin.isascii() and begin.isdigit() else 0
    encoded: list[str] = []
    room = MAX_ANSWER
    for row in listed[first : first + MAX_ROWS]:
        text = msgspec.json.encode(row).decode()
        room -= len(text) + 1
        if room < 0:
            break
        encoded.append(text)
    headers = (("X-Total", str(len(listed))),)
    return QueryAnswer(200, JSON, f"[{','.join(encoded)}]\n", headers)


def _only(method: str) -> QueryAnswer:
    return QueryAnswer(405, TEXT, f"only {method} is served here\n", (("Allow", method),))
