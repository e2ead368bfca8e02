"""P-Charging-Vector: what lets the charging of all parts of a call be joined again (RFC 7315 4.6, 5.6).

It goes between neighbours that trust each other only: that of a call comes from a trusted source, or is made here, and
goes into our own requests of that call, and of the calls that it has us make.
"""

from __future__ import annotations

import re
from collections.abc import Callable

HEADER = "P-Charging-Vector"
LONGEST = 512
_ICID = re.compile(r"\s*icid-value\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^\s;,\"]+)", re.IGNORECASE)


def received(values: list[str]) -> str:
    """The vector of a message, to be handed on as it came; "" when there is none that can be."""
    value = " ".join(values[0].split()) if len(values) == 1 else ""
    return value if _ICID.match(value) and len(value) <= LONGEST and value.isprintable() else ""


def made(host: str, token: Callable[[int], str]) -> str:
    """A vector of our own; `token` gives that many random octets in hexadecimal digits."""
    return f"icid-value={token(16)};icid-generated-at={host}"


def fields(vector: str) -> tuple[tuple[str, str], ...]:
    """The header field of a request, none for no vector."""
    return ((HEADER, vector),) if vector else ()


def icid(vector: str) -> str:
    """The identifier in a vector, "" without one."""
    found = _ICID.match(vector)
    return found[1].strip('"') if found else ""
