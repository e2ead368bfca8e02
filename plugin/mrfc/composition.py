"""How the focus is put together from its parts; what it works with outside of itself is handed in."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mrf_ops.trace import Tracer
from mrf_protocols.h248.mp import AddressFamily
from mrf_protocols.mikey import Acceptance, PskIdentityForm
from mrfc.calls.admission import Admission
from mrfc.calls.answerer import Answerer
from mrfc.calls.calls import Calls
from mrfc.calls.carriers import Carriers
from mrfc.calls.connections import Connections
from mrfc.calls.dial_in import DialIn
from mrfc.calls.dial_out import DialOuts
from mrfc.calls.early import EarlyRequests
from mrfc.calls.in_dialog import InDialog
from mrfc.calls.initial_invites import InitialInvites
from mrfc.calls.late_offer import LateOffers
from mrfc.calls.list_invites import ListInvites
from mrfc.calls.mixing import MixedCalls
from mrfc.calls.moving import Moves
from mrfc.calls.offerer import Offerer
from mrfc.calls.permits import Permits
from mrfc.calls.referrals import Referrals
from mrfc.calls.rekey import Rekeys
from mrfc.calls.reliable import Reliable
from mrfc.calls.removal import Removals
from mrfc.calls.reoffer import Means, Reoffers
from mrfc.calls.requests import Requests
from mrfc.calls.session_timers import SessionTimers
from mrfc.config import MrfcConfig
from mrfc.floors.floors import Floors
from mrfc.floors.media_hook import MediaHook
from mrfc.focus import Focus
from mrfc.keys.replay import ReplayCache
from mrfc.keys.resolver import KmsPort, Resolver
from mrfc.keys.tickets import SUITES, TicketPort, Tickets
from mrfc.measures import Measures
from mrfc.mixer.legs import Mixer
from mrfc.mixer.messages import LegMessages
from mrfc.mp.bearer import Bearers, MpPort
from mrfc.roster.endings import Endings
from mrfc.roster.notifier import Notifier
from mrfc.sip.identity import Identities
from mrfc.sip.port import SipPort
from mrfc.sip.trace import SipTrace
from mrfc.state.store import Conference, Store

FLOOR_MARGIN = 5  # seconds that floor requests are kept longer than their call: the end of the call ends them


class Kms(KmsPort, TicketPort, Protocol):
    """The KMS, for tickets of others and for our own."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What the focus works with: its neighbours, its memory, where it tells what it does, and random octets.

    `replay` remembers messages, `used_tickets` tickets that may be used once only; `hook` moves media with floors.
    """

    sip: SipPort
    kms: Kms
    mp: MpPort
    store: Store
    bearers: Bearers
    replay: ReplayCache
    used_tickets: ReplayCache
    hook: MediaHook | None
    tracer: Tracer
    measures: Measures
    random: Callable[[int], bytes]


def assemble(config: MrfcConfig, outside: Outside) -> Focus:
    """The focus, with the conferences of the configuration in its store."""
    store, bearers, measures = outside.store, outside.bearers, outside.measures
    identities = Identities(config.identity.trusted_networks(), config.identity.show_to_operators)
    trace = SipTrace(outside.tracer)
    answerer = Answerer(_resolver(config, outside), outside.tracer, outside.random)
    offerer = _offerer(config, outside)
    calls = Calls(config.sip, store, bearers, outside.sip, trace)
    requests = Requests(config.sip, calls, trace, measures)
    timers = SessionTimers(config.sip, store, calls, requests, offerer)
    reliable = Reliable(config, calls, trace)
    mixer = _mixer(config, outside, calls, requests)
    dial_in = DialIn(config, store, bearers, answerer, measures, outside.random, mixer)
    means = Means(config, store, bearers, calls, answerer, offerer, measures, dial_in.success, mixer)
    reoffers = Reoffers(means)
    connections = Connections(store, bearers, calls, measures, config.sip.reconnect_grace)
    rekeys = Rekeys(bearers, calls, offerer, requests, measures, config.mikey.rekey_margin)
    dial_outs = DialOuts(config, store, calls, offerer, timers, reliable, identities, trace, measures)
    permits = Permits(config, store)
    carriers = Carriers(store)
    removals = Removals(store, calls, permits, measures)
    initial_invites = InitialInvites(
        store,
        calls,
        _admission(config, store, timers, identities),
        ListInvites(config.dial_out, store, dial_outs, permits, identities),
        dial_in,
        LateOffers(offerer),
        reliable,
        trace,
        measures,
    )
    _prepare(store, config)
    return Focus(
        store=store,
        bearers=bearers,
        calls=calls,
        initial_invites=initial_invites,
        in_dialog=InDialog(
            config, store, calls, requests, timers, reliable, trace, dial_in.success, reoffers.change
        ),
        requests=requests,
        timers=timers,
        reliable=reliable,
        reoffers=reoffers,
        connections=connections,
        rekeys=rekeys,
        moves=Moves(store, bearers, calls, connections, rekeys, measures, config.mp),
        dial_outs=dial_outs,
        early_requests=EarlyRequests(store),
        permits=permits,
        referrals=Referrals(config, store, calls, dial_outs, permits, carriers, removals, identities, trace),
        floors=_floors(config, outside, calls),
        notifier=Notifier(config, store, calls, carriers, identities, trace, measures),
        endings=Endings(store, removals),
        mixer=mixer,
        trace=trace,
    )


def _prepare(store: Store, config: MrfcConfig) -> None:
    """What the configuration says of the store."""
    store.floor_grace = math.ceil(config.sip.reconnect_grace) + FLOOR_MARGIN
    for conference in config.conference:
        store.add_conference(Conference.configured(conference))


def _floors(config: MrfcConfig, outside: Outside, calls: Calls) -> Floors:
    publish = config.media_hook.kamailio_event
    return Floors(outside.store, outside.mp, calls, outside.measures, outside.hook, publish=publish)


def _admission(config: MrfcConfig, store: Store, timers: SessionTimers, identities: Identities) -> Admission:
    return Admission(
        config, store, timers, identities, lambda: f"conf-{secrets.token_hex(8)}", secrets.randbelow
    )


def _mixer(config: MrfcConfig, outside: Outside, calls: Calls, requests: Requests) -> Mixer:
    messages = LegMessages(config, outside.sip, SipTrace(outside.tracer, peer="MIXER"))
    participants = MixedCalls(config.mixer, calls, requests)
    return Mixer(config, messages, participants, outside.measures, outside.random)


def _resolver(config: MrfcConfig, outside: Outside) -> Resolver:
    acceptance = Acceptance(
        skew=config.mikey.clock_skew,
        prot_types=tuple(config.mikey.protocol_types),
        require_sdp_ids=config.mikey.require_sdp_ids,
        prfs=tuple(SUITES[name].prf_func for name in config.mikey.suites),
        psk_identity=PskIdentityForm(config.mikey.psk_identity),
    )
    return Resolver(
        outside.kms,
        config.kms,
        acceptance,
        outside.replay,
        outside.tracer,
        outside.measures,
        outside.random,
        config.mikey,
        outside.used_tickets,
    )


def _offerer(config: MrfcConfig, outside: Outside) -> Offerer:
    tickets = Tickets(outside.kms, config.kms, config.mikey, config.dial_out, outside.tracer, outside.random)
    return Offerer(
        outside.store,
        outside.bearers,
        tickets,
        outside.tracer,
        outside.measures,
        outside.random,
        AddressFamily(config.dial_out.address_family),
    )
