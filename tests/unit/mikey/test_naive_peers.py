"""One party is naive and does what RFC 6043 allows but mrf_protocols.mikey never does itself.

Other lengths of keys, RANDs and SPIs, other types of timestamps and identities, payloads left out or not expected,
several policies and keys, a ticket from elsewhere. The others, of mrf_protocols.mikey, have to take it, answer as
foretold byte for byte, and end with the same key. MRF_MIKEY_FLOWS says how many flows, as in test_against_naive.
"""

from __future__ import annotations

import random

import naive_mikey as naive
from mikey_flows import (
    ALICE_KEY,
    BOB_KEY,
    TPK_NAME,
    Flow,
    Octets,
    as_key_data,
    asks_to_resolve,
    every_mode,
    flows,
    kms_issues,
    kms_resolves,
    longest,
    name,
    ntp,
    own_keys,
    policy_flags,
    resolved_locally,
    responder_answers,
    uri,
    wanted_policy,
    whole,
)

from mrf_protocols import mikey
from mrf_protocols.mikey.numbers import KeyType

Extra = tuple[tuple[int, bytes], ...]
APPLICATION = "urn:example:floor-control"


def stamp(rng: random.Random, now: float) -> naive.Time:
    """T of a type with which a time can be said."""
    kind = rng.choice([naive.NTP_UTC, naive.NTP, naive.NTP_UTC_32])
    return whole(now) if kind == naive.NTP_UTC_32 else naive.Time(kind, ntp(now).value)


def nobody_expects(rng: random.Random) -> Extra:
    """Payloads to ignore: a vendor's extension, a RAND, a timestamp with a role, an application."""
    payloads = [
        (naive.EXTENSION, naive.extension_body(0, rng.randbytes(rng.randrange(9)))),
        (naive.RAND, naive.counted(rng.randbytes(16))),
        (naive.TR, naive.tr_body(naive.TRS, whole(0))),
        (naive.IDR, naive.idr_body(naive.IDRAPP, uri("urn:example:other"))),
    ]
    return tuple(rng.sample(payloads, rng.choice([0, 0, 1, 2])))


def some_of(rng: random.Random, *roles: int) -> tuple[int, ...]:
    return tuple(role for role in roles if rng.random() < 0.3)


def identity(rng: random.Random, text: str) -> naive.Id:
    """A user as URI, or as NAI, which means the same."""
    return naive.Id(0, text.removeprefix("sip:").encode()) if rng.random() < 0.3 else uri(text)


def session_keys(flow: Flow) -> tuple[naive.Key, ...]:
    """One to four keys of the flow's kinds, no longer than the algorithms allow (RFC 6043 12.1), SPIs as they come."""
    rng, size = flow.random, flow.suite.key_length
    kinds = [*flow.key_types, *rng.sample([naive.TEK, naive.GTGK], rng.randrange(3))]
    longest = 16 if size == 16 else 64
    return tuple(
        naive.Key(
            kind,
            bytes([number]) + rng.randbytes(rng.randrange(8)),
            rng.randbytes(rng.randrange(16, longest + 1)),
            rng.randbytes(rng.randrange(1, 20)) if kind in naive.SALTED else b"",
        )
        for number, kind in enumerate(kinds, 1)
    )


def ticket_from_elsewhere(flow: Flow, policy: naive.Policy, now: float) -> tuple[bytes, naive.Granted]:
    """A base ticket with a header, a longer MPK and RAND, no IDRpsk perhaps."""
    rng, size = flow.random, flow.suite.key_length
    mpk = naive.Key(
        naive.MPK, rng.randbytes(rng.randrange(1, 9)), rng.randbytes(rng.randrange(size, size + 34))
    )
    rand = rng.randbytes(max(len(mpk.key), len(flow.tpk)) + rng.randrange(40))
    ticket = naive.base_ticket(
        policy,
        stamp(rng, now),
        rand,
        flow.tpk,
        (mpk, *session_keys(flow)),
        rng.choice([None, name(TPK_NAME)]),
        rng.randbytes(rng.randrange(20)),
    )
    opened = naive.open_base_ticket(ticket, flow.tpk)
    mpkr = opened.mpkr if "I" in policy.flags else None
    return ticket, naive.Granted(ticket, opened.mpki, mpkr, opened.keys)


# ------------------------------------------------------------------ the Initiator is naive


def unusual_request(flow: Flow) -> naive.Granted:
    """Ticket Request of the naive Initiator."""
    rng, size = flow.random, flow.suite.key_length
    keys = tuple(
        key._replace(key=bytes(min(len(key.key), size)), salt=bytes(len(key.salt)))
        for key in session_keys(flow)
    )
    if naive.flags_consistent(flow.flags, True) and rng.random() < 0.3:
        keys = ()
    wanted = wanted_policy(flow)._replace(
        flags=flow.flags + rng.choice(["", "K"]),
        kms=rng.choice([None, uri(flow.kms)]),
        initiator=rng.choice([None, identity(rng, flow.initiator)]),
        start=rng.choice([None, stamp(rng, flow.start - 30)]),
        rekey=rng.choice([None, naive.Time(naive.NTP_UTC_32, rng.randbytes(4))]),
        applications=rng.choice([(), (uri(APPLICATION),), (uri("urn:x"), uri(APPLICATION))]),
        keys=keys,
    )
    left_out = some_of(rng, naive.IDRI, naive.IDRKMS)
    init = naive.request_init_psk(
        flow.naive_suite,
        rng.getrandbits(32),
        stamp(rng, flow.start),
        rng.randbytes(rng.randrange(len(flow.psk_i), 256)),
        # Who leaves IDRi out is known as the one URI that goes with the key.
        uri(flow.initiator) if naive.IDRI in left_out else identity(rng, flow.initiator),
        uri(flow.kms),
        wanted,
        rng.choice([None, name(ALICE_KEY)]),
        flow.psk_i,
        left_out,
        nobody_expects(rng),
    )
    response = kms_issues(flow, init, flow.start + 1.5)
    return naive.open_request_resp(init, response, flow.psk_i)


def unusual_transfer(
    flow: Flow, granted: naive.Granted, now: float
) -> tuple[bytes, naive.Session, list[bytes]]:
    """TRANSFER_INIT of the naive Initiator; what the Responder has to choose, and what SPs it has to add."""
    rng, own = flow.random, own_keys(flow)
    granted_flags = naive.read_policy(granted.ticket).flags
    enough = longest(granted.mpki, granted.mpkr, *granted.keys, *own)  # RFC 6043 12.1
    keys = (*own, *granted.keys)
    spi = rng.choice([b"", *(key.spi for key in keys)])
    taken, refused = naive.sp_body(rng.randrange(128)), naive.sp_body(200, parameters=b"\x01\x01\x00")
    numbers, sps, chosen, added = rng.choice(
        [
            ((taken[0],), [taken], taken[0], []),
            ((taken[0],), [refused, taken], taken[0], []),
            ((200, taken[0]), [taken, refused], taken[0], []),
            ((), [], 0, [naive.sp_body(0)]),
        ]
    )
    session = naive.Session(
        rng.randrange(256), numbers, spi, data=rng.randbytes(rng.randrange(4)), s=rng.randrange(2)
    )
    init = naive.transfer_init(
        flow.naive_suite,
        rng.getrandbits(32),
        stamp(rng, now),
        rng.randbytes(rng.randrange(16 if "G" in granted_flags else enough, 256)),
        identity(rng, flow.initiator),
        uri(flow.responder),
        (session,),
        sps,
        granted.ticket,
        granted.mpki.key,
        granted.mpkr.key if granted.mpkr else None,
        own,
        rng.choice([None, b"mikey"]),
        some_of(rng, naive.IDRR),
        nobody_expects(rng),
    )
    return init, session._replace(policies=(chosen,), spi=spi or keys[0].spi), added


@every_mode
def test_a_naive_initiator_is_understood(suite: int, mode: int) -> None:
    for flow in flows(suite, mode):
        if mode < 3:
            granted = unusual_request(flow)
        else:
            _, granted = ticket_from_elsewhere(flow, wanted_policy(flow), flow.start)
        now = flow.start + 10
        init, chosen, added = unusual_transfer(flow, granted, now)
        acceptance = mikey.Acceptance(sdp_ids="mikey", applications=(APPLICATION,))
        responder = mikey.TransferResponder(init, now + 1, acceptance)
        read = naive.read_transfer_init(init)
        if "E" in read.policy.flags:
            asked = asks_to_resolve(flow, responder, read.ticket, now + 2)
            response = kms_resolves(flow, asked, now + 3)
            responder.resolved(response, now + 4)
            resolved = naive.open_resolve_resp(asked, response, flow.psk_r)
        else:
            responder.open_locally(flow.ticket_key, flow.responder)
            resolved = resolved_locally(flow, init)
        result, randrr, supplied = responder_answers(flow, responder, init, resolved, chosen, added, now + 5)
        if result.message:
            answer = naive.open_transfer_resp(init, result.message, granted)
            keys = (
                *naive.verify_transfer_init(init, granted.mpki.key, None, uri(flow.responder)),
                *answer.keys,
                *supplied,
            )
            assert naive.traffic_key(init, randrr, answer.sessions[0], keys) == result.tek


# ------------------------------------------------------------------ the KMS is naive


def request_exchange(flow: Flow) -> mikey.TicketRequestExchange:
    return mikey.TicketRequestExchange(
        psk=flow.psk_i,
        psk_id=ALICE_KEY,
        initiator=flow.initiator,
        kms=flow.kms,
        responders=flow.responders,
        csb_id=flow.random.getrandbits(32),
        rand=flow.random.randbytes,
        now=flow.start,
        suite=flow.suite,
        flags=policy_flags(flow.flags),
        lifetime=flow.lifetime,
    )


def unusual_grant(
    flow: Flow, now: float, *, nameless: bool = False
) -> tuple[mikey.GrantedTicket, naive.Granted]:
    """Ticket Request answered by the naive KMS: shorter life, a start, no reuse, another kind of ticket.

    `nameless` lets it leave out IDRi of the ticket, which our KMS wants to see when it resolves.
    """
    rng, exchange = flow.random, request_exchange(flow)
    init = exchange.request()
    wanted = naive.open_request_init_psk(init, flow.psk_i).tp
    policy = wanted._replace(
        flags=rng.choice([flow.flags, flow.flags.replace("J", "") + "K"]),
        start=rng.choice([None, stamp(rng, now - 10)]),
        end=rng.choice([wanted.end, stamp(rng, now + 60)]),
        rekey=rng.choice([None, naive.Time(naive.NTP_UTC_32, rng.randbytes(4))]),
        initiator=None if nameless and rng.random() < 0.5 else identity(rng, flow.initiator),
        applications=rng.choice([(), (uri(APPLICATION),)]),
        keys=(),
    )
    ticket, made = ticket_from_elsewhere(flow, policy, now)
    mpks = [key._replace(spi=rng.randbytes(3)) for key in (made.mpki, made.mpkr) if key is not None]
    response = naive.request_resp(
        init,
        flow.psk_i,
        stamp(rng, now),
        rng.choice([None, uri(flow.kms)]),
        ticket,
        (*mpks, *made.keys),
        nobody_expects(rng),
    )
    return exchange.response(response, now + 1), naive.open_request_resp(init, response, flow.psk_i)


def made_ticket(flow: Flow) -> tuple[mikey.GrantedTicket, naive.Granted]:
    """A ticket that the Initiator made, and what is in it."""
    first = mikey.make_ticket(
        tpk=flow.tpk,
        tpk_id=TPK_NAME,
        initiator=flow.initiator,
        kms=flow.kms,
        responders=flow.responders,
        rand=flow.random.randbytes,
        now=flow.start,
        suite=flow.suite,
        flags=policy_flags(flow.flags),
        lifetime=flow.lifetime,
        key_types=[KeyType(kind) for kind in flow.key_types],
    )
    ticket = first.ticket.encode(0)[1:]
    opened = naive.open_base_ticket(ticket, flow.tpk)
    mpkr = opened.mpkr if "I" in opened.policy.flags else None
    return first, naive.Granted(ticket, opened.mpki, mpkr, opened.keys)


def initiates(
    flow: Flow, first: mikey.GrantedTicket, granted: naive.Granted, now: float
) -> tuple[mikey.TransferInitiator, tuple[naive.Key, ...]]:
    """TRANSFER_INIT of the Initiator, as foretold, and the keys of its own in it."""
    octets, own, csb_id = Octets(flow.random), own_keys(flow), flow.random.getrandbits(32)
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
    enough = longest(granted.mpki, granted.mpkr, *granted.keys, *own)
    init = naive.transfer_init(
        flow.naive_suite,
        csb_id,
        ntp(now),
        octets.again(max(enough, flow.suite.key_length)),
        uri(flow.initiator),
        uri(flow.called),
        (naive.Session(1, (0,), (*own, *granted.keys)[0].spi),),
        [naive.sp_body(0)],
        granted.ticket,
        granted.mpki.key,
        granted.mpkr.key if granted.mpkr else None,
        own,
        None if flow.sdp_ids is None else flow.sdp_ids.encode(),
    )
    octets.all_used()
    assert initiator.init() == init
    return initiator, own


def unusual_resolve(flow: Flow, asked: bytes, now: float) -> bytes:
    """Ticket Resolve answered by the naive KMS, which may name who answers and send RANDRkms without forking, too."""
    rng, ticket = flow.random, naive.open_resolve_init_psk(asked, flow.psk_r).ticket
    idrr = identity(rng, rng.choice(flow.responders))
    opened = naive.open_base_ticket(ticket, flow.tpk)
    randrkms = rng.randbytes(rng.randrange(longest(opened.mpkr, *opened.keys), 256))
    keys = naive.resolved_keys(ticket, flow.tpk, idrr, randrkms)
    forking = "I" in opened.policy.flags
    return naive.resolve_resp(
        asked,
        flow.psk_r,
        stamp(rng, now),
        rng.choice([None, uri(flow.kms)]),
        keys,
        idrr if forking else rng.choice([None, idrr]),
        randrkms if forking else rng.choice([None, randrkms]),
        nobody_expects(rng),
    )


@every_mode
def test_a_naive_kms_is_understood(suite: int, mode: int) -> None:
    for flow in flows(suite, mode):
        now = flow.start + 10
        first, granted = unusual_grant(flow, flow.start + 2, nameless=True) if mode < 3 else made_ticket(flow)
        initiator, own = initiates(flow, first, granted, now)
        init = initiator.init()
        acceptance = mikey.Acceptance(sdp_ids=flow.sdp_ids, applications=(APPLICATION,))
        responder, read = mikey.TransferResponder(init, now + 1, acceptance), naive.read_transfer_init(init)
        if "E" in read.policy.flags:
            asked = asks_to_resolve(flow, responder, read.ticket, now + 2)
            response = unusual_resolve(flow, asked, now + 3)
            responder.resolved(response, now + 4)
            resolved = naive.open_resolve_resp(asked, response, flow.psk_r)
        else:
            responder.open_locally(flow.ticket_key, flow.responder)
            resolved = resolved_locally(flow, init)
        (session,) = read.sessions
        result, randrr, supplied = responder_answers(flow, responder, init, resolved, session, [], now + 5)
        if result.message:
            answer = naive.open_transfer_resp(init, result.message, granted)
            assert (
                naive.traffic_key(init, randrr, answer.sessions[0], (*supplied, *own, *answer.keys))
                == result.tek
            )
            assert initiator.response(result.message, now + 6).tek == result.tek


# ------------------------------------------------------------------ the Responder is naive


def unusual_resolve_init(flow: Flow, ticket: bytes, now: float) -> bytes:
    """RESOLVE_INIT_PSK of the naive Responder."""
    rng = flow.random
    left_out = some_of(rng, naive.IDRR, naive.IDRKMS)
    return naive.resolve_init_psk(
        flow.naive_suite,
        rng.getrandbits(32),
        stamp(rng, now),
        rng.randbytes(rng.randrange(len(flow.psk_r), 256)),
        uri(flow.responder) if naive.IDRR in left_out else identity(rng, flow.responder),
        uri(flow.kms),
        ticket,
        rng.choice([None, name(BOB_KEY)]),
        flow.psk_r,
        left_out,
        nobody_expects(rng),
    )


def unusual_answer(
    flow: Flow, init: bytes, resolved: naive.Resolved, known: tuple[naive.Key, ...], now: float
) -> tuple[bytes, bytes]:
    """TRANSFER_RESP of the naive Responder and its TEK: another key or policy, keys of its own, a long RANDRr."""
    rng, read = flow.random, naive.read_transfer_init(init)
    size = flow.suite.key_length
    own = tuple(
        naive.Key(
            kind, b"r" + bytes([kind]), rng.randbytes(size), rng.randbytes(9 if kind in naive.SALTED else 0)
        )
        for kind in rng.choice([(), (0,), (2,), (3, 4)] if "M" in read.policy.flags else [()])
    )
    mpk = resolved.mpkr or resolved.mpki
    # RFC 6043 12.1: the RANDs together; RFC 3830 6.11: one alone no shorter than 16.
    short = max(16, longest(mpk, *known, *own) - len(read.randri))
    randrr = rng.randbytes(rng.randrange(short, 256)) if "G" in read.policy.flags else None
    number, sps = rng.choice([(0, []), (9, [naive.sp_body(9)]), (0, [naive.sp_body(0)])])
    chosen = read.sessions[0]._replace(
        policies=(number,), spi=rng.choice([*known, *own]).spi, data=rng.randbytes(rng.randrange(3))
    )
    idrr = resolved.idrr or rng.choice([None, identity(rng, rng.choice(flow.responders))])
    response = naive.transfer_resp(
        init,
        stamp(rng, now),
        randrr,
        idrr,
        resolved.randrkms,
        (chosen,),
        sps,
        mpk.key,
        own,
        nobody_expects(rng),
    )
    return response, naive.traffic_key(init, randrr, chosen, (*known, *own))


@every_mode
def test_a_naive_responder_is_understood(suite: int, mode: int) -> None:
    for flow in flows(suite, mode):
        now = flow.start + 10
        first, granted = unusual_grant(flow, flow.start + 2) if mode < 3 else made_ticket(flow)
        initiator, own = initiates(flow, first, granted, now)
        init = initiator.init()
        read = naive.read_transfer_init(init)
        if "E" in read.policy.flags:
            asked = unusual_resolve_init(flow, read.ticket, now + 2)
            resolved = naive.open_resolve_resp(asked, kms_resolves(flow, asked, now + 3), flow.psk_r)
        else:
            resolved = resolved_locally(flow, init)
        assert naive.verify_transfer_init(init, resolved.mpki.key) == own
        known = (*own, *resolved.keys)
        if "F" in read.policy.flags:
            response, tek = unusual_answer(flow, init, resolved, known, now + 5)
            assert initiator.response(response, now + 6).tek == tek
        else:
            early = initiator.early_result()
            assert early is not None
            assert early.tek == naive.traffic_key(init, None, read.sessions[0], known)
