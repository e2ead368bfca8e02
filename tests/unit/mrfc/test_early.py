"""What workers tell in another order than it came: requests before the 2xx that they follow."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from focus_world import BOB, Callee, World, make_world, response_to, within

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


def arrive(world: World, call: Call, method: str, number: int, body: str = "") -> None:
    """A request of the called participant."""
    dialog = jobs.DialogId(*call.dialog.key, TAG)
    transaction = jobs.TransactionId(number, 5)
    world.arrive(within(dialog, method, number, body, transaction=transaction, from_uri=BOB))


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
    arrive(world, call, "UPDATE", 1)
    arrive(world, call, "OPTIONS", 2)
    arrive(world, call, "INVITE", 3, answer)
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
        arrive(world, call, "OPTIONS", number)
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
