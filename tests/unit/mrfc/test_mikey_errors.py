"""MIKEY Error messages in SIP: what a caller is told about the ticket, and what a callee tells us."""

import os
import time
from pathlib import Path

import pytest
from focus_world import BOB, KMS, MEETING, Caller, World, make_world, response_to

from mrf_protocols import sdp
from mrf_protocols.mikey import (
    Credential,
    ErrorNumber,
    MikeyError,
    TransferInitiator,
    TransferResponder,
    error_message,
)
from mrfc.sip.port import OutgoingRequest, Response


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


async def answered(world: World, caller: Caller, **changes: object) -> Response:
    world.focus.on_invite(caller.invite(**changes))  # type: ignore[arg-type] # fields of the job by name
    await world.settle()
    return world.sip.answers[caller.transaction]


def told(response: Response, caller: Caller) -> MikeyError:
    """What the refusal says about the TRANSFER_INIT."""
    assert (response.status, response.content_type) == (488, "application/sdp")
    assert "Warning" in dict(response.headers)
    message = sdp.message_in_refusal(response.body)
    assert message is not None
    return caller.transfer.reported(message)


async def test_a_ticket_for_somebody_else(world: World) -> None:
    caller = Caller(world.kms, callee="sip:other@conf.example")
    error = told(await answered(world, caller, request_uri=MEETING, to_uri=MEETING), caller)
    assert (error.number, error.reported, error.authenticated) == (ErrorNumber.INVALID_ID, True, False)


async def test_a_message_that_is_changed(world: World) -> None:
    caller = Caller(world.kms)
    init = caller.transfer.init()
    changed = init[:-1] + bytes([init[-1] ^ 1])
    media = sdp.ClientMedia(sdp.Address("192.0.2.1", 5000), (sdp.KeyMgmt(sdp.MIKEY, changed),))
    body = sdp.serialize(sdp.offer_bfcp(sdp.Origin.of("192.0.2.1", 1), media))
    error = told(await answered(world, caller, body=body), caller)
    assert (error.number, error.reported, error.authenticated) == (ErrorNumber.AUTH_FAILURE, True, False)


async def test_what_the_kms_says_is_passed_on(world: World) -> None:
    caller = Caller(world.kms)
    world.kms.credentials["mrfc"] = Credential("mrfc", world.kms.credentials["mrfc"].psk, ("sip:x@y",))
    error = told(await answered(world, caller), caller)
    assert (error.number, error.reported) == (ErrorNumber.INVALID_ID, True)


async def test_nonsense_is_told_as_such(world: World) -> None:
    caller = Caller(world.kms)
    init = caller.transfer.init()[:60]
    media = sdp.ClientMedia(sdp.Address("192.0.2.1", 5000), (sdp.KeyMgmt(sdp.MIKEY, init),))
    body = sdp.serialize(sdp.offer_bfcp(sdp.Origin.of("192.0.2.1", 1), media))
    response = await answered(world, caller, body=body)
    assert told(response, caller).number == ErrorNumber.UNSPECIFIED
    assert dict(response.headers)["Warning"].startswith("306 ")


async def test_a_ticket_is_used_once(world: World) -> None:
    """Another TRANSFER_INIT with it is refused, after the first call has ended, too; and costs the KMS nothing."""
    first = Caller(world.kms)
    assert (await answered(world, first)).status == 200
    world.focus.on_ack(first.ack())
    world.focus.on_bye(first.bye())
    await world.settle()
    second = Caller(world.kms)
    second.transfer = TransferInitiator(
        first.ticket, second.uri, MEETING, csb_id=77, rand=os.urandom, now=time.time()
    )
    world.kms.down = True
    response = await answered(world, second)
    error = told(response, second)
    assert (error.number, error.authenticated) == (ErrorNumber.INVALID_TPPAR, False)
    assert "only once" in dict(response.headers)["Warning"]
    assert not any(world.busy().values())


async def test_a_ticket_used_twice_at_once(world: World) -> None:
    """Both are under way to the KMS: one is served, and the other one's refusal proves to be ours."""
    first, second = Caller(world.kms), Caller(world.kms)
    second.transfer = TransferInitiator(
        first.ticket, second.uri, MEETING, csb_id=77, rand=os.urandom, now=time.time()
    )
    for caller in (first, second):
        world.focus.on_invite(caller.invite())
    await world.settle()
    assert world.sip.answers[first.transaction].status == 200
    error = told(world.sip.answers[second.transaction], second)
    assert (error.number, error.authenticated) == (ErrorNumber.INVALID_TPPAR, True)
    world.focus.on_bye(first.bye())
    await world.settle()


async def test_a_replay_is_told_nothing(world: World) -> None:
    caller, thief = Caller(world.kms), Caller(world.kms)
    thief.transfer = caller.transfer
    assert (await answered(world, caller)).status == 200
    response = await answered(world, thief)
    assert (response.status, response.body) == (488, "")
    world.focus.on_bye(caller.bye())
    await world.settle()


# --- what a callee says


async def invited(world: World) -> OutgoingRequest:
    conference = world.store.conference("meeting")
    assert conference is not None
    world.dial_outs.start(conference, BOB)
    await world.settle()
    return world.sip.sent("INVITE")[-1]


def transfer_of(invite: OutgoingRequest) -> TransferResponder:
    agreed = sdp.evaluate_offer(sdp.parse(invite.body), sdp.AnswerPolicy(role=sdp.FloorControlRole.C_ONLY))
    assert agreed.key_mgmt is not None
    return TransferResponder(agreed.key_mgmt.data, time.time())


def refusal(message: bytes) -> str:
    return sdp.serialize(sdp.refusal_with(message, "192.0.2.2", 1))


async def test_a_callee_that_cannot_read_the_ticket(world: World, caplog: pytest.LogCaptureFixture) -> None:
    invite = await invited(world)
    transfer = transfer_of(invite)
    body = refusal(transfer.error(ErrorNumber.INVALID_TICKET, time.time()))
    world.focus.on_response(response_to(invite, 488, body=body))
    await world.settle()
    assert (
        "488 Reason: MIKEY INVALID_TICKET (14): reported in an Error message, which nobody proved"
        in caplog.text
    )
    assert not any(world.busy().values())


async def test_a_callee_that_proves_what_it_says(world: World, caplog: pytest.LogCaptureFixture) -> None:
    invite = await invited(world)
    transfer = transfer_of(invite)
    bob = world.kms.credentials["bob"]
    init = transfer.resolve_init(
        psk=bob.psk, psk_id="bob", identity=BOB, kms=KMS, rand=os.urandom, now=time.time()
    )
    transfer.resolved(world.kms.resolve(init), time.time())
    body = refusal(transfer.error(ErrorNumber.INVALID_SP, time.time()))
    world.focus.on_response(response_to(invite, 488, body=body))
    await world.settle()
    assert "488 Reason: MIKEY INVALID_SP (9): reported in an Error message" in caplog.text
    assert "nobody proved" not in caplog.text


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"\x01\x06", "data end"),
        (error_message(bytes([1, 19, 0, 0, 0, 0, 0, 1, 0, 1]), 7, 1e9), "about another exchange"),
    ],
)
async def test_a_callee_that_says_something_else(
    world: World, caplog: pytest.LogCaptureFixture, message: bytes, words: str
) -> None:
    invite = await invited(world)
    world.focus.on_response(response_to(invite, 488, body=refusal(message)))
    await world.settle()
    assert words in caplog.text
    assert not any(world.busy().values())
