"""Every message of every exchange, damaged in every way: refused with a MikeyError, and nothing else is raised.

Damage by somebody without the key must never pass. Damage by the sender itself, authenticated again afterwards
(payloads missing, doubled, moved, with other numbers), may be refused or taken, but must end in nothing else.
"""

import random
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache

import pytest
from certificates import NOW, certify
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from mikey_pair import ALICE, KMS, ROOM, Pair

from mrf_protocols.mikey import (
    DEFAULT_FLAGS,
    SUITE_128,
    SUITE_256,
    CertifiedAccount,
    Credential,
    EnvelopeKey,
    EnvelopeOpener,
    ErrorNumber,
    KeyData,
    KeyType,
    KmsRules,
    Message,
    MikeyError,
    PolicyFlag,
    PublicKeys,
    Signer,
    Suite,
    TicketRequestExchange,
    TransferInitiator,
    TransferResponder,
    decode,
    encode,
    error_message,
    issue_ticket,
    resolve_ticket,
)
from mrf_protocols.mikey.headers import EmptyMap, GenericIdMap, GenericSession, SrtpIdMap, SrtpSession
from mrf_protocols.mikey.payloads import (
    GeneralExtension,
    IdentityWithRole,
    Payload,
    RandWithRole,
    SecurityPolicy,
    Sign,
    Timestamp,
    Verification,
)
from mrf_protocols.mikey.policy import Ticket, TicketPolicy, TpPayload, check_policy
from mrf_protocols.mikey.prf import Purpose
from mrf_protocols.mikey.protection import Protector, message_protector

F = PolicyFlag
NAMES = (
    "REQUEST_INIT_PSK",
    "REQUEST_INIT_PK",
    "REQUEST_RESP",
    "TRANSFER_INIT",
    "TRANSFER_RESP",
    "RESOLVE_INIT_PSK",
    "RESOLVE_INIT_PK",
    "RESOLVE_RESP",
    "update TRANSFER_INIT",
    "update TRANSFER_RESP",
    "Error",
)
SUITES = {"128": SUITE_128, "256": SUITE_256}
USER, MRFC, OWN = certify("user", 1), certify("mrfc", 2), certify("kms", 3)
FORKED = DEFAULT_FLAGS | F.I | F.L | F.M


@dataclass(frozen=True)
class Case:
    """A message, who receives it, and how its sender authenticates it again."""

    data: bytes
    receive: Callable[[bytes], object]
    again: Callable[[bytes], bytes]


def with_mac(protector: Protector, tail: bytes) -> Callable[[bytes], bytes]:
    """Give the octets a right MAC at their end; `tail` follows the message in what it covers."""
    length, suite = protector.suite.mac_length, protector.suite

    def again(data: bytes) -> bytes:
        covered = data[:-length]
        return covered + suite.mac(protector.auth_key(), covered + tail)

    return again


@cache
def cases(suite_name: str) -> dict[str, Case]:
    """All messages of one call with key forking, an update of it, and an Error message."""
    suite = SUITES[suite_name]
    pair = Pair(suite, FORKED)
    found = {**requests(pair, suite), **resolves(pair, suite), **transfers(pair, suite)}
    one, other = pair.sessions()
    key = KeyData(KeyType.TGK, bytes(range(suite.key_length)), spi=b"\x42")
    init = one.start(now=NOW + 1, keys=(key,))
    protector = one._bundle.protector
    again = with_mac(protector, (ALICE + ROOM).encode())
    found["update TRANSFER_INIT"] = Case(
        init, lambda data: pair.responder.session().receive(data, now=NOW + 1), again
    )
    answer = other.receive(init, now=NOW + 1).message
    found["update TRANSFER_RESP"] = Case(
        answer, lambda data: one.finish(data, NOW + 1), with_mac(protector, init)
    )
    found["Error"] = Case(
        error_message(pair.offer.init(), ErrorNumber.INVALID_SP, NOW),
        lambda data: pair.offer.response(data, NOW),
        lambda data: data,
    )
    assert set(found) == set(NAMES)
    return found


def rules() -> KmsRules:
    """A KMS that serves both users by certificate, too."""
    users = {
        USER.der: Credential("user", b"", (ALICE,), USER.der),
        MRFC.der: Credential("mrfc", b"", (ROOM,), MRFC.der),
    }
    openers = (EnvelopeOpener(OWN.key, OWN.der),)
    return KmsRules(
        KMS, public_keys=PublicKeys(openers, lambda chain, _: users.get(chain[0]) if chain else None)
    )


def signed(by: Signer, tail: bytes) -> Callable[[bytes], bytes]:
    def again(data: bytes) -> bytes:
        covered = data[:-256]
        return covered + by.key.sign(covered + tail, PKCS1v15(), SHA256())

    return again


def requests(pair: Pair, suite: Suite) -> dict[str, Case]:
    def issue(data: bytes) -> bytes:
        return issue_ticket(
            data, rules=rules(), find_credential=pair.credential, ticket_key=pair.tpk, rand=pair.rand, now=NOW
        ).response

    arguments = {"initiator": ALICE, "kms": KMS, "responders": [ROOM], "csb_id": 7, "rand": pair.rand}
    arguments |= {"now": NOW, "suite": suite, "flags": FORKED, "lifetime": 600.0}
    by_key = TicketRequestExchange(psk=pair.user.psk, psk_id="alice-psk", **arguments)  # type: ignore[arg-type] # by name
    signer = Signer(USER.key, (USER.der,))
    account = CertifiedAccount(signer, EnvelopeKey(OWN.der))
    by_certificate = TicketRequestExchange(account=account, **arguments)  # type: ignore[arg-type] # by name
    own, answer = by_key._init.own, by_key._init.answer
    assert own is not None
    tail = (ALICE + KMS).encode()
    return {
        "REQUEST_INIT_PSK": Case(by_key.request(), issue, with_mac(own, tail)),
        "REQUEST_INIT_PK": Case(by_certificate.request(), issue, signed(signer, tail)),
        "REQUEST_RESP": Case(
            issue(by_key.request()),
            lambda data: by_key.response(data, NOW),
            with_mac(answer, by_key.request()),
        ),
    }


def resolves(pair: Pair, suite: Suite) -> dict[str, Case]:
    def resolve(data: bytes) -> bytes:
        return resolve_ticket(
            data,
            rules=rules(),
            find_credential=pair.credential,
            find_ticket_key=pair.ticket_key,
            rand=pair.rand,
            now=NOW,
        ).response

    responder = TransferResponder(pair.offer.init(), NOW)
    arguments = {"identity": ROOM, "kms": KMS, "rand": pair.rand, "now": NOW}
    signer = Signer(MRFC.key, (MRFC.der,))
    account = CertifiedAccount(signer, EnvelopeKey(OWN.der))
    by_certificate = responder.resolve_init(account=account, **arguments)  # type: ignore[arg-type] # by name
    by_key = responder.resolve_init(psk=pair.mrfc.psk, psk_id="mrfc-psk", **arguments)  # type: ignore[arg-type] # by name
    made = responder._resolve
    assert made is not None
    assert made.own is not None
    tail = (ROOM + KMS).encode()
    return {
        "RESOLVE_INIT_PSK": Case(by_key, resolve, with_mac(made.own, tail)),
        "RESOLVE_INIT_PK": Case(by_certificate, resolve, signed(signer, tail)),
        "RESOLVE_RESP": Case(
            resolve(by_key), lambda data: responder.resolved(data, NOW), with_mac(made.answer, by_key)
        ),
    }


def transfers(pair: Pair, suite: Suite) -> dict[str, Case]:
    def answered(data: bytes) -> object:
        responder = TransferResponder(data, NOW)
        init = responder.resolve_init(
            psk=pair.mrfc.psk, psk_id="mrfc-psk", identity=ROOM, kms=KMS, rand=pair.rand, now=NOW
        )
        responder.resolved(pair.resolve(init), NOW)
        return responder.respond(pair.rand, NOW)

    offer = TransferInitiator(pair.ticket, ALICE, ROOM, csb_id=9, rand=pair.rand, now=NOW)
    responder = TransferResponder(offer.init(), NOW)
    responder.reuse(pair.responder.resolved_keys)
    response = responder.respond(pair.rand, NOW).message
    rand_i = decode(offer.init()).rand(1)  # type: ignore[arg-type] # RANDRi
    assert rand_i is not None
    initial = message_protector(suite, pair.ticket.keys.mpki, 9, Purpose.INITIAL, rand_i=rand_i)

    def again(data: bytes) -> bytes:
        """V as the Initiator makes it: without Initiator Data, which is left as it is."""
        try:
            covered = decode(data).without_initiator_data()[: -suite.mac_length]
        except MikeyError:
            return data
        mac = suite.mac(initial.auth_key(), covered + (ALICE + ROOM).encode())
        return data[: -suite.mac_length] + mac

    return {
        "TRANSFER_INIT": Case(offer.init(), answered, again),
        "TRANSFER_RESP": Case(
            response,
            lambda data: offer.response(data, NOW),
            with_mac(responder.session()._bundle.protector, offer.init()),
        ),
    }


every_message = pytest.mark.parametrize(("suite", "name"), [(s, n) for s in SUITES for n in NAMES])


@every_message
def test_as_it_is_the_message_is_taken(suite: str, name: str) -> None:
    case = cases(suite)[name]
    if name == "Error":
        with pytest.raises(MikeyError) as caught:
            case.receive(case.data)
        assert caught.value.reported
    else:
        assert case.again(case.data) == case.data
        if name != "update TRANSFER_RESP":
            case.receive(case.data)


@every_message
def test_each_octet_changed(suite: str, name: str) -> None:
    case = cases(suite)[name]
    step = 5 if name.endswith("_PK") else 1  # a signature takes its time
    for at in range(0, len(case.data), step):
        for octet in {case.data[at] ^ 1 << at % 8, 0, 255} - {case.data[at]}:
            with pytest.raises(MikeyError):
                case.receive(case.data[:at] + bytes([octet]) + case.data[at + 1 :])


@every_message
def test_each_truncation_and_octets_too_many(suite: str, name: str) -> None:
    case = cases(suite)[name]
    for length in range(len(case.data)):
        with pytest.raises(MikeyError):
            case.receive(case.data[:length])
    for more in (b"\0", b"\5", bytes(20), case.data):
        with pytest.raises(MikeyError):
            case.receive(case.data + more)


@every_message
def test_lengths_that_lie(suite: str, name: str) -> None:
    """Any two octets may be a length: too small, too large, just off, far beyond; the MAC is made right again."""
    case = cases(suite)[name]
    step = 17 if name.endswith("_PK") else {"128": 1, "256": 3}[suite]  # the layout is the same in both
    for at in range(0, len(case.data) - 2, step):
        (value,) = struct.unpack_from("!H", case.data, at)
        for other in {0, 1, value - 1 & 0xFFFF, value + 1 & 0xFFFF, 0x7FFF, 0xFFFF} - {value}:
            changed = case.data[:at] + struct.pack("!H", other) + case.data[at + 2 :]
            with pytest.raises(MikeyError):
                case.receive(changed)
            with suppress(MikeyError):
                case.receive(case.again(changed))


def others(payload: Payload) -> Iterator[Payload]:
    """The payload with numbers nobody knows, and with extreme values."""
    match payload:
        case IdentityWithRole():
            yield replace(payload, role=250)
            yield replace(payload, type=250)
            yield replace(payload, data=b"")
            yield replace(payload, data=b"\xff\xfe" * 400)
            yield replace(payload, data=b"sip:" + b"a" * 60_000)
        case RandWithRole():
            yield replace(payload, role=250)
            yield replace(payload, rand=b"")
            yield replace(payload, rand=bytes(255))
        case Timestamp():
            for kind, value in (
                (1, payload.value),
                (2, 5),
                (3, payload.value >> 32),
                (0, 0),
                (0, (1 << 64) - 1),
            ):
                yield Timestamp(kind, value)
        case SecurityPolicy():
            yield replace(payload, prot_type=0)
            yield replace(payload, policy_no=250)
            yield replace(payload, parameters=((250, b""), (0, bytes(200))))
        case Ticket() | TpPayload():
            for policy in other_policies(payload.policy):
                yield replace(payload, policy=policy)
        case _:
            return


def other_policies(policy: TicketPolicy) -> Iterator[TicketPolicy]:
    yield replace(policy, ticket_type=2)
    yield replace(policy, ticket_type=61440)
    yield replace(policy, subtype=2)
    yield replace(policy, version=0)
    yield replace(policy, prf=127)
    yield replace(policy, flags=F(0))
    yield replace(policy, flags=policy.flags | F.K)
    yield replace(policy, payloads=())
    yield replace(policy, payloads=policy.payloads[::-1])
    yield replace(policy, payloads=policy.payloads * 3)
    yield replace(policy, reserved=31)


@every_message
def test_payloads_missing_doubled_moved_and_with_other_numbers(suite: str, name: str) -> None:
    """By the sender itself: whatever it means, it ends in an answer or a MikeyError."""
    case = cases(suite)[name]
    message = decode(case.data)
    *body, last = message.payloads
    variants: list[list[Payload]] = []
    for at, payload in enumerate(body):
        rest = [*body[:at], *body[at + 1 :]]
        variants += [rest, [*body[: at + 1], payload, *body[at + 1 :]], [payload, *rest], [*rest, payload]]
        variants += [[*body[:at], other, *body[at + 1 :]] for other in others(payload)]
        variants.append([*body[:at], GeneralExtension(250, bytes(30)), *body[at:]])
    variants += [[], body[::-1], body * 2]
    for variant in variants:
        with suppress(MikeyError):
            case.receive(case.again(encode(Message(message.header, (*variant, last)))))
    assert len(variants) > 3


MAPS = (
    EmptyMap(),
    EmptyMap(255),
    SrtpIdMap((SrtpSession(0, 1, 2),)),
    GenericIdMap(()),
    GenericIdMap((GenericSession(1, 241), GenericSession(2, 241))),
    GenericIdMap((GenericSession(255, 0, tuple(range(127)), bytes(255), bytes(999), s_flag=True),)),
)


@every_message
def test_headers_of_every_kind(suite: str, name: str) -> None:
    case = cases(suite)[name]
    message = decode(case.data)
    for header in (
        *(replace(message.header, cs_map=cs_map) for cs_map in MAPS),
        *(replace(message.header, data_type=number) for number in range(256)),
        *(replace(message.header, prf=number) for number in (0, 1, 2, 127)),
        replace(message.header, csb_id=message.header.csb_id ^ 1),
    ):
        data = encode(Message(header, message.payloads))
        with suppress(MikeyError):
            case.receive(case.again(data))
        if header != message.header:
            with pytest.raises(MikeyError):
                case.receive(data)


@every_message
def test_noise_in_the_place_of_a_message(suite: str, name: str) -> None:
    case = cases(suite)[name]
    source = random.Random(6043)  # the same noise in every run
    for _ in range(200):
        with pytest.raises(MikeyError):
            case.receive(source.randbytes(source.randrange(400)))
        cut = source.randrange(len(case.data))
        with pytest.raises(MikeyError):
            case.receive(case.data[:cut] + source.randbytes(len(case.data) - cut + 1))


# --- what the policy may not say


def test_flags_that_contradict_each_other() -> None:
    """All of the 4096 combinations, against the rules of RFC 6043 6.10 written down here once more."""
    policy = policy_of_a_pair()
    refused = 0
    for number in range(0x1000):
        has = {letter: bool(number >> bit & 1) for bit, letter in enumerate("ONMLKJIHGFED")}
        good = (
            (has["D"] or has["L"])
            and (has["F"] or not has["G"])
            and (has["G"] or has["H"])
            and (has["E"] or not has["I"])
            and (has["D"] or not has["K"])
            and (has["F"] or not has["M"])
        )
        if good:
            check_policy(replace(policy, flags=F(number)))
            continue
        refused += 1
        with pytest.raises(MikeyError) as caught:
            check_policy(replace(policy, flags=F(number)))
        assert caught.value.number == ErrorNumber.INVALID_TPPAR
    assert 2000 < refused < 4000


@pytest.mark.parametrize(
    ("policies", "added", "number"),
    [
        pytest.param((0, 1), (), ErrorNumber.INVALID_SP, id="two, one of them nowhere"),
        pytest.param((0, 1), (SecurityPolicy(1, 241),), ErrorNumber.INVALID_SP, id="two that are there"),
        pytest.param((0, 0), (), ErrorNumber.INVALID_SP, id="one twice"),
        pytest.param((), (), ErrorNumber.INVALID_SP, id="none"),
        pytest.param((5,), (), ErrorNumber.INVALID_SP, id="one that nobody gave"),
        pytest.param((5,), (SecurityPolicy(5, 0),), ErrorNumber.INVALID_SP, id="one of another protocol"),
        pytest.param(
            (5,), (SecurityPolicy(5, 241, ((1, b"x"),)),), ErrorNumber.INVALID_SPPAR, id="parameters"
        ),
    ],
)
def test_an_answer_with_other_than_one_policy(
    policies: tuple[int, ...], added: tuple[Payload, ...], number: ErrorNumber
) -> None:
    """Authentic, but RFC 6043 4.2.2.3 wants exactly one policy for each crypto session."""
    case = cases("128")["TRANSFER_RESP"]
    message = decode(case.data)
    assert isinstance(message.header.cs_map, GenericIdMap)
    [session] = message.header.cs_map.sessions
    header = replace(message.header, cs_map=GenericIdMap((replace(session, policies=policies),)))
    *body, last = message.payloads
    changed = encode(Message(header, (*body, *added, last)))
    with pytest.raises(MikeyError) as caught:
        case.receive(case.again(changed))
    assert caught.value.number == number
    case.receive(case.data)


@cache
def policy_of_a_pair() -> TicketPolicy:
    return Pair().ticket.policy


@pytest.mark.parametrize("ticket_type", [0, 2, 3, 61440, 65534])
def test_ticket_types_we_do_not_know(ticket_type: int) -> None:
    """By a KMS or UE that has them: error 14, before anything else is looked at, and at the KMS as well."""
    case = cases("128")
    for name in ("REQUEST_INIT_PSK", "TRANSFER_INIT", "RESOLVE_INIT_PSK"):
        message = decode(case[name].data)
        changed = tuple(
            replace(p, policy=replace(p.policy, ticket_type=ticket_type))
            if isinstance(p, Ticket | TpPayload)
            else p
            for p in message.payloads
        )
        with pytest.raises(MikeyError) as caught:
            case[name].receive(case[name].again(encode(Message(message.header, changed))))
        assert caught.value.number == ErrorNumber.INVALID_TICKET, name


def test_k_in_a_request_is_ignored_and_in_a_self_made_ticket_refused() -> None:
    case = cases("128")["REQUEST_INIT_PSK"]
    message = decode(case.data)
    changed = tuple(
        replace(p, policy=replace(p.policy, flags=p.policy.flags | F.K)) if isinstance(p, TpPayload) else p
        for p in message.payloads
    )
    assert case.receive(case.again(encode(Message(message.header, changed))))
    pair = Pair(self_made=True)
    ticket = decode(pair.offer.init()).need(Ticket)
    policy = replace(ticket.policy, flags=ticket.policy.flags | F.K)
    offered = decode(pair.offer.init())
    payloads = tuple(replace(p, policy=policy) if isinstance(p, Ticket) else p for p in offered.payloads)
    with pytest.raises(MikeyError) as caught:
        TransferResponder(encode(Message(offered.header, payloads)), NOW)
    assert caught.value.number == ErrorNumber.INVALID_TPPAR
    assert isinstance(offered.payloads[-1], Verification)
    assert isinstance(decode(cases("128")["REQUEST_INIT_PK"].data).payloads[-1], Sign)
