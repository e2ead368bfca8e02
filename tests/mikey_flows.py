"""Random flows of MIKEY-TICKET: their arguments, and every step of mrf_protocols.mikey foretold by naive_mikey.

A flow follows from its suite, mode and number alone; MRF_MIKEY_FLOWS says how many every test runs altogether. The
steps make a party of mrf_protocols.mikey act on a message, whoever made it, and hold what it answers against what
naive_mikey answers with the same octets and times.
"""

from __future__ import annotations

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
    responder_key_types: tuple[int, ...]
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
        responder_key_types=rng.choice([(), (2,), (0,), (5, 3)]) if {"F", "M"} <= set(flags) else (),
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


def new_keys(flow: Flow, kinds: tuple[int, ...], title: bytes) -> tuple[naive.Key, ...]:
    """Session keys of these kinds that a party brings itself, with SPIs that begin with its title."""
    rng, size = flow.random, flow.suite.key_length
    return tuple(
        naive.Key(kind, title + bytes([number]), rng.randbytes(size), rng.randbytes(salt_octets(kind)))
        for number, kind in enumerate(kinds)
    )


def own_keys(flow: Flow) -> tuple[naive.Key, ...]:
    """Keys that the Initiator sends itself (L)."""
    return new_keys(flow, flow.own_key_types, b"own")


def as_key_data(keys: tuple[naive.Key, ...]) -> list[KeyData]:
    return [KeyData(KeyType(key.kind), key.key, key.salt, spi=key.spi) for key in keys]


def unix(t: naive.Time) -> int:
    """Whole Unix seconds of an NTP value, which lies between 1968 and 2104 (RFC 6043 6.3)."""
    seconds = int.from_bytes(t.value[:4], "big")
    return seconds + (0 if seconds >> 31 else 1 << 32) - NTP_EPOCH


def granted_policy(flow: Flow, wanted: naive.Policy, sender: naive.Id, now: float) -> naive.Policy:
    """What the KMS makes of a policy: nobody left out, not too long, flags cleared; K if that changed it."""
    asked = set(wanted.flags) - {"K"}
    flags, latest = asked - set(flow.cleared), now + LONGEST_LIFE
    policy = wanted._replace(kms=wanted.kms or uri(flow.kms), initiator=wanted.initiator or sender)
    if wanted.end is None or unix(wanted.end) > latest:
        policy = policy._replace(end=whole(latest))
    if (policy, flags) != (wanted, asked):
        flags.add("K")
    return policy._replace(flags="".join(sorted(flags)), keys=())


def issued_ticket(
    flow: Flow, policy: naive.Policy, wanted: tuple[naive.Key, ...], octets: Octets, now: float
) -> tuple[bytes, naive.OpenedTicket]:
    """The base ticket made with the octets handed out: key and salt of every key wanted, MPK, RAND of the ticket."""
    size = flow.suite.key_length
    keys = tuple(
        key._replace(key=octets.again(len(key.key)), salt=octets.again(len(key.salt)) if key.salt else b"")
        for key in wanted or (naive.Key(naive.TGK, b"\x01", bytes(size)),)
    )
    mpk, rand = octets.again(size), octets.again(max(len(flow.tpk), size))
    inside = (naive.Key(naive.MPK, MPK_SPI, mpk), *keys)
    ticket = naive.base_ticket(policy, ntp(now), rand, flow.tpk, inside, name(TPK_NAME))
    opened = naive.open_base_ticket(ticket, flow.tpk)
    assert opened.keys == keys
    assert opened.policy == naive.read_policy(naive.policy_body(policy))
    octets.all_used()
    return ticket, opened


def kms_keys(policy: naive.Policy, opened: naive.OpenedTicket) -> tuple[naive.Key, ...]:
    """MPKi, [MPKr] and session keys as a KMS of mrf_protocols.mikey sends them."""
    mpkr = (opened.mpkr._replace(spi=MPKR_SPI),) if "I" in policy.flags else ()
    return (opened.mpki._replace(spi=MPK_SPI), *mpkr, *opened.keys)


def kms_issues(flow: Flow, init: bytes, now: float) -> bytes:
    """REQUEST_INIT_PSK answered by the KMS, as foretold."""
    octets = Octets(flow.random)
    issued = mikey.issue_ticket(
        init,
        rules=mikey.KmsRules(flow.kms, max_lifetime=LONGEST_LIFE, cleared_flags=policy_flags(flow.cleared)),
        find_credential=flow.alice,
        ticket_key=flow.ticket_key(TPK_NAME),
        rand=octets,
        now=now,
    )
    request = naive.open_request_init_psk(init, flow.psk_i, uri(flow.initiator), uri(flow.kms))
    policy = granted_policy(flow, request.tp, request.idri, now)
    ticket, opened = issued_ticket(flow, policy, request.tp.keys, octets, now)
    response = naive.request_resp(init, flow.psk_i, ntp(now), uri(flow.kms), ticket, kms_keys(policy, opened))
    assert issued.response == response
    return response


def kms_resolves(flow: Flow, init: bytes, now: float) -> bytes:
    """RESOLVE_INIT_PSK answered by the KMS, as foretold."""
    octets = Octets(flow.random)
    resolved = mikey.resolve_ticket(
        init,
        rules=mikey.KmsRules(flow.kms),
        find_credential=flow.bob,
        find_ticket_key=flow.ticket_key,
        rand=octets,
        now=now,
    )
    asked = naive.open_resolve_init_psk(init, flow.psk_r, uri(flow.responder), uri(flow.kms))
    response = resolve_response(flow, init, asked.ticket, flow.psk_r, asked.idrr, octets, now)
    assert resolved.response == response
    return response


def resolve_response(
    flow: Flow, init: bytes, ticket: bytes, key: bytes, sender: naive.Id, octets: Octets, now: float
) -> bytes:
    """RESOLVE_RESP under the pre-shared or envelope key, made with the octets that the KMS was given."""
    opened = naive.open_base_ticket(ticket, flow.tpk)
    idrr, randrkms = None, None
    if "I" in opened.policy.flags:
        # RFC 6043 12.1: no shorter than the longest MPKr and TGK.
        keys = [len(known.key) for known in (opened.mpkr, *opened.keys)]
        idrr, randrkms = sender, octets.again(max(*keys, flow.suite.key_length))
    octets.all_used()
    mpki, *rest = naive.resolved_keys(ticket, flow.tpk, sender, randrkms or b"")
    if "I" in opened.policy.flags:
        rest[0] = rest[0]._replace(spi=MPKR_SPI)
    keys_sent = (mpki._replace(spi=MPK_SPI), *rest)
    return naive.resolve_resp(init, key, ntp(now), uri(flow.kms), keys_sent, idrr, randrkms)


def asks_to_resolve(flow: Flow, responder: mikey.TransferResponder, ticket: bytes, now: float) -> bytes:
    """RESOLVE_INIT_PSK of the Responder, as foretold."""
    octets = Octets(flow.random)
    init = responder.resolve_init(
        psk=flow.psk_r, psk_id=BOB_KEY, identity=flow.responder, kms=flow.kms, rand=octets, now=now
    )
    again = naive.resolve_init_psk(
        flow.naive_suite,
        int.from_bytes(octets.again(4), "big"),
        ntp(now),
        octets.again(max(len(flow.psk_r), flow.suite.key_length)),
        uri(flow.responder),
        uri(flow.kms),
        ticket,
        name(BOB_KEY),
        flow.psk_r,
    )
    octets.all_used()
    assert init == again
    return init


def resolved_locally(flow: Flow, init: bytes) -> naive.Resolved:
    """What a Responder has who opens the ticket of a TRANSFER_INIT itself."""
    opened = naive.open_base_ticket(naive.read_transfer_init(init).ticket, flow.tpk)
    return naive.Resolved(opened.mpki, None, opened.keys, None, None)


def longest(*keys: naive.Key | None) -> int:
    return max(len(key.key) for key in keys if key is not None)


def randrr_octets(flow: Flow, init: bytes, resolved: naive.Resolved, sent: tuple[naive.Key, ...]) -> int:
    """RFC 6043 12.1: with RANDRi no shorter than the longest key that the RANDs go with."""
    needed = longest(resolved.mpki, resolved.mpkr, *resolved.keys, *sent)
    return max(flow.suite.key_length, needed - len(naive.read_transfer_init(init).randri))


def responder_answers(
    flow: Flow,
    responder: mikey.TransferResponder,
    init: bytes,
    resolved: naive.Resolved,
    chosen: naive.Session,
    sps: list[bytes],
    now: float,
) -> tuple[mikey.TransferResult, bytes | None, tuple[naive.Key, ...]]:
    """TRANSFER_RESP, if there is one, and TEK of the Responder, as foretold; gives them, RANDRr and keys of its own."""
    octets, flags = Octets(flow.random), naive.read_transfer_init(init).policy.flags
    own = new_keys(flow, flow.responder_key_types, b"mine") if {"F", "M"} <= set(flags) else ()
    if own:
        chosen = chosen._replace(spi=own[0].spi)
    result = responder.respond(octets, now, as_key_data(own))
    sent = naive.verify_transfer_init(init, resolved.mpki.key, uri(flow.initiator), uri(flow.responder))
    randrr = octets.again(randrr_octets(flow, init, resolved, (*own, *sent))) if "G" in flags else None
    octets.all_used()
    if "F" in flags:
        mpk, idrr = resolved.mpkr or resolved.mpki, resolved.idrr or uri(flow.responder)
        again = naive.transfer_resp(
            init, ntp(now), randrr, idrr, resolved.randrkms, (chosen,), sps, mpk.key, own
        )
        assert result.message == again
    else:
        assert result.message == b""
    assert naive.traffic_key(init, randrr, chosen, (*own, *sent, *resolved.keys)) == result.tek
    return result, randrr, own
