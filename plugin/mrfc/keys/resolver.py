"""Tickets on the Responder's side: checked here before the KMS is asked, resolved there (RFC 6043 4.2.2, 4.2.3)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from mrf_ops.trace import Tracer
from mrf_protocols import sdp
from mrf_protocols.mikey import (
    Acceptance,
    ErrorNumber,
    MikeyError,
    PolicyFlag,
    ResolvedKeys,
    TicketKey,
    TransferResponder,
    error_message,
    message_name,
)
from mrfc.config import Kms, Mikey
from mrfc.keys.faults import answer_of_the_kms, refusing_kms_faults
from mrfc.keys.replay import ReplayCache
from mrfc.keys.ticket_memory import TicketMemory
from mrfc.measures import Measures
from mrfc.sip.refusal import Cause, Refusal

# What the Responder cannot read at all, as against what it reads and does not want
UNREADABLE = {ErrorNumber.UNSPECIFIED, ErrorNumber.INVALID_DT}


class KmsPort(Protocol):
    """The KMS as the focus sees it; raises the errors of mrf_kms.client."""

    async def ticket_resolve(self, body: bytes, correlation: str) -> bytes:
        """Send RESOLVE_INIT, return RESOLVE_RESP."""
        ...


class Resolver:
    """Resolves the tickets of all calls with one account at the KMS."""

    def __init__(
        self,
        kms: KmsPort,
        account: Kms,
        acceptance: Acceptance,
        replay: ReplayCache,
        tracer: Tracer,
        measures: Measures,
        random: Callable[[int], bytes],
        mikey: Mikey | None = None,
        used: ReplayCache | None = None,
    ) -> None:
        """`replay` remembers messages, `used` tickets that may be used once only."""
        mikey = mikey or Mikey()
        self._used = used or ReplayCache.of_tickets(None, 0.0)
        self._reuse = mikey.reuse_tickets
        self._resolved: TicketMemory[ResolvedKeys] = TicketMemory()
        self._keys = {
            key.name: TicketKey(key.name, key.file.reveal_hex(), tuple(key.peers)) for key in mikey.shared_key
        }
        own = account.ticket_key()
        if mikey.open_tickets and own is not None:
            # Tickets that the KMS made for us alone are under the key that it shares with us (mode 2).
            self._keys[own.identifier] = own
        self._kms = kms
        self._kms_identity = account.identity
        self._account = account.account()
        self._acceptance = acceptance
        self._replay = replay
        self._tracer = tracer
        self._measures = measures
        self._random = random

    def read_transfer(self, agreed: sdp.Agreement) -> TransferResponder:
        """The TRANSFER_INIT of an offer, acceptable by itself and not seen before. Raises Refusal; asks nobody."""
        if agreed.key_mgmt is None:
            raise Refusal(Cause.OFFER_REJECTED, "key-mgmt attribute missing")
        now = time.time()
        acceptance = replace(self._acceptance, sdp_ids=sdp.protocol_list(agreed.peer.key_mgmt))
        try:
            transfer = TransferResponder(agreed.key_mgmt.data, now, acceptance)
        except MikeyError as error:
            cause = Cause.BAD_KEY_MANAGEMENT if error.number in UNREADABLE else Cause.TICKET_UNACCEPTABLE
            told = error_message(agreed.key_mgmt.data, error.number, now)
            raise Refusal(cause, error.text, mikey=told) from error
        if self._replay.seen(transfer.replay_key, now):
            raise Refusal(Cause.REPLAYED)
        if _only_once(transfer) and self._used.seen(transfer.ticket_id, now):
            raise _used_before(agreed.key_mgmt.data, now)
        return transfer

    async def resolve(self, transfer: TransferResponder, correlation: str) -> None:
        """Have the ticket resolved and the TRANSFER_INIT authenticated with what it holds. Raises Refusal.

        The KMS is not asked for a ticket that we can open ourselves, nor again for one that may be reused.
        """
        now = time.time()
        known = self._resolved.get((transfer.ticket_id, transfer.responder), now) if self._reuse else None
        try:
            if known is not None:
                transfer.reuse(known)
            elif self._opens(transfer):
                transfer.open_locally(self._key, transfer.responder)
            else:
                keys = await refusing_kms_faults(lambda: self._ask(transfer, correlation))
                now = time.time()
                transfer.reuse(keys)
        except MikeyError as error:
            raise Refusal(Cause.TICKET_REFUSED, error.text, mikey_error=error.number) from error
        if self._reuse and PolicyFlag.J in transfer.policy.flags and known is None:
            keys, expires = transfer.resolved_keys, transfer.ticket_expires
            self._resolved.put((transfer.ticket_id, transfer.responder), keys, now, expires)
        # Only authenticated messages are remembered (RFC 3830 5.4), and two of them may have been under way at once
        if not self._replay.remember(transfer.replay_key, now):
            raise Refusal(Cause.REPLAYED)
        if _only_once(transfer) and not self._used.remember(
            transfer.ticket_id,
            now,
            transfer.ticket_expires and transfer.ticket_expires + self._acceptance.skew,
        ):
            raise Refusal(Cause.REUSED, mikey_error=ErrorNumber.INVALID_TPPAR)

    def _key(self, name: str | None) -> TicketKey | None:
        return self._keys.get(name or "")

    def _opens(self, transfer: TransferResponder) -> bool:
        return PolicyFlag.E not in transfer.policy.flags and transfer.ticket_key_name in self._keys

    async def _ask(self, transfer: TransferResponder, correlation: str) -> ResolvedKeys:
        """What the KMS answers to a new RESOLVE_INIT. Raises the errors of mrf_kms.client."""
        request = transfer.resolve_init(
            account=self._account,
            identity=transfer.responder,
            kms=self._kms_identity,
            rand=self._random,
            now=time.time(),
        )
        self._trace("sent", correlation, message_name(request), request, initiator=transfer.initiator)
        with answer_of_the_kms(transfer):
            with self._measures.kms_seconds.time():
                response = await self._kms.ticket_resolve(request, correlation)
            self._trace("received", correlation, "RESOLVE_RESP", response)
            return transfer.read_resolution(response, time.time())

    def _trace(self, kind: str, correlation: str, name: str, message: bytes, **fields: str) -> None:
        if self._tracer.enabled:
            csb_id = message[4:8].hex()  # RFC 3830 6.1: CSB ID is octets 4 to 7 of every message
            self._tracer.emit(
                correlation, "sent" if kind == "sent" else "received", "KMS", "KMS", name, csb_id, **fields
            )


def _only_once(transfer: TransferResponder) -> bool:
    """Whether the ticket must not be used for a second TRANSFER_INIT (RFC 6043 5.3)."""
    return PolicyFlag.J not in transfer.policy.flags


def _used_before(init: bytes, now: float) -> Refusal:
    """The refusal of a ticket that was used, before anybody has proved anything."""
    return Refusal(Cause.REUSED, mikey=error_message(init, ErrorNumber.INVALID_TPPAR, now))
