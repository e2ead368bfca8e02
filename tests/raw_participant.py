"""A participant in raw SIP: its BFCP goes over TCP without TLS, so that it can join without any key."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field

from sip_peer import Message, SipPeer

from lab import Settings

MEETING = "sip:meeting@conf.example"
ACK_TIMEOUT = 8.0
PATIENCE = 60.0


def lab_settings() -> Settings:
    """A laboratory for them: session intervals from 4 s on; RFC 4028 wants 90 at least."""
    return Settings(
        mrfc={
            "sip": {
                "ack_timeout": ACK_TIMEOUT,
                "reconnect_grace": 0.2,
                "session_expires": 60,
                "min_se": 4,
                "reliable_provisionals": "supported",
            },
            "bfcp": {"unsecured": "allow"},
        },
        mrfp={"bfcp": {"unsecured": "allow"}},
        trace=False,
    )


@dataclass
class Participant(SipPeer):
    """One call. It lets the MRFP connect to it and says nothing on the connection."""

    copies: list[Message] = field(default_factory=list)
    """Everything that came, retransmissions included."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._bearer = socket.create_server(("127.0.0.1", 0))
        self.call_id = ""
        self.cseq = 0
        self.far_tag = ""
        self.far_target = MEETING
        self.answer = ""

    def __enter__(self) -> Participant:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bearer.close()
        super().__exit__(*exception)

    def close_bearer(self) -> None:
        """The MRFP's connection, which may be on its way yet, goes down, and there will be no other."""
        self._bearer.settimeout(PATIENCE)
        connection, _ = self._bearer.accept()
        connection.close()
        self._bearer.close()

    @property
    def offer(self) -> str:
        """TCP/BFCP, and the MRFP connects."""
        port = self._bearer.getsockname()[1]
        lines = (
            "v=0",
            "o=- 1 1 IN IP4 127.0.0.1",
            "s=-",
            "c=IN IP4 127.0.0.1",
            "t=0 0",
            f"m=application {port} TCP/BFCP *",
            "a=setup:passive",
            "a=connection:new",
            "a=floorctrl:c-only",
            "a=bfcpver:1",
        )
        return "".join(f"{line}\r\n" for line in lines)

    def existing(self, offer: str) -> str:
        """The answer to an offer that keeps the connection."""
        assert "a=connection:existing" in offer
        return self.offer.replace("connection:new", "connection:existing").replace("o=- 1 1", "o=- 1 2")

    def invite(self, *headers: str, body: str | None = None) -> Message:
        """INVITE up to its final response, which is not acknowledged."""
        self.ask(*headers, body=body)
        return self.response("INVITE")

    def ask(self, *headers: str, body: str | None = None) -> None:
        """INVITE, and nothing else."""
        self.cseq += 1
        text = self.offer if body is None else body
        content_type = "application/sdp" if text else ""
        self.call_id = self.request(
            "INVITE", MEETING, *headers, cseq=self.cseq, content_type=content_type, body=text
        )

    def accepted(self, seconds: float) -> Message | None:
        """The final response to the INVITE, if it comes in that time."""
        try:
            return self.wait(lambda message: message.status >= 200 and message.method == "INVITE", seconds)
        except AssertionError:
            return None

    def invite_from(self, contact: str) -> Message:
        """INVITE with a Contact of somebody else's."""
        self.cseq += 1
        self.call_id = self.request(
            "INVITE",
            MEETING,
            f"Contact: <{contact}>",
            cseq=self.cseq,
            content_type="application/sdp",
            body=self.offer,
            contact=False,
        )
        return self.response("INVITE")

    def joined(self, *headers: str) -> Message:
        """INVITE, 200, ACK; gives the 200."""
        return self.established(self.invite(*headers))

    def established(self, response: Message) -> Message:
        """Take a 200 for the dialog and acknowledge it."""
        assert response.status == 200, response.start
        self.far_tag, self.answer = response.to_tag, response.body
        found = re.search(r"<([^>]+)>", response["Contact"])
        assert found is not None
        self.far_target = found[1]
        self.ack()
        return response

    def ack(self) -> None:
        """ACK of the last INVITE, in a transaction of its own as each time."""
        self.within("ACK", step=0)

    def within(self, method: str, *headers: str, body: str = "", step: int = 1) -> None:
        """A request within the dialog."""
        self.cseq += step
        self.request(
            method,
            self.far_target,
            *headers,
            call_id=self.call_id,
            cseq=self.cseq,
            to_tag=self.far_tag,
            content_type="application/sdp" if body else "",
            body=body,
        )

    def bye(self) -> None:
        """Leave."""
        self.within("BYE")
        assert self.response("BYE").status == 200

    def copy_of(self, method: str, number: int) -> None:
        """Wait until a request has come so many times, copies included."""
        while sum(not each.status and each.method == method for each in self.copies) < number:
            self.socket.settimeout(PATIENCE)
            self._take(Message.read(self.socket.recv(65_535)))

    def _take(self, message: Message) -> None:
        self.copies.append(message)
        super()._take(message)
