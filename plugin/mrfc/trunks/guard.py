"""Whether a request is served at all: source, rate, size, certificate and digest of each trunk, in this order.

It runs in every SIP worker, before anything else looks into the request. What workers have to know of one another,
how often something happened, they count in memory that they share (`Shared`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Protocol

from mrfc.trunks import certificates, users
from mrfc.trunks.digest import Algorithm, Challenge, Credentials, DigestError, Nonces
from mrfc.trunks.settings import OTHERS, Guard, Trunk

WINDOW = 2
"""Seconds over which requests of a source are counted."""
BUCKETS = 0x10000
"""Sources are counted in so many cells, so that a flood of made-up addresses takes no more memory than these."""
RETRY_AFTER = (("Retry-After", "5"),)
SERVED = "served"
CAUSES = (
    SERVED,
    "stranger",
    "rate",
    "flood",
    "message_size",
    "body_size",
    "certificate",
    "no_credentials",
    "stale_nonce",
    "bad_credentials",
    "malformed",
    "unparsable",
    "insane",
    "too_many_hops",
    "stray_response",
)
"""What the metric `mrfc_trunk_requests_total` counts."""
UNCHALLENGED = frozenset({"ACK", "CANCEL"})  # RFC 3261 22.1
UNLIMITED = frozenset(
    {"ACK", "CANCEL", "BYE", "PRACK"}
)  # what ends or goes on with something that was let in


class Arrival(Protocol):
    """One request as it came; what is dear to look at is a method."""

    source: str
    transport: str
    port: int
    method: str
    in_dialog: bool

    def size(self) -> int:
        """Octets of the message."""
        ...

    def body_size(self) -> int:
        """Octets of its body."""
        ...

    def certificate(self) -> str:
        """The client's verified certificate in PEM, "" without one."""
        ...

    def authorization(self) -> Sequence[str]:
        """The values of Authorization."""
        ...

    def repeated(self) -> bool:
        """Whether it is a retransmission, which has been dealt with by looking."""
        ...

    def request_uri(self) -> str:
        """The Request-URI."""
        ...


class Shared(Protocol):
    """Counters that all workers share."""

    def rate(self, key: str) -> int:
        """Count up, and give the new value; forgotten some seconds later."""
        ...

    def use(self, nonce_and_count: str) -> int:
        """Likewise, for as long as a nonce lives."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a request: served; refused with a status; or, with status 0, dropped without a word."""

    trunk: str
    cause: str = SERVED
    status: int = 0
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def served(self) -> bool:
        """Whether the request goes on."""
        return self.cause == SERVED


class _Neighbour:
    """A trunk with what is worked out once."""

    def __init__(self, trunk: Trunk, guard: Guard, realm: str) -> None:
        self.name = trunk.name
        self.networks = tuple(ip_network(each) for each in trunk.networks)
        self.transports = frozenset(trunk.transports)
        self.ports = frozenset(trunk.ports)
        self.subjects = frozenset(each.lower() for each in trunk.subjects)
        self.realm = trunk.realm or realm
        self.rate = trunk.rate or guard.rate
        self.flood = max(trunk.flood or guard.flood, self.rate)
        self.users: users.Users | None = None
        self.algorithms: tuple[Algorithm, ...] = ()
        if trunk.users_file is not None:
            self.users = users.parse(trunk.users_file.reveal().decode())
            offered = {algorithm for _, realm_, algorithm in self.users if realm_ == self.realm}
            self.algorithms = tuple(each for each in Algorithm if each in offered)

    def covers(self, address: IPv4Address | IPv6Address, transport: str, port: int) -> bool:
        """Whether requests from there, to this port of ours, may be this trunk's."""
        return (
            transport in self.transports
            and (not self.ports or port in self.ports)
            and (not self.networks or any(address in network for network in self.networks))
        )


class Gate:
    """The guard of one MRFC.

    secret: random octets that all workers share, for nonces. now: seconds since 1970. random: fresh hexadecimal
    digits at each call.
    """

    def __init__(
        self,
        guard: Guard,
        trunks: Sequence[Trunk],
        realm: str,
        secret: bytes,
        now: Callable[[], float],
        random: Callable[[], str],
    ) -> None:
        self._guard = guard
        self._neighbours = tuple(_Neighbour(trunk, guard, realm) for trunk in trunks)
        self._strangers = guard.strangers if trunks else "serve"
        self._nonces = Nonces(secret, guard.nonce_lifetime)
        self._now = now
        self._random = random
        self._places: dict[tuple[str, str, int], tuple[tuple[_Neighbour, ...], int]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """What stands in figures for each trunk, and for those who belong to none."""
        return (*(neighbour.name for neighbour in self._neighbours), OTHERS)

    def judge(self, arrival: Arrival, shared: Shared) -> Verdict:
        """Decide about one request."""
        candidates, bucket = self._place(arrival)
        known = candidates[0] if candidates else None
        verdict = self._limits(arrival, shared, known, bucket)
        if verdict is None and candidates:
            verdict = self._proof(arrival, shared, candidates)
        elif verdict is None:
            verdict = self._stranger()
        return verdict or Verdict(known.name if known else OTHERS)

    def _place(self, arrival: Arrival) -> tuple[tuple[_Neighbour, ...], int]:
        """The trunks that this may be of, and the cell in which its source is counted."""
        where = (arrival.source, arrival.transport, arrival.port)
        place = self._places.get(where)
        if place is None:
            if len(self._places) >= BUCKETS:
                self._places.clear()
            address = _address(arrival.source)
            found = tuple(each for each in self._neighbours if each.covers(address, *where[1:]))
            place = self._places[where] = (found, _bucket(address))
        return place

    def _limits(
        self, arrival: Arrival, shared: Shared, known: _Neighbour | None, bucket: int
    ) -> Verdict | None:
        name, rate, flood = (
            (known.name, known.rate, known.flood) if known else (OTHERS, self._guard.rate, self._guard.flood)
        )
        window = int(self._now()) // WINDOW
        count = shared.rate(f"{name} {bucket:x} {window & 0xFF:x}")
        if count > flood * WINDOW:
            return Verdict(name, "flood")
        if count > rate * WINDOW and not (arrival.in_dialog or arrival.method in UNLIMITED):
            return Verdict(name, "rate", 503, "Service Unavailable", RETRY_AFTER)
        if arrival.size() > self._guard.max_message:
            return Verdict(name, "message_size", 513, "Message Too Large")
        if arrival.body_size() > self._guard.max_body:
            return Verdict(name, "body_size", 413, "Request Entity Too Large")
        return None

    def _stranger(self) -> Verdict:
        if self._strangers == "serve":
            return Verdict(OTHERS)
        if self._strangers == "drop":
            return Verdict(OTHERS, "stranger")
        return Verdict(OTHERS, "stranger", 403, "Forbidden")

    def _proof(self, arrival: Arrival, shared: Shared, candidates: Sequence[_Neighbour]) -> Verdict:
        """The first of the trunks that fit whose certificate fits, too; and then its digest."""
        for known in candidates:
            if known.subjects and not known.subjects & certificates.subjects(arrival.certificate()):
                continue
            if known.users is None or arrival.method in UNCHALLENGED:
                return Verdict(known.name)
            return self._authenticate(arrival, shared, known, known.users)
        return Verdict(candidates[0].name, "certificate", 403, "Forbidden")

    def _authenticate(
        self, arrival: Arrival, shared: Shared, known: _Neighbour, registered: users.Users
    ) -> Verdict:
        values = arrival.authorization()
        if not values:
            return self._challenge(known, "no_credentials")
        try:
            credentials = next(each for each in map(Credentials.parse, values) if each.realm == known.realm)
        except StopIteration:
            return self._challenge(known, "no_credentials")
        except DigestError:
            return Verdict(known.name, "bad_credentials", 400, "Bad Request")
        if arrival.repeated():
            return Verdict(known.name, "repeated")
        if not self._nonces.ours(credentials.nonce, known.realm):
            return self._challenge(known, "stale_nonce", stale=True)
        ha1 = registered.get((credentials.username, credentials.realm, credentials.algorithm), "")
        proven = credentials.proves(ha1, arrival.method)  # also for who is not there: it shall take as long
        if not ha1 or not proven or credentials.uri != arrival.request_uri():
            return self._challenge(known, "bad_credentials")
        used = shared.use(f"{credentials.nonce}:{credentials.count:x}")
        if used != 1 or not self._nonces.fresh(credentials.nonce, self._now()):
            return self._challenge(known, "stale_nonce", stale=True)
        return Verdict(known.name)

    def _challenge(self, known: _Neighbour, cause: str, *, stale: bool = False) -> Verdict:
        nonce = self._nonces.new(known.realm, self._now(), self._random())
        headers = tuple(
            ("WWW-Authenticate", Challenge(known.realm, nonce, algorithm, stale=stale).header())
            for algorithm in known.algorithms
        )
        return Verdict(known.name, cause, 401, "Unauthorized", headers)


def _address(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text.strip("[]"))
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _bucket(address: IPv4Address | IPv6Address) -> int:
    """Where a source is counted: an IPv4 address, or the /64 of an IPv6 address, which one host has for itself.

    The hash of octets differs from start to start, so nobody can choose addresses that share a cell with another's.
    """
    return hash(address.packed if isinstance(address, IPv4Address) else address.packed[:8]) % BUCKETS
