"""Digest authentication in SIP (RFC 3261 22, RFC 7616, RFC 8760), both sides, sans-IO.

Only qop "auth" is offered and accepted: without it a response can be used again and again (RFC 7616 5.5).
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field


class Algorithm(enum.Enum):
    """Hash algorithms, the better one first (RFC 8760 2.6)."""

    SHA_256 = "SHA-256"
    MD5 = "MD5"


def _md5(data: bytes = b"") -> hashlib._Hash:
    return hashlib.md5(
        data, usedforsecurity=False
    )  # what many trunks still speak; offered where a user has it


HASHES: dict[Algorithm, Callable[..., hashlib._Hash]] = {
    Algorithm.SHA_256: hashlib.sha256,
    Algorithm.MD5: _md5,
}
QOP = "auth"

_PARAMETER = re.compile(r'\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)')
_SCHEME = re.compile(r"\s*Digest\s+", re.IGNORECASE)
MAX_LENGTH = 2048


class DigestError(ValueError):
    """Not digest authentication, or a kind that we do not have."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server asks for (WWW-Authenticate, Proxy-Authenticate)."""

    realm: str
    nonce: str
    algorithm: Algorithm
    opaque: str | None = None
    stale: bool = False
    qop: bool = True  # False: a server of RFC 2069, which has no nonce counts

    @classmethod
    def parse(cls, value: str) -> Challenge:
        """Take one challenge. Raises DigestError."""
        fields = parameters(value)
        if "realm" not in fields or "nonce" not in fields:
            raise DigestError("a challenge needs realm and nonce")
        offered = [each.strip().lower() for each in fields.get("qop", "").split(",") if each.strip()]
        if offered and QOP not in offered:
            raise DigestError("a challenge with another qop than auth")
        return cls(
            fields["realm"],
            fields["nonce"],
            _algorithm(fields),
            fields.get("opaque"),
            fields.get("stale", "").lower() == "true",
            bool(offered),
        )

    def header(self) -> str:
        """The value of WWW-Authenticate."""
        stale = ", stale=true" if self.stale else ""
        return (
            f'Digest realm="{quoted(self.realm)}", nonce="{self.nonce}", algorithm={self.algorithm.value}, '
            f'qop="{QOP}"{stale}'
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client proves (Authorization, Proxy-Authorization)."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: Algorithm
    cnonce: str
    count: int

    @classmethod
    def parse(cls, value: str) -> Credentials:
        """Take an Authorization apart. Raises DigestError."""
        fields = parameters(value)
        missing = {"username", "realm", "nonce", "uri", "response", "cnonce", "nc"} - fields.keys()
        if missing or fields.get("qop", "").lower() != QOP:
            raise DigestError(f"credentials without {', '.join(sorted(missing)) or 'qop=auth'}")
        if re.fullmatch(r"[0-9a-fA-F]{8}", fields["nc"]) is None:
            raise DigestError("nc is not eight hexadecimal digits")
        return cls(
            fields["username"],
            fields["realm"],
            fields["nonce"],
            fields["uri"],
            fields["response"].lower(),
            _algorithm(fields),
            fields["cnonce"],
            int(fields["nc"], 16),
        )

    def proves(self, ha1: str, method: str) -> bool:
        """Whether whoever made this knows the password behind this HA1."""
        wanted = _response(self.algorithm, ha1, self.nonce, method, self.uri, self.count, self.cnonce)
        return hmac.compare_digest(wanted.encode(), self.response.encode())


@dataclass(frozen=True, slots=True)
class Login:
    """A user name, and the password for it."""

    username: str
    password: str = field(repr=False)

    def answer(self, challenge: Challenge, method: str, uri: str, count: int, cnonce: str) -> str:
        """The value of Authorization that answers a challenge; `count` begins with 1 for each nonce."""
        known = ha1(challenge.algorithm, self.username, challenge.realm, self.password)
        if challenge.qop:
            response = _response(challenge.algorithm, known, challenge.nonce, method, uri, count, cnonce)
            proof = f', qop={QOP}, nc={count:08x}, cnonce="{cnonce}"'
        else:
            response = _old_response(challenge.algorithm, known, challenge.nonce, method, uri)
            proof = ""
        opaque = f', opaque="{quoted(challenge.opaque)}"' if challenge.opaque is not None else ""
        return (
            f'Digest username="{quoted(self.username)}", realm="{quoted(challenge.realm)}", '
            f'nonce="{quoted(challenge.nonce)}", uri="{uri}", response="{response}", '
            f"algorithm={challenge.algorithm.value}{proof}{opaque}"
        )


class Nonces:
    """Nonces that only we can have made: none has to be remembered until it is used.

    A nonce is its time of expiry, some random digits, and a MAC over both and the realm.
    """

    def __init__(self, secret: bytes, lifetime: int) -> None:
        self._secret = secret
        self._lifetime = lifetime

    def new(self, realm: str, now: float, random: str) -> str:
        """A nonce for one client; `random` is at least 64 bits of it in hexadecimal digits."""
        body = f"{int(now) + self._lifetime:x}.{random}"
        return f"{body}.{self._mac(body, realm)}"

    def ours(self, nonce: str, realm: str) -> bool:
        """Whether we have made it, at whatever time."""
        body, _, mac = nonce.rpartition(".")
        return hmac.compare_digest(mac.encode(), self._mac(body, realm).encode())

    @staticmethod
    def fresh(nonce: str, now: float) -> bool:
        """Whether a nonce of ours is still good."""
        return int(nonce.partition(".")[0], 16) >= now

    def _mac(self, body: str, realm: str) -> str:
        return hmac.digest(self._secret, f"{body} {realm}".encode(), "sha256").hex()[:32]


def best(values: Collection[str]) -> Challenge:
    """The first challenge that we can answer; servers list first what they prefer (RFC 8760 2.3).

    Raises DigestError.
    """
    fault = DigestError("no challenge")
    for value in values:
        try:
            return Challenge.parse(value)
        except DigestError as error:
            fault = error
    raise fault


def ha1(algorithm: Algorithm, username: str, realm: str, password: str) -> str:
    """H(A1) of RFC 7616 3.4.2, in hexadecimal digits: as good as the password."""
    return _hash(algorithm, f"{username}:{realm}:{password}")


def parameters(value: str) -> dict[str, str]:
    """The parameters of a header value with the scheme Digest, names in lower case. Raises DigestError."""
    scheme = _SCHEME.match(value)
    if scheme is None or len(value) > MAX_LENGTH:
        raise DigestError("not the scheme Digest")
    fields: dict[str, str] = {}
    at = scheme.end()
    while at < len(value):
        found = _PARAMETER.match(value, at)
        if found is None or found[1].lower() in fields:
            raise DigestError("digest parameters that cannot be read")
        text = found[3] if found[2] is None else re.sub(r"\\(.)", r"\1", found[2])
        fields[found[1].lower()] = text
        at = found.end()
    return fields


def quoted(text: str) -> str:
    """Text for between double quotes (RFC 3261 25.1)."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _algorithm(fields: Mapping[str, str]) -> Algorithm:
    name = fields.get("algorithm", "MD5").upper()
    try:
        return Algorithm(name)
    except ValueError:
        raise DigestError("an algorithm that we do not have") from None


def _hash(algorithm: Algorithm, text: str) -> str:
    return HASHES[algorithm](text.encode()).hexdigest()


def _response(
    algorithm: Algorithm, known: str, nonce: str, method: str, uri: str, count: int, cnonce: str
) -> str:
    a2 = _hash(algorithm, f"{method}:{uri}")
    return _hash(algorithm, f"{known}:{nonce}:{count:08x}:{cnonce}:{QOP}:{a2}")


def _old_response(algorithm: Algorithm, known: str, nonce: str, method: str, uri: str) -> str:
    a2 = _hash(algorithm, f"{method}:{uri}")
    return _hash(algorithm, f"{known}:{nonce}:{a2}")
