"""Identities: who a SIP URI is for the KMS, and when two identities are the same."""

from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.numbers import ErrorNumber, IdRole, IdType
from mrf_protocols.mikey.payloads import IdentityWithRole


def kms_user_identity(uri: str) -> str:
    """Give the KMS user identity of a SIP URI or name-addr: ``sip:user@host``.

    Display name, password, port, parameters and headers go; the host is lower case. Raises MikeyError (error
    7).
    """
    text = uri.strip()
    if "<" in text:
        text = text[text.rindex("<") + 1 :].partition(">")[0]
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() not in ("sip", "sips"):
        raise MikeyError(ErrorNumber.INVALID_ID, "not a SIP URI")
    user_info, at, host = rest.rpartition("@") if "@" in rest else ("", "", rest)
    for mark in (";", "?"):
        host = host.partition(mark)[0]
    host = _without_port(host).lower()
    user = user_info.partition(":")[0].partition(";")[0]
    if not host or (at and not user) or " " in user or " " in host or not (user + host).isprintable():
        raise MikeyError(ErrorNumber.INVALID_ID, "not a SIP URI with user and host")
    return f"sip:{user}@{host}" if user else f"sip:{host}"


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def canonical(identity: str) -> str:
    """Give the form to compare: the NAI ``user@host`` with a lower-case host, whether or not "sip:" is before
    it.
    """
    if identity[:4].lower() == "sip:":
        identity = identity[4:]
    user, at, host = identity.rpartition("@")
    return user + at + host.lower()


def same_identity(one: str, other: str) -> bool:
    """Tell whether two identities name the same user, one perhaps as NAI and the other as SIP URI."""
    return canonical(one) == canonical(other)


def matches(pattern: str, identity: str) -> bool:
    """Tell whether an identity fits a pattern in which ``*`` stands for any run of characters without "@".

    The pattern "*" alone fits every identity.
    """
    if pattern == "*":
        return True
    wanted, given = canonical(pattern), canonical(identity)
    first, *rest = wanted.split("*")
    if not rest:
        return wanted == given
    last = rest.pop()
    if not given.startswith(first) or not given.endswith(last) or len(given) < len(first) + len(last):
        return False
    position, end = len(first), len(given) - len(last)
    for piece in rest:
        found = given.find(piece, position, end)
        if found < 0 or "@" in given[position:found]:
            return False
        position = found + len(piece)
    return "@" not in given[position:end]


def matches_any(patterns: tuple[str, ...], identity: str) -> bool:
    """Tell whether an identity fits one of the patterns."""
    return any(matches(pattern, identity) for pattern in patterns)


def idr(role: IdRole, identity: str) -> IdentityWithRole:
    """Give IDR of type URI."""
    return IdentityWithRole(role, IdType.URI, identity.encode())


def psk_idr(identifier: str) -> IdentityWithRole:
    """Give IDRpsk, which names a pre-shared key (byte string)."""
    return IdentityWithRole(IdRole.PSK, IdType.BYTE_STRING, identifier.encode())


def text_of(payload: IdentityWithRole | None, what: str) -> str:
    """Give the identity in a payload as text. Raises MikeyError (error 7) when it is missing, not UTF-8, or has
    characters that cannot be printed: no identity has any, and they spoil logs and databases.
    """
    if payload is None:
        raise MikeyError(ErrorNumber.INVALID_ID, f"{what} is missing")
    try:
        text = payload.data.decode()
    except UnicodeDecodeError:
        raise MikeyError(ErrorNumber.INVALID_ID, f"{what} is not UTF-8") from None
    if not text.isprintable():
        raise MikeyError(ErrorNumber.INVALID_ID, f"{what} has characters that cannot be printed")
    return text
