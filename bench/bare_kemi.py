"""The least a KEMI Python script can do with a call: answer it, and answer its BYE. The measure for the MRFC."""

from __future__ import annotations

import KSR

SDP = (
    "v=0\r\no=bare 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=application 20000 TCP/TLS/BFCP *\r\na=setup:passive\r\na=connection:new\r\n"
)
DONE = 1


def mod_init() -> Bare:
    """Called by Kamailio in its first process."""
    return Bare()


class Bare:
    """The callbacks that Kamailio knows by name."""

    def child_init(self, rank: int) -> int:
        return 0

    def ksr_request_route(self, msg: object) -> int:
        method = KSR.pv.get("$rm")
        if method == "ACK":
            KSR.tm.t_check_trans()
        elif method in ("INVITE", "BYE") and KSR.tm.t_newtran() == 1:
            if method == "INVITE":
                KSR.hdr.append_to_reply("Contact: <sip:bare@127.0.0.1>\r\n")
                KSR.textops.set_reply_body(SDP, "application/sdp")
            KSR.tm.t_reply(200, "OK")
        return DONE
