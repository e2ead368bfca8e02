"""REFER to the focus: a participant, or somebody outside of the conference, asks for a dial-out (RFC 4579 5.5).

The subscription shares the dialog of the REFER: its identifiers, its route set and its CSeq numbers. That dialog is
the participant's own, or one that the REFER has made and that lives as long as its subscriptions.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from mrf_ops.logs import bind
from mrfc import jobs
from mrfc.calls.calls import Calls
from mrfc.calls.dial_out import DialOuts, Outcome
from mrfc.calls.permits import Permits
from mrfc.config import MrfcConfig
from mrfc.sip import capabilities, uri
from mrfc.sip.dialog import DialogState
from mrfc.sip.port import Response
from mrfc.sip.refer import SIPFRAG, Notification, Reference, Subscription, read_reference
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.sip_dialog import SipDialog, request
from mrfc.sip.trace import SipTrace
from mrfc.state import store

log = logging.getLogger(__name__)

SET_UP = 60.0  # seconds that ticket, reservation and key agreement may take beside the ringing


@dataclass(slots=True, kw_only=True)
class ReferDialog(SipDialog):
    """A dialog made by a REFER."""

    conference_user: str


Carrier = store.Call | ReferDialog
"""A dialog that carries subscriptions."""


@dataclass(slots=True, eq=False)
class _Report:
    """A subscription, the dialog it is in, and the CSeq number of its last NOTIFY."""

    carrier: Carrier
    subscription: Subscription
    cseq: int = 0
    timer: asyncio.TimerHandle | None = None


class Referrals:
    """All REFERs of the focus."""

    def __init__(
        self,
        config: MrfcConfig,
        calls_store: store.Store,
        calls: Calls,
        dial_outs: DialOuts,
        permits: Permits,
        trace: SipTrace,
    ) -> None:
        self._config = config
        self._store = calls_store
        self._calls = calls
        self._dial_outs = dial_outs
        self._permits = permits
        self._trace = trace
        self._reports: dict[jobs.CallKey, list[_Report]] = {}
        self._dialogs: dict[jobs.CallKey, ReferDialog] = {}
        self._referred: set[jobs.CallKey] = set()  # dialogs that had a REFER before

    @property
    def subscriptions(self) -> int:
        """Subscriptions that stand."""
        return sum(map(len, self._reports.values()))

    def on_refer(self, job: jobs.ReferJob) -> None:
        """Answer a REFER, and do what it asks for."""
        self._trace.received(job.dialog, job.cseq, "REFER", refer_to=", ".join(job.refer_to))
        try:
            response, report = self._serve(job)
        except Refusal as refusal:
            bind(log, call=job.dialog.call_id).warning("REFER from %s refused: %s", job.from_uri, refusal)
            self._calls.answer(job, refusal.response(self._config.sip.domain))
            return
        except Exception:  # a fault of one REFER is answered 500 and ends nothing else
            bind(log, call=job.dialog.call_id).exception("REFER from %s failed", job.from_uri)
            self._calls.answer(job, Refusal(Cause.INTERNAL).response(self._config.sip.domain))
            return
        self._calls.answer(job, response)
        if report is not None:
            self._send(report, report.subscription.start(_now()))

    def _serve(self, job: jobs.ReferJob) -> tuple[Response, _Report | None]:
        capabilities.refuse_unknown(job.require, (capabilities.NO_REFER_SUB,))
        carrier = self._carrier(job)
        conference = self._store.conference(carrier.conference_user)
        if conference is None:
            raise Refusal(Cause.UNKNOWN_CONFERENCE)
        first = job.dialog.key not in self._referred
        if job.in_dialog:
            self._referred.add(job.dialog.key)
        self._permits.check_referrer(carrier.remote_uri)
        reference = read_reference(job)
        callee = self._permits.callee(reference.invitee)
        if reference.subscribe and not carrier.remote_target:
            raise Refusal(Cause.NO_CONTACT)
        return self._response(carrier, reference), self._call(
            conference, carrier, callee, reference, None if first else job.cseq
        )

    def _carrier(self, job: jobs.ReferJob) -> Carrier:
        """The dialog of a REFER: that of a call, that of an earlier REFER, or a new one."""
        if not job.in_dialog:
            return ReferDialog(
                dialog=job.dialog,
                conference_user=_user_of(job.request_uri),
                local_uri=job.to_uri,
                remote_uri=job.from_uri,
                remote_target=job.contact_uri,
                route_set=uri.split_routes(job.record_route),
                remote_cseq=job.cseq,
            )
        carrier = self._standing_dialog(job.dialog)
        if carrier is None:
            raise Refusal(Cause.NO_DIALOG)
        if job.cseq <= carrier.remote_cseq:
            raise Refusal(Cause.OLD_CSEQ)
        carrier.remote_cseq = job.cseq
        carrier.remote_target = job.contact_uri or carrier.remote_target  # RFC 5057 5.4
        return carrier

    def _standing_dialog(self, dialog: jobs.DialogId) -> Carrier | None:
        call = self._store.call(dialog)
        if call is not None:
            return call if call.state in (DialogState.ANSWERED, DialogState.CONFIRMED) else None
        own = self._dialogs.get(dialog.key)
        return own if own is not None and own.dialog.remote_tag == dialog.remote_tag else None

    def _response(self, carrier: Carrier, reference: Reference) -> Response:
        headers = [
            ("Contact", capabilities.contact(self._config.sip, carrier.conference_user)),
            ("Supported", capabilities.supported(self._config)),
        ]
        if not reference.subscribe:
            headers.append(("Refer-Sub", "false"))
        return Response(202, "Accepted", tuple(headers))

    def _call(
        self,
        conference: store.Conference,
        carrier: Carrier,
        callee: str,
        reference: Reference,
        event_id: int | None,
    ) -> _Report | None:
        """Start the dial-out. Raises Refusal, and then nothing is kept."""
        if not reference.subscribe:
            self._dial_outs.start(conference, callee, None, reference.referred_by)
            return None
        duration = self._config.dial_out.ring_timeout + SET_UP
        report = _Report(carrier, Subscription(event_id, duration, _now()))

        def watch(outcome: Outcome) -> None:
            self._send(report, report.subscription.progress(outcome.status, outcome.reason, _now()))

        self._dial_outs.start(conference, callee, watch, reference.referred_by)
        self._reports.setdefault(carrier.dialog.key, []).append(report)
        if isinstance(carrier, ReferDialog):
            self._dialogs[carrier.dialog.key] = carrier
            self._referred.add(carrier.dialog.key)
        return report

    # reports

    def on_response(self, job: jobs.ResponseJob) -> None:
        """The response to a NOTIFY."""
        for report in self._reports.get(job.dialog.key, []):
            if report.cseq == job.cseq:
                self._send(report, report.subscription.answered(job.status, _now()))
                return

    def call_ended(self, call: store.Call) -> None:
        """A participant has left; subscriptions in his dialog go on as far as he answers them (RFC 5057 5)."""
        self._referred.discard(call.dialog.key)

    def _send(self, report: _Report, notification: Notification | None) -> None:
        """Send what is due, and wait for what comes next."""
        if notification is not None and not self._notify(report, notification):
            report.subscription.ended = True
        if report.timer is not None:
            report.timer.cancel()
            report.timer = None
        deadline = report.subscription.deadline
        if deadline is None:
            self._forget(report)
        else:
            report.timer = asyncio.get_running_loop().call_at(deadline, self._tick, report)

    def _tick(self, report: _Report) -> None:
        report.timer = None
        deadline = report.subscription.deadline
        now = max(_now(), deadline or 0.0)  # the loop may be early by its clock's resolution
        self._send(report, report.subscription.tick(now))

    def _notify(self, report: _Report, notification: Notification) -> bool:
        carrier = report.carrier
        report.cseq = carrier.next_cseq()
        headers = (
            ("Contact", capabilities.contact(self._config.sip, carrier.conference_user)),
            ("Event", notification.event),
            ("Subscription-State", notification.state),
            ("Content-Type", SIPFRAG),
        )
        if not self._calls.sip.send(request(carrier, "NOTIFY", report.cseq, headers, notification.body)):
            bind(log, call=carrier.dialog.call_id).warning("NOTIFY could not be sent")
            return False
        self._trace.sent(
            carrier.dialog,
            report.cseq,
            "NOTIFY",
            status_line=notification.status_line,
            state=notification.state,
        )
        return True

    def _forget(self, report: _Report) -> None:
        key = report.carrier.dialog.key
        others = self._reports.get(key, [])
        if report in others:
            others.remove(report)
        if not others:
            self._reports.pop(key, None)
            if self._dialogs.pop(key, None) is not None:
                self._referred.discard(key)


def _user_of(request_uri: str) -> str:
    try:
        return uri.user_of(request_uri)
    except uri.UriError:
        raise Refusal(Cause.UNKNOWN_CONFERENCE) from None


def _now() -> float:
    return asyncio.get_running_loop().time()
