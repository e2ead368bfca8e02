"""How a SIP message appears in a trace: its name, its key, its telling fields."""

from aiosipua import SipRequest, SipResponse

from mrf_protocols import sdp
from mrf_ue.sip_transactions import cseq_method, cseq_number


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
        fields |= sdp.summary(message.text)
    return fields


def _addr_spec(value: str) -> str:
    return value.partition("<")[2].partition(">")[0] or value.partition(";")[0]
