"""Random flows of MIKEY-TICKET through two implementations: mrf_protocols.mikey, and naive_mikey from the text alone.

In a twin flow both build every message from the same arguments, times and random octets; all messages have to be
the same byte for byte, which puts each implementation in all three roles opposite the other, and all keys have to
be the same. In a mixed flow one party or two are naive and do what RFC 6043 allows and mrf_protocols.mikey itself
never does; whatever the others answer is predicted byte for byte.

A flow follows from its number alone. MRF_MIKEY_FLOWS says how many each test runs altogether:

    MRF_MIKEY_FLOWS=10000 pytest tests/unit/mikey/test_against_naive.py
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import naive_mikey as naive
import pytest

from mrf_protocols import mikey
from mrf_protocols.mikey import PolicyFlag
from mrf_protocols.mikey.numbers import KeyType
from mrf_protocols.mikey.payloads import KeyData
from mrf_protocols.mikey.policy import TicketPolicy, check_forked_keys, check_policy

FLOWS = int(os.environ.get("MRF_MIKEY_FLOWS", "400"))
SUITES = ((mikey.SUITE_128, naive.SUITE_128), (mikey.SUITE_256, naive.SUITE_256))
NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970
MPK_SPI, MPKR_SPI = b"\x10", b"\x11"  # what mrf_protocols.mikey calls its MPKs
TPK_NAME, ALICE_KEY, BOB_KEY = "tpk-7", "alice-key", "bob's key"
LONGEST_LIFE = 7200.0

every_mode = pytest.mark.parametrize(
    ("suite", "mode"),
    [
        pytest.param(suite, mode, id=f"{128 << suite}-mode{mode}")
        for suite, mode in itertools.product((0, 1), (1, 2, 3, 4))
    ],
)


@dataclass
class Octets:
    """A source of random octets that hands the same ones out twice, first to one implementation, then to the other."""

    source: random.Random
    given: list[bytes] = field(default_factory=list)

    def __call__(self, count: int) -> bytes:
        octets = self.source.randbytes(count)
        if count:
            self.given.append(octets)
        return octets

    def again(self, count: int) -> bytes:
        octets = self.given.pop(0)
        assert len(octets) == count
        return octets

    def all_used(self) -> None:
        assert self.given == []


@dataclass(frozen=True)
class Flow:
    """The arguments of a flow."""

    suite: mikey.Suite
    naive_suite: naive.Suite
    mode: int
    flags: str
    initiator: str
    called: str
    responder: str
    kms: str
    psk_i: bytes = field(repr=False)
    psk_r: bytes = field(repr=False)
    tpk: bytes = field(repr=False)
    start: float
    lifetime: float | None
    cleared: str
    key_types: tuple[int, ...]
    own_key_types: tuple[int, ...]
    sdp_ids: str | None
    random: random.Random = field(repr=False, compare=False)

    @property
    def responders(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.called, self.responder)))

    @property
    def acceptance(self) -> mikey.Acceptance:
        return mikey.Acceptance(sdp_ids=self.sdp_ids)

    def alice(self, _name: str | None, _identity: str | None) -> mikey.Credential:
        return mikey.Credential(ALICE_KEY, self.psk_i, (self.initiator,))

    def bob(self, _name: str | None, _identity: str | None) -> mikey.Credential:
        return mikey.Credential(BOB_KEY, self.psk_r, (self.responder,))

    def ticket_key(self, name: str | None) -> mikey.TicketKey:
        owner = (self.initiator,) if self.mode > 2 else None
        return mikey.TicketKey(name or TPK_NAME, self.tpk, owner)


def pick_flags(rng: random.Random, mode: int, with_tgk: bool) -> str:
    """Flags of a policy that does not contradict itself, for a mode: no E where nobody asks the KMS."""
    while True:
        flags = "NO" + "".join(letter for letter in "EFGHIJLM" if rng.random() < 0.5)
        flags += "D" if mode < 3 else "L" * ("L" not in flags)
        if mode in (2, 4):
            flags = flags.replace("E", "")
        if mode == 1 and "E" not in flags and rng.random() < 0.8:
            flags += "E"
        if naive.flags_consistent(flags, with_tgk):
            return flags


def pick(suite: int, mode: int, number: int) -> Flow:
    """Flow number so and so of a suite and a mode."""
    rng = random.Random(f"{suite} {mode} {number}")
    first, second = SUITES[suite]
    size = first.key_length
    key_types = tuple(rng.choice([(0,), (0,), (1,), (2,), (3,), (4,), (5,), (0, 2), (4, 0, 3)]))
    flags = pick_flags(rng, mode, with_tgk=bool({0, 1} & set(key_types)))
    own = rng.choice([(), (2,), (0,), (4, 5)]) if "L" in flags else ()
    called = f"sip:user{rng.randrange(100)}@home{rng.randrange(9)}.example"
    return Flow(
        suite=first,
        naive_suite=second,
        mode=mode,
        flags=flags,
        initiator=f"sip:{'a' * rng.randrange(1, 40)}@conf.example",
        called=called,
        responder=called if rng.random() < 0.5 else "sip:answers.ü@home.example",
        kms="" if mode == 4 else rng.choice(["kms.home.example", "k"]),
        psk_i=rng.randbytes(rng.choice([size, size, 40, 64, 65])),
        psk_r=rng.randbytes(rng.choice([size, size, 33, 96])),
        tpk=rng.randbytes(rng.choice([size, 32, 48])),
        start=rng.randrange(1_700_000_000, 2_400_000_000) + rng.randrange(1 << 16) / (1 << 16),
        lifetime=rng.choice([None, 90.0, 3600.5, 7199.0, 9000.0]),
        cleared="J" if rng.random() < 0.2 else "",
        key_types=key_types,
        own_key_types=own,
        sdp_ids=rng.choice(["mikey", "mikey", "mikey;keyp1", None]),
        random=rng,
    )


def flows(suite: int, mode: int) -> Iterator[Flow]:
    """This test's share of all flows."""
    return (pick(suite, mode, number) for number in range(math.ceil(FLOWS / 8)))


def policy_flags(letters: str) -> PolicyFlag:
    flags = PolicyFlag(0)
    for letter in letters:
        flags |= PolicyFlag[letter]
    return flags


def uri(text: str) -> naive.Id:
    return naive.Id(1, text.encode())


def name(text: str) -> naive.Id:
    return naive.Id(2, text.encode())


def ntp(now: float) -> naive.Time:
    """Unix time as a 64-bit NTP-UTC value (RFC 3830 4.2.8); the times of flows have an exact fraction."""
    return naive.Time(naive.NTP_UTC, (int((now + NTP_EPOCH) * (1 << 32)) % (1 << 64)).to_bytes(8, "big"))


def whole(now: float) -> naive.Time:
    """Unix time as NTP-UTC-32."""
    return naive.Time(naive.NTP_UTC_32, ((int(now) + NTP_EPOCH) % (1 << 32)).to_bytes(4, "big"))


def as_naive(keys: tuple[KeyData, ...]) -> tuple[naive.Key, ...]:
    return tuple(naive.Key(key.type, key.spi, key.key, key.salt) for key in keys)


def salt_octets(kind: int) -> int:
    return 14 if kind in naive.SALTED else 0


def made_keys(flow: Flow, octets: Octets) -> tuple[naive.Key, ...]:
    """Session keys of the flow's types from the octets handed out: key, then salt, for one after the other."""
    keys = []
    for number, kind in enumerate(flow.key_types, 1):
        key = octets.again(flow.suite.key_length)
        salt = octets.again(salt_octets(kind)) if salt_octets(kind) else b""
        keys.append(naive.Key(kind, bytes([number]), key, salt))
    return tuple(keys)


def wanted_policy(flow: Flow) -> naive.Policy:
    """The policy that the Initiator of a flow asks for, or makes itself."""
    zeros = tuple(
        naive.Key(kind, bytes([number]), bytes(flow.suite.key_length), bytes(salt_octets(kind)))
        for number, kind in enumerate(flow.key_types, 1)
    )
    return naive.Policy(
        flags=flow.flags,
        prf=flow.naive_suite.prf,
        responders=tuple(map(uri, flow.responders)),
        kms=uri(flow.kms) if flow.kms else None,
        initiator=uri(flow.initiator),
        end=None if flow.lifetime is None else whole(flow.start + flow.lifetime),
        keys=zeros if flow.mode < 3 else (),
    )


def granted_policy(flow: Flow, wanted: naive.Policy, now: float) -> naive.Policy:
    """What the KMS makes of it: its own longest life, flags cleared; K when it changed anything."""
    flags, end = wanted.flags, wanted.end
    if set(flow.cleared) & set(flags):
        flags = "".join(set(flags) - set(flow.cleared)) + "K"
    # An NTP-UTC-32 value may be of the era that begins in 2036 (RFC 6043 6.3); compare what it was made from.
    if flow.lifetime is None or int(flow.start + flow.lifetime) > now + LONGEST_LIFE:
        flags, end = flags + "K", whole(now + LONGEST_LIFE)
    return wanted._replace(flags=flags, end=end, keys=())


def issued_ticket(
    flow: Flow, policy: naive.Policy, octets: Octets, now: float
) -> tuple[bytes, naive.OpenedTicket]:
    """The base ticket made with the octets handed out, in the order session keys, MPK, RAND of the ticket."""
    keys, mpk = made_keys(flow, octets), octets.again(flow.suite.key_length)
    rand = octets.again(max(len(flow.tpk), flow.suite.key_length))
    inside = (naive.Key(naive.MPK, MPK_SPI, mpk), *keys)
    ticket = naive.base_ticket(policy, ntp(now), rand, flow.tpk, inside, name(TPK_NAME))
    opened = naive.open_base_ticket(ticket, flow.tpk)
    assert opened.keys == keys
    assert naive.read_policy(ticket) == opened.policy
    return ticket, opened


def kms_keys(policy: naive.Policy, opened: naive.OpenedTicket) -> tuple[naive.Key, ...]:
    """MPKi, [MPKr] and session keys as a KMS sends them."""
    mpkr = (opened.mpkr._replace(spi=MPKR_SPI),) if "I" in policy.flags else ()
    return (opened.mpki._replace(spi=MPK_SPI), *mpkr, *opened.keys)


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


def own_keys(flow: Flow) -> tuple[naive.Key, ...]:
    """Keys that the Initiator sends itself (L), with SPIs of their own."""
    size = flow.suite.key_length
    return tuple(
        naive.Key(kind, b"own" + bytes([number]), flow.random.randbytes(size), flow.random.randbytes(salt_octets(kind)))
        for number, kind in enumerate(flow.own_key_types)
    )  # fmt: skip


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
