"""The life of calls: runs the dialog machine and does what it says, until all that a call had is given back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace

from mrf_ops.logs import BoundLogger, bind
from mrfc import jobs
from mrfc.config import Sip
from mrfc.mp.bearer import Bearers
from mrfc.sip import uri
from mrfc.sip.dialog import STANDING, DialogAction, DialogEvent, DialogState, step
from mrfc.sip.port import Fields, Response, SipPort
from mrfc.sip.refusal import RETRY_AFTER, Refusal
from mrfc.sip.sip_dialog import bye
from mrfc.sip.trace import SipTrace
from mrfc.state.names import call_logger, conference_logger
from mrfc.state.store import Call, Store

log = logging.getLogger(__name__)

Answerable = jobs.RequestJob | jobs.ByeJob

_METHODS: dict[type, str] = {
    jobs.InviteJob: "INVITE",
    jobs.ByeJob: "BYE",
    jobs.ReferJob: "REFER",
    jobs.SubscribeJob: "SUBSCRIBE",
}


def _nobody(call: Call) -> None:
    """Nobody wants to know that a call has ended."""


def _unnoticed(job: Answerable, status: int) -> None:
    """Nobody wants to know what was answered."""


def _nothing(job: Answerable) -> Fields:
    """Nobody has more to say."""
    return ()


class Calls:
    """Every call of the focus, both directions.

    `on_changed` is told each call after an event, `on_leaving` each whose termination is about to be given back,
    `on_ended` each that has ended, `on_answered` each request that was answered, and the status; `completing` is asked
    for further header fields of each 2xx just before it goes out.
    """

    def __init__(self, config: Sip, store: Store, bearers: Bearers, sip: SipPort, trace: SipTrace) -> None:
        self.sip = sip
        self._config = config
        self._store = store
        self._bearers = bearers
        self._trace = trace
        self._procedures: dict[jobs.CallKey, asyncio.Task[None]] = {}
        self._pending: dict[jobs.CallKey, jobs.InviteJob] = {}
        self._timers: dict[jobs.CallKey, asyncio.TimerHandle] = {}
        self.on_leaving: Callable[[Call], None] = _nobody
        self.on_changed: Callable[[Call], None] = _nobody
        self.on_ended: Callable[[Call], None] = _nobody
        self.on_answered: Callable[[Answerable, int], None] = _unnoticed
        self.completing: Callable[[Answerable], Fields] = _nothing

    @property
    def running(self) -> int:
        """Procedures under way."""
        return len(self._procedures)

    def start(self, key: jobs.CallKey, procedure: Coroutine[None, None, None]) -> None:
        """Run the procedure of a call as a task that ends with the call."""
        task = asyncio.get_running_loop().create_task(procedure)
        self._procedures[key] = task
        task.add_done_callback(lambda _: self._procedures.pop(key, None))

    def expect_answer(self, job: jobs.InviteJob) -> None:
        """Note an INVITE that waits for our answer."""
        self._pending[job.dialog.key] = job

    def pending_invite(self, dialog: jobs.DialogId) -> jobs.InviteJob | None:
        """The INVITE of this dialog that waits for our answer."""
        return self._pending.get(dialog.key)

    def pending_invites(self) -> list[jobs.InviteJob]:
        """All INVITEs that wait for our answer."""
        return list(self._pending.values())

    def answer(self, job: Answerable, response: Response) -> bool:
        """Answer a suspended request; False when its transaction has gone."""
        if isinstance(job, jobs.InviteJob) and self._pending.get(job.dialog.key) is job:
            del self._pending[job.dialog.key]
        if 200 <= response.status < 300:
            response = replace(response, headers=(*response.headers, *self.completing(job)))
        sent = self.sip.answer(job.transaction, response)
        if sent:
            method = job.method if isinstance(job, jobs.DialogRequestJob) else _METHODS[type(job)]
            self._trace.sent_response(job.dialog, job.cseq, method, response)
        self.on_answered(job, response.status if sent else 487)
        return sent

    def refuse(self, job: Answerable, refusal: Refusal) -> None:
        """Answer a suspended request with a refusal."""
        self.answer(job, refusal.response(self._config.domain))

    def apply(self, call: Call, event: DialogEvent) -> None:
        """Run an event through the dialog machine and do what it says."""
        call.state, actions = step(call.state, event)
        if call.state in STANDING:
            call.joined = call.joined or time.time()
        for action in actions:
            self._do(call, action)
        self.on_changed(call)
        if call.state is DialogState.TERMINATED:
            self._stop_timer(call)
            self._pending.pop(call.dialog.key, None)
            self._store.remove_call(call)
            self.on_ended(call)

    def end(self, call: Call, reason: str, status: int = 503) -> None:
        """End a call from our side; reason and SIP status are told in the Reason of the BYE."""
        if not call.end_reason:
            call.end_reason, call.end_status = reason, status
        self.apply(call, DialogEvent.LOCAL_END)

    def logger(self, call: Call) -> BoundLogger:
        """A logger that names the call."""
        return call_logger(log, call)

    def logger_of_request(self, job: jobs.RequestJob) -> BoundLogger:
        """A logger that names a request: by its call, or by what it says itself where it belongs to none."""
        if (call := self._store.call(job.dialog)) is not None:
            return self.logger(call)
        return self.logger_of(job.dialog, uri.user_or_nothing(job.request_uri), job.from_uri)

    def logger_of(self, dialog: jobs.DialogId, conference: str = "", user: str = "") -> BoundLogger:
        """A logger that names a dialog: its call, or the conference and the user that it is about."""
        if (call := self._store.call(dialog)) is not None:
            return self.logger(call)
        if (known := self._store.conference(conference)) is not None:
            return conference_logger(log, known, call=dialog.call_id, user=user)
        return bind(log, call=dialog.call_id, conference=conference, user=user)

    def _do(self, call: Call, action: DialogAction) -> None:
        match action:
            case DialogAction.AWAIT_ACK:
                self._start_timer(call, self._config.ack_timeout, "no ACK", DialogEvent.ACK_TIMEOUT)
            case DialogAction.STOP_AWAITING_ACK:
                self._stop_timer(call)
            case DialogAction.SEND_BYE:
                self._send_bye(call)
            case DialogAction.SEND_CANCEL:
                self._send_cancel(call)
            case DialogAction.REFUSE_INVITE:
                self._answer_pending(call, Response(487, "Request Terminated"))
            case DialogAction.FAIL_INVITE:
                retry = (("Retry-After", str(RETRY_AFTER)),)
                self._answer_pending(call, Response(503, "Service Unavailable", retry))
            case DialogAction.RELEASE:
                self._release(call)

    def _answer_pending(self, call: Call, response: Response) -> None:
        if (job := self.pending_invite(call.dialog)) is not None:
            self.answer(job, response)

    def _start_timer(self, call: Call, seconds: float, reason: str, event: DialogEvent) -> None:
        def expired() -> None:
            self._timers.pop(call.dialog.key, None)
            if not call.end_reason:
                call.end_reason, call.end_status = reason, 408
            self.apply(call, event)

        self._timers[call.dialog.key] = asyncio.get_running_loop().call_later(seconds, expired)

    def _stop_timer(self, call: Call) -> None:
        if (timer := self._timers.pop(call.dialog.key, None)) is not None:
            timer.cancel()

    def _release(self, call: Call) -> None:
        procedure = self._procedures.get(call.dialog.key)
        if procedure is not None and procedure is not asyncio.current_task():
            procedure.cancel()
        self.on_leaving(call)
        self._bearers.give_back(call)
        self.logger(call).info("%s left: %s", call.remote_uri, call.end_reason or "INVITE refused")

    def _send_bye(self, call: Call) -> None:
        if not self.sip.send(bye(call, call.end_reason, call.end_status)):
            self.logger(call).error("BYE could not be sent")
        self._trace.sent(call.dialog, call.local_cseq, "BYE", reason=call.end_reason)

    def _send_cancel(self, call: Call) -> None:
        if not self.sip.cancel(call.dialog.call_id, call.invite_cseq, call.end_status):
            # Nobody has answered for so long that the transaction has ended (RFC 3261 17.1.1.2, timer B)
            asyncio.get_running_loop().call_soon(self.apply, call, DialogEvent.FAILURE)
            return
        self._trace.sent(call.dialog, call.invite_cseq, "CANCEL", reason=call.end_reason)
        self._start_timer(call, self._config.ack_timeout, "no final response", DialogEvent.FAILURE)
