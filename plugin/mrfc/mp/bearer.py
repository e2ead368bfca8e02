"""The bearers of calls: BFCP terminations at MRFPs, and the contexts that conferences have there.

A context comes with the first termination of a conference and goes with its last (H.248.1 6.1). What is asked of an
MRFP is given back in every case, also when the call that wanted it was cancelled while the request was under way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Protocol

from mrf_ops.logs import BoundLogger
from mrf_protocols.h248.errors import ErrorCode
from mrf_protocols.h248.mp import (
    Acknowledgement,
    Address,
    Conference,
    ConfigureBfcpTermination,
    ConfigureReservedBfcpTermination,
    EventRequest,
    Procedure,
    ReleaseBfcpTermination,
    ReserveBfcpTermination,
    TerminationConfigured,
)
from mrf_protocols.h248.values import CHOOSE_CONTEXT
from mrfc.mp.controller import MrfpRefused, MrfpUnavailable
from mrfc.mp.floor_policies import conference_information, depends_on_participants
from mrfc.state import store
from mrfc.state.names import call_logger, conference_logger

log = logging.getLogger(__name__)

EVENTS = EventRequest(
    tcp_failure=True, tls_failure=True, released=True, tls_established=True, floor_decisions=True
)
"""What the focus wants to be told of every termination."""

Seizure = ConfigureBfcpTermination | ReserveBfcpTermination


class MpPort(Protocol):
    """Mp as the focus sees it. Its errors are those of mrfc.mp.controller."""

    def choose_mrfp(self, without: Collection[str] = ()) -> str:
        """The MRFP for a new conference: in service, with the least load, none of these. Raises MrfpUnavailable."""
        ...

    def has_mrfp(self) -> bool:
        """Whether an MRFP that can hold conferences is in service, be it congested."""
        ...

    def admit(self, mrfp: str) -> None:
        """One participant more in a conference of an MRFP. Raises MrfpUnavailable when it wants less work."""
        ...

    async def request(self, mrfp: str, procedure: Procedure) -> Acknowledgement:
        """Run one procedure at an MRFP. Raises MrfpUnavailable, MrfpTimeout or MrfpRefused."""
        ...


@dataclass(slots=True)
class _Context:
    """A conference's place at an MRFP: its context once there is one, and how many terminations want it."""

    mrfp: str
    users: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


def _nobody(mrfp: str, context: int, termination: str) -> None:
    """Nobody wants to know that a termination has its call."""


class Bearers:
    """Terminations of all calls. `on_bound` is told MRFP, context and name of each that has got its call."""

    def __init__(self, mp: MpPort, calls: store.Store) -> None:
        self._mp = mp
        self._store = calls
        self._contexts: dict[str, _Context] = {}
        self.on_bound: Callable[[str, int, str], None] = _nobody
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_use(self) -> int:
        """Terminations that stand or are being asked for."""
        return sum(context.users for context in self._contexts.values())

    @property
    def releasing(self) -> int:
        """Releases on their way."""
        return len(self._tasks)

    def has_mrfp(self) -> bool:
        """Whether there is an MRFP for conferences."""
        return self._mp.has_mrfp()

    async def seize(self, call: store.Call, wanted: Seizure) -> Address:
        """Configure or reserve a termination for a call, in its conference's context; gives its local address.

        Raises the errors of MpPort.
        """
        standing = self._contexts.get(self._conference(call).user)
        if standing is not None:  # a new conference goes where there is room; this one is where it is
            self._mp.admit(standing.mrfp)
        answer = await self._obtain(call, wanted)
        call.termination = answer.termination
        if answer.local is None:
            raise MrfpRefused(ErrorCode.INTERNAL_SOFTWARE_FAILURE, "no local address in the reply")
        return answer.local

    async def seize_another(self, call: store.Call, wanted: Seizure) -> tuple[str, Address]:
        """A further termination for a call: its name and local address. Whoever asks for it gives it to the call by
        `succeed`, or back by `drop`. Raises the errors of MpPort."""
        answer = await self._obtain(call, wanted)
        if answer.local is None:
            self.drop(call, answer.termination)
            raise MrfpRefused(ErrorCode.INTERNAL_SOFTWARE_FAILURE, "no local address in the reply")
        return answer.termination, answer.local

    async def _obtain(self, call: store.Call, wanted: Seizure) -> TerminationConfigured:
        conference = self._conference(call)
        context = self._contexts.get(conference.user)
        if context is None:
            context = self._contexts[conference.user] = _Context(self._mp.choose_mrfp())
            conference.mrfp = context.mrfp
        context.users += 1
        work = asyncio.get_running_loop().create_task(self._seize(conference, context, wanted))
        try:
            answer = await asyncio.shield(work)
        except asyncio.CancelledError:
            logger = call_logger(log, call)
            work.add_done_callback(lambda done: self._abandoned(conference, context, done, logger))
            raise
        except Exception:  # whatever failed, the place in the context is given back
            self._leave(conference, context)
            raise
        if self._contexts.get(conference.user) is not context:  # the MRFP went away at this very moment
            raise asyncio.CancelledError
        self._store.bind_termination(call, context.mrfp, answer.context, answer.termination)
        asyncio.get_running_loop().call_soon(self.on_bound, context.mrfp, answer.context, answer.termination)
        return answer

    async def _seize(
        self, conference: store.Conference, context: _Context, wanted: Seizure
    ) -> TerminationConfigured:
        async with context.lock:  # only the first comer makes the context, the others wait for it
            if conference.context is None:
                answer = await self._make_context(conference, context, wanted)
                conference.context = answer.context
                return answer
            number = conference.context
        information = self._information(conference) if depends_on_participants(conference) else None
        return await self._request(context.mrfp, replace(wanted, context=number, conference=information))

    async def _make_context(
        self, conference: store.Conference, context: _Context, wanted: Seizure
    ) -> TerminationConfigured:
        """The first termination of a conference: at the MRFP chosen, or at one that has what that one has not.

        Where none has it, the refusal is that of the first.
        """
        wanted = replace(wanted, context=CHOOSE_CONTEXT, conference=self._information(conference))
        refusals: dict[str, MrfpRefused] = {}
        while True:
            try:
                return await self._request(context.mrfp, wanted)
            except MrfpRefused as refused:
                refusals[context.mrfp] = last = refused
            other = self._another(refusals) if last.another_may else None
            if other is None:
                raise next(iter(refusals.values()))
            conference_logger(log, conference, call=wanted.correlation, user=str(wanted.user_id)).info(
                "%s cannot have the conference (%s), %s is asked",
                context.mrfp,
                last,
                other,
            )
            context.mrfp = conference.mrfp = other

    def _another(self, tried: Collection[str]) -> str | None:
        """The next MRFP to ask, None when there is none."""
        try:
            return self._mp.choose_mrfp(without=tried)
        except MrfpUnavailable:
            return None

    def _information(self, conference: store.Conference) -> Conference:
        return conference_information(conference, self._store)

    async def _request(self, mrfp: str, wanted: Seizure) -> TerminationConfigured:
        answer = await self._mp.request(mrfp, wanted)
        if not isinstance(answer, TerminationConfigured):
            raise TypeError(f"the Mp port answered Configure with {type(answer).__name__}")
        return answer

    def place(self, call: store.Call) -> tuple[str, int] | None:
        """MRFP and context of a call's conference."""
        conference = self._conference(call)
        if conference.mrfp is None or conference.context is None:
            return None
        return conference.mrfp, conference.context

    async def change(self, mrfp: str, wanted: ConfigureReservedBfcpTermination) -> None:
        """Configure a reserved termination. Raises the errors of MpPort."""
        await self._mp.request(mrfp, wanted)

    def give_back(self, call: store.Call) -> None:
        """Release what a call has of terminations; does not wait."""
        for termination in list(call.terminations):
            self.drop(call, termination)

    def succeed(self, call: store.Call, termination: str) -> None:
        """A further termination is to replace the one of the call, and does at once where there is none."""
        if not self._is_bound(call, termination) or termination == call.termination:
            return  # has failed meanwhile, or is in use already
        if call.termination is None:
            call.termination = termination
            return
        before, call.successor = call.successor, termination
        if before is not None:
            self.drop(call, before)

    def promote(self, call: store.Call, termination: str) -> None:
        """The connection of this termination is up: it is the call's, and others are released."""
        others = {call.termination, call.successor} - {termination, None}
        call.termination, call.successor, call.bearer_lost = termination, None, False
        for other in others:
            if other is not None:
                self.drop(call, other)

    def drop(self, call: store.Call, termination: str) -> None:
        """Release one termination of a call; does not wait."""
        conference = self._store.conference(call.conference_user)
        if conference is None or not self._is_bound(call, termination):
            return
        context, number = self._contexts[conference.user], conference.context
        self._unbind(call, conference, termination)
        if number is not None:
            self._leave(conference, context)
            procedure = ReleaseBfcpTermination(number, termination, call.dialog.call_id)
            self._release(context.mrfp, procedure, call_logger(log, call))

    def forget(self, call: store.Call) -> None:
        """The terminations of this call are gone by themselves."""
        conference = self._store.conference(call.conference_user)
        for termination in list(call.terminations):
            if conference is not None:
                self._unbind(call, conference, termination)

    def _is_bound(self, call: store.Call, termination: str) -> bool:
        place = self.place(call)
        return place is not None and self._store.call_on(*place, termination) is call

    def _unbind(self, call: store.Call, conference: store.Conference, termination: str) -> None:
        if conference.mrfp is not None and conference.context is not None:
            self._store.unbind_termination(conference.mrfp, conference.context, termination)
        if call.termination == termination:
            call.termination = None
        if call.successor == termination:
            call.successor = None

    def mrfp_lost(self, mrfp: str) -> None:
        """All contexts of an MRFP are gone."""
        for user, context in list(self._contexts.items()):
            if context.mrfp == mrfp:
                del self._contexts[user]
                conference = self._store.conference(user)
                if conference is not None:
                    conference.mrfp = conference.context = None

    def _conference(self, call: store.Call) -> store.Conference:
        conference = self._store.conference(call.conference_user)
        if conference is None:
            raise LookupError(f"call {call.dialog.call_id} is in no conference")
        return conference

    def _leave(self, conference: store.Conference, context: _Context) -> None:
        context.users -= 1
        if context.users == 0 and self._contexts.get(conference.user) is context:
            # What follows on the association after this moment must ask for a new context
            del self._contexts[conference.user]
            conference.mrfp = conference.context = None

    def _abandoned(
        self,
        conference: store.Conference,
        context: _Context,
        work: asyncio.Task[TerminationConfigured],
        logger: BoundLogger,
    ) -> None:
        """The call went away while its termination was being made: give it back as soon as it is known."""
        self._leave(conference, context)
        if work.cancelled() or work.exception() is not None:
            return
        answer = work.result()
        self._release(context.mrfp, ReleaseBfcpTermination(answer.context, answer.termination), logger)

    def _release(self, mrfp: str, procedure: ReleaseBfcpTermination, logger: BoundLogger) -> None:
        task = asyncio.get_running_loop().create_task(self._run_release(mrfp, procedure, logger))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_release(self, mrfp: str, procedure: ReleaseBfcpTermination, logger: BoundLogger) -> None:
        try:
            await self._mp.request(mrfp, procedure)
        except Exception as error:  # nobody waits for a release; its failure is told
            logger.warning("termination %s at %s was not released: %s", procedure.termination, mrfp, error)
