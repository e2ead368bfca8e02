"""When a conference has to end, with explicit time; and that it does, in a focus in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from focus_world import ALICE, BOB, World, header, make_world
from hypothesis import given
from hypothesis import strategies as st
from roster_support import FACTORY, OPEN, Watcher, join

from mrfc.roster.ending import NOBODY, WARNING, Ending, EndingRules, Presence

GRACE = 30.0
OWNER_HERE, REQUIRED_HERE, OTHERS = (
    Presence(True, True, False),
    Presence(True, False, True),
    Presence(True, False, False),
)


def ending(present: Presence, **rules: Any) -> tuple[Ending, EndingRules]:
    made = EndingRules(grace=GRACE, **rules)
    machine = Ending(made)
    machine.changed(made, present, 0.0)
    return machine, made


def test_no_rule_no_end() -> None:
    machine, _ = ending(OTHERS)
    assert machine.deadline is None
    assert machine.due(1e9) == ""


def test_duration_with_a_warning() -> None:
    machine, rules = ending(OTHERS, duration=600.0)
    assert machine.deadline == 600.0 - WARNING
    assert machine.due(600.0 - WARNING) == ""
    assert machine.warned
    assert machine.deadline == 600.0
    machine.changed(rules, OWNER_HERE, 599.0)  # who comes and goes does not lengthen it
    assert "as long as it may" in machine.due(600.0)


def test_a_short_duration_is_warned_of_at_once() -> None:
    machine, _ = ending(OTHERS, duration=10.0)
    assert machine.deadline == 0.0
    assert machine.due(0.0) == ""
    assert machine.deadline == 10.0


def test_an_empty_conference_begins_anew() -> None:
    machine, rules = ending(OTHERS, duration=600.0, with_owner=True)
    machine.changed(rules, NOBODY, 500.0)
    assert machine.deadline is None
    assert machine.due(700.0) == ""
    machine.changed(rules, OTHERS, 700.0)
    assert machine.deadline == 1300.0 - WARNING


def test_owner_leaves_and_may_come_back() -> None:
    machine, rules = ending(OWNER_HERE, with_owner=True)
    assert machine.deadline is None
    machine.changed(rules, OTHERS, 100.0)
    assert machine.deadline == 130.0
    machine.changed(rules, OWNER_HERE, 120.0)
    assert machine.deadline is None
    machine.changed(rules, OTHERS, 200.0)
    machine.changed(rules, OTHERS, 220.0)  # others come and go
    assert machine.due(229.0) == ""
    assert "owner" in machine.due(230.0)


def test_an_owner_who_has_not_come_yet_is_not_missed() -> None:
    machine, _ = ending(OTHERS, with_owner=True)
    assert machine.deadline is None


def test_who_is_required_may_come_late_but_has_to_come() -> None:
    machine, rules = ending(OTHERS, required=True)
    assert machine.deadline == GRACE
    machine.changed(rules, REQUIRED_HERE, 10.0)
    assert machine.deadline is None
    machine.changed(rules, OTHERS, 50.0)
    assert "has to be" in machine.due(80.0)


def test_new_rules_hold_at_once() -> None:
    machine, _ = ending(OTHERS)
    machine.changed(EndingRules(duration=100.0), OTHERS, 40.0)
    assert machine.due(100.0) != ""


PRESENCES = st.sampled_from([NOBODY, OTHERS, OWNER_HERE, REQUIRED_HERE, Presence(True, True, True)])


@given(
    st.builds(EndingRules, st.sampled_from([0.0, 5.0, 100.0]), st.booleans(), st.booleans(), st.just(GRACE)),
    st.lists(st.tuples(PRESENCES, st.floats(0.0, 50.0)), max_size=20),
)
def test_every_deadline_brings_something(rules: EndingRules, steps: list[tuple[Presence, float]]) -> None:
    """A driver that sleeps until the deadline never turns in circles, and misses no end."""
    machine, now = Ending(rules), 0.0
    for presence, seconds in steps:
        machine.changed(rules, presence, now)
        end = now + seconds
        while (deadline := machine.deadline) is not None and deadline <= end:
            now = max(now, deadline)
            if machine.due(now):
                return
            assert machine.deadline is None or machine.deadline > deadline
        assert machine.due(end) == ""
        now = end


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrfc.roster.ending.WARNING", 0.02)


def world_with(folder: Path, **terms: Any) -> World:
    factory = {
        "user": "conf-factory",
        "floors": [{"id": 1, "streams": ["10"]}],
        "absence_grace": 0.05,
        **terms,
    }
    return make_world(folder, roster=OPEN, factory=factory, sip={"ack_timeout": 5.0})


@pytest.mark.usefixtures("waits")
async def test_the_longest_duration(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = world_with(tmp_path, max_duration=0.1)
    await join(world, target=FACTORY)
    [call] = world.store.calls()
    watcher = Watcher(world)
    watcher.subscribe(f"sip:{call.conference_user}@conf.example")
    watcher.answer()
    await world.settle(0.3)
    assert "lasted as long as it may" in header(world.sip.sent("BYE")[0], "Reason")
    assert header(watcher.answer(), "Subscription-State") == "terminated;reason=noresource"
    warnings = [line for line in caplog.messages if "conference" in line]
    assert "has to end soon" in warnings[0]
    assert "ended by rule" in warnings[1]
    assert not any(world.busy().values())
    assert world.focus.endings.watched == 0


async def test_it_ends_with_its_creator(tmp_path: Path) -> None:
    world = world_with(tmp_path, ends_with_owner=True)
    alice = await join(world, target=FACTORY)
    [call] = world.store.calls()
    bob = await join(world, "bob", BOB, target=f"sip:{call.conference_user}@conf.example")
    world.focus.on_bye(bob.bye())
    await world.settle(0.1)
    assert len(world.store.calls()) == 1
    await join(world, "bob", BOB, target=f"sip:{call.conference_user}@conf.example")
    world.focus.on_bye(alice.bye())
    await world.settle()
    assert len(world.store.calls()) == 1
    await world.settle(0.2)
    assert "owner has left" in header(world.sip.sent("BYE")[0], "Reason")
    assert not any(world.busy().values())


async def test_somebody_has_to_be_there(tmp_path: Path) -> None:
    world = world_with(tmp_path, required=["sip:boss@*"])
    await join(world, target=FACTORY)
    await world.settle(0.2)
    assert "has to be" in header(world.sip.sent("BYE")[0], "Reason")
    assert not any(world.busy().values())


async def test_limits_of_a_conference_of_calls_and_of_an_owner(tmp_path: Path) -> None:
    floors = [{"id": 1, "streams": ["10"]}]
    small = {"user": "meeting", "id": 4321, "floors": floors, "max_participants": 1}
    world = make_world(
        tmp_path, roster=OPEN, conference=[small], limits={"calls": 3, "conferences_per_owner": 1}
    )
    watcher = Watcher(world)
    watcher.subscribe()
    watcher.answer()
    assert watcher.mirror.description.maximum_user_count == 1

    async def status(user: str, uri: str, target: str) -> int:
        caller = await join(world, user, uri, target=target)
        return world.sip.answers[caller.transaction].status

    meeting = "sip:meeting@conf.example"
    assert [await status("alice", ALICE, meeting) for _ in range(2)] == [200, 486]
    assert [await status("alice", ALICE, FACTORY) for _ in range(2)] == [200, 486]
    assert await status("bob", BOB, FACTORY) == 200
    own = world.store.calls()[-1].conference_user
    assert await status("bob", BOB, f"sip:{own}@conf.example") == 486  # the third call was the last
    world.calls.end(world.store.calls()[1], "test")
    assert world.store.owned_by(ALICE) == 0
    assert await status("alice", ALICE, FACTORY) == 200
    await world.focus.stop()
    await world.settle()
