"""What both ends of the Ticket Transfer exchange share (RFC 6043 4.2.2)."""

from dataclasses import dataclass, field

from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.headers import GenericIdMap, GenericSession
from mrf_protocols.mikey.message import Message
from mrf_protocols.mikey.numbers import ErrorNumber, KeyType
from mrf_protocols.mikey.payloads import Kemac, KeyData, SecurityPolicy
from mrf_protocols.mikey.protection import Protector


@dataclass(frozen=True, slots=True)
class TransferResult:
    """What the exchange gives: the TEK of the crypto session, which is the TLS pre-shared key.

    `psk_identity` is its name in TLS, for example "55667788.1"; `message` is TRANSFER_RESP with the Responder
    when one has to be sent, else b"".
    """

    tek: bytes = field(repr=False)
    csb_id: int
    cs_id: int
    initiator: str
    responder: str
    psk_identity: str
    message: bytes = field(default=b"", repr=False)


def single_session(message: Message) -> GenericSession:
    """Give the one crypto session of a message. Raises MikeyError (error 9)."""
    cs_map = message.header.cs_map
    if not isinstance(cs_map, GenericIdMap) or len(cs_map.sessions) != 1:
        raise MikeyError(
            ErrorNumber.INVALID_SP, "there is not exactly one crypto session in a GENERIC-ID map"
        )
    return cs_map.sessions[0]


def policies_of(message: Message, prot_type: int) -> dict[int, SecurityPolicy]:
    """Give the SP payloads for a protocol, by policy number."""
    return {
        payload.policy_no: payload
        for payload in message.payloads
        if isinstance(payload, SecurityPolicy) and payload.prot_type == prot_type
    }


def supplied_keys(message: Message, protector: Protector, allowed: bool) -> tuple[KeyData, ...]:
    """Give the session keys that the sender put in a KEMAC; refuse one that the policy forbids (error 15)."""
    kemac = message.first(Kemac)
    if kemac is None:
        return ()
    if not allowed:
        raise MikeyError(ErrorNumber.INVALID_TPPAR, "the policy does not allow session keys from the sender")
    keys = protector.open(message.timestamp, kemac)
    if any(key.type == KeyType.MPK for key in keys):
        raise MikeyError(ErrorNumber.UNSPECIFIED, "an MPK is no session key")
    return keys
