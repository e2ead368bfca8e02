"""Trunks that change while the MRFC runs: every worker takes them over, and calls that stand stay."""

from __future__ import annotations

import subprocess

from sip_peer import SipPeer
from system_support import lonely_scene
from trunk_support import HOME, STRANGER, TrunkLab

from lab import DOMAIN, tool

TARGET = f"sip:meeting@{DOMAIN}"
ENOUGH = 24
"""Requests of which every worker gets some."""


def statuses(lab: TrunkLab, host: str) -> set[int]:
    """What requests from there get."""
    found = set()
    with SipPeer(("127.0.0.1", lab.ports.sip), "guest", host=host) as peer:
        for cseq in range(1, ENOUGH + 1):
            peer.request("OPTIONS", TARGET, cseq=cseq)
            found.add(peer.response("OPTIONS").status)
    return found


def reload(lab: TrunkLab) -> str:
    command = [tool("mrfc-ctl"), "reload", "--url", f"http://127.0.0.1:{lab.ports.http}"]
    command += ["--token-file", str(lab.folder / "operator.token")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


async def test_another_network_of_a_trunk(trunks: TrunkLab) -> None:
    path = trunks.folder / "mrfc.toml"
    before = path.read_text()
    assert f'"{HOME}/32"' in before
    async with lonely_scene(trunks) as scene:
        ue = await scene.ue(sip=trunks.sip("udp"))
        await ue.join_bfcp()
        assert statuses(trunks, STRANGER) == {403}
        try:
            path.write_text(before.replace(f'"{HOME}/32"', f'"{HOME}/32", "{STRANGER}/32"'))
            assert reload(trunks) == "changed: trunk\n"
            assert statuses(trunks, STRANGER) == {200}
            assert statuses(trunks, HOME) == {200}
        finally:
            path.write_text(before)
            reload(trunks)
        assert statuses(trunks, STRANGER) == {403}
        assert reload(trunks) != "changed: trunk\n", "nothing has changed since"
        await ue.hello()
        await ue.bye()
