"""Lexical grammar of the text encoding under the rule names of annex B (RFC 3525; tokens of H.248.1 version 3)."""

from __future__ import annotations

import re
from typing import Final

SHORT_TOKENS: Final[dict[str, str]] = {
    "Add": "A",
    "ANDLgc": "ANDLgc",
    "Audit": "AT",
    "AuditCapability": "AC",
    "AuditValue": "AV",
    "Authentication": "AU",
    "Both": "B",
    "Bothway": "BW",
    "Brief": "BR",
    "Buffer": "BF",
    "Context": "C",
    "ContextAttr": "CT",
    "ContextAudit": "CA",
    "ContextList": "CLT",
    "Delay": "DL",
    "DigitMap": "DM",
    "SPADirection": "SPADI",
    "Disconnected": "DC",
    "Duration": "DR",
    "Embed": "EM",
    "Emergency": "EG",
    "EmergencyOff": "EGO",
    "EmergencyValue": "EGV",
    "Error": "ER",
    "EventBuffer": "EB",
    "Events": "E",
    "External": "EX",
    "Failover": "FL",
    "Forced": "FO",
    "Graceful": "GR",
    "HandOff": "HO",
    "IEPSCall": "IEPS",
    "ImmAckRequired": "IA",
    "ImmediateNotify": "NBIN",
    "Inactive": "IN",
    "InService": "IV",
    "IntByEvent": "IBE",
    "IntBySigDescr": "IBS",
    "Internal": "IT",
    "Intersignal": "SPAIS",
    "Isolate": "IS",
    "Iteration": "IR",
    "KeepActive": "KA",
    "Local": "L",
    "LocalControl": "O",
    "LockStep": "SP",
    "Loopback": "LB",
    "Media": "M",
    "MEGACO": "!",
    "Method": "MT",
    "MgcIdToTry": "MG",
    "Mode": "MO",
    "Modem": "MD",
    "Modify": "MF",
    "Move": "MV",
    "MTP": "MTP",
    "Mux": "MX",
    "NeverNotify": "NBNN",
    "Notify": "N",
    "NotifyCompletion": "NC",
    "ObservedEvents": "OE",
    "OFF": "OFF",
    "ON": "ON",
    "Oneway": "OW",
    "OnewayBoth": "OWB",
    "OnewayExternal": "OWE",
    "OnOff": "OO",
    "ORLgc": "ORLgc",
    "OtherReason": "OR",
    "OutOfService": "OS",
    "Packages": "PG",
    "Pending": "PN",
    "Priority": "PR",
    "Profile": "PF",
    "Reason": "RE",
    "ReceiveOnly": "RC",
    "RegulatedNotify": "NBRN",
    "Remote": "R",
    "Reply": "P",
    "ReservedGroup": "RG",
    "ReservedValue": "RV",
    "ResetEventsDescriptor": "RSE",
    "Restart": "RS",
    "Segment": "SM",
    "END": "&",
    "SendOnly": "SO",
    "SendReceive": "SR",
    "ServiceChange": "SC",
    "ServiceChangeAddress": "AD",
    "ServiceChangeInc": "SIC",
    "Services": "SV",
    "ServiceStates": "SI",
    "SignalList": "SL",
    "Signals": "SG",
    "SignalType": "SY",
    "SPARequestID": "SPARQ",
    "Statistics": "SA",
    "Stream": "ST",
    "Subtract": "S",
    "TerminationState": "TS",
    "Test": "TE",
    "TimeOut": "TO",
    "Topology": "TP",
    "Transaction": "T",
    "TransactionResponseAck": "K",
    "Version": "V",
}
"""Long token to short token."""

_LEGACY: Final = {
    # spellings of drafts and implementers' guides that implementations still write
    "direction": "SPADirection",
    "di": "SPADirection",
    "requestid": "SPARequestID",
    "rq": "SPARequestID",
    "emergencyofftoken": "EmergencyOff",
    "iterationtoken": "Iteration",
    "intersignaldelay": "Intersignal",
}


def _spellings() -> dict[str, str]:
    table: dict[str, str] = dict(_LEGACY)
    for long, short in SHORT_TOKENS.items():
        for word in (long, short):
            for spelling in (word, word.lower(), word.upper()):
                table[spelling] = long
    return table


KEYWORDS: Final[dict[str, str]] = _spellings()
"""Every common spelling to the long token; tokens are case-insensitive, so look up the lower-case form next."""

# LWSP = *( WSP / COMMENT / EOL ); COMMENT = ";" *(SafeChar / RestChar / WSP / %x22) EOL. Atomic groups: no second
# thoughts, linear time. (Possessive repeats of groups are not the same: up to CPython 3.11.4 they keep half a match.)
LWSP: Final = r"(?>[ \t\r\n]*+(?:;[\t -~]*+[\r\n][ \t\r\n]*+)*)"
# SafeChar = DIGIT / ALPHA and these
SAFE: Final = r"[A-Za-z0-9+\-&!_/'?@^`~*$\\()%|.]"
# octetString = *(nonEscapeChar); nonEscapeChar = ( "\}" / %x01-7C / %x7E-FF )
OCTETS: Final = r"(?>(?:[^}\\\x00]++|\\\}?)*)"

TOKEN: Final = re.compile(
    rf"""(
        [{{}},=\[\]<>\#]                                                 # delimiters (RestChar)
      | :[ \t\r\n]?+                                                    # COLON, which has no white space of its own
      | [Ll](?>(?:[Oo][Cc][Aa][Ll])?){LWSP}\{{{LWSP}{OCTETS}\}}                     # localDescriptor, octets and all
      | [Rr](?>(?:[Ee][Mm][Oo][Tt][Ee])?){LWSP}\{{{LWSP}{OCTETS}\}}                 # remoteDescriptor
      | [Dd](?:[Mm]|[Ii][Gg][Ii][Tt][Mm][Aa][Pp]){LWSP}(?>(?:={LWSP}{SAFE}*+{LWSP})?)\{{{LWSP}{OCTETS}\}}
      | {SAFE}++                                                         # keywords, names, numbers
      | "[\t\x20-\x21\x23-\x7e]*+"                                      # quotedString
      | [\s\S]++                                        # nothing of ours: all the rest, so that it comes last
    ){LWSP}""",
    re.VERBOSE,
)
"""One lexical token and the white space after it."""

SAFE_TEXT: Final = re.compile(rf"{SAFE}+")
QUOTABLE_TEXT: Final = re.compile(r"[\t\x20-\x21\x23-\x7e]*")
# pkgdName = (PackageName SLASH ItemID) / (PackageName SLASH "*") / ("*" SLASH "*")
PKGD_NAME: Final = re.compile(r"[^/]+/.+")
# NAME = ALPHA *63( ALPHA / DIGIT / "_" )
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
# TimeStamp = Date "T" Time; yyyymmdd, hhmmssss
TIME_STAMP: Final = re.compile(r"[0-9]{8}[Tt][0-9]{8}")
DOMAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-]{0,63}")
# MuxType = ( H221Token / H223Token / H226Token / V76Token / Nx64kToken / extensionParameter )
MUX_TYPE: Final = re.compile(r"(?:H22[136]|V76|Nx64k|X[+-][A-Z0-9]{1,6})", re.IGNORECASE)
# serviceChangeProfile = NAME SLASH Version
PROFILE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}/[0-9]{1,2}")
EXTENSION: Final = re.compile(r"[Xx][+\-].*")
PACKAGES_ITEM: Final = re.compile(r"([A-Za-z][A-Za-z0-9_]{0,63})-([0-9]{1,5})")

MAX_MESSAGE: Final = 1 << 20
"""Octets of a message that are looked at; a longer one is refused."""
UINT16: Final = 0xFFFF
UINT32: Final = 0xFFFFFFFF
