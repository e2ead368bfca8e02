"""Tickets on the Initiator's side: asked of the KMS (RFC 6043 mode 1) or made here (mode 3), then offered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from mrf_ops.trace import Tracer
from mrf_protocols.mikey import (
    DEFAULT_FLAGS,
    SUITE_128,
    SUITE_256,
    GrantedTicket,
    KeyType,
    MikeyError,
    PolicyFlag,
    PskIdentityForm,
    Suite,
    TicketKey,
    TicketRequestExchange,
    TransferInitiator,
    make_ticket,
    message_name,
)
from mrf_protocols.mikey.identity import matches_any
from mrfc.config import DialOut, Kms, Mikey, SharedKey
from mrfc.keys.faults import answer_of_the_kms, refusing_kms_faults
from mrfc.keys.ticket_memory import TicketMemory
from mrfc.sip.refusal import Cause, Refusal

F = PolicyFlag

SUITES: dict[str, Suite] = {"128": SUITE_128, "256": SUITE_256}


class TicketPort(Protocol):
    """The KMS as an Initiator sees it; raises the errors of mrf_kms.client."""

    async def ticket_request(self, body: bytes, correlation: str) -> bytes:
        """Send REQUEST_INIT, return REQUEST_RESP."""
        ...


class Tickets:
    """Makes TRANSFER_INITs for those whom the MRFC makes an offer."""

    def __init__(
        self,
        kms: TicketPort,
        account: Kms,
        mikey: Mikey,
        settings: DialOut,
        tracer: Tracer,
        random: Callable[[int], bytes],
    ) -> None:
        self._kms = kms
        self._kms_identity = account.identity
        self._account = account.account()
        self._own_key = account.ticket_key()
        self._mikey = mikey
        self._settings = settings
        self._suite = SUITES[settings.suite]
        self._flags = DEFAULT_FLAGS
        self._flags |= F.I if settings.key_forking else F(0)
        self._flags |= F.J if settings.reuse_tickets else F(0)
        self._key_types = (KeyType[settings.session_key],)
        self._psk_identity = PskIdentityForm(mikey.psk_identity)
        self._granted: TicketMemory[GrantedTicket] = TicketMemory()
        self._tracer = tracer
        self._random = random

    async def transfer(self, initiator: str, responder: str, correlation: str) -> TransferInitiator:
        """A new ticket from `initiator` for `responder`, KMS user identities both, and the TRANSFER_INIT with it.

        Raises Refusal.
        """
        try:
            ticket = await self._ticket(initiator, responder, correlation)
            transfer = TransferInitiator(
                ticket,
                initiator,
                responder,
                csb_id=self._number(),
                rand=self._random,
                now=time.time(),
                prot_type=self._mikey.protocol_types[0],
                skew=self._mikey.clock_skew,
                psk_identity=self._psk_identity,
            )
        except MikeyError as error:
            raise Refusal(Cause.TICKET_REFUSED, error.text) from error
        self._tracer.emit(
            correlation,
            "local",
            "",
            "MIKEY",
            "TRANSFER_INIT built",
            f"{transfer.csb_id:08x}",
            initiator=initiator,
            responder=responder,
            ticket=self._settings.ticket,
        )
        return transfer

    async def _ticket(self, initiator: str, responder: str, correlation: str) -> GrantedTicket:
        shared = self._shared_key(responder)
        if shared is not None:
            key = TicketKey(shared.name, shared.file.reveal_hex())
            return self._made(key, initiator, responder, kms="")
        if self._settings.ticket == "self-made" and self._own_key is not None:
            return self._made(self._own_key, initiator, responder, kms=self._kms_identity)
        now, name = time.time(), (initiator, responder)
        known = self._granted.get(name, now)
        if known is not None:
            return known
        ticket = await refusing_kms_faults(lambda: self._requested(initiator, responder, correlation))
        if F.J in ticket.policy.flags:
            self._granted.put(name, ticket, now, ticket.expires)
        return ticket

    def _shared_key(self, responder: str) -> SharedKey | None:
        """The key that we share with this UE, for a ticket without any KMS (RFC 6043 4.1.1, mode 4)."""
        for key in self._mikey.shared_key:
            if matches_any(tuple(key.peers), responder):
                return key
        return None

    def _made(self, key: TicketKey, initiator: str, responder: str, *, kms: str) -> GrantedTicket:
        return make_ticket(
            tpk=key.key,
            tpk_id=key.identifier,
            initiator=initiator,
            kms=kms,
            responders=(responder,),
            rand=self._random,
            now=time.time(),
            suite=self._suite,
            flags=self._flags if kms else self._flags & ~(F.E | F.I),
            lifetime=self._settings.ticket_lifetime,
            key_types=self._key_types,
        )

    async def _requested(self, initiator: str, responder: str, correlation: str) -> GrantedTicket:
        """A ticket of the KMS, by a new REQUEST_INIT. Raises the errors of mrf_kms.client."""
        csb_id = self._number()
        exchange = TicketRequestExchange(
            account=self._account,
            initiator=initiator,
            kms=self._kms_identity,
            responders=(responder,),
            csb_id=csb_id,
            rand=self._random,
            now=time.time(),
            suite=self._suite,
            flags=self._flags,
            lifetime=self._settings.ticket_lifetime,
            skew=self._mikey.clock_skew,
            key_types=self._key_types,
        )
        key, request = f"{csb_id:08x}", exchange.request()
        self._tracer.emit(
            correlation,
            "sent",
            "KMS",
            "KMS",
            message_name(request),
            key,
            initiator=initiator,
            responder=responder,
        )
        with answer_of_the_kms(exchange):
            response = await self._kms.ticket_request(request, correlation)
            self._tracer.emit(correlation, "received", "KMS", "KMS", "REQUEST_RESP", key)
            return exchange.response(response, time.time())

    def _number(self) -> int:
        return int.from_bytes(self._random(4))
