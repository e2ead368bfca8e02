"""Trace events of the SIP messages that the focus receives and sends."""

from __future__ import annotations

import re

from mrf_ops.trace import Tracer
from mrfc.jobs import DialogId
from mrfc.sip_port import Response

_TELLING = re.compile(r"^(m=application.*|a=(?:setup|floorctrl|confid|userid):.*)$", re.MULTILINE)


class SipTrace:
    """`peer` is the column of the other side in a ladder; a focus knows participants as UEs."""

    def __init__(self, tracer: Tracer, peer: str = "UE-A") -> None:
        self._tracer = tracer
        self._peer = peer

    def received(self, dialog: DialogId, cseq: int, method: str, sdp: str = "", contact: str = "") -> None:
        """A request came in."""
        self._emit("received", dialog, cseq, method, "request", method, sdp, contact=contact)

    def sent(self, dialog: DialogId, cseq: int, method: str, reason: str = "") -> None:
        """A request of ours went out."""
        self._emit("sent", dialog, cseq, method, "request", method, reason=reason)

    def sent_response(self, dialog: DialogId, cseq: int, method: str, response: Response) -> None:
        """A final response went out."""
        warning = dict(response.headers).get("Warning", "")
        name = f"{response.status} {response.reason} ({method})"
        self._emit("sent", dialog, cseq, method, str(response.status), name, response.body, warning=warning)

    def received_response(self, dialog: DialogId, cseq: int, method: str, status: int, reason: str) -> None:
        """The final response to a request of ours came in."""
        self._emit("received", dialog, cseq, method, str(status), f"{status} {reason} ({method})")

    def _emit(
        self,
        kind: str,
        dialog: DialogId,
        cseq: int,
        method: str,
        what: str,
        name: str,
        sdp: str = "",
        **fields: str,
    ) -> None:
        if not self._tracer.enabled:
            return
        if sdp:
            fields["sdp"] = summary(sdp)
        self._tracer.emit(
            dialog.call_id,
            "sent" if kind == "sent" else "received",
            self._peer,
            "SIP",
            name,
            f"{cseq} {method} {what}",
            **fields,
        )


def summary(sdp: str) -> str:
    """The telling lines of a session description with BFCP, on one line."""
    lines = [line.strip() for line in _TELLING.findall(sdp.replace("\r", ""))]
    if "a=key-mgmt:mikey" in sdp:
        lines.append("a=key-mgmt:mikey")
    return " ".join(lines)
