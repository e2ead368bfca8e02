"""What scenarios read in messages."""

from aiosipua import SipRequest, SipResponse

from mrf_ue.trunk.actions import Message


def line(response: SipResponse) -> str:
    """`481 Call Does Not Exist`, with the Warning if there is one."""
    warning = "; ".join(response.get_header_values("Warning"))
    text = f"{response.status_code} {response.reason_phrase}".strip()
    return f"{text} (Warning: {warning})" if warning else text


def branch_of(message: Message) -> str:
    """The branch of the topmost Via, "" without one."""
    vias = message.via
    return (vias[0].branch or "") if vias else ""


def method_of(message: Message) -> str:
    """The method of a request, or in the CSeq of a response."""
    if isinstance(message, SipRequest):
        return message.method
    return (message.get_header("CSeq") or "").partition(" ")[2].strip()


def tokens(message: Message, name: str) -> frozenset[str]:
    """The words of a header field that lists them, in lower case, without parameters."""
    values = ",".join(message.get_header_values(name)).split(",")
    return frozenset(word for value in values if (word := value.partition(";")[0].strip().lower()))
