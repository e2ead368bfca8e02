"""Random flows of MIKEY-TICKET through two implementations: mrf_protocols.mikey, and naive_mikey from the text alone.

In a twin flow both build every message from the same arguments, times and random octets; all messages have to be
the same byte for byte, which puts each implementation in all three roles opposite the other, and all keys have to
be the same. Few flows are run unless the environment says how many:

    MRF_MIKEY_FLOWS=10000 pytest tests/unit/mikey/test_against_naive.py
"""

from __future__ import annotations

import contextlib
import itertools

import mikey_certified_flows
import naive_mikey as naive
import pytest
from mikey_flows import (
    ALICE_KEY,
    TPK_NAME,
    Flow,
    Octets,
    as_key_data,
    as_naive,
    asks_to_resolve,
    every_mode,
    flows,
    issued_ticket,
    kms_issues,
    kms_keys,
    kms_resolves,
    name,
    ntp,
    own_keys,
    policy_flags,
    resolved_locally,
    responder_answers,
    salt_octets,
    uri,
    wanted_policy,
)

from mrf_protocols import mikey
from mrf_protocols.mikey.numbers import KeyType
from mrf_protocols.mikey.payloads import KeyData
from mrf_protocols.mikey.policy import TicketPolicy, check_forked_keys, check_policy


def same_keys(first: mikey.GrantedTicket, second: naive.Granted) -> None:
    assert first.keys.mpki == second.mpki.key
    assert first.keys.mpkr == (second.mpkr.key if second.mpkr else b"")
    assert as_naive(first.keys.session) == second.keys


# ------------------------------------------------------------------ twin flows


def request_ticket(flow: Flow) -> tuple[mikey.GrantedTicket, naive.Granted]:
    """Ticket Request, built and read by both."""
    octets, csb_id = Octets(flow.random), flow.random.getrandbits(32)
    exchange = mikey.TicketRequestExchange(
        psk=flow.psk_i,
        psk_id=ALICE_KEY,
        initiator=flow.initiator,
        kms=flow.kms,
        responders=flow.responders,
        csb_id=csb_id,
        rand=octets,
        now=flow.start,
        suite=flow.suite,
        flags=policy_flags(flow.flags),
        lifetime=flow.lifetime,
        key_types=[KeyType(kind) for kind in flow.key_types],
    )
    randri, wanted = octets.again(max(len(flow.psk_i), flow.suite.key_length)), wanted_policy(flow)
    init = naive.request_init_psk(
        flow.naive_suite,
        csb_id,
        ntp(flow.start),
        randri,
        uri(flow.initiator),
        uri(flow.kms),
        wanted,
        name(ALICE_KEY),
        flow.psk_i,
    )
    octets.all_used()
    assert exchange.request() == init
    assert naive.read_policy(naive.policy_body(wanted)) == naive.open_request_init_psk(init, flow.psk_i).tp

    response = kms_issues(flow, init, flow.start + 1.5)
    first = exchange.response(response, flow.start + 1.75)
    return first, naive.open_request_resp(init, response, flow.psk_i)


def make_ticket(flow: Flow) -> tuple[mikey.GrantedTicket, naive.Granted]:
    """A ticket made by the Initiator (modes 3 and 4), by both."""
    octets = Octets(flow.random)
    first = mikey.make_ticket(
        tpk=flow.tpk,
        tpk_id=TPK_NAME,
        initiator=flow.initiator,
        kms=flow.kms,
        responders=flow.responders,
        rand=octets,
        now=flow.start,
        suite=flow.suite,
        flags=policy_flags(flow.flags),
        lifetime=flow.lifetime,
        key_types=[KeyType(kind) for kind in flow.key_types],
    )
    policy = wanted_policy(flow)
    zeros = tuple(
        naive.Key(kind, bytes([number]), bytes(flow.suite.key_length), bytes(salt_octets(kind)))
        for number, kind in enumerate(flow.key_types, 1)
    )
    ticket, opened = issued_ticket(flow, policy, zeros, octets, flow.start)
    assert first.ticket.encode(0) == b"\0" + ticket
    mpki, *rest = kms_keys(policy, opened)
    return first, naive.Granted(ticket, mpki, rest[0] if "I" in policy.flags else None, opened.keys)


def transfer(
    flow: Flow,
    first: mikey.GrantedTicket,
    second: naive.Granted,
    now: float,
    cached: tuple[mikey.ResolvedKeys, naive.Resolved] | None = None,
    *,
    certified: bool = False,
) -> tuple[mikey.ResolvedKeys, naive.Resolved]:
    """Ticket Transfer with all that belongs to it, built and read by both; gives what may be cached when J."""
    octets, csb_id = Octets(flow.random), flow.random.getrandbits(32)
    policy = naive.read_policy(second.ticket)
    own = own_keys(flow)
    initiator = mikey.TransferInitiator(
        first,
        flow.initiator,
        flow.called,
        csb_id=csb_id,
        rand=octets,
        now=now,
        sdp_ids=flow.sdp_ids,
        session_keys=as_key_data(own),
    )
    session = naive.Session(1, (0,), (own or second.keys)[0].spi)
    init = naive.transfer_init(
        flow.naive_suite,
        csb_id,
        ntp(now),
        octets.again(flow.suite.key_length),
        uri(flow.initiator),
        uri(flow.called),
        (session,),
        [naive.sp_body(0)],
        second.ticket,
        second.mpki.key,
        second.mpkr.key if second.mpkr else None,
        own,
        None if flow.sdp_ids is None else flow.sdp_ids.encode(),
    )
    octets.all_used()
    assert initiator.init() == init

    responder = mikey.TransferResponder(init, now + 0.25, flow.acceptance)
    read = naive.read_transfer_init(init)
    assert (read.policy, read.sessions) == (policy, (session,))
    if cached is not None:
        responder.reuse(cached[0])
        # Nobody tells `reuse` who answers: without the modifier in the cache it is who was called.
        resolved = cached[1]._replace(idrr=cached[1].idrr or uri(flow.called))
    elif "E" in policy.flags and certified:
        resolved = mikey_certified_flows.resolve(flow, responder, read.ticket, now)
    elif "E" in policy.flags:
        asked = asks_to_resolve(flow, responder, read.ticket, now + 0.5)
        response = kms_resolves(flow, asked, now + 1)
        responder.resolved(response, now + 1.25)
        resolved = naive.open_resolve_resp(asked, response, flow.psk_r)
    else:
        responder.open_locally(flow.ticket_key, flow.responder)
        resolved = resolved_locally(flow, init)
    result, randrr, supplied = responder_answers(flow, responder, init, resolved, session, [], now + 2)
    everybody_has(result, randrr, initiator, second, init, (*supplied, *own), now + 3)
    return responder.resolved_keys, resolved


def everybody_has(
    result: mikey.TransferResult,
    randrr: bytes | None,
    initiator: mikey.TransferInitiator,
    granted: naive.Granted,
    init: bytes,
    own: tuple[naive.Key, ...],
    now: float,
) -> None:
    """Both Initiators have the Responder's TEK: before any answer where one can know it, else after it."""
    read = naive.read_transfer_init(init)
    if result.message:
        answer = naive.open_transfer_resp(init, result.message, granted)
        assert answer.randrr == randrr
        assert answer.responder_keys == own[: len(answer.responder_keys)]
        assert naive.traffic_key(init, randrr, answer.sessions[0], (*own, *answer.keys)) == result.tek
        assert initiator.response(result.message, now).tek == result.tek
    if not result.message or not {"G", "I", "M"} & set(read.policy.flags):
        early = initiator.early_result()
        assert early is not None
        assert early.tek == result.tek
        assert naive.traffic_key(init, None, read.sessions[0], (*own, *granted.keys)) == result.tek


@every_mode
def test_both_build_and_read_the_same(suite: int, mode: int) -> None:
    for flow in flows(suite, mode):
        first, second = request_ticket(flow) if mode < 3 else make_ticket(flow)
        same_keys(first, second)
        now = flow.start + 5
        cached = transfer(flow, first, second, now)
        if "J" in naive.read_policy(second.ticket).flags:
            transfer(flow, first, second, now + 10, cached)


@every_mode
def test_both_build_and_read_the_same_with_certificates(suite: int, mode: int) -> None:
    """Every eighth flow once more, with certificates at the KMS instead of pre-shared keys."""
    for flow in itertools.islice(flows(suite, mode), 0, None, 8):
        first, second = mikey_certified_flows.request_ticket(flow) if mode < 3 else make_ticket(flow)
        same_keys(first, second)
        transfer(flow, first, second, flow.start + 5, certified=True)


# ------------------------------------------------------------------ rules that are few enough to try all


@pytest.mark.parametrize("kind", [KeyType.TGK, KeyType.TEK], ids=["tgk", "tek"])
def test_flags_of_a_policy_depend_on_each_other_in_the_same_way(kind: KeyType) -> None:
    session = (KeyData(kind, bytes(16), spi=b"\x01"),)
    for bits in itertools.product((False, True), repeat=12):
        flags = "".join(itertools.compress("DEFGHIJKLMNO", bits))
        body = naive.policy_body(naive.Policy(flags, 0, (uri("sip:b@home.example"),)))
        policy, _ = TicketPolicy.decode(body, 0)
        assert policy.flags == policy_flags(flags)
        consistent = naive.flags_consistent(flags, kind == KeyType.TGK)
        with contextlib.nullcontext() if consistent else pytest.raises(mikey.MikeyError, match="flags break"):
            check_policy(policy)
            check_forked_keys(policy, session)
