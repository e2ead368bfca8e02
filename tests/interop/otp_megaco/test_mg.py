"""Erlang/OTP's megaco as media gateway: it registers with our MRFC and serves its calls."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from otp_support import INSTALLED, OtpPeer, encoded, otp
from system_support import Scene, settings, until

from lab import Lab
from mrf_ops.lines import Transport
from mrf_ops.trace import Tracer
from mrf_protocols.h248 import mp
from mrf_protocols.h248.values import ServiceChangeDescriptor, TransactionReply
from mrfc.mp.controller import MpController, MpTransports, MrfpRefused, MrfpUnavailable

pytestmark = pytest.mark.skipif(not INSTALLED, reason="Erlang/OTP is not installed")
WAYS = list(itertools.product(("tcp", "udp"), ("pretty", "compact"), (1, 2, 3)))
CONFIGURE = mp.ConfigureBfcpTermination(
    ("192.0.2.7", 40000),
    7,
    conference=mp.Conference(4711, (mp.Floor(1, ("10",)),)),
    psk=bytes(16),
    psk_identity="55667788.1",
    start_tcp=True,
    correlation="call-1@ue",
)


def registration(version: int, method: str = "Restart", reason: str = "901 Cold boot") -> str:
    return (
        "MEGACO/1 mg Transaction = 1 {Context = - {ServiceChange = ROOT {Services {"
        f'Method = {method}, Version = {version}, Profile = bfcp_mrfp/1, Reason = "{reason}"}}}}}}}}'
    )


def answer(port: int) -> str:
    """What the gateway answers to every Add."""
    return (
        "MEGACO/3 mg Reply = 1 {Context = 12 {Add = ephemeral/1 {Media {Stream = 1 {Local {\n"
        f"v=0\nc=IN IP4 127.0.0.1\nm=application {port} TCP/TLS/BFCP *\n}}}}}}}}}}}}"
    )


async def register(
    gateway: OtpPeer, transport: str, port: int, style: str, version: int = 3
) -> TransactionReply:
    """Connect and register."""
    gateway.say("connect", transport, str(port), style)
    await gateway.hear("ready")
    return await gateway.ask(registration(version))


@asynccontextmanager
async def controller() -> AsyncIterator[MpController]:
    transports = MpTransports((Transport.TCP, Transport.UDP))
    made = MpController(
        "127.0.0.1", 0, Tracer("MRFC"), timeout=30.0, heartbeat=0.2, loss_grace=60.0, transports=transports
    )
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize(("transport", "style", "version"), WAYS)
async def test_registration_in_every_version(transport: str, style: str, version: int) -> None:
    async with controller() as mrfc, otp("mg") as gateway:
        reply = await register(gateway, transport, mrfc.ports[Transport(transport)], style, version)
        accepted = reply.actions[0].commands[0].find(ServiceChangeDescriptor)
        assert accepted is not None
        assert accepted.version == version
        await until(lambda: mrfc.mrfps()[0].in_service)
        (status,) = mrfc.mrfps()
        assert (status.mrfp, status.version, status.in_service) == ("mg", version, True)
        for _ in range(3):  # Watch MRFP, and heartbeats
            asked, _ = await gateway.request()
            assert asked == version
        if version < 3:
            with pytest.raises(MrfpUnavailable):
                mrfc.choose_mrfp()
            assert gateway.faults() == []
            return
        gateway.say("answer", encoded(answer(5000)))
        configured = await mrfc.request("mg", CONFIGURE)
        assert configured == mp.TerminationConfigured(12, "ephemeral/1", ("127.0.0.1", 5000))
        heard: list[mp.NotifyIndication] = []
        mrfc.on_notify = lambda _, indication: heard.append(indication)
        await gateway.ask(
            "MEGACO/3 mg Transaction = 1 {Context = 12 {Notify = ephemeral/1 {ObservedEvents = 1 {"
            "tcpbcc/BNCChange {Type = Rel}}}}}"
        )
        await until(lambda: heard)
        assert heard == [mp.BearerReleased(12, "ephemeral/1")]
        await gateway.ask(
            "MEGACO/3 mg Transaction = 1 {Context = - {Notify = ROOT {ObservedEvents = 1 {"
            "chp/mgcon {reduct = 100}}}}}"
        )
        with pytest.raises(MrfpUnavailable, match="congested"):
            mrfc.choose_mrfp()
        released = await mrfc.request("mg", mp.ReleaseBfcpTermination(12, "ephemeral/1"))
        assert released == mp.TerminationReleased(12, "ephemeral/1")
        assert gateway.faults() == []


async def test_a_refused_add_is_told() -> None:
    async with controller() as mrfc, otp("mg") as gateway:
        await register(gateway, "tcp", mrfc.port, "compact")
        gateway.say(
            "answer", encoded('MEGACO/3 mg Reply = 1 {Context = 12 {Error = 510 {"Insufficient resources"}}}')
        )
        with pytest.raises(MrfpRefused) as caught:
            await mrfc.request("mg", CONFIGURE)
        assert caught.value.code == 510


@pytest.mark.parametrize(("transport", "style"), [("tcp", "compact"), ("udp", "pretty")])
async def test_a_dial_in_up_to_200(tmp_path: Path, transport: str, style: str) -> None:
    """The MRFC as a whole, with Kamailio and KMS; the only MRFP is megaco."""
    with Lab(tmp_path / "lab", settings(mp={"transports": ["tcp", "udp"]})) as lab:
        lab.start_kms()
        lab.start_mrfc()
        async with otp("mg") as gateway:
            await register(gateway, transport, lab.ports.mp, style)
            gateway.say("answer", encoded(answer(5999)))
            await gateway.request()  # Watch MRFP: when that is answered it is in service
            await gateway.hear("up")
            scene = Scene(lab)
            ue = await scene.ue()
            try:
                await ue.join()
                assert lab.status()["terminations"] == 1
                await ue.bye()
                await until(lambda: lab.status()["terminations"] == 0)
            finally:
                await scene.close()
            assert gateway.faults() == []
