"""Media at a mixer, end to end: a device and a mixer by hand, KMS, MRFC and MRFP in earnest."""

from __future__ import annotations

import os
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest
from functional.mixer.conftest import SIPP_SCENARIO, TIMEOUT
from kernel_tables import is_bound
from sip_peer import Message, SipPeer
from system_support import Scene, until

from lab import DOMAIN, Lab
from mrf_protocols import sdp

TARGET = f"sip:meeting@{DOMAIN}"
LONG = 30.0
HEAD = "v=0\r\no=room 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
AUDIO = "m=audio 40000 RTP/AVP 0\r\na={direction}\r\n"
TCP = "m=application 9 TCP/BFCP *\r\na=setup:active\r\na=connection:{connection}\r\na=floorctrl:c-only\r\n"
UDP = "m=application 40010 UDP/BFCP *\r\na=floorctrl:c-s\r\n"
SDP_TYPE = "Content-Type: application/sdp\r\n"
MIX = "v=0\r\no=mix 7 {version} IN IP4 127.0.0.9\r\ns=mix\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\n"


def offer(bfcp: str = TCP, direction: str = "sendrecv", version: int = 1, connection: str = "new") -> str:
    """The device's: audio and BFCP."""
    return (HEAD + AUDIO + bfcp).format(direction=direction, version=version, connection=connection)


def mix(invite: Message, direction: str = "sendrecv", version: int = 1) -> str:
    """The mixer's answer to an INVITE of the MRFC, or an offer like it: its audio, nothing else."""
    proto = sdp.parse(invite.body).media[1].proto
    lines = f"m=audio 6000 RTP/AVP 0\r\na={direction}\r\nm=application 0 {proto} *\r\n"
    return MIX.format(version=version) + lines


class Room:
    """A device in a call."""

    def __init__(self, peer: SipPeer) -> None:
        self.peer = peer
        self.call_id = ""
        self.tag = ""
        self.cseq = 0
        self.bfcp: socket.socket | None = None

    def call(self, body: str) -> None:
        """Send an INVITE: the first, or one within the dialog."""
        self.cseq += 1
        self.call_id = self.peer.request(
            "INVITE",
            TARGET,
            call_id=self.call_id,
            cseq=self.cseq,
            to_tag=self.tag,
            content_type="application/sdp",
            body=body,
        )

    def answered(self) -> sdp.SessionDescription:
        """The 200 to that, acknowledged; gives the answer."""
        response = self.peer.wait(lambda each: each.status >= 200 and each.method == "INVITE", LONG)
        assert response.status == 200, response
        self.tag = response.to_tag
        self.peer.request("ACK", TARGET, call_id=self.call_id, cseq=self.cseq, to_tag=self.tag)
        answer = sdp.parse(response.body)
        stream = sdp.find_bfcp(answer)
        if stream is not None and self.bfcp is None:
            self.bfcp = socket.create_connection((stream.address.host, stream.address.port))
        return answer

    def hang_up(self) -> None:
        self.peer.request("BYE", TARGET, call_id=self.call_id, cseq=self.cseq + 1, to_tag=self.tag)
        assert self.peer.wait(lambda each: each.status >= 200 and each.method == "BYE", LONG).status == 200
        self.close()

    def close(self) -> None:
        if self.bfcp is not None:
            self.bfcp.close()


def joined(
    room: SipPeer, mixer: SipPeer, body: str = "", said: str = ""
) -> tuple[Room, Message, sdp.SessionDescription]:
    """A device whose audio is at the mixer; `said` are more header fields of the mixer's 200."""
    device = Room(room)
    device.call(body or offer())
    invite = mixer.incoming("INVITE", LONG)
    mixer.respond(invite, 180)
    mixer.respond(invite, 200, said + SDP_TYPE, mix(invite))
    answer = device.answered()
    assert mixer.incoming("ACK", LONG).target == mixer.address
    return device, invite, answer


def in_dialog(mixer: SipPeer, invite: Message, method: str, cseq: int, body: str = "") -> None:
    """A request of the mixer within its dialog."""
    tag = invite["From"].partition(";tag=")[2]
    target = invite["Contact"].partition("<")[2].partition(">")[0]
    kind = "application/sdp" if body else ""
    mixer.request(
        method, target, call_id=invite["Call-ID"], cseq=cseq, to_tag=tag, content_type=kind, body=body
    )


async def test_media_and_floor_control_of_one_call(scene: Scene, room: SipPeer, mixer: SipPeer) -> None:
    device, invite, answer = joined(room, mixer)
    assert invite.target.startswith("sip:meeting@127.0.0.1")
    assert [media.port for media in sdp.parse(invite.body).media] == [40000, 0]
    audio, stream = answer.media[0], sdp.bfcp_media(answer, 1)
    assert (audio.port, audio.connections[0].address, audio.label) == (6000, "127.0.0.9", "10")
    assert stream.floors[0] == sdp.FloorStreams(1, ("10",))
    calls = urllib.request.urlopen(f"http://127.0.0.1:{scene.lab.ports.http}/calls").read().decode()
    assert invite["Call-ID"] in calls
    device.hang_up()
    assert mixer.incoming("BYE", LONG)["Call-ID"] == invite["Call-ID"]
    await until(lambda: legs(scene.lab) == 0)


def legs(lab: Lab) -> int:
    """Dialogs with the mixer, as the metrics tell."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{lab.ports.http}/metrics").read().decode()
    return int(
        float(next(line for line in text.splitlines() if line.startswith("mrfc_mixer_legs ")).split()[1])
    )


async def test_a_device_with_bfcp_over_udp(scene: Scene, room: SipPeer, mixer: SipPeer) -> None:
    device, _, answer = joined(room, mixer, offer(UDP))
    assert [media.port for media in answer.media] == [6000, 0]
    device.hang_up()
    mixer.incoming("BYE", LONG)


async def test_the_device_puts_the_mixer_on_hold(scene: Scene, room: SipPeer, mixer: SipPeer) -> None:
    device, invite, _ = joined(room, mixer)
    device.call(offer(direction="inactive", version=2, connection="existing"))
    again = mixer.incoming("INVITE", LONG)
    assert (again["Call-ID"], again.cseq) == (invite["Call-ID"], 2)
    assert "a=inactive" in again.body
    mixer.respond(again, 200, SDP_TYPE, mix(again, "inactive", 2))
    answer = device.answered()
    assert answer.media[0].value_of("inactive") is not None
    assert sdp.bfcp_media(answer, 1).connection is sdp.ConnectionUse.EXISTING
    device.hang_up()
    mixer.incoming("BYE", LONG)


async def test_the_mixer_puts_the_device_on_hold(scene: Scene, room: SipPeer, mixer: SipPeer) -> None:
    device, invite, _ = joined(room, mixer)
    in_dialog(mixer, invite, "INVITE", 1, mix(invite, "sendonly", 2))
    told = room.incoming("INVITE", LONG)
    assert sdp.parse(told.body).media[0].value_of("sendonly") is not None
    room.respond(told, 200, SDP_TYPE, offer(direction="recvonly", version=2, connection="existing"))
    room.incoming("ACK", LONG)
    response = mixer.response("INVITE")
    assert (response.status, "a=recvonly" in response.body) == (200, True)
    in_dialog(mixer, invite, "ACK", 1)
    device.hang_up()
    mixer.incoming("BYE", LONG)


async def test_the_mixer_hangs_up(scene: Scene, room: SipPeer, mixer: SipPeer) -> None:
    """The device loses its media and keeps its floor control."""
    scene.expect("mrfc", "the mixer does not serve sip:room@ue.example any more: it has hung up")
    device, invite, _ = joined(room, mixer)
    in_dialog(mixer, invite, "BYE", 1)
    assert mixer.response("BYE").status == 200
    told = room.incoming("INVITE", LONG)
    assert [bool(media.port) for media in sdp.parse(told.body).media] == [False, True]
    gone = offer(version=2, connection="existing").replace("m=audio 40000", "m=audio 0")
    room.respond(told, 200, SDP_TYPE, gone)
    room.incoming("ACK", LONG)
    device.hang_up()


async def test_a_mixer_that_has_forgotten_the_call(scene: Scene, room: SipPeer, mixer: SipPeer) -> None:
    """Refreshed in time, it says so; the device loses its media and keeps its floor control."""
    scene.expect("mrfc", "the mixer does not serve sip:room@ue.example any more: 481")
    said = "Supported: timer\r\nSession-Expires: {0};refresher=uac\r\nRequire: timer\r\n"
    device, invite, _ = joined(room, mixer, said=said.format(4))
    assert (invite["Session-Expires"], invite["Supported"]) == ("180", "timer")
    again = mixer.incoming("INVITE", LONG)
    assert (again.cseq, again.body, again["Session-Expires"]) == (2, invite.body, "4;refresher=uac")
    mixer.respond(again, 200, said.format(4) + SDP_TYPE, mix(again))
    mixer.incoming("ACK", LONG)
    mixer.respond(mixer.incoming("INVITE", LONG), 481)
    told = room.incoming("INVITE", LONG)
    assert [bool(media.port) for media in sdp.parse(told.body).media] == [False, True]
    gone = offer(version=2, connection="existing").replace("m=audio 40000", "m=audio 0")
    room.respond(told, 200, SDP_TYPE, gone)
    room.incoming("ACK", LONG)
    assert legs(scene.lab) == 0
    device.hang_up()


@pytest.mark.parametrize("status", [486, 500])
async def test_the_mixer_refuses(scene: Scene, room: SipPeer, mixer: SipPeer, status: int) -> None:
    scene.expect("mrfc", f"the mixer does not serve sip:room@ue.example: {status}")
    device = Room(room)
    device.call(offer())
    mixer.respond(mixer.incoming("INVITE", LONG), status)
    assert [bool(media.port) for media in device.answered().media] == [False, True]
    device.hang_up()


async def test_the_mixer_is_slow(scene: Scene, room: SipPeer, mixer: SipPeer) -> None:
    scene.expect("mrfc", f"the mixer does not serve sip:room@ue.example: no answer in {TIMEOUT:g} s")
    device = Room(room)
    device.call(offer())
    invite = mixer.incoming("INVITE", LONG)
    mixer.respond(invite, 180)
    assert [bool(media.port) for media in device.answered().media] == [False, True]
    mixer.incoming("CANCEL", LONG)
    mixer.respond(invite, 487)
    device.hang_up()
    await until(lambda: legs(scene.lab) == 0)


async def test_the_device_cancels(scene: Scene, room: SipPeer, mixer: SipPeer) -> None:
    device = Room(room)
    device.call(offer())
    invite = mixer.incoming("INVITE", LONG)
    mixer.respond(invite, 180)
    cancel_of(room, device)
    assert room.wait(lambda each: each.status >= 200 and each.method == "INVITE", LONG).status == 487
    mixer.incoming("CANCEL", LONG)
    mixer.respond(invite, 487)
    await until(lambda: legs(scene.lab) == 0)


def cancel_of(peer: SipPeer, device: Room) -> None:
    """CANCEL, on the branch of the INVITE."""
    invite = peer.last_request
    lines = [
        line
        for line in invite.split("\r\n")
        if line.startswith(("Via", "From", "To", "Call-ID", "Max-Forwards"))
    ]
    text = "\r\n".join(
        [f"CANCEL {TARGET} SIP/2.0", *lines, f"CSeq: {device.cseq} CANCEL", "Content-Length: 0", "", ""]
    )
    peer.socket.sendto(text.encode(), peer.server)


async def test_sipp_is_the_mixer(
    scene: Scene, room: SipPeer, lab: Lab, mixer_port: int, tmp_path: Path
) -> None:
    """A SIP stack that is not ours, three calls one after the other."""
    calls = 3
    command = ["sipp", "-i", "127.0.0.1", "-p", str(mixer_port), "-t", "u1", "-m", str(calls), "-nostdin"]
    command += [
        "-sf",
        str(SIPP_SCENARIO),
        "-recv_timeout",
        "30000",
        "-trace_err",
        "-error_file",
        "errors.log",
    ]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, env={**os.environ, "TERM": "dumb"}
    ) as sipp:
        await until(lambda: is_bound("udp", mixer_port))
        for _ in range(calls):
            device = Room(room)
            device.call(offer())
            assert device.answered().media[0].port == 6000
            device.hang_up()
        status = sipp.wait(60)
    errors = tmp_path / "errors.log"
    assert status == 0, errors.read_text() if errors.exists() else "no errors told"
