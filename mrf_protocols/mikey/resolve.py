"""Ticket Resolve exchange, the KMS's side: RESOLVE_INIT_PSK or RESOLVE_INIT_PK, and RESOLVE_RESP (RFC 6043 4.2.3)."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from mrf_protocols.mikey.authentication import (
    Authenticated,
    FindCredential,
    KmsRules,
    RandomSource,
    authenticate_init,
)
from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.headers import EmptyMap, Header
from mrf_protocols.mikey.identity import idr, matches_any, same_identity, text_of
from mrf_protocols.mikey.message import decode
from mrf_protocols.mikey.numbers import DataType, ErrorNumber, IdRole, PolicyFlag, RandRole
from mrf_protocols.mikey.payloads import Payload, RandWithRole
from mrf_protocols.mikey.policy import InitiatorData, Ticket, check_granted, check_validity
from mrf_protocols.mikey.prf import Purpose
from mrf_protocols.mikey.protection import authenticate, check_mac_alg
from mrf_protocols.mikey.suite import Suite, suite_of
from mrf_protocols.mikey.ticket import (
    OpenedTicket,
    TicketKey,
    fork_keys,
    initiator_auth_key,
    open_ticket,
)
from mrf_protocols.mikey.timestamps import ntp_utc

F = PolicyFlag
FindTicketKey = Callable[[str | None], TicketKey | None]
"""Gives the TPK that IDRpsk of a ticket names; None when there is none."""


@dataclass(frozen=True, slots=True)
class ResolvedTicket:
    """What the KMS did with a RESOLVE_INIT: the answer, and what its log wants to know."""

    response: bytes
    psk_id: str
    responder: str
    initiator: str
    csb_id: int
    replay_key: bytes
    replay_until: float
    ticket_id: bytes = b""


def resolve_ticket(
    request: bytes,
    *,
    rules: KmsRules,
    find_credential: FindCredential,
    find_ticket_key: FindTicketKey,
    rand: RandomSource,
    now: float,
) -> ResolvedTicket:
    """Answer RESOLVE_INIT_PSK or RESOLVE_INIT_PK with RESOLVE_RESP, as KMS.

    The caller refuses `replay_key` when it has seen it before and remembers it until `replay_until` (Unix
    time). Raises MikeyError: 0 unknown key or wrong MAC (of message, ticket or Vr), 1 time, 2 to 4
    algorithms, 7 identity or permission, 8 certificate, 14 ticket type, 15 policy, validity or revocation; with
    a ``protector`` when the sender is known.
    """
    init = authenticate_init(
        decode(request),
        rules=rules,
        find_credential=find_credential,
        data_types=(DataType.RESOLVE_INIT_PSK, DataType.RESOLVE_INIT_PK),
        role=IdRole.RESPONDER,
        rand=rand,
        now=now,
    )
    try:
        ticket = init.message.need(Ticket)
        opened, initiator = _open(ticket, init, rules, find_ticket_key, now)
    except MikeyError as error:
        error.protector = init.error_protector
        raise
    return ResolvedTicket(
        response=_resolve_response(init, opened, rules.identity, rand, now),
        psk_id=init.credential.psk_id,
        responder=init.identity,
        initiator=initiator,
        csb_id=init.message.header.csb_id,
        replay_key=init.replay_key,
        replay_until=init.replay_until,
        ticket_id=ticket.identifier,
    )


def _open(
    ticket: Ticket, init: Authenticated, rules: KmsRules, find_ticket_key: FindTicketKey, now: float
) -> tuple[OpenedTicket, str]:
    """Give the ticket opened, and its initiator, when the sender may have what is in it. Raises MikeyError."""
    check_granted(ticket.policy)
    suite = suite_of(ticket.policy.prf)
    if suite is not init.suite:
        raise MikeyError(ErrorNumber.INVALID_PRF, "PRF func of ticket and message differ")
    opened = open_ticket(ticket, find_ticket_key)
    initiator = _maker_of(opened)
    check_validity(ticket.policy, now, rules.skew)
    _check_responder(opened, init.identity)
    _check_initiator_data(ticket, opened, suite)
    life = rules.authority.longest_life(initiator, init.identity)
    if life is None:
        raise MikeyError(ErrorNumber.INVALID_ID, "the initiator may have no ticket for such a responder")
    if opened.made_with.owner is not None:
        _check_life(opened, min(life, rules.max_lifetime), rules.skew, now)
    if not rules.authority.resolvable(ticket.identifier, initiator, opened.issued):
        raise MikeyError(ErrorNumber.INVALID_TPPAR, "the ticket is revoked")
    return opened, initiator


def _resolve_response(
    init: Authenticated, opened: OpenedTicket, kms: str, rand: RandomSource, now: float
) -> bytes:
    """Build RESOLVE_RESP, with keys forked when the policy says so (RFC 6043 4.2.3.5)."""
    keys, suite = opened.keys, init.suite
    modifier: tuple[Payload, ...] = ()
    if F.I in opened.policy.flags:
        longest = max(len(keys.mpkr), *(len(key.key) for key in keys.session), suite.key_length)
        rand_kms, answering = rand(longest), init.sender(IdRole.RESPONDER)
        keys = fork_keys(suite, keys, answering.data, rand_kms)
        modifier = (answering, RandWithRole(RandRole.KMS, rand_kms))
    initial = init.message.header
    header = Header(DataType.RESOLVE_RESP, initial.csb_id, initial.prf, False, EmptyMap())
    protector = init.protector(Purpose.RESPONSE)
    timestamp = ntp_utc(now)
    kemac = protector.seal(timestamp, keys.as_key_data())
    payloads: tuple[Payload, ...] = (timestamp, idr(IdRole.KMS, kms), kemac, *modifier)
    return authenticate(header, payloads, protector, init.message.raw)


def _maker_of(opened: OpenedTicket) -> str:
    """Give the initiator the ticket names, who made it when D=0.

    A ticket under a key of the KMS has D=1; one under a user's key D=0 and a name that is that user's: nobody
    makes tickets in the name of another (errors 15, 7).
    """
    owner = opened.made_with.owner
    if (F.D in opened.policy.flags) != (owner is None):
        raise MikeyError(
            ErrorNumber.INVALID_TPPAR, "flag D does not fit the key that the ticket is made with"
        )
    initiator = text_of(opened.policy.identity(IdRole.INITIATOR), "IDRi of the ticket")
    if owner is not None and not matches_any(owner, initiator):
        raise MikeyError(ErrorNumber.INVALID_ID, "the ticket is made in the name of another")
    return initiator


def _check_life(opened: OpenedTicket, life: float, skew: float, now: float) -> None:
    """Refuse a ticket that its initiator made for a time to come, or for longer than one would be granted (15)."""
    age = now - opened.issued
    if age < -skew:
        raise MikeyError(ErrorNumber.INVALID_TPPAR, "the ticket is made for a time to come")
    if age > life + skew:
        raise MikeyError(ErrorNumber.INVALID_TPPAR, "the ticket is older than tickets are granted for")


def _check_responder(opened: OpenedTicket, identity: str) -> None:
    """Refuse who is not among the responders of the ticket; a name there is no pattern (error 7)."""
    if not any(same_identity(text_of(named, "IDRr"), identity) for named in opened.policy.responders):
        raise MikeyError(ErrorNumber.INVALID_ID, "the sender is not a responder of the ticket")


def _check_initiator_data(ticket: Ticket, opened: OpenedTicket, suite: Suite) -> None:
    """With key forking verify Vr; without it there is no Initiator Data (errors 15, 3, 0)."""
    if F.I not in ticket.policy.flags:
        if ticket.initiator_data:
            raise MikeyError(ErrorNumber.INVALID_TPPAR, "Initiator Data without key forking")
        return
    signed = InitiatorData.decode(ticket.initiator_data)
    check_mac_alg(signed.vi, suite)
    check_mac_alg(signed.vr, suite)
    key = initiator_auth_key(suite, opened.keys.mpkr)
    mac = suite.mac(key, ticket.initiator_data[: -suite.mac_length])
    if not hmac.compare_digest(mac, signed.vr.mac):
        raise MikeyError(ErrorNumber.AUTH_FAILURE, "Vr of the ticket is wrong")
