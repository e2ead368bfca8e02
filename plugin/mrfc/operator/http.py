"""What all requests of operators over HTTP share: the bearer token, and answers in JSON."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from mrf_ops.config import Secret
from mrfc.jobs import QueryAnswer, QueryJob

JSON = "application/json"


_Body = TypeVar("_Body")


@dataclass(frozen=True, slots=True)
class Door:
    """Lets those in who have the operators' token; `closed` is said where none is configured."""

    token: Secret | None
    closed: str

    def refusal(self, query: QueryJob) -> QueryAnswer | None:
        """The refusal for who does not have the token; None: he may come in."""
        if self.token is None:
            return as_error(403, self.closed)
        scheme, _, credentials = query.authorization.strip().partition(" ")
        given = credentials.strip().encode()
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self.token.reveal()):
            return as_error(401, "a bearer token is needed", (("WWW-Authenticate", 'Bearer realm="mrfc"'),))
        return None

    def body(self, query: QueryJob, kind: type[_Body], example: str, none: str = "") -> _Body | QueryAnswer:
        """The body of a request that may come in, or the refusal. `example` says what a body looks like, `none` what it
        means to have none."""
        if (refused := self.refusal(query)) is not None:
            return refused
        try:
            return msgspec.json.decode(query.body or none, type=kind)
        except msgspec.MsgspecError as error:
            return as_error(400, f"the body has to be {example}: {error}")


def as_json(status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> QueryAnswer:
    """An answer with a value."""
    return QueryAnswer(status, JSON, msgspec.json.encode(value).decode() + "\n", headers)


def as_error(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> QueryAnswer:
    """An answer that says what is wrong."""
    return as_json(status, {"error": text}, headers)
