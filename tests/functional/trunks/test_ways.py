"""Dial-in and dial-out over each transport on each address family, with requests in both directions in each call."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from callee_support import Callee
from system_support import SECONDS, lonely_scene
from trunk_support import CALLEE6, TrunkLab

from lab import CALLEE, free_ports

WAYS = [(transport, ipv6) for transport in ("udp", "tcp", "tls") for ipv6 in (False, True)]


@pytest.mark.parametrize(("transport", "ipv6"), WAYS)
@pytest.mark.parametrize("ends", ["participant", "focus"])
async def test_dial_in(trunks: TrunkLab, transport: str, ipv6: bool, ends: str) -> None:
    """The Contact of the 200 leads the BYE back by the same way; a BYE of the focus finds the participant, too."""
    async with lonely_scene(trunks) as scene:
        ue = await scene.ue(sip=trunks.sip(transport, ipv6=ipv6))
        await ue.join_bfcp()
        contact = ue.endpoint.responses("INVITE")[0].get_header("Contact") or ""
        assert (f";transport={transport}" in contact) == (transport != "udp")
        assert ("[::1]" in contact) == ipv6
        assert (f":{trunks.tls_port}" in contact) == (transport == "tls")
        await ue.floor.request((1,), SECONDS)
        if ends == "participant":
            await ue.release_floor()
            await ue.bye()
        else:
            scene.may_log("mrfp", "")
            scene.may_log("mrfc", "")
            ue.connection.close()
            assert "SIP;cause=" in await ue.far_end_bye()


@pytest.mark.parametrize(("transport", "ipv6"), WAYS)
async def test_dial_out(trunks: TrunkLab, transport: str, ipv6: bool) -> None:
    sip = trunks.sip(transport, ipv6=ipv6)
    own = replace(
        sip,
        identity=CALLEE6 if ipv6 else CALLEE,
        local=(sip.local[0], free_ports(1)[0]),
        tls_server=trunks.files.server(trunks.carrier_certificate) if transport == "tls" else None,
    )
    psk_id = "bob6" if ipv6 else "bob"
    waiting = partial(Callee.waiting, bearer_host="127.0.0.1", psk_id=psk_id)
    async with lonely_scene(trunks) as scene, waiting(scene, sip=own) as callee:
        ue = await callee.called()
        await ue.pick_up()
        await ue.connect()
        await ue.secure()
        await ue.hello()
        await ue.floor.request((1,), SECONDS)
        await ue.release_floor()
        await ue.bye()
