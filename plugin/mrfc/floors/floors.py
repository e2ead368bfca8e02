"""Floors at the MRFC: keeps their state from reports, lets media follow them, and carries out what operators want.

TS 23.333 6.2.13.2: the MRFP decides and reports, the MRFC changes the media and confirms.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Literal

import msgspec

from mrf_protocols.h248.mp import (
    ConfigureConference,
    ConfirmMediaUpdate,
    Decision,
    DesignateFloorChair,
    FloorRequestDecision,
    FloorRequestReport,
    FloorRequestState,
)
from mrfc.calls.calls import Calls
from mrfc.floors.media_hook import AtMixer, FloorEvent, FloorStreams, HookFailed, MediaHook
from mrfc.measures import Measures
from mrfc.mp.bearer import MpPort
from mrfc.mp.controller import MpError
from mrfc.mp.floor_policies import conference_information, is_one_of
from mrfc.state.floor_state import ENDS, HOLDING, FloorState
from mrfc.state.names import conference_logger
from mrfc.state.store import Call, Conference, Store

log = logging.getLogger(__name__)

REPORTS_TAKE = 2.0  # seconds in which an MRFP that was configured anew has reported its requests


class NoSuchThing(LookupError):
    """The conference, floor, request or user is not there; the text says which."""


class Floors:
    """Floors of all conferences. `hook` None: nobody is told of changes. `publish`: events go to Kamailio, too."""

    def __init__(
        self,
        store: Store,
        mp: MpPort,
        calls: Calls,
        measures: Measures,
        hook: MediaHook | None = None,
        *,
        publish: bool = False,
    ) -> None:
        self._measures = measures
        self._store = store
        self._mp = mp
        self._calls = calls
        self._hook = hook
        self._publish = publish
        self._tasks: set[asyncio.Task[None]] = set()
        self._unconfirmed: dict[str, set[int]] = {}
        self.on_changed: Callable[[Call], None] = lambda call: None
        """Told each call whose floors or offices have changed."""

    @property
    def running(self) -> int:
        """Procedures under way that nobody waits for."""
        return len(self._tasks)

    # What the MRFP and the calls do

    def bound(self, call: Call) -> None:
        """A participant has a termination: designate it the chair of the floors that are meant for it."""
        conference = self._store.conference(call.conference_user)
        if conference is None:
            return
        state = conference.floor_state
        mine = tuple(
            floor.id
            for floor in conference.floors
            if floor.chair and floor.id not in state.chairs and is_one_of(call.identity.uri, [floor.chair])
        )
        if mine:
            state.chairs.update(dict.fromkeys(mine, call.user_id))
            self.on_changed(call)
            self._start(self._designate_first(conference, call, mine))

    async def _designate_first(self, conference: Conference, call: Call, floors: tuple[int, ...]) -> None:
        try:
            await self._designate(conference, call, floors)
        except (MpError, NoSuchThing) as error:
            self._calls.logger(call).warning("chair of floor %s not designated: %s", floors, error)
            for floor_id in floors:
                conference.floor_state.chairs.pop(floor_id, None)

    def reported(self, mrfp: str, report: FloorRequestReport) -> None:
        """Report Floor Request Decision: keep it, and let the media follow."""
        call = self._store.call_on(mrfp, report.context, report.termination)
        conference = None if call is None else self._store.conference(call.conference_user)
        if call is None or conference is None:
            return  # has just left, and its requests with it
        self._measures.floor_reports.labels(report.state.value.lower()).inc()
        before = conference.floor_state.requests.get(report.floor_request_id)
        held = before is not None and before.state in HOLDING
        self._unconfirmed.get(conference.user, set()).discard(report.floor_request_id)
        conference.floor_state.apply(report, call.user_id)
        self.on_changed(call)
        if self._calls.logger(call).isEnabledFor(logging.INFO):
            self._calls.logger(call).info(
                "floor request %d for %s: %s%s",
                report.floor_request_id,
                ", ".join(map(str, report.floors)),
                report.state.value,
                f" ({report.reason})" if report.reason else "",
            )
        if report.state is FloorRequestState.GRANTING:
            self._start(self._change_media(conference, call, report))
        elif report.state is FloorRequestState.GRANTED and not held:
            self._tell(conference, call, "grant", report.floor_request_id, report.floors)
        elif report.state in ENDS and held:
            self._tell(conference, call, "release", report.floor_request_id, report.floors)

    def left(self, call: Call) -> None:
        """A participant's termination is given back, and what it held is free."""
        conference = self._store.conference(call.conference_user)
        if conference is not None:
            for record in conference.floor_state.user_left(call.user_id):
                self._tell(conference, call, "release", record.request_id, record.floors)

    def begin_anew(self, user: str) -> None:
        """All floor requests of a conference, and the offices of chairs, are gone with its MRFP."""
        if (conference := self._store.conference(user)) is None:
            return
        self._unconfirmed.pop(user, None)
        conference.floor_state = FloorState()
        for key in conference.seats.values():
            if (call := self._store.call_with(key)) is not None:
                self.on_changed(call)

    def returned(self, mrfp: str) -> None:
        """An MRFP is in service, perhaps again: what it did meanwhile it reports when it is configured anew."""
        for conference in self._store.conferences():
            if conference.mrfp == mrfp and conference.context is not None:
                self._unconfirmed[conference.user] = set(conference.floor_state.requests)
                self._start(self._configure_anew(conference, mrfp, conference.context))

    def policies_changed(self) -> None:
        """The configuration was read again: what is different holds for standing conferences, too."""
        for mrfp in {conference.mrfp for conference in self._store.conferences() if conference.mrfp}:
            self.returned(mrfp)

    async def _configure_anew(self, conference: Conference, mrfp: str, context: int) -> None:
        information = conference_information(conference, self._store)
        try:
            await self._mp.request(mrfp, ConfigureConference(context, information))
            await asyncio.sleep(REPORTS_TAKE)
        except MpError as error:
            conference_logger(log, conference).warning("floors not configured anew: %s", error)
            return
        for request_id in self._unconfirmed.pop(conference.user, set()):
            self._forget(conference, request_id)

    def _forget(self, conference: Conference, request_id: int) -> None:
        """A request has ended without a report."""
        record = conference.floor_state.requests.get(request_id)
        if record is None:
            return
        held = record.state in HOLDING
        end = FloorRequestReport(0, "", request_id, record.floors, FloorRequestState.CANCELLED)
        conference.floor_state.apply(end, record.user_id)
        key = conference.seats.get(record.user_id)
        call = None if key is None else self._store.call_with(key)
        if held and call is not None:
            self._tell(conference, call, "release", request_id, record.floors)

    # Media

    def _tell(
        self,
        conference: Conference,
        call: Call,
        what: Literal["grant", "release"],
        request_id: int,
        floor_ids: tuple[int, ...],
    ) -> asyncio.Future[None] | None:
        """Tell the operator's hook and Kamailio; gives the hook's answer to come."""
        if self._hook is None and not self._publish:
            return None
        streams = {floor.id: tuple(floor.streams) for floor in conference.floors}
        conference.events += 1
        event = FloorEvent(
            conference.user,
            conference.conference_id,
            conference.events,
            what,
            request_id,
            tuple(FloorStreams(floor_id, streams.get(floor_id, ())) for floor_id in floor_ids),
            call.user_id,
            call.operators_uri,
            call.dialog.call_id,
            AtMixer.of(call.mixer),
        )
        if self._publish and not self._calls.sip.publish(msgspec.json.encode(event).decode()):
            self._calls.logger(call).warning("event %d could not be published", event.number)
        return None if self._hook is None else self._hook.tell(event)

    async def _change_media(self, conference: Conference, call: Call, report: FloorRequestReport) -> None:
        """Confirm Media Update, once the hook has answered (TS 23.333 6.2.13.2.5)."""
        state = conference.floor_state
        answer = self._tell(conference, call, "grant", report.floor_request_id, report.floors)
        done, reason = True, ""
        try:
            if answer is not None:
                await answer
        except HookFailed as error:
            done, reason = False, f"media not changed: {error}"
        self._measures.media_updates.labels("done" if done else "failed").inc()
        if conference.floor_state is not state or state.requests.get(report.floor_request_id) is None:
            return  # taken back meanwhile; the hook is told that, too
        procedure = ConfirmMediaUpdate(
            report.context, report.termination, report.floor_request_id, done, reason
        )
        try:
            await self._mp.request(conference.mrfp or "", procedure)
        except MpError as error:
            self._calls.logger(call).warning("media update not confirmed: %s", error)

    # Operators

    async def decide(self, user: str, request_id: int, decision: Decision, reason: str) -> None:
        """Grant, deny or revoke. Raises NoSuchThing, MpError."""
        conference = self._conference(user)
        record = conference.floor_state.requests.get(request_id)
        if record is None:
            raise NoSuchThing(f"no floor request {request_id} in this conference")
        mrfp, context, termination = self._place(conference, self._call(conference, record.user_id))
        await self._mp.request(mrfp, FloorRequestDecision(context, termination, request_id, decision, reason))
        self._measures.operator_decisions.labels(decision.value).inc()
        conference_logger(log, conference).info(
            "operator: %s request %d %s", decision.value, request_id, reason
        )

    async def appoint(self, user: str, floor_id: int, user_id: int | None) -> None:
        """Give a floor another chair, or none. Raises NoSuchThing, MpError."""
        conference = self._conference(user)
        if all(floor.id != floor_id for floor in conference.floors):
            raise NoSuchThing(f"no floor {floor_id} in this conference")
        chairs = conference.floor_state.chairs
        call = None if user_id is None else self._call(conference, user_id)
        former = chairs.get(floor_id)
        if former == user_id:
            return
        if former is not None:  # two chairs are one too many, for the MRFP as well (error 479)
            others = tuple(floor for floor, chair in chairs.items() if chair == former and floor != floor_id)
            was = self._call(conference, former)
            await self._designate(conference, was, others)
            chairs.pop(floor_id, None)
            self.on_changed(was)
        if call is not None:
            mine = tuple(floor for floor, chair in chairs.items() if chair == call.user_id)
            await self._designate(conference, call, (*mine, floor_id))
            chairs[floor_id] = call.user_id
            self.on_changed(call)
        conference_logger(log, conference).info(
            "operator: chair of floor %d is %s", floor_id, user_id or "nobody"
        )

    async def _designate(self, conference: Conference, call: Call, floors: tuple[int, ...]) -> None:
        mrfp, context, termination = self._place(conference, call)
        await self._mp.request(mrfp, DesignateFloorChair(context, termination, floors, call.dialog.call_id))

    # Inside

    def _conference(self, user: str) -> Conference:
        conference = self._store.conference(user)
        if conference is None:
            raise NoSuchThing("no conference has this name")
        return conference

    def _call(self, conference: Conference, user_id: int) -> Call:
        key = conference.seats.get(user_id)
        call = None if key is None else self._store.call_with(key)
        if call is None:
            raise NoSuchThing(f"no user {user_id} in this conference")
        return call

    def _place(self, conference: Conference, call: Call) -> tuple[str, int, str]:
        if conference.mrfp is None or conference.context is None or call.termination is None:
            raise NoSuchThing(f"user {call.user_id} has no connection")
        return conference.mrfp, conference.context, call.termination

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
