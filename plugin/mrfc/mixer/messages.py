"""The SIP of the legs: the dialog with the mixer, our requests and answers in it, and what the trace says of them."""

from __future__ import annotations

from dataclasses import replace

from mrfc import jobs
from mrfc.config import MrfcConfig
from mrfc.sip import capabilities
from mrfc.sip.port import Fields, Response, SipPort
from mrfc.sip.sip_dialog import NO_CSEQ, new_dialog_id, request, route_set_of
from mrfc.sip.trace import SipTrace
from mrfc.state.mixer_leg import MixerLeg


class LegMessages:
    """Dialogs with the mixer, as far as messages go."""

    def __init__(self, config: MrfcConfig, sip: SipPort, trace: SipTrace) -> None:
        self._config = config
        self._sip = sip
        self._trace = trace

    def new_leg(self, conference_user: str) -> MixerLeg:
        """A dialog with the mixer of a conference, before its first INVITE."""
        domain = self._config.sip.domain
        to = self._config.mixer.uri_of(conference_user)
        return MixerLeg(
            dialog=new_dialog_id(domain),
            local_uri=f"sip:{conference_user}@{domain}",
            remote_uri=to,
            remote_target=to,
            route_set=(),
            remote_cseq=NO_CSEQ,
            owns_call_id=True,
        )

    # requests of ours

    def invite(
        self, leg: MixerLeg, cseq: int, conference_user: str, body: str, participant: str, more: Fields = ()
    ) -> bool:
        """The first INVITE, or a re-INVITE, with `more` header fields. False: it could not be sent.

        `participant` is the Call-ID of his call.
        """
        headers = (
            ("Contact", capabilities.contact(self._config.sip, conference_user)),
            ("Allow", capabilities.ALLOW),
            *more,
            ("Content-Type", capabilities.SDP),
        )
        if leg.dialog.remote_tag:
            invite = request(leg, "INVITE", cseq, headers, body)
        else:
            invite = request(leg, "INVITE", cseq, (*headers, ("Request-Disposition", "no-fork")), body)
            own = tuple(("To", f"<{leg.remote_uri}>") if each[0] == "To" else each for each in invite.headers)
            invite = replace(invite, headers=own, next_hop=self._config.mixer.next_hop)
        if not self._sip.send(invite):
            return False
        self._trace.sent(leg.dialog, cseq, "INVITE", body, participant=participant)
        return True

    def cancel(self, leg: MixerLeg, cseq: int) -> bool:
        """Cancel an INVITE. False: it has its final response."""
        if not self._sip.cancel(leg.dialog.call_id, cseq, 487):
            return False
        self._trace.sent(leg.dialog, cseq, "CANCEL")
        return True

    def bye(self, leg: MixerLeg) -> None:
        """End the dialog."""
        cseq = leg.next_cseq()
        if self._sip.send(request(leg, "BYE", cseq)):
            self._trace.sent(leg.dialog, cseq, "BYE")

    def bye_to_branch(self, leg: MixerLeg, job: jobs.ResponseJob) -> None:
        """End another branch of an INVITE that was forked in spite of our wish (RFC 3261 13.2.2.4)."""
        stray = replace(
            leg,
            dialog=job.dialog,
            remote_target=job.contact_uri,
            route_set=route_set_of(job),
            local_cseq=job.cseq,
        )
        self._sip.send(request(stray, "BYE", stray.next_cseq()))

    # what comes from the mixer

    def responded(self, job: jobs.ResponseJob) -> None:
        """A response came."""
        self._trace.received_response(job)

    def arrived(self, job: jobs.RequestJob | jobs.ByeJob, method: str) -> None:
        """A request came."""
        body = job.body if isinstance(job, jobs.RequestJob) else ""
        self._trace.received(job.dialog, job.cseq, method, body=body)

    def answer(self, job: jobs.RequestJob | jobs.ByeJob, method: str, response: Response) -> None:
        """Answer a request."""
        if self._sip.answer(job.transaction, response):
            self._trace.sent_response(job.dialog, job.cseq, method, response)


def learn(leg: MixerLeg, job: jobs.ResponseJob) -> None:
    """A 2xx makes the dialog (RFC 3261 12.1.2), a later one refreshes its target (12.2.1.2)."""
    if not leg.dialog.remote_tag:
        leg.dialog = job.dialog
        leg.route_set = route_set_of(job)
    leg.remote_target = job.contact_uri or leg.remote_target
