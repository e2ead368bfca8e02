"""How a SIP message appears in a trace: its name, its key, its telling fields."""

import base64
import binascii

from aiosipua import SipRequest, SipResponse

from mrf_protocols.mikey.numbers import DataType
from mrf_ue.sip_transactions import cseq_method, cseq_number

_SHOWN_ATTRIBUTES = {"setup": "setup", "floorctrl": "floorctrl", "confid": "confid", "userid": "userid"}


def message_name(message: SipRequest | SipResponse) -> str:
    """`INVITE`, or `200 OK (INVITE)`."""
    if isinstance(message, SipRequest):
        return message.method
    return f"{message.status_code} {message.reason_phrase} ({cseq_method(message)})"


def message_key(message: SipRequest | SipResponse) -> str:
    """`1 INVITE request`, or `1 INVITE 200`: the same at both ends."""
    if isinstance(message, SipRequest):
        return f"{cseq_number(message)} {message.method} request"
    return f"{cseq_number(message)} {cseq_method(message)} {message.status_code}"


def message_fields(message: SipRequest | SipResponse) -> dict[str, str]:
    """From, To, a summary of the SDP, and what a refusal says."""
    fields = {
        "from": _addr_spec(message.get_header("From") or ""),
        "to": _addr_spec(message.get_header("To") or ""),
        "warning": message.get_header("Warning") or "",
    }
    if message.body and (message.content_type or "").lower().startswith("application/sdp"):
        fields |= _sdp_summary(message.text)
    return fields


def _addr_spec(value: str) -> str:
    return value.partition("<")[2].partition(">")[0] or value.partition(";")[0]


def _sdp_summary(text: str) -> dict[str, str]:
    """The BFCP m-line and its attributes, as far as they are there; never a fault."""
    summary: dict[str, str] = {}
    in_bfcp = False
    for line in text.splitlines():
        if line.startswith("m="):
            parts = line[2:].split()
            in_bfcp = len(parts) > 2 and parts[2].endswith("/BFCP")
            if in_bfcp:
                summary |= {"proto": parts[2], "port": parts[1]}
        elif line.startswith("c=") and (in_bfcp or "address" not in summary):
            summary["address"] = line.split()[-1]
        elif line.startswith("a=key-mgmt:"):
            summary["key_mgmt"] = _key_mgmt(line.partition(":")[2].split())
        elif in_bfcp and line.startswith("a="):
            name, _, value = line[2:].partition(":")
            if name in _SHOWN_ATTRIBUTES:
                summary[name] = value
    return summary


def _key_mgmt(words: list[str]) -> str:
    """`mikey TRANSFER_INIT`: the protocol and the kind of message, nothing of what it carries."""
    if len(words) != 2:
        return "malformed"
    try:
        return f"{words[0]} {DataType(base64.b64decode(words[1])[1]).name}"
    except (binascii.Error, IndexError, ValueError):
        return words[0]
