"""Conferences of a lost MRFP: their calls end, or move to another one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from pathlib import Path

import msgspec
import pytest
from focus_world import ALICE, MEETING, Callee, Caller, FakeMrfp, MrfpUnavailable, World, header, make_world
from focus_world import response_to as plain_response

from mrf_protocols import sdp
from mrf_protocols.h248.mp import (
    Acknowledgement,
    DesignateFloorChair,
    FloorRequestReport,
    FloorRequestState,
    Procedure,
    TcpEstablishmentFailed,
    TerminationConfigured,
    TlsEstablished,
)
from mrfc import jobs
from mrfc.calls import moving
from mrfc.sip.dialog import DialogState
from mrfc.sip.port import OutgoingRequest
from mrfc.state.store import Call

FACTORY = "sip:conf-factory@conf.example"


class Pair(FakeMrfp):
    """Two MRFPs; a new conference goes to the first that stands."""

    def __init__(self) -> None:
        super().__init__()
        self.standing = ["mrfp", "other"]
        self.places: dict[int, str] = {}

    def choose_mrfp(self, without: Collection[str] = ()) -> str:
        left = [name for name in self.standing if name not in without]
        if not left:
            raise MrfpUnavailable("no MRFP is in service")
        return left[0]

    def has_mrfp(self) -> bool:
        return bool(self.standing)

    async def request(self, mrfp: str, procedure: Procedure) -> Acknowledgement:
        if mrfp not in self.standing:
            raise MrfpUnavailable(f"{mrfp} is not registered")
        answer = await super().request(mrfp, procedure)
        if isinstance(answer, TerminationConfigured):
            assert self.places.setdefault(answer.context, mrfp) == mrfp
        return answer

    def lose(self, mrfp: str) -> None:
        """It has died."""
        self.standing.remove(mrfp)
        for context in [number for number, where in self.places.items() if where == mrfp]:
            self.contexts.pop(context, None)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return moving_world(tmp_path)


def moving_world(folder: Path, policy: str = "move") -> World:
    floors = [{"id": 1, "streams": ["10"], "chair": ALICE}]
    meeting = [{"user": "meeting", "id": 4321, "floors": floors}]
    return make_world(
        folder,
        mrfp=Pair(),
        mp={"on_mrfp_loss": policy},
        media_hook={"kamailio_event": True},
        conference=meeting,
        sip={"ack_timeout": 5.0},
    )


def pair(world: World) -> Pair:
    assert isinstance(world.mrfp, Pair)
    return world.mrfp


async def joined(world: World, callee: str = MEETING) -> Call:
    call = await world.join(Caller(world.kms, callee=callee))
    secured(world, call, call.termination)
    await world.settle()
    return call


def secured(world: World, call: Call, termination: str | None) -> None:
    world.tell(call, TlsEstablished, termination)


def lose(world: World, mrfp: str = "mrfp") -> None:
    pair(world).lose(mrfp)
    world.focus.on_mrfp_lost(mrfp)


async def offered(world: World, call: Call) -> OutgoingRequest:
    """The last re-INVITE of ours to this call."""
    await world.settle()
    mine = [each for each in world.sip.sent("INVITE") if header(each, "Call-ID") == call.dialog.call_id]
    return mine[-1]


async def answer(world: World, call: Call, status: int = 200, *, spoil: bool = False) -> None:
    """The participant answers it."""
    request = await offered(world, call)
    body = Callee(world.kms, "alice", ALICE).answer(request.body, spoil=spoil) if status == 200 else ""
    response = plain_response(request, status, tag=call.dialog.remote_tag, body=body)
    cseq = int(header(request, "CSeq").partition(" ")[0])
    world.focus.on_response(msgspec.structs.replace(response, cseq=cseq))
    await world.settle()


async def leave(world: World, *calls: Call) -> None:
    for call in calls:
        world.focus.on_bye(jobs.ByeJob(jobs.TransactionId(call.user_id, 98), call.dialog, 1000))
    await world.settle()
    all_given_back(world)


def all_given_back(world: World) -> None:
    assert not any(world.busy().values()), world.busy()
    assert world.focus.moves.running == 0
    assert world.focus.requests.under_way == 0


async def ended(world: World, *calls: Call) -> None:
    """They have got a BYE that says why, and answer it."""
    await world.settle()
    for call in calls:
        assert call.state is DialogState.TERMINATED
        assert call.end_reason == "MRFP lost"
    byes = {header(bye, "Call-ID"): header(bye, "Reason") for bye in world.sip.sent("BYE")}
    assert all('text="MRFP lost"' in byes[call.dialog.call_id] for call in calls)


def counted(world: World) -> dict[str, float]:
    """What became of calls, as the metric says."""
    return {
        sample.labels["result"]: sample.value
        for metric in world.measures.moved_calls.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


async def test_a_call_moves_with_a_new_connection_and_no_floor(world: World) -> None:
    call = await joined(world)
    place = world.bearers.place(call)
    assert place is not None
    report = FloorRequestReport(place[1], call.termination or "", 7, (1,), FloorRequestState.GRANTED)
    world.focus.on_indication("mrfp", report)
    lose(world)
    offer = sdp.parse((await offered(world, call)).body)
    assert offer.media[0].value_of("connection") == "new"
    conference = world.store.conference("meeting")
    assert conference is not None
    assert (conference.mrfp, conference.floor_state.requests) == ("other", {})
    assert [json.loads(event)["event"] for event in world.sip.published] == ["grant", "release"]
    assert call.bearer_lost
    await answer(world, call)
    assert world.mrfp.configured[call.termination or ""].psk
    chairs = [each for each in world.mrfp.procedures if isinstance(each, DesignateFloorChair)]
    assert [each.termination for each in chairs][-1] == call.termination
    assert conference.floor_state.chairs == {1: call.user_id}
    secured(world, call, call.termination)
    assert not call.bearer_lost
    assert counted(world) == {"moved": 1}
    assert set(world.mrfp.contexts[conference.context or 0]) == {call.termination}
    await leave(world, call)


async def test_whose_new_connection_fails_is_ended(world: World) -> None:
    call = await joined(world)
    lose(world)
    await answer(world, call)
    world.tell(call, TcpEstablishmentFailed, call.termination)
    await world.settle()
    assert call.state is DialogState.TERMINATED
    all_given_back(world)


@pytest.mark.parametrize("how", ["488", "481", "wrong answer", "KMS down", "MRFP refuses", "a fault"])
async def test_who_cannot_be_moved_is_ended_and_nobody_else(world: World, how: str) -> None:
    call, other = await joined(world), await joined(world, FACTORY)
    if how in ("KMS down", "MRFP refuses", "a fault"):
        error = OSError("a fault") if how == "a fault" else MrfpUnavailable("no")
        world.kms.down = how == "KMS down"
        world.mrfp.fail = lambda procedure: None if world.kms.down else error
        lose(world)
        await ended(world, call, other)
        assert counted(world) == {"ended": 2}
    else:
        lose(world)
        await answer(world, other)
        await answer(world, call, 200 if how == "wrong answer" else int(how), spoil=how == "wrong answer")
        assert call.state is DialogState.TERMINATED
        assert counted(world) == {"moved": 1, "left" if how == "481" else "ended": 1}
        if how != "481":  # who does not know the call gets no BYE
            await ended(world, call)
        await leave(world, other)
    all_given_back(world)


async def test_without_another_mrfp_calls_end(world: World) -> None:
    calls = [await joined(world), await joined(world)]
    pair(world).standing.remove("other")
    lose(world)
    await ended(world, *calls)
    assert (world.sip.sent("INVITE"), counted(world)) == ([], {"ended": 2})
    all_given_back(world)


async def test_the_policy_end(tmp_path: Path) -> None:
    world = moving_world(tmp_path, "end")
    calls = [await joined(world), await joined(world, FACTORY)]
    lose(world)
    await ended(world, *calls)
    assert (world.sip.sent("INVITE"), counted(world)) == ([], {})
    all_given_back(world)


async def test_two_conferences_get_a_context_each_and_others_stay(world: World) -> None:
    moved = [await joined(world), await joined(world), await joined(world, FACTORY)]
    pair(world).standing.reverse()
    stays = await joined(world, FACTORY)
    before = stays.termination
    lose(world)
    for call in moved:
        await answer(world, call)
        secured(world, call, call.termination)
    places = [world.bearers.place(call) for call in moved]
    assert places[0] == places[1] != places[2]
    assert {place[0] for place in places if place} == {"other"}
    assert (stays.termination, counted(world)) == (before, {"moved": 3})
    await leave(world, *moved, stays)


async def test_a_call_that_leaves_while_it_is_moved(world: World) -> None:
    asked, waiting = await joined(world), await joined(world, FACTORY)
    lose(world)
    await offered(world, asked)
    await leave(world, asked, waiting)
    assert counted(world) == {"left": 2}


async def test_a_call_that_leaves_while_its_ticket_is_fetched(world: World) -> None:
    call = await joined(world)
    world.kms.hold = asyncio.Event()
    lose(world)
    await leave(world, call)
    assert world.sip.sent("INVITE") == []


async def test_unconfirmed_and_unsecured_calls_end(world: World) -> None:
    unsecured, confirmed = await joined(world), await joined(world)
    unsecured.secured = False
    early = Caller(world.kms)
    world.focus.on_invite(early.invite())
    await world.settle()
    lose(world)
    await answer(world, confirmed)
    await ended(world, unsecured)
    assert counted(world) == {"ended": 2, "moved": 1}
    world.focus.on_ack(early.ack())
    await leave(world, confirmed)


async def test_without_floor_control_a_call_stays_as_it_is(world: World) -> None:
    silent, other = await joined(world), await joined(world)
    world.bearers.give_back(silent)
    silent.secured = False
    lose(world)
    await answer(world, other)
    assert silent.state is DialogState.CONFIRMED
    assert counted(world) == {"moved": 1}
    await leave(world, silent, other)


async def test_a_participant_who_was_quicker(world: World) -> None:
    """His own offer of a new connection crosses ours, which he refuses."""
    call = await joined(world)
    lose(world)
    await offered(world, call)
    caller = Caller(world.kms)  # for a key
    own = sdp.parse(call.offer_sdp)
    media = sdp.ClientMedia(sdp.Address("192.0.2.1", 5001), (sdp.KeyMgmt(sdp.MIKEY, caller.transfer.init()),))
    body = sdp.serialize(sdp.reoffer(own, media, connection=sdp.ConnectionUse.NEW))
    await answer(world, call, 491)
    again = caller.invite(body, dialog=call.dialog, cseq=2, in_dialog=True)
    world.focus.on_invite(again)
    await world.settle()
    assert world.sip.answers[again.transaction].status == 200
    world.focus.on_ack(jobs.AckJob(call.dialog, 2, "", ""))
    assert call.successor is not None
    secured(world, call, call.successor)
    for _ in range(400):  # our next attempt finds that there is nothing to do any more
        if counted(world):
            break
        await world.settle(0.02)
    assert counted(world) == {"by_itself": 1}
    assert call.state is DialogState.CONFIRMED
    await leave(world, call)


async def test_the_second_mrfp_is_lost_while_a_call_moves_to_it(world: World) -> None:
    pair(world).standing.append("third")
    call = await joined(world)
    lose(world)
    await offered(world, call)
    lose(world, "other")
    await answer(world, call)  # the answer to the first offer has no use any more
    await answer(world, call)
    assert counted(world) == {"moved": 1}
    place = world.bearers.place(call)
    assert place is not None
    assert place[0] == "third"
    await leave(world, call)


async def test_no_more_than_some_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.focus.moves, "_turns", asyncio.Semaphore(2))
    calls = [await joined(world) for _ in range(5)]
    lose(world)
    await world.settle()
    assert len(world.sip.sent("INVITE")) == 2
    assert world.focus.moves.running == 5
    for done, call in enumerate(calls, start=1):
        await answer(world, call)
        assert len(world.sip.sent("INVITE")) == min(5, done + 2)
    assert moving.AT_ONCE == 32
    await leave(world, *calls)
