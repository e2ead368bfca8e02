"""Whole exchanges in every mode, and every way in which they must be refused."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from mrf_protocols.mikey import (
    SUITE_128,
    SUITE_256,
    Acceptance,
    Credential,
    DataType,
    ErrorNumber,
    GrantedTicket,
    KmsRules,
    MikeyError,
    PolicyFlag,
    ResolvedKeys,
    Suite,
    TicketKey,
    TicketRequestExchange,
    TransferInitiator,
    TransferResponder,
    TransferResult,
    decode,
    encode,
    error_message,
    issue_ticket,
    make_ticket,
    read_error,
    resolve_ticket,
)
from mrf_protocols.mikey.headers import GenericIdMap, GenericSession
from mrf_protocols.mikey.identity import idr
from mrf_protocols.mikey.numbers import EncrAlg, IdRole, KeyType, RandRole, TsRole, TsType
from mrf_protocols.mikey.payloads import (
    ErrorPayload,
    GeneralExtension,
    IdentityWithRole,
    Kemac,
    KeyData,
    SecurityPolicy,
    Timestamp,
    TimestampWithRole,
    encode_keys,
)
from mrf_protocols.mikey.policy import Ticket, TpPayload
from mrf_protocols.mikey.ticket import DEFAULT_FLAGS, base_policy, create_ticket

F = PolicyFlag
NOW = 1_800_000_000.25
ALICE, CONFERENCE, KMS = "sip:alice@home.example", "sip:room1@conf.example", "kms.home.example"
BASE = F.D | F.E | F.F | F.N | F.O
FRESHNESS = (F.H, F.G, F.G | F.H)


class Randomness:
    """Random octets that are the same in every run and never repeat within one."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, length: int) -> bytes:
        out = b""
        while len(out) < length:
            self.count += 1
            out += self.count.to_bytes(4) * 4
        return out[:length]


@dataclass
class World:
    """An Initiator, a Responder and a KMS with keys that fit either suite."""

    suite: Suite = SUITE_128
    flags: PolicyFlag = DEFAULT_FLAGS
    rand: Randomness = field(default_factory=Randomness)
    rules: KmsRules = field(default_factory=lambda: KmsRules(KMS))
    now: float = NOW

    def __post_init__(self) -> None:
        self.alice = Credential("alice-psk", self.rand(32), (ALICE,))
        self.mrfc = Credential("mrfc-psk", self.rand(32), ("sip:*@conf.example",))
        self.tpk = TicketKey("kms-1", self.rand(32))

    def find_credential(self, psk_id: str | None, identity: str | None) -> Credential | None:
        return {"alice-psk": self.alice, "mrfc-psk": self.mrfc}.get(psk_id or "")

    def find_ticket_key(self, name: str | None) -> TicketKey | None:
        if name == "kms-1":
            return self.tpk
        credential = self.find_credential(name, None)
        if credential is None:
            return None
        return TicketKey(credential.psk_id, credential.psk, credential.identities)

    def exchange(self, **changes: object) -> TicketRequestExchange:
        arguments: dict[str, object] = {
            "psk": self.alice.psk,
            "psk_id": self.alice.psk_id,
            "initiator": ALICE,
            "kms": KMS,
            "responders": [CONFERENCE],
            "csb_id": 0x01020304,
            "rand": self.rand,
            "now": self.now,
            "suite": self.suite,
            "flags": self.flags,
            "lifetime": 3600.0,
        }
        return TicketRequestExchange(**(arguments | changes))  # type: ignore[arg-type] # arguments by name

    def issue(self, request: bytes) -> bytes:
        return issue_ticket(
            request,
            rules=self.rules,
            find_credential=self.find_credential,
            ticket_key=self.tpk,
            rand=self.rand,
            now=self.now,
        ).response

    def granted(self) -> GrantedTicket:
        exchange = self.exchange()
        return exchange.response(self.issue(exchange.request()), self.now)

    def made(self) -> GrantedTicket:
        return make_ticket(
            tpk=self.alice.psk,
            tpk_id=self.alice.psk_id,
            initiator=ALICE,
            kms=KMS,
            responders=[CONFERENCE],
            rand=self.rand,
            now=self.now,
            suite=self.suite,
            flags=self.flags,
            lifetime=3600.0,
        )

    def offer(self, ticket: GrantedTicket, **changes: object) -> TransferInitiator:
        arguments: dict[str, object] = {"csb_id": 0x55667788, "rand": self.rand, "now": self.now}
        return TransferInitiator(ticket, ALICE, CONFERENCE, **(arguments | changes))  # type: ignore[arg-type] # by name

    def resolve_init(self, responder: TransferResponder, identity: str = CONFERENCE) -> bytes:
        return responder.resolve_init(
            psk=self.mrfc.psk,
            psk_id=self.mrfc.psk_id,
            identity=identity,
            kms=KMS,
            rand=self.rand,
            now=self.now,
        )

    def resolve(self, request: bytes) -> bytes:
        return resolve_ticket(
            request,
            rules=self.rules,
            find_credential=self.find_credential,
            find_ticket_key=self.find_ticket_key,
            rand=self.rand,
            now=self.now,
        ).response

    def answer(self, message: bytes, acceptance: Acceptance | None = None) -> TransferResult:
        responder = TransferResponder(message, self.now, acceptance)
        responder.resolved(self.resolve(self.resolve_init(responder)), self.now)
        return responder.respond(self.rand, self.now)


def refused(number: ErrorNumber, call: Callable[..., object], *arguments: object) -> None:
    with pytest.raises(MikeyError) as caught:
        call(*arguments)
    assert caught.value.number == number, str(caught.value)


COMBINATIONS = list(itertools.product((SUITE_128, SUITE_256), (F(0), F.I), FRESHNESS))


@pytest.mark.parametrize("mode", [1, 3])
@pytest.mark.parametrize(("suite", "forking", "fresh"), COMBINATIONS)
def test_both_ends_get_the_same_key(suite: Suite, forking: F, fresh: F, mode: int) -> None:
    world = World(suite, BASE | forking | fresh)
    ticket = world.granted() if mode == 1 else world.made()
    initiator = world.offer(ticket)
    answer = world.answer(initiator.init())
    result = initiator.response(answer.message, NOW)
    assert result.tek == answer.tek
    assert len(result.tek) == suite.key_length
    assert (result.psk_identity, answer.psk_identity) == ("55667788.1", "55667788.1")
    early = initiator.early_result()
    assert (early is not None) == (not forking and fresh == F.H)
    assert early is None or early.tek == result.tek


@pytest.mark.parametrize("suite", [SUITE_128, SUITE_256])
@pytest.mark.parametrize("fresh", FRESHNESS)
@pytest.mark.parametrize("mode", [2, 4])
def test_responder_with_the_ticket_key_needs_no_kms(suite: Suite, fresh: F, mode: int) -> None:
    world = World(suite, (BASE & ~F.E) | fresh)
    shared = TicketKey("shared", world.rand(32))
    if mode == 2:
        world.tpk = shared
        ticket = world.granted()
    else:
        arguments = {"tpk": shared.key, "tpk_id": "shared", "initiator": ALICE, "kms": ""}
        ticket = make_ticket(
            **arguments,  # type: ignore[arg-type] # arguments by name
            responders=[CONFERENCE],
            rand=world.rand,
            now=NOW,
            suite=suite,
            flags=world.flags,
        )
    initiator = world.offer(ticket)
    responder = TransferResponder(initiator.init(), NOW)
    responder.open_locally(lambda name: shared if name == "shared" else None, CONFERENCE)
    answer = responder.respond(world.rand, NOW)
    assert initiator.response(answer.message, NOW).tek == answer.tek


def test_no_answer_is_sent_without_flag_f() -> None:
    world = World(flags=F.D | F.E | F.H | F.N | F.O)
    initiator = world.offer(world.granted())
    answer = world.answer(initiator.init())
    early = initiator.early_result()
    assert answer.message == b""
    assert early is not None
    assert early.tek == answer.tek
    assert not initiator.awaits_response
    assert not decode(initiator.init()).header.v_flag


def test_a_key_that_is_not_forked_is_known_before_the_answer() -> None:
    world = World(flags=F.D | F.E | F.H | F.I | F.N | F.O)
    exchange = world.exchange(key_types=(KeyType.GTGK,))
    initiator = world.offer(exchange.response(world.issue(exchange.request()), NOW))
    answer, early = world.answer(initiator.init()), initiator.early_result()
    assert answer.message == b""
    assert early is not None
    assert early.tek == answer.tek


def test_keys_of_two_calls_differ() -> None:
    world = World()
    ticket = world.granted()
    teks = {world.answer(world.offer(ticket, csb_id=csb_id).init()).tek for csb_id in (1, 2)}
    assert len(teks) == 2


def test_forking_gives_every_responder_other_keys() -> None:
    world = World(flags=DEFAULT_FLAGS | F.I)
    initiator = world.offer(world.granted())
    one, two = world.answer(initiator.init()), world.answer(initiator.init())
    assert one.tek != two.tek
    assert initiator.response(one.message, NOW).tek == one.tek
    assert initiator.response(two.message, NOW).tek == two.tek


def test_ticket_with_tek_hands_out_that_tek() -> None:
    world = World()
    policy = base_policy(flags=DEFAULT_FLAGS, kms=KMS, initiator=ALICE, responders=[CONFERENCE])
    tek = KeyData(KeyType.TEK, world.rand(16), spi=b"\7")
    ticket = create_ticket(policy, world.tpk, (tek,), rand=world.rand, now=NOW)
    assert world.answer(world.offer(ticket).init()).tek == tek.key


def test_initiator_may_supply_keys_with_flag_l_only() -> None:
    world = World(flags=DEFAULT_FLAGS | F.L)
    key = KeyData(KeyType.TEK, world.rand(16), spi=b"\x77")
    initiator = world.offer(world.granted(), session_keys=(key,))
    answer = world.answer(initiator.init())
    assert answer.tek == key.key == initiator.response(answer.message, NOW).tek
    world.flags = DEFAULT_FLAGS
    refused(ErrorNumber.INVALID_TPPAR, lambda: world.offer(world.granted(), session_keys=(key,)))


def test_a_key_of_ones_own_goes_before_one_of_the_ticket_with_the_same_spi() -> None:
    world = World(flags=BASE | F.H | F.L)
    ticket = world.granted()
    key = KeyData(KeyType.TEK, world.rand(16), spi=ticket.keys.session[0].spi)
    initiator = world.offer(ticket, session_keys=(key,))
    answer, early = world.answer(initiator.init()), initiator.early_result()
    assert early is not None
    assert early.tek == answer.tek == initiator.response(answer.message, NOW).tek == key.key


def test_rands_are_as_long_as_the_longest_key() -> None:
    world, longest = World(SUITE_256, DEFAULT_FLAGS | F.L), 64
    group_key = KeyData(KeyType.GTGK, world.rand(longest), spi=b"g")
    initiator = world.offer(world.granted(), session_keys=(group_key,))
    init = decode(initiator.init())
    rand_i = init.rand(RandRole.INITIATOR)
    assert rand_i is not None
    assert len(rand_i) == longest
    answer = world.answer(initiator.init())
    rand_r = decode(answer.message).rand(RandRole.RESPONDER)
    assert rand_r is not None
    assert len(rand_r) == SUITE_256.key_length


def test_reused_ticket_needs_no_second_resolve() -> None:
    world = World(flags=DEFAULT_FLAGS | F.I | F.J)
    ticket = world.granted()
    first = TransferResponder(world.offer(ticket).init(), NOW)
    first.resolved(world.resolve(world.resolve_init(first)), NOW)
    again = world.offer(ticket, csb_id=99)
    second = TransferResponder(again.init(), NOW)
    assert second.ticket_id == first.ticket_id
    assert second.replay_key != first.replay_key
    second.reuse(first.resolved_keys)
    answer = second.respond(world.rand, NOW)
    assert again.response(answer.message, NOW).tek == answer.tek


def bits(data: bytes) -> list[bytes]:
    """Every octet with one bit flipped, another bit from octet to octet."""
    return [data[:at] + bytes([octet ^ 1 << at % 8]) + data[at + 1 :] for at, octet in enumerate(data)]


@pytest.mark.parametrize("suite", [SUITE_128, SUITE_256])
@pytest.mark.parametrize("forking", [F(0), F.I])
def test_no_flipped_bit_passes(suite: Suite, forking: F) -> None:
    world = World(suite, DEFAULT_FLAGS | forking)
    exchange = world.exchange()
    request = exchange.request()
    response = world.issue(request)
    initiator = world.offer(exchange.response(response, NOW))
    responder = TransferResponder(initiator.init(), NOW)
    resolve_init = world.resolve_init(responder)
    resolve_resp = world.resolve(resolve_init)
    responder.resolved(resolve_resp, NOW)
    transfer_resp = responder.respond(world.rand, NOW).message
    attempts: list[tuple[bytes, Callable[[bytes], object]]] = [
        (request, world.issue),
        (response, lambda data: exchange.response(data, NOW)),
        (initiator.init(), world.answer),
        (resolve_init, world.resolve),
        (resolve_resp, lambda data: responder.resolved(data, NOW)),
        (transfer_resp, lambda data: initiator.response(data, NOW)),
    ]
    for message, receive in attempts:
        for changed in bits(message):
            with pytest.raises(MikeyError):
                receive(changed)


def test_messages_of_another_exchange_are_refused() -> None:
    world = World()
    one, two = world.exchange(), world.exchange()
    refused(ErrorNumber.AUTH_FAILURE, lambda: one.response(world.issue(two.request()), NOW))
    ticket = world.granted()
    first, second = world.offer(ticket), world.offer(ticket)
    answer = world.answer(second.init()).message
    refused(ErrorNumber.AUTH_FAILURE, lambda: first.response(answer, NOW))


def test_kms_knows_its_users() -> None:
    world = World()
    refused(ErrorNumber.AUTH_FAILURE, lambda: world.issue(world.exchange(psk_id="nobody").request()))
    refused(ErrorNumber.AUTH_FAILURE, lambda: world.issue(world.exchange(psk=bytes(32)).request()))
    refused(
        ErrorNumber.INVALID_ID,
        lambda: world.issue(world.exchange(initiator="sip:bob@home.example").request()),
    )
    refused(ErrorNumber.INVALID_ID, lambda: world.issue(world.exchange(kms="kms.other.example").request()))


def test_requests_out_of_time_are_refused() -> None:
    world = World()
    for late in (-61.0, 61.0):
        request = world.exchange(now=NOW + late).request()
        refused(ErrorNumber.INVALID_TS, world.issue, request)
    assert world.issue(world.exchange(now=NOW - 59).request())


def test_ticket_expires() -> None:
    world = World()
    ticket = world.granted()
    assert ticket.expires == int(NOW) + 3600
    world.now = NOW + 3700
    initiator = world.offer(ticket)
    refused(ErrorNumber.INVALID_TPPAR, lambda: world.answer(initiator.init()))
    responder = TransferResponder(initiator.init(), world.now, Acceptance(skew=200))
    refused(ErrorNumber.INVALID_TPPAR, lambda: world.resolve(world.resolve_init(responder)))


def test_kms_shortens_life_and_forbids_reuse_and_says_so() -> None:
    world = World(flags=DEFAULT_FLAGS | F.J, rules=KmsRules(KMS, max_lifetime=600, cleared_flags=F.J))
    ticket = world.granted()
    assert ticket.expires == int(NOW + 600)
    assert F.K in ticket.policy.flags
    assert F.J not in ticket.policy.flags
    assert F.K not in World().granted().policy.flags


def test_initiator_takes_no_policy_other_than_it_asked_for() -> None:
    world = World(flags=DEFAULT_FLAGS | F.I, rules=KmsRules(KMS, cleared_flags=F.I))
    refused(ErrorNumber.INVALID_TPPAR, world.granted)


def test_only_responders_of_the_ticket_resolve_it() -> None:
    world = World()
    responder = TransferResponder(world.offer(world.granted()).init(), NOW)
    refused(
        ErrorNumber.INVALID_ID, lambda: world.resolve(world.resolve_init(responder, "sip:room2@conf.example"))
    )
    refused(
        ErrorNumber.INVALID_ID,
        lambda: world.resolve(world.resolve_init(responder, "sip:room1@other.example")),
    )
    assert world.resolve(world.resolve_init(responder, "room1@CONF.example"))


def test_nobody_makes_tickets_in_the_name_of_another() -> None:
    world = World()
    world.alice = replace(world.alice, identities=("sip:mallory@home.example",))
    responder = TransferResponder(world.offer(world.made()).init(), NOW)
    refused(ErrorNumber.INVALID_ID, lambda: world.resolve(world.resolve_init(responder)))


def test_ticket_under_a_users_key_cannot_claim_to_be_the_kms_s() -> None:
    world = World()
    policy = base_policy(flags=DEFAULT_FLAGS, kms=KMS, initiator=ALICE, responders=[CONFERENCE])
    key = TicketKey(world.alice.psk_id, world.alice.psk)
    tgk = KeyData(KeyType.TGK, world.rand(16), spi=b"\1")
    forged = create_ticket(policy, key, (tgk,), rand=world.rand, now=NOW)
    responder = TransferResponder(world.offer(forged).init(), NOW)
    refused(ErrorNumber.INVALID_TPPAR, lambda: world.resolve(world.resolve_init(responder)))


def test_ticket_under_an_unknown_key() -> None:
    world = World()
    responder = TransferResponder(world.offer(world.granted()).init(), NOW)
    world.tpk = TicketKey("kms-1", bytes(32))
    refused(ErrorNumber.AUTH_FAILURE, lambda: world.resolve(world.resolve_init(responder)))


def with_ticket(message: bytes, change: Callable[[Ticket], Ticket]) -> bytes:
    """Change the ticket of a message; its MAC is wrong then, which a Responder sees only after resolving."""
    decoded = decode(message)
    return encode(
        replace(decoded, payloads=tuple(change(p) if isinstance(p, Ticket) else p for p in decoded.payloads))
    )


def with_policy(message: bytes, **changes: object) -> bytes:
    return with_ticket(message, lambda ticket: replace(ticket, policy=replace(ticket.policy, **changes)))  # type: ignore[arg-type] # by name


@pytest.mark.parametrize(
    ("flags", "accepted"),
    [
        (F.D | F.F | F.G | F.N | F.O, True),
        (F.F | F.G | F.N | F.O, False),  # not D without L
        (F.D | F.G | F.N | F.O, False),  # G without F
        (F.D | F.F | F.N | F.O, False),  # neither G nor H
        (F.D | F.F | F.H | F.I | F.N | F.O, False),  # I without E
        (F.F | F.H | F.K | F.L | F.N | F.O, False),  # K without D
        (F.D | F.H | F.M | F.N | F.O, False),  # M without F
        (F.D | F.F | F.H | F.N, False),  # not O: more than RFC 6043 is needed
    ],
)
def test_flags_that_contradict_are_refused_before_any_kms(flags: F, accepted: bool) -> None:
    world = World()
    message = with_policy(world.offer(world.granted()).init(), flags=flags)
    if accepted:
        assert TransferResponder(message, NOW).policy.flags == flags
    else:
        refused(ErrorNumber.INVALID_TPPAR, lambda: TransferResponder(message, NOW))


@pytest.mark.parametrize(
    "change", [{"ticket_type": 2}, {"ticket_type": 61440}, {"subtype": 2}, {"version": 2}]
)
def test_unknown_ticket_type_is_error_14(change: dict[str, int]) -> None:
    world = World()
    message = world.offer(world.granted()).init()
    refused(ErrorNumber.INVALID_TICKET, lambda: TransferResponder(with_policy(message, **change), NOW))


@pytest.mark.parametrize("change", [{"ticket_type": 2}, {"subtype": 2}, {"version": 2}])
def test_unknown_ticket_type_comes_before_every_other_fault(change: dict[str, int]) -> None:
    world = World()
    message = with_policy(world.offer(world.granted()).init(), prf=9, flags=F(0), **change)
    refused(ErrorNumber.INVALID_TICKET, lambda: TransferResponder(message, NOW + 9999))


def test_suites_are_not_mixed() -> None:
    world = World()
    message = world.offer(world.granted()).init()
    refused(ErrorNumber.INVALID_PRF, lambda: TransferResponder(with_policy(message, prf=1), NOW))
    refused(ErrorNumber.INVALID_PRF, lambda: TransferResponder(message, NOW, Acceptance(prfs=(1,))))
    other = decode(message)
    for prf, number in ((1, ErrorNumber.INVALID_PRF), (7, ErrorNumber.INVALID_PRF)):
        changed = encode(replace(other, header=replace(other.header, prf=prf)))
        refused(number, TransferResponder, changed, NOW)
    kemac = Kemac(EncrAlg.AES_CM_256, bytes(40))
    changed = encode(replace(other, payloads=(*other.payloads[:-1], kemac, other.payloads[-1])))
    refused(ErrorNumber.INVALID_EA, lambda: TransferResponder(changed, NOW))


def altered(message: bytes, kind: type, *instead: object) -> bytes:
    """Put other payloads in the place of those of a kind."""
    decoded = decode(message)
    payloads: list[object] = []
    for payload in decoded.payloads:
        payloads += instead if isinstance(payload, kind) else [payload]
    return encode(replace(decoded, payloads=tuple(payloads)))  # type: ignore[arg-type] # payloads all the same


def with_sessions(message: bytes, *sessions: GenericSession) -> bytes:
    decoded = decode(message)
    return encode(replace(decoded, header=replace(decoded.header, cs_map=GenericIdMap(sessions))))


def test_responder_checks_crypto_session_and_policy() -> None:
    world = World()
    message = world.offer(world.granted()).init()
    session = GenericSession(1, 241, (0,), b"\1")
    for sessions in (
        (),
        (session, session),
        (replace(session, prot_type=0),),
        (replace(session, policies=(5,)),),
    ):
        changed = with_sessions(message, *sessions)
        refused(ErrorNumber.INVALID_SP, TransferResponder, changed, NOW)
    parameters = altered(message, SecurityPolicy, SecurityPolicy(0, 241, ((9, b"x"),)))
    refused(ErrorNumber.INVALID_SPPAR, lambda: TransferResponder(parameters, NOW))
    assert TransferResponder(parameters, NOW, Acceptance(policy_parameters=True))
    other = world.offer(world.granted(), prot_type=250).init()
    refused(ErrorNumber.INVALID_SP, lambda: TransferResponder(other, NOW))
    assert TransferResponder(other, NOW, Acceptance(prot_types=(241, 250)))


def test_responder_checks_identities() -> None:
    world = World()
    message = world.offer(world.granted()).init()
    for acceptance in (
        Acceptance(responders=("sip:*@elsewhere.example",)),
        Acceptance(kms=("other.example",)),
    ):
        refused(ErrorNumber.INVALID_ID, TransferResponder, message, NOW, acceptance)
    assert TransferResponder(message, NOW, Acceptance(responders=("sip:*@conf.example",), kms=(KMS,)))
    mallory = TransferInitiator(
        world.granted(), "sip:mallory@home.example", CONFERENCE, csb_id=1, rand=world.rand, now=NOW
    )
    refused(ErrorNumber.INVALID_ID, lambda: TransferResponder(mallory.init(), NOW))


def test_ticket_for_another_application() -> None:
    world = World()
    message = world.offer(world.granted()).init()
    policy = decode(message).need(Ticket).policy
    application = IdentityWithRole(IdRole.APPLICATION, 2, b"chat")
    changed = with_policy(message, payloads=(*policy.payloads, application))
    refused(ErrorNumber.INVALID_TPPAR, lambda: TransferResponder(changed, NOW))
    assert TransferResponder(changed, NOW, Acceptance(applications=("chat",)))


def test_list_of_key_management_protocols() -> None:
    world = World()
    ticket = world.granted()
    listed, wrong, absent = (
        world.offer(ticket, sdp_ids=ids).init() for ids in ("mikey", "mikey;keyp1", None)
    )
    payloads = decode(listed).payloads
    assert payloads[-2] == GeneralExtension(1, b"mikey")
    assert world.answer(listed)
    assert world.answer(absent)
    refused(ErrorNumber.UNSPECIFIED, lambda: TransferResponder(wrong, NOW))
    assert world.answer(wrong, Acceptance(sdp_ids="mikey;keyp1"))
    assert world.answer(wrong, Acceptance(sdp_ids=None))
    refused(ErrorNumber.UNSPECIFIED, lambda: TransferResponder(absent, NOW, Acceptance(require_sdp_ids=True)))


def test_required_and_refused_flags() -> None:
    world = World()
    message = world.offer(world.granted()).init()
    refused(ErrorNumber.INVALID_TPPAR, lambda: TransferResponder(message, NOW, Acceptance(required=F.I)))
    refused(ErrorNumber.INVALID_TPPAR, lambda: TransferResponder(message, NOW, Acceptance(refused=F.G)))


def test_forking_and_initiator_data_go_together() -> None:
    world = World()
    plain = world.offer(world.granted()).init()
    odd = with_ticket(plain, lambda ticket: replace(ticket, initiator_data=b"\x09"))
    refused(ErrorNumber.INVALID_TPPAR, lambda: TransferResponder(odd, NOW))
    world.flags |= F.I
    forked = world.offer(world.granted()).init()
    bare = with_ticket(forked, lambda ticket: replace(ticket, initiator_data=b""))
    refused(ErrorNumber.INVALID_TPPAR, lambda: TransferResponder(bare, NOW))


def test_ticket_stolen_into_another_message_is_seen() -> None:
    world = World(flags=DEFAULT_FLAGS | F.I)
    ticket = world.granted()
    stolen = decode(world.offer(ticket).init()).need(Ticket)
    thief = replace(ticket, keys=replace(ticket.keys, mpkr=bytes(16)))
    message = world.offer(thief).init()
    refused(ErrorNumber.AUTH_FAILURE, lambda: world.answer(message))
    moved = with_ticket(message, lambda ticket: replace(ticket, initiator_data=stolen.initiator_data))
    refused(ErrorNumber.AUTH_FAILURE, lambda: TransferResponder(moved, NOW))


def test_stale_offer_is_refused() -> None:
    world = World()
    message = world.offer(world.granted()).init()
    refused(ErrorNumber.INVALID_TS, lambda: TransferResponder(message, NOW + 61))
    assert TransferResponder(message, NOW + 61, Acceptance(skew=120))
    counter = altered(message, Timestamp, Timestamp(TsType.COUNTER, 5))
    refused(ErrorNumber.INVALID_TS, lambda: TransferResponder(counter, NOW))


def test_another_responder_of_the_ticket_may_answer() -> None:
    world = World()
    exchange = world.exchange(responders=[CONFERENCE, "sip:room2@conf.example"])
    initiator = world.offer(exchange.response(world.issue(exchange.request()), NOW))
    responder = TransferResponder(initiator.init(), NOW)
    request = world.resolve_init(responder, "sip:room2@conf.example")
    responder.resolved(world.resolve(request), NOW)
    answer = responder.respond(world.rand, NOW)
    assert initiator.response(answer.message, NOW).responder == "sip:room2@conf.example"


def test_nobody_else_may_answer() -> None:
    world = World()
    ticket = world.granted()
    initiator = world.offer(ticket)
    responder = TransferResponder(initiator.init(), NOW)
    responder.reuse(ResolvedKeys(ticket.keys, (idr(IdRole.RESPONDER, "sip:room2@conf.example"),)))
    answer = responder.respond(world.rand, NOW)
    refused(ErrorNumber.INVALID_ID, lambda: initiator.response(answer.message, NOW))


def test_error_message_of_the_kms_reaches_the_caller() -> None:
    world = World()
    exchange = world.exchange()
    error = error_message(exchange.request(), ErrorNumber.INVALID_TPPAR, NOW)
    refused(ErrorNumber.INVALID_TPPAR, lambda: exchange.response(error, NOW))
    assert read_error(error) == ErrorNumber.INVALID_TPPAR
    header = decode(error).header
    assert (header.data_type, header.csb_id, header.prf) == (DataType.ERROR, exchange.csb_id, 0)
    assert decode(error).need(ErrorPayload).error == 15


def test_no_error_about_an_error_nor_about_noise() -> None:
    error = error_message(World().exchange().request(), 12, NOW)
    assert error_message(error, 12, NOW) == b""
    assert error_message(b"\1\x0e", 12, NOW) == b""
    assert error_message(b"GET / HTTP/1.1", 12, NOW) == b""
    assert read_error(b"noise") is None


def test_keys_asked_for() -> None:
    world = World()
    wanted = decode(world.exchange().request()).need(TpPayload).policy
    assert wanted.wanted_keys is not None
    assert wanted.wanted_keys.encr_data == encode_keys((KeyData(KeyType.TGK, bytes(16), spi=b"\1"),))
    assert [key.type for key in world.granted().keys.session] == [KeyType.TGK]


def test_rekeying_interval_must_be_seconds() -> None:
    world = World()
    message = world.offer(world.granted()).init()
    policy = decode(message).need(Ticket).policy
    interval = TimestampWithRole(TsRole.TR_R, TsType.NTP_UTC, 5)
    changed = with_policy(message, payloads=(*policy.payloads, interval))
    refused(ErrorNumber.INVALID_TPPAR, lambda: TransferResponder(changed, NOW))


def test_secrets_stay_out_of_text() -> None:
    world = World()
    ticket = world.granted()
    answer = world.answer(world.offer(ticket).init())
    for value, secret in ((ticket, ticket.keys.mpki), (answer, answer.tek), (world.alice, world.alice.psk)):
        assert repr(secret)[2:-1] not in repr(value)
