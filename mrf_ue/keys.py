"""The UE's keys: a ticket for the far end, or the far end's ticket resolved (RFC 6043 4.2.1, 4.2.3)."""

import os
import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from mrf_kms.client import KmsClient, KmsError, KmsRefused, KmsUnavailable, judged
from mrf_ops.trace import Tracer
from mrf_protocols import mikey
from mrf_protocols.mikey import (
    DEFAULT_PSK_IDENTITY,
    CsbSession,
    GrantedTicket,
    KeyData,
    KeyType,
    MikeyError,
    PolicyFlag,
    PskIdentityForm,
    ResolvedKeys,
    TicketKey,
    TransferInitiator,
    TransferResponder,
    TransferResult,
)
from mrf_ue.accepted import Accepted
from mrf_ue.errors import KmsFailed
from mrf_ue.options import KeySettings, TicketMode

_Asked = TypeVar("_Asked")


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
    who = {"initiator": initiator, "responder": responder}

    async def ask(client: KmsClient) -> GrantedTicket:
        exchange = mikey.TicketRequestExchange(
            account=keys.account,
            initiator=initiator,
            kms=keys.kms_identity,
            responders=(responder,),
            csb_id=new_csb_id(),
            rand=os.urandom,
            now=time.time(),
            suite=keys.suite,
            flags=keys.flags,
            key_types=(keys.session_key,),
        )
        request = exchange.request()
        _trace(tracer, "sent", correlation, request, who)
        try:
            response = await client.ticket_request(request, correlation)
        except KmsRefused as refused:
            raise judged(refused, exchange.reported) from None
        _trace(tracer, "received", correlation, response, who)
        return exchange.response(response, time.time())

    return await _ask_kms(keys, f"the KMS gives no ticket for {responder}", ask)


async def resolve_ticket(
    keys: KeySettings,
    transfer: TransferResponder,
    identity: str,
    correlation: str,
    tracer: Tracer,
    accepted: Accepted | None = None,
) -> TransferResult:
    """The keys of a ticket that somebody sent us, and TRANSFER_RESP. Raises KmsFailed, MikeyError.

    What was `accepted` before is refused, and the KMS not asked. A ticket made with our own key that need not be
    resolved goes without the KMS (RFC 6043 4.1.1, modes 2 and 4).
    """
    accepted = accepted or Accepted()
    accepted.check(transfer)
    if PolicyFlag.E not in transfer.policy.flags and keys.psk and transfer.ticket_key_name == keys.psk_id:
        own = TicketKey(keys.psk_id, keys.psk)
        transfer.open_locally(lambda name: own if name == keys.psk_id else None, identity)
        accepted.take(transfer)
        return transfer.respond(os.urandom, time.time())
    who = {"initiator": transfer.initiator, "responder": identity}

    async def ask(client: KmsClient) -> ResolvedKeys:
        request = transfer.resolve_init(
            account=keys.account, identity=identity, kms=keys.kms_identity, rand=os.urandom, now=time.time()
        )
        _trace(tracer, "sent", correlation, request, who)
        try:
            response = await client.ticket_resolve(request, correlation)
        except KmsRefused as refused:
            raise judged(refused, transfer.reported) from None
        _trace(tracer, "received", correlation, response, who)
        return transfer.read_resolution(response, time.time())

    failed = f"the KMS does not resolve the ticket of {transfer.initiator}"
    transfer.reuse(await _ask_kms(keys, failed, ask))
    accepted.take(transfer)
    return transfer.respond(os.urandom, time.time())


async def _ask_kms(keys: KeySettings, failed: str, ask: Callable[[KmsClient], Awaitable[_Asked]]) -> _Asked:
    """Ask the KMS; `ask` makes a new message each time it is called. Raises KmsFailed, which begins with `failed`.

    Where an instance may have answered but nothing came, another one is asked, once and with a new message.
    """
    client = KmsClient(keys.kms_url, timeout=keys.kms_timeout, ca_file=keys.ca_file)
    try:
        try:
            return await ask(client)
        except KmsUnavailable as error:
            if not error.ask_again:
                raise
        return await ask(client)
    except KmsRefused as error:
        raise KmsFailed(f"{failed}: {error}", error.number) from None
    except KmsError as error:
        raise KmsFailed(f"{failed}: {error}") from None
    except MikeyError as error:
        raise KmsFailed(f"{failed}: {error}", error.number if error.reported else None) from None
    finally:
        await client.close()


def _trace(
    tracer: Tracer, kind: Literal["sent", "received"], correlation: str, message: bytes, who: dict[str, str]
) -> None:
    """A message to or from the KMS; CSB ID is octets 4 to 7 of every message (RFC 3830 6.1)."""
    tracer.emit(correlation, kind, "KMS", "KMS", mikey.message_name(message), message[4:8].hex(), **who)


class KeyUpdate:
    """A key of our own in a CSB update: the session goes on without another ticket (RFC 6043 5.2)."""

    def __init__(self, session: CsbSession) -> None:
        """Raises KmsFailed when the policy of the ticket lets us bring no key (flag L, or M who answered)."""
        self._session = session
        key = KeyData(KeyType.TGK, os.urandom(session.suite.key_length), spi=os.urandom(4))
        try:
            self._message = session.start(now=time.time(), keys=(key,))
        except MikeyError as error:
            raise KmsFailed(f"no key without another ticket: {error}") from None

    def init(self) -> bytes:
        """TRANSFER_INIT of the update."""
        return self._message

    def response(self, data: bytes, now: float) -> TransferResult:
        """Read the TRANSFER_RESP. Raises MikeyError."""
        return self._session.finish(data, now)

    def session(self) -> CsbSession:
        """The session, which goes on."""
        return self._session

    def abandon(self) -> None:
        """It was refused, or not answered: the session goes on as it was."""
        self._session.abandon()


KeyOffer = TransferInitiator | KeyUpdate
"""What offers a key."""


def start_transfer(
    ticket: GrantedTicket,
    initiator: str,
    responder: str,
    psk_identity: PskIdentityForm = DEFAULT_PSK_IDENTITY,
) -> TransferInitiator:
    """The exchange that carries the ticket to the far end, under a new CSB ID. Raises KmsFailed."""
    try:
        return TransferInitiator(
            ticket,
            initiator,
            responder,
            csb_id=new_csb_id(),
            rand=os.urandom,
            now=time.time(),
            psk_identity=psk_identity,
        )
    except MikeyError as error:
        raise KmsFailed(f"the ticket cannot be used: {error}") from None


def new_csb_id() -> int:
    """A random CSB ID (RFC 3830 6.1)."""
    return int.from_bytes(os.urandom(4), "big")
