"""The UE's keys: a ticket for the far end, or the far end's ticket resolved (RFC 6043 4.2.1, 4.2.3)."""

import os
import time

from mrf_kms.client import KmsClient, KmsError
from mrf_ops.trace import Tracer
from mrf_protocols import mikey
from mrf_protocols.mikey import (
    GrantedTicket,
    MikeyError,
    PolicyFlag,
    TicketKey,
    TransferInitiator,
    TransferResponder,
    TransferResult,
)
from mrf_ue.errors import KmsFailed
from mrf_ue.options import KeySettings, TicketMode


async def get_ticket(
    keys: KeySettings, initiator: str, responder: str, correlation: str, tracer: Tracer
) -> GrantedTicket:
    """A ticket from `initiator` for `responder`, both KMS user identities. Raises KmsFailed."""
    try:
        if keys.mode is not TicketMode.REQUEST:
            without_kms = keys.mode is TicketMode.SHARED_KEY
            return mikey.make_ticket(
                tpk=keys.psk,
                tpk_id=keys.psk_id,
                initiator=initiator,
                kms="" if without_kms else keys.kms_identity,
                responders=(responder,),
                rand=os.urandom,
                now=time.time(),
                suite=keys.suite,
                flags=keys.flags & ~(PolicyFlag.E | PolicyFlag.I) if without_kms else keys.flags,
                key_types=(keys.session_key,),
            )
        return await _request_ticket(keys, initiator, responder, correlation, tracer)
    except MikeyError as error:
        raise KmsFailed(f"no ticket for {responder}: {error}") from None


async def _request_ticket(
    keys: KeySettings, initiator: str, responder: str, correlation: str, tracer: Tracer
) -> GrantedTicket:
    csb_id = new_csb_id()
    exchange = mikey.TicketRequestExchange(
        psk=keys.psk,
        psk_id=keys.psk_id,
        initiator=initiator,
        kms=keys.kms_identity,
        responders=(responder,),
        csb_id=csb_id,
        rand=os.urandom,
        now=time.time(),
        suite=keys.suite,
        flags=keys.flags,
        key_types=(keys.session_key,),
    )
    trace_key = f"{csb_id:08x}"
    who = {"initiator": initiator, "responder": responder}
    tracer.emit(correlation, "sent", "KMS", "KMS", "REQUEST_INIT_PSK", trace_key, **who)
    client = KmsClient(keys.kms_url, timeout=keys.kms_timeout, ca_file=keys.ca_file)
    try:
        response = await client.ticket_request(exchange.request(), correlation)
    except KmsError as error:
        raise KmsFailed(f"the KMS gives no ticket for {responder}: {error}") from None
    finally:
        await client.close()
    tracer.emit(correlation, "received", "KMS", "KMS", "REQUEST_RESP", trace_key, **who)
    return exchange.response(response, time.time())


async def resolve_ticket(
    keys: KeySettings, transfer: TransferResponder, identity: str, correlation: str, tracer: Tracer
) -> TransferResult:
    """The keys of a ticket that somebody sent us, and TRANSFER_RESP. Raises KmsFailed, MikeyError.

    A ticket made with our own key that need not be resolved goes without the KMS (RFC 6043 4.1.1, modes 2 and 4).
    """
    if PolicyFlag.E not in transfer.policy.flags and transfer.ticket_key_name == keys.psk_id:
        own = TicketKey(keys.psk_id, keys.psk)
        transfer.open_locally(lambda name: own if name == keys.psk_id else None, identity)
        return transfer.respond(os.urandom, time.time())
    request = transfer.resolve_init(
        psk=keys.psk,
        psk_id=keys.psk_id,
        identity=identity,
        kms=keys.kms_identity,
        rand=os.urandom,
        now=time.time(),
    )
    trace_key = request[4:8].hex()  # the CSB ID (RFC 3830 6.1)
    who = {"initiator": transfer.initiator, "responder": identity}
    tracer.emit(correlation, "sent", "KMS", "KMS", "RESOLVE_INIT_PSK", trace_key, **who)
    client = KmsClient(keys.kms_url, timeout=keys.kms_timeout, ca_file=keys.ca_file)
    try:
        response = await client.ticket_resolve(request, correlation)
    except KmsError as error:
        raise KmsFailed(f"the KMS does not resolve the ticket of {transfer.initiator}: {error}") from None
    finally:
        await client.close()
    tracer.emit(correlation, "received", "KMS", "KMS", "RESOLVE_RESP", trace_key, **who)
    transfer.resolved(response, time.time())
    return transfer.respond(os.urandom, time.time())


def start_transfer(ticket: GrantedTicket, initiator: str, responder: str) -> TransferInitiator:
    """The exchange that carries the ticket to the far end, under a new CSB ID. Raises KmsFailed."""
    try:
        return TransferInitiator(
            ticket, initiator, responder, csb_id=new_csb_id(), rand=os.urandom, now=time.time()
        )
    except MikeyError as error:
        raise KmsFailed(f"the ticket cannot be used: {error}") from None


def new_csb_id() -> int:
    """A random CSB ID (RFC 3830 6.1)."""
    return int.from_bytes(os.urandom(4), "big")
