"""Session timers of calls on a focus in memory, with time that the tests put forward."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from focus_world import Callee, Caller, World, header, make_world, response_to
from loop_clock import LoopClock

from mrf_protocols import sdp
from mrfc import jobs
from mrfc.sip.port import OutgoingRequest
from mrfc.state.store import Call

TIMER = ("supported", "timer")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, sip={"ack_timeout": 32.0})


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> LoopClock:
    return LoopClock(monkeypatch)


async def joined(world: World, *headers: tuple[str, str]) -> tuple[Caller, Call, dict[str, str]]:
    """A caller in the conference, the call, and the header fields of the 200."""
    caller = Caller(world.kms)
    call = await world.join(caller, headers=headers)
    return caller, call, dict(world.sip.answers[caller.transaction].headers)


def responded(
    world: World, caller: Caller, request: OutgoingRequest, status: int, *headers: tuple[str, str]
) -> None:
    cseq, method = header(request, "CSeq").split()
    world.focus.on_response(
        jobs.ResponseJob(caller.dialog, method, int(cseq), status, "Reason", headers=headers)
    )


async def test_a_call_that_nobody_refreshes_ends(world: World, clock: LoopClock) -> None:
    _, _, said = await joined(world, TIMER, ("session-expires", "600;refresher=uac"))
    assert (said["Session-Expires"], said["Require"]) == ("600;refresher=uac", "timer")
    assert "timer" in said["Supported"]
    await clock.forward(567)
    assert world.sip.sent("BYE") == []
    await clock.forward(2)
    [bye] = world.sip.sent("BYE")
    assert header(bye, "Reason").startswith("SIP;cause=408")
    assert not any(world.busy().values())
    assert world.focus.timers.standing == 0


async def test_we_refresh_by_update_where_the_peer_takes_it(world: World, clock: LoopClock) -> None:
    caller, _, _ = await joined(
        world, TIMER, ("session-expires", "600;refresher=uas"), ("allow", "INVITE, UPDATE")
    )
    await clock.forward(301)
    [update] = world.sip.sent("UPDATE")
    assert (header(update, "Session-Expires"), update.body) == ("600;refresher=uac", "")
    responded(world, caller, update, 200, ("session-expires", "600;refresher=uac"))
    figures = world.measures.metrics
    assert figures.value("mrfc_dialog_requests_total", method="UPDATE", result="accepted") == 1
    await clock.forward(301)
    assert len(world.sip.sent("UPDATE")) == 2
    assert world.sip.sent("BYE") == []
    world.focus.on_bye(caller.bye())
    await world.settle()
    assert world.focus.timers.standing == world.focus.requests.under_way == 0


async def test_we_refresh_by_invite_where_it_does_not(world: World, clock: LoopClock) -> None:
    caller, call, _ = await joined(world, TIMER, ("session-expires", "600;refresher=uas"))
    before = call.answer_sdp
    await clock.forward(301)
    [invite] = world.sip.sent("INVITE")
    stream = sdp.find_bfcp(sdp.parse(invite.body))
    assert stream is not None
    assert (stream.connection, stream.key_mgmt) == (sdp.ConnectionUse.EXISTING, ())
    assert sdp.parse(invite.body).origin == replace(
        sdp.parse(before).origin, version=sdp.parse(before).origin.version + 1
    )
    responded(world, caller, invite, 200, ("session-expires", "600;refresher=uac"))
    await clock.forward(301)
    assert world.sip.sent("INVITE")[1].body == invite.body  # the same session has the same version
    world.focus.on_bye(caller.bye())
    await world.settle()


@pytest.mark.parametrize("status", [405, 501])
async def test_update_that_is_not_known_becomes_an_invite(
    world: World, clock: LoopClock, status: int
) -> None:
    caller, _, _ = await joined(world, TIMER, ("session-expires", "600;refresher=uas"), ("allow", "UPDATE"))
    await clock.forward(301)
    responded(world, caller, world.sip.sent("UPDATE")[0], status)
    await world.settle()
    assert len(world.sip.sent("INVITE")) == 1
    world.focus.on_bye(caller.bye())
    await world.settle()


async def test_a_refresh_gets_422_and_comes_again(world: World, clock: LoopClock) -> None:
    caller, _, _ = await joined(world, TIMER, ("session-expires", "600;refresher=uas"), ("allow", "UPDATE"))
    await clock.forward(301)
    responded(world, caller, world.sip.sent("UPDATE")[0], 422, ("min-se", "900"))
    await world.settle()
    again = world.sip.sent("UPDATE")[1]
    assert (header(again, "Session-Expires"), header(again, "Min-SE")) == ("900;refresher=uac", "900")
    world.focus.on_bye(caller.bye())
    await world.settle()


async def test_too_short_an_interval_costs_nothing(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    caller = Caller(world.kms)
    world.focus.on_invite(caller.invite(headers=(TIMER, ("session-expires", "60"))))
    await world.settle()
    response = world.sip.answers[caller.transaction]
    assert (response.status, dict(response.headers)["Min-SE"]) == (422, "90")
    assert world.mrfp.procedures == []
    assert not any(world.busy().values())


async def test_switched_off_nothing_is_said_of_timers(tmp_path: Path) -> None:
    world = make_world(tmp_path, sip={"session_timers": False})
    _, _, said = await joined(world, TIMER, ("session-expires", "60"))
    assert "Session-Expires" not in said
    assert "timer" not in said["Supported"]
    required = Caller(world.kms)
    world.focus.on_invite(required.invite(require="timer"))
    await world.settle()
    assert world.sip.answers[required.transaction].status == 420


async def called(world: World) -> OutgoingRequest:
    conference = world.store.conference("meeting")
    assert conference is not None
    world.dial_outs.start(conference, "sip:bob@ue.example")
    await world.settle()
    return world.sip.sent("INVITE")[0]


async def test_a_dial_out_that_gets_422_is_sent_again(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    invite = await called(world)
    assert header(invite, "Session-Expires") == "1800"
    refused = replace_headers(response_to(invite, 422), ("min-se", "3600"))
    world.focus.on_response(refused)
    world.focus.on_response(refused)  # a retransmission
    await world.settle()
    _, again = world.sip.sent("INVITE")
    assert (header(again, "CSeq"), again.body) == ("2 INVITE", invite.body)
    assert (header(again, "Session-Expires"), header(again, "Min-SE")) == ("3600", "3600")
    answer = response_to(again, 200, body=Callee(world.kms).answer(again.body))
    answer = replace_headers(answer, TIMER, ("session-expires", "3600;refresher=uas"), cseq=2)
    world.focus.on_response(answer)
    await world.settle()
    assert world.focus.timers.standing == 1
    [call] = world.store.calls()
    world.calls.end(call, "enough")
    await world.settle()
    assert header(world.sip.sent("BYE")[0], "CSeq") == "3 BYE"
    assert not any(world.busy().values())
    assert world.focus.timers.standing == 0


async def test_a_dial_out_that_cannot_agree_on_an_interval_fails(world: World) -> None:
    invite = await called(world)
    world.focus.on_response(response_to(invite, 422))
    await world.settle()
    assert len(world.sip.sent("INVITE")) == 1
    assert not any(world.busy().values())


async def test_the_second_invite_is_the_one_that_is_cancelled(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    invite = await called(world)
    world.focus.on_response(replace_headers(response_to(invite, 422), ("min-se", "3600")))
    await world.settle()
    [call] = world.store.calls()
    world.calls.end(call, "enough")
    assert world.sip.cancels == [(call.dialog.call_id, 2)]
    world.focus.on_response(response_to(invite, 487))


def replace_headers(
    job: jobs.ResponseJob, *headers: tuple[str, str], cseq: int | None = None
) -> jobs.ResponseJob:
    return msgspec.structs.replace(job, headers=headers, cseq=cseq or job.cseq)
