"""What becomes of the calls of an MRFP that is lost: they end, or move to another MRFP by a re-INVITE of ours.

A moved call gets an offer of a new connection under a new key (rekey.py) to a termination in a new context of its
conference. Floor requests have died with the MRFP; participants ask again over their new connections.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from mrf_ops.logs import bind
from mrfc.calls.calls import Calls
from mrfc.calls.connections import Connections
from mrfc.calls.rekey import Rekeys
from mrfc.calls.requests import RequestFailed
from mrfc.config import Mp
from mrfc.jobs import CallKey
from mrfc.measures import Measures
from mrfc.mp.bearer import Bearers
from mrfc.sip.dialog import DialogState
from mrfc.sip.refusal import Refusal
from mrfc.state.store import Call, Store

log = logging.getLogger(__name__)

AT_ONCE = 32
"""Calls that are being moved at the same time; the others wait for their turn."""

LOST = "MRFP lost"


def _nobody(gone: Call | str) -> None:
    """Nobody wants to know what has gone with an MRFP."""


class Moves:
    """Moves of all calls. `on_call_gone` is told each call whose terminations are gone, before it moves, and
    `on_floors_gone` each conference whose floor requests are gone with them."""

    def __init__(
        self,
        store: Store,
        bearers: Bearers,
        calls: Calls,
        connections: Connections,
        rekeys: Rekeys,
        measures: Measures,
        config: Mp,
    ) -> None:
        self._store = store
        self._bearers = bearers
        self._calls = calls
        self._connections = connections
        self._rekeys = rekeys
        self._measures = measures
        self._wanted = config.on_mrfp_loss == "move"
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[CallKey, asyncio.Task[None]] = {}
        self.on_call_gone: Callable[[Call], None] = _nobody
        self.on_floors_gone: Callable[[str], None] = _nobody

    @property
    def running(self) -> int:
        """Calls that are being moved."""
        return len(self._tasks)

    def mrfp_lost(self, mrfp: str) -> None:
        """Nothing of this MRFP exists any more: the conferences on it have lost their floor control."""
        lost = list(self._store.calls_on(mrfp))
        if not self._wanted or not self._bearers.has_mrfp():
            self._end_all(mrfp, lost)
            return
        with_floors = {call.dialog.key for call in lost if call.terminations}
        for call in lost:
            self._bearers.forget(call)
        self._bearers.mrfp_lost(mrfp)
        by_conference: dict[str, list[Call]] = {}
        for call in lost:
            by_conference.setdefault(call.conference_user, []).append(call)
        for user, calls in by_conference.items():
            self._move_conference(mrfp, user, calls, with_floors)

    def forget(self, call: Call) -> None:
        """The call has ended."""
        if self._stop(call):
            self._measures.moved_calls.labels("left").inc()

    def _stop(self, call: Call) -> bool:
        """Whether the call was being moved."""
        task = self._tasks.pop(call.dialog.key, None)
        if task is None or task is asyncio.current_task():
            return False
        task.cancel()
        return True

    def _end_all(self, mrfp: str, lost: list[Call]) -> None:
        for call in lost:
            self._bearers.forget(call)
            self._stop(call)
            self._calls.end(call, LOST)
            if self._wanted:
                self._measures.moved_calls.labels("ended").inc()
        if lost and self._wanted:
            log.warning("Mp: MRFP %s lost, and no other one in service: its %d calls end", mrfp, len(lost))
        self._bearers.mrfp_lost(mrfp)

    def _move_conference(self, mrfp: str, user: str, calls: list[Call], with_floors: set[CallKey]) -> None:
        for call in calls:
            self.on_call_gone(call)
        self.on_floors_gone(user)
        moving = 0
        for call in calls:
            concerned = call.dialog.key in with_floors or call.dialog.key in self._tasks
            if call.state is DialogState.ENDING:
                continue
            if call.state is not DialogState.CONFIRMED:
                self._cannot(call, "the call is not confirmed")
            elif concerned and not call.secured:
                self._cannot(call, "its connection has no key")
            elif concerned:
                self._start(call)
                moving += 1
        number = str(next((call.conference_id for call in calls), ""))
        bind(log, conference=user, bfcp_conference=number).warning(
            "Mp: MRFP %s lost: %d of %d participants move to another MRFP", mrfp, moving, len(calls)
        )

    def _cannot(self, call: Call, why: str) -> None:
        self._measures.moved_calls.labels("ended").inc()
        self._stop(call)
        self._calls.logger(call).warning("%s not moved to another MRFP: %s", call.remote_uri, why)
        self._calls.end(call, LOST)

    def _start(self, call: Call) -> None:
        self._stop(call)  # where it was moving to is lost as well
        call.bearer_lost = True
        self._tasks[call.dialog.key] = asyncio.get_running_loop().create_task(self._move(call))

    async def _move(self, call: Call) -> None:
        try:
            async with self._turns:
                await self._rekeys.replace(call)
        except (Refusal, RequestFailed) as error:
            self._failed(call, str(error))
        except Exception:  # a fault of one move ends that call only
            self._calls.logger(call).exception("moving failed")
            self._failed(call, "a fault of the MRFC")
        else:
            self._measures.moved_calls.labels("moved").inc()
            self._calls.logger(call).info("%s moved to another MRFP", call.remote_uri)
        finally:
            if self._tasks.get(call.dialog.key) is asyncio.current_task():
                del self._tasks[call.dialog.key]

    def _failed(self, call: Call, why: str) -> None:
        if call.state is not DialogState.CONFIRMED:
            self._measures.moved_calls.labels("left").inc()
        elif not call.bearer_lost:
            self._measures.moved_calls.labels("by_itself").inc()
        elif call.terminations:  # the participant's own new connection may still come
            self._measures.moved_calls.labels("by_itself").inc()
            self._connections.awaits(call, LOST)
        else:
            self._cannot(call, why)
