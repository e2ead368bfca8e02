"""What workers tell in another order than it came: requests before the 2xx that they follow."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from focus_world import BOB, Callee, World, make_world, response_to

from mrfc import jobs
from mrfc.calls import early
from mrfc.sip.dialog import DialogState
from mrfc.sip.port import OutgoingRequest
from mrfc.state.store import Call

TAG = "bob-tag"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


async def calling(world: World) -> tuple[OutgoingRequest, Call]:
    """An INVITE of ours is out."""
    conference = world.store.conference("meeting")
    assert conference is not None
    call = world.dial_outs.start(conference, BOB)
    await world.settle()
    [invite] = world.sip.sent("INVITE")
    return invite, call


def values(call: Call, number: int, body: str = "") -> dict[str, Any]:
    """What a request of the called participant has."""
    return {
        "transaction": jobs.TransactionId(number, 5),
        "dialog": jobs.DialogId(*call.dialog.key, TAG),
        "cseq": number,
        "request_uri": "sip:meeting@192.0.2.7",
        "from_uri": BOB,
        "to_uri": call.local_uri,
        "contact_uri": "sip:bob@192.0.2.2",
        "record_route": (),
        "content_type": "application/sdp" if body else "",
        "body": body,
        "in_dialog": True,
        "require": "",
    }


def bye(call: Call, number: int) -> jobs.ByeJob:
    return jobs.ByeJob(jobs.TransactionId(number, 5), jobs.DialogId(*call.dialog.key, TAG), number)


def statuses(world: World) -> dict[int, int]:
    """What each request got."""
    return {transaction.index: response.status for transaction, response in world.sip.answers.items()}


async def test_a_bye_before_the_2xx_ends_the_call(world: World) -> None:
    invite, call = await calling(world)
    world.focus.on_bye(bye(call, 1))
    await world.settle()
    assert statuses(world) == {}
    world.focus.on_response(response_to(invite, 200, body=Callee(world.kms).answer(invite.body)))
    await world.settle()
    assert statuses(world) == {1: 200}
    assert world.sip.sent("BYE") == []
    assert not any(world.busy().values())


async def test_requests_keep_their_order(world: World) -> None:
    """An UPDATE and a re-INVITE that changes nothing, both before the 2xx."""
    invite, call = await calling(world)
    answer = Callee(world.kms).answer(invite.body)
    world.focus.on_request(jobs.DialogRequestJob(**values(call, 1), method="UPDATE"))
    world.focus.on_request(jobs.DialogRequestJob(**values(call, 2), method="OPTIONS"))
    world.focus.on_invite(jobs.InviteJob(**values(call, 3, answer)))
    world.focus.on_response(response_to(invite, 200, body=answer))
    await world.settle()
    assert statuses(world) == {1: 200, 2: 200, 3: 491}  # the answer is still being looked at
    assert call.state is DialogState.CONFIRMED
    world.focus.on_bye(bye(call, 4))
    await world.settle()
    assert not any(world.busy().values())


async def test_who_was_refused_knows_no_dialog(world: World) -> None:
    invite, call = await calling(world)
    world.focus.on_bye(bye(call, 1))
    world.focus.on_response(response_to(invite, 486))
    await world.settle()
    assert statuses(world) == {1: 481}
    assert not any(world.busy().values())


async def test_requests_wait_for_so_long_and_in_such_numbers_only(world: World) -> None:
    invite, call = await calling(world)
    for number in range(1, early.MOST + 3):
        world.focus.on_request(jobs.DialogRequestJob(**values(call, number), method="OPTIONS"))
    await world.settle()
    assert statuses(world) == {early.MOST + 1: 481, early.MOST + 2: 481}
    await asyncio.sleep(early.KEPT)
    await world.settle()
    assert set(statuses(world).values()) == {481}
    assert len(statuses(world)) == early.MOST + 2
    world.focus.on_bye(bye(call, 20))
    assert statuses(world)[20] == 481
    world.focus.on_response(response_to(invite, 486))
    await world.settle()
    assert not any(world.busy().values())
