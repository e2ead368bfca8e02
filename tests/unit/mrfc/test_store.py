"""Seats, conferences and terminations in the store."""

import pytest

from mrfc.config import Floor
from mrfc.jobs import DialogId
from mrfc.state.store import FIRST_FACTORY_NUMBER, MAX_USER_ID, Call, Conference, NoFreeNumber, Store

FLOORS = (Floor(1, ["10"]),)


def conference(permanent: bool = True) -> Conference:
    return Conference("meeting", 4321, FLOORS, permanent)


def dialog(number: int) -> DialogId:
    return DialogId(f"call-{number}", "l", "r")


def call(store: Store, home: Conference, number: int) -> Call:
    seat = store.take_seat(home, dialog(number).key)
    new = Call(
        dialog=dialog(number),
        conference_user=home.user,
        user_id=seat,
        local_uri="sip:m@h",
        remote_uri="sip:a@h",
        remote_target="sip:a@1.2.3.4",
        route_set=(),
        remote_cseq=1,
    )
    store.add_call(new)
    return new


def test_a_user_id_is_not_given_again_at_once() -> None:
    store, home = Store(), conference()
    store.add_conference(home)
    first = call(store, home, 1)
    store.remove_call(first)
    assert call(store, home, 2).user_id == first.user_id + 1


def test_user_ids_wrap_and_skip_those_in_use() -> None:
    store, home = Store(), conference()
    store.add_conference(home)
    assert call(store, home, 1).user_id == 1
    home.next_user_id = MAX_USER_ID
    assert call(store, home, 2).user_id == MAX_USER_ID
    assert call(store, home, 3).user_id == 2


def test_a_full_conference_has_no_seat() -> None:
    store, home = Store(), conference()
    home.seats = {number: dialog(number).key for number in range(1, MAX_USER_ID + 1)}
    with pytest.raises(NoFreeNumber):
        store.take_seat(home, dialog(0).key)


def test_a_conference_of_the_factory_goes_with_its_last_participant() -> None:
    store, home = Store(), conference(permanent=False)
    store.add_conference(home)
    first, second = call(store, home, 1), call(store, home, 2)
    store.remove_call(first)
    assert store.conference("meeting") is home
    store.remove_call(second)
    assert store.conference("meeting") is None
    assert store.calls() == []


def test_a_termination_leads_to_its_call() -> None:
    store, home = Store(), conference()
    store.add_conference(home)
    one = call(store, home, 1)
    store.bind_termination(one, "mrfp", 7, "bfcp/1")
    assert store.call_on("mrfp", 7, "bfcp/1") is one
    assert store.call_on("mrfp", 8, "bfcp/1") is None
    store.unbind_termination("mrfp", 7, "bfcp/1")
    assert store.call_on("mrfp", 7, "bfcp/1") is None


def test_a_new_conference_gets_a_drawn_number_that_is_free() -> None:
    store = Store()
    store.add_conference(Conference("taken", FIRST_FACTORY_NUMBER + 7, FLOORS, permanent=False))
    drawn = iter((7, 7, 12))
    bounds = []

    def draw(bound: int) -> int:
        bounds.append(bound)
        return next(drawn)

    assert store.new_conference_number(draw) == FIRST_FACTORY_NUMBER + 12
    assert bounds == [2**32 - FIRST_FACTORY_NUMBER] * 3
