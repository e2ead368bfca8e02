"""How the focus is put together from its parts; what it works with outside of itself is handed in."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mrf_ops.trace import Tracer
from mrf_protocols.h248.mp import AddressFamily
from mrf_protocols.mikey import Acceptance, PskIdentityForm
from mrfc.calls.answerer import Answerer
from mrfc.calls.calls import Calls
from mrfc.calls.connections import Connections
from mrfc.calls.dial_in import DialIn
from mrfc.calls.dial_out import DialOuts
from mrfc.calls.late_offer import LateOffers
from mrfc.calls.mixing import MixedCalls
from mrfc.calls.offerer import Offerer
from mrfc.calls.rekey import Rekeys
from mrfc.calls.reliable import Reliable
from mrfc.calls.reoffer import Means, Reoffers
from mrfc.calls.requests import Requests
from mrfc.calls.session_timers import SessionTimers
from mrfc.config import MrfcConfig
from mrfc.floors.floors import Floors
from mrfc.floors.media_hook import MediaHook
from mrfc.focus import Focus, Parts
from mrfc.keys.replay import ReplayCache
from mrfc.keys.resolver import KmsPort, Resolver
from mrfc.keys.tickets import SUITES, TicketPort, Tickets
from mrfc.measures import Measures
from mrfc.mixer.legs import Mixer
from mrfc.mixer.messages import LegMessages
from mrfc.mp.bearer import Bearers, MpPort
from mrfc.sip.port import SipPort
from mrfc.sip.trace import SipTrace
from mrfc.state.store import Store


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
    """The focus."""
    store, bearers, measures = outside.store, outside.bearers, outside.measures
    trace = SipTrace(outside.tracer)
    answerer = Answerer(_resolver(config, outside), outside.tracer, outside.random)
    offerer = _offerer(config, outside)
    calls = Calls(store, bearers, outside.sip, trace, transaction_timeout=config.sip.ack_timeout)
    requests = Requests(config.sip, calls, trace, measures)
    timers = SessionTimers(config.sip, store, calls, requests, offerer)
    reliable = Reliable(config, calls, trace)
    mixer = _mixer(config, outside, calls, requests)
    dial_in = DialIn(config, store, bearers, answerer, measures, outside.random, mixer)
    means = Means(config, store, bearers, calls, answerer, offerer, measures, dial_in.success, mixer)
    publish = config.media_hook.kamailio_event
    return Focus(
        Parts(
            config=config,
            store=store,
            bearers=bearers,
            calls=calls,
            requests=requests,
            timers=timers,
            reliable=reliable,
            dial_in=dial_in,
            dial_outs=DialOuts(config, store, calls, offerer, timers, reliable, trace, measures),
            late_offers=LateOffers(offerer),
            reoffers=Reoffers(means),
            connections=Connections(bearers, calls, measures, config.sip.reconnect_grace),
            rekeys=Rekeys(bearers, calls, offerer, requests, measures, config.mikey.rekey_margin),
            floors=Floors(store, outside.mp, calls, measures, outside.hook, publish=publish),
            mixer=mixer,
            trace=trace,
            measures=measures,
            new_name=lambda: f"conf-{secrets.token_hex(8)}",
            draw=secrets.randbelow,
        )
    )


def _mixer(config: MrfcConfig, outside: Outside, calls: Calls, requests: Requests) -> Mixer:
    messages = LegMessages(config, lambda: calls.sip, SipTrace(outside.tracer, peer="MIXER"))
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
