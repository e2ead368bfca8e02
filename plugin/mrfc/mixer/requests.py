"""What the mixer asks for within its dialog (RFC 3261 12.2.2, 14.2, RFC 3311). Sans-IO.

It is answered here as long as it changes nothing; another session is the participant's to answer.
"""

from __future__ import annotations

from collections.abc import Collection

from mrf_protocols import sdp
from mrf_protocols.sdp import SdpError, SessionDescription
from mrfc import jobs
from mrfc.config import Sip
from mrfc.sip import capabilities
from mrfc.sip.bodies import session_description
from mrfc.sip.port import Response
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state.mixer_leg import MixerLeg

_ALLOW = (("Allow", capabilities.ALLOW),)


def serve(
    config: Sip,
    leg: MixerLeg,
    conference_user: str,
    job: jobs.RequestJob,
    method: str,
    standing: bool,
    options: Collection[str] = (),
) -> Response | SessionDescription:
    """The answer to a request, or the session that it offers; one that is not `standing` cannot be changed.

    options: what it may require. Raises Refusal.
    """
    if job.cseq <= leg.remote_cseq:
        raise Refusal(Cause.OLD_CSEQ)
    leg.remote_cseq = job.cseq
    capabilities.refuse_unknown(job.require, options)
    if method == "OPTIONS":
        return Response(200, "OK", _ALLOW)
    if method not in ("INVITE", "UPDATE"):
        return Response(405, "Method Not Allowed", _ALLOW)
    leg.remote_target = job.contact_uri or leg.remote_target
    body = session_description(job.content_type, job.body)
    if not body and method == "INVITE":
        raise Refusal(Cause.MIXER_KEEPS, "an INVITE without offer cannot be served within this dialog")
    if not body or (body == leg.answer_sdp and standing):
        return unchanged(config, leg, conference_user, described=bool(body))
    try:
        wanted = sdp.parse(body)
    except SdpError as error:
        raise Refusal(Cause.BAD_SDP, str(error)) from error
    if not standing:
        raise Refusal(Cause.PENDING)
    return wanted


def unchanged(config: Sip, leg: MixerLeg, conference_user: str, *, described: bool) -> Response:
    """The 200 that says what holds: a refresh of the session or, not `described`, of the target alone."""
    contact = (("Contact", capabilities.contact(config, conference_user)),)
    if not described:
        return Response(200, "OK", contact)
    return Response(200, "OK", contact, capabilities.SDP, leg.offer_sdp)
