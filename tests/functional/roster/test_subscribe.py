"""The conference event package on Kamailio, over UDP: watchers that are one socket each, participants that are real."""

from __future__ import annotations

import asyncio
import re

import pytest
from sip_peer import Answer
from subscriber_support import MEETING, Peers, follow, subscribe, tag, unsubscribe
from system_support import Scene

from lab import CALLER, Lab
from mrf_protocols.conference_info import Mirror, Update


async def test_joins_and_leaves_are_seen(lab: Lab, peer: Peers) -> None:
    watcher, mirror, scene = peer(), Mirror(), Scene(lab)
    accepted = await asyncio.to_thread(subscribe, watcher, "Accept: application/conference-info+xml")
    assert (accepted.status, accepted["Expires"], accepted["Allow-Events"]) == (200, "600", "conference")
    assert accepted["Contact"] == f"<sip:meeting@{lab.sip_address}>;isfocus"
    first = await asyncio.to_thread(watcher.incoming, "NOTIFY")
    assert mirror.apply(first.body) is Update.TAKEN
    assert (first.to_tag, first.target) == (watcher.tag, watcher.address)
    assert accepted.to_tag in first["From"]
    assert (first["Event"], first["Content-Type"]) == ("conference", "application/conference-info+xml")
    assert re.fullmatch(r"active;expires=(600|5[0-9][0-9])", first["Subscription-State"])
    assert (mirror.entity, mirror.users) == (MEETING, {})
    try:
        ue = await scene.ue()
        await ue.join_bfcp()
        await asyncio.to_thread(follow, watcher, mirror, lambda: CALLER in mirror.users)
        await ue.floor.request((1,), 10.0)
        await asyncio.to_thread(follow, watcher, mirror, lambda: held(mirror) == (1,))
        await ue.bye()
        await asyncio.to_thread(follow, watcher, mirror, lambda: not mirror.users)
    finally:
        await scene.close()
    last = await asyncio.to_thread(unsubscribe, watcher, accepted)
    assert last["Subscription-State"] == "terminated;reason=timeout"


def held(mirror: Mirror) -> tuple[int, ...]:
    """The floors that the caller holds, as it is seen."""
    user = mirror.users.get(CALLER)
    control = user.endpoints[0].media[0].floor_control if user else None
    return control.holds if control else ()


async def test_a_participant_watches_within_his_dialog_until_he_leaves(lab: Lab, peer: Peers) -> None:
    """The peer is the SIP half of the participant that takes the NOTIFYs."""
    half, mirror, scene = peer("alice", "ue.example"), Mirror(), Scene(lab)
    try:
        ue = await scene.ue()
        response = await ue.dial()
        await ue.wait_answer()
        await ue.ack()
        half.tag = tag(response.get_header("From"))
        accepted = await asyncio.to_thread(
            subscribe, half, call_id=ue.call_id, cseq=70, to_tag=tag(response.get_header("To"))
        )
        assert accepted.status == 200
        await asyncio.to_thread(follow, half, mirror, lambda: CALLER in mirror.users)
        ue.call.machine._cseq = 80  # the SUBSCRIBE has counted on
        await ue.bye()
        last = await asyncio.to_thread(
            half.wait, lambda m: m.method == "NOTIFY" and "terminated" in m["Subscription-State"]
        )
        assert last["Subscription-State"] == "terminated;reason=rejected"
    finally:
        await scene.close()


def test_a_fetch(peer: Peers) -> None:
    watcher = peer()
    assert subscribe(watcher, expires=0).status == 200
    only = watcher.incoming("NOTIFY")
    assert only["Subscription-State"] == "terminated;reason=timeout"
    assert 'state="full"' in only.body


def test_expiry(peer: Peers) -> None:
    watcher = peer()
    assert subscribe(watcher, expires=1)["Expires"] == "1"
    assert watcher.incoming("NOTIFY")["Subscription-State"] in {"active;expires=1", "active;expires=0"}
    assert watcher.incoming("NOTIFY")["Subscription-State"] == "terminated;reason=timeout"


def test_a_refresh(peer: Peers) -> None:
    watcher = peer()
    accepted = subscribe(watcher)
    watcher.incoming("NOTIFY")
    again = subscribe(watcher, call_id=accepted["Call-ID"], cseq=2, to_tag=accepted.to_tag, expires=9000)
    assert again["Expires"] == "3600"
    assert 'state="full" version="2"' in watcher.incoming("NOTIFY").body
    unsubscribe(watcher, accepted)


def test_a_watcher_who_has_gone(lab: Lab, peer: Peers) -> None:
    watcher = peer()
    watcher.answers = {"NOTIFY": Answer((481,))}
    accepted = subscribe(watcher)
    watcher.incoming("NOTIFY")
    lab.wait_for("the end of the subscription", lambda: not lab.status()["subscriptions"], 30)
    again = subscribe(watcher, call_id=accepted["Call-ID"], cseq=2, to_tag=accepted.to_tag)
    assert again.status == 481


def test_who_may_not(peer: Peers) -> None:
    assert subscribe(peer("eve", "elsewhere.example")).status == 403


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        (("Event: presence",), 489, ("Allow-Events", "conference")),
        ((), 489, ("Allow-Events", "conference")),
        (("Event: conference", "Event: conference"), 489, ("Allow-Events", "conference")),
        (("Event: conference", "Expires: x"), 400, None),
        (("Event: conference", "Accept: text/plain"), 406, ("Accept", "application/conference-info+xml")),
        (("Event: conference;id=<a>",), 400, None),
        (("Event: conference", "Require: x"), 420, ("Unsupported", "x")),
        (("Event: " + ";" * 20_000,), 489, None),
        (
            ("Event: conference" + ";a=b" * 5_000, "Accept: " + "a/b, " * 5_000 + "*/*", "Expires: 0"),
            200,
            None,
        ),
    ],
    ids=range(9),
)
def test_hostile_headers(
    lab: Lab, peer: Peers, headers: tuple[str, ...], status: int, told: tuple[str, str] | None
) -> None:
    watcher = peer()
    watcher.request("SUBSCRIBE", MEETING, *headers)
    response = watcher.response("SUBSCRIBE")
    assert response.status == status
    if told is not None:
        assert response[told[0]] == told[1]
    if status == 200:
        watcher.incoming("NOTIFY")


@pytest.mark.parametrize("body", ["<filter-set/>", "\x00" * 100, "x" * 30_000], ids=range(3))
def test_hostile_bodies(peer: Peers, body: str) -> None:
    watcher = peer()
    watcher.request("SUBSCRIBE", MEETING, "Event: conference", content_type="a/b", body=body)
    assert watcher.response("SUBSCRIBE").status == 415


def test_options_tell_of_it(peer: Peers) -> None:
    watcher = peer()
    watcher.request("OPTIONS", MEETING)
    options = watcher.response("OPTIONS")
    assert "SUBSCRIBE" in options["Allow"]
    assert options["Allow-Events"] == "conference"
