"""Requests within and without dialogs: what RFC 3261 and RFC 4579 ask of a focus."""

from __future__ import annotations

import asyncio
import re

from system_support import SECONDS, Scene, Ue, new_branch, until, warning_code

from lab import CALLER
from mrf_protocols import sdp
from mrf_ue.sip_dialog import header_tag, new_request


def request(ue: Ue, method: str, *, call_id: str = "another-call", to: str = "") -> None:
    """A request outside of every dialog."""
    conference = ue.options.callee
    ids = (call_id, f"<{CALLER}>;tag=1", to or f"<{conference}>")
    ue.endpoint.send(
        new_request(method, conference, cseq=1, end=ue.endpoint.end, branch=new_branch(), ids=ids)
    )


async def test_unknown_conference(scene: Scene) -> None:
    ue = await scene.ue("nobody-knows-it")
    scene.expect("mrfc", f"refused: 404 .*{ue.call_id}")
    assert (await ue.dial()).status_code == 404


async def test_unknown_option(scene: Scene) -> None:
    ue = await scene.ue()
    ue.endpoint.edit = lambda sent: sent.set_header("Require", "foo")
    scene.expect("mrfc", f"refused: 420 .*{ue.call_id}")
    response = await ue.dial()
    assert (response.status_code, response.get_header("Unsupported")) == (420, "foo")


async def test_options(scene: Scene) -> None:
    ue = await scene.ue()
    request(ue, "OPTIONS")
    response = await ue.final("OPTIONS")
    assert response.status_code == 200
    assert response.get_header("Accept") == "application/sdp"
    allowed = ",".join(response.get_header_values("Allow"))
    assert {"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"} <= set(re.split(r"\s*,\s*", allowed))
    supported = ",".join(response.get_header_values("Supported"))
    assert {"100rel", "timer", "norefersub"} <= set(re.split(r"\s*,\s*", supported))


async def test_options_that_require_what_nobody_has(scene: Scene) -> None:
    ue = await scene.ue()
    ue.endpoint.edit = lambda sent: sent.set_header("Require", "norefersub, no-such-extension")
    request(ue, "OPTIONS")
    response = await ue.final("OPTIONS")
    assert (response.status_code, response.get_header("Unsupported")) == (420, "no-such-extension")


async def test_unknown_method(scene: Scene) -> None:
    ue = await scene.ue()
    request(ue, "PUBLISH")
    response = await ue.final("PUBLISH")
    assert response.status_code == 405
    assert "INVITE" in ",".join(response.get_header_values("Allow"))


async def test_too_many_hops(scene: Scene) -> None:
    ue = await scene.ue()
    ue.endpoint.edit = lambda sent: sent.set_header("Max-Forwards", "0")
    request(ue, "OPTIONS")
    assert (await ue.final("OPTIONS")).status_code == 483


async def test_bye_and_invite_of_unknown_dialogs(scene: Scene) -> None:
    ue = await scene.ue()
    to = f"<{scene.lab.conference()}>;tag=nobody"
    for method in ("BYE", "INVITE"):
        request(ue, method, to=to)
        assert (await ue.final(method)).status_code == 481


async def test_bye_with_the_wrong_tag(scene: Scene) -> None:
    """Whoever knows the Call-ID alone cannot end the call."""
    ue, thief = await scene.ue(), await scene.ue()
    await ue.join_bfcp()
    request(thief, "BYE", call_id=ue.call_id, to=f"<{scene.lab.conference()}>;tag=guessed")
    assert (await thief.final("BYE")).status_code == 481
    await ue.hello()
    await ue.bye()


async def test_bye_before_ack(scene: Scene) -> None:
    ue = await scene.ue()
    assert (await ue.dial()).status_code == 200
    await ue.wait_answer()
    await ue.bye()
    assert (await ue.final("BYE")).status_code == 200


async def test_second_bye(scene: Scene) -> None:
    ue = await scene.ue()
    await ue.join_bfcp()
    await ue.bye()
    ue.send_in_dialog("BYE")
    assert (await ue.final("BYE", 2)).status_code == 481


async def test_retransmitted_invite(scene: Scene) -> None:
    """Copies of the INVITE, before and after the 200, make no second call."""
    scene.may_log(
        "mrfc", r"t_retransmit_reply\(\): no resolved dst"
    )  # Kamailio, of a copy that overtakes the 100
    ue = await scene.ue()
    await ue.get_ticket()
    await ue.invite()
    invite = ue.call.machine._invite
    assert invite is not None
    for _ in range(5):
        ue.endpoint.send(invite, first=False)
    await ue.final()
    ue.endpoint.send(invite, first=False)
    await ue.final(number=2)
    assert len({header_tag(each, "To") for each in ue.endpoint.responses("INVITE")}) == 1
    mrfc, mrfp = await scene.status()
    assert (mrfc["calls"], mrfp["terminations"]) == (2, 2)
    await ue.leave()


async def test_same_session_again(scene: Scene) -> None:
    """A re-INVITE that changes nothing is confirmed with the same answer; the connection stays."""
    ue = await scene.ue()
    await ue.join_bfcp()
    ue.send_in_dialog("INVITE", ue.call.machine._body)
    response = await ue.final(number=2)
    ue.send_in_dialog("ACK", cseq_step=0)
    assert (response.status_code, response.body) == (200, ue.answer_body)
    await ue.hello()
    await ue.bye()


async def test_another_session(scene: Scene) -> None:
    """A re-INVITE with another session is refused, and the old one goes on (RFC 3261 14.2)."""
    ue = await scene.ue()
    await ue.join_bfcp()
    changed = re.sub(rb"m=application \d+", b"m=application 9999", ue.call.machine._body)
    ue.send_in_dialog("INVITE", changed)
    response = await ue.final(number=2)
    ue.send_in_dialog("ACK", cseq_step=0)
    assert (response.status_code, warning_code(response)) == (488, 399)
    await ue.hello()
    await ue.bye()


async def test_old_cseq(scene: Scene) -> None:
    ue = await scene.ue()
    await ue.join_bfcp()
    ue.send_in_dialog("INVITE", ue.call.machine._body, cseq_step=0)
    response = await ue.final(number=2)
    ue.send_in_dialog("ACK", cseq_step=0)
    assert response.status_code == 500
    await ue.hello()
    await ue.bye()


async def test_no_sdp_gets_our_offer_and_has_to_answer_it(scene: Scene) -> None:
    ue = await scene.ue()
    ue.edit_offer = lambda body: b""
    response = await ue.dial()
    assert response.status_code == 200
    offer = sdp.find_bfcp(sdp.parse(response.body))
    assert offer is not None
    assert offer.key_mgmt
    await ue.wait_answer()
    scene.expect("mrfc", f"answer of .* refused: .*{ue.call_id}")
    await ue.ack()  # without an answer
    assert "SIP;cause=" in await ue.far_end_bye()


async def test_factory(scene: Scene) -> None:
    """Each call to the factory makes a conference; its Contact leads others there; it goes with the last one."""
    first, second = await scene.ue("conf-factory"), await scene.ue("conf-factory")
    for ue in (first, second):
        await ue.join_bfcp()
    contacts = [ue.endpoint.responses("INVITE")[0].get_header("Contact") or "" for ue in (first, second)]
    assert all(contact.endswith(";isfocus") for contact in contacts)
    names = [re.search(r"sip:([^@]+)@", contact) for contact in contacts]
    assert names[0] is not None
    assert names[1] is not None
    assert names[0][1] != names[1][1]
    assert first.conference_id != second.conference_id
    mrfc, mrfp = await scene.status()
    assert (mrfc["conferences"], mrfp["contexts"]) == (3, 3)
    guest = await scene.ue(names[0][1])
    await guest.join_bfcp()
    assert guest.conference_id == first.conference_id
    for ue in (first, second):
        await ue.bye()
    await until(lambda: scene.lab.mrfp_status()["contexts"] == 2)  # Subtract follows the BYE
    assert scene.lab.status()["conferences"] == 2
    await guest.hello()
    await guest.bye()
    late = await scene.ue(names[0][1])
    scene.expect("mrfc", f"refused: 404 .*{late.call_id}")
    assert (await late.dial()).status_code == 404


async def test_many_at_once(scene: Scene) -> None:
    """Twenty callers at the same moment, each with an own User ID."""
    ues = [await scene.ue() for _ in range(20)]
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*(ue.join_bfcp() for ue in ues))
    assert len({ue.answer.user_id for ue in ues}) == 20
    await asyncio.gather(*(ue.bye() for ue in ues))
    await until(lambda: scene.lab.status()["calls"] == 1)
