"""Reliable provisional responses: the machine with explicit time, and calls on a focus in memory."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from focus_world import Callee, Caller, World, header, make_world, response_to, within
from loop_clock import LoopClock

from mrfc import jobs
from mrfc.calls.dial_out import Outcome
from mrfc.sip.port import OutgoingRequest, Response
from mrfc.sip.reliable import Due, Received, Waiting


def test_it_is_sent_again_after_t1_doubling_and_given_up_after_64_t1() -> None:
    waiting, now, times = Waiting(7, 1, 0.0), 0.0, list[float]()
    while waiting.deadline is not None:
        now = waiting.deadline
        if waiting.tick(now) is Due.SEND_AGAIN:
            times.append(now)
    assert times == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert now == 32.0
    assert not waiting.prack("7 1 INVITE")


def test_the_prack_ends_it_and_a_second_one_is_for_nothing() -> None:
    waiting = Waiting(7, 3, 0.0)
    for wrong in (
        "",
        "x",
        "7 3",
        "8 3 INVITE",
        "7 2 INVITE",
        "7 3 UPDATE",
        "7 3 INVITE x",
        "7" * 30 + " 3 INVITE",
    ):
        assert not waiting.prack(wrong)
    assert waiting.prack(" 7  3 INVITE")
    assert waiting.deadline is None
    assert not waiting.prack("7 3 INVITE")


def test_responses_of_the_peer_count_in_their_order() -> None:
    received = Received()
    assert received.accept("a", 100)
    assert not received.accept("a", 100)  # a copy
    assert not received.accept("a", 102)  # 101 is lost, and will come again
    assert received.accept("a", 101)
    assert received.accept("a", 102)
    assert received.accept("b", 5)  # another branch counts for itself
    for bad in (None, 0, 2**32):
        assert not Received().accept("a", bad)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, sip={"reliable_provisionals": "supported"})


def prack(caller: Caller, rack: str, cseq: int, body: str = "") -> jobs.InviteJob | jobs.DialogRequestJob:
    return within(caller.dialog, "PRACK", cseq, body, contact_uri="", headers=(("rack", rack),))


async def dialled(world: World, **changes: Any) -> tuple[Caller, Response]:
    """A caller whose INVITE has got a reliable 183."""
    caller = Caller(world.kms)
    world.focus.on_invite(caller.invite(**changes))
    await world.settle()
    [response] = world.sip.provisionals
    return caller, response


@pytest.mark.parametrize("wish", [{"require": "100rel"}, {"headers": (("supported", "timer, 100rel"),)}])
async def test_the_200_waits_for_the_prack(world: World, wish: dict[str, Any]) -> None:
    caller, response = await dialled(world, **wish)
    said = dict(response.headers)
    assert (response.status, said["Require"]) == (183, "100rel")
    assert "isfocus" in said["Contact"]
    assert caller.transaction not in world.sip.answers
    job = prack(caller, f"{said['RSeq']} 1 INVITE", 2)
    world.arrive(job)
    await world.settle()
    assert world.sip.answers[job.transaction].status == 200
    assert world.sip.answers[caller.transaction].status == 200
    assert "RSeq" not in dict(world.sip.answers[caller.transaction].headers)
    world.focus.on_ack(caller.ack())
    world.focus.on_bye(jobs.ByeJob(jobs.TransactionId(9, 9), caller.dialog, 3))
    await world.settle()
    assert not any(world.busy().values())
    assert world.focus.reliable.waiting == 0


async def test_without_prack_the_invite_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = LoopClock(monkeypatch)
    caller, _ = await dialled(world, require="100rel")
    await clock.forward(0.6)
    assert len(world.sip.provisionals) == 2
    assert len(set(world.sip.provisionals)) == 1
    await clock.forward(32)
    assert world.sip.answers[caller.transaction].status == 504
    assert not any(world.busy().values())
    assert world.focus.reliable.waiting == 0


async def test_a_caller_who_gives_up_leaves_nothing(world: World) -> None:
    caller, _ = await dialled(world, require="100rel")
    world.focus.on_cancel(jobs.CancelJob(caller.dialog.call_id, caller.dialog.remote_tag, 1))
    await world.settle()
    assert not any(world.busy().values())
    assert world.focus.reliable.waiting == 0


async def test_an_early_dialog_takes_no_second_offer(world: World) -> None:
    caller, response = await dialled(world, require="100rel")
    update = within(caller.dialog, "UPDATE", 2, "offer", contact_uri="")
    world.arrive(update)
    refused = world.sip.answers[update.transaction]
    assert (refused.status, "Retry-After" in dict(refused.headers)) == (500, True)
    job = prack(caller, f"{dict(response.headers)['RSeq']} 1 INVITE", 3, body="offer")
    world.arrive(job)
    assert world.sip.answers[job.transaction].status == 488
    await world.settle()
    world.focus.on_bye(jobs.ByeJob(jobs.TransactionId(9, 9), caller.dialog, 4))
    await world.settle()
    assert not any(world.busy().values())


@pytest.mark.parametrize(("mode", "status"), [("refuse", 420), ("required", 200)])
async def test_modes(tmp_path: Path, mode: str, status: int) -> None:
    world = make_world(tmp_path, sip={"reliable_provisionals": mode})
    supporting = Caller(world.kms)
    world.focus.on_invite(supporting.invite(headers=(("supported", "100rel"),)))
    await world.settle()
    assert world.sip.provisionals == []
    assert world.sip.answers[supporting.transaction].status == 200
    supported = dict(world.sip.answers[supporting.transaction].headers)["Supported"]
    assert ("100rel" in supported) == (status == 200)
    requiring = Caller(world.kms)
    world.focus.on_invite(requiring.invite(require="100rel"))
    await world.settle()
    if status == 420:
        assert world.sip.answers[requiring.transaction].status == 420
    else:
        assert len(world.sip.provisionals) == 1


async def test_an_invite_without_offer_gets_none(world: World) -> None:
    caller = Caller(world.kms)
    world.focus.on_invite(caller.invite("", require="100rel"))
    await world.settle()
    assert world.sip.provisionals == []
    assert world.sip.answers[caller.transaction].status == 200


async def called(world: World, outcomes: list[Outcome]) -> OutgoingRequest:
    conference = world.store.conference("meeting")
    assert conference is not None
    world.dial_outs.start(conference, "sip:bob@ue.example", outcomes.append)
    await world.settle()
    return world.sip.sent("INVITE")[0]


def reliable(invite: OutgoingRequest, status: int, rseq: int, body: str = "") -> jobs.ResponseJob:
    job = response_to(invite, status, body=body)
    told = (("require", "100rel"), ("rseq", str(rseq)))
    return msgspec.structs.replace(job, headers=told, record_route=("<sip:a;lr>", "<sip:b;lr>"))


async def test_the_provisional_responses_of_a_participant_are_acknowledged(world: World) -> None:
    outcomes = list[Outcome]()
    invite = await called(world, outcomes)
    assert "100rel" in header(invite, "Supported")
    for status, rseq in ((180, 40), (180, 40), (183, 42), (183, 41)):
        world.focus.on_response(reliable(invite, status, rseq))
    pracks = world.sip.sent("PRACK")
    assert [header(each, "RAck") for each in pracks] == ["40 1 INVITE", "41 1 INVITE"]
    assert [header(each, "CSeq") for each in pracks] == ["2 PRACK", "3 PRACK"]
    assert header(pracks[0], "To").endswith(";tag=bob-tag")
    assert [value for name, value in pracks[0].headers if name == "Route"] == ["<sip:b;lr>", "<sip:a;lr>"]
    assert (pracks[0].next_hop, pracks[0].request_uri) == ("sip:b;lr", "sip:bob@192.0.2.2")
    world.focus.on_response(response_to(invite, 200, body=Callee(world.kms).answer(invite.body)))
    await world.settle()
    assert [each.status for each in outcomes] == [180, 183, 200]
    [call] = world.store.calls()
    world.calls.end(call, "enough")
    await world.settle()
    assert header(world.sip.sent("BYE")[0], "CSeq") == "4 BYE"
    assert not any(world.busy().values())


async def test_the_answer_may_be_in_a_reliable_provisional_response(world: World) -> None:
    invite = await called(world, [])
    callee = Callee(world.kms)
    world.focus.on_response(reliable(invite, 183, 1, callee.answer(invite.body)))
    world.focus.on_response(response_to(invite, 200))
    await world.settle()
    [configured] = world.mrfp.configured.values()
    assert configured.psk == callee.tek
    [call] = world.store.calls()
    world.calls.end(call, "enough")
    await world.settle()


async def test_a_cancel_after_a_prack_names_the_invite(world: World) -> None:
    invite = await called(world, [])
    world.focus.on_response(reliable(invite, 183, 1))
    [call] = world.store.calls()
    world.calls.end(call, "enough")
    assert world.sip.cancels == [(call.dialog.call_id, 1)]
    world.focus.on_response(response_to(invite, 487))
    await world.settle()
    assert not any(world.busy().values())
