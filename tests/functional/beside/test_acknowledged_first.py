"""Whatever slow workers make of the order: no BYE of ours overtakes the ACK of our INVITE, and the peer's counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from beside_support import HERE, KemiLab, NativeLab
from callee_support import Callee, ask_for_call
from sip_peer import SipPeer
from system_support import Scene

from lab import Lab

ANSWER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=application 0 TCP/TLS/BFCP *\r\n"


class SlowNativeLab(NativeLab):
    """With a configuration in Kamailio's own language."""

    script = HERE / "slow_worker.py"
    workers = 6


class SlowKemiLab(KemiLab):
    """With the project's own configuration."""

    script = HERE / "slow_worker.py"
    workers = 6


@pytest.fixture(scope="module", params=[SlowNativeLab, SlowKemiLab], ids=["native", "KEMI"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with request.param(tmp_path_factory.mktemp("slow")) as started:
        started.start()
        yield started


def test_the_ack_of_a_2xx_goes_out_before_the_bye(lab: Lab) -> None:
    """The answer is unusable, so the MRFC hangs up as soon as it has it."""
    with SipPeer(("127.0.0.1", lab.ports.sip), "bob") as called:
        ask_for_call(lab, called.address)
        invite = called.incoming("INVITE")
        called.respond(invite, 180)
        called.respond(invite, 200, "Content-Type: application/sdp\r\n", ANSWER)
        first = called.wait(lambda message: message.method in ("ACK", "BYE"))
        assert first.method == "ACK"
        called.respond(called.incoming("BYE"), 200)
    lab.wait_for("the end of the call", lambda: lab.status()["calls"] == 0)


async def test_a_bye_that_overtakes_the_2xx_ends_the_call(lab: Lab) -> None:
    """The called hangs up as soon as he may: another worker tells of that than the one that dawdles over his 2xx."""
    played = Scene(lab)
    played.start_logs()
    async with Callee.waiting(played) as callee:
        ue = await callee.called()
        await ue.pick_up()
        await ue.bye()
        await played.told("mrfc", "left: BYE")
    lab.wait_for("the end of the call", lambda: lab.status()["calls"] == 0)
