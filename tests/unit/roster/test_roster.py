"""The roster: whatever happens and whoever is told when, what a subscriber puts together is what there is."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrf_protocols.conference_info import (
    Description,
    Endpoint,
    EndpointStatus,
    Mirror,
    Part,
    Update,
    User,
    document,
)
from mrfc.roster import roster as module
from mrfc.roster.roster import NOTHING, Roster

ENTITY = "sip:meeting@conf.example"
HERE, GONE = EndpointStatus.CONNECTED, EndpointStatus.DISCONNECTED


def person(number: int, name: str = "", status: EndpointStatus = HERE) -> User:
    return User(f"sip:u{number}@x", name, endpoints=(Endpoint("e", status),))


class Watcher:
    """A subscriber who is told now and then."""

    def __init__(self, size: int = 30_000) -> None:
        self.mirror = Mirror()
        self.known = self.begun = NOTHING
        self.version = 0
        self.size = size

    def look(self, roster: Roster) -> int:
        """Be told until nothing is left; gives how many documents that took."""
        documents = 0
        while self.known < roster.number:
            changes = roster.changes(self.known, self.begun, self.size)
            assert changes.part is Part.FULL or self.known != NOTHING
            if changes.part is Part.FULL:
                self.begun = changes.latest
            self.version += 1
            documents += 1
            text = document(ENTITY, self.version, changes.part, changes.inside)
            assert self.mirror.apply(text) is Update.TAKEN
            self.known = changes.known
            assert documents < 100, "it does not come to an end"
        return documents


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"), st.integers(0, 5), st.sampled_from(["", "A", "B"]), st.sampled_from([HERE, GONE])
        ),
        st.tuples(st.just("remove"), st.integers(0, 5)),
        st.tuples(st.just("describe"), st.text("ab", max_size=2)),
        st.tuples(st.just("look"), st.integers(0, 2)),
    ),
    max_size=40,
)


def run(steps: list[tuple[object, ...]], watchers: list[Watcher]) -> Roster:
    roster = Roster(ENTITY, Description("first"))
    for step in steps:
        match step:
            case ("put", int(number), str(name), EndpointStatus() as status):
                roster.put(person(number, name, status))
            case ("remove", int(number)):
                roster.remove(f"sip:u{number}@x")
            case ("describe", str(text)):
                roster.describe(Description(text))
            case ("look", int(number)):
                watchers[number].look(roster)
    return roster


@pytest.mark.parametrize("most_deleted", [1, 1_000])
@given(STEPS)
def test_partial_states_add_up_to_the_full_one(most_deleted: int, steps: list[tuple[object, ...]]) -> None:
    watchers = [Watcher(), Watcher(1), Watcher(250)]  # everything at once, user by user, one or two users
    with mock.patch.object(module, "MOST_DELETED", most_deleted):
        roster = run(steps, watchers)
    newcomer = Watcher()
    newcomer.look(roster)
    for watcher in watchers:
        watcher.look(roster)
        assert watcher.mirror.users == newcomer.mirror.users
        assert watcher.mirror.description == newcomer.mirror.description
        assert watcher.mirror.state == newcomer.mirror.state
    present = [
        user for user in newcomer.mirror.users.values() if any(e.status is HERE for e in user.endpoints)
    ]
    assert newcomer.mirror.state.user_count == len(present)


def test_what_changes_nothing_is_not_told() -> None:
    roster = Roster(ENTITY, Description())
    roster.put(person(1))
    number = roster.number
    roster.put(person(1))
    roster.remove("sip:nobody@x")
    roster.describe(Description())
    assert roster.number == number
    assert roster.user("sip:u1@x") == person(1)
    assert roster.user("sip:u2@x") is None


def test_only_what_has_changed_is_told() -> None:
    roster = Roster(ENTITY, Description("D"))
    for number in range(100):
        roster.put(person(number))
    known = roster.number
    roster.put(person(5, "new name"))
    roster.remove("sip:u6@x")
    changes = roster.changes(known, known, 30_000)
    assert changes.part is Part.PARTIAL
    assert changes.inside.count("<user ") == 2
    assert "<conference-description>" not in changes.inside
    assert changes is roster.changes(known, known, 30_000)  # written once for all who know the same
    roster.describe(Description("E"))
    assert "<display-text>E" in roster.changes(known, known, 30_000).inside


def test_a_large_conference_is_told_in_pieces() -> None:
    roster = Roster(ENTITY, Description())
    for number in range(1_000):
        roster.put(person(number))
    watcher = Watcher(10_000)
    pieces = watcher.look(roster)
    assert 5 < pieces < 20
    assert len(watcher.mirror.users) == 1_000
    roster.put(person(1_000))
    assert watcher.look(roster) == 1


def test_texts_kept_for_later_are_few() -> None:
    roster = Roster(ENTITY, Description())
    for number in range(500):
        roster.put(person(number))
    for known in range(400):
        roster.changes(known + 1, 1, 1_000)
    assert len(roster._ready) <= module.MOST_READY
