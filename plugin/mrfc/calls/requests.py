"""INVITE and UPDATE of ours within the dialogs of calls: sends them in their turn, and tells what became of them.

    response = await requests.send(call, "UPDATE", lambda: Content())
    response = await requests.send(call, "INVITE", lambda: Content(offer()))

The content is made anew for every attempt, since what the peer did meanwhile may have changed the session. A 491 is
tried again, a 408 or 481 ends the call; the ACK of a 2xx is Kamailio's. The machine is in mrfc.sip.turns.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from mrfc import jobs
from mrfc.calls.calls import Calls
from mrfc.config import Sip
from mrfc.measures import Measures
from mrfc.sip import capabilities, headers
from mrfc.sip.dialog import DialogEvent, DialogState
from mrfc.sip.port import Fields
from mrfc.sip.refusal import Refusal
from mrfc.sip.sip_dialog import request
from mrfc.sip.trace import SipTrace
from mrfc.sip.turns import Result, Turns, Verdict, Wish
from mrfc.state.store import Call


@dataclass(frozen=True, slots=True)
class Content:
    """What a request carries: a session description ("" for none), and header fields beside the usual ones."""

    body: str = ""
    headers: Fields = ()


class RequestFailed(Exception):
    """A request of ours came to nothing: a final response from 300 on, or none; `ended`: the call is over."""

    def __init__(self, status: int, reason: str, ended: bool, job: jobs.ResponseJob | None = None) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.ended = ended
        self.job = job


@dataclass(slots=True)
class _Asked:
    content: Callable[[], Content]
    answer: asyncio.Future[jobs.ResponseJob]


@dataclass(slots=True)
class _Line:
    """What is under way in one dialog."""

    call: Call
    turns: Turns
    timer: asyncio.TimerHandle | None = None
    acks: dict[int, asyncio.TimerHandle] = field(default_factory=dict)


def _nothing(call: Call, method: str) -> Fields:
    """No further header fields."""
    return ()


def _unnoticed(call: Call, job: jobs.ResponseJob) -> None:
    """Nobody wants to know of refreshes."""


class Requests:
    """All dialogs that have something under way.

    `more_headers` gives what every INVITE and UPDATE of ours carries beside the usual, `on_refreshed` is told each 2xx.
    """

    def __init__(
        self,
        config: Sip,
        calls: Calls,
        trace: SipTrace,
        measures: Measures,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._calls = calls
        self._trace = trace
        self._measures = measures
        self._chance = chance
        self._lines: dict[jobs.CallKey, _Line] = {}
        self._asked: dict[Wish, _Asked] = {}
        self.more_headers: Callable[[Call, str], Fields] = _nothing
        self.on_refreshed: Callable[[Call, jobs.ResponseJob], None] = _unnoticed
        calls.on_answered = self._answered

    @property
    def under_way(self) -> int:
        """Dialogs in which a request is under way or waits, in whatever direction."""
        return len(self._lines)

    async def send(
        self, call: Call, method: str, content: Callable[[], Content], *, offers: bool | None = None
    ) -> jobs.ResponseJob:
        """Send an INVITE or UPDATE when its turn comes; gives the 2xx. Raises RequestFailed.

        `content` may raise Refusal: there is nothing to send any more. `offers`: whether it carries an offer; an INVITE
        does unless it is said otherwise, an UPDATE does not. Cancelling this withdraws a request that is not sent yet.
        """
        wish = Wish(method, method == "INVITE" if offers is None else offers)
        asked = self._asked[wish] = _Asked(content, asyncio.get_running_loop().create_future())
        line = self._line(call)
        line.turns.want(wish)
        self._go_on(line)
        try:
            return await asked.answer
        finally:
            self._asked.pop(wish, None)
            line.turns.withdraw(wish)
            self._go_on(line)

    def on_response(self, job: jobs.ResponseJob) -> bool:
        """A response to an INVITE or UPDATE; False when it is none to a request of this module that is under way."""
        line = self._lines.get(job.dialog.key)
        if line is None or not line.turns.is_ours(job.cseq):
            return False
        retry_after = headers.delta_seconds(headers.value(job.headers, "Retry-After"))
        result = line.turns.response(job.cseq, job.status, retry_after, _now())
        if 200 <= job.status < 300:  # a target refresh (RFC 3261 12.2.1.2)
            learn(line.call, job.headers, job.contact_uri)
            self.on_refreshed(line.call, job)
        self._over(line, result, job)
        self._go_on(line)
        return True

    # requests of the peer

    def arrived(self, call: Call, method: str, cseq: int, offers: bool) -> None:
        """An INVITE or UPDATE of the peer. Raises Refusal when it is out of turn; else it has to be answered."""
        line = self._line(call)
        try:
            line.turns.arrived(method, cseq, offers)
        finally:
            self._go_on(line)

    def acknowledged(self, call: Call, cseq: int) -> None:
        """An ACK came."""
        line = self._lines.get(call.dialog.key)
        if line is None:
            return
        if (timer := line.acks.pop(cseq, None)) is not None:
            timer.cancel()
        line.turns.acknowledged(cseq)
        self._go_on(line)

    def _answered(self, job: jobs.RequestJob | jobs.ByeJob, status: int) -> None:
        line = self._lines.get(job.dialog.key)
        if line is None:
            return
        line.turns.answered(job.cseq, status)
        if isinstance(job, jobs.InviteJob) and job.in_dialog and 200 <= status < 300:
            line.acks[job.cseq] = asyncio.get_running_loop().call_later(
                self._config.ack_timeout, self._no_ack, line, job.cseq
            )
        self._go_on(line)

    def _no_ack(self, line: _Line, cseq: int) -> None:
        line.acks.pop(cseq, None)
        line.turns.acknowledged(cseq)
        self._calls.end(line.call, "no ACK", 408)  # RFC 3261 13.3.1.4
        self._go_on(line)

    def forget(self, call: Call) -> None:
        """The call has ended: who still waits for something learns it."""
        line = self._lines.pop(call.dialog.key, None)
        if line is None:
            return
        for timer in (line.timer, *line.acks.values()):
            if timer is not None:
                timer.cancel()
        for wish in line.turns.end():
            self._fail(wish, RequestFailed(487, "the call has ended", ended=True))

    # what is due

    def _line(self, call: Call) -> _Line:
        line = self._lines.get(call.dialog.key)
        if line is None:
            turns = Turns(
                owner=call.owns_call_id,
                random=self._chance,
                timeout=self._config.ack_timeout,
                confirmed=call.state is not DialogState.ANSWERED,
            )
            line = self._lines[call.dialog.key] = _Line(call, turns)
        return line

    def _go_on(self, line: _Line) -> None:
        """Send what is due, and wait for what comes next."""
        if self._lines.get(line.call.dialog.key) is not line:
            return  # the call has ended
        while (wish := line.turns.due(_now())) is not None:
            self._send(line, wish)
        if line.timer is not None:
            line.timer.cancel()
            line.timer = None
        if line.turns.idle and not line.acks:
            del self._lines[line.call.dialog.key]
        elif (deadline := line.turns.deadline) is not None:
            line.timer = asyncio.get_running_loop().call_at(deadline, self._tick, line)

    def _send(self, line: _Line, wish: Wish) -> None:
        call, asked = line.call, self._asked[wish]
        try:
            content = asked.content()
        except Refusal as refusal:  # there is nothing to send any more
            line.turns.withdraw(wish)
            self._fail(wish, RequestFailed(refusal.cause.value.status, refusal.cause.value.reason, False))
            return
        cseq = call.next_cseq()
        fields = [
            ("Contact", capabilities.contact(self._config, call.conference_user)),
            ("Allow", capabilities.ALLOW),
            *self.more_headers(call, wish.method),
            *content.headers,
        ]
        if content.body:
            fields.append(("Content-Type", capabilities.SDP))
        if self._calls.sip.send(request(call, wish.method, cseq, tuple(fields), content.body)):
            line.turns.sent(cseq, _now())
            self._trace.sent(call.dialog, cseq, wish.method, content.body)
        else:
            self._calls.logger(call).warning("%s could not be sent", wish.method)
            self._over(line, line.turns.not_sent(), None)

    def _tick(self, line: _Line) -> None:
        line.timer = None
        now = max(_now(), line.turns.deadline or 0.0)  # the loop may be early by its clock's resolution
        self._over(line, line.turns.tick(now), None)
        self._go_on(line)

    def _over(self, line: _Line, result: Result | None, job: jobs.ResponseJob | None) -> None:
        if result is not None:
            self._measures.dialog_requests.labels(result.wish.method, result.verdict.value).inc()
            asked = self._asked.get(result.wish)
            if result.verdict is Verdict.ACCEPTED and job is not None:
                if asked is not None and not asked.answer.done():
                    asked.answer.set_result(job)
            else:
                reason = job.reason if job is not None else "not answered"
                ended = result.verdict is Verdict.ENDED
                self._fail(result.wish, RequestFailed(result.status, reason, ended, job))
                if ended:
                    self._end(line.call, result)

    def _end(self, call: Call, result: Result) -> None:
        """Nobody there (408): our BYE tries; a peer that does not know the dialog (481 and others) needs none."""
        why = f"{result.wish.method} within the dialog: {result.status}"
        if result.status == 408:
            self._calls.end(call, why, 408)
        elif call.state is DialogState.CONFIRMED:
            call.end_reason = call.end_reason or why
            self._calls.apply(call, DialogEvent.BYE)

    def _fail(self, wish: Wish, failure: RequestFailed) -> None:
        asked = self._asked.get(wish)
        if asked is not None and not asked.answer.done():
            asked.answer.set_exception(failure)


def update_allowed(call: Call) -> bool:
    """Whether the peer takes UPDATE (RFC 3311 4): its Allow said so."""
    return "UPDATE" in call.peer_allows


def learn(call: Call, fields: jobs.Headers, contact_uri: str) -> None:
    """What a request or 2xx that refreshes the target tells of the peer: where it is, what it allows."""
    call.remote_target = contact_uri or call.remote_target
    if allowed := headers.tokens(fields, "Allow"):
        call.peer_allows = allowed


def _now() -> float:
    return asyncio.get_running_loop().time()
