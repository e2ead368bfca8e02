"""INVITEs that bring a list of others: what they ask for is checked first, and carried out when they are answered."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import msgspec

from mrf_protocols.mikey import kms_user_identity
from mrfc import jobs
from mrfc.calls.dial_out import DialOuts
from mrfc.calls.permits import Permits
from mrfc.config import DialOut
from mrfc.sip import bodies
from mrfc.sip.capabilities import MIXED, RECIPIENT_LIST, RESOURCE_LISTS, SDP
from mrfc.sip.identity import Identities
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.uri_list import read_parts, unique
from mrfc.state import store
from mrfc.state.names import call_logger

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ListInvite:
    """An INVITE without its list, and the URIs to call."""

    job: jobs.InviteJob
    invitees: tuple[str, ...] = ()


class ListInvites:
    """RFC 5366, where `dial_out.allow_uri_list` has somebody who may use it; elsewhere it is not supported."""

    def __init__(
        self,
        config: DialOut,
        calls_store: store.Store,
        dial_outs: DialOuts,
        permits: Permits,
        identities: Identities,
    ) -> None:
        self._config = config
        self._store = calls_store
        self._dial_outs = dial_outs
        self._permits = permits
        self._identities = identities

    def read(self, job: jobs.InviteJob) -> ListInvite:
        """Take the list out of an INVITE; one without list stays as it is. Raises Refusal."""
        kind = job.content_type.partition(";")[0].strip().lower()
        required = RECIPIENT_LIST in job.require.lower()
        if not self._config.allow_uri_list or (kind not in (MIXED, RESOURCE_LISTS) and not required):
            return ListInvite(job if required else bodies.plain(job))
        self._permits.check_list_sender(self._identities.of(job).uri)
        if kind not in (MIXED, RESOURCE_LISTS):
            raise Refusal(Cause.BAD_LIST, "the INVITE requires a URI list to be read and has none")
        if kind == RESOURCE_LISTS:
            raise Refusal(Cause.BAD_LIST, "a URI list comes with an offer, which proves who sends it")
        parts = read_parts(job.content_type, job.body, self._config.uri_list_entries)
        if not parts.uris and required:
            raise Refusal(Cause.BAD_LIST, "the INVITE requires a URI list to be read and has none")
        if parts.uris and not parts.sdp:
            raise Refusal(Cause.BAD_LIST, "a URI list comes with an offer, which proves who sends it")
        callees = [self._permits.callee(entry) for entry in parts.uris]
        plain = msgspec.structs.replace(job, content_type=SDP if parts.sdp else "", body=parts.sdp)
        return ListInvite(plain, unique((kms_user_identity(callee), callee) for callee in callees))

    def dial(self, call: store.Call, invitees: tuple[str, ...]) -> None:
        """The creator is in: call the others. What becomes of each is in the log and in the figures."""
        conference = self._store.conference(call.conference_user)
        if conference is None:
            return
        for invitee in invitees:
            try:
                self._dial_outs.start(conference, invitee, vector=call.charging)
            except Refusal as refusal:
                call_logger(log, call).warning("dial-out to %s refused: %s", invitee, refusal)
