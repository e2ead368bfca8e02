"""Random flows of MIKEY-TICKET through two implementations: mrf_protocols.mikey, and naive_mikey from the text alone.

In a twin flow both build every message from the same arguments, times and random octets; all messages have to be
the same byte for byte, which puts each implementation in all three roles opposite the other, and all keys have to
be the same. Few flows are run unless the environment says how many:

    MRF_MIKEY_FLOWS=10000 pytest tests/unit/mikey/test_against_naive.py
"""

from __future__ import annotations

import contextlib
import itertools

import naive_mikey as naive
import pytest
from mikey_flows import (
    ALICE_KEY,
    BOB_KEY,
    LONGEST_LIFE,
    MPKR_SPI,
    TPK_NAME,
    Flow,
    Octets,
    as_naive,
    every_mode,
    flows,
    granted_policy,
    issued_ticket,
    kms_keys,
    name,
    ntp,
    own_keys,
    policy_flags,
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

    now = flow.start + 1.5
    issued = mikey.issue_ticket(
        init,
        rules=mikey.KmsRules(flow.kms, max_lifetime=LONGEST_LIFE, cleared_flags=policy_flags(flow.cleared)),
        find_credential=flow.alice,
        ticket_key=flow.ticket_key(TPK_NAME),
        rand=octets,
        now=now,
    )
    policy = granted_policy(flow, wanted, now)
    ticket, opened = issued_ticket(flow, policy, octets, now)
    octets.all_used()
    response = naive.request_resp(init, flow.psk_i, ntp(now), uri(flow.kms), ticket, kms_keys(policy, opened))
    assert issued.response == response
    first, second = (
        exchange.response(response, now + 0.25),
        naive.open_request_resp(init, response, flow.psk_i),
    )
    assert (second.ticket, second.keys) == (ticket, opened.keys)
    return first, second


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
    ticket, opened = issued_ticket(flow, policy, octets, flow.start)
    octets.all_used()
    assert first.ticket.encode(0) == b"\0" + ticket
    mpki, *rest = kms_keys(policy, opened)
    return first, naive.Granted(ticket, mpki, rest[0] if "I" in policy.flags else None, opened.keys)


def resolve_ticket(
    flow: Flow, responder: mikey.TransferResponder, ticket: bytes, now: float
) -> naive.Resolved:
    """Ticket Resolve, built and read by both."""
    octets = Octets(flow.random)
    init = responder.resolve_init(
        psk=flow.psk_r, psk_id=BOB_KEY, identity=flow.responder, kms=flow.kms, rand=octets, now=now
    )
    csb_id = int.from_bytes(octets.again(4), "big")
    randrr = octets.again(max(len(flow.psk_r), flow.suite.key_length))
    again = naive.resolve_init_psk(
        flow.naive_suite,
        csb_id,
        ntp(now),
        randrr,
        uri(flow.responder),
        uri(flow.kms),
        ticket,
        name(BOB_KEY),
        flow.psk_r,
    )
    octets.all_used()
    assert init == again
    assert naive.open_resolve_init_psk(init, flow.psk_r).ticket == ticket
    resolved = mikey.resolve_ticket(
        init,
        rules=mikey.KmsRules(flow.kms),
        find_credential=flow.bob,
        find_ticket_key=flow.ticket_key,
        rand=octets,
        now=now + 0.5,
    )
    forking = "I" in naive.read_policy(ticket).flags
    idrr, randrkms = (uri(flow.responder), octets.again(flow.suite.key_length)) if forking else (None, None)
    octets.all_used()
    keys = naive.resolved_keys(ticket, flow.tpk, uri(flow.responder), randrkms or b"")
    if forking:
        keys = (keys[0], keys[1]._replace(spi=MPKR_SPI), *keys[2:])
    response = naive.resolve_resp(init, flow.psk_r, ntp(now + 0.5), uri(flow.kms), keys, idrr, randrkms)
    assert resolved.response == response
    responder.resolved(response, now + 0.75)
    return naive.open_resolve_resp(init, response, flow.psk_r)


def transfer(
    flow: Flow,
    first: mikey.GrantedTicket,
    second: naive.Granted,
    now: float,
    cached: tuple[mikey.ResolvedKeys, naive.Resolved] | None = None,
) -> tuple[mikey.ResolvedKeys, naive.Resolved]:
    """Ticket Transfer with all that belongs to it, built and read by both; gives what may be cached when J."""
    octets, csb_id, policy = (
        Octets(flow.random),
        flow.random.getrandbits(32),
        naive.read_policy(second.ticket),
    )
    own = own_keys(flow)
    initiator = mikey.TransferInitiator(
        first,
        flow.initiator,
        flow.called,
        csb_id=csb_id,
        rand=octets,
        now=now,
        sdp_ids=flow.sdp_ids,
        session_keys=[KeyData(KeyType(key.kind), key.key, key.salt, spi=key.spi) for key in own],
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

    responder, read = (
        mikey.TransferResponder(init, now + 0.25, flow.acceptance),
        naive.read_transfer_init(init),
    )
    assert (read.policy, read.sessions) == (policy, (session,))
    if cached is not None:
        responder.reuse(cached[0])
        # Nobody tells `reuse` who answers: without the modifier in the cache it is who was called.
        resolved = cached[1]._replace(idrr=cached[1].idrr or uri(flow.called))
    elif "E" in policy.flags:
        resolved = resolve_ticket(flow, responder, read.ticket, now + 0.5)
    else:
        responder.open_locally(flow.ticket_key, flow.responder)
        opened = naive.open_base_ticket(read.ticket, flow.tpk)
        resolved = naive.Resolved(opened.mpki, None, opened.keys, None, None)
    assert naive.verify_transfer_init(init, resolved.mpki.key) == own

    result = responder.respond(octets, now + 2)
    randrr = octets.again(flow.suite.key_length) if "G" in policy.flags else None
    octets.all_used()
    answer_to_all(flow, initiator, result, randrr, second, init, resolved, now, own)
    return responder.resolved_keys, resolved


def answer_to_all(
    flow: Flow,
    initiator: mikey.TransferInitiator,
    result: mikey.TransferResult,
    randrr: bytes | None,
    granted: naive.Granted,
    init: bytes,
    resolved: naive.Resolved,
    now: float,
    own: tuple[naive.Key, ...],
) -> None:
    """TRANSFER_RESP if there is one, and one and the same TEK with everybody."""
    read = naive.read_transfer_init(init)
    (session,) = read.sessions
    responders_keys = (*own, *resolved.keys)
    initiators_keys = (*own, *granted.keys)
    if "F" in read.policy.flags:
        mpk = resolved.mpkr or resolved.mpki
        idrr = resolved.idrr or uri(flow.responder)
        response = naive.transfer_resp(
            init, ntp(now + 2), randrr, idrr, resolved.randrkms, (session,), [], mpk.key
        )
        assert result.message == response
        answer = naive.open_transfer_resp(init, response, granted)
        assert (answer.randrr, answer.responder_keys) == (randrr, ())
        assert initiator.response(response, now + 3).tek == result.tek
        initiators_keys = (*own, *answer.keys)
    else:
        assert result.message == b""
    assert naive.traffic_key(init, randrr, session, responders_keys) == result.tek
    if "F" in read.policy.flags or "I" not in read.policy.flags:
        assert naive.traffic_key(init, randrr, session, initiators_keys) == result.tek
    if not {"G", "I"} & set(read.policy.flags):
        early = initiator.early_result()
        assert early is not None
        assert early.tek == result.tek


@every_mode
def test_both_build_and_read_the_same(suite: int, mode: int) -> None:
    for flow in flows(suite, mode):
        first, second = request_ticket(flow) if mode < 3 else make_ticket(flow)
        same_keys(first, second)
        now = flow.start + 5
        cached = transfer(flow, first, second, now)
        if "J" in naive.read_policy(second.ticket).flags:
            transfer(flow, first, second, now + 10, cached)


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
