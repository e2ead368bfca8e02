"""What the KMS does with one request: octets in, octets and what to write down out. No sockets, no clock, no store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from mrf_kms.access import TICKET_NAME_LENGTH, Access
from mrf_kms.entries import AuditRecord, Entry
from mrf_kms.image import Image
from mrf_kms.rates import RateExceeded, RateLimiter, Replayed, Replays
from mrf_protocols.mikey import (
    SUITE_128,
    SUITE_256,
    Credential,
    DataType,
    EnvelopeOpener,
    ErrorNumber,
    KmsRules,
    MikeyError,
    PolicyFlag,
    PublicKeys,
    Suite,
    TicketKey,
    certified_identities,
    decode,
    error_message,
    issue_ticket,
    message_name,
    resolve_ticket,
)
from mrf_protocols.mikey.certificates import marks_of
from mrf_protocols.mikey.identity import matches_any, text_of
from mrf_protocols.mikey.numbers import IdRole
from mrf_protocols.mikey.policy import Ticket
from mrf_protocols.mikey.ticket import ticket_key_name

_BAD_REQUEST = frozenset(
    {
        ErrorNumber.UNSPECIFIED,
        ErrorNumber.INVALID_DT,
        ErrorNumber.INVALID_PRF,
        ErrorNumber.INVALID_MAC,
        ErrorNumber.INVALID_EA,
        ErrorNumber.INVALID_HA,
        ErrorNumber.UNSUPPORTED_MESSAGE,
    }
)
"""Errors in the form of a message; all others mean that the KMS understood and refuses."""
MAX_NAME = 256
"""Characters of a name from a refused message that are written down."""


class RequestType(Enum):
    """What the query part of the URL asks for."""

    TICKET_REQUEST = "ticketrequest"
    TICKET_RESOLVE = "ticketresolve"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended: HTTP `status` and `body`, and words for log, trace and audit.

    `request` and `response` are names of messages; `reason` is "" when the ticket was granted or resolved, `fault`
    names the error that was answered then.
    `psk_id` of a refused request is what it claims. `ticket` is the ticket's id in hexadecimal digits.
    """

    status: int
    body: bytes
    request: str
    response: str
    csb_id: int = 0
    psk_id: str = ""
    initiator: str = ""
    responders: tuple[str, ...] = ()
    reason: str = ""
    fault: str = ""
    ticket: str = ""
    replay_key: bytes | None = field(default=None, repr=False)
    replay_until: float = 0.0
    rate_exceeded: bool = False
    replayed: bool = False
    repeated: bool = False
    """The same refusal was given just before: not worth another record."""

    def entry(self, now: float, call_id: str, *, audited: bool) -> Entry:
        """Give what has to be in the store before this outcome may leave."""
        record = AuditRecord(
            now,
            self.request,
            self.psk_id,
            self.initiator,
            self.responders,
            self.ticket,
            self.reason or "granted",
            call_id,
        )
        return Entry(self.replay_key, self.replay_until, record if audited else None)


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator decided: see configs/kms.toml.

    `openers` are the private keys for REQUEST_INIT_PK and RESOLVE_INIT_PK (none: refused), `trusted` the
    authorities (DER) whose certificates need not be registered.
    """

    identity: str
    clock_skew: float = 60.0
    ticket_lifetime: float = 86400.0
    allow_reuse: bool = False
    self_made: bool = True
    open_access: bool = True
    suites: tuple[Suite, ...] = (SUITE_128, SUITE_256)
    openers: tuple[EnvelopeOpener, ...] = ()
    trusted: tuple[bytes, ...] = ()


class KmsService:
    """Grants and resolves tickets. `rand` gives random octets."""

    def __init__(self, settings: Settings, limiter: RateLimiter, rand: Callable[[int], bytes]) -> None:
        self._settings, self._limiter, self._rand = settings, limiter, rand
        self._replays = Replays()

    def handle(
        self, kind: RequestType, request: bytes, image: Image, now: float, extra: Sequence[Credential] = ()
    ) -> Outcome:
        """Decide on one message at Unix time `now`, from what the store holds; `extra` are keys from elsewhere.

        The outcome may leave once its entry is in the store. Raises StoreError only.
        """
        name, csb_id = message_name(request), int.from_bytes(request[4:8])
        elsewhere = {credential.psk_id: credential for credential in extra}
        rules = self._rules(image, now)
        try:
            if kind is RequestType.TICKET_REQUEST:
                return self._issue(request, rules, image, elsewhere, now)
            return self._resolve(request, rules, image, elsewhere, now)
        except MikeyError as error:
            status = 400 if error.number in _BAD_REQUEST else 403
            body = error_message(request, error.number, now, protector=error.protector)
            psk_id, initiator, responders = claims(request)
            fault = fault_name(error.number)
            return Outcome(
                status, body, name, "Error", csb_id, psk_id, initiator, responders, str(error), fault
            )
        except Replayed:
            return _replay(request, *claims(request), now, repeated=True)
        except RateExceeded as error:
            return Outcome(
                429,
                b"",
                name,
                "",
                csb_id,
                error.psk_id,
                reason="asks too often",
                fault="RATE_EXCEEDED",
                rate_exceeded=True,
                repeated=not error.first,
            )

    def take_back(self, outcome: Outcome) -> None:
        """The outcome did not leave: what was granted does not count as asked for."""
        if outcome.replay_key is not None:
            self._limiter.give_back(outcome.psk_id)

    def replayed(self, outcome: Outcome, request: bytes, now: float) -> Outcome:
        """Give the outcome instead of one whose message turns out to have been answered before.

        It does not count as the user's: whoever has the message may have sent it.
        """
        self.take_back(outcome)
        if outcome.replay_key is not None:
            self._replays.add(outcome.replay_key)
        ticket = outcome.ticket if outcome.request.startswith("RESOLVE") else ""
        return _replay(request, outcome.psk_id, outcome.initiator, outcome.responders, now, ticket)

    def _rules(self, image: Image, now: float) -> KmsRules:
        settings = self._settings
        keys = None
        if settings.openers:
            keys = PublicKeys(
                settings.openers, lambda chain, identity: self._certified(image, chain, identity, now)
            )
        return KmsRules(
            settings.identity,
            settings.clock_skew,
            settings.ticket_lifetime,
            PolicyFlag(0) if settings.allow_reuse else PolicyFlag.J,
            settings.suites,
            authority=Access(image, self._limiter, self._replays, now, open_access=settings.open_access),
            public_keys=keys,
        )

    def _certified(
        self, image: Image, chain: tuple[bytes, ...], identity: str | None, now: float
    ) -> Credential | None:
        """Give the user of a certificate: one registered, or one that a trusted authority names."""
        if not chain:
            found = image.credential(None, identity)
            if found is None or not found.certificate:
                return None
            _refuse_revoked(image, (found.certificate,))
            return found
        _refuse_revoked(image, chain)
        psk_id = image.by_certificate.get(chain[0])
        if psk_id is not None:
            return image.credential(psk_id, None)
        if not self._settings.trusted:
            return None
        identities = certified_identities(chain, self._settings.trusted, now)
        name = identities[0] if identities else ""
        known = image.by_identity.get(name.removeprefix("sip:"), ())
        if any(not image.users[psk_id].enabled for psk_id in known):
            return None  # a revoked user stays out, whatever certificate it has got
        _, serial = marks_of(chain[0])
        return Credential(f"certificate {serial} of {name}", b"", identities, chain[0])

    def _issue(
        self, request: bytes, rules: KmsRules, image: Image, elsewhere: dict[str, Credential], now: float
    ) -> Outcome:
        issued = issue_ticket(
            request,
            rules=rules,
            find_credential=lambda psk_id, identity: _credential(image, elsewhere, psk_id, identity),
            ticket_key=image.current_key(),
            rand=self._rand,
            now=now,
            responder_key=lambda responders: _responder_key(image, responders),
        )
        return Outcome(
            200,
            issued.response,
            message_name(request),
            DataType.REQUEST_RESP.name,
            issued.csb_id,
            issued.psk_id,
            issued.initiator,
            issued.responders,
            ticket=issued.ticket_id.hex()[:TICKET_NAME_LENGTH],
            replay_key=issued.replay_key,
            replay_until=issued.replay_until,
        )

    def _resolve(
        self, request: bytes, rules: KmsRules, image: Image, elsewhere: dict[str, Credential], now: float
    ) -> Outcome:
        resolved = resolve_ticket(
            request,
            rules=rules,
            find_credential=lambda psk_id, identity: _credential(image, elsewhere, psk_id, identity),
            find_ticket_key=lambda name: self._ticket_key(image, elsewhere, name, now),
            rand=self._rand,
            now=now,
        )
        return Outcome(
            200,
            resolved.response,
            message_name(request),
            DataType.RESOLVE_RESP.name,
            resolved.csb_id,
            resolved.psk_id,
            resolved.initiator,
            (resolved.responder,),
            ticket=resolved.ticket_id.hex()[:TICKET_NAME_LENGTH],
            replay_key=resolved.replay_key,
            replay_until=resolved.replay_until,
        )

    def _ticket_key(
        self, image: Image, elsewhere: dict[str, Credential], name: str | None, now: float
    ) -> TicketKey | None:
        found = image.ticket_key(name, now, self._settings.self_made)
        user = elsewhere.get(name or "")
        if found is None and user is not None and self._settings.self_made and name not in image.users:
            return TicketKey(user.psk_id, user.psk, user.identities)
        return found


def _replay(
    request: bytes,
    psk_id: str,
    initiator: str,
    responders: tuple[str, ...],
    now: float,
    ticket: str = "",
    *,
    repeated: bool = False,
) -> Outcome:
    """Give the outcome of a message that was answered before."""
    error = MikeyError(ErrorNumber.INVALID_TS, "the message was answered before")
    return Outcome(
        403,
        error_message(request, error.number, now),
        message_name(request),
        "Error",
        int.from_bytes(request[4:8]),
        psk_id,
        initiator,
        responders,
        str(error),
        fault_name(error.number),
        ticket,
        replayed=True,
        repeated=repeated,
    )


def _refuse_revoked(image: Image, chain: Sequence[bytes]) -> None:
    """Refuse a chain with a certificate in it that an operator revoked (error 8)."""
    if image.revoked_certificates and any(
        mark in image.revoked_certificates for certificate in chain for mark in marks_of(certificate)
    ):
        raise MikeyError(ErrorNumber.INVALID_CERT, "the certificate is revoked")


def _credential(
    image: Image, elsewhere: dict[str, Credential], psk_id: str | None, identity: str | None
) -> Credential | None:
    if psk_id is not None and psk_id not in image.users:
        return elsewhere.get(psk_id)
    return image.credential(psk_id, identity)


def _responder_key(image: Image, responders: tuple[str, ...]) -> TicketKey | None:
    """Give the key of the one user who has all these identities and opens tickets itself (mode 2)."""
    for psk_id in image.opening:
        found = image.users[psk_id].credential
        if found.psk and all(matches_any(found.identities, responder) for responder in responders):
            return TicketKey(found.psk_id, found.psk)
    return None


def claims(request: bytes) -> tuple[str, str, tuple[str, ...]]:
    """Give IDRpsk, initiator and responders as a message claims them, for the records about a refusal."""
    try:
        message = decode(request)
        names = {
            role: text_of(found, "identity")[:MAX_NAME]
            for role in (IdRole.PSK, IdRole.INITIATOR, IdRole.RESPONDER)
            if (found := message.identity(role)) is not None
        }
    except MikeyError:
        return "", "", ()
    responder = names.get(IdRole.RESPONDER)
    return names.get(IdRole.PSK, ""), names.get(IdRole.INITIATOR, ""), (responder,) if responder else ()


def key_names(request: bytes) -> tuple[str, ...]:
    """Give the names of the keys that a message needs: IDRpsk of itself, and of the ticket in it."""
    try:
        message = decode(request)
        ticket, psk_id = message.first(Ticket), message.identity(IdRole.PSK)
        inside = None if ticket is None else ticket_key_name(ticket)
        own = None if psk_id is None else text_of(psk_id, "IDRpsk")
    except MikeyError:
        return ()
    return tuple(name for name in (own, inside) if name)


def fault_name(number: int) -> str:
    """Give the name of an Error no, for metrics."""
    try:
        return ErrorNumber(number).name
    except ValueError:
        return str(number)
