"""What all requests of operators over HTTP share: the bearer token, and answers in JSON."""

from __future__ import annotations

import hmac

import msgspec

from mrf_ops.config import Secret
from mrfc.jobs import QueryAnswer

JSON = "application/json"


def refuse_stranger(token: Secret | None, authorization: str, closed: str) -> QueryAnswer | None:
    """The refusal for who does not have the token; `closed` is said where no token is configured."""
    if token is None:
        return as_error(403, closed)
    scheme, _, credentials = authorization.strip().partition(" ")
    given = credentials.strip().encode()
    if scheme.lower() != "bearer" or not hmac.compare_digest(given, token.reveal()):
        return as_error(401, "a bearer token is needed", (("WWW-Authenticate", 'Bearer realm="mrfc"'),))
    return None


def as_json(status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> QueryAnswer:
    """An answer with a value."""
    return QueryAnswer(status, JSON, msgspec.json.encode(value).decode() + "\n", headers)


def as_error(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> QueryAnswer:
    """An answer that says what is wrong."""
    return as_json(status, {"error": text}, headers)
