"""Every package element that travels on Mp: identifiers, types and values.

Registered packages are used where one fits: tcpbcc (H.248.89), tlsbsc (H.248.90), hangterm (H.248.36). The names of
their elements below are this project's. Two packages are private: bfcpt (a BFCP termination) and bfcpc (floor control
of a context, the information elements of TS 23.333 8.45).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """Kinds of package elements and where they stand."""

    CONTEXT_PROPERTY = "property, ContextAttr"
    TERMINATION_PROPERTY = "property, TerminationState"
    STREAM_PROPERTY = "property, LocalControl"
    SIGNAL = "signal"
    EVENT = "event"
    PARAMETER = "event parameter"


@dataclass(frozen=True, slots=True)
class Element:
    """One package element: identifier, kind, type of its value, and what it means."""

    identifier: str
    kind: Kind
    type: str
    meaning: str


CONFERENCE: Final = Element(
    "bfcpc/conf", Kind.CONTEXT_PROPERTY, "integer 1..4294967295", "BFCP conference identifier"
)
FLOORS: Final = Element(
    "bfcpc/floors", Kind.CONTEXT_PROPERTY, "sub-list of integer 1..65535", "the floors of the conference"
)
ASSOCIATIONS: Final = Element(
    "bfcpc/assoc",
    Kind.CONTEXT_PROPERTY,
    'sub-list of string "floor=label"',
    "floor-resource associations: SDP labels of the media that a floor controls; absent: none",
)
MAX_HOLDERS: Final = Element(
    "bfcpc/maxh",
    Kind.CONTEXT_PROPERTY,
    'sub-list of string "floor=number"',
    "how many may hold a floor at once",
)
ALGORITHM: Final = Element(
    "bfcpc/alg", Kind.CONTEXT_PROPERTY, "enumeration: fcfs", "how a floor is granted without a chair"
)
USER: Final = Element(
    "bfcpt/user",
    Kind.TERMINATION_PROPERTY,
    "integer 1..65535",
    "the BFCP user that the termination speaks for",
)
CORRELATION: Final = Element(
    "bfcpt/corr",
    Kind.TERMINATION_PROPERTY,
    "string, octets that a quoted string cannot hold as %xx",
    "SIP Call-ID of the call, for logs and traces only",
)
PSK: Final = Element(
    "bfcpt/psk",
    Kind.STREAM_PROPERTY,
    "octet string of 1..128 octets in hexadecimal",
    "TLS pre-shared key; write only",
)
PSK_IDENTITY: Final = Element(
    "bfcpt/pskid",
    Kind.STREAM_PROPERTY,
    "string of 1..128 characters",
    "TLS PSK identity that goes with the key",
)
START_TCP: Final = Element(
    "tcpbcc/EstBNC", Kind.SIGNAL, "no parameters", "open the TCP connection; absent: listen for it"
)
START_TLS: Final = Element(
    "tlsbsc/EstBNC", Kind.SIGNAL, "no parameters", "be TLS client once TCP is up; absent: be TLS server"
)
TCP_CHANGE: Final = Element(
    "tcpbcc/BNCChange", Kind.EVENT, "parameters Type, Reason", "change of the TCP connection"
)
TLS_CHANGE: Final = Element(
    "tlsbsc/BNCChange", Kind.EVENT, "parameters Type, Reason", "change of the TLS session"
)
CHANGE_TYPE: Final = Element(
    "Type",
    Kind.PARAMETER,
    "enumeration: Fail (establishment failed), Rel (released), Est (established)",
    "which change; as a list of alternatives when requested",
)
CHANGE_REASON: Final = Element("Reason", Kind.PARAMETER, "string", "why, in words; only when observed")
HEARTBEAT: Final = Element("hangterm/thb", Kind.EVENT, "parameter timerx", "the termination still exists")
HEARTBEAT_TIMER: Final = Element(
    "timerx", Kind.PARAMETER, "integer 1..65535 seconds", "interval of the heartbeat"
)

ELEMENTS: Final = (
    CONFERENCE,
    FLOORS,
    ASSOCIATIONS,
    MAX_HOLDERS,
    ALGORITHM,
    USER,
    CORRELATION,
    PSK,
    PSK_IDENTITY,
    START_TCP,
    START_TLS,
    TCP_CHANGE,
    TLS_CHANGE,
    CHANGE_TYPE,
    CHANGE_REASON,
    HEARTBEAT,
    HEARTBEAT_TIMER,
)
PACKAGES: Final = frozenset(item.identifier.partition("/")[0] for item in ELEMENTS if "/" in item.identifier)
MAX_PSK: Final = 128
MAX_PSK_IDENTITY: Final = 128
FAILED: Final = "Fail"
RELEASED: Final = "Rel"
ESTABLISHED: Final = "Est"
STREAM_ID: Final = 1
"""A BFCP termination has one stream."""
