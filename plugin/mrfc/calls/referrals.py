"""REFER to the focus: a participant, or somebody else, wants somebody called or removed (RFC 4579 5.5, 5.6).

The subscription shares the dialog of the REFER: its identifiers, its route set and its CSeq numbers. That dialog is
the participant's own, or one that the REFER has made and that lives as long as its subscriptions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from mrfc import jobs
from mrfc.calls.calls import Calls
from mrfc.calls.carriers import Carrier, Carriers
from mrfc.calls.dial_out import DialOuts, Outcome
from mrfc.calls.permits import Permits
from mrfc.calls.removal import Removals
from mrfc.calls.subscriptions import Message, Subscribed, Subscriptions
from mrfc.config import MrfcConfig
from mrfc.sip import capabilities
from mrfc.sip.identity import Identities
from mrfc.sip.port import Response
from mrfc.sip.refer import SIPFRAG, Notification, Reference, ReferSubscription, read_reference
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.trace import SipTrace
from mrfc.state import store

log = logging.getLogger(__name__)

SET_UP = 60.0  # seconds that ticket, reservation and key agreement may take beside the ringing


class _Report(Subscribed[Notification]):
    """The subscription of a REFER; `over` is told when it has ended."""

    subscription: ReferSubscription

    def __init__(
        self, carrier: Carrier, subscription: ReferSubscription, over: Callable[[Carrier], None]
    ) -> None:
        super().__init__(carrier, subscription)
        self._over = over

    def message(self, notice: Notification) -> Message:
        traced = {"status_line": notice.status_line}
        return Message(notice.event, notice.state, SIPFRAG, notice.body, traced)

    def over(self) -> None:
        self._over(self.carrier)


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
        self._reports: Subscriptions[Notification] = Subscriptions(config.sip, calls, carriers, trace)
        self._referred: set[jobs.CallKey] = set()  # dialogs that had a REFER before

    @property
    def subscriptions(self) -> int:
        """Subscriptions that stand."""
        return len(self._reports)

    def on_refer(self, job: jobs.ReferJob) -> None:
        """Answer a REFER, and do what it asks for."""
        self._trace.received(job.dialog, job.cseq, "REFER", refer_to=", ".join(job.refer_to))
        try:
            response, report = self._serve(job)
        except Refusal as refusal:
            self._calls.logger_of_request(job).warning("REFER from %s refused: %s", job.from_uri, refusal)
            self._calls.refuse(job, refusal)
            return
        except Exception:  # a fault of one REFER is answered 500 and ends nothing else
            self._calls.logger_of_request(job).exception("REFER from %s failed", job.from_uri)
            self._calls.refuse(job, Refusal(Cause.INTERNAL))
            return
        self._calls.answer(job, response)
        if report is not None:
            self._reports.send(report, report.subscription.start(_now()))

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
            self._reports.send(report, report.subscription.progress(outcome.status, outcome.reason, _now()))

        self._dial_outs.start(conference, callee, watch, reference.referred_by, carrier.charging)
        return self._keep(report)

    def _remove(
        self, conference: store.Conference, carrier: Carrier, reference: Reference, event_id: int | None
    ) -> _Report | None:
        """Have participants leave once the REFER is answered. Raises Refusal, and then nothing is kept."""
        leaving = self._removals.named(conference, reference.invitee)
        report = self._keep(self._report(carrier, event_id)) if reference.subscribe else None

        def go() -> None:
            who = carrier.identity.operators_uri(0)
            logger = self._calls.logger_of(carrier.dialog, conference.user, who)
            logger.info("%s has %d participants removed", who, len(leaving))
            self._removals.remove(leaving, "removed from the conference", "refer")
            if report is not None:
                self._reports.send(report, report.subscription.progress(200, "OK", _now()))

        asyncio.get_running_loop().call_soon(go)
        return report

    def _report(self, carrier: Carrier, event_id: int | None) -> _Report:
        duration = self._config.dial_out.ring_timeout + SET_UP
        return _Report(carrier, ReferSubscription(event_id, duration, _now()), self._over)

    def _keep(self, report: _Report) -> _Report:
        self._reports.add(report)
        self._referred.add(report.carrier.dialog.key)
        return report

    # reports

    def on_response(self, job: jobs.ResponseJob) -> None:
        """The response to a NOTIFY."""
        self._reports.on_response(job)

    def call_ended(self, call: store.Call) -> None:
        """A participant has left; subscriptions in his dialog go on as far as he answers them (RFC 5057 5)."""
        if not self._reports.any_in(call.dialog.key):
            self._referred.discard(call.dialog.key)

    def _over(self, carrier: Carrier) -> None:
        key = carrier.dialog.key
        if not self._reports.any_in(key) and self._store.call_with(key) is None:
            self._referred.discard(key)


def _now() -> float:
    return asyncio.get_running_loop().time()
