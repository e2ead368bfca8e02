"""Identity, privacy and charging in a focus in memory: who is shown where, and what our own requests carry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from focus_world import ALICE, BOB, MEETING, Caller, World, header, make_world
from roster_support import FACTORY, OPEN, PROXY, Watcher, fields, join

from mrfc.operator import rows
from mrfc.sip.port import OutgoingRequest

ASSERTED = "sip:alice.network@home.example"
VECTOR = "icid-value=4711;icid-generated-at=192.0.2.99"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, roster=OPEN, identity={"trusted_peers": [PROXY]}, sip={"ack_timeout": 5.0})


def vector(request: OutgoingRequest) -> str:
    return dict(request.headers).get("P-Charging-Vector", "")


async def test_an_asserted_identity_is_the_participants(world: World) -> None:
    await join(world, source=PROXY, headers=fields(p_asserted_identity=f'"Al" <{ASSERTED}>'))
    watcher = Watcher(world)
    watcher.subscribe()
    watcher.answer()
    assert watcher.mirror.users[ASSERTED].display_text == "Al"
    inside = Watcher(world, who=ASSERTED)
    assert inside.subscribe().status == 200  # a participant may watch


async def test_the_ticket_may_be_of_the_asserted_identity(world: World) -> None:
    """From says nothing; whose ticket it is says the network, and the ticket."""
    caller = Caller(world.kms)
    invite = caller.invite(
        from_uri="sip:anonymous@anonymous.invalid",
        source=PROXY,
        headers=fields(p_asserted_identity=f"<{ALICE}>", privacy="id"),
    )
    world.focus.on_invite(invite)
    await world.settle()
    assert world.sip.answers[caller.transaction].status == 200
    stranger = Caller(world.kms)
    world.focus.on_invite(
        stranger.invite(from_uri=BOB, source="198.51.100.9", headers=fields(p_asserted_identity=f"<{ALICE}>"))
    )
    await world.settle()
    assert world.sip.answers[stranger.transaction].status == 488


@pytest.mark.parametrize("operators", [False, True])
async def test_who_wants_privacy_has_it(tmp_path: Path, operators: bool) -> None:
    world = make_world(tmp_path, roster=OPEN, identity={"show_to_operators": operators})
    alice = await join(world, headers=fields(privacy="id"), from_display="Alice")
    watcher = Watcher(world)
    watcher.subscribe()
    watcher.answer()
    body = watcher.notifies()[0].body
    assert list(watcher.mirror.users) == ["sip:anonymous-1@anonymous.invalid"]
    assert "lice" not in body
    [call] = world.store.calls()
    assert (call.operators_uri == ALICE) is operators
    world.store.conferences()[0].floor_state.chairs[1] = call.user_id
    for seen in rows.calls(world.store), rows.floors(world.store):
        assert ("alice" in msgspec.json.encode(seen).decode()) is operators
    inside = Watcher(world, alice.dialog, ALICE)
    assert inside.subscribe().status == 200


async def test_nobody_learns_who_has_created_a_conference_anonymously(world: World) -> None:
    await join(world, target=FACTORY, headers=fields(privacy="id"))
    [conference] = [each for each in world.store.conferences() if not each.permanent]
    assert conference.owner == ALICE
    assert conference.owner_shown == "sip:anonymous-1@anonymous.invalid"


async def test_the_charging_vector_goes_on(world: World) -> None:
    alice = await join(world, source=PROXY, headers=fields(p_charging_vector=VECTOR))
    watcher = Watcher(world, alice.dialog, ALICE)
    watcher.subscribe()
    assert vector(watcher.answer()) == VECTOR
    [call] = world.store.calls()
    world.calls.end(call, "test")
    assert vector(world.sip.sent("BYE")[0]) == VECTOR


async def test_the_charging_vector_of_a_stranger_does_not(world: World) -> None:
    await join(world, source="198.51.100.1", headers=fields(p_charging_vector=VECTOR))
    [call] = world.store.calls()
    world.calls.end(call, "test")
    assert vector(world.sip.sent("BYE")[0]) == ""


async def test_own_calls_say_who_calls_and_are_charged(tmp_path: Path) -> None:
    world = make_world(tmp_path, identity={"assert_own": True, "charging": True})
    conference = world.store.conference("meeting")
    assert conference is not None
    world.dial_outs.start(conference, BOB)
    world.dial_outs.start(conference, BOB, vector=VECTOR)
    await world.settle()
    own, other = world.sip.sent("INVITE")
    assert header(own, "P-Asserted-Identity") == f"<{MEETING}>"
    assert vector(own).endswith(";icid-generated-at=conf.example")
    assert vector(other) == VECTOR
    await world.focus.stop()
    await world.settle()


async def test_none_of_it_unless_it_is_wanted(world: World) -> None:
    conference = world.store.conference("meeting")
    assert conference is not None
    world.dial_outs.start(conference, BOB)
    await world.settle()
    names: set[Any] = {name for name, _ in world.sip.sent("INVITE")[0].headers}
    assert names.isdisjoint({"P-Asserted-Identity", "P-Charging-Vector"})
    await world.focus.stop()
    await world.settle()


async def test_a_call_leaves_a_record(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    alice = await join(world, source=PROXY, headers=fields(p_charging_vector=VECTOR, privacy="id"))
    world.focus.on_bye(alice.bye())
    await world.settle()
    [line] = [line for line in caplog.messages if line.startswith("call record:")]
    assert (
        'direction=dial-in who=sip:anonymous-1@anonymous.invalid asserted=no seconds=0 end="BYE" icid=4711'
        in line
    )
