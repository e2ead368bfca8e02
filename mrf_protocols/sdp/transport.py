"""RFC 4145: who opens the TCP connection, and whether a new one is wanted. The tables of 4.1 and 5.1 as
data."""

import enum
from collections.abc import Mapping
from types import MappingProxyType

DISCARD_PORT = 9
"""What the side that opens the connection puts on its own m-line (RFC 4145 4.1)."""


class Setup(enum.Enum):
    """a=setup (RFC 4145 4)."""

    ACTIVE = "active"
    PASSIVE = "passive"
    ACTPASS = "actpass"
    HOLDCONN = "holdconn"


class ConnectionUse(enum.Enum):
    """a=connection (RFC 4145 5)."""

    NEW = "new"
    EXISTING = "existing"


DEFAULT_SETUP_OFFER = Setup.ACTIVE
DEFAULT_SETUP_ANSWER = Setup.PASSIVE
DEFAULT_CONNECTION = ConnectionUse.NEW

SETUP_ANSWERS: Mapping[Setup, frozenset[Setup]] = MappingProxyType(
    {
        Setup.ACTIVE: frozenset({Setup.PASSIVE, Setup.HOLDCONN}),
        Setup.PASSIVE: frozenset({Setup.ACTIVE, Setup.HOLDCONN}),
        Setup.ACTPASS: frozenset({Setup.ACTIVE, Setup.PASSIVE, Setup.HOLDCONN}),
        Setup.HOLDCONN: frozenset({Setup.HOLDCONN}),
    }
)
"""Offered setup -> the answers allowed (RFC 4145 4.1)."""

CONNECTION_ANSWERS: Mapping[ConnectionUse, frozenset[ConnectionUse]] = MappingProxyType(
    {
        ConnectionUse.NEW: frozenset({ConnectionUse.NEW}),
        ConnectionUse.EXISTING: frozenset({ConnectionUse.EXISTING, ConnectionUse.NEW}),
    }
)
"""Offered connection -> the answers allowed (RFC 4145 5.1)."""


def answer_setup(offered: Setup, preferred: Setup) -> Setup:
    """The answer to an offered setup: the preferred one where it is allowed, else the one that connects.

    `preferred` is ACTIVE or PASSIVE. HOLDCONN can only be answered by HOLDCONN.
    """
    allowed = SETUP_ANSWERS[offered]
    if preferred in allowed:
        return preferred
    for setup in (Setup.ACTIVE, Setup.PASSIVE):
        if setup in allowed:
            return setup
    return Setup.HOLDCONN


def answer_connection(offered: ConnectionUse, connected: bool) -> ConnectionUse:
    """EXISTING only when it was offered and this side has that connection (RFC 4145 5.2, also for 3PCC)."""
    if connected and offered is ConnectionUse.EXISTING:
        return ConnectionUse.EXISTING
    return ConnectionUse.NEW
