"""Who comes in: the conference that an INVITE is for, found or made by the factory, and a seat in it (RFC 4579 5.4)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from mrfc import jobs
from mrfc.calls.requests import learn
from mrfc.calls.session_timers import SessionTimers
from mrfc.config import Factory, MrfcConfig
from mrfc.sip import capabilities, charging, headers, uri
from mrfc.sip.identity import Identities, is_trusted
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state.seats import take_seat
from mrfc.state.store import Call, Conference, Store


@dataclass(frozen=True, slots=True)
class Admission:
    """`new_name` gives an unguessable name for a conference, `draw` an unguessable number below its argument."""

    config: MrfcConfig
    store: Store
    timers: SessionTimers
    identities: Identities
    new_name: Callable[[], str]
    draw: Callable[[int], int]

    def admit(self, job: jobs.InviteJob) -> Call:
        """The call that an INVITE begins, in the store and with a seat. Raises Refusal, and then there is neither."""
        capabilities.refuse_unknown(job.require, capabilities.invite_options(self.config))
        self.timers.check(job)
        conference = self._conference_for(job)
        user_id = take_seat(self.store, conference, job.dialog.key, self.config.limits)
        if self.store.conference(conference.user) is None:  # made for the occasion
            self.store.add_conference(conference)
        call = Call(
            dialog=job.dialog,
            conference_user=conference.user,
            conference_id=conference.conference_id,
            user_id=user_id,
            local_uri=job.to_uri,
            remote_uri=job.from_uri,
            remote_target=job.contact_uri,
            route_set=uri.split_routes(job.record_route),
            remote_cseq=job.cseq,
            identity=self.identities.of(job),
            charging=self._charging(job),
        )
        learn(call, job.headers, job.contact_uri)
        self.store.add_call(call)
        return call

    def _charging(self, job: jobs.InviteJob) -> str:
        """The P-Charging-Vector of a new call: that of a trusted neighbour, or one of our own if it is wanted."""
        found = ""
        if is_trusted(job.source, self.identities.trusted):
            found = charging.received(headers.values(job.headers, charging.HEADER))
        if found or not self.config.identity.charging:
            return found
        return charging.made(self.config.sip.domain, secrets.token_hex)

    def _conference_for(self, job: jobs.InviteJob) -> Conference:
        try:
            user = uri.user_of(job.request_uri)
        except uri.UriError:
            raise Refusal(Cause.UNKNOWN_CONFERENCE) from None
        if (conference := self.store.conference(user)) is not None:
            return conference
        factory = self.config.factory
        if factory is None or user != factory.user:
            raise Refusal(Cause.UNKNOWN_CONFERENCE)
        return self._new_conference(factory, job)

    def _new_conference(self, factory: Factory, job: jobs.InviteJob) -> Conference:
        limits = self.config.limits
        if len(self.store.conferences()) >= limits.conferences:
            raise Refusal(Cause.FULL, "no room for another conference")
        creator = self.identities.of(job)
        owner = factory.owner or creator.uri
        if self.store.owned_by(owner) >= limits.conferences_per_owner:
            raise Refusal(Cause.FULL, "the caller has as many conferences as he may")
        return Conference(
            self.new_name(),
            self.store.new_conference_number(self.draw),
            tuple(factory.floors),
            permanent=False,
            terms=factory,
            owner=owner,
            owner_shown=factory.owner or creator.operators_uri(1),
        )
