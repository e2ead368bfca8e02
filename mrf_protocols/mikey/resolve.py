"""Ticket Resolve exchange, the KMS's side: RESOLVE_INIT_PSK and RESOLVE_RESP (RFC 6043 4.2.3)."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from mrf_protocols.mikey.authentication import FindCredential, KmsRules, authenticate_init
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
    RandomSource,
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


def resolve_ticket(
    request: bytes,
    *,
    rules: KmsRules,
    find_credential: FindCredential,
    find_ticket_key: FindTicketKey,
    rand: RandomSource,
    now: float,
) -> ResolvedTicket:
    """Answer RESOLVE_INIT_PSK with RESOLVE_RESP, as KMS.

    The caller refuses `replay_key` when it has seen it before and remembers it until `replay_until` (Unix
    time). Raises MikeyError: 0 unknown key or wrong MAC (of message, ticket or Vr), 1 time, 2 to 4
    algorithms, 7 identity, 14 ticket type, 15 policy or validity.
    """
    init = authenticate_init(
        decode(request),
        rules=rules,
        find_credential=find_credential,
        data_type=DataType.RESOLVE_INIT_PSK,
        role=IdRole.RESPONDER,
        now=now,
    )
    ticket = init.message.need(Ticket)
    check_granted(ticket.policy)
    suite = suite_of(ticket.policy.prf)
    if suite is not init.suite:
        raise MikeyError(ErrorNumber.INVALID_PRF, "PRF func of ticket and message differ")
    opened = open_ticket(ticket, find_ticket_key)
    initiator = _maker_of(opened)
    check_validity(ticket.policy, now, rules.skew)
    _check_responder(opened, init.identity)
    _check_initiator_data(ticket, opened, suite)

    keys = opened.keys
    modifier: tuple[Payload, ...] = ()
    if F.I in ticket.policy.flags:
        longest = max(len(keys.mpkr), *(len(key.key) for key in keys.session), suite.key_length)
        rand_kms, answering = rand(longest), idr(IdRole.RESPONDER, init.identity)
        keys = fork_keys(suite, keys, answering.data, rand_kms)
        modifier = (answering, RandWithRole(RandRole.KMS, rand_kms))
    initial = init.message.header
    header = Header(DataType.RESOLVE_RESP, initial.csb_id, initial.prf, False, EmptyMap())
    protector = init.protector(Purpose.RESPONSE)
    timestamp = ntp_utc(now)
    kemac = protector.seal(timestamp, keys.as_key_data())
    payloads: tuple[Payload, ...] = (timestamp, idr(IdRole.KMS, rules.identity), kemac, *modifier)
    return ResolvedTicket(
        response=authenticate(header, payloads, protector, init.message.raw),
        psk_id=init.credential.psk_id,
        responder=init.identity,
        initiator=initiator,
        csb_id=initial.csb_id,
        replay_key=init.replay_key,
        replay_until=init.replay_until,
    )


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
