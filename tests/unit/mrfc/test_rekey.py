"""Re-keying by the MRFC: in time, by an operator, and what goes wrong with it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest
from focus_world import ALICE, BOB, Callee, Caller, World, header, make_world, response_to

from mrf_protocols import sdp
from mrf_protocols.h248.mp import TlsEstablished, TlsEstablishmentFailed
from mrfc import jobs
from mrfc.calls.requests import RequestFailed
from mrfc.sip.port import OutgoingRequest
from mrfc.sip.refusal import Refusal
from mrfc.state.store import Call


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


async def joined(world: World, *, expires: float = 0.0) -> Call:
    call = await world.join(Caller(world.kms))
    call.key_expires = expires
    world.tell(call, TlsEstablished, call.termination)
    return call


async def asked(world: World) -> OutgoingRequest:
    """The re-INVITE of ours."""
    await world.settle()
    return world.sip.sent("INVITE")[-1]


def answer(world: World, call: Call, request: OutgoingRequest, status: int, body: str = "") -> None:
    """The participant answers it."""
    cseq = int(header(request, "CSeq").partition(" ")[0])
    response = response_to(request, status, tag=call.dialog.remote_tag, body=body)
    world.focus.on_response(msgspec.structs.replace(response, cseq=cseq))


async def leave(world: World, call: Call) -> None:
    world.focus.on_bye(jobs.ByeJob(jobs.TransactionId(1, 98), call.dialog, 1000))
    await world.settle()
    assert not any(world.busy().values())


async def test_a_new_key_is_offered_before_the_old_one_expires(world: World) -> None:
    call = await joined(world, expires=time.time() + 1.0)
    before = call.termination
    world.focus.rekeys._due(call)  # the time has come
    invite = await asked(world)
    offer = sdp.parse(invite.body)
    assert offer.media[0].value_of("connection") == "new"
    assert offer.origin.version == sdp.parse(call.answer_sdp).origin.version + 1
    callee = Callee(world.kms, "alice", ALICE)
    answer(world, call, invite, 200, callee.answer(invite.body))
    await world.settle()
    assert call.successor is not None
    configured = world.mrfp.configured[call.successor]
    assert (configured.psk, configured.start_tls) == (callee.tek, True)  # the offerer is TLS client
    world.tell(call, TlsEstablished, call.successor)
    await world.settle()
    assert call.termination != before
    assert {call.termination} == set().union(*world.mrfp.contexts.values())
    await leave(world, call)


async def test_when_it_is_due(world: World) -> None:
    """Some time before the end, and never so often that nothing else is done."""
    loop_time = asyncio.get_running_loop().time
    for left, wait in ((3600.0, 3540.0), (100.0, 50.0), (1.0, 1.0), (-5.0, 1.0)):
        call = await joined(world, expires=time.time() + left)
        timer = world.focus.rekeys._timers[call.dialog.key]
        assert abs(timer.when() - loop_time() - wait) < 5.0
        await leave(world, call)
    call = await joined(world)
    assert call.dialog.key not in world.focus.rekeys._timers
    await leave(world, call)


@pytest.mark.parametrize("how", ["refused", "no TRANSFER_RESP", "wrong", "handshake", "KMS down"])
async def test_what_fails_leaves_the_old_key(world: World, how: str) -> None:
    call = await joined(world)
    before = (call.termination, call.answer_sdp, call.offer_sdp)
    world.kms.down = how == "KMS down"
    work = asyncio.ensure_future(world.focus.rekeys.rekey(call))
    if how == "KMS down":
        with pytest.raises(Refusal):
            await work
    else:
        invite = await asked(world)
        callee = Callee(world.kms, "alice", ALICE)
        if how == "refused":
            answer(world, call, invite, 488)
        elif how == "no TRANSFER_RESP":
            plain = [line for line in callee.answer(invite.body).split("\r\n") if "key-mgmt" not in line]
            answer(world, call, invite, 200, "\r\n".join(plain))
        else:
            answer(world, call, invite, 200, callee.answer(invite.body, spoil=how == "wrong"))
        await world.settle()
        if how == "handshake":
            await work
            world.tell(call, TlsEstablishmentFailed, call.successor)
        else:
            with pytest.raises((Refusal, RequestFailed)):
                await work
    await world.settle()
    assert call.successor is None
    if how != "handshake":
        assert (call.termination, call.answer_sdp, call.offer_sdp) == before
    assert {call.termination} == set().union(*world.mrfp.contexts.values())
    world.kms.down = False
    await leave(world, call)


async def test_a_call_that_ends_meanwhile_leaves_nothing(world: World) -> None:
    call = await joined(world)
    work = asyncio.ensure_future(world.focus.rekeys.rekey(call))
    await asked(world)
    await leave(world, call)
    with pytest.raises(RequestFailed):
        await work


async def test_a_called_participant_is_rekeyed(world: World) -> None:
    conference = world.store.conference("meeting")
    assert conference is not None
    call = world.dial_outs.start(conference, BOB)
    first = await asked(world)
    callee = Callee(world.kms)
    world.focus.on_response(response_to(first, 200, body=callee.answer(first.body)))
    await world.settle()
    world.tell(call, TlsEstablished, call.termination)
    work = asyncio.ensure_future(world.focus.rekeys.rekey(call))
    invite = await asked(world)
    assert invite is not first
    answer(world, call, invite, 200, callee.answer(invite.body))
    await work
    assert call.successor is not None
    await leave(world, call)


async def test_a_call_without_secured_connection_has_no_key(world: World) -> None:
    call = await joined(world)
    call.secured = False
    with pytest.raises(Refusal):
        await world.focus.rekeys.rekey(call)
    assert world.sip.sent("INVITE") == []
    await leave(world, call)
