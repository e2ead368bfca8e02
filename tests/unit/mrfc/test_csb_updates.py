"""A CSB update in a later offer: a new key for the session without a new ticket, on a focus in memory."""

from __future__ import annotations

import itertools
import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from focus_world import ALICE, KMS, MEETING, Caller, World, make_world

from mrf_protocols import sdp
from mrf_protocols.h248.mp import ConfigureBfcpTermination
from mrf_protocols.mikey import (
    DEFAULT_FLAGS,
    CsbSession,
    ErrorNumber,
    KeyData,
    KeyType,
    PolicyFlag,
    TransferInitiator,
    decode,
    make_ticket,
)
from mrf_protocols.mikey.payloads import ErrorPayload
from mrf_protocols.sdp.key_management import parse_key_mgmt
from mrfc import jobs
from mrfc.sip.port import Response

F = PolicyFlag


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@dataclass
class Participant:
    """Somebody in a call, with the session as he sees it."""

    world: World
    caller: Caller
    session: CsbSession
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(10))

    async def offer(self, message: bytes) -> Response:
        """A new offer with a new connection and this key-mgmt."""
        origin = sdp.Origin.of("192.0.2.1", 1, version=next(self.numbers))
        media = sdp.ClientMedia(sdp.Address("192.0.2.1", 5000), (sdp.KeyMgmt(sdp.MIKEY, message),))
        body = sdp.serialize(sdp.offer_bfcp(origin, media))
        number = next(self.numbers)
        job = self.caller.invite(
            body, transaction=jobs.TransactionId(number, 99), cseq=number, in_dialog=True
        )
        self.world.focus.on_invite(job)
        await self.world.settle()
        response = self.world.sip.answers[job.transaction]
        self.world.focus.on_ack(jobs.AckJob(self.caller.dialog, number, "", ""))
        return response

    def configured(self) -> ConfigureBfcpTermination:
        """What the MRFP was asked for last."""
        found = [each for each in self.world.mrfp.procedures if isinstance(each, ConfigureBfcpTermination)]
        return found[-1]

    async def leave(self) -> None:
        """BYE, and nothing is left."""
        number = next(self.numbers)
        self.world.focus.on_bye(
            jobs.ByeJob(jobs.TransactionId(number, 98), self.caller.dialog, next(self.numbers))
        )
        await self.world.settle()
        assert not any(self.world.busy().values())


def message_in(response: Response) -> bytes:
    [media] = sdp.parse(response.body).media
    [value] = media.values_of("key-mgmt")
    return parse_key_mgmt(value).data


async def joined(world: World, flags: PolicyFlag) -> Participant:
    """In the conference, with a ticket of one's own under such a policy."""
    caller = Caller(world.kms)
    ticket = make_ticket(
        tpk=world.kms.credentials["alice"].psk,
        tpk_id="alice",
        initiator=ALICE,
        kms=KMS,
        responders=(MEETING,),
        rand=os.urandom,
        now=time.time(),
        flags=flags,
    )
    caller.transfer = TransferInitiator(
        ticket, ALICE, MEETING, csb_id=secrets.randbits(32), rand=os.urandom, now=time.time()
    )
    world.focus.on_invite(caller.invite())
    await world.settle()
    response = world.sip.answers[caller.transaction]
    assert response.status == 200
    world.focus.on_ack(caller.ack())
    caller.transfer.response(message_in(response), time.time())
    return Participant(world, caller, caller.transfer.session())


def new_key() -> KeyData:
    return KeyData(KeyType.TGK, os.urandom(16), spi=os.urandom(4))


@pytest.mark.parametrize(
    ("flags", "brings"),
    [
        pytest.param(DEFAULT_FLAGS | F.L, True, id="the participant brings the key"),
        pytest.param(DEFAULT_FLAGS | F.L | F.M, False, id="we are asked for one"),
        pytest.param(DEFAULT_FLAGS | F.L | F.M, True, id="both bring one"),
        pytest.param(DEFAULT_FLAGS | F.L | F.I, True, id="key forking"),
    ],
)
async def test_a_new_key_without_a_new_ticket(world: World, flags: PolicyFlag, brings: bool) -> None:
    one = await joined(world, flags)
    keys, before = [one.configured().psk], one.configured().psk_identity
    world.kms.down = True
    for _ in range(2):
        init = one.session.start(now=time.time(), keys=(new_key(),) if brings else ())
        response = await one.offer(init)
        assert response.status == 200
        result = one.session.finish(message_in(response), time.time())
        assert result.tek == one.configured().psk
        assert one.configured().psk_identity == before == result.psk_identity
        keys.append(result.tek)
    assert len(set(keys)) == 3
    world.kms.down = False
    await one.leave()


@pytest.mark.parametrize("changed", [-1, 40])
async def test_an_update_that_is_not_the_participants(world: World, changed: int) -> None:
    """The session stays as it was, and takes the right one afterwards."""
    one = await joined(world, DEFAULT_FLAGS | F.L)
    init = bytearray(one.session.start(now=time.time(), keys=(new_key(),)))
    good = bytes(init)
    init[changed] ^= 1
    before = one.configured()
    response = await one.offer(bytes(init))
    assert response.status == 488
    assert dict(response.headers)["Warning"].startswith("306 "), "RFC 4567 4.1.2: at least a 306"
    told = sdp.message_in_refusal(response.body)
    assert told is not None
    assert decode(told).first(ErrorPayload) is not None
    assert one.configured() is before
    taken = await one.offer(good)
    assert one.session.finish(message_in(taken), time.time()).tek == one.configured().psk
    renewed = one.configured()
    await one.offer(good)
    assert one.configured() is renewed, "the same update again brings nothing"
    await one.leave()


async def test_an_update_of_another_session(world: World) -> None:
    one, forger = await joined(world, DEFAULT_FLAGS | F.L), await joined(world, DEFAULT_FLAGS | F.L)
    response = await one.offer(forger.session.start(now=time.time(), keys=(new_key(),)))
    told = sdp.message_in_refusal(response.body)
    assert told is not None
    error = decode(told).first(ErrorPayload)
    assert error is not None
    assert (response.status, error.error) == (488, ErrorNumber.UNSPECIFIED)
    for participant in (one, forger):
        world.focus.on_bye(
            jobs.ByeJob(jobs.TransactionId(next(one.numbers), 97), participant.caller.dialog, 90)
        )
    await world.settle()
    assert not any(world.busy().values())


async def test_an_update_before_there_is_a_session(world: World) -> None:
    one = await joined(world, DEFAULT_FLAGS | F.L)
    update = one.session.start(now=time.time(), keys=(new_key(),))
    stranger = Caller(world.kms)
    media = sdp.ClientMedia(sdp.Address("192.0.2.1", 5000), (sdp.KeyMgmt(sdp.MIKEY, update),))
    body = sdp.serialize(sdp.offer_bfcp(sdp.Origin.of("192.0.2.1", 1), media))
    world.focus.on_invite(stranger.invite(body))
    await world.settle()
    assert world.sip.answers[stranger.transaction].status == 488
    await one.leave()
