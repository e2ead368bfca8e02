"""Who is let in by a running MRFC, by which trunk, and what others get."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace

import pytest
from aiosipua import SipDigestAuth
from sip_peer import SipPeer
from system_support import lonely_scene, until
from trunk_support import BUSY, HOME, PASSWORD, PBX, STRANGER, TrunkLab

from lab import DOMAIN
from mrf_ue.errors import SipRefused
from mrfc.trunks.digest import Algorithm, Challenge, Login

TARGET = f"sip:meeting@{DOMAIN}"


def peer(lab: TrunkLab, host: str) -> SipPeer:
    return SipPeer(("127.0.0.1", lab.ports.sip), "pbx", host=host)


def test_strangers_are_refused(trunks: TrunkLab) -> None:
    before = trunks.counted("-", "stranger")
    with peer(trunks, STRANGER) as stranger:
        stranger.request("OPTIONS", TARGET)
        assert stranger.response("OPTIONS").status == 403
    assert trunks.counted("-", "stranger") == before + 1
    told = f"request from udp:{STRANGER}:"
    assert [
        line for line in trunks.elements["mrfc"].output().splitlines() if told in line and "stranger" in line
    ]


def test_neighbours_are_served_and_counted(trunks: TrunkLab) -> None:
    before = trunks.counted("home", "served")
    with peer(trunks, HOME) as neighbour:
        neighbour.request("OPTIONS", TARGET)
        assert neighbour.response("OPTIONS").status == 200
    assert trunks.counted("home", "served") == before + 1


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_digest(trunks: TrunkLab, algorithm: Algorithm) -> None:
    """A response is good for one request; the same nonce with the next count is good for the next one."""
    with peer(trunks, PBX) as pbx:
        pbx.request("OPTIONS", TARGET)
        challenged = pbx.response("OPTIONS")
        assert challenged.status == 401
        offered = [Challenge.parse(value) for value in challenged.values("WWW-Authenticate")]
        challenge = next(each for each in offered if each.algorithm is algorithm)
        for cseq, (password, count, status) in enumerate(
            [(PASSWORD, 1, 200), (PASSWORD, 1, 401), ("guessed", 2, 401), (PASSWORD, 2, 200)], 2
        ):
            proof = Login("pbx", password).answer(challenge, "OPTIONS", TARGET, count, "c")
            pbx.request("OPTIONS", TARGET, f"Authorization: {proof}", cseq=cseq)
            assert pbx.response("OPTIONS").status == status
    for result in ("no_credentials", "bad_credentials", "stale_nonce"):
        assert trunks.counted("pbx", result) > 0


async def test_a_call_through_a_trunk_with_digest(trunks: TrunkLab) -> None:
    """INVITE, BYE and all between."""
    login = SipDigestAuth("pbx", PASSWORD)
    async with lonely_scene(trunks) as scene:
        ue = await scene.ue(sip=replace(trunks.sip("udp", host=PBX), login=login), bearer_host="127.0.0.1")
        assert (await ue.dial()).status_code == 401
        assert (await ue.final(number=2)).status_code == 200
        await ue.wait_answer()
        ue.check_answer()
        await ue.ack()
        await ue.connect()
        await ue.secure()
        await ue.hello()
        await ue.bye()


def test_rate_and_flood_of_one_source(trunks: TrunkLab) -> None:
    """Beyond the rate 503, beyond the flood silence; another source does not notice."""
    with peer(trunks, BUSY) as busy, peer(trunks, HOME) as neighbour:
        for cseq in range(1, 121):
            busy.request("OPTIONS", TARGET, cseq=cseq)
        refused = busy.wait(lambda message: message.status == 503)
        assert refused["Retry-After"] == "5"
        neighbour.request("OPTIONS", TARGET)
        assert neighbour.response("OPTIONS").status == 200
    assert trunks.counted("busy", "flood") > 0
    assert trunks.counted("busy", "rate") > 0


def test_sizes(trunks: TrunkLab) -> None:
    with peer(trunks, HOME) as neighbour:
        neighbour.request("INVITE", TARGET, content_type="application/sdp", body="x" * 30_001)
        assert neighbour.response("INVITE").status == 413
        neighbour.request("OPTIONS", TARGET, *(f"X-{number}: {'y' * 1000}" for number in range(60)), cseq=2)
        assert neighbour.response("OPTIONS").status == 513


async def test_a_certificate_of_another(trunks: TrunkLab) -> None:
    """Vouched for by the right authority, but not the carrier: 403."""
    context = trunks.files.client(trunks.other_certificate)
    async with lonely_scene(trunks) as scene:
        ue = await scene.ue(sip=replace(trunks.sip("tls"), tls=context))
        assert (await ue.dial()).status_code == 403


async def test_no_certificate(trunks: TrunkLab) -> None:
    async with lonely_scene(trunks) as scene:
        scene.may_log("mrfc", "peer did not present a certificate")  # Kamailio says it once or twice
        ue = await scene.ue(sip=replace(trunks.sip("tls"), tls=trunks.files.client(None)))
        assert (await ue.dial()).status_code == 403


async def test_a_certificate_of_an_unknown_authority(trunks: TrunkLab) -> None:
    """The handshake fails: nothing of SIP is seen."""
    context = trunks.files.client(None)
    context.load_cert_chain(*trunks.unknown_certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # so that the client learns of it within the handshake
    async with lonely_scene(trunks) as scene:
        scene.may_log("mrfc", r"\btls\b.*|tcp_read_req")
        with pytest.raises(SipRefused):
            await scene.ue(sip=replace(trunks.sip("tls"), tls=context))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_is_refused(trunks: TrunkLab) -> None:
    context = trunks.files.client(trunks.carrier_certificate)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", trunks.tls_port), 10) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


async def test_served_again_after_all_that(trunks: TrunkLab) -> None:
    await until(lambda: trunks.status()["calls"] == 0)
    async with lonely_scene(trunks) as scene:
        ue = await scene.ue(sip=trunks.sip("tls"))
        await ue.join_bfcp()
        await ue.bye()
