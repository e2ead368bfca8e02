"""CSB update: new keys for a running crypto session bundle, from either end (RFC 6043 5.2), sans-IO.

A `CsbSession` begins where the Ticket Transfer exchange ends, one at each end (`TransferInitiator.session`,
`TransferResponder.session`). Whoever starts an update calls `start`, the other end `receive`, and the first
one `finish`. Messages stay under the keys that protected the last message of the initial exchange, and no
RANDs or tickets are sent again. T is the one part of the IV that changes, so none is ever used twice in a
session, whoever sends.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.headers import GenericIdMap, GenericSession, Header
from mrf_protocols.mikey.identity import idr, same_identity, text_of
from mrf_protocols.mikey.message import Message, decode
from mrf_protocols.mikey.numbers import DataType, ErrorNumber, IdRole, PolicyFlag, TsType
from mrf_protocols.mikey.payloads import (
    IdentityWithRole,
    KeyData,
    Payload,
    RandWithRole,
    SecurityPolicy,
    Timestamp,
)
from mrf_protocols.mikey.policy import Ticket
from mrf_protocols.mikey.protection import Protector, authenticate, check_response, verify
from mrf_protocols.mikey.suite import Suite
from mrf_protocols.mikey.ticket import select_key, session_tek
from mrf_protocols.mikey.timestamps import DEFAULT_SKEW, check_fresh, ntp_utc
from mrf_protocols.mikey.transfer import TransferResult, single_session, supplied_keys

F = PolicyFlag


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the initial exchange left behind: who, under which policy and keys, and the one crypto session.

    `rand_i` and `rand_r` are those that go into session keys (b"" where H or G are not set); `last` is T of the
    last message; `keys` are the session keys known so far. `psk_identity` names whichever of them is in use.
    """

    flags: PolicyFlag
    initiator: str
    responder: str
    protector: Protector
    session: GenericSession
    rand_i: bytes
    rand_r: bytes
    last: Timestamp
    keys: tuple[KeyData, ...] = field(repr=False)
    psk_identity: str


class CsbSession:
    """One end's view of a crypto session bundle; `role` is its role in the initial exchange."""

    def __init__(self, bundle: Bundle, role: IdRole, skew: float = DEFAULT_SKEW) -> None:
        self._bundle, self._role, self._skew = bundle, role, skew
        self._pending: tuple[bytes, tuple[KeyData, ...]] | None = None

    @property
    def csb_id(self) -> int:
        """CSB ID of the bundle, which stays the same."""
        return self._bundle.protector.csb_id

    @property
    def suite(self) -> Suite:
        """The algorithms of the session."""
        return self._bundle.protector.suite

    @property
    def supplies_keys(self) -> bool:
        """Whether the policy lets this end put session keys in (L of the Initiator, M of the Responder)."""
        return self._may_send(self._role)

    @property
    def result(self) -> TransferResult:
        """Present key of the crypto session."""
        bundle = self._bundle
        key = select_key(bundle.keys, bundle.session.spi)
        suite, cs_id = bundle.protector.suite, bundle.session.cs_id
        tek = session_tek(suite, key, cs_id, rand_i=bundle.rand_i, rand_r=bundle.rand_r)
        return TransferResult(
            tek, self.csb_id, cs_id, bundle.initiator, bundle.responder, bundle.psk_identity
        )

    def start(self, *, now: float, keys: Sequence[KeyData] = (), response: bool = True) -> bytes:
        """Give TRANSFER_INIT of an update.

        `keys` are new session keys, the first for the crypto session; without any the peer is asked for one.
        Without `response` they count at once. Raises MikeyError (error 15) when the policy does not allow them.
        """
        if self._pending is not None:
            raise MikeyError(ErrorNumber.UNSPECIFIED, "an update is under way")
        if not response and not keys:
            raise MikeyError(ErrorNumber.UNSPECIFIED, "an update without response brings a key")
        session = replace(self._bundle.session, spi=keys[0].spi if keys else b"")
        message = self._build(DataType.TRANSFER_INIT, session, keys, now, response, self._identities())
        if response:
            self._pending = message, tuple(keys)
        else:
            self._take(keys, session)
        return message

    def finish(self, data: bytes, now: float) -> TransferResult:
        """Read the peer's TRANSFER_RESP to our update. Raises MikeyError; the session then goes on as it was."""
        message = decode(data)
        if self._pending is None:
            raise MikeyError(ErrorNumber.UNSPECIFIED, "no update is under way")
        (sent, offered), protector = self._pending, self._bundle.protector
        check_response(message, decode(sent).header, DataType.TRANSFER_RESP, (protector,))
        verify(message, protector, sent)
        session, theirs = self._read(message, now)
        self._take((*theirs, *offered), session)
        self._bundle = replace(self._bundle, last=message.timestamp)
        self._pending = None
        return self.result

    def abandon(self) -> None:
        """Forget an update of ours that got no answer; the keys in it are not used."""
        self._pending = None

    def receive(self, data: bytes, *, now: float, keys: Sequence[KeyData] = ()) -> TransferResult:
        """Read the peer's TRANSFER_INIT of an update; ``message`` of the result is the TRANSFER_RESP, if it wants one.

        `keys` are session keys of our own to put in. Raises MikeyError; the session then goes on as it was.
        """
        message = decode(data)
        header, bundle = message.header, self._bundle
        if header.data_type != DataType.TRANSFER_INIT:
            raise MikeyError(ErrorNumber.INVALID_DT, f"data type {header.data_type} is no CSB update")
        if (header.csb_id, header.prf) != (self.csb_id, bundle.protector.suite.prf_func):
            raise MikeyError(ErrorNumber.UNSPECIFIED, "CSB ID or PRF func is another than the session's")
        if any(isinstance(payload, Ticket | RandWithRole) for payload in message.payloads):
            raise MikeyError(ErrorNumber.UNSPECIFIED, "a CSB update brings no new RANDs or tickets")
        if self._pending is not None:
            raise MikeyError(ErrorNumber.UNSPECIFIED, "an update of ours is under way")
        verify(message, bundle.protector, self._named(message, IdRole.INITIATOR, IdRole.RESPONDER))
        session, theirs = self._read(message, now)
        wanted = keys[0].spi if keys and header.v_flag else session.spi
        if not wanted and not header.v_flag:
            raise MikeyError(ErrorNumber.INVALID_SP, "the update names no key and wants no response")
        chosen = replace(session, spi=select_key((*keys, *theirs, *bundle.keys), wanted).spi)
        self._bundle = replace(bundle, last=message.timestamp)
        answer = b""
        if header.v_flag:
            own = (idr(self._role, self._own_name),)
            answer = self._build(DataType.TRANSFER_RESP, chosen, keys, now, False, own, data)
        self._take((*keys, *theirs), chosen)
        return replace(self.result, message=answer)

    # --- both ways

    @property
    def _own_name(self) -> str:
        return self._bundle.initiator if self._role == IdRole.INITIATOR else self._bundle.responder

    def _identities(self) -> tuple[IdentityWithRole, ...]:
        """Give our identity and then the peer's, as in a TRANSFER_INIT."""
        one = idr(IdRole.INITIATOR, self._bundle.initiator)
        other = idr(IdRole.RESPONDER, self._bundle.responder)
        return (one, other) if self._role == IdRole.INITIATOR else (other, one)

    def _named(self, message: Message, *roles: IdRole) -> bytes:
        """Give Identity_i and Identity_r, as sent or else as known; others are refused (error 7)."""
        known = {IdRole.INITIATOR: self._bundle.initiator, IdRole.RESPONDER: self._bundle.responder}
        octets = b""
        for role in roles:
            sent = message.identity(role)
            if sent is not None and not same_identity(text_of(sent, role.name), known[role]):
                raise MikeyError(ErrorNumber.INVALID_ID, "an identity is another than the session's")
            octets += known[role].encode() if sent is None else sent.data
        return octets

    def _may_send(self, role: IdRole) -> bool:
        return (F.L if role == IdRole.INITIATOR else F.M) in self._bundle.flags

    def _build(
        self,
        kind: DataType,
        session: GenericSession,
        keys: Sequence[KeyData],
        now: float,
        v_flag: bool,
        identities: Sequence[IdentityWithRole],
        initial: bytes | None = None,
    ) -> bytes:
        bundle = self._bundle
        if keys and not self._may_send(self._role):
            raise MikeyError(ErrorNumber.INVALID_TPPAR, "the policy does not allow session keys of our own")
        timestamp = _after(bundle.last, now)
        payloads: list[Payload] = [timestamp, *identities]
        if kind == DataType.TRANSFER_INIT:
            payloads += [SecurityPolicy(number, session.prot_type) for number in session.policies]
        if keys:
            payloads.append(bundle.protector.seal(timestamp, keys))
        suite = bundle.protector.suite
        header = Header(kind, self.csb_id, suite.prf_func, v_flag, GenericIdMap((session,)))
        tail = initial
        if tail is None:
            tail = bundle.initiator.encode() + bundle.responder.encode()
        self._bundle = replace(bundle, last=timestamp)
        return authenticate(header, payloads, bundle.protector, tail)

    def _read(self, message: Message, now: float) -> tuple[GenericSession, tuple[KeyData, ...]]:
        """Check time and crypto session of an authentic message; gives the session and the keys in it."""
        bundle = self._bundle
        timestamp = message.timestamp
        check_fresh(timestamp, now, self._skew)
        if not _newer(timestamp, bundle.last):
            raise MikeyError(ErrorNumber.INVALID_TS, "the timestamp is not newer than the last one")
        session = single_session(message)
        if (session.cs_id, session.prot_type) != (bundle.session.cs_id, bundle.session.prot_type):
            raise MikeyError(ErrorNumber.INVALID_SP, "the crypto session of the update is another")
        if session.policies != bundle.session.policies:
            raise MikeyError(ErrorNumber.INVALID_SP, "the security policy of the update is another")
        peer = IdRole.RESPONDER if self._role == IdRole.INITIATOR else IdRole.INITIATOR
        return session, supplied_keys(message, bundle.protector, self._may_send(peer))

    def _take(self, keys: Sequence[KeyData], session: GenericSession) -> None:
        """Know these keys from now on, before older ones of the same SPI; use the one that `session` names."""
        if not session.spi:
            raise MikeyError(ErrorNumber.INVALID_SP, "the crypto session names no key")
        spis = {key.spi for key in keys}
        known = (*keys, *(key for key in self._bundle.keys if key.spi not in spis))
        select_key(known, session.spi)
        self._bundle = replace(self._bundle, keys=known, session=session)


def is_csb_update(data: bytes) -> bool:
    """Tell whether octets are a TRANSFER_INIT that updates a session: one without a ticket (RFC 6043 5.2)."""
    try:
        message = decode(data)
    except MikeyError:
        return False
    return message.header.data_type == DataType.TRANSFER_INIT and message.first(Ticket) is None


def _after(last: Timestamp, now: float) -> Timestamp:
    """Give T for `now`, or the next value after `last` when the clock has not gone on since."""
    timestamp = ntp_utc(now)
    return timestamp if _newer(timestamp, last) else Timestamp(last.type, last.value + 1)


def _newer(one: Timestamp, other: Timestamp) -> bool:
    return _ntp(one) > _ntp(other)


def _ntp(timestamp: Timestamp) -> int:
    """Give T as a 64-bit NTP value that grows across the end of the first era in 2036 (RFC 4330 3)."""
    value = timestamp.value << 32 if timestamp.type == TsType.NTP_UTC_32 else timestamp.value
    return value if value >> 63 else value + (1 << 64)
