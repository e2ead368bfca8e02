"""A new offer in a standing session, on a focus in memory: what becomes of connection, termination and call."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from focus_world import (
    ALICE,
    BOB,
    MEETING,
    Callee,
    Caller,
    MrfpRefused,
    MrfpTimeout,
    World,
    make_world,
    response_to,
    within,
)

from mrf_protocols import sdp
from mrf_protocols.h248.mp import (
    BearerReleased,
    ConfigureBfcpTermination,
    ReleaseBfcpTermination,
    TcpEstablishmentFailed,
    TlsEstablished,
    TlsEstablishmentFailed,
)
from mrf_protocols.mikey import TransferInitiator
from mrfc import jobs
from mrfc.sip.dialog import DialogState
from mrfc.sip.port import Response
from mrfc.state.store import Call

NEW, EXISTING = sdp.ConnectionUse.NEW, sdp.ConnectionUse.EXISTING
Indication = type[TlsEstablished | TlsEstablishmentFailed | TcpEstablishmentFailed | BearerReleased]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@dataclass
class Session:
    """A participant in a standing session, who changes it."""

    world: World
    call: Call
    user: str = "alice"
    uri: str = ALICE
    last: Response | None = None
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(2))
    transfer: TransferInitiator | None = None

    def offer(
        self,
        connection: sdp.ConnectionUse = NEW,
        *,
        key: bool = True,
        host: str = "192.0.2.1",
        port: int = 5000,
    ) -> str:
        """A new offer; with `key` it has a new TRANSFER_INIT."""
        keys: tuple[sdp.KeyMgmt, ...] = ()
        if key:
            ticket = self.world.kms.ticket(self.user, self.uri, MEETING)
            self.transfer = TransferInitiator(
                ticket, self.uri, MEETING, csb_id=secrets.randbits(32), rand=os.urandom, now=time.time()
            )
            keys = (sdp.KeyMgmt(sdp.MIKEY, self.transfer.init()),)
        origin = sdp.Origin.of("192.0.2.1", 1, version=next(self.numbers))
        media = sdp.ClientMedia(sdp.Address(host, port), keys)
        return sdp.serialize(sdp.offer_bfcp(origin, media, connection=connection))

    def disabled(self) -> str:
        """An offer that gives the stream up."""
        gone = sdp.parse(self.offer(key=False))
        return sdp.serialize(dataclasses.replace(gone, media=tuple(map(sdp.refuse, gone.media))))

    def post(self, body: str, method: str = "INVITE") -> jobs.RequestJob:
        """A request within the dialog arrives."""
        changes = {"from_uri": self.uri, "to_uri": self.call.local_uri, "contact_uri": "sip:ue@192.0.2.1"}
        job = within(self.call.dialog, method, next(self.numbers), body, **changes)
        self.world.arrive(job)
        return job

    def acknowledge(self, job: jobs.RequestJob, body: str = "") -> None:
        self.world.focus.on_ack(
            jobs.AckJob(self.call.dialog, job.cseq, "application/sdp" if body else "", body)
        )

    async def ask(self, body: str, method: str = "INVITE") -> Response:
        """Send a request, take its answer, acknowledge it."""
        job = self.post(body, method)
        await self.world.settle()
        response = self.world.sip.answers[job.transaction]
        if method == "INVITE":
            self.acknowledge(job)
        return response

    def tell(self, kind: Indication, termination: str | None, reason: str = "why") -> None:
        """The MRFP tells something of a termination."""
        self.world.tell(self.call, kind, termination, reason)

    def configured(self) -> ConfigureBfcpTermination:
        """The last termination that the MRFP was asked for."""
        wanted = [each for each in self.world.mrfp.procedures if isinstance(each, ConfigureBfcpTermination)]
        return wanted[-1]

    def terminations(self) -> set[str]:
        """What the MRFP has."""
        return set().union(*self.world.mrfp.contexts.values())

    async def leave(self) -> None:
        """BYE, and nothing is left."""
        self.world.focus.on_bye(jobs.ByeJob(jobs.TransactionId(1, 98), self.call.dialog, next(self.numbers)))
        await self.world.settle()
        assert not any(self.world.busy().values())


async def joined(world: World) -> Session:
    """Somebody has dialled in, and his connection is secured."""
    call = await world.join(Caller(world.kms))
    session = Session(world, call)
    session.tell(TlsEstablished, call.termination)
    return session


async def called(world: World) -> Session:
    """Somebody was called, and his connection is secured."""
    conference = world.store.conference("meeting")
    assert conference is not None
    call = world.dial_outs.start(conference, BOB)
    await world.settle()
    [invite] = world.sip.sent("INVITE")
    answer = Callee(world.kms).answer(invite.body)
    world.focus.on_response(response_to(invite, 200, body=answer))
    await world.settle()
    session = Session(world, call, "bob", BOB)
    session.tell(TlsEstablished, call.termination)
    return session


def unchanged(session: Session) -> tuple[object, ...]:
    call = session.call
    return call.termination, call.successor, call.offer_sdp, call.answer_sdp, call.state


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("who", [joined, called])
async def test_a_new_key_gets_a_new_connection_and_the_old_one_stays_until_it_is_secured(
    world: World, method: str, who: object
) -> None:
    session = await (joined(world) if who is joined else called(world))
    call, old, before = session.call, session.call.termination, sdp.parse(session.call.answer_sdp)
    offer = session.offer()
    response = await session.ask(offer, method)
    assert response.status == 200
    answer = sdp.accept_answer(sdp.parse(offer), sdp.parse(response.body))
    assert session.transfer is not None
    assert answer.key_mgmt is not None
    wanted = session.configured()
    assert session.transfer.response(answer.key_mgmt.data, time.time()).tek == wanted.psk
    assert (wanted.user_id, answer.user_id) == (call.user_id, call.user_id)
    assert wanted.start_tls is False  # the offerer is TLS client
    described = sdp.parse(response.body).origin
    assert (described.session_id, described.version) == (before.origin.session_id, before.origin.version + 1)
    assert (call.termination, call.successor) == (old, (session.terminations() - {old}).pop())

    session.tell(TlsEstablished, call.successor)
    await world.settle()
    assert session.terminations() == {call.termination}
    assert call.termination != old
    await session.leave()


async def test_existing_keeps_the_connection_and_asks_nobody(world: World) -> None:
    session = await joined(world)
    old, asked = session.call.termination, len(world.mrfp.procedures)
    world.kms.down = True
    response = await session.ask(session.offer(EXISTING, key=False))
    assert response.status == 200
    assert sdp.parse(response.body).media[0].value_of("connection") == "existing"
    assert (session.call.termination, len(world.mrfp.procedures)) == (old, asked)
    again = await session.ask(session.offer(EXISTING, key=False))
    assert again.body == response.body
    await session.leave()


@pytest.mark.parametrize(
    ("offer", "status"),
    [
        (lambda session: session.offer(key=False), 488),
        (lambda session: session.offer(EXISTING, host="0.0.0.0"), 488),
        (lambda session: session.offer().replace("TCP/TLS/BFCP", "UDP/BFCP"), 488),
        (lambda session: session.offer().split("m=")[0], 488),
        (lambda session: "v=0\r\nnonsense", 400),
        (lambda session: session.offer().replace("mikey A", "mikey B"), 488),
    ],
    ids=["no key", "a new connection on hold", "transport", "no m-line", "no SDP", "spoilt message"],
)
async def test_a_refused_offer_leaves_everything_as_it_was(world: World, offer: object, status: int) -> None:
    session = await joined(world)
    before = unchanged(session)
    assert callable(offer)
    response = await session.ask(offer(session))
    assert response.status == status
    assert unchanged(session) == before
    assert session.terminations() == {session.call.termination}
    assert (await session.ask(session.offer())).status == 200
    await session.leave()


async def test_a_wrong_mac_keeps_the_old_session(world: World) -> None:
    session = await joined(world)
    before = unchanged(session)
    offer = sdp.parse(session.offer())
    assert session.transfer is not None
    message = session.transfer.init()
    spoilt = sdp.KeyMgmt(sdp.MIKEY, message[:-1] + bytes([message[-1] ^ 1])).attribute()
    section = offer.media[0]
    attributes = tuple(spoilt if each.name == "key-mgmt" else each for each in section.attributes)
    body = sdp.serialize(
        dataclasses.replace(offer, media=(dataclasses.replace(section, attributes=attributes),))
    )
    assert (await session.ask(body)).status == 488
    assert unchanged(session) == before
    await session.leave()


async def test_a_ticket_of_somebody_else_or_for_another_conference_is_refused(world: World) -> None:
    session = await joined(world)
    before = unchanged(session)
    for thief in (Session(world, session.call, "bob", BOB), Session(world, session.call)):
        thief.numbers = session.numbers
        body = thief.offer()
        if thief.user == "alice":
            session.call.conference_user, session.call.local_uri = "another", "sip:another@conf.example"
        thief.uri = ALICE
        assert (await thief.ask(body)).status == 488
        session.call.conference_user, session.call.local_uri = "meeting", MEETING
    assert unchanged(session) == before
    await session.leave()


@pytest.mark.parametrize("fault", ["KMS down", "MRFP silent", "MRFP refuses"])
async def test_a_fault_of_kms_or_mrfp_keeps_the_old_session(world: World, fault: str) -> None:
    session = await joined(world)
    before = unchanged(session)
    world.kms.down = fault == "KMS down"
    error = MrfpTimeout("silent") if fault == "MRFP silent" else MrfpRefused(510, "full")
    world.mrfp.fail = lambda procedure: error if fault.startswith("MRFP") else None
    response = await session.ask(session.offer())
    assert (response.status, dict(response.headers)["Retry-After"]) == (503, "5")
    assert unchanged(session) == before
    world.kms.down, world.mrfp.fail = False, lambda procedure: None
    assert (await session.ask(session.offer())).status == 200
    await session.leave()


async def test_a_new_connection_that_fails_changes_nothing(world: World) -> None:
    session = await joined(world)
    old = session.call.termination
    for kind in (TlsEstablishmentFailed, TcpEstablishmentFailed, BearerReleased):
        assert (await session.ask(session.offer())).status == 200
        session.tell(kind, session.call.successor)
        await world.settle()
        assert (session.call.termination, session.call.successor) == (old, None)
        assert session.terminations() == {old}
    assert session.call.state is DialogState.CONFIRMED
    await session.leave()


async def test_of_two_offers_in_a_row_the_second_counts(world: World) -> None:
    session = await joined(world)
    old = session.call.termination
    await session.ask(session.offer())
    first = session.call.successor
    await session.ask(session.offer())
    second = session.call.successor
    await world.settle()
    assert session.terminations() == {old, second}
    assert first not in session.terminations()
    session.tell(TlsEstablished, second)
    await world.settle()
    assert session.terminations() == {second}
    await session.leave()


async def test_what_is_accepted_stays_when_a_further_offer_fails(world: World) -> None:
    session = await joined(world)
    await session.ask(session.offer())
    first = session.call.successor
    world.kms.down = True
    assert (await session.ask(session.offer())).status == 503
    session.tell(TlsEstablished, first)
    await world.settle()
    assert session.terminations() == {first} == {session.call.termination}
    await session.leave()


async def test_an_offer_during_an_unfinished_one_comes_later(world: World) -> None:
    session = await joined(world)
    world.kms.hold = asyncio.Event()
    first = session.post(session.offer())
    await world.settle()
    second = await session.ask(session.offer())
    assert second.status == 500
    assert 0 <= int(dict(second.headers)["Retry-After"]) <= 10
    world.kms.hold.set()
    await world.settle()
    assert world.sip.answers[first.transaction].status == 200
    await session.leave()


@pytest.mark.parametrize("where", ["kms", "mrfp"])
@pytest.mark.parametrize("how", ["CANCEL", "timeout", "BYE", "MRFP lost", "response not sent"])
async def test_an_offer_that_is_interrupted_leaves_nothing(world: World, where: str, how: str) -> None:
    session = await joined(world)
    before, gate = unchanged(session), asyncio.Event()
    if where == "kms":
        world.kms.hold = gate
    else:
        world.mrfp.hold = gate
    job = session.post(session.offer())
    await world.settle()
    dialog = session.call.dialog
    if how == "CANCEL":
        world.focus.on_cancel(jobs.CancelJob(dialog.call_id, dialog.remote_tag, job.cseq))
    elif how == "timeout":
        world.focus.on_timeout(jobs.TimeoutJob(dialog))
    elif how == "BYE":
        world.focus.on_bye(jobs.ByeJob(jobs.TransactionId(1, 97), dialog, next(session.numbers)))
    elif how == "MRFP lost":
        world.mrfp.lose_everything()
        world.focus.on_mrfp_lost("mrfp")
    else:
        world.sip.gone.add(job.transaction)
    gate.set()
    await world.settle()
    if how in ("BYE", "MRFP lost"):
        assert world.sip.answers[job.transaction].status == 487
        assert not any(world.busy().values())
        return
    assert job.transaction not in world.sip.answers
    assert unchanged(session) == before
    assert session.terminations() == {session.call.termination}
    await session.leave()


async def test_port_0_gives_the_connection_back_and_the_call_stays(world: World) -> None:
    session = await joined(world)
    response = await session.ask(session.disabled())
    assert response.status == 200
    assert [media.port for media in sdp.parse(response.body).media] == [0]
    assert session.terminations() == set()
    assert session.call.state is DialogState.CONFIRMED
    assert (await session.ask(session.offer())).status == 200  # and back
    assert session.terminations() == {session.call.termination}
    session.tell(TlsEstablishmentFailed, session.call.termination)  # as with a first connection
    await world.settle()
    assert len(world.sip.sent("BYE")) == 1
    assert not any(world.busy().values())


async def test_a_participant_who_comes_back_in_time_keeps_his_call(tmp_path: Path) -> None:
    world = make_world(tmp_path, sip={"reconnect_grace": 5.0})
    session = await joined(world)
    old = session.call.termination
    session.tell(BearerReleased, old)
    assert (await session.ask(session.offer(EXISTING, key=False))).status == 488  # there is none
    assert (await session.ask(session.offer(host="198.51.100.7"))).status == 200
    assert session.terminations() == {old, session.call.successor}  # the user has not left the MRFP
    session.tell(TlsEstablished, session.call.successor)
    await world.settle()
    assert world.focus.connections.lost == 0
    assert session.terminations() == {session.call.termination}
    assert world.sip.sent("BYE") == []
    await session.leave()


@pytest.mark.parametrize("tries", [False, True])
async def test_a_participant_who_does_not_come_back_is_hung_up(tmp_path: Path, tries: bool) -> None:
    world = make_world(tmp_path, sip={"reconnect_grace": 0.5})
    session = await joined(world)
    if tries:
        await session.ask(session.offer())
    session.tell(BearerReleased, session.call.termination, "closed-by-peer")
    if tries:
        session.tell(TlsEstablishmentFailed, session.call.successor)
    async with asyncio.timeout(30):
        while not world.sip.sent("BYE"):
            await world.settle(0.02)
    await world.settle()
    [bye] = world.sip.sent("BYE")
    assert ("Reason", 'SIP;cause=503;text="bearer released: closed-by-peer"') in bye.headers
    assert not any(world.busy().values())


async def test_without_tls_the_new_connection_counts_when_the_old_one_ends(tmp_path: Path) -> None:
    world = make_world(tmp_path, bfcp={"unsecured": "allow"})
    caller = Caller(world.kms)

    def plain(version: int) -> str:
        media = sdp.ClientMedia(sdp.Address("192.0.2.1", 5000))
        origin = sdp.Origin.of("192.0.2.1", 1, version=version)
        return sdp.serialize(sdp.offer_bfcp(origin, media, proto=sdp.BfcpProto.TCP))

    world.focus.on_invite(caller.invite(plain(1)))
    await world.settle()
    world.focus.on_ack(caller.ack())
    call = world.store.call(caller.dialog)
    assert call is not None
    session = Session(world, call)
    assert (await session.ask(plain(2))).status == 200
    session.tell(BearerReleased, call.termination)
    await world.settle(0.05)
    assert world.sip.sent("BYE") == []
    assert session.terminations() == {call.termination}
    session.tell(BearerReleased, call.termination)  # and then there is none
    await world.settle(0.05)
    assert len(world.sip.sent("BYE")) == 1
    assert not any(world.busy().values())


async def test_the_loss_of_the_old_connection_while_the_new_one_comes_up_is_no_loss(world: World) -> None:
    session = await joined(world)
    await session.ask(session.offer())
    session.tell(BearerReleased, session.call.termination)
    session.tell(TlsEstablished, session.call.successor)
    await world.settle(0.05)
    assert world.sip.sent("BYE") == []
    assert session.terminations() == {session.call.termination}
    await session.leave()


@pytest.mark.parametrize("lost", [False, True])
async def test_an_invite_without_offer_is_answered_by_ours(tmp_path: Path, lost: bool) -> None:
    world = make_world(tmp_path, sip={"reconnect_grace": 5.0})
    session = await joined(world)
    old = session.call.termination
    if lost:
        session.tell(BearerReleased, old)
    job = session.post("")
    await world.settle()
    response = world.sip.answers[job.transaction]
    ours = sdp.parse(response.body)
    assert ours.media[0].value_of("connection") == ("new" if lost else "existing")
    callee = Callee(world.kms, "alice", ALICE)
    if lost:
        session.acknowledge(job, callee.answer(response.body))
    else:
        policy = sdp.AnswerPolicy(role=sdp.FloorControlRole.C_ONLY)
        agreed = sdp.evaluate_offer(ours, policy, connected=True)
        media = sdp.ClientMedia(sdp.Address("192.0.2.1", 9))
        answer = sdp.answer_bfcp(ours, agreed, media, sdp.Origin.of("192.0.2.1", 1))
        session.acknowledge(job, sdp.serialize(answer))
    await world.settle()
    if lost:
        assert session.call.successor is not None
        assert world.mrfp.configured[session.call.successor].psk == callee.tek
        assert world.mrfp.configured[session.call.successor].start_tls is True
        session.tell(TlsEstablished, session.call.successor)
        await world.settle()
    assert session.terminations() == {session.call.termination}
    assert (session.call.termination == old) is not lost
    assert session.call.answer_sdp == response.body
    await session.leave()


async def test_who_has_given_floor_control_up_is_not_offered_it(world: World) -> None:
    session = await joined(world)
    given_up = await session.ask(session.disabled())
    again = await session.ask("")
    assert (again.status, again.body) == (200, given_up.body)
    assert session.terminations() == set()
    assert session.call.state is DialogState.CONFIRMED
    await session.leave()


async def test_a_bad_answer_in_the_ack_leaves_the_session(tmp_path: Path) -> None:
    world = make_world(tmp_path, sip={"reconnect_grace": 5.0})
    session = await joined(world)
    session.tell(BearerReleased, session.call.termination)
    before = unchanged(session)
    job = session.post("")
    await world.settle()
    response = world.sip.answers[job.transaction]
    session.acknowledge(job, Callee(world.kms, "alice", ALICE).answer(response.body, spoil=True))
    await world.settle()
    assert unchanged(session) == before
    assert session.terminations() == {session.call.termination}
    await session.leave()


async def test_a_hundred_offers_a_second_cost_a_few(world: World) -> None:
    session = await joined(world)
    statuses = [(await session.ask(session.offer())).status for _ in range(100)]
    assert statuses[:5] == [200] * 5
    assert statuses.count(200) < 10
    refused = await session.ask(session.offer())
    assert (refused.status, int(dict(refused.headers)["Retry-After"]) >= 1) == (500, True)
    asked = [each for each in world.mrfp.procedures if isinstance(each, ConfigureBfcpTermination)]
    released = [each for each in world.mrfp.procedures if isinstance(each, ReleaseBfcpTermination)]
    assert len(asked) - len(released) == 2
    assert (
        await session.ask(session.offer(EXISTING, key=False))
    ).status == 200  # which costs next to nothing
    await session.leave()


async def test_the_ack_of_another_invite_is_not_the_answer(tmp_path: Path) -> None:
    """Workers run in parallel: the ACK of an earlier INVITE may be told after our offer has gone out."""
    world = make_world(tmp_path, sip={"reconnect_grace": 5.0})
    session = await joined(world)
    session.tell(BearerReleased, session.call.termination)
    job = session.post("")
    await world.settle()
    response = world.sip.answers[job.transaction]
    world.focus.on_ack(jobs.AckJob(session.call.dialog, job.cseq - 1, "", ""))
    await world.settle()
    session.acknowledge(job, Callee(world.kms, "alice", ALICE).answer(response.body))
    await world.settle()
    assert session.call.answer_sdp == response.body
    session.tell(TlsEstablished, session.call.successor)
    await world.settle()
    await session.leave()
