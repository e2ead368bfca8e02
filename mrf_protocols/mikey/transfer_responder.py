"""Ticket Transfer exchange, the Responder's side, with its RESOLVE_INIT to the KMS (RFC 6043 4.2.2.2, 4.2.3)."""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mrf_protocols.mikey.authentication import (
    NO_FLAGS,
    Account,
    InitMessage,
    PskAccount,
    RandomSource,
    build_init,
)
from mrf_protocols.mikey.csb_update import Bundle, CsbSession
from mrf_protocols.mikey.error import error_message
from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.headers import GenericIdMap, GenericSession, Header
from mrf_protocols.mikey.identity import idr, matches_any, same_identity, text_of
from mrf_protocols.mikey.message import Message, decode
from mrf_protocols.mikey.numbers import (
    PROT_TYPE_TLS,
    SDP_PROTOCOL_IDS,
    DataType,
    ErrorNumber,
    ExtensionType,
    IdRole,
    MacAlg,
    PolicyFlag,
    PrfFunc,
    RandRole,
    TsRole,
)
from mrf_protocols.mikey.payloads import (
    GeneralExtension,
    IdentityWithRole,
    Kemac,
    KeyData,
    Payload,
    RandWithRole,
    SecurityPolicy,
    Timestamp,
)
from mrf_protocols.mikey.policy import (
    InitiatorData,
    Ticket,
    TicketPolicy,
    check_forked_keys,
    check_granted,
    check_type,
    check_validity,
)
from mrf_protocols.mikey.prf import Purpose
from mrf_protocols.mikey.protection import (
    Protector,
    authenticate,
    check_mac_alg,
    check_response,
    message_protector,
    read_report,
    verify,
)
from mrf_protocols.mikey.psk_identity import DEFAULT_PSK_IDENTITY, PskIdentityForm
from mrf_protocols.mikey.suite import Suite, suite_of
from mrf_protocols.mikey.ticket import (
    TicketKey,
    TicketKeys,
    open_ticket,
    select_key,
    session_tek,
    split_keys,
    ticket_key_name,
)
from mrf_protocols.mikey.timestamps import DEFAULT_SKEW, check_fresh, ntp_utc, to_unix
from mrf_protocols.mikey.transfer import TransferResult, policies_of, single_session, supplied_keys

F = PolicyFlag


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What a Responder accepts before it asks the KMS.

    `responders` and `kms` are identity patterns (empty: any), `required` and `refused` flags of the policy,
    `applications` what IDRapp may name, `sdp_ids` the list of key management protocols in the offer (None: do
    not compare; an absent extension is let pass unless `require_sdp_ids`), `policy_parameters` whether SP
    payloads with parameters are taken. `skew` in seconds. `psk_identity` is how the key is called in TLS.
    """

    skew: float = DEFAULT_SKEW
    prfs: tuple[int, ...] = (PrfFunc.MIKEY_1, PrfFunc.PRF_HMAC_SHA_256)
    prot_types: tuple[int, ...] = (PROT_TYPE_TLS,)
    responders: tuple[str, ...] = ()
    kms: tuple[str, ...] = ()
    required: PolicyFlag = NO_FLAGS
    refused: PolicyFlag = NO_FLAGS
    applications: tuple[str, ...] = ()
    sdp_ids: str | None = SDP_PROTOCOL_IDS
    require_sdp_ids: bool = False
    policy_parameters: bool = False
    psk_identity: PskIdentityForm = DEFAULT_PSK_IDENTITY


@dataclass(frozen=True, slots=True)
class ResolvedKeys:
    """Keys of a resolved ticket and the modifier they were forked with; to be kept only when J is set."""

    keys: TicketKeys
    modifier: tuple[Payload, ...]


class TransferResponder:
    """Answer one TRANSFER_INIT.

    Construction reads it and checks all that can be checked without the keys, so that a bad offer costs the
    KMS nothing. Then either `resolve_init` and `resolved`, or `open_locally` (modes 2 and 4), or `reuse`;
    then `respond`.

    Several faults at once are reported in this order: form (12), data type (11), ticket type (14), PRF (2),
    algorithms (3, 4), time (1), policy (15), identities (7), crypto session and security policy (9, 10), SDP
    IDs (12), Vi (0).
    """

    def __init__(self, message: bytes, now: float, acceptance: Acceptance | None = None) -> None:
        acceptance = acceptance or Acceptance()
        self._acceptance = acceptance
        self._message = decode(message)
        if self._message.header.data_type != DataType.TRANSFER_INIT:
            raise MikeyError(ErrorNumber.INVALID_DT, "the message is not TRANSFER_INIT")
        self._ticket = self._message.need(Ticket)
        self._timestamp = self._message.timestamp
        self._suite = _check_algorithms(self._message, self._ticket, acceptance)
        rand_i = self._message.rand(RandRole.INITIATOR)
        # With G, RANDRr makes up for a short RANDRi: RFC 6043 12.1 counts both together.
        shortest = 16 if F.G in self._ticket.policy.flags else self._suite.key_length
        if rand_i is None or len(rand_i) < shortest:
            raise MikeyError(ErrorNumber.UNSPECIFIED, "RANDRi is missing or too short")
        self._rand_i = rand_i
        check_fresh(self._timestamp, now, acceptance.skew)
        _check_policy(self._ticket, now, acceptance)
        self._initiator, self._called = _check_identities(self._message, self._ticket.policy, acceptance)
        self._session, self._own_policy = _check_session(self._message, acceptance)
        _check_sdp_ids(self._message, acceptance)
        self._check_vi()
        self._identity = "" if self._called is None else text_of(self._called, "IDRr")
        self._ticket_id = b""
        self._resolve: InitMessage | None = None
        self._resolved: ResolvedKeys | None = None
        self._bundle: Bundle | None = None

    @property
    def csb_id(self) -> int:
        """CSB ID of the exchange."""
        return self._message.header.csb_id

    @property
    def initiator(self) -> str:
        """Who offers, as TRANSFER_INIT and ticket say; proven once the ticket is resolved."""
        return self._initiator

    @property
    def responder(self) -> str:
        """Who is called (IDRr), "" when the message does not say."""
        return self._identity

    @property
    def policy(self) -> TicketPolicy:
        """The Ticket Policy."""
        return self._ticket.policy

    @property
    def ticket_id(self) -> bytes:
        """Digest that names the ticket, however often it is sent; remember it to refuse reuse when J is not
        set.
        """
        if not self._ticket_id:
            self._ticket_id = self._ticket.identifier
        return self._ticket_id

    @property
    def ticket_expires(self) -> float | None:
        """End of the ticket's validity as Unix time, None when it has no end."""
        return self._ticket.policy.time(TsRole.TR_E)

    @property
    def ticket_key_name(self) -> str | None:
        """Name of the key that the ticket is made with, None when it names none or is no base ticket inside."""
        try:
            return ticket_key_name(self._ticket)
        except MikeyError:
            return None

    @property
    def replay_key(self) -> bytes:
        """What tells this message from every other one: its MAC. Remember it once the MAC is verified."""
        return self._message.verification.mac

    @property
    def replay_until(self) -> float:
        """Unix time from when on the timestamp alone refuses a replay."""
        return to_unix(self._timestamp.type, self._timestamp.value) + self._acceptance.skew

    def resolve_init(
        self,
        *,
        psk: bytes = b"",
        psk_id: str = "",
        account: Account | None = None,
        identity: str,
        kms: str,
        rand: RandomSource,
        now: float,
    ) -> bytes:
        """Give RESOLVE_INIT to `kms`, in the name of `identity`, with the key `psk` shared with the KMS or with an
        `account`, which may be a certificate's.
        """
        csb_id = int.from_bytes(rand(4))
        self._resolve = build_init(
            account or PskAccount(psk, psk_id),
            IdRole.RESPONDER,
            suite=self._suite,
            csb_id=csb_id,
            identity=identity,
            kms=kms,
            subject=self._ticket,
            timestamp=ntp_utc(now),
            rand=rand,
        )
        self._identity = identity
        return self._resolve.data

    def resolved(self, data: bytes, now: float) -> None:
        """Read RESOLVE_RESP and then verify TRANSFER_INIT with the keys in it.

        Raises MikeyError; 0 when either MAC is wrong, the number of the KMS when it sent an Error message.
        """
        self.reuse(self.read_resolution(data, now))

    def read_resolution(self, data: bytes, now: float) -> ResolvedKeys:
        """Read RESOLVE_RESP and give what `reuse` takes; TRANSFER_INIT is not looked at.

        Raises MikeyError, which is then a fault of the KMS's answer, or what the KMS says when it is `reported`.
        """
        if self._resolve is None:
            raise MikeyError(ErrorNumber.UNSPECIFIED, "no RESOLVE_INIT was made")
        init, protector = self._resolve, self._resolve.answer
        message = decode(data)
        check_response(message, init.header, DataType.RESOLVE_RESP, (init.own,))
        verify(message, protector, init.data)
        check_fresh(message.timestamp, now, self._acceptance.skew)
        keys = split_keys(
            protector.open(message.timestamp, message.need(Kemac)), F.I in self._ticket.policy.flags
        )
        modifier: list[Payload] = []
        identity, rand_kms = message.identity(IdRole.RESPONDER), message.rand(RandRole.KMS)
        if identity is not None:
            modifier.append(identity)
        if rand_kms is not None:
            modifier.append(RandWithRole(RandRole.KMS, rand_kms))
        return ResolvedKeys(keys, tuple(modifier))

    def open_locally(self, find_key: Callable[[str | None], TicketKey | None], identity: str) -> None:
        """Open the ticket with a TPK of one's own (modes 2 and 4) and verify TRANSFER_INIT.

        Raises MikeyError.
        """
        if F.E in self._ticket.policy.flags:
            raise MikeyError(ErrorNumber.INVALID_TPPAR, "the policy wants the ticket resolved by the KMS (E)")
        if not any(same_identity(text_of(named, "IDRr"), identity) for named in self.policy.responders):
            raise MikeyError(ErrorNumber.INVALID_ID, "the ticket is for other responders")
        opened = open_ticket(self._ticket, find_key)
        owner = opened.made_with.owner
        if owner is not None and (F.D in self.policy.flags or not matches_any(owner, self._initiator)):
            raise MikeyError(ErrorNumber.INVALID_ID, "the ticket is made in the name of another")
        self._identity = identity
        self.reuse(ResolvedKeys(opened.keys, ()))

    def reported(self, data: bytes) -> MikeyError:
        """Give what an Error message about RESOLVE_INIT says; not ``reported`` when it is none, or not so."""
        if self._resolve is None:
            return MikeyError(ErrorNumber.UNSPECIFIED, "no RESOLVE_INIT was made")
        return read_report(data, self._resolve.header, (self._resolve.own,))

    def reuse(self, resolved: ResolvedKeys) -> None:
        """Verify TRANSFER_INIT with keys of the same ticket, resolved before (RFC 6043 5.3).

        Raises MikeyError.
        """
        check_forked_keys(self._ticket.policy, resolved.keys.session)
        tail = self._initiator_octets() + (self._called.data if self._called else self._identity.encode())
        verify(
            self._message,
            self._protector(resolved.keys, Purpose.INITIAL),
            tail,
            self._message.without_initiator_data(),
        )
        self._resolved = resolved

    @property
    def resolved_keys(self) -> ResolvedKeys:
        """What `reuse` takes for another TRANSFER_INIT with this ticket.

        Raises MikeyError before it is resolved.
        """
        if self._resolved is None:
            raise MikeyError(ErrorNumber.UNSPECIFIED, "the ticket is not resolved")
        return self._resolved

    def _initiator_octets(self) -> bytes:
        initiator = self._message.identity(IdRole.INITIATOR)
        return initiator.data if initiator is not None else self._initiator.encode()

    def _protector(self, keys: TicketKeys, purpose: Purpose, rand_r: bytes = b"") -> Protector:
        forked = F.I in self._ticket.policy.flags and purpose is Purpose.RESPONSE
        inkey = keys.mpkr if forked else keys.mpki
        return message_protector(self._suite, inkey, self.csb_id, purpose, rand_i=self._rand_i, rand_r=rand_r)

    def respond(self, rand: RandomSource, now: float, session_keys: Sequence[KeyData] = ()) -> TransferResult:
        """Derive the TEK and build TRANSFER_RESP when the policy has F.

        `session_keys` are keys of one's own, for policies with M; the first is used for the crypto session.
        Raises MikeyError before `resolved`.
        """
        resolved, flags = self.resolved_keys, self._ticket.policy.flags
        if session_keys and F.M not in flags:
            raise MikeyError(
                ErrorNumber.INVALID_TPPAR, "the policy does not allow the Responder's session keys"
            )
        initial = self._protector(resolved.keys, Purpose.INITIAL)
        supplied = supplied_keys(self._message, initial, F.L in flags)
        known = (*session_keys, *supplied, *resolved.keys.session)
        key = select_key(known, session_keys[0].spi if session_keys else self._session.spi)
        rand_r = rand(self._rand_length(resolved.keys, known)) if F.G in flags else b""
        rand_i = self._rand_i if F.H in flags else b""
        session = replace(self._session, spi=key.spi)
        tek = session_tek(self._suite, key, session.cs_id, rand_i=rand_i, rand_r=rand_r)
        timestamp, message = self._timestamp, b""
        protector = initial
        if F.F in flags:
            timestamp = ntp_utc(now)
            protector = self._protector(resolved.keys, Purpose.RESPONSE, rand_r)
            message = self._response(session, resolved, rand_r, timestamp, protector, session_keys)
        responder = self._answering(resolved)
        name = self._acceptance.psk_identity.write(self.csb_id, session.cs_id, self.ticket_id)
        self._bundle = Bundle(
            flags, self._initiator, responder, protector, session, rand_i, rand_r, timestamp, known, name
        )
        return TransferResult(tek, self.csb_id, session.cs_id, self._initiator, responder, name, message)

    def session(self) -> CsbSession:
        """Give the running session, for CSB updates. Raises MikeyError before `respond`."""
        if self._bundle is None:
            raise MikeyError(ErrorNumber.UNSPECIFIED, "the exchange is not finished")
        return CsbSession(self._bundle, IdRole.RESPONDER, self._acceptance.skew)

    def error(self, number: int, now: float) -> bytes:
        """Give an Error message about this TRANSFER_INIT, with V once the ticket is resolved (RFC 6043 5.4)."""
        resolved = self._resolved
        protector = None if resolved is None else self._protector(resolved.keys, Purpose.INITIAL)
        return error_message(self._message.raw, number, now, protector=protector)

    def _answering(self, resolved: ResolvedKeys) -> str:
        """Give who answers: as the KMS says, else who was called."""
        for payload in resolved.modifier:
            if isinstance(payload, IdentityWithRole):
                return text_of(payload, "IDRr")
        return self._identity

    def _rand_length(self, keys: TicketKeys, session: Sequence[KeyData]) -> int:
        """Octets of RANDRr: with RANDRi no fewer than the longest MPK, TGK and GTGK have (RFC 6043 12.1)."""
        longest = max(map(len, (keys.mpki, keys.mpkr, *(key.key for key in session))))
        return min(max(self._suite.key_length, longest - len(self._rand_i)), 255)

    def _response(
        self,
        session: GenericSession,
        resolved: ResolvedKeys,
        rand_r: bytes,
        timestamp: Timestamp,
        protector: Protector,
        session_keys: Sequence[KeyData],
    ) -> bytes:
        payloads: list[Payload] = [timestamp]
        if rand_r:
            payloads.append(RandWithRole(RandRole.RESPONDER, rand_r))
        if not any(isinstance(payload, IdentityWithRole) for payload in resolved.modifier):
            payloads.append(idr(IdRole.RESPONDER, self._identity))
        payloads += resolved.modifier
        if self._own_policy is not None:
            payloads.append(self._own_policy)
        if session_keys:
            payloads.append(protector.seal(timestamp, session_keys))
        cs_map = GenericIdMap((session,))
        header = Header(DataType.TRANSFER_RESP, self.csb_id, self._suite.prf_func, False, cs_map)
        return authenticate(header, payloads, protector, self._message.raw)

    def _check_vi(self) -> None:
        """With key forking Vi must be the copy of V; without it there is no Initiator Data (errors 15, 0)."""
        data = self._ticket.initiator_data
        if F.I not in self._ticket.policy.flags:
            if data:
                raise MikeyError(ErrorNumber.INVALID_TPPAR, "Initiator Data without key forking")
            return
        vi = InitiatorData.decode(data).vi
        check_mac_alg(vi, self._suite)
        if not hmac.compare_digest(vi.mac, self._message.verification.mac):
            raise MikeyError(ErrorNumber.AUTH_FAILURE, "Vi is not the V of the message")


def _check_algorithms(message: Message, ticket: Ticket, acceptance: Acceptance) -> Suite:
    check_type(ticket.policy)
    suite = suite_of(message.header.prf)
    if message.header.prf not in acceptance.prfs or ticket.policy.prf != message.header.prf:
        raise MikeyError(
            ErrorNumber.INVALID_PRF, "PRF func is not accepted, or another in message and ticket"
        )
    check_mac_alg(message.verification, suite)
    kemac = message.first(Kemac)
    if kemac is not None and kemac.encr_alg != suite.encr_alg:
        raise MikeyError(ErrorNumber.INVALID_EA, f"Encr alg {kemac.encr_alg} is not of this suite")
    if kemac is not None and kemac.mac_alg != MacAlg.NULL:
        raise MikeyError(ErrorNumber.INVALID_MAC, "a KEMAC of MIKEY-TICKET has the NULL MAC")
    return suite


def _check_policy(ticket: Ticket, now: float, acceptance: Acceptance) -> None:
    policy = ticket.policy
    check_granted(policy)
    if F.O not in policy.flags:
        raise MikeyError(ErrorNumber.INVALID_TPPAR, "the ticket needs processing beyond RFC 6043 (O)")
    if acceptance.required & ~policy.flags or acceptance.refused & policy.flags:
        raise MikeyError(ErrorNumber.INVALID_TPPAR, "the flags of the policy are not accepted")
    check_validity(policy, now, acceptance.skew)
    applications = [
        p for p in policy.payloads if isinstance(p, IdentityWithRole) and p.role == IdRole.APPLICATION
    ]
    if applications and not any(text_of(p, "IDRapp") in acceptance.applications for p in applications):
        raise MikeyError(ErrorNumber.INVALID_TPPAR, "the ticket is for other applications")


def _check_identities(
    message: Message, policy: TicketPolicy, acceptance: Acceptance
) -> tuple[str, IdentityWithRole | None]:
    """Give who offers, and IDRr. IDRi must be whom the ticket names (error 7)."""
    named, sent = policy.identity(IdRole.INITIATOR), message.identity(IdRole.INITIATOR)
    initiator = text_of(named if sent is None else sent, "IDRi")
    if named is not None and not same_identity(initiator, text_of(named, "IDRi of the ticket")):
        raise MikeyError(ErrorNumber.INVALID_ID, "IDRi is not the initiator that the ticket names")
    called = message.identity(IdRole.RESPONDER)
    wanted = acceptance.responders
    if called is not None and wanted and not matches_any(wanted, text_of(called, "IDRr")):
        raise MikeyError(ErrorNumber.INVALID_ID, "IDRr is nobody here")
    kms = policy.identity(IdRole.KMS)
    if kms is not None and acceptance.kms and not matches_any(acceptance.kms, text_of(kms, "IDRkms")):
        raise MikeyError(ErrorNumber.INVALID_ID, "the ticket is of a KMS not known here")
    return initiator, called


def _check_session(message: Message, acceptance: Acceptance) -> tuple[GenericSession, SecurityPolicy | None]:
    """Give the crypto session with the one policy chosen, and the SP to send when the Initiator gave none."""
    session = single_session(message)
    if session.prot_type not in acceptance.prot_types:
        raise MikeyError(ErrorNumber.INVALID_SP, f"prot type {session.prot_type} is not accepted")
    if not session.policies:
        return replace(session, policies=(0,)), SecurityPolicy(0, session.prot_type)
    offered = policies_of(message, session.prot_type)
    for number in session.policies:
        policy = offered.get(number)
        if policy is not None and (acceptance.policy_parameters or not policy.parameters):
            return replace(session, policies=(number,)), None
    if any(number in offered for number in session.policies):
        raise MikeyError(ErrorNumber.INVALID_SPPAR, "the parameters of the security policy are not supported")
    raise MikeyError(ErrorNumber.INVALID_SP, "no security policy offered for the crypto session")


def _check_sdp_ids(message: Message, acceptance: Acceptance) -> None:
    """Compare the "SDP IDs" with those of the offer: different ones are refused (RFC 4567 4.1.4, error 12)."""
    if acceptance.sdp_ids is None:
        return
    listed = [
        payload.data
        for payload in message.payloads
        if isinstance(payload, GeneralExtension) and payload.type == ExtensionType.SDP_IDS
    ]
    if any(data != acceptance.sdp_ids.encode() for data in listed) or (
        acceptance.require_sdp_ids and not listed
    ):
        raise MikeyError(
            ErrorNumber.UNSPECIFIED, "the list of key management protocols is not that of the offer"
        )
