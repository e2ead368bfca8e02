"""SUBSCRIBE to a focus in memory: dialogs, CSeq numbers, NOTIFYs, who may watch, and what ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from focus_world import ALICE, BOB, MEETING, World, header, make_world
from roster_support import FACTORY, NUMBERS, OPEN, WATCHER, Watcher, join

from mrf_protocols.conference_info import (
    DisconnectionMethod,
    EndpointStatus,
    FloorControl,
    JoiningMethod,
    Mirror,
)
from mrf_protocols.h248.mp import FloorRequestReport, FloorRequestState
from mrfc import jobs
from mrfc.sip.port import Response


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, roster=OPEN, sip={"ack_timeout": 5.0})


def header_of(response: Response, name: str) -> str:
    return dict(response.headers).get(name, "")


async def test_full_state_then_joins_and_leaves(world: World) -> None:
    alice = await join(world)
    watcher = Watcher(world)
    accepted = watcher.subscribe()
    assert (accepted.status, header_of(accepted, "Expires")) == (200, "600")
    assert header_of(accepted, "Contact").endswith(";isfocus")
    assert header_of(accepted, "Allow-Events") == "conference"
    first = watcher.answer()
    assert header(first, "Event") == "conference"
    assert header(first, "Subscription-State") == "active;expires=600"
    assert header(first, "Content-Type") == "application/conference-info+xml"
    assert (first.request_uri, first.next_hop) == ("sip:watcher@192.0.2.3", "sip:proxy;lr")
    user = watcher.mirror.users[ALICE]
    assert (user.endpoints[0].status, user.roles) == (EndpointStatus.CONNECTED, ("participant",))
    assert user.endpoints[0].joining_method is JoiningMethod.DIALED_IN
    assert user.endpoints[0].joining_info is not None
    assert user.endpoints[0].media[0].type == "application"
    assert watcher.mirror.description.uris == (MEETING,)
    assert watcher.mirror.description.maximum_user_count == 1_000

    bob = await join(world, "bob", BOB)
    await watcher.told()
    assert set(watcher.mirror.users) == {ALICE, BOB}
    world.focus.on_bye(alice.bye())
    await watcher.told()
    assert set(watcher.mirror.users) == {BOB}
    assert watcher.mirror.state.user_count == 1
    assert [header(notify, "CSeq") for notify in watcher.notifies()] == ["1 NOTIFY", "2 NOTIFY", "3 NOTIFY"]
    world.focus.on_bye(bob.bye())
    await watcher.told()
    assert watcher.mirror.users == {}
    last = watcher.subscribe(expires=("0",))
    assert header_of(last, "Expires") == "0"
    assert header(watcher.answer(), "Subscription-State") == "terminated;reason=timeout"
    assert not any(world.busy().values())


async def test_within_the_dialog_of_a_participant(world: World) -> None:
    alice = await join(world)
    watcher = Watcher(world, alice.dialog, ALICE)
    assert watcher.subscribe().status == 200
    notify = watcher.answer()
    assert header(notify, "From").endswith(f";tag={alice.dialog.local_tag}")
    assert notify.next_hop == ""
    bob = await join(world, "bob", BOB)
    await watcher.told()
    world.focus.on_bye(alice.bye())  # who has left may not watch any longer
    await world.settle()
    assert header(watcher.answer(), "Subscription-State") == "terminated;reason=rejected"
    world.focus.on_bye(bob.bye())
    await world.settle()
    assert not any(world.busy().values())


async def test_who_departed_is_shown_for_a_while(tmp_path: Path) -> None:
    world = make_world(tmp_path, roster={**OPEN, "departed_kept": 0.05})
    alice = await join(world)
    watcher = Watcher(world)
    watcher.subscribe()
    watcher.answer()
    world.focus.on_bye(alice.bye())
    mirror = await watcher.told()
    endpoint = mirror.users[ALICE].endpoints[0]
    assert endpoint.status is EndpointStatus.DISCONNECTED
    assert endpoint.disconnection_method is DisconnectionMethod.DEPARTED
    assert endpoint.disconnection_info is not None
    assert mirror.state.user_count == 0
    await world.settle(0.06)
    watcher.answer()
    assert mirror.users == {}


async def test_two_devices_of_one_user(world: World) -> None:
    first, second = await join(world), await join(world)
    watcher = Watcher(world)
    watcher.subscribe()
    watcher.answer()
    user = watcher.mirror.users[ALICE]
    assert [each.entity for each in user.endpoints] == ["bfcp-user-1", "bfcp-user-2"]
    assert watcher.mirror.state.user_count == 1
    world.focus.on_bye(first.bye())
    await watcher.told()
    assert [each.entity for each in watcher.mirror.users[ALICE].endpoints] == ["bfcp-user-2"]
    world.focus.on_bye(second.bye())
    await watcher.told()
    assert watcher.mirror.users == {}


async def test_floors_and_chairs_are_told(tmp_path: Path) -> None:
    floors = [{"id": 1, "streams": ["10"], "algorithm": "chair", "chair": ALICE}]
    meeting = {
        "user": "meeting",
        "id": 4321,
        "floors": floors,
        "subject": "Budget",
        "display_text": "The <meeting>",
    }
    world = make_world(tmp_path, roster=OPEN, conference=[meeting])
    await join(world)
    watcher = Watcher(world)
    watcher.subscribe()
    watcher.answer()
    assert (watcher.mirror.description.display_text, watcher.mirror.description.subject) == (
        "The <meeting>",
        "Budget",
    )
    user = watcher.mirror.users[ALICE]
    assert user.roles == ("participant", "chair")
    [call] = world.store.calls()
    conference = world.store.conference("meeting")
    assert conference is not None
    assert conference.context is not None
    report = FloorRequestReport(
        conference.context, call.termination or "", 9, (1,), FloorRequestState.GRANTED
    )
    world.focus.floors.reported("mrfp", report)
    await watcher.told()
    assert watcher.mirror.users[ALICE].endpoints[0].media[0].floor_control == FloorControl(1, (1,), (1,))


async def test_the_end_of_a_conference_of_the_factory(world: World) -> None:
    alice = await join(world, target=FACTORY)
    [call] = world.store.calls()
    watcher = Watcher(world)
    target = f"sip:{call.conference_user}@conf.example"
    assert watcher.subscribe(target).status == 200
    watcher.answer()
    world.focus.on_bye(alice.bye())
    await world.settle()
    last = watcher.answer()
    assert header(last, "Subscription-State") == "terminated;reason=noresource"
    assert 'state="deleted"' in last.body
    assert not any(world.busy().values())
    assert Watcher(world).subscribe(target).status == 404


async def test_a_refresh_brings_the_full_state(world: World) -> None:
    await join(world)
    watcher = Watcher(world)
    watcher.subscribe()
    watcher.answer()
    watcher.mirror = Mirror()
    again = watcher.subscribe(expires=("900",), contact_uri="sip:watcher@192.0.2.4")
    assert header_of(again, "Expires") == "900"
    notify = watcher.answer()
    assert set(watcher.mirror.users) == {ALICE}
    assert watcher.mirror.version == 2
    assert notify.request_uri == "sip:watcher@192.0.2.4"
    assert world.focus.notifier.subscriptions == 1


async def test_a_second_subscription_in_a_dialog_has_its_own_id(world: World) -> None:
    watcher = Watcher(world)
    watcher.subscribe()
    watcher.answer()
    assert watcher.subscribe(event=("conference;id=7",)).status == 200
    assert header(watcher.notifies()[-1], "Event") == "conference;id=7"
    assert world.focus.notifier.subscribers("meeting") == 2


async def test_a_subscriber_who_is_slow_is_told_once(world: World) -> None:
    watcher = Watcher(world)
    watcher.subscribe()
    for user, uri in (("alice", ALICE), ("bob", BOB)):
        await join(world, user, uri)
    assert len(watcher.notifies()) == 1
    watcher.answer()
    assert len(watcher.notifies()) == 2
    watcher.answer()
    assert set(watcher.mirror.users) == {ALICE, BOB}


@pytest.mark.parametrize("status", [408, 481])
async def test_nobody_there(world: World, status: int) -> None:
    watcher = Watcher(world)
    watcher.subscribe()
    watcher.answer(status)
    assert world.focus.notifier.subscriptions == 0
    assert watcher.subscribe().status == 481  # its dialog has gone with it


async def test_a_notify_that_cannot_be_sent_ends_it(world: World) -> None:
    world.sip.reachable = False
    assert Watcher(world).subscribe().status == 200
    assert world.focus.notifier.subscriptions == 0


async def test_a_subscriber_whose_transaction_has_gone(world: World) -> None:
    transaction = jobs.TransactionId(next(NUMBERS), 1)
    world.sip.gone.add(transaction)
    watcher = Watcher(world)
    with pytest.raises(KeyError):
        watcher.subscribe(transaction=transaction)
    assert world.focus.notifier.subscriptions == 0
    assert watcher.notifies() == []


async def test_a_refresh_after_the_end_is_too_late(world: World) -> None:
    watcher = Watcher(world)
    watcher.subscribe(expires=("0",))
    assert watcher.subscribe().status == 481


async def test_stop_ends_subscriptions(world: World) -> None:
    watcher = Watcher(world)
    watcher.subscribe()
    watcher.answer()
    await world.focus.stop()
    assert header(watcher.notifies()[-1], "Subscription-State") == "terminated;reason=deactivated"


@pytest.mark.parametrize(
    ("changes", "status", "told"),
    [
        ({"event": ()}, 489, ("Allow-Events", "conference")),
        ({"event": ("presence",)}, 489, ("Allow-Events", "conference")),
        ({"event": ("conference", "conference")}, 489, ("Allow-Events", "conference")),
        ({"event": ("conference.winfo",)}, 489, ("Allow-Events", "conference")),
        ({"event": ("conference;id=\x00<a>",)}, 400, None),
        ({"event": ("conference;id=" + "a" * 200,)}, 400, None),
        ({"expires": ("59",)}, 423, ("Min-Expires", "60")),
        ({"expires": ("soon",)}, 400, None),
        ({"expires": ("-1",)}, 400, None),
        ({"expires": ("1", "2")}, 400, None),
        ({"expires": ("9" * 500,)}, 400, None),
        ({"accept": ("application/pidf+xml, text/*",)}, 406, ("Accept", "application/conference-info+xml")),
        ({"content_type": "application/simple-filter+xml", "body": "<filter-set/>"}, 415, ("Accept", "")),
        ({"require": "eventlist"}, 420, ("Unsupported", "eventlist")),
        ({"contact_uri": ""}, 400, None),
        ({"target": "sip:nobody@conf.example"}, 404, None),
        ({"target": "tel:+4930"}, 404, None),
        ({"from_uri": "sip:eve@elsewhere.example"}, 403, None),
        ({"from_uri": "nonsense"}, 403, None),
        ({"in_dialog": True}, 481, None),
    ],
)
async def test_refused(
    world: World, changes: dict[str, Any], status: int, told: tuple[str, str] | None
) -> None:
    response = Watcher(world).subscribe(**changes)
    assert response.status == status
    if told is not None:
        assert told in response.headers
    assert world.focus.notifier.subscriptions == 0
    assert world.sip.sent("NOTIFY") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"accept": ("text/plain", "Application/Conference-Info+xml;q=0.5")},
        {"accept": ("*/*",)},
        {"event": ("Conference ; x=y",)},
        {"expires": ()},
    ],
)
async def test_accepted(world: World, changes: dict[str, Any]) -> None:
    response = Watcher(world).subscribe(**changes)
    assert response.status == 200
    if "expires" in changes:
        assert header_of(response, "Expires") == "3600"


async def test_an_old_cseq_is_refused(world: World) -> None:
    watcher = Watcher(world)
    watcher.subscribe()
    assert watcher.subscribe(cseq=5).status == 500


async def test_participants_may_watch_from_outside_unless_it_is_switched_off(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    await join(world)
    assert Watcher(world, who=ALICE).subscribe().status == 200
    assert Watcher(world, who=BOB).subscribe().status == 403
    closed = make_world(tmp_path, roster={"participants_may_subscribe": False})
    await join(closed)
    assert Watcher(closed, who=ALICE).subscribe().status == 403


async def test_a_full_house(tmp_path: Path) -> None:
    world = make_world(tmp_path, roster={**OPEN, "subscriptions": 2})
    statuses = [Watcher(world).subscribe().status for _ in range(3)]
    assert statuses == [200, 200, 503]


async def test_an_audience_is_told_in_turns(world: World) -> None:
    watchers = [Watcher(world) for _ in range(100)]
    for watcher in watchers:
        watcher.subscribe()
        watcher.answer()
    await join(world)
    await world.settle()
    for watcher in watchers:
        watcher.answer()
        assert set(watcher.mirror.users) == {ALICE}


async def test_refer_within_the_dialog_of_a_subscription(tmp_path: Path) -> None:
    """Subscriptions of both kinds share a dialog and its CSeq numbers."""
    world = make_world(tmp_path, roster=OPEN, dial_out={"allow_refer": [WATCHER]})
    watcher = Watcher(world)
    watcher.subscribe()
    watcher.answer()
    refer = jobs.ReferJob(
        jobs.TransactionId(next(NUMBERS), 1), watcher.dialog, 200, MEETING, WATCHER, MEETING, "sip:watcher@192.0.2.3",
        (), "", "", True, "", refer_to=(f"<{BOB}>",), referred_by=(), refer_sub="",
    )  # fmt: skip
    world.focus.referrals.on_refer(refer)
    assert world.sip.answers[refer.transaction].status == 202
    events = [(header(each, "CSeq"), header(each, "Event")) for each in watcher.notifies()]
    assert events == [("1 NOTIFY", "conference"), ("2 NOTIFY", "refer")]
    await world.focus.stop()
    await world.settle()
