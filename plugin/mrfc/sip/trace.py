"""Trace events of the SIP messages that the focus receives and sends."""

from __future__ import annotations

from mrf_ops.trace import Kind, Tracer
from mrf_protocols import sdp
from mrfc.jobs import DialogId, ResponseJob
from mrfc.sip.port import Response


class SipTrace:
    """`peer` is the column of the other side in a ladder; a focus knows participants as UEs."""

    def __init__(self, tracer: Tracer, peer: str = "UE") -> None:
        self._tracer = tracer
        self._peer = peer

    def received(self, dialog: DialogId, cseq: int, method: str, body: str = "", **fields: str) -> None:
        """A request came in."""
        self._emit("received", dialog, method, f"{cseq} {method} request", body, fields)

    def sent(self, dialog: DialogId, cseq: int, method: str, body: str = "", **fields: str) -> None:
        """A request of ours went out."""
        self._emit("sent", dialog, method, f"{cseq} {method} request", body, fields)

    def sent_response(self, dialog: DialogId, cseq: int, method: str, response: Response) -> None:
        """A final response went out."""
        name = f"{response.status} {response.reason} ({method})"
        fields = {"warning": dict(response.headers).get("Warning", "")}
        self._emit("sent", dialog, name, f"{cseq} {method} {response.status}", response.body, fields)

    def received_response(self, job: ResponseJob) -> None:
        """A response to a request of ours came in."""
        name = f"{job.status} {job.reason} ({job.method})"
        self._emit("received", job.dialog, name, f"{job.cseq} {job.method} {job.status}", job.body, {})

    def _emit(
        self, kind: Kind, dialog: DialogId, name: str, key: str, body: str, fields: dict[str, str]
    ) -> None:
        if self._tracer.enabled:
            fields = {**sdp.summary(body), **fields} if body else fields
            self._tracer.emit(dialog.call_id, kind, self._peer, "SIP", name, key, **fields)
