"""A BYE of ours never overtakes the ACK of our INVITE, however slow a worker is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from beside_support import HERE, KemiLab, NativeLab
from callee_support import ask_for_call
from sip_peer import SipPeer

from lab import Lab

ANSWER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=application 0 TCP/TLS/BFCP *\r\n"


class SlowNativeLab(NativeLab):
    """With a configuration in Kamailio's own language."""

    script = HERE / "slow_worker.py"


class SlowKemiLab(KemiLab):
    """With the project's own configuration."""

    script = HERE / "slow_worker.py"


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
