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
    ROOT_PROPERTY = "property of ROOT, TerminationState"
    SIGNAL = "signal"
    EVENT = "event"
    PARAMETER = "event parameter"
    SIGNAL_PARAMETER = "signal parameter"
    COMMON_PARAMETER = "signal and event parameter"


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
    "bfcpc/alg",
    Kind.CONTEXT_PROPERTY,
    'sub-list of string "floor=fcfs" or "floor=chair"',
    "who decides on requests: the order of their coming, or the chair of the floor",
)
WITHOUT_CHAIR: Final = Element(
    "bfcpc/nochair",
    Kind.CONTEXT_PROPERTY,
    'sub-list of string "floor=queue", "floor=grant" or "floor=deny"',
    "what becomes of requests for a floor with a chair while none is there; absent: queue",
)
MAX_TIME: Final = Element(
    "bfcpc/maxt",
    Kind.CONTEXT_PROPERTY,
    'sub-list of string "floor=seconds"',
    "after which time a floor is taken away; absent: never",
)
NO_PRIORITY: Final = Element(
    "bfcpc/noprio",
    Kind.CONTEXT_PROPERTY,
    "sub-list of integer 1..65535",
    "floors in whose queue a priority counts nothing; absent: none",
)
ASKERS: Final = Element(
    "bfcpc/ask",
    Kind.CONTEXT_PROPERTY,
    'sub-list of string "floor=user", "floor=0" for nobody',
    "BFCP users who may ask for a floor; absent: all",
)
CONFIRM: Final = Element(
    "bfcpc/confirm",
    Kind.CONTEXT_PROPERTY,
    "sub-list of integer 1..65535",
    "floors that are granted only after Confirm Media Update; absent: none",
)
GRACE: Final = Element(
    "bfcpc/grace",
    Kind.CONTEXT_PROPERTY,
    "integer 1..65535 seconds",
    "how long the floor requests of a user without connection are kept; absent: as the MRFP is configured",
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
NAME: Final = Element(
    "bfcpt/name",
    Kind.TERMINATION_PROPERTY,
    "string of at most 253 octets, those that a quoted string cannot hold as %xx",
    "display name of the user, as the other users of the conference may see it; absent: none",
)
URI: Final = Element(
    "bfcpt/uri",
    Kind.TERMINATION_PROPERTY,
    "string of at most 253 octets, those that a quoted string cannot hold as %xx",
    "URI of the user, likewise",
)
CHAIR: Final = Element(
    "bfcpt/chair",
    Kind.TERMINATION_PROPERTY,
    "sub-list of integer 1..65535, or 0",
    "the floors that the user of the termination is the chair of; 0: none",
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

DECIDE: Final = Element(
    "bfcpt/decide", Kind.SIGNAL, "parameters Req, Dec, Info", "the MRFC decides on a floor request"
)
MEDIA: Final = Element(
    "bfcpt/media",
    Kind.SIGNAL,
    "parameters Req, Res, Info",
    "the media of a floor request have been changed, or not",
)
REPORT: Final = Element(
    "bfcpt/frd",
    Kind.EVENT,
    "parameters Req, Floors, State, Pos, By, Info",
    "a floor request has another state",
)
REQUEST: Final = Element("Req", Kind.COMMON_PARAMETER, "integer 1..65535", "floor request identifier")
DECISION: Final = Element(
    "Dec", Kind.SIGNAL_PARAMETER, "enumeration: grant, deny, revoke", "what the MRFC decides"
)
RESULT: Final = Element(
    "Res", Kind.SIGNAL_PARAMETER, "enumeration: Done, Fail", "whether the media were changed"
)
INFO: Final = Element("Info", Kind.COMMON_PARAMETER, "string", "words for the participants; absent: none")
REQUESTED_FLOORS: Final = Element(
    "Floors",
    Kind.PARAMETER,
    "string: numbers 1..65535 with a space between two",
    "the floors of the request",
)
STATE: Final = Element(
    "State",
    Kind.PARAMETER,
    "enumeration: Pending, Accepted, Granting, Granted, Denied, Cancelled, Released, Revoked",
    "the request's state; Granting waits for Confirm Media Update",
)
POSITIONS: Final = Element(
    "Pos",
    Kind.PARAMETER,
    "string: as many numbers from 1 on",
    "position in the queue of each of the floors, from 1; absent unless Accepted",
)
REQUESTER: Final = Element(
    "By", Kind.PARAMETER, "integer 1..65535", "BFCP user who asked; absent: the user of the termination"
)

CONGESTION: Final = Element(
    "chp/mgcon", Kind.EVENT, "parameter reduct", "the MRFP, on ROOT, wants less new work, or as much as ever"
)
REDUCTION: Final = Element(
    "reduct", Kind.PARAMETER, "integer 0..100 per cent", "share of new terminations to leave out"
)
INACTIVITY: Final = Element(
    "it/ito", Kind.EVENT, "parameter mit", "the MRFP, on ROOT, has not heard the MRFC for this time"
)
INACTIVITY_TIME: Final = Element(
    "mit", Kind.PARAMETER, "integer 1..65535 hundredths of a second", "time without a message of the MRFC"
)
MAX_CONTEXTS: Final = Element(
    "root/maxNumberOfContexts", Kind.ROOT_PROPERTY, "integer", "how many contexts there may be; read only"
)
MAX_TERMINATIONS: Final = Element(
    "root/maxTerminationsPerContext",
    Kind.ROOT_PROPERTY,
    "integer",
    "how many terminations a context may have; read only",
)
PROVISIONAL_TIME: Final = Element(
    "root/MGProvisionalResponseTimerValue",
    Kind.ROOT_PROPERTY,
    "integer, milliseconds",
    "after which time the MRFP answers Pending; read only",
)

ELEMENTS: Final = (
    CONFERENCE,
    FLOORS,
    ASSOCIATIONS,
    MAX_HOLDERS,
    ALGORITHM,
    WITHOUT_CHAIR,
    MAX_TIME,
    NO_PRIORITY,
    ASKERS,
    CONFIRM,
    GRACE,
    USER,
    NAME,
    URI,
    CHAIR,
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
    DECIDE,
    MEDIA,
    REPORT,
    REQUEST,
    DECISION,
    RESULT,
    INFO,
    REQUESTED_FLOORS,
    STATE,
    POSITIONS,
    REQUESTER,
    CONGESTION,
    REDUCTION,
    INACTIVITY,
    INACTIVITY_TIME,
    MAX_CONTEXTS,
    MAX_TERMINATIONS,
    PROVISIONAL_TIME,
)
CONTEXT_ELEMENTS: Final = tuple(item for item in ELEMENTS if item.kind is Kind.CONTEXT_PROPERTY)
PACKAGES: Final = frozenset(item.identifier.partition("/")[0] for item in ELEMENTS if "/" in item.identifier)
MAX_PSK: Final = 128
MAX_PSK_IDENTITY: Final = 128
MAX_USER_TEXT: Final = 253
"""Octets of a user's name or URI: what a BFCP attribute holds (RFC 8855 5.2)."""
FAILED: Final = "Fail"
RELEASED: Final = "Rel"
DONE: Final = "Done"
ESTABLISHED: Final = "Est"
STREAM_ID: Final = 1
"""A BFCP termination has one stream."""
