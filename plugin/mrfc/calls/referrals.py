"""REFER to the focus: a participant, or somebody else, wants somebody called or removed (RFC 4579 5.5, 5.6).

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
from mrfc.calls.carriers import Carrier, Carriers, notify
from mrfc.calls.dial_out import DialOuts, Outcome
from mrfc.calls.permits import Permits
from mrfc.calls.removal import Removals
from mrfc.config import MrfcConfig
from mrfc.sip import capabilities
from mrfc.sip.identity import Identities
from mrfc.sip.port import Response
from mrfc.sip.refer import SIPFRAG, Notification, Reference, Subscription, read_reference
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.trace import SipTrace
from mrfc.state import store

log = logging.getLogger(__name__)

SET_UP = 60.0  # seconds that ticket, reservation and key agreement may take beside the ringing


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
        carriers: Carriers,
        removals: Removals,
        identities: Identities,
        trace: SipTrace,
    ) -> None:
        self._removals = removals
        self._carriers = carriers
        self._config = config
        self._identities = identities
        self._store = calls_store
        self._calls = calls
        self._dial_outs = dial_outs
        self._permits = permits
        self._trace = trace
        self._reports: dict[jobs.CallKey, list[_Report]] = {}
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
            self._calls.logger_of(job.dialog).warning("REFER from %s refused: %s", job.from_uri, refusal)
            self._calls.refuse(job, refusal)
            return
        except Exception:  # a fault of one REFER is answered 500 and ends nothing else
            self._calls.logger_of(job.dialog).exception("REFER from %s failed", job.from_uri)
            self._calls.refuse(job, Refusal(Cause.INTERNAL))
            return
        self._calls.answer(job, response)
        if report is not None:
            self._send(report, report.subscription.start(_now()))

    def _serve(self, job: jobs.ReferJob) -> tuple[Response, _Report | None]:
        capabilities.refuse_unknown(job.require, (capabilities.NO_REFER_SUB,))
        carrier = self._carriers.of(job, self._identities.of(job))
        conference = self._store.conference(carrier.conference_user)
        if conference is None:
            raise Refusal(Cause.UNKNOWN_CONFERENCE)
        first = job.dialog.key not in self._referred
        if job.in_dialog:
            self._referred.add(job.dialog.key)
        reference = read_reference(job)
        if reference.remove:
            self._permits.check_remover(conference, carrier)
        else:
            self._permits.check_referrer(carrier.identity.uri)
        if reference.subscribe and not carrier.remote_target:
            raise Refusal(Cause.NO_CONTACT)
        event_id = None if first else job.cseq
        work = self._remove if reference.remove else self._call
        return self._response(carrier, reference), work(conference, carrier, reference, event_id)

    def _response(self, carrier: Carrier, reference: Reference) -> Response:
        headers = [
            ("Contact", capabilities.contact(self._config.sip, carrier.conference_user)),
            ("Supported", capabilities.supported(self._config)),
        ]
        if not reference.subscribe:
            headers.append(("Refer-Sub", "false"))
        return Response(202, "Accepted", tuple(headers))

    def _call(
        self, conference: store.Conference, carrier: Carrier, reference: Reference, event_id: int | None
    ) -> _Report | None:
        """Start the dial-out. Raises Refusal, and then nothing is kept."""
        callee = self._permits.callee(reference.invitee)
        if not reference.subscribe:
            self._dial_outs.start(conference, callee, None, reference.referred_by, carrier.charging)
            return None
        report = self._report(carrier, event_id)

        def watch(outcome: Outcome) -> None:
            self._send(report, report.subscription.progress(outcome.status, outcome.reason, _now()))

        self._dial_outs.start(conference, callee, watch, reference.referred_by, carrier.charging)
        return self._keep(report)

    def _remove(
        self, conference: store.Conference, carrier: Carrier, reference: Reference, event_id: int | None
    ) -> _Report | None:
        """Have participants leave once the REFER is answered. Raises Refusal, and then nothing is kept."""
        leaving = self._removals.named(conference, reference.invitee)
        report = self._keep(self._report(carrier, event_id)) if reference.subscribe else None

        def go() -> None:
            bind(log, call=carrier.dialog.call_id, conference=conference.user).info(
                "%s has %d participants removed", carrier.identity.operators_uri(0), len(leaving)
            )
            self._removals.remove(leaving, "removed from the conference", "refer")
            if report is not None:
                self._send(report, report.subscription.progress(200, "OK", _now()))

        asyncio.get_running_loop().call_soon(go)
        return report

    def _report(self, carrier: Carrier, event_id: int | None) -> _Report:
        duration = self._config.dial_out.ring_timeout + SET_UP
        return _Report(carrier, Subscription(event_id, duration, _now()))

    def _keep(self, report: _Report) -> _Report:
        carrier = report.carrier
        self._reports.setdefault(carrier.dialog.key, []).append(report)
        self._carriers.hold(carrier)
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
        if call.dialog.key not in self._reports:
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
        contact = capabilities.contact(self._config.sip, carrier.conference_user)
        report.cseq, request = notify(
            carrier, contact, notification.event, notification.state, SIPFRAG, notification.body
        )
        if not self._calls.sip.send(request):
            self._calls.logger_of(carrier.dialog).warning("NOTIFY could not be sent")
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
            self._carriers.release(report.carrier)
        if not others:
            self._reports.pop(key, None)
            if self._store.call_with(key) is None:
                self._referred.discard(key)


def _now() -> float:
    return asyncio.get_running_loop().time()
