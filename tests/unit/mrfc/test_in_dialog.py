"""Requests within the dialog of a call, both directions, on a focus in memory."""

import asyncio
from pathlib import Path

import pytest
from focus_world import Caller, World, header, make_world, within

from mrfc import jobs
from mrfc.calls.reoffer import Proposal
from mrfc.calls.requests import Content, RequestFailed
from mrfc.sip.port import OutgoingRequest, Response
from mrfc.state.store import Call


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


async def joined(world: World) -> tuple[Caller, Call]:
    caller = Caller(world.kms)
    return caller, await world.join(caller)


async def left(world: World, caller: Caller) -> None:
    """The caller leaves, and nothing is left."""
    world.focus.on_bye(caller.bye())
    await world.settle()
    assert not any(world.busy().values())
    assert world.focus.requests.under_way == world.focus.in_dialog.running == 0


async def answer(world: World, job: jobs.InviteJob | jobs.DialogRequestJob) -> Response:
    world.arrive(job)
    await world.settle()
    return world.sip.answers[job.transaction]


def responded(
    world: World, caller: Caller, request: OutgoingRequest, status: int, headers: jobs.Headers = ()
) -> None:
    cseq, method = header(request, "CSeq").split()
    world.focus.on_response(
        jobs.ResponseJob(caller.dialog, method, int(cseq), status, "Reason", headers=headers)
    )


def asked(world: World, call: Call, method: str = "UPDATE") -> asyncio.Task[jobs.ResponseJob]:
    return asyncio.create_task(world.focus.requests.send(call, method, Content))


async def test_update_without_offer_refreshes_the_target(world: World) -> None:
    caller, call = await joined(world)
    job = within(
        caller.dialog, "UPDATE", 2, contact_uri="sip:alice@192.0.2.77", headers=(("allow", "INVITE, UPDATE"),)
    )
    response = await answer(world, job)
    assert (response.status, response.body) == (200, "")
    assert dict(response.headers)["Contact"] == "<sip:meeting@192.0.2.7:5060>;isfocus"
    assert call.remote_target == "sip:alice@192.0.2.77"
    assert call.peer_allows == {"INVITE", "UPDATE"}
    world.focus.calls.end(call, "over")
    assert world.sip.sent("BYE")[0].request_uri == "sip:alice@192.0.2.77"


async def test_update_with_the_same_offer_is_answered_and_another_refused(world: World) -> None:
    caller, call = await joined(world)
    response = await answer(world, within(caller.dialog, "UPDATE", 2, call.offer_sdp))
    assert (response.status, response.body) == (200, call.answer_sdp)
    response = await answer(world, within(caller.dialog, "UPDATE", 3, call.offer_sdp + "a=x\r\n"))
    assert response.status == 488
    await left(world, caller)


async def test_who_changes_a_session_is_asked_once_and_may_be_interrupted(world: World) -> None:
    caller, _ = await joined(world)
    gate, interrupted, settled = asyncio.Event(), list[str](), list[bool]()

    async def change(call: Call, job: jobs.RequestJob) -> Proposal:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            interrupted.append(job.body)
            raise
        return Proposal(Response(200, "OK", (), "application/sdp", "answer"), settled.append)

    world.focus.in_dialog.change = change
    slow = within(caller.dialog, "UPDATE", 2, "offer")
    world.arrive(slow)
    await world.settle()
    second = await answer(world, within(caller.dialog, "UPDATE", 3, "another offer"))
    assert second.status == 500
    assert 0 <= int(dict(second.headers)["Retry-After"]) <= 10
    gate.set()
    await world.settle()
    assert world.sip.answers[slow.transaction].body == "answer"
    gate.clear()
    last = within(caller.dialog, "UPDATE", 4, "last offer")
    world.arrive(last)
    await world.settle()
    world.focus.on_bye(jobs.ByeJob(jobs.TransactionId(9, 9), caller.dialog, 5))
    await world.settle()
    assert world.sip.answers[last.transaction].status == 487
    assert interrupted == ["last offer"]
    assert settled == [True]
    assert not any(world.busy().values())
    assert world.focus.requests.under_way == world.focus.in_dialog.running == 0


async def test_a_cancelled_reinvite_stops_its_change(world: World) -> None:
    caller, _ = await joined(world)

    async def change(call: Call, job: jobs.RequestJob) -> Proposal:
        await asyncio.Event().wait()
        raise AssertionError

    world.focus.in_dialog.change = change
    world.focus.on_invite(
        caller.invite("other", transaction=jobs.TransactionId(5, 5), cseq=2, in_dialog=True)
    )
    await world.settle()
    assert world.focus.in_dialog.running == 1
    world.focus.on_cancel(jobs.CancelJob(caller.dialog.call_id, caller.dialog.remote_tag, 2))
    await world.settle()
    assert world.focus.in_dialog.running == world.focus.requests.under_way == 0
    await left(world, caller)


@pytest.mark.parametrize("method", ["INFO", "MESSAGE", "SUBSCRIBE", "NOTIFY", "FOO"])
async def test_other_methods_are_refused_with_allow(world: World, method: str) -> None:
    caller, _ = await joined(world)
    response = await answer(world, within(caller.dialog, method, 2))
    assert response.status == 405
    assert "UPDATE" in dict(response.headers)["Allow"]
    await left(world, caller)


async def test_rules_that_hold_for_every_method(world: World) -> None:
    caller, _ = await joined(world)
    for method in ("UPDATE", "INFO", "PRACK", "OPTIONS"):
        low = await answer(world, within(caller.dialog, method, 1))
        assert (low.status, "Retry-After" in dict(low.headers)) == (500, True)
        world.sip.answers.clear()
    assert (await answer(world, within(caller.dialog, "OPTIONS", 2))).status == 200
    assert (await answer(world, within(caller.dialog, "PRACK", 3))).status == 481
    unknown = await answer(world, within(caller.dialog, "UPDATE", 4, require="foo"))
    assert (unknown.status, dict(unknown.headers)["Unsupported"]) == (420, "foo")
    await left(world, caller)
    for number, method in enumerate(("UPDATE", "INFO", "OPTIONS")):
        assert (await answer(world, within(caller.dialog, method, 5 + number))).status == 481


async def test_a_request_of_ours_waits_for_its_turn_and_gives_the_2xx(world: World) -> None:
    caller, call = await joined(world)
    world.focus.on_invite(
        caller.invite(call.offer_sdp, transaction=jobs.TransactionId(5, 5), cseq=2, in_dialog=True)
    )
    await world.settle()
    first, second = asked(world, call), asked(world, call, "INVITE")
    await world.settle()
    assert world.sip.sent("UPDATE") == []  # their re-INVITE waits for its ACK
    world.focus.on_ack(jobs.AckJob(caller.dialog, 2, "", ""))
    await world.settle()
    [update] = world.sip.sent("UPDATE")
    assert world.sip.sent("INVITE") == []
    responded(world, caller, update, 200)
    assert (await first).status == 200
    await world.settle()
    [invite] = world.sip.sent("INVITE")
    assert header(invite, "CSeq") == "2 INVITE"
    responded(world, caller, invite, 488)
    with pytest.raises(RequestFailed) as failed:
        await second
    assert (failed.value.status, failed.value.ended) == (488, False)
    await left(world, caller)


async def test_glare_on_the_way_to_us(world: World) -> None:
    caller, call = await joined(world)
    ours = asked(world, call, "INVITE")
    await world.settle()
    transaction = jobs.TransactionId(5, 5)
    world.focus.on_invite(caller.invite("other", transaction=transaction, cseq=2, in_dialog=True))
    assert world.sip.answers[transaction].status == 491
    responded(world, caller, world.sip.sent("INVITE")[0], 200)
    assert (await ours).status == 200
    await left(world, caller)


async def test_a_491_for_ours_is_tried_again(world: World) -> None:
    caller, call = await joined(world)
    world.focus.requests._chance = lambda: 0.0
    ours = asked(world, call)
    await world.settle()
    responded(world, caller, world.sip.sent("UPDATE")[0], 491)
    await world.settle()
    first, second = world.sip.sent("UPDATE")
    assert int(header(second, "CSeq").split()[0]) == int(header(first, "CSeq").split()[0]) + 1
    responded(world, caller, second, 200)
    assert (await ours).status == 200
    await left(world, caller)


@pytest.mark.parametrize(("status", "byes"), [(481, 0), (408, 1), (None, 1)])
async def test_a_peer_that_has_gone_ends_the_call(world: World, status: int | None, byes: int) -> None:
    caller, call = await joined(world)
    ours = asked(world, call)
    await world.settle()
    if status is not None:
        responded(world, caller, world.sip.sent("UPDATE")[0], status)
    with pytest.raises(RequestFailed) as failed:
        await ours
    assert failed.value.ended
    await world.settle()
    assert len(world.sip.sent("BYE")) == byes
    assert not any(world.busy().values())
    assert world.focus.requests.under_way == 0


async def test_the_end_of_the_call_ends_what_waits(world: World) -> None:
    caller, call = await joined(world)
    ours = [asked(world, call), asked(world, call)]
    await world.settle()
    await left(world, caller)
    for each in ours:
        with pytest.raises(RequestFailed) as failed:
            await each
        assert failed.value.ended


async def test_a_request_that_cannot_be_sent_ends_nothing(world: World) -> None:
    caller, call = await joined(world)
    world.sip.reachable = False
    with pytest.raises(RequestFailed) as failed:
        await asked(world, call)
    assert (failed.value.status, failed.value.ended) == (503, False)
    await left(world, caller)


async def test_no_ack_for_a_reinvite_ends_the_call(world: World) -> None:
    caller, call = await joined(world)
    world.focus.on_invite(
        caller.invite(call.offer_sdp, transaction=jobs.TransactionId(5, 5), cseq=2, in_dialog=True)
    )
    await world.settle(0.1)
    assert len(world.sip.sent("BYE")) == 1
    assert not any(world.busy().values())
    assert world.focus.requests.under_way == 0


async def test_a_refusal_is_logged_with_call_conference_and_user(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caller, call = await joined(world)
    with caplog.at_level("INFO"):
        assert (await answer(world, within(caller.dialog, "UPDATE", 0))).status == 500
    [line] = [record for record in caplog.records if "within the dialog refused" in record.message]
    assert (line.call, line.conference, line.user) == (  # type: ignore[attr-defined] # `extra` of the line
        caller.dialog.call_id,
        call.conference_user,
        str(call.user_id),
    )
    await left(world, caller)
