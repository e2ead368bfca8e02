"""Floor procedures of Mp on real connections: chairs, decisions, media to be confirmed, policies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from floor_support import Meeting, meeting
from mrfp_support import until

from mrf_protocols.bfcp import (
    FloorId,
    FloorRequestId,
    FloorRequestInformation,
    FloorRequestStatus,
    Primitive,
    RequestStatus,
    RequestStatusAttribute,
)
from mrf_protocols.h248 import H248Error, mp

CHAIRED = mp.Floor(1, algorithm=mp.FloorControlAlgorithm.CHAIR)
CONFIRMED = mp.Floor(1, confirm_media=True)


async def test_a_chaired_floor_with_reports() -> None:
    async with meeting(CHAIRED, users=3) as room:
        alice, bob, chair = room.participants
        room.mrfp.gateway.handle(mp.DesignateFloorChair(room.context, chair.termination, (1,)))
        chair.say(Primitive.FLOOR_QUERY, FloorId(1))
        await chair.hears("FloorStatus")
        alice.say(Primitive.FLOOR_REQUEST, FloorId(1))
        await alice.hears("FloorRequestStatus Pending")
        await chair.hears("FloorStatus")
        grant = FloorRequestStatus(1, RequestStatusAttribute(RequestStatus.GRANTED))
        bob.say(Primitive.CHAIR_ACTION, FloorRequestInformation(1, floors=(grant,)))
        await bob.hears("Error")
        chair.say(Primitive.CHAIR_ACTION, FloorRequestInformation(1, floors=(grant,)))
        await chair.hears("ChairActionAck", "FloorStatus")
        await alice.hears("FloorRequestStatus Granted")
        assert room.reports == [(1, "Pending"), (1, "Granted")]


async def test_only_one_chair_per_floor() -> None:
    async with meeting(CHAIRED, mp.Floor(2), users=2) as room:
        first, second = room.participants
        handle = room.mrfp.gateway.handle
        handle(mp.DesignateFloorChair(room.context, first.termination, (1, 2)))
        with pytest.raises(H248Error) as caught:
            handle(mp.DesignateFloorChair(room.context, second.termination, (2,)))
        assert caught.value.code == 479
        handle(mp.DesignateFloorChair(room.context, first.termination, (1,)))
        handle(mp.DesignateFloorChair(room.context, second.termination, (2,)))
        room.mrfp.release(first.place)  # the office goes with the termination
        handle(mp.DesignateFloorChair(room.context, second.termination, (1, 2)))
        with pytest.raises(H248Error) as caught:
            handle(mp.DesignateFloorChair(room.context, second.termination, (3,)))
        assert caught.value.code == 449


async def test_granted_when_the_media_are_confirmed() -> None:
    async with meeting(CONFIRMED, users=2) as room:
        alice, bob = room.participants
        for user in (alice, bob):
            user.say(Primitive.FLOOR_REQUEST, FloorId(1))
            await user.hears("FloorRequestStatus Accepted")
        assert room.reports == [(1, "Granting"), (2, "Accepted")]
        handle = room.mrfp.gateway.handle
        handle(mp.ConfirmMediaUpdate(room.context, alice.termination, 1))
        await alice.hears("FloorRequestStatus Granted")
        alice.say(Primitive.FLOOR_RELEASE, FloorRequestId(1))
        await alice.hears("FloorRequestStatus Released")
        await until(lambda: (2, "Granting") in room.reports)
        handle(mp.ConfirmMediaUpdate(room.context, bob.termination, 2, False, "no mixer"))
        [_, denied] = await bob.hears("FloorRequestStatus Accepted", "FloorRequestStatus Denied")
        assert denied.floor_request is not None
        assert denied.floor_request.overall is not None
        assert denied.floor_request.overall.info == "no mixer"


async def test_the_mrfc_decides() -> None:
    async with meeting(users=2) as room:
        alice, bob = room.participants
        alice.say(Primitive.FLOOR_REQUEST, FloorId(1))
        await alice.hears("FloorRequestStatus Granted")
        bob.say(Primitive.FLOOR_REQUEST, FloorId(1))
        await bob.hears("FloorRequestStatus Accepted")
        handle = room.mrfp.gateway.handle
        handle(
            mp.FloorRequestDecision(room.context, alice.termination, 1, mp.Decision.REVOKE, "time is over")
        )
        [revoked] = await alice.hears("FloorRequestStatus Revoked")
        assert revoked.floor_request is not None
        assert revoked.floor_request.overall is not None
        assert revoked.floor_request.overall.info == "time is over"
        await bob.hears("FloorRequestStatus Granted")
        assert room.reports[-2:] == [(1, "Revoked"), (2, "Granted")]


async def test_policies_change_while_the_conference_runs() -> None:
    async with meeting(mp.Floor(1, allowed_users=(1,)), users=2) as room:
        alice, bob = room.participants
        bob.say(Primitive.FLOOR_REQUEST, FloorId(1))
        await bob.hears("Error")
        opened = mp.Conference(4321, (mp.Floor(1, max_holders=2),))
        assert room.mrfp.gateway.handle(mp.ConfigureConference(room.context, opened)) == mp.ContextConfigured(
            room.context
        )
        for user in (alice, bob):
            user.say(Primitive.FLOOR_REQUEST, FloorId(1))
            await user.hears("FloorRequestStatus Granted")


async def test_configuring_reports_everything_once_more() -> None:
    async with meeting(users=2) as room:
        for user, state in zip(room.participants, ("Granted", "Accepted"), strict=True):
            user.say(Primitive.FLOOR_REQUEST, FloorId(1))
            await user.hears(f"FloorRequestStatus {state}")
        room.mrfp.indications.clear()
        room.mrfp.gateway.handle(mp.ConfigureConference(room.context, room.conference))
        assert room.reports == [(1, "Granted"), (2, "Accepted")]


async def test_a_newcomer_brings_the_policy_along() -> None:
    async with meeting(mp.Floor(1, allowed_users=()), users=1) as room:
        bob = await room.join(conference=mp.Conference(4321, (mp.Floor(1, allowed_users=(2,)),)))
        bob.say(Primitive.FLOOR_REQUEST, FloorId(1))
        await bob.hears("FloorRequestStatus Granted")
        with pytest.raises(H248Error) as caught:
            await room.join(conference=mp.Conference(4322, (mp.Floor(1),)))
        assert caught.value.code == 473


REFUSED: dict[str, tuple[Callable[[Meeting, str], mp.Procedure], int]] = {
    "context": (lambda room, name: mp.DesignateFloorChair(99, name, (1,)), 411),
    "termination": (lambda room, name: mp.DesignateFloorChair(room.context, "bfcp/x", (1,)), 430),
    "request to decide on": (
        lambda room, name: mp.FloorRequestDecision(room.context, name, 9, mp.Decision.GRANT),
        449,
    ),
    "request to confirm": (lambda room, name: mp.ConfirmMediaUpdate(room.context, name, 9), 449),
    "conference": (
        lambda room, name: mp.ConfigureConference(room.context, mp.Conference(1, (mp.Floor(1),))),
        473,
    ),
    "floors": (
        lambda room, name: mp.ConfigureConference(room.context, mp.Conference(4321, (mp.Floor(7),))),
        473,
    ),
    "context to configure": (
        lambda room, name: mp.ConfigureConference(99, mp.Conference(4321, (mp.Floor(1),))),
        411,
    ),
}


@pytest.mark.parametrize(("make", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_not_there(make: Callable[[Meeting, str], mp.Procedure], code: int) -> None:
    async with meeting(users=1) as room:
        with pytest.raises(H248Error) as caught:
            room.mrfp.gateway.handle(make(room, room.participants[0].termination))
        assert caught.value.code == code
