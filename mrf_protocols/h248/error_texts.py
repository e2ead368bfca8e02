"""The standard texts of error codes and ServiceChange reasons, by the Recommendation that gives them.

Those of H.248.8 are the names of its clauses 4.2 and 5.2 (edition 08/2007), in its own spelling. Package codes are here
so that a refusal of a peer that knows more packages can be told in words.
"""

from __future__ import annotations

from typing import Final

_H248_8: Final[dict[int, str]] = {
    400: "Syntax error in message",
    401: "Protocol Error",
    402: "Unauthorized",
    403: "Syntax Error in TransactionRequest",
    406: "Version Not Supported",
    410: "Incorrect identifier",
    411: "The transaction refers to an unknown ContextId",
    412: "No ContextIDs available",
    413: "Number of transactions in message exceeds maximum",
    421: "Unknown action or illegal combination of actions",
    422: "Syntax Error in Action",
    430: "Unknown TerminationID",
    431: "No TerminationID matched a wildcard",
    432: "Out of TerminationIDs or No TerminationID available",
    433: "TerminationID is already in a Context",
    434: "Max number of Terminations in a Context exceeded",
    435: "Termination ID is not in specified Context",
    440: "Unsupported or unknown Package",
    441: "Missing Remote or Local Descriptor",
    442: "Syntax Error in Command",
    443: "Unsupported or Unknown Command",
    444: "Unsupported or Unknown Descriptor",
    445: "Unsupported or Unknown Property",
    446: "Unsupported or Unknown Parameter",
    447: "Descriptor not legal in this command",
    448: "Descriptor appears twice in a command",
    449: "Unsupported or Unknown Parameter or Property Value",
    450: "No such property in this package",
    451: "No such event in this package",
    452: "No such signal in this package",
    453: "No such statistic in this package",
    454: "No such parameter value in this package",
    455: "Property illegal in this Descriptor",
    456: "Property appears twice in this Descriptor",
    457: "Missing parameter in signal or event",
    458: "Unexpected Event/Request ID",
    459: "Unsupported or Unknown Profile",
    460: "Unable to set statistic on stream",
    471: "Implied Add for Multiplex failure",
    472: "Required Information Missing",
    473: "Conflicting Property Values",
    500: "Internal software failure in the MG",
    501: "Not Implemented",
    502: "Not ready",
    503: "Service Unavailable",
    504: "Command Received from unauthorized entity",
    505: "Transaction Request Received before a ServiceChange Reply has been received",
    506: "Number of Transaction Pendings Exceeded",
    510: "Insufficient resources",
    511: "Temporarily Busy",
    512: "Media Gateway unequipped to detect requested Event",
    513: "Media Gateway unequipped to generate requested Signals",
    514: "Media Gateway cannot send the specified announcement",
    515: "Unsupported Media Type",
    517: "Unsupported or invalid mode",
    518: "Event buffer full",
    519: "Out of space to store digit map",
    520: "Digit Map undefined in the MG",
    521: "Termination is ServiceChanging",
    522: "Functionality Requested in Topology Triple Not Supported",
    526: "Insufficient bandwidth",
    529: "Internal hardware failure in MG",
    530: "Temporary Network failure",
    531: "Permanent Network failure",
    532: "Audited Property, Statistic, Event or Signal does not exist",
    533: "Response exceeds maximum transport PDU size",
    534: "Illegal write of read only property",
    542: "Command is not allowed on this termination",
    543: "MGC requested event detection timestamp not supported",
    581: "Does Not Exist",
}
_PACKAGES: Final[dict[int, str]] = {
    461: "Unsupported or Unknown Profile",  # H.248.18
    474: "Invalid SDP Syntax",  # H.248.49
    475: "Unable to pause the playout of the signal",  # H.248.66
    476: "Unable to adjust the data delivery speed of the Signal",  # H.248.66
    477: "Unable to adjust the playback relative scale of the signal",  # H.248.66
    478: "Behaviour Contradicts Resource Rule",  # H.248.63
    479: "Only one floor chair per floor is allowed in the context",  # TS 29.333
    540: "Unexpected initial hook state",  # H.248.1 annex E.9
    541: "Unexpected Spare Bit State",  # H.248.33
    600: "Illegal syntax within an announcement specification",  # 600 to 612: H.248.9
    601: "Variable type not supported",
    602: "Variable value out of range",
    603: "Category not supported",
    604: "Selector type not supported",
    605: "Selector value not supported",
    606: "Unknown segment ID",
    607: "Mismatch between play specification and provisioned data",
    608: "Provisioning error",
    609: "Invalid offset",
    610: "No free segment IDs",
    611: "Temporary segment not found",
    612: "Segment in use",
    613: "ISP port limit overrun",  # 613 to 616: registry of IANA
    614: "No modems available",
    615: "Calling number unacceptable",
    616: "Called number unacceptable",
    700: "Sieve Script Syntax Error",  # H.248.69
    701: "Unsupported Sieve Require Error",  # H.248.69
    702: "Sieve Actions Exceeded Error",  # H.248.69
}
ERROR_TEXTS: Final[dict[int, str]] = _H248_8 | _PACKAGES
"""Error code to text."""

REASON_TEXTS: Final[dict[int, str]] = {
    900: "Service Restored",
    901: "Cold Boot",
    902: "Warm Boot",
    903: "MGC Directed Change",
    904: "Termination malfunctioning",
    905: "Termination taken out of service",
    906: "Loss of lower layer connectivity",
    907: "Transmission Failure",
    908: "MG Impending Failure",
    909: "MGC Impending Failure",
    910: "Media Capability Failure",
    911: "Modem Capability Failure",
    912: "Mux Capability Failure",
    913: "Signal Capability Failure",
    914: "Event Capability Failure",
    915: "State Loss",
    916: "Packages Change",
    917: "Capabilities Change",
    918: "Cancel Graceful",
    919: "Warm Failover",
    920: "Cold Failover",
}
"""ServiceChange reason to text (H.248.8 5.2)."""
