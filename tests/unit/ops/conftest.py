"""A dial-in as the four elements would tell it, with round times, for the ladder's tests."""

import pytest

from mrf_ops.trace import ListSink, TraceEvent, Tracer

CALL = "a84b4c76e66710@192.0.2.10"
START = 1_900_000_000.0


class Scene:
    """Writes events with a clock that the scene's author turns."""

    def __init__(self) -> None:
        self.sink = ListSink()
        self.now = START
        self._tracers = {
            name: Tracer(name, self.sink, clock=lambda: self.now, strict=True)
            for name in ("UE-A", "MRFC", "KMS", "MRFP")
        }

    def message(self, ms: float, ends: str, protocol: str, name: str, key: str = "", **fields: str) -> None:
        """Both ends of "SENDER>RECEIVER" tell, the receiver half a millisecond later."""
        source, target = ends.split(">")
        self.now = START + ms / 1000
        self._tracers[source].emit(CALL, "sent", target, protocol, name, key, **fields)
        self.now += 0.0005
        self._tracers[target].emit(CALL, "received", source, protocol, name, key)

    def lonely(self, ms: float, ends: str, protocol: str, name: str, key: str = "", **fields: str) -> None:
        """Only the sender tells."""
        source, target = ends.split(">")
        self.now = START + ms / 1000
        self._tracers[source].emit(CALL, "sent", target, protocol, name, key, **fields)

    def local(self, ms: float, element: str, protocol: str, name: str, **fields: str) -> None:
        """Something inside one element."""
        self.now = START + ms / 1000
        self._tracers[element].emit(CALL, "local", "", protocol, name, **fields)


@pytest.fixture
def scene() -> Scene:
    """An empty stage."""
    return Scene()


@pytest.fixture
def dial_in() -> list[TraceEvent]:
    """Ticket, INVITE to 200, ACK, TLS, one floor taken and given back, BYE."""
    scene = Scene()
    ue, conf = "sip:alice@example.org", "sip:conf-1@example.org"
    scene.message(0, "UE-A>KMS", "KMS", "REQUEST_INIT_PSK", "1d0a77c1", initiator=ue, responder=conf)
    scene.message(3, "KMS>UE-A", "KMS", "REQUEST_RESP", "1d0a77c1", result="ticket granted", valid="3600 s")
    scene.local(4, "UE-A", "MIKEY", "TRANSFER_INIT", csb_id="55667788", prot_type="241", ticket="2 (3GPP)")
    offer = "TCP/TLS/BFCP setup=actpass floorctrl=c-only key-mgmt=TRANSFER_INIT"
    scene.message(6, "UE-A>MRFC", "SIP", "INVITE", "1 INVITE request", from_=ue, to=conf, sdp=offer)
    scene.message(7, "MRFC>UE-A", "SIP", "100 Trying (INVITE)", "1 INVITE 100")
    scene.message(9, "MRFC>KMS", "KMS", "RESOLVE_INIT_PSK", "55667788", identity=conf)
    scene.message(12, "KMS>MRFC", "KMS", "RESOLVE_RESP", "55667788", result="resolved", initiator=ue)
    name = "Add request: Configure BFCP Termination"
    scene.message(14, "MRFC>MRFP", "Mp", name, "101 request", context="$", remote="192.0.2.10:41000")
    scene.local(
        15, "MRFP", "Mp", "local address seized", context="7", termination="bfcp/1", local="192.0.2.40:20000"
    )
    scene.message(16, "MRFP>MRFC", "Mp", "Add reply", "101 reply", context="7", local="192.0.2.40:20000")
    link = "192.0.2.40:20000->192.0.2.10:41000"
    scene.message(17, "MRFP>UE-A", "TCP", "TCP connect", link, role="active")
    scene.local(18, "MRFC", "MIKEY", "TRANSFER_RESP and SDP answer built", csb_id="55667788")
    answer = "TCP/TLS/BFCP setup=active floorctrl=s-only confid=7 userid=1 key-mgmt=TRANSFER_RESP"
    scene.message(19, "MRFC>UE-A", "SIP", "200 OK (INVITE)", "1 INVITE 200", sdp=answer)
    scene.message(20, "UE-A>MRFC", "SIP", "ACK", "1 ACK request")
    scene.message(22, "UE-A>MRFP", "TLS", "ClientHello", "55667788.1", version="TLS 1.3")
    scene.message(
        26,
        "MRFP>UE-A",
        "TLS",
        "TLS established",
        "55667788.1",
        cipher="TLS_AES_128_GCM_SHA256",
        psk_identity="55667788.1",
    )
    scene.message(30, "UE-A>MRFP", "BFCP", "FloorRequest", "FloorRequest 1 1", floor="1")
    scene.message(
        31, "MRFP>UE-A", "BFCP", "FloorRequestStatus Granted", "FloorRequestStatus 1 1", request="1"
    )
    scene.message(1031, "UE-A>MRFP", "BFCP", "FloorRelease", "FloorRelease 2 1", request="1")
    scene.message(
        1032, "MRFP>UE-A", "BFCP", "FloorRequestStatus Released", "FloorRequestStatus 2 1", request="1"
    )
    scene.message(1040, "UE-A>MRFC", "SIP", "BYE", "2 BYE request")
    scene.message(1042, "MRFC>UE-A", "SIP", "200 OK (BYE)", "2 BYE 200")
    name = "Subtract request: Release BFCP Termination"
    scene.message(1043, "MRFC>MRFP", "Mp", name, "102 request", context="7", termination="bfcp/1")
    scene.message(1044, "MRFP>MRFC", "Mp", "Subtract reply", "102 reply", context="7")
    scene.lonely(1045, "MRFP>UE-A", "TCP", "TCP closed", link)
    return scene.sink.events
