"""Floors at the focus: policies to the MRFP, chairs, reports, the hook, operators."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from focus_world import ALICE, BOB, MRFP, Caller, MrfpRefused, World, make_world

from mrf_ops.config import Secret
from mrf_protocols.h248 import mp
from mrfc.config import MediaHook as Settings
from mrfc.floors import floors as floors_module
from mrfc.floors.floors import NoSuchThing
from mrfc.floors.media_hook import FloorEvent, MediaHook
from mrfc.jobs import QueryAnswer, QueryJob
from mrfc.operator import rows
from mrfc.operator.floors import OperatorFloors
from mrfc.reload import take_over

STATE = mp.FloorRequestState


def conference(*floors: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"user": "meeting", "id": 4321, "floors": [{"id": 1, "streams": ["10"], **floor} for floor in floors]}
    ]


class Recorder:
    """A hook that notes bodies and answers with a status."""

    def __init__(self, status: int = 200) -> None:
        self.events: list[tuple[str, int]] = []
        self.status = status
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, body: bytes) -> int:
        event = msgspec.json.decode(body, type=FloorEvent)
        self.events.append((event.event, event.request))
        await self.gate.wait()
        return self.status


HOOK = {"url": "http://x"}
Join = Callable[..., Awaitable[Caller]]


def overview(world: World) -> list[dict[str, Any]]:
    """The floors as operators see them."""
    shown: list[dict[str, Any]] = msgspec.to_builtins(rows.floors(world.store))
    return shown


async def join(world: World, user: str = "alice", uri: str = ALICE) -> Caller:
    caller = Caller(world.kms, user, uri)
    world.focus.on_invite(caller.invite())
    await world.settle()
    world.focus.on_ack(caller.ack())
    await world.settle()
    return caller


def termination(world: World, caller: Caller) -> tuple[int, str]:
    call = world.store.call(caller.dialog)
    assert call is not None
    assert call.termination is not None
    place = world.bearers.place(call)
    assert place is not None
    return place[1], call.termination


def report(world: World, caller: Caller, request: int, state: mp.FloorRequestState, *positions: int) -> None:
    where = termination(world, caller)
    world.focus.on_indication(MRFP, mp.FloorRequestReport(*where, request, (1,), state, positions))


def asked(world: World, kind: type[Any]) -> list[Any]:
    return [each for each in world.mrfp.procedures if isinstance(each, kind)]


async def test_the_whole_policy_goes_to_the_mrfp(tmp_path: Path) -> None:
    floor = {
        "max_holders": 2,
        "algorithm": "chair",
        "without_chair": "deny",
        "max_holding_time": 30,
        "honour_priority": False,
        "confirm_media": True,
    }
    world = make_world(tmp_path, conference=conference(floor), media_hook=HOOK)
    await join(world)
    [add] = asked(world, mp.ConfigureBfcpTermination)
    assert add.events.floor_decisions
    assert add.conference.floors == (
        mp.Floor(1, ("10",), 2, mp.FloorControlAlgorithm.CHAIR, mp.WithoutChair.DENY, 30, False, None, True),
    )


async def test_who_may_ask_follows_the_participants(tmp_path: Path) -> None:
    world = make_world(tmp_path, conference=conference({"may_ask": [BOB]}))
    await join(world)
    await join(world, "bob", BOB)
    first, second = asked(world, mp.ConfigureBfcpTermination)
    assert first.conference.floors[0].allowed_users == ()
    assert second.conference.floors[0].allowed_users == (2,)


async def test_the_chair_is_designated_when_it_joins(tmp_path: Path) -> None:
    world = make_world(tmp_path, conference=conference({"algorithm": "chair", "chair": "sip:b*@ue.example"}))
    await join(world)
    assert not asked(world, mp.DesignateFloorChair)
    bob = await join(world, "bob", BOB)
    [designated] = asked(world, mp.DesignateFloorChair)
    assert (designated.context, designated.termination) == termination(world, bob)
    assert designated.floors == (1,)
    assert overview(world)[0]["chair"] == {"user": 2, "uri": BOB}
    world.focus.on_bye(bob.bye())
    await world.settle()
    assert overview(world)[0]["chair"] is None


async def test_a_chair_that_the_mrfp_refuses(tmp_path: Path) -> None:
    world = make_world(tmp_path, conference=conference({"algorithm": "chair", "chair": ALICE}))
    world.mrfp.fail = lambda procedure: (
        MrfpRefused(479, "chair") if isinstance(procedure, mp.DesignateFloorChair) else None
    )
    await join(world)
    assert overview(world)[0]["chair"] is None


async def test_reports_become_the_overview(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    alice, bob = await join(world), await join(world, "bob", BOB)
    report(world, alice, 1, STATE.GRANTED)
    report(world, bob, 2, STATE.ACCEPTED, 1)
    [floor] = overview(world)
    assert floor["holders"] == [{"request": 1, "user": 1, "uri": ALICE}]
    assert floor["queue"] == [{"request": 2, "user": 2, "uri": BOB}]
    world.focus.on_bye(alice.bye())
    await world.settle()
    report(world, bob, 2, STATE.GRANTED)
    [floor] = overview(world)
    assert floor["holders"] == [{"request": 2, "user": 2, "uri": BOB}]
    assert floor["queue"] == []


async def test_a_report_of_somebody_who_has_left(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.focus.on_indication(MRFP, mp.FloorRequestReport(12, "bfcp/9", 1, (1,), STATE.GRANTED))
    assert overview(world) == []


@pytest.mark.parametrize(("status", "done"), [(200, True), (409, False)])
async def test_media_are_confirmed_by_the_hook(tmp_path: Path, status: int, done: bool) -> None:
    post = Recorder(status)
    hook = MediaHook(Settings(url="http://x"), post)
    world = make_world(tmp_path, hook, conference=conference({"confirm_media": True}), media_hook=HOOK)
    alice = await join(world)
    post.gate.clear()
    report(world, alice, 1, STATE.GRANTING)
    await world.settle()
    assert not asked(world, mp.ConfirmMediaUpdate)
    assert overview(world)[0]["holders"][0]["waits_for"] == "media"
    post.gate.set()
    await world.settle()
    [confirmed] = asked(world, mp.ConfirmMediaUpdate)
    assert (confirmed.floor_request_id, confirmed.done) == (1, done)
    report(world, alice, 1, STATE.GRANTED if done else STATE.DENIED)
    if done:
        report(world, alice, 1, STATE.RELEASED)
    await world.settle()
    assert post.events == [("grant", 1), ("release", 1)]


async def test_nothing_is_confirmed_that_was_taken_back(tmp_path: Path) -> None:
    post = Recorder()
    post.gate.clear()
    hook = MediaHook(Settings(url="http://x"), post)
    world = make_world(tmp_path, hook, conference=conference({"confirm_media": True}), media_hook=HOOK)
    alice = await join(world)
    report(world, alice, 1, STATE.GRANTING)
    await world.settle()
    report(world, alice, 1, STATE.CANCELLED)
    post.gate.set()
    await world.settle()
    assert not asked(world, mp.ConfirmMediaUpdate)
    assert post.events == [("grant", 1), ("release", 1)]


async def test_who_leaves_gives_the_media_back(tmp_path: Path) -> None:
    post = Recorder()
    world = make_world(
        tmp_path, MediaHook(Settings(url="http://x"), post), media_hook={"kamailio_event": True}
    )
    alice = await join(world)
    report(world, alice, 1, STATE.GRANTED)
    report(world, alice, 1, STATE.GRANTED)
    world.focus.on_bye(alice.bye())
    await world.settle()
    assert post.events == [("grant", 1), ("release", 1)]
    published = [msgspec.json.decode(event, type=FloorEvent) for event in world.sip.published]
    assert [(event.number, event.event, event.participant) for event in published] == [
        (1, "grant", ALICE),
        (2, "release", ALICE),
    ]
    assert not any(world.busy().values())


async def test_an_mrfp_that_comes_back_is_configured_anew_and_tells_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floors_module, "REPORTS_TAKE", 0.02)
    post = Recorder()
    world = make_world(tmp_path, MediaHook(Settings(url="http://x"), post), media_hook=HOOK)
    alice, bob = await join(world), await join(world, "bob", BOB)
    report(world, alice, 1, STATE.GRANTED)
    report(world, bob, 2, STATE.ACCEPTED, 1)
    world.focus.floors.returned(MRFP)
    world.focus.floors.returned("another")
    await world.settle()
    [configured] = asked(world, mp.ConfigureConference)
    assert configured.conference.conference_id == 4321
    report(world, bob, 2, STATE.GRANTED)  # alice has released meanwhile
    await world.settle(0.03)
    [floor] = overview(world)
    assert [each["request"] for each in floor["holders"]] == [2]
    assert post.events == [("grant", 1), ("grant", 2), ("release", 1)]


async def test_new_policies_reach_a_conference_that_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floors_module, "REPORTS_TAKE", 0.0)
    world = make_world(tmp_path, conference=conference({}))
    await join(world)
    (tmp_path / "other").mkdir()
    for changed, holders in ({"max_holders": 3}, 3), ({"max_holders": 4, "streams": ["12"]}, 3):
        wanted = make_world(tmp_path / "other", conference=conference(changed)).config
        take_over(world.config, wanted, world.store)
        world.focus.floors.policies_changed()
        await world.settle()
        told = asked(world, mp.ConfigureConference)[-1]
        assert told.conference.floors[0].max_holders == holders


async def test_an_mrfp_that_comes_back_without_the_context(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    report(world, await join(world), 1, STATE.GRANTED)
    world.mrfp.contexts.clear()
    world.focus.floors.returned(MRFP)
    await world.settle()
    assert world.focus.floors.running == 0


# Operators

TOKEN = "0123456789abcdef"


def query(body: str, authorization: str = f"Bearer {TOKEN}") -> QueryJob:
    return QueryJob(1, "POST", "", body, authorization)


def operator(world: World) -> OperatorFloors:
    return OperatorFloors(Secret(TOKEN.encode()), world.focus.floors)


def error(answer: QueryAnswer) -> str:
    return str(msgspec.json.decode(answer.body)["error"])


async def test_an_operator_revokes(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    alice = await join(world)
    report(world, alice, 1, STATE.GRANTED)
    answer = await operator(world).decide("meeting", 1, query('{"decision": "revoke", "reason": "time"}'))
    assert answer.status == 200
    [decided] = asked(world, mp.FloorRequestDecision)
    assert (decided.floor_request_id, decided.decision, decided.reason) == (1, mp.Decision.REVOKE, "time")
    assert (decided.context, decided.termination) == termination(world, alice)


async def test_an_operator_moves_the_chair(tmp_path: Path) -> None:
    floors = conference(
        {"algorithm": "chair", "chair": ALICE}, {"id": 2, "algorithm": "chair", "chair": ALICE}
    )
    world = make_world(tmp_path, conference=floors)
    alice, bob = await join(world), await join(world, "bob", BOB)
    world.mrfp.procedures.clear()
    assert (await operator(world).appoint("meeting", 2, query('{"user": 2}'))).status == 200
    first, second = asked(world, mp.DesignateFloorChair)
    assert (first.termination, first.floors) == (termination(world, alice)[1], (1,))
    assert (second.termination, second.floors) == (termination(world, bob)[1], (2,))
    assert (await operator(world).appoint("meeting", 2, query('{"user": null}'))).status == 200
    chairs = [floor["chair"] for floor in overview(world)]
    assert chairs == [{"user": 1, "uri": ALICE}, None]


@pytest.mark.parametrize(
    ("user", "number", "body", "status"),
    [
        ("meeting", 1, "{}", 400),
        ("meeting", 1, '{"decision": "perhaps"}', 400),
        ("meeting", 9, '{"decision": "grant"}', 404),
        ("other", 1, '{"decision": "grant"}', 404),
    ],
)
async def test_decisions_that_are_refused(
    tmp_path: Path, user: str, number: int, body: str, status: int
) -> None:
    world = make_world(tmp_path)
    report(world, await join(world), 1, STATE.PENDING)
    assert (await operator(world).decide(user, number, query(body))).status == status
    assert not asked(world, mp.FloorRequestDecision)


@pytest.mark.parametrize(
    ("floor", "body", "status"),
    [(1, '{"user": 0}', 400), (1, '{"user": 9}', 404), (7, '{"user": 1}', 404), (1, "[]", 400)],
)
async def test_chairs_that_are_refused(tmp_path: Path, floor: int, body: str, status: int) -> None:
    world = make_world(tmp_path)
    await join(world)
    assert (await operator(world).appoint("meeting", floor, query(body))).status == status
    assert not asked(world, mp.DesignateFloorChair)


async def test_what_the_mrfp_refuses_is_told(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    report(world, await join(world), 1, STATE.PENDING)
    world.mrfp.fail = lambda procedure: MrfpRefused(449, "no floor request 1")
    answer = await operator(world).decide("meeting", 1, query('{"decision": "grant"}'))
    assert (answer.status, error(answer)) == (409, "449 no floor request 1")


async def test_strangers_and_a_closed_door(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    stranger = query('{"decision": "grant"}', "Bearer x")
    assert (await operator(world).decide("meeting", 1, stranger)).status == 401
    assert (await operator(world).appoint("meeting", 1, stranger)).status == 401
    closed = await OperatorFloors(None, world.focus.floors).decide("meeting", 1, stranger)
    assert closed.status == 403
    assert "operator_token_file" in error(closed)


async def test_a_participant_without_a_connection(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    alice = await join(world)
    report(world, alice, 1, STATE.PENDING)
    call = world.store.call(alice.dialog)
    assert call is not None
    call.termination = None
    with pytest.raises(NoSuchThing):
        await world.focus.floors.decide("meeting", 1, mp.Decision.DENY, "")
