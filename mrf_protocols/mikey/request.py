"""Ticket Request exchange: REQUEST_INIT_PSK or REQUEST_INIT_PK, and REQUEST_RESP (RFC 6043 4.2.1), both ends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mrf_protocols.mikey.authentication import (
    Account,
    Authenticated,
    FindCredential,
    KmsRules,
    PskAccount,
    RandomSource,
    authenticate_init,
    build_init,
)
from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.headers import EmptyMap, Header
from mrf_protocols.mikey.identity import idr, same_identity, text_of
from mrf_protocols.mikey.message import decode
from mrf_protocols.mikey.numbers import (
    DataType,
    EncrAlg,
    ErrorNumber,
    IdRole,
    KeyType,
    PolicyFlag,
    TsRole,
)
from mrf_protocols.mikey.payloads import (
    IdentityWithRole,
    Kemac,
    KeyData,
    Payload,
    TimestampWithRole,
    decode_keys,
    encode_keys,
)
from mrf_protocols.mikey.policy import (
    Ticket,
    TicketPolicy,
    TpPayload,
    check_forked_keys,
    check_granted,
    check_policy,
    check_validity,
)
from mrf_protocols.mikey.prf import Purpose
from mrf_protocols.mikey.protection import authenticate, check_response, read_report, verify
from mrf_protocols.mikey.suite import SUITE_128, Suite, suite_of
from mrf_protocols.mikey.ticket import (
    DEFAULT_FLAGS,
    SPI_SESSION,
    GrantedTicket,
    TicketKey,
    base_policy,
    create_ticket,
    session_keys,
    split_keys,
)
from mrf_protocols.mikey.timestamps import DEFAULT_SKEW, check_fresh, ntp_utc, validity

F = PolicyFlag
MAX_KEYS = 8
"""Session keys that one ticket may ask for."""
MAX_RESPONDERS = 64
"""Responders that one ticket may name."""


ResponderKey = Callable[[tuple[str, ...]], TicketKey | None]
"""Gives the key that all these responders share with the KMS and may open tickets with; None when there is none."""


class TicketRequestExchange:
    """The Initiator's side: ask the KMS for a ticket.

    `psk` (named `psk_id`) is shared with `kms`; `account` stands instead of both and may be a certificate's.
    `responders` are the identities that may resolve; `lifetime` in seconds; `flags` is the policy wanted,
    `key_types` the session keys in order. Everything is fixed at construction: one object, one exchange.
    """

    def __init__(
        self,
        *,
        psk: bytes = b"",
        psk_id: str = "",
        account: Account | None = None,
        initiator: str,
        kms: str,
        responders: Sequence[str],
        csb_id: int,
        rand: RandomSource,
        now: float,
        suite: Suite = SUITE_128,
        flags: PolicyFlag = DEFAULT_FLAGS,
        lifetime: float | None = None,
        skew: float = DEFAULT_SKEW,
        key_types: Sequence[KeyType] = (KeyType.TGK,),
    ) -> None:
        self._skew = skew
        self._responders = tuple(responders)
        self._initiator = initiator
        self._wanted = base_policy(
            prf=suite.prf_func,
            flags=flags,
            kms=kms,
            initiator=initiator,
            responders=responders,
            expires=None if lifetime is None else now + lifetime,
            wanted=Kemac(EncrAlg.NULL, encode_keys(session_keys(key_types, suite, bytes))),
        )
        check_policy(self._wanted)
        self._init = build_init(
            account or PskAccount(psk, psk_id),
            IdRole.INITIATOR,
            suite=suite,
            csb_id=csb_id,
            identity=initiator,
            kms=kms,
            subject=TpPayload(self._wanted),
            timestamp=ntp_utc(now),
            rand=rand,
        )

    @property
    def csb_id(self) -> int:
        """CSB ID of this exchange."""
        return self._init.header.csb_id

    def request(self) -> bytes:
        """Give REQUEST_INIT_PSK or REQUEST_INIT_PK."""
        return self._init.data

    def response(self, data: bytes, now: float) -> GrantedTicket:
        """Read REQUEST_RESP and give the ticket. Raises MikeyError; for an Error message with its number."""
        message = decode(data)
        check_response(message, self._init.header, DataType.REQUEST_RESP, (self._init.own,))
        protector = self._init.answer
        verify(message, protector, self._init.data)
        check_fresh(message.timestamp, now, self._skew)
        ticket = message.need(Ticket)
        self._check_granted(ticket.policy)
        check_validity(ticket.policy, now, self._skew)
        opened = protector.open(message.timestamp, message.need(Kemac))
        keys = split_keys(opened, F.I in ticket.policy.flags)
        check_forked_keys(ticket.policy, keys.session)
        return GrantedTicket(replace(ticket, initiator_data=b""), keys)

    def reported(self, data: bytes) -> MikeyError:
        """Give what an Error message about REQUEST_INIT says; not ``reported`` when it is none, or not so."""
        return read_report(data, self._init.header, (self._init.own,))

    def _check_granted(self, policy: TicketPolicy) -> None:
        """A KMS may shorten the life and forbid reuse, but not change who, how fresh, or how protected (error
        15).
        """
        check_granted(policy)
        may_change = F.E | F.J | F.K | F.L | F.M
        differing = (policy.flags ^ self._wanted.flags) & ~may_change
        if policy.prf != self._wanted.prf or differing:
            raise MikeyError(ErrorNumber.INVALID_TPPAR, "the granted policy is not the one asked for")
        granted = {text_of(responder, "IDRr") for responder in policy.responders}
        if granted != set(self._responders):
            raise MikeyError(ErrorNumber.INVALID_TPPAR, "the granted policy names other responders")
        initiator = policy.identity(IdRole.INITIATOR)
        if initiator is not None and not same_identity(text_of(initiator, "IDRi"), self._initiator):
            raise MikeyError(ErrorNumber.INVALID_TPPAR, "the granted policy names another initiator")


@dataclass(frozen=True, slots=True)
class IssuedTicket:
    """What the KMS did with a REQUEST_INIT: the answer, and what its log wants to know."""

    response: bytes
    psk_id: str
    initiator: str
    responders: tuple[str, ...]
    csb_id: int
    expires: float | None
    replay_key: bytes
    replay_until: float
    ticket_id: bytes = b""


def issue_ticket(
    request: bytes,
    *,
    rules: KmsRules,
    find_credential: FindCredential,
    ticket_key: TicketKey,
    rand: RandomSource,
    now: float,
    responder_key: ResponderKey | None = None,
) -> IssuedTicket:
    """Answer REQUEST_INIT_PSK or REQUEST_INIT_PK with REQUEST_RESP, as KMS.

    `responder_key` gives the key of responders who open tickets themselves (mode 2), for a ticket wanted
    without E; where it gives none, E is set. Without the function `ticket_key` is used whatever E says. The
    caller refuses `replay_key` when it has seen it before and remembers it until `replay_until` (Unix time).
    Raises MikeyError: 0 unknown key or wrong MAC, 1 time, 7 identity or permission, 8 certificate, 14 and 15
    policy, 2 to 4 algorithms; with a ``protector`` when the sender is known.
    """
    init = authenticate_init(
        decode(request),
        rules=rules,
        find_credential=find_credential,
        data_types=(DataType.REQUEST_INIT_PSK, DataType.REQUEST_INIT_PK),
        role=IdRole.INITIATOR,
        rand=rand,
        now=now,
    )
    try:
        wanted = init.message.need(TpPayload).policy
        check_policy(wanted)
        named = tuple(text_of(responder, "IDRr") for responder in wanted.responders)
        opened_by = responder_key(named) if responder_key is not None and F.E not in wanted.flags else None
        resolved = responder_key is not None and opened_by is None
        policy = _grant(wanted, init, rules, now, resolved=resolved)
        session = _wanted_keys(wanted, init.suite, rand)
        granted = create_ticket(policy, opened_by or ticket_key, session, rand=rand, now=now)
    except MikeyError as error:
        error.protector = init.error_protector
        raise
    return IssuedTicket(
        response=request_response(init, granted, rules.identity, now),
        psk_id=init.credential.psk_id,
        initiator=init.identity,
        responders=named,
        csb_id=init.message.header.csb_id,
        expires=granted.expires,
        replay_key=init.replay_key,
        replay_until=init.replay_until,
        ticket_id=granted.ticket.identifier,
    )


def request_response(init: Authenticated, granted: GrantedTicket, kms: str, now: float) -> bytes:
    """Build REQUEST_RESP for a granted ticket (RFC 6043 4.2.1.5)."""
    initial = init.message.header
    header = Header(DataType.REQUEST_RESP, initial.csb_id, initial.prf, False, EmptyMap())
    protector = init.protector(Purpose.RESPONSE)
    timestamp = ntp_utc(now)
    kemac = protector.seal(timestamp, granted.keys.as_key_data())
    payloads = (timestamp, idr(IdRole.KMS, kms), granted.ticket, kemac)
    return authenticate(header, payloads, protector, init.message.raw)


def _grant(
    wanted: TicketPolicy, init: Authenticated, rules: KmsRules, now: float, *, resolved: bool
) -> TicketPolicy:
    """Turn the policy wanted into the one granted; K says whether anything changed.

    `resolved` tells that the KMS will have to resolve the ticket.
    """
    if suite_of(wanted.prf) is not init.suite:
        raise MikeyError(ErrorNumber.INVALID_PRF, "PRF func of policy and message differ")
    for role, identity in ((IdRole.INITIATOR, init.identity), (IdRole.KMS, rules.identity)):
        named = wanted.identity(role)
        if named is not None and not same_identity(text_of(named, role.name), identity):
            raise MikeyError(ErrorNumber.INVALID_ID, f"the policy names another {role.name}")
    if len(wanted.responders) > MAX_RESPONDERS:
        raise MikeyError(ErrorNumber.INVALID_TPPAR, "the policy names too many responders")
    check_validity(wanted, now, rules.skew)
    latest = now + min(rules.max_lifetime, longest_life(rules, init.identity, wanted))
    end = wanted.time(TsRole.TR_E)
    expires = latest if end is None else min(end, latest)
    flags = (wanted.flags | F.D | (F.E if resolved else F(0))) & ~F.K & ~rules.cleared_flags
    sender = init.sender(IdRole.INITIATOR)
    payloads = _granted_payloads(wanted, sender, rules.identity, None if end == expires else expires)
    kept = tuple(payload for payload in wanted.payloads if not isinstance(payload, Kemac))
    if payloads != kept or flags != wanted.flags & ~F.K:
        flags |= F.K
    return replace(wanted, flags=flags, payloads=payloads)


def longest_life(rules: KmsRules, initiator: str, policy: TicketPolicy) -> float:
    """Give the longest life of a ticket to these responders in seconds; error 7 when one of them is not allowed."""
    lives = [
        rules.authority.longest_life(initiator, text_of(responder, "IDRr")) for responder in policy.responders
    ]
    allowed = [life for life in lives if life is not None]
    if len(allowed) != len(lives):
        raise MikeyError(ErrorNumber.INVALID_ID, "the initiator may have no ticket for such a responder")
    return min(allowed)


def _granted_payloads(
    wanted: TicketPolicy, initiator: IdentityWithRole, kms: str, expires: float | None
) -> tuple[Payload, ...]:
    """Give TP Data in the order of RFC 6043 6.10, with identities added and, if given, another end of
    validity.
    """

    def of_role(role: IdRole) -> list[Payload]:
        return [p for p in wanted.payloads if isinstance(p, IdentityWithRole) and p.role == role]

    def at(role: TsRole) -> list[Payload]:
        found: list[Payload] = []
        for payload in wanted.payloads:
            if isinstance(payload, TimestampWithRole) and payload.role == role and not found:
                found.append(payload)
        return found

    end: list[Payload] = at(TsRole.TR_E) if expires is None else [validity(TsRole.TR_E, expires)]
    return (
        *(of_role(IdRole.KMS)[:1] or [idr(IdRole.KMS, kms)]),
        *(of_role(IdRole.INITIATOR)[:1] or [initiator]),
        *at(TsRole.TR_S),
        *end,
        *at(TsRole.TR_R),
        *of_role(IdRole.APPLICATION),
        *of_role(IdRole.RESPONDER),
    )


def _wanted_keys(wanted: TicketPolicy, suite: Suite, rand: RandomSource) -> tuple[KeyData, ...]:
    """Make the keys that the KEMAC of the policy asks for, one TGK when it asks for none (RFC 6043 4.2.1.5)."""
    kemac = wanted.wanted_keys
    if kemac is None:
        return (KeyData(KeyType.TGK, rand(suite.key_length), spi=SPI_SESSION),)
    if kemac.encr_alg != EncrAlg.NULL:
        raise MikeyError(ErrorNumber.INVALID_EA, "the KEMAC of a wanted policy is not encrypted")
    keys = decode_keys(kemac.encr_data)
    spis = {key.spi for key in keys}
    if not 1 <= len(keys) <= MAX_KEYS or len(spis) != len(keys) or b"" in spis:
        raise MikeyError(
            ErrorNumber.INVALID_TPPAR, f"keys wanted: 1 to {MAX_KEYS}, each with an SPI of its own"
        )
    for key in keys:
        if key.type not in range(KeyType.MPK) or not 16 <= len(key.key) <= suite.key_length:
            raise MikeyError(ErrorNumber.INVALID_TPPAR, "a key of that type or length cannot be had")
    return tuple(replace(key, key=rand(len(key.key)), salt=rand(len(key.salt))) for key in keys)
