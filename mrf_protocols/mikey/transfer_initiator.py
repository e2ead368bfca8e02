"""Ticket Transfer exchange, the Initiator's side (RFC 6043 4.2.2.1, 4.2.2.4)."""

from collections.abc import Sequence
from dataclasses import replace

from mrf_protocols.mikey.authentication import RandomSource
from mrf_protocols.mikey.csb_update import Bundle, CsbSession
from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.headers import GenericIdMap, GenericSession, Header
from mrf_protocols.mikey.identity import idr, same_identity, text_of
from mrf_protocols.mikey.message import Message, decode, encode
from mrf_protocols.mikey.numbers import (
    PROT_TYPE_TLS,
    SDP_PROTOCOL_IDS,
    DataType,
    ErrorNumber,
    ExtensionType,
    IdRole,
    KeyType,
    PolicyFlag,
    RandRole,
)
from mrf_protocols.mikey.payloads import (
    GeneralExtension,
    KeyData,
    Payload,
    RandWithRole,
    SecurityPolicy,
    Timestamp,
    Verification,
)
from mrf_protocols.mikey.policy import InitiatorData, Ticket, check_granted
from mrf_protocols.mikey.prf import Purpose
from mrf_protocols.mikey.protection import Protector, check_response, message_protector, read_report, verify
from mrf_protocols.mikey.psk_identity import DEFAULT_PSK_IDENTITY, PskIdentityForm
from mrf_protocols.mikey.suite import suite_of
from mrf_protocols.mikey.ticket import (
    GrantedTicket,
    TicketKeys,
    fork_keys,
    initiator_auth_key,
    select_key,
    session_tek,
)
from mrf_protocols.mikey.timestamps import DEFAULT_SKEW, check_fresh, ntp_utc
from mrf_protocols.mikey.transfer import TransferResult, policies_of, single_session, supplied_keys

F = PolicyFlag
POLICY_NO = 0
CS_ID = 1


class TransferInitiator:
    """Offer a ticket to a Responder: one crypto session, TLS.

    `initiator` and `responder` are KMS user identities; `sdp_ids` lists the key management protocols of the
    offer ("SDP IDs" extension, RFC 4567 4.1.4), None leaves it out; `session_keys` are keys of one's own,
    sent in a KEMAC when the policy has L; `psk_identity` is how the key is called in TLS. A ticket without J
    is good for one object of this class.
    """

    def __init__(
        self,
        ticket: GrantedTicket,
        initiator: str,
        responder: str,
        *,
        csb_id: int,
        rand: RandomSource,
        now: float,
        prot_type: int = PROT_TYPE_TLS,
        sdp_ids: str | None = SDP_PROTOCOL_IDS,
        session_keys: Sequence[KeyData] = (),
        skew: float = DEFAULT_SKEW,
        psk_identity: PskIdentityForm = DEFAULT_PSK_IDENTITY,
    ) -> None:
        policy = ticket.policy
        check_granted(policy)
        if F.N not in policy.flags:
            raise MikeyError(ErrorNumber.INVALID_TPPAR, "the ticket needs processing beyond RFC 6043 (N)")
        if session_keys and F.L not in policy.flags:
            raise MikeyError(
                ErrorNumber.INVALID_TPPAR, "the policy does not allow the Initiator's session keys"
            )
        self.policy = policy
        self._suite = suite_of(policy.prf)
        self._flags, self._skew = policy.flags, skew
        self._keys, self._own_keys = ticket.keys, tuple(session_keys)
        self._initiator, self._responder = initiator, responder
        self._responders = {text_of(named, "IDRr") for named in policy.responders} | {responder}
        spi = select_key(self._own_keys or self._keys.session, b"").spi
        self._session = GenericSession(CS_ID, prot_type, (POLICY_NO,), spi)
        cs_map = GenericIdMap((self._session,))
        self._header = Header(
            DataType.TRANSFER_INIT, csb_id, self._suite.prf_func, F.F in policy.flags, cs_map
        )
        self._bundle: Bundle | None = None
        self._psk_identity = psk_identity.write(csb_id, CS_ID, ticket.ticket.identifier)
        self._rand_i = rand(self._rand_length())
        protector = self._protector(self._keys.mpki, Purpose.INITIAL, b"")
        self._init = self._build(ticket.ticket, protector, ntp_utc(now), sdp_ids)

    def _rand_length(self) -> int:
        """Octets of RANDRi: no fewer than the longest MPK, TGK and GTGK have (RFC 6043 12.1)."""
        keys = (
            self._keys.mpki,
            self._keys.mpkr,
            *(key.key for key in (*self._keys.session, *self._own_keys)),
        )
        return min(max(self._suite.key_length, *map(len, keys)), 255)

    def _protector(self, inkey: bytes, purpose: Purpose, rand_r: bytes) -> Protector:
        csb_id = self._header.csb_id
        return message_protector(self._suite, inkey, csb_id, purpose, rand_i=self._rand_i, rand_r=rand_r)

    def _build(
        self, ticket: Ticket, protector: Protector, timestamp: Timestamp, sdp_ids: str | None
    ) -> bytes:
        initiator, responder = idr(IdRole.INITIATOR, self._initiator), idr(IdRole.RESPONDER, self._responder)
        before: list[Payload] = [
            timestamp,
            RandWithRole(RandRole.INITIATOR, self._rand_i),
            initiator,
            responder,
            SecurityPolicy(POLICY_NO, self._session.prot_type),
        ]
        after: list[Payload] = []
        if self._own_keys:
            after.append(protector.seal(timestamp, self._own_keys))
        if sdp_ids is not None:
            after.append(GeneralExtension(ExtensionType.SDP_IDS, sdp_ids.encode()))
        return self._authenticate(before, ticket, after, protector, initiator.data + responder.data)

    def _authenticate(
        self, before: list[Payload], ticket: Ticket, after: list[Payload], protector: Protector, *tail: bytes
    ) -> bytes:
        """Add V, whose MAC leaves out Initiator Data and its length; then Initiator Data, which holds V."""
        suite = self._suite
        unsigned = Verification(suite.mac_alg, bytes(suite.mac_length))
        message = Message(self._header, (*before, replace(ticket, initiator_data=b""), *after, unsigned))
        whole = encode(message)
        following = sum(len(payload.encode(0)) for payload in (*after, unsigned))
        covered = whole[: -following - 2] + whole[-following : -suite.mac_length]
        v = Verification(suite.mac_alg, suite.mac(protector.auth_key(), covered + b"".join(tail)))
        if F.I in self._flags:
            ticket = replace(ticket, initiator_data=self._initiator_data(v))
        return encode(Message(self._header, (*before, ticket, *after, v)))

    def _initiator_data(self, v: Verification) -> bytes:
        suite = self._suite
        unsigned = InitiatorData(v, Verification(suite.mac_alg, bytes(suite.mac_length))).encode()
        covered = unsigned[: -suite.mac_length]
        return covered + suite.mac(initiator_auth_key(suite, self._keys.mpkr), covered)

    @property
    def csb_id(self) -> int:
        """CSB ID of the exchange."""
        return self._header.csb_id

    def init(self) -> bytes:
        """Give TRANSFER_INIT."""
        return self._init

    @property
    def awaits_response(self) -> bool:
        """Whether the policy wants TRANSFER_RESP (F): then the key is not to be used before it has come."""
        return F.F in self._flags

    def early_result(self) -> TransferResult | None:
        """Give the key before any answer, when it can be known then: no RANDRr (G), no TGK to be forked (I), no
        keys of the Responder's own (M).
        """
        keys = (*self._own_keys, *self._keys.session)
        forked = F.I in self._flags and not self._own_keys and keys[0].type in (KeyType.TGK, KeyType.TGK_SALT)
        if self._flags & (F.G | F.M) or forked:
            return None
        return self._result(keys, self._session.spi, b"", self._responder)

    def response(self, data: bytes, now: float) -> TransferResult:
        """Read TRANSFER_RESP. Raises MikeyError; for an Error message with its number."""
        message = decode(data)
        initial = self._protector(self._keys.mpki, Purpose.INITIAL, b"")
        check_response(message, self._header, DataType.TRANSFER_RESP, (initial,))
        rand_r = message.rand(RandRole.RESPONDER) or b""
        if (F.G in self._flags) != bool(rand_r):
            raise MikeyError(ErrorNumber.INVALID_TPPAR, "RANDRr does not agree with flag G")
        if rand_r and len(rand_r) < 16:
            raise MikeyError(ErrorNumber.UNSPECIFIED, "RANDRr is too short")
        keys = self._forked(message)
        inkey = keys.mpkr if F.I in self._flags else keys.mpki
        protector = self._protector(inkey, Purpose.RESPONSE, rand_r)
        verify(message, protector, self._init)
        check_fresh(message.timestamp, now, self._skew)
        responder = self._check_responder(message)
        session = self._check_session(message)
        supplied = supplied_keys(message, protector, F.M in self._flags)
        known = (*supplied, *self._own_keys, *keys.session)
        result = self._result(known, session.spi, rand_r, responder)
        self._bundle = self._left(protector, session, rand_r, responder, message.timestamp, known)
        return result

    def reported(self, data: bytes) -> MikeyError:
        """Give what an Error message about this TRANSFER_INIT says; not ``reported`` when it is none, or not so."""
        initial = self._protector(self._keys.mpki, Purpose.INITIAL, b"")
        return read_report(data, self._header, (initial,))

    def session(self) -> CsbSession:
        """Give the running session, for CSB updates: after `response`, or at once when the policy has no F.

        Raises MikeyError before.
        """
        if self._bundle is None:
            if F.F in self._flags:
                raise MikeyError(ErrorNumber.UNSPECIFIED, "TRANSFER_RESP has not come")
            protector = self._protector(self._keys.mpki, Purpose.INITIAL, b"")
            known = (*self._keys.session, *self._own_keys)
            timestamp = decode(self._init).timestamp
            self._bundle = self._left(protector, self._session, b"", self._responder, timestamp, known)
        return CsbSession(self._bundle, IdRole.INITIATOR, self._skew)

    def _left(
        self,
        protector: Protector,
        session: GenericSession,
        rand_r: bytes,
        responder: str,
        last: Timestamp,
        keys: tuple[KeyData, ...],
    ) -> Bundle:
        rand_i = self._rand_i if F.H in self._flags else b""
        initiator = self._initiator
        name = self._psk_identity
        return Bundle(self._flags, initiator, responder, protector, session, rand_i, rand_r, last, keys, name)

    def _forked(self, message: Message) -> TicketKeys:
        if F.I not in self._flags:
            return self._keys
        identity, rand_kms = message.identity(IdRole.RESPONDER), message.rand(RandRole.KMS)
        if identity is None or rand_kms is None:
            raise MikeyError(ErrorNumber.UNSPECIFIED, "keys are forked and the modifier is missing")
        return fork_keys(self._suite, self._keys, identity.data, rand_kms)

    def _check_responder(self, message: Message) -> str:
        """Give who answers: another than was called only if the ticket names it (error 7)."""
        identity = message.identity(IdRole.RESPONDER)
        if identity is None:
            return self._responder
        name = text_of(identity, "IDRr")
        if not any(same_identity(name, allowed) for allowed in self._responders):
            raise MikeyError(ErrorNumber.INVALID_ID, "who answers is not a responder of the ticket")
        return name

    def _check_session(self, message: Message) -> GenericSession:
        """Check that the answer has our crypto session with one policy that we offered or can take (error 9,
        10).
        """
        session = single_session(message)
        if (session.cs_id, session.prot_type) != (self._session.cs_id, self._session.prot_type):
            raise MikeyError(ErrorNumber.INVALID_SP, "the crypto session of the response is another")
        if len(session.policies) != 1 or not session.spi:
            raise MikeyError(ErrorNumber.INVALID_SP, "the response does not name one policy and one key")
        own = policies_of(message, session.prot_type).get(session.policies[0])
        if own is None and session.policies[0] != POLICY_NO:
            raise MikeyError(ErrorNumber.INVALID_SP, "the response names a policy that nobody gave")
        if own is not None and own.parameters:
            raise MikeyError(ErrorNumber.INVALID_SPPAR, "the response gives policy parameters not offered")
        return session

    def _result(self, keys: tuple[KeyData, ...], spi: bytes, rand_r: bytes, responder: str) -> TransferResult:
        key = select_key(keys, spi)
        rand_i = self._rand_i if F.H in self._flags else b""
        cs_id = self._session.cs_id
        tek = session_tek(self._suite, key, cs_id, rand_i=rand_i, rand_r=rand_r)
        name = self._psk_identity
        return TransferResult(tek, self._header.csb_id, cs_id, self._initiator, responder, name)
