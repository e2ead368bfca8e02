"""Calls of ours through a trunk that wants to know who we are, and what of us can be seen from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiosipua import SipRequest, SipResponse
from callee_support import Callee, ask_for_call, ask_operator
from sip_peer import SipPeer
from system_support import SECONDS, Scene, lonely_scene, until
from trunk_support import CARRIER, EDGE, FAR, OUR_PASSWORD, OUTSIDE, TrunkLab

from mrf_ue.sip import Participant, SipEndpoint, SipSettings
from mrf_ue.sip_dialog import new_response
from mrf_ue.sip_transport import Address
from mrfc.trunks.digest import Algorithm, Challenge, Credentials, ha1


@dataclass
class Challenger:
    """A carrier in front of a callee: nobody gets through without a password."""

    endpoint: SipEndpoint
    seen: list[SipRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        accept = self.endpoint.on_invite
        assert accept is not None
        self._accept = accept
        self.endpoint.on_invite = self.first

    def first(self, invite: SipRequest, source: Address) -> Participant | None:
        self._source = source
        self.receive(invite)
        return self

    def receive(self, message: SipRequest | SipResponse) -> None:
        if not isinstance(message, SipRequest) or message.method != "INVITE":
            return
        self.seen.append(message)
        if proven(message):
            call = self._accept(message, self._source)
            assert call is not None
            self.endpoint._calls[message.call_id or ""] = call
            return
        answer = new_response(message, 407, "Proxy Authentication Required", to_tag="carrier")
        answer.set_header("Proxy-Authenticate", Challenge("carrier", "n1", Algorithm.SHA_256).header())
        self.endpoint.send(answer)


def proven(message: SipRequest) -> bool:
    value = message.get_header("Proxy-Authorization")
    if value is None:
        return False
    known = ha1(Algorithm.SHA_256, "mrfc", "carrier", OUR_PASSWORD)
    return Credentials.parse(value).proves(known, message.method)


@pytest.mark.parametrize("ends", ["participant", "focus"])
async def test_a_call_through_a_trunk_that_challenges(trunks: TrunkLab, ends: str) -> None:
    own = SipSettings(OUTSIDE, proxy=("127.0.0.1", trunks.ports.sip), local=(CARRIER, trunks.carrier_port))
    async with (
        lonely_scene(trunks) as played,
        Callee.waiting(played, sip=own, bearer_host="127.0.0.1", psk_id="bob-outside") as callee,
    ):
        coming = callee.next_call()
        await until(lambda: callee._endpoint.on_invite is not None)
        carrier = Challenger(callee._endpoint)
        ask_for_call(trunks, OUTSIDE)
        ue = callee.take(await coming)
        await ue.pick_up()
        await ue.connect()
        await ue.secure()
        await ue.hello()
        await ue.floor.request((1,), SECONDS)
        assert [each.get_header("CSeq") for each in carrier.seen] == ["1 INVITE", "2 INVITE"]
        for invite in carrier.seen:
            head = bytes(invite).partition(b"\r\n\r\n")[0].decode()
            assert "127.0.0.1" not in head.replace(";received=127.0.0.1", ""), "where we are inside"
            assert EDGE in (invite.get_header("Via") or "")
            assert EDGE in (invite.get_header("Contact") or "")
        if ends == "participant":
            await ue.release_floor()
            await ue.bye()
        else:
            played.may_log("mrfp", "")
            played.may_log("mrfc", "")
            ue.connection.close()
            await ue.hung_up()


async def test_a_carrier_that_does_not_like_us(trunks: TrunkLab) -> None:
    """A wrong password ends in one failure, not in a row of attempts."""
    with SipPeer(
        ("127.0.0.1", trunks.ports.sip), "carrier", host=CARRIER, port=trunks.carrier_port
    ) as carrier:
        async with lonely_scene(trunks) as scene:
            scene.expect("mrfc", "dial-out to .* refused: 401")
            asked = ask_for_call(trunks, OUTSIDE)
            for number in (1, 2):
                invite = carrier.incoming("INVITE")
                assert (invite.cseq, len(invite.values("Authorization"))) == (number, number - 1)
                challenge = Challenge("carrier", f"n{number}", Algorithm.MD5).header()
                carrier.respond(invite, 401, f"WWW-Authenticate: {challenge}\r\n")
                assert carrier.incoming("ACK").cseq == number
            outcome = await until(lambda: ended(ask_operator(trunks, f"/dial-outs/{asked['call_id']}")))
            assert outcome is not None
            assert outcome["status"] == 401


def ended(outcome: dict[str, Any]) -> dict[str, Any] | None:
    return outcome if outcome.get("state") == "failed" else None


@asynccontextmanager
async def far_callee(trunks: TrunkLab, certificate: tuple[Path, Path]) -> AsyncIterator[tuple[Scene, Callee]]:
    """Who is called over TLS, and has this certificate."""
    own = replace(
        trunks.sip("tls"),
        identity=FAR,
        local=(CARRIER, trunks.far_port),
        tls_server=trunks.files.server(certificate),
    )
    waiting = partial(Callee.waiting, bearer_host="127.0.0.1", psk_id="bob-far")
    async with lonely_scene(trunks) as scene, waiting(scene, sip=own) as callee:
        yield scene, callee


async def test_a_call_over_tls_to_the_right_server(trunks: TrunkLab) -> None:
    """Its address is in no certificate, the subject of the trunk is; requests in both directions."""
    before = trunks.impostors("far")
    async with far_callee(trunks, trunks.far_certificate) as (_, callee):
        coming = callee.next_call()
        ask_for_call(trunks, FAR)
        ue = callee.take(await coming)
        await ue.pick_up()
        await ue.connect()
        await ue.secure()
        await ue.hello()
        await ue.floor.request((1,), SECONDS)
        await ue.release_floor()
        await ue.bye()
    assert trunks.impostors("far") == before


async def test_a_call_over_tls_to_another_server(trunks: TrunkLab) -> None:
    """The right authority vouches for it, but not as the server of this trunk: not a word of it is believed."""
    before = trunks.impostors("far")
    async with far_callee(trunks, trunks.carrier_certificate) as (scene, callee):
        scene.expect("mrfc", f"the certificate of who answers for .*{CARRIER}.*, trunk far, names 127.0.0.1")
        scene.expect("mrfc", "dial-out to .* refused: 503")
        coming = callee.next_call()
        callee.call_id = ask_for_call(trunks, FAR)["call_id"]
        ue = callee.take(await coming)
        await ue.ring()
        outcome = await callee.outcome()
        assert (outcome["state"], outcome["status"]) == ("failed", 503)
        assert trunks.impostors("far") == before + 1
    await until(lambda: trunks.status()["terminations"] == 0)


ECHOED = {"Via", "From", "To", "Call-ID", "CSeq"}
"""Of a response, what the request had."""


async def test_nothing_inside_is_told_outside(trunks: TrunkLab) -> None:
    """Responses of the MRFC, good and bad, name the edge and the domain, and no address that we listen on."""
    async with lonely_scene(trunks) as scene:
        scene.may_log("mrfc", "refused: 404")
        ue, lost = await scene.ue(sip=trunks.sip("udp")), await scene.ue("nobody", sip=trunks.sip("udp"))
        await ue.join_bfcp()
        assert (await lost.dial()).status_code == 404
        assert EDGE in (ue.endpoint.responses("INVITE")[0].get_header("Contact") or "")
        await ue.bye()
        responses = [
            each for each in (*ue.endpoint.messages, *lost.endpoint.messages) if isinstance(each, SipResponse)
        ]
        assert len(responses) >= 4
        for response in responses:
            told = {name: value for name, value in response.headers.items() if name not in ECHOED}
            assert "127.0.0.1" not in str(told), response.status_code
