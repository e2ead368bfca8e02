"""The mixer's leg beside a participant's call: joined answers, changes from either side, every way to end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from focus_world import BOB, Caller, World, header, make_world, within
from loop_clock import LoopClock

from mrf_protocols import sdp
from mrfc import jobs
from mrfc.floors.media_hook import AtMixer
from mrfc.mixer.pair import TRANSITIONS, PairAction, PairEvent, PairState, step
from mrfc.sip.dialog import DialogState
from mrfc.sip.port import OutgoingRequest, Response

MIXER = {"uri": "sip:{conference}@192.0.2.60:5070", "timeout": 10.0, "labels": {"audio": "10"}}
PATIENT = {"ack_timeout": 30.0}
SHORT = 0.05  # seconds, where a test lets time pass
AUDIO = "m=audio 40000 RTP/AVP 0 8\r\na=sendrecv\r\n"
VIDEO = "m=video 40002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
HOLD = AUDIO.replace("sendrecv", "inactive")


class Side:
    """The mixer, by hand: answers what the focus sends to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tag = "mixer-tag"
        self.version = itertools.count(1)
        self._numbers = itertools.count(1)
        self.first = 0  # which of its INVITEs began the dialog

    def requests(self, method: str) -> list[OutgoingRequest]:
        """What was sent to the mixer, oldest first."""
        return [each for each in self.world.sip.sent(method) if "192.0.2.60" in each.request_uri]

    def last(self, method: str = "INVITE") -> OutgoingRequest:
        return self.requests(method)[-1]

    def dialog(self) -> jobs.DialogId:
        invite = self.requests("INVITE")[self.first]
        return jobs.DialogId(
            header(invite, "Call-ID"), header(invite, "From").partition(";tag=")[2], self.tag
        )

    def description(self, *ports: int, attributes: str = "") -> str:
        """The mixer's description with these ports, for the last offer."""
        offered = sdp.parse(self.last().body)
        number = next(self.version)
        head = f"v=0\r\no=mix 1 {number} IN IP4 203.0.113.1\r\ns=mix\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n"
        lines = [
            f"m={each.media} {port} {each.proto} {' '.join(each.formats)}\r\n{attributes if port else ''}"
            for each, port in zip(offered.media, ports, strict=True)
        ]
        return head + "".join(lines)

    async def respond(self, status: int, body: str = "", *headers: tuple[str, str]) -> None:
        """A response to the last INVITE, and all that follows."""
        self.post(status, body, *headers)
        await self.world.settle()

    def post(self, status: int, body: str = "", *headers: tuple[str, str]) -> None:
        """A response to the last INVITE."""
        invite = self.last()
        job = jobs.ResponseJob(
            self.dialog(),
            "INVITE",
            int(header(invite, "CSeq").split()[0]),
            status,
            "Reason",
            contact_uri="sip:mix@192.0.2.60:5071",
            content_type="application/sdp" if body else "",
            body=body,
            headers=headers,
        )
        self.world.focus.on_response(job)

    async def offer(
        self, body: str, method: str = "INVITE", *headers: tuple[str, str], require: str = ""
    ) -> jobs.TransactionId:
        """A re-INVITE or UPDATE of the mixer."""
        job = within(
            self.dialog(),
            method,
            next(self._numbers),
            body,
            from_uri="sip:meeting@192.0.2.60",
            contact_uri="sip:mix@192.0.2.60:5071",
            require=require,
            headers=headers,
        )
        self.world.arrive(job)
        await self.world.settle()
        return job.transaction

    async def hang_up(self) -> Response:
        transaction = jobs.TransactionId(990, 1)
        self.world.focus.on_bye(jobs.ByeJob(transaction, self.dialog(), 90))
        await self.world.settle()
        return self.world.sip.answers[transaction]


def with_media(caller: Caller, media: str = AUDIO) -> str:
    """The caller's offer: other streams, then BFCP."""
    return caller.offer().replace("m=application", f"{media}m=application")


async def called(folder: Path, media: str = AUDIO, **more: Any) -> tuple[World, Caller, Side]:
    """A world with a mixer, and an INVITE with media that the mixer has."""
    world = make_world(folder, sip=PATIENT, mixer={**MIXER, **more})
    caller = Caller(world.kms)
    world.focus.on_invite(caller.invite(with_media(caller, media)))
    await world.settle()
    return world, caller, Side(world)


async def joined(
    folder: Path, media: str = AUDIO, said: tuple[tuple[str, str], ...] = (), **more: Any
) -> tuple[World, Caller, Side]:
    """A participant whose media are at the mixer, ACK and all; `said` are fields of the mixer's 200."""
    world, caller, mixer = await called(folder, media, **more)
    await mixer.respond(200, mixer.description(6000, 0), *said)
    assert world.sip.answers[caller.transaction].status == 200
    world.focus.on_ack(caller.ack())
    await world.settle()
    return world, caller, mixer


async def leave(world: World, caller: Caller) -> None:
    world.focus.on_bye(caller.bye())
    await world.settle()


async def until(world: World, condition: Callable[[], object]) -> None:
    """Wait for something that takes time."""
    async with asyncio.timeout(30):
        while not condition():
            await world.settle(SHORT / 5)


def idle(world: World) -> None:
    assert set(world.busy().values()) == {0}, world.busy()


def live(body: str) -> list[int]:
    return [media.port for media in sdp.parse(body).media]


async def test_the_mixer_is_asked_for_all_but_bfcp_and_its_answer_is_joined(tmp_path: Path) -> None:
    world, caller, mixer = await called(tmp_path)
    invite = mixer.last()
    assert invite.request_uri == "sip:meeting@192.0.2.60:5070"
    assert header(invite, "From").startswith("<sip:meeting@conf.example>;tag=")
    assert live(invite.body) == [40000, 0]
    assert "key-mgmt" not in invite.body
    assert caller.transaction not in world.sip.answers
    await mixer.respond(183)
    await mixer.respond(200, mixer.description(6000, 0))
    answer = sdp.parse(world.sip.answers[caller.transaction].body)
    assert [media.port for media in answer.media] == [6000, 20_000 if answer.media[1].port != 9 else 9]
    assert answer.media[0].connections[0].address == "203.0.113.1"
    assert answer.media[0].label == "10"
    assert sdp.bfcp_media(answer, 1).floors == (sdp.FloorStreams(1, ("10",)),)
    [call] = world.store.calls()
    assert call.mixer is not None
    assert (call.mixer.dialog, call.mixer.streams) == (mixer.dialog(), (sdp.MixedStream(0, "10", "audio"),))
    world.focus.on_ack(caller.ack())
    await leave(world, caller)
    bye = mixer.last("BYE")
    assert bye.request_uri == "sip:mix@192.0.2.60:5071"
    assert header(bye, "To").endswith(";tag=mixer-tag")
    idle(world)


async def test_bfcp_alone_does_not_bother_the_mixer(tmp_path: Path) -> None:
    world, caller, mixer = await called(tmp_path, media="")
    assert world.sip.answers[caller.transaction].status == 200
    assert mixer.requests("INVITE") == []
    await leave(world, caller)
    idle(world)


async def test_strangers_do_not_reach_the_mixer(tmp_path: Path) -> None:
    """The mixer is asked when the ticket is verified and the termination is there, not before."""
    world = make_world(tmp_path, sip=PATIENT, mixer=MIXER)
    caller = Caller(world.kms)
    world.focus.on_invite(caller.invite(with_media(caller), from_uri=BOB))
    await world.settle()
    assert world.sip.answers[caller.transaction].status == 488
    assert Side(world).requests("INVITE") == []
    idle(world)


FAILURES = ["refused", "declines all", "nonsense", "too few lines", "silent", "unreachable"]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("on_failure", ["decline", "refuse"])
async def test_a_mixer_that_fails(tmp_path: Path, failure: str, on_failure: str) -> None:
    timeout = SHORT if failure == "silent" else 10.0
    world = make_world(tmp_path, sip=PATIENT, mixer={**MIXER, "on_failure": on_failure, "timeout": timeout})
    world.sip.reachable = failure != "unreachable"
    caller, mixer = Caller(world.kms), Side(world)
    world.focus.on_invite(caller.invite(with_media(caller)))
    await world.settle()
    if failure == "refused":
        await mixer.respond(486)
    elif failure == "declines all":
        await mixer.respond(200, mixer.description(0, 0))
    elif failure == "nonsense":
        await mixer.respond(200, "v=1\r\n")
    elif failure == "too few lines":
        await mixer.respond(200, mixer.description(6000, 0).partition("m=application")[0])
    elif failure == "silent":
        await until(world, lambda: world.sip.cancels)
        assert world.sip.cancels == [(mixer.dialog().call_id, 1)]
        await mixer.respond(487)
    world.sip.reachable = True
    answer = world.sip.answers[caller.transaction]
    if on_failure == "refuse":
        assert (answer.status, dict(answer.headers)["Retry-After"]) == (503, "5")
    else:
        assert answer.status == 200
        assert live(answer.body)[0] == 0
        assert live(answer.body)[1] != 0
        await leave(world, caller)
    hung_up = ["BYE"] * (failure in ("declines all", "nonsense", "too few lines"))
    assert [each.method for each in mixer.requests("BYE")] == hung_up
    idle(world)


async def test_another_branch_of_a_forked_invite_is_hung_up(tmp_path: Path) -> None:
    world, caller, mixer = await joined(tmp_path)
    mixer.tag = "another-tag"
    await mixer.respond(200, mixer.description(7000, 0))
    [stray] = mixer.requests("BYE")
    assert header(stray, "To").endswith(";tag=another-tag")
    mixer.tag = "mixer-tag"
    await leave(world, caller)
    assert len(mixer.requests("BYE")) == 2
    idle(world)


async def test_a_caller_who_does_not_wait(tmp_path: Path) -> None:
    """CANCEL: the mixer's INVITE is cancelled, and when it was too quick for that it gets a BYE."""
    world, caller, mixer = await called(tmp_path)
    world.focus.on_cancel(jobs.CancelJob(caller.dialog.call_id, caller.dialog.remote_tag, 1))
    await world.settle()
    assert world.sip.cancels == [(mixer.dialog().call_id, 1)]
    await mixer.respond(200, mixer.description(6000, 0))
    assert len(mixer.requests("BYE")) == 1
    idle(world)


async def test_a_mixer_that_is_late_is_hung_up(tmp_path: Path) -> None:
    world, caller, mixer = await called(tmp_path, timeout=SHORT)
    await until(world, lambda: world.sip.cancels)
    assert live(world.sip.answers[caller.transaction].body)[0] == 0
    await mixer.respond(200, mixer.description(6000, 0))
    assert len(mixer.requests("BYE")) == 1
    await leave(world, caller)
    idle(world)


async def test_a_device_without_bfcp_for_us(tmp_path: Path) -> None:
    """Its media may come in where the operator allows it; its BFCP gets port 0."""
    head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    udp = f"{head}{AUDIO}m=application 40010 UDP/BFCP *\r\n"
    for policy, status in (("refuse", 488), ("join", 200)):
        world = make_world(tmp_path, sip=PATIENT, mixer={**MIXER, "without_floor_control": policy})
        caller, mixer = Caller(world.kms), Side(world)
        world.focus.on_invite(caller.invite(udp))
        await world.settle()
        if policy == "join":
            await mixer.respond(200, mixer.description(6000, 0))
            assert live(world.sip.answers[caller.transaction].body) == [6000, 0]
            [call] = world.store.calls()
            assert call.termination is None
            await leave(world, caller)
            assert len(mixer.requests("BYE")) == 1
        assert world.sip.answers[caller.transaction].status == status
        idle(world)


# changes


async def test_the_mixer_puts_a_participant_on_hold(tmp_path: Path) -> None:
    """Its re-INVITE goes to the participant with his BFCP stream untouched, his answer goes back."""
    world, caller, mixer = await joined(tmp_path)
    transaction = await mixer.offer(mixer.description(6000, 0, attributes="a=sendonly\r\n"))
    [reinvite] = [each for each in world.sip.sent("INVITE") if "192.0.2.1" in each.request_uri]
    offered = sdp.parse(reinvite.body)
    stream = sdp.bfcp_media(offered, 1)
    assert (stream.connection, stream.key_mgmt, stream.floors) == (
        sdp.ConnectionUse.EXISTING,
        (),
        (sdp.FloorStreams(1, ("10",)),),
    )
    assert {"sendonly", "label"} <= {each.name for each in offered.media[0].attributes}
    assert transaction not in world.sip.answers
    await respond_participant(world, caller, reinvite, with_media(caller, HOLD))
    answer = world.sip.answers[transaction]
    assert (answer.status, live(answer.body)) == (200, [40000, 0])
    assert "a=inactive" in answer.body
    await leave(world, caller)
    idle(world)


async def respond_participant(
    world: World, caller: Caller, reinvite: OutgoingRequest, body: str, status: int = 200
) -> None:
    """The participant's response to a re-INVITE of ours."""
    world.focus.on_response(
        jobs.ResponseJob(
            caller.dialog,
            "INVITE",
            int(header(reinvite, "CSeq").split()[0]),
            status,
            "Reason",
            contact_uri="sip:alice@192.0.2.1",
            content_type="application/sdp" if body else "",
            body=body,
        )
    )
    await world.settle()


def to_participant(world: World) -> list[OutgoingRequest]:
    return [each for each in world.sip.sent("INVITE") if "192.0.2.1" in each.request_uri]


async def test_a_participant_who_does_not_take_the_change(tmp_path: Path) -> None:
    world, caller, mixer = await joined(tmp_path)
    transaction = await mixer.offer(mixer.description(6002, 0), "UPDATE")
    await respond_participant(world, caller, to_participant(world)[0], "", 488)
    assert world.sip.answers[transaction].status == 488
    await leave(world, caller)
    idle(world)


async def test_refreshes_of_the_mixer_change_nothing(tmp_path: Path) -> None:
    world, caller, mixer = await joined(tmp_path)
    [call] = world.store.calls()
    assert call.mixer is not None
    again = await mixer.offer(call.mixer.answer_sdp)
    assert (world.sip.answers[again].status, live(world.sip.answers[again].body)) == (200, [40000, 0])
    empty = await mixer.offer("", "UPDATE")
    assert (world.sip.answers[empty].status, world.sip.answers[empty].body) == (200, "")
    assert world.sip.answers[await mixer.offer("")].status == 488
    assert world.sip.answers[await mixer.offer("", "OPTIONS")].status == 200
    assert world.sip.answers[await mixer.offer("", "INFO")].status == 405
    assert to_participant(world) == []
    await leave(world, caller)
    idle(world)


async def test_offers_of_the_mixer_that_cannot_be_passed_on(tmp_path: Path) -> None:
    world, caller, mixer = await joined(tmp_path)
    assert world.sip.answers[await mixer.offer("v=1\r\n")].status == 400
    taken = mixer.description(6000, 9)
    assert world.sip.answers[await mixer.offer(taken)].status == 488
    first = await mixer.offer(mixer.description(6002, 0))
    assert world.sip.answers[await mixer.offer(mixer.description(6004, 0))].status == 491
    await leave(world, caller)
    assert world.sip.answers[first].status == 488
    idle(world)


async def test_the_mixer_hangs_up(tmp_path: Path) -> None:
    """The participant is told that his media have gone; floor control goes on."""
    world, caller, mixer = await joined(tmp_path)
    assert (await mixer.hang_up()).status == 200
    [reinvite] = to_participant(world)
    assert live(reinvite.body)[0] == 0
    assert sdp.bfcp_media(sdp.parse(reinvite.body), 1).connection is sdp.ConnectionUse.EXISTING
    gone = with_media(caller, AUDIO.replace("40000", "0"))
    await respond_participant(world, caller, reinvite, gone)
    [call] = world.store.calls()
    assert (call.state, call.mixer) == (DialogState.CONFIRMED, None)
    await leave(world, caller)
    assert mixer.requests("BYE") == []
    idle(world)


async def test_the_mixer_hangs_up_before_the_ack(tmp_path: Path) -> None:
    """ACK and BYE come through different workers: the participant is told when he has acknowledged."""
    world, caller, mixer = await called(tmp_path)
    await mixer.respond(200, mixer.description(6000, 0))
    assert (await mixer.hang_up()).status == 200
    assert to_participant(world) == []
    world.focus.on_ack(caller.ack())
    await world.settle()
    [reinvite] = to_participant(world)
    assert live(reinvite.body)[0] == 0
    await respond_participant(world, caller, reinvite, with_media(caller, AUDIO.replace("40000", "0")))
    assert [call.state for call in world.store.calls()] == [DialogState.CONFIRMED]
    await leave(world, caller)
    idle(world)


async def test_the_mixer_changes_before_the_ack(tmp_path: Path) -> None:
    world, caller, mixer = await called(tmp_path)
    await mixer.respond(200, mixer.description(6000, 0))
    transaction = await mixer.offer(mixer.description(6000, 0, attributes="a=sendonly\r\n"))
    assert (to_participant(world), world.sip.answers.get(transaction)) == ([], None)
    world.focus.on_ack(caller.ack())
    await world.settle()
    [reinvite] = to_participant(world)
    await respond_participant(
        world, caller, reinvite, with_media(caller, AUDIO.replace("sendrecv", "recvonly"))
    )
    assert world.sip.answers[transaction].status == 200
    await leave(world, caller)


async def test_a_participant_who_cannot_do_without_media(tmp_path: Path) -> None:
    world, caller, mixer = await joined(tmp_path)
    await mixer.hang_up()
    await respond_participant(world, caller, to_participant(world)[0], "", 488)
    assert [each.request_uri for each in world.sip.sent("BYE")] == ["sip:alice@192.0.2.1"]
    idle(world)


async def test_the_mixer_hangs_up_and_media_are_a_must(tmp_path: Path) -> None:
    world, _, mixer = await joined(tmp_path, on_failure="refuse")
    await mixer.hang_up()
    assert [each.request_uri for each in world.sip.sent("BYE")] == ["sip:alice@192.0.2.1"]
    idle(world)


async def reinvite(
    world: World, caller: Caller, media: str, number: int = 2, edit: Callable[[str], str] = str
) -> jobs.TransactionId:
    """A re-INVITE of the participant with these media; gives its transaction."""
    transaction = jobs.TransactionId(caller.number, 100 + number)
    body = edit(with_media(caller, media))
    world.focus.on_invite(caller.invite(body, in_dialog=True, cseq=number, transaction=transaction))
    await world.settle()
    return transaction


async def acked(world: World, caller: Caller, number: int) -> None:
    world.focus.on_ack(jobs.AckJob(caller.dialog, number, "", ""))
    await world.settle()


async def test_changes_of_the_participant(tmp_path: Path) -> None:
    world, caller, mixer = await joined(tmp_path)
    hold = await reinvite(world, caller, HOLD)
    first, second = (sdp.parse(each.body) for each in mixer.requests("INVITE"))
    assert second.media[0].value_of("inactive") is not None
    assert (second.origin.session_id, second.origin.version) == (
        first.origin.session_id,
        first.origin.version + 1,
    )
    assert hold not in world.sip.answers
    await mixer.respond(200, mixer.description(6000, 0, attributes="a=inactive\r\n"))
    answer = world.sip.answers[hold]
    assert (answer.status, live(answer.body)[0], "a=inactive" in answer.body) == (200, 6000, True)
    await acked(world, caller, 2)
    # the same media, and another name of the session: the mixer is left alone
    same = await reinvite(world, caller, HOLD, 3, lambda body: body.replace("s=-", "s=again"))
    assert (world.sip.answers[same].status, live(world.sip.answers[same].body)[0]) == (200, 6000)
    assert len(mixer.requests("INVITE")) == 2
    await leave(world, caller)
    idle(world)


async def test_media_are_taken_out_and_put_in_again(tmp_path: Path) -> None:
    world, caller, mixer = await joined(tmp_path)
    none = await reinvite(world, caller, AUDIO.replace("40000", "0"))
    assert (live(world.sip.answers[none].body)[0], len(mixer.requests("BYE"))) == (0, 1)
    await acked(world, caller, 2)
    again = await reinvite(world, caller, AUDIO, 3)
    invite = mixer.last()
    assert header(invite, "Call-ID") != mixer.dialog().call_id
    mixer.first = len(mixer.requests("INVITE")) - 1
    await mixer.respond(200, mixer.description(6004, 0))
    assert live(world.sip.answers[again].body)[0] == 6004
    await acked(world, caller, 3)
    await leave(world, caller)
    assert len(mixer.requests("BYE")) == 2
    idle(world)


async def test_a_change_that_the_participant_cancels_at_the_last_moment(tmp_path: Path) -> None:
    """The mixer has taken it, but the 200 cannot go out any more: the mixer gets the old offer again."""
    world, caller, mixer = await joined(tmp_path)
    transaction = await reinvite(world, caller, HOLD)
    world.sip.gone.add(transaction)
    await mixer.respond(200, mixer.description(6000, 0))
    assert "a=sendrecv" in mixer.last().body
    await mixer.respond(200, mixer.description(6000, 0))
    await leave(world, caller)
    idle(world)


async def test_a_stream_that_came_to_nothing_keeps_its_place_at_the_mixer(tmp_path: Path) -> None:
    world, caller, mixer = await joined(tmp_path)
    transaction = await reinvite(world, caller, AUDIO, 2, lambda body: body + VIDEO)
    world.sip.gone.add(transaction)
    await mixer.respond(200, mixer.description(6000, 0, 6002))
    assert [each.port for each in sdp.parse(mixer.last().body).media] == [40000, 0, 0]
    await mixer.respond(200, mixer.description(6000, 0, 0))
    await leave(world, caller)
    idle(world)


async def test_an_answer_to_our_offer_is_told_to_the_mixer(tmp_path: Path) -> None:
    """A re-INVITE without offer gets ours, with the streams of the mixer; what the ACK says of them goes on to it."""
    world, caller, mixer = await joined(tmp_path)
    transaction = jobs.TransactionId(caller.number, 77)
    world.focus.on_invite(caller.invite("", in_dialog=True, cseq=2, transaction=transaction, content_type=""))
    await world.settle()
    offered = world.sip.answers[transaction].body
    assert live(offered)[0] == 6000
    answer = with_media(caller, HOLD).replace("a=connection:new", "a=connection:existing")
    answer = "".join(line for line in answer.splitlines(True) if not line.startswith("a=key-mgmt"))
    answer = answer.replace("a=setup:actpass", "a=setup:active")
    world.focus.on_ack(jobs.AckJob(caller.dialog, 2, "application/sdp", answer))
    await world.settle()
    assert "a=inactive" in mixer.last().body
    await mixer.respond(200, mixer.description(6000, 0, attributes="a=inactive\r\n"))
    await leave(world, caller)
    idle(world)


async def test_a_change_that_is_cancelled_at_the_moment_of_its_answer(tmp_path: Path) -> None:
    world, caller, mixer = await joined(tmp_path)
    await reinvite(world, caller, HOLD)
    mixer.post(200, mixer.description(6000, 0))
    world.focus.on_cancel(jobs.CancelJob(caller.dialog.call_id, caller.dialog.remote_tag, 2))
    await world.settle()
    assert "a=sendrecv" in mixer.last().body
    assert len(mixer.requests("INVITE")) == 3
    await mixer.respond(200, mixer.description(6000, 0))
    await leave(world, caller)
    idle(world)


@pytest.mark.parametrize("how", ["refused", "glare", "gone", "late", "withdrawn"])
async def test_changes_that_come_to_nothing(tmp_path: Path, how: str) -> None:
    world, caller, mixer = await joined(tmp_path)
    if how == "late":
        world.config.mixer.timeout = SHORT
    transaction = await reinvite(world, caller, HOLD)
    world.config.mixer.timeout = 10.0
    if how == "refused":
        await mixer.respond(488)
    elif how == "glare":
        await mixer.respond(491)
    elif how == "gone":
        await mixer.respond(481)  # declined: floor control goes on alone
    elif how == "late":
        await until(world, lambda: transaction in world.sip.answers)
    else:
        world.focus.on_cancel(jobs.CancelJob(caller.dialog.call_id, caller.dialog.remote_tag, 2))
        await world.settle()
    if how != "withdrawn":
        assert world.sip.answers[transaction].status == {"gone": 200, "glare": 491}.get(how, 488)
    if how in ("late", "withdrawn"):  # the mixer's answer comes after all: it gets the old offer again
        await mixer.respond(200, mixer.description(6000, 0))
        assert "a=sendrecv" in mixer.last().body
        assert len(mixer.requests("INVITE")) == 3
        await mixer.respond(200, mixer.description(6000, 0))
    [call] = world.store.calls()
    assert (call.mixer is None) == (how == "gone")
    await leave(world, caller)
    idle(world)


async def test_one_change_at_a_time(tmp_path: Path) -> None:
    world, caller, mixer = await joined(tmp_path)
    first = await reinvite(world, caller, HOLD)
    assert world.sip.answers[await mixer.offer(mixer.description(6002, 0))].status == 491
    await mixer.respond(200, mixer.description(6000, 0))
    assert world.sip.answers[first].status == 200
    await leave(world, caller)
    idle(world)


async def test_a_mixer_lost_in_a_change_ends_the_call_where_media_are_a_must(tmp_path: Path) -> None:
    world, caller, mixer = await joined(tmp_path, on_failure="refuse")
    transaction = await reinvite(world, caller, HOLD)
    await mixer.respond(481)
    assert world.sip.answers[transaction].status == 503
    assert [each.request_uri for each in world.sip.sent("BYE")] == ["sip:alice@192.0.2.1"]
    idle(world)


# session timers


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> LoopClock:
    return LoopClock(monkeypatch)


async def test_the_mixer_is_refreshed_whether_it_knows_session_timers_or_not(
    tmp_path: Path, clock: LoopClock
) -> None:
    world, caller, mixer = await joined(tmp_path)
    first = mixer.last()
    assert (header(first, "Supported"), header(first, "Session-Expires")) == ("timer", "180")
    for number in (2, 3):
        await clock.forward(88)
        assert len(mixer.requests("INVITE")) == number - 1
        await clock.forward(3)
        again = mixer.last()
        assert (header(again, "CSeq"), again.body) == (f"{number} INVITE", first.body), "the same session"
        assert header(again, "Session-Expires") == "180;refresher=uac"
        await mixer.respond(200, mixer.description(6000, 0))
    assert to_participant(world) == mixer.requests("BYE") == []
    await leave(world, caller)
    idle(world)


@pytest.mark.parametrize("status", [408, 481, 0])
async def test_a_mixer_that_died_is_noticed(tmp_path: Path, clock: LoopClock, status: int) -> None:
    """By the refresh that it does not know, or does not answer (0): the participant's media end."""
    world, caller, mixer = await joined(tmp_path)
    await clock.forward(91)
    if status:
        await mixer.respond(status)
    else:
        await clock.forward(31)
    [reinvite] = to_participant(world)
    assert live(reinvite.body)[0] == 0
    assert len(mixer.requests("BYE")) == (status == 0)
    await respond_participant(world, caller, reinvite, with_media(caller, AUDIO.replace("40000", "0")))
    [call] = world.store.calls()
    assert (call.state, call.mixer) == (DialogState.CONFIRMED, None)
    await clock.forward(600)
    assert len(mixer.requests("INVITE")) == 2
    await leave(world, caller)
    idle(world)


async def test_a_mixer_that_died_ends_the_call_where_media_are_a_must(
    tmp_path: Path, clock: LoopClock
) -> None:
    world, _, mixer = await joined(tmp_path, on_failure="refuse")
    await clock.forward(91)
    await mixer.respond(481)
    assert [each.request_uri for each in world.sip.sent("BYE")] == ["sip:alice@192.0.2.1"]
    idle(world)


async def test_a_mixer_that_does_not_refresh(tmp_path: Path, clock: LoopClock) -> None:
    """It has promised to, and its own refreshes count."""
    said = (("session-expires", "120;refresher=uas"), ("require", "timer"))
    world, caller, mixer = await joined(tmp_path, said=said)
    [call] = world.store.calls()
    assert call.mixer is not None
    for body, method in ((call.mixer.answer_sdp, "INVITE"), ("", "UPDATE")):
        await clock.forward(80)
        again = await mixer.offer(
            body,
            method,
            ("supported", "timer"),
            ("session-expires", "120;refresher=uac"),
            require="timer",
        )
        answer = world.sip.answers[again]
        assert (answer.status, dict(answer.headers)["Session-Expires"]) == (200, "120;refresher=uac")
    short = await mixer.offer("", "UPDATE", ("supported", "timer"), ("session-expires", "30"))
    assert (world.sip.answers[short].status, dict(world.sip.answers[short].headers)["Min-SE"]) == (422, "90")
    assert to_participant(world) == []
    await clock.forward(90)
    [bye] = mixer.requests("BYE")
    assert bye.request_uri == "sip:mix@192.0.2.60:5071"
    [reinvite] = to_participant(world)
    await respond_participant(world, caller, reinvite, "", 488)
    idle(world)


async def test_refreshes_that_the_mixer_refuses_or_wants_seldom(tmp_path: Path, clock: LoopClock) -> None:
    """After a 491 or 500 once more; after a 422 with the interval that it names, at the first INVITE, too."""
    world, caller, mixer = await called(tmp_path)
    await mixer.respond(422, "", ("min-se", "600"))
    assert (header(mixer.last(), "CSeq"), header(mixer.last(), "Session-Expires")) == ("2 INVITE", "600")
    mixer.first = 1
    await mixer.respond(200, mixer.description(6000, 0), ("session-expires", "600;refresher=uac"))
    assert live(world.sip.answers[caller.transaction].body)[0] == 6000
    world.focus.on_ack(caller.ack())
    await world.settle()
    await clock.forward(301)
    await mixer.respond(491)
    assert len(mixer.requests("INVITE")) == 3
    await clock.forward(140)
    assert len(mixer.requests("INVITE")) == 4
    await mixer.respond(200, mixer.description(6000, 0))
    assert mixer.requests("BYE") == []
    await leave(world, caller)
    idle(world)


async def test_a_refresh_waits_for_what_is_under_way(tmp_path: Path, clock: LoopClock) -> None:
    world, caller, mixer = await joined(tmp_path)
    await clock.forward(89)
    transaction = await mixer.offer(mixer.description(6002, 0))
    await clock.forward(2)
    assert len(mixer.requests("INVITE")) == 1
    await respond_participant(world, caller, to_participant(world)[0], with_media(caller))
    assert world.sip.answers[transaction].status == 200
    await clock.forward(91)
    assert len(mixer.requests("INVITE")) == 2
    pending = await reinvite(world, caller, HOLD)
    assert world.sip.answers[pending].status == 491
    await mixer.respond(200, mixer.description(6002, 0))
    await leave(world, caller)
    idle(world)


async def test_nobody_is_refreshed_where_nobody_wants_it(tmp_path: Path, clock: LoopClock) -> None:
    world, caller, mixer = await joined(tmp_path, session_expires=0)
    assert "Session-Expires" not in dict(mixer.last().headers)
    await clock.forward(3600)
    assert len(mixer.requests("INVITE")) == 1
    await leave(world, caller)
    idle(world)


# the table


def test_a_pair_always_ends() -> None:
    """Whatever happened before: when the participant has left and nobody answers any more, it is over."""
    for state in PairState:
        now = state
        for event in (PairEvent.LEFT, PairEvent.LATE, PairEvent.LATE):
            now = step(now, event)[0]
        assert now is PairState.OVER


def test_the_mixer_is_told_of_every_end_that_is_not_its_own() -> None:
    for (state, event), (following, actions) in TRANSITIONS.items():
        confirmed = state not in (PairState.ASKING, PairState.LEAVING)
        own = event in (PairEvent.MIXER_BYE, PairEvent.GONE)
        if confirmed and following is PairState.OVER:
            assert (PairAction.BYE in actions) == (not own), (state, event)
        if state is PairState.OVER:
            raise AssertionError("nothing follows the end")


async def test_the_media_hook_is_told_where_the_media_are(tmp_path: Path) -> None:
    world, caller, mixer = await joined(tmp_path)
    [call] = world.store.calls()
    told = AtMixer.of(call.mixer)
    assert told is not None
    dialog = mixer.dialog()
    assert (told.call_id, told.from_tag, told.to_tag) == (dialog.call_id, dialog.local_tag, "mixer-tag")
    assert [(each.index, each.label, each.media) for each in told.streams] == [(0, "10", "audio")]
    assert AtMixer.of(None) is None
    await leave(world, caller)
    idle(world)
