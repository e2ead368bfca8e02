"""REFER with method=BYE: who may have whom removed, what the removed one gets, and what is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from focus_world import ALICE, BOB, MEETING, Caller, World, header, make_world
from roster_support import FACTORY, NUMBERS, OPEN, PROXY, Watcher, fields, join

from mrf_protocols.conference_info import DisconnectionMethod
from mrfc import jobs
from mrfc.sip import refer
from mrfc.sip.port import Response

EVE, BOSS = "sip:eve@ue.example", "sip:boss@ops.example"
CHAIRED = [{"id": 1, "streams": ["10"], "algorithm": "chair", "chair": ALICE}]


@pytest.fixture(autouse=True)
def no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refer, "INTERVAL", 0.0)


def world_with(tmp_path: Path, conference: dict[str, Any] | None = None, **control: Any) -> World:
    meeting = {"user": "meeting", "id": 4321, "floors": CHAIRED, **(conference or {})}
    return make_world(
        tmp_path,
        roster={**OPEN, "departed_kept": 60.0},
        control=control,
        conference=[meeting],
        identity={"trusted_peers": [PROXY]},
        sip={"ack_timeout": 5.0},
    )


def remove(
    world: World, who: str, target: str, caller: Caller | None = None, at: str = MEETING, **changes: Any
) -> Response:
    """REFER with method=BYE, within the dialog of a caller or outside of one."""
    number = next(NUMBERS)
    dialog = caller.dialog if caller else jobs.DialogId(f"refer-{number}", "focus-tag", "their-tag")
    values: dict[str, Any] = {
        "transaction": jobs.TransactionId(number, 1),
        "dialog": dialog,
        "cseq": number,
        "request_uri": at,
        "from_uri": who,
        "to_uri": at,
        "contact_uri": "sip:x@192.0.2.1",
        "record_route": (),
        "content_type": "",
        "body": "",
        "in_dialog": caller is not None,
        "require": "",
        "refer_to": (f"<{target};method=BYE>",),
        "referred_by": (),
        "refer_sub": "",
    }
    job = jobs.ReferJob(**(values | changes))
    world.focus.referrals.on_refer(job)
    return world.sip.answers[job.transaction]


def answer_notifies(world: World) -> list[str]:
    """Answer every NOTIFY of a REFER until no more come; gives their bodies."""
    answered = 0
    while answered < len(
        sent := [n for n in world.sip.sent("NOTIFY") if header(n, "Event").startswith("refer")]
    ):
        notify = sent[answered]
        tags = [header(notify, name).partition(";tag=")[2] for name in ("From", "To")]
        dialog = jobs.DialogId(header(notify, "Call-ID"), *tags)
        cseq = int(header(notify, "CSeq").split()[0])
        world.focus.on_response(jobs.ResponseJob(dialog, "NOTIFY", cseq, 200, "OK"))
        answered += 1
    return [notify.body.strip() for notify in sent]


async def test_a_chair_has_somebody_removed(tmp_path: Path) -> None:
    world = world_with(tmp_path, chairs_remove=True)
    alice, _ = await join(world), await join(world, "bob", BOB)
    watcher = Watcher(world)
    watcher.subscribe()
    watcher.answer()
    assert remove(world, ALICE, BOB, alice).status == 202
    await world.settle()
    bye = world.sip.sent("BYE")[0]
    assert BOB in header(bye, "To")
    assert "removed from the conference" in header(bye, "Reason")
    assert answer_notifies(world) == ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]
    await watcher.told()
    endpoint = watcher.mirror.users[BOB].endpoints[0]
    assert endpoint.disconnection_method is DisconnectionMethod.BOOTED
    assert endpoint.disconnection_info is not None
    assert "removed" in endpoint.disconnection_info.reason
    assert [call.identity.uri for call in world.store.calls()] == [ALICE]
    assert world.focus.referrals.subscriptions == 0


async def test_chairs_and_owners_only_from_within_their_call_or_asserted(tmp_path: Path) -> None:
    world = world_with(tmp_path, chairs_remove=True, owners_remove=True, conference={"owner": ALICE})
    await join(world)
    await join(world, "bob", BOB)
    assert remove(world, ALICE, BOB).status == 403
    asserted: dict[str, Any] = {"source": PROXY, "headers": fields(p_asserted_identity=f"<{ALICE}>")}
    assert remove(world, "sip:anonymous@anonymous.invalid", BOB, **asserted).status == 202
    await world.settle()
    assert len(world.store.calls()) == 1


@pytest.mark.parametrize("who", ["chair", "owner"])
async def test_nobody_may_unless_it_is_said(tmp_path: Path, who: str) -> None:
    world = world_with(tmp_path, conference={"owner": ALICE if who == "owner" else ""})
    alice = await join(world)
    assert remove(world, ALICE, ALICE, alice).status == 403


async def test_others_by_configuration(tmp_path: Path) -> None:
    world = world_with(tmp_path, allow_remove=["sip:*@ops.example"])
    bob = await join(world, "bob", BOB)
    assert remove(world, BOB, BOB, bob).status == 403
    assert remove(world, BOSS, BOB, refer_sub="false").status == 202
    await world.settle()
    assert world.store.calls() == []
    assert world.sip.sent("NOTIFY") == []


async def test_the_creator_ends_his_conference(tmp_path: Path) -> None:
    world = world_with(tmp_path, owners_remove=True)
    alice = await join(world, target=FACTORY)
    [call] = world.store.calls()
    uri = f"sip:{call.conference_user}@conf.example"
    bob = await join(world, "bob", BOB, target=uri)
    assert remove(world, BOB, uri, bob, uri).status == 403
    assert remove(world, ALICE, uri, alice, uri).status == 202
    await world.settle()
    assert len(world.sip.sent("BYE")) == 2
    assert world.store.conference(call.conference_user) is None
    assert answer_notifies(world) == ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]
    assert not any(world.busy().values())


@pytest.mark.parametrize(
    "target", [EVE, "sip:other@conf.example", "tel:+4930", "sip:anonymous-9@anonymous.invalid", ""]
)
async def test_nobody_is_meant(tmp_path: Path, target: str) -> None:
    world = world_with(tmp_path, allow_remove=["*"])
    await join(world)
    assert remove(world, BOSS, target).status == 404
    assert len(world.store.calls()) == 1


async def test_the_anonymous_are_removed_as_they_are_seen(tmp_path: Path) -> None:
    world = world_with(tmp_path, allow_remove=["*"])
    await join(world, headers=fields(privacy="id"))
    assert remove(world, BOSS, ALICE).status == 404  # it would tell that she is there
    assert remove(world, BOSS, "sip:anonymous-1@anonymous.invalid").status == 202
    await world.settle()
    assert world.store.calls() == []


async def test_a_dial_out_under_way_is_given_up(tmp_path: Path) -> None:
    world = world_with(tmp_path, allow_remove=["*"])
    conference = world.store.conference("meeting")
    assert conference is not None
    world.dial_outs.start(conference, BOB)
    await world.settle()
    assert remove(world, BOSS, BOB).status == 202
    await world.settle()
    assert len(world.sip.cancels) == 1
    await world.focus.stop()
