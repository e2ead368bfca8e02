"""REFER to a focus in memory: dialogs, CSeq numbers, NOTIFYs, and who may ask."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from focus_world import ALICE, BOB, MEETING, Caller, World, header, make_world, response_to

from mrfc import jobs
from mrfc.sip import refer
from mrfc.sip.port import OutgoingRequest, Response

OPEN = {"allow_refer": ["sip:*@ue.example"]}
NUMBERS = itertools.count(1000)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(refer, "INTERVAL", 0.0)
    return make_world(tmp_path, dial_out=OPEN, sip={"ack_timeout": 5.0})


def request(dialog: jobs.DialogId | None = None, cseq: int = 5, **changes: Any) -> jobs.ReferJob:
    number = next(NUMBERS)
    values: dict[str, Any] = {
        "transaction": jobs.TransactionId(number, 1),
        "dialog": dialog or jobs.DialogId(f"refer-{number}", "focus-tag", "alice-tag"),
        "cseq": cseq,
        "request_uri": MEETING,
        "from_uri": ALICE,
        "to_uri": MEETING,
        "contact_uri": "sip:alice@192.0.2.1",
        "record_route": () if dialog else ("<sip:proxy;lr>",),
        "content_type": "",
        "body": "",
        "in_dialog": dialog is not None,
        "require": "",
        "refer_to": (f"<{BOB};method=INVITE>",),
        "referred_by": (),
        "refer_sub": "",
    }
    return jobs.ReferJob(**(values | changes))


def answer(world: World, job: jobs.ReferJob) -> Response:
    world.focus.referrals.on_refer(job)
    return world.sip.answers[job.transaction]


def notified(world: World, notify: OutgoingRequest, status: int = 200) -> None:
    """The response to a NOTIFY."""
    local = header(notify, "From").partition(";tag=")[2]
    remote = header(notify, "To").partition(";tag=")[2]
    dialog = jobs.DialogId(header(notify, "Call-ID"), local, remote)
    cseq = int(header(notify, "CSeq").split()[0])
    world.focus.on_response(jobs.ResponseJob(dialog, "NOTIFY", cseq, status, "x"))


async def joined(world: World) -> Caller:
    """A participant."""
    caller = Caller(world.kms)
    world.focus.on_invite(caller.invite())
    await world.settle()
    world.focus.on_ack(caller.ack())
    await world.settle()
    return caller


async def test_a_participant_refers(world: World) -> None:
    caller = await joined(world)
    job = request(caller.dialog, referred_by=("<sip:alice@ue.example>;x=1",))
    response = answer(world, job)
    assert response.status == 202
    headers = dict(response.headers)
    assert headers["Contact"].startswith("<sip:meeting@192.0.2.7:5060>")
    assert "Refer-Sub" not in headers
    [trying] = world.sip.sent("NOTIFY")
    assert trying.request_uri == "sip:alice@192.0.2.1"
    assert header(trying, "To") == f"<{ALICE}>;tag={caller.dialog.remote_tag}"
    assert header(trying, "From") == f"<{MEETING}>;tag={caller.dialog.local_tag}"
    assert header(trying, "CSeq") == "1 NOTIFY"
    assert header(trying, "Event") == "refer"
    assert header(trying, "Content-Type") == "message/sipfrag;version=2.0"
    assert trying.body == "SIP/2.0 100 Trying\r\n"
    notified(world, trying)
    await world.settle()
    [invite] = world.sip.sent("INVITE")
    assert invite.request_uri == BOB
    assert header(invite, "Referred-By") == "<sip:alice@ue.example>;x=1"
    world.focus.on_response(response_to(invite, 486))
    final = world.sip.sent("NOTIFY")[-1]
    assert final.body == "SIP/2.0 486 Reason\r\n"
    assert header(final, "Subscription-State") == "terminated;reason=noresource"
    notified(world, final)
    assert world.focus.referrals.subscriptions == 0


async def test_bye_shares_the_sequence_of_cseq_numbers(world: World) -> None:
    caller = await joined(world)
    assert answer(world, request(caller.dialog)).status == 202
    call = world.store.call(caller.dialog)
    assert call is not None
    world.calls.end(call, "enough")
    assert header(world.sip.sent("BYE")[0], "CSeq") == "2 BYE"


async def test_a_second_refer_of_a_dialog_has_an_id(world: World) -> None:
    caller = await joined(world)
    answer(world, request(caller.dialog, cseq=5, refer_to=("<sip:x@y;method=BYE>",)))  # refused, but received
    assert answer(world, request(caller.dialog, cseq=6)).status == 202
    assert answer(world, request(caller.dialog, cseq=9)).status == 202
    events = [header(notify, "Event") for notify in world.sip.sent("NOTIFY")]
    assert events == ["refer;id=6", "refer;id=9"]
    assert [header(notify, "CSeq") for notify in world.sip.sent("NOTIFY")] == ["1 NOTIFY", "2 NOTIFY"]


async def test_the_dialogs_end_leaves_the_call_alone(world: World) -> None:
    caller = await joined(world)
    answer(world, request(caller.dialog))
    notified(world, world.sip.sent("NOTIFY")[0])
    await world.settle()
    world.focus.on_bye(caller.bye())
    [invite] = world.sip.sent("INVITE")
    world.focus.on_response(response_to(invite, 180))
    ringing = world.sip.sent("NOTIFY")[-1]
    assert ringing.body.startswith("SIP/2.0 180")
    assert header(ringing, "CSeq") == "2 NOTIFY"
    notified(world, ringing, 481)
    assert world.focus.referrals.subscriptions == 0
    [call] = world.store.calls()
    assert call.remote_uri == BOB


async def test_outside_of_a_dialog_one_is_made_for_the_subscription(world: World) -> None:
    first = request()
    assert answer(world, first).status == 202
    [trying] = world.sip.sent("NOTIFY")
    assert trying.next_hop == "sip:proxy;lr"
    assert ("Route", "<sip:proxy;lr>") in trying.headers
    assert answer(world, request(first.dialog, cseq=6)).status == 202  # within it
    assert header(world.sip.sent("NOTIFY")[1], "Event") == "refer;id=6"
    for notify in world.sip.sent("NOTIFY"):
        notified(world, notify, 481)
    assert world.focus.referrals.subscriptions == 0
    assert answer(world, request(first.dialog, cseq=7)).status == 481


async def test_no_subscription_where_none_is_wanted(world: World) -> None:
    job = request(refer_sub="false", require="norefersub", contact_uri="")
    response = answer(world, job)
    assert (response.status, dict(response.headers)["Refer-Sub"]) == (202, "false")
    await world.settle()
    [invite] = world.sip.sent("INVITE")
    world.focus.on_response(response_to(invite, 486))
    assert world.sip.sent("NOTIFY") == []
    assert answer(world, request(job.dialog, cseq=6)).status == 481


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"from_uri": "sip:alice@elsewhere.example"}, 403),
        ({"from_uri": "tel:+4930"}, 403),
        ({"request_uri": "sip:nobody@conf.example"}, 404),
        ({"request_uri": "sip:conf-factory@conf.example"}, 404),
        ({"request_uri": "tel:1"}, 404),
        ({"require": "norefersub, 100rel"}, 420),
        ({"refer_to": ()}, 400),
        ({"refer_to": ("<tel:+4930>",)}, 400),
        ({"refer_to": ("<sip:a@h;x=<y>>",)}, 400),
        ({"refer_to": ("<sip:meeting@conf.example>",)}, 400),
        ({"refer_to": ("<sip:conf-factory@192.0.2.7>",)}, 400),
        ({"refer_to": (f"<{BOB};method=BYE>",)}, 403),
        ({"contact_uri": ""}, 400),
        ({"dialog": jobs.DialogId("no", "such", "dialog"), "in_dialog": True}, 481),
    ],
)
async def test_refused(world: World, changes: dict[str, Any], status: int) -> None:
    assert answer(world, request(**changes)).status == status
    await world.settle()
    assert world.sip.requests == []
    assert not any(world.busy().values())


async def test_who_joined_asks_whatever_from_says(world: World) -> None:
    caller = await joined(world)
    assert answer(world, request(caller.dialog, from_uri="sip:eve@elsewhere.example")).status == 202


async def test_an_old_cseq_number(world: World) -> None:
    caller = await joined(world)
    assert answer(world, request(caller.dialog, cseq=1)).status == 500


async def test_a_full_conference(tmp_path: Path) -> None:
    world = make_world(tmp_path, dial_out=OPEN, limits={"participants": 1}, sip={"ack_timeout": 5.0})
    caller = await joined(world)
    assert answer(world, request(caller.dialog)).status == 486
    assert world.focus.referrals.subscriptions == 0


async def test_closed_as_it_comes(tmp_path: Path) -> None:
    assert answer(make_world(tmp_path), request()).status == 403


async def test_callees_are_bounded(tmp_path: Path) -> None:
    world = make_world(tmp_path, dial_out={**OPEN, "callees": ["sip:*@home.example"]})
    assert answer(world, request()).status == 403
    assert answer(world, request(refer_to=("<sip:b@home.example>",))).status == 202


async def test_a_notify_that_cannot_be_sent_ends_the_subscription(world: World) -> None:
    world.sip.reachable = False
    assert answer(world, request()).status == 202
    assert world.focus.referrals.subscriptions == 0


async def test_states_wait_for_their_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refer, "INTERVAL", 0.05)
    world = make_world(tmp_path, dial_out=OPEN)
    answer(world, request())
    notified(world, world.sip.sent("NOTIFY")[0])
    await world.settle()
    world.focus.on_response(response_to(world.sip.sent("INVITE")[0], 486))
    assert len(world.sip.sent("NOTIFY")) == 1
    await world.settle(0.08)
    assert len(world.sip.sent("NOTIFY")) == 2
