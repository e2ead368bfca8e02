"""The media gateway on real sockets: the floor is granted, bad users get nothing, nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from mrfp_support import (
    CONFERENCE,
    IDENTITY,
    KEY,
    PATIENT,
    QUICK,
    Callee,
    LocalMrfp,
    User,
    come,
    floor_release,
    floor_request,
    until,
)

from loopback_ports import free_ports
from mrf_protocols.bfcp import (
    BeneficiaryInformation,
    ErrorCode,
    ErrorCodeAttribute,
    FloorId,
    FloorRequestInformation,
    Message,
    Primitive,
    encode,
)
from mrf_protocols.h248.errors import H248Error
from mrf_protocols.h248.mp import (
    AddressFamily,
    AuditHeartbeat,
    BearerReleased,
    ConfigureBfcpTermination,
    ConfigureReservedBfcpTermination,
    EventRequest,
    HeartbeatAnswered,
    ReleaseBfcpTermination,
    ReserveBfcpTermination,
    TcpEstablishmentFailed,
    TerminationConfigured,
    TerminationHeartbeat,
    TlsEstablished,
    TlsEstablishmentFailed,
    Transport,
    UserNames,
)
from mrf_protocols.h248.values import ALL, ALL_CONTEXTS, ServiceState
from mrf_protocols.tls_psk import TlsFailure, TlsPskError, TlsRole

MakeMrfp = Callable[..., LocalMrfp]


@pytest.fixture
async def make_mrfp() -> AsyncIterator[MakeMrfp]:
    """Makes gateways; after the test all is released and nothing may be left."""
    made: list[LocalMrfp] = []

    def make(**options: object) -> LocalMrfp:
        made.append(LocalMrfp(**options))  # type: ignore[arg-type] # passed on as they are
        return made[-1]

    yield make
    for mrfp in made:
        mrfp.gateway.release_everything()
        assert mrfp.left_over() == {}


def dial_in(
    user_id: int = 1, remote: tuple[str, int] = ("127.0.0.1", 9), start_tcp: bool = False
) -> ConfigureBfcpTermination:
    return ConfigureBfcpTermination(
        remote,
        user_id,
        conference=CONFERENCE,
        psk=KEY,
        psk_identity=IDENTITY,
        start_tcp=start_tcp,
        correlation="call-1",
    )


def local_of(configured: TerminationConfigured) -> tuple[str, int]:
    assert configured.local is not None
    return configured.local


async def get_the_floor(user: User, user_id: int) -> int:
    """Ask until granted; returns the request id."""
    user.send(floor_request(user_id))
    while True:
        message = await user.receive()
        if message.name == "FloorRequestStatus Granted":
            assert message.floor_request_id is not None
            return message.floor_request_id


@pytest.mark.parametrize("start_tcp", [False, True], ids=["user opens", "MRFP opens"])
@pytest.mark.parametrize("start_tls", [False, True], ids=["TLS server", "TLS client"])
async def test_the_floor_is_granted_in_every_combination_of_roles(
    make_mrfp: MakeMrfp, start_tcp: bool, start_tls: bool
) -> None:
    mrfp = make_mrfp()
    async with Callee() as callee:
        procedure = replace(dial_in(remote=callee.address, start_tcp=start_tcp), start_tls=start_tls)
        configured = mrfp.configure(procedure)
        user = await (callee.arrival() if start_tcp else come(local_of(configured)))
        await user.secure(TlsRole.SERVER if start_tls else TlsRole.CLIENT)
        request = await get_the_floor(user, 1)
        user.send(floor_release(1, request))
        assert (await user.receive()).name == "FloorRequestStatus Released"
        mrfp.release(configured)
        await user.closed()
        await user.close()
    assert mrfp.left_over() == {}
    assert mrfp.indications == []


@pytest.mark.parametrize("start_tcp", [False, True], ids=["user opens", "MRFP opens"])
async def test_reserve_then_configure_serves_dial_out(make_mrfp: MakeMrfp, start_tcp: bool) -> None:
    mrfp = make_mrfp()
    reserved = mrfp.gateway.handle(ReserveBfcpTermination(7, conference=CONFERENCE))
    assert isinstance(reserved, TerminationConfigured)
    async with Callee() as callee:
        user = None if start_tcp else await come(local_of(reserved))
        mrfp.gateway.handle(
            ConfigureReservedBfcpTermination(
                reserved.context,
                reserved.termination,
                callee.address,
                psk=KEY,
                psk_identity=IDENTITY,
                start_tcp=start_tcp,
                start_tls=True,
            )
        )
        user = user or await callee.arrival()
        await user.secure(TlsRole.SERVER)
        await get_the_floor(user, 7)
        await user.close()
    assert isinstance(await mrfp.indication(BearerReleased), BearerReleased)


async def two_users(mrfp: LocalMrfp) -> tuple[TerminationConfigured, User, User]:
    """Users 1 and 2 of one conference, secured; the termination is that of user 2."""
    first = mrfp.configure(dial_in(1))
    second = mrfp.configure(replace(dial_in(2), context=first.context))
    alice, bob = await come(local_of(first)), await come(local_of(second))
    await alice.secure(TlsRole.CLIENT)
    await bob.secure(TlsRole.CLIENT)
    return second, alice, bob


async def test_two_users_share_a_floor_one_after_the_other(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp()
    second, alice, bob = await two_users(mrfp)
    held = await get_the_floor(alice, 1)
    bob.send(floor_request(2))
    assert (await bob.receive()).name in {"FloorRequestStatus Pending", "FloorRequestStatus Accepted"}
    alice.send(floor_release(1, held))
    while (await bob.receive()).name != "FloorRequestStatus Granted":
        pass
    mrfp.release(second)
    await bob.closed()
    assert mrfp.gateway.status()["contexts"] == 1


@pytest.mark.parametrize("reserved", [False, True], ids=["configured", "reserved"])
async def test_users_learn_one_anothers_names_and_not_uris(make_mrfp: MakeMrfp, reserved: bool) -> None:
    mrfp = make_mrfp()
    names = UserNames("Zoë", "sip:zoe@ue.example")
    if reserved:
        first = mrfp.gateway.handle(ReserveBfcpTermination(1, conference=CONFERENCE))
        assert isinstance(first, TerminationConfigured)
        mrfp.gateway.handle(
            ConfigureReservedBfcpTermination(
                first.context,
                first.termination,
                ("127.0.0.1", 9),
                psk=KEY,
                psk_identity=IDENTITY,
                names=names,
            )
        )
    else:
        first = mrfp.configure(replace(dial_in(1), names=names))
    second = mrfp.configure(replace(dial_in(2), context=first.context))
    zoe, bob = await come(local_of(first)), await come(local_of(second))
    await zoe.secure(TlsRole.CLIENT)
    await bob.secure(TlsRole.CLIENT)
    await get_the_floor(zoe, 1)
    bob.send(Message(Primitive.FLOOR_QUERY, 4321, 5, 2, (FloorId(1),)))
    [request] = [
        each for each in (await bob.receive()).attributes if isinstance(each, FloorRequestInformation)
    ]
    assert request.beneficiary == BeneficiaryInformation(1, "Zoë", None)
    facts = [
        each for each in mrfp.gateway.inventory(ServiceState.IN_SERVICE).terminations if each.user_id == 1
    ]
    assert [each.names for each in facts] == [names]


async def test_a_user_who_never_connects_is_a_tcp_failure(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp(timers=QUICK)
    configured = mrfp.configure(dial_in())
    failure = await mrfp.indication(TcpEstablishmentFailed)
    assert isinstance(failure, TcpEstablishmentFailed)
    assert (failure.termination, failure.reason) == (configured.termination, "tcp-connect-timeout")
    mrfp.release(configured)
    assert mrfp.left_over() == {}


async def test_a_user_whose_port_refuses_is_a_tcp_failure(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp(timers=QUICK)
    address = ("127.0.0.1", free_ports(1)[0])
    configured = mrfp.configure(dial_in(remote=address, start_tcp=True))
    await mrfp.indication(TcpEstablishmentFailed)
    mrfp.release(configured)
    assert mrfp.left_over() == {}


async def test_a_user_who_listens_late_is_found_by_the_next_attempt(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp(timers=replace(QUICK, tcp_connect=60.0))
    address = ("127.0.0.1", free_ports(1)[0])
    mrfp.configure(dial_in(remote=address, start_tcp=True))
    await asyncio.sleep(0.1)
    arrived: asyncio.Queue[User] = asyncio.Queue()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.put_nowait(User(reader, writer))

    server = await asyncio.start_server(accepted, *address)
    user = await asyncio.wait_for(arrived.get(), 60)
    await user.secure(TlsRole.CLIENT)
    await get_the_floor(user, 1)
    await user.close()
    server.close()


@pytest.mark.parametrize("start_tcp", [False, True], ids=["user opens", "MRFP opens"])
async def test_a_user_who_connects_and_sends_nothing_is_a_tls_failure(
    make_mrfp: MakeMrfp, start_tcp: bool
) -> None:
    mrfp = make_mrfp(timers=QUICK)
    async with Callee() as callee:
        configured = mrfp.configure(dial_in(remote=callee.address, start_tcp=start_tcp))
        user = await (callee.arrival() if start_tcp else come(local_of(configured)))
        failure = await mrfp.indication(TlsEstablishmentFailed)
        assert isinstance(failure, TlsEstablishmentFailed)
        assert failure.reason == "client-hello-timeout"
        await user.closed()
        await user.close()
    mrfp.release(configured)
    assert mrfp.left_over() == {}


@pytest.mark.parametrize("start_tcp", [False, True], ids=["user opens", "MRFP opens"])
@pytest.mark.parametrize(
    ("key", "identity", "reason"),
    [(bytes(32), IDENTITY, "wrong-psk"), (KEY, "somebody.else", "unknown-psk-identity")],
    ids=["key", "identity"],
)
async def test_a_user_with_a_wrong_key_or_identity_is_a_tls_failure(
    make_mrfp: MakeMrfp, start_tcp: bool, key: bytes, identity: str, reason: str
) -> None:
    mrfp = make_mrfp(timers=PATIENT)
    async with Callee() as callee:
        configured = mrfp.configure(dial_in(remote=callee.address, start_tcp=start_tcp))
        user = await (callee.arrival() if start_tcp else come(local_of(configured)))
        with pytest.raises(TlsPskError) as caught:
            await user.secure(TlsRole.CLIENT, key=key, identity=identity)
        assert caught.value.reason in {TlsFailure.WRONG_KEY, TlsFailure.NO_COMMON_PARAMETERS}
        failure = await mrfp.indication(TlsEstablishmentFailed)
        assert isinstance(failure, TlsEstablishmentFailed)
        assert failure.reason == reason
        await user.close()
    mrfp.release(configured)
    assert mrfp.left_over() == {}


async def test_any_identity_is_taken_when_the_operator_says_so(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp(accept_any_identity=True)
    user = await come(local_of(mrfp.configure(dial_in())))
    await user.secure(TlsRole.CLIENT, identity="of another habit")
    await get_the_floor(user, 1)
    await user.close()


async def test_strangers_who_come_first_keep_nobody_out(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp()
    configured = mrfp.configure(dial_in())
    strangers = [await come(local_of(configured), "127.0.0.66") for _ in range(12)]
    await until(lambda: mrfp.metrics.value("mrfp_candidates_dropped_total") == 4)
    user = await come(local_of(configured))
    await user.secure(TlsRole.CLIENT)
    await get_the_floor(user, 1)
    for stranger in strangers:
        await stranger.closed()
        await stranger.close()
    with pytest.raises(ConnectionRefusedError):
        await come(local_of(configured))
    assert mrfp.gateway.status()["connections"] == 1
    await user.close()


async def test_the_floor_is_free_at_once_when_release_and_good_bye_come_in_one_segment(
    make_mrfp: MakeMrfp,
) -> None:
    mrfp = make_mrfp()
    _, alice, bob = await two_users(mrfp)
    held = await get_the_floor(alice, 1)
    bob.send(floor_request(2))
    await bob.receive()
    assert alice.engine is not None
    alice.engine.write(encode(floor_release(1, held)))
    alice.engine.close()
    alice.writer.write(alice.engine.take())
    while (await bob.receive()).name != "FloorRequestStatus Granted":
        pass
    await alice.close()
    await bob.close()


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
async def test_a_user_with_much_to_say_does_not_keep_the_others_waiting(
    make_mrfp: MakeMrfp, monkeypatch: pytest.MonkeyPatch, secured: bool
) -> None:
    monkeypatch.setattr(
        "mrfp_agent.endpoint._SLICE", 1e-6
    )  # one message in a turn, however fast the machine is
    mrfp = make_mrfp()
    more: dict[str, Any] = {} if secured else PLAIN
    first = mrfp.configure(replace(dial_in(1), **more))
    second = mrfp.configure(replace(dial_in(2), context=first.context, **more))
    alice, bob = await come(local_of(first)), await come(local_of(second))
    if secured:
        await alice.secure(TlsRole.CLIENT)
        await bob.secure(TlsRole.CLIENT)
    await until(lambda: mrfp.gateway.status()["established"] == 2)

    def received() -> float:
        return mrfp.metrics.value("mrfp_bfcp_messages_total", direction="received")

    many = 1300
    alice.send_octets(encode(Message(Primitive.HELLO, 4321, 1, 1)) * many)
    await until(received)
    bob.send(Message(Primitive.HELLO, 4321, 1, 2))
    assert (await bob.receive()).primitive is Primitive.HELLO_ACK
    assert received() < many
    for _ in range(many):
        assert (await alice.receive()).primitive is Primitive.HELLO_ACK
    await alice.close()
    await bob.close()


async def test_another_users_id_is_refused(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp()
    first = mrfp.configure(dial_in(1))
    mrfp.configure(replace(dial_in(2), context=first.context))
    user = await come(local_of(first))
    await user.secure(TlsRole.CLIENT)
    user.send(floor_request(2))
    answer = await user.receive()
    assert answer.primitive is Primitive.ERROR
    error = answer.first(ErrorCodeAttribute)
    assert error is not None
    assert error.code == ErrorCode.UNAUTHORIZED_OPERATION
    await get_the_floor(user, 1)
    await user.close()


async def test_half_a_message_and_silence_ends_the_connection(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp(timers=QUICK)
    configured = mrfp.configure(dial_in())
    user = await come(local_of(configured))
    await user.secure(TlsRole.CLIENT)
    user.send_octets(encode(floor_request(1))[:9])
    released = await mrfp.indication(BearerReleased)
    assert isinstance(released, BearerReleased)
    assert released.reason == "unfinished-message-timeout"
    await user.closed()
    await user.close()
    mrfp.release(configured)
    assert mrfp.left_over() == {}


async def test_a_length_that_lies_is_answered_and_the_connection_closed(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp()
    user = await come(local_of(mrfp.configure(dial_in())))
    await user.secure(TlsRole.CLIENT)
    octets = encode(floor_request(1))
    user.send_octets(octets[:2] + b"\xff\xff" + octets[4:])
    answer = await user.receive()
    error = answer.first(ErrorCodeAttribute)
    assert error is not None
    assert error.code == ErrorCode.INCORRECT_MESSAGE_LENGTH
    await user.closed()
    await user.close()
    released = await mrfp.indication(BearerReleased)
    assert isinstance(released, BearerReleased)
    assert released.reason == "incorrect-message-length", (
        "no number of the peer's choice: it is a label of metrics"
    )


async def test_a_user_who_reads_nothing_is_dropped(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp(send_limit=1000)
    procedure = replace(dial_in(), transport=Transport.TCP_BFCP, psk=None, psk_identity=None)
    user = await come(local_of(mrfp.configure(procedure)))
    hello = encode(Message(Primitive.HELLO, 4321, 1, 1))
    user.writer.transport.pause_reading()  # type: ignore[attr-defined] # asyncio's own transport has it

    async def chatter() -> None:
        while True:
            user.writer.write(hello * 1000)
            await user.writer.drain()

    task = asyncio.create_task(chatter())
    released = await mrfp.indication(BearerReleased)
    assert isinstance(released, BearerReleased)
    assert released.reason == "peer-does-not-read"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    user.writer.transport.abort()


async def test_plain_bfcp_is_served_to_the_signalled_address_only(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp()
    procedure = replace(dial_in(), transport=Transport.TCP_BFCP, psk=None, psk_identity=None)
    configured = mrfp.configure(procedure)
    stranger = await come(local_of(configured), "127.0.0.66")
    await stranger.closed()
    user = await come(local_of(configured))
    await get_the_floor(user, 1)
    await user.close()
    await stranger.close()


PLAIN = {"transport": Transport.TCP_BFCP, "psk": None, "psk_identity": None}


async def test_plain_bfcp_is_refused_unless_the_operator_allows_it(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp(allow_unsecured=False)
    reservation = ReserveBfcpTermination(1, transport=Transport.TCP_BFCP, conference=dial_in().conference)
    for procedure in (replace(dial_in(), **PLAIN), reservation):  # type: ignore[arg-type] # fields of the class
        with pytest.raises(H248Error) as caught:
            mrfp.gateway.handle(procedure)
        assert caught.value.code == 515
    assert mrfp.left_over() == {}


async def test_ipv6(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp(hosts=("127.0.0.1", "::1"))
    procedure = replace(dial_in(remote=("::1", 9)), family=AddressFamily.IP6)
    configured = mrfp.configure(procedure)
    assert local_of(configured)[0] == "::1"
    user = await come(local_of(configured), "::1")
    await user.secure(TlsRole.CLIENT)
    await get_the_floor(user, 1)
    await user.close()


async def test_events_come_only_when_asked_for(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp()
    silent = EventRequest(tcp_failure=False, tls_failure=False, released=False)
    configured = mrfp.configure(replace(dial_in(), events=silent))
    user = await come(local_of(configured))
    await user.secure(TlsRole.CLIENT)
    await get_the_floor(user, 1)
    await user.close()
    await until(lambda: mrfp.gateway.status()["connections"] == 0)
    assert mrfp.indications == []
    mrfp.release(configured)
    events = EventRequest(tls_established=True, heartbeat=1, request_id=99)
    configured = mrfp.configure(replace(dial_in(), events=events))
    user = await come(local_of(configured))
    await user.secure(TlsRole.CLIENT)
    up = await mrfp.indication(TlsEstablished)
    beat = await mrfp.indication(TerminationHeartbeat)
    assert isinstance(up, TlsEstablished)
    assert isinstance(beat, TerminationHeartbeat)
    assert (up.request_id, beat.request_id) == (99, 99)
    await user.close()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"context": 77}, 411),
        ({"conference": None}, 472),
        ({"psk": None}, 472),
        ({"psk_identity": None}, 472),
        ({"psk": b"short"}, 449),
        ({"psk_identity": "a\0b"}, 449),
        ({"transport": Transport.TCP_BFCP}, 473),
        ({"remote": ("user.example", 9)}, 449),
        ({"remote": ("2001:db8::1", 9)}, 473),
        ({"remote": ("127.0.0.1", 0), "start_tcp": True}, 449),
        ({"family": AddressFamily.IP6, "remote": ("::1", 9)}, 531),
    ],
)
async def test_bad_requests_are_refused_and_leave_nothing(
    make_mrfp: MakeMrfp, change: dict[str, object], code: int
) -> None:
    mrfp = make_mrfp()
    with pytest.raises(H248Error) as caught:
        mrfp.gateway.handle(replace(dial_in(), **change))  # type: ignore[arg-type] # one field each
    assert caught.value.code == code
    assert mrfp.left_over() == {}


async def test_requests_for_unknown_or_unfit_terminations_are_refused(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp()
    configured = mrfp.configure(dial_in(1))
    context, termination = configured.context, configured.termination
    again = ConfigureReservedBfcpTermination(
        context, termination, ("127.0.0.1", 9), psk=KEY, psk_identity=IDENTITY
    )
    for procedure, code in (
        (again, 401),
        (replace(again, termination="bfcp/99"), 430),
        (ReleaseBfcpTermination(context, "bfcp/99"), 430),
        (ReleaseBfcpTermination(99), 411),
    ):
        with pytest.raises(H248Error) as caught:
            mrfp.gateway.handle(procedure)
        assert caught.value.code == code
    assert mrfp.gateway.status()["terminations"] == 1
    assert mrfp.gateway.handle(AuditHeartbeat()) == HeartbeatAnswered()


async def test_ports_run_out_and_come_back(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp()
    held = [mrfp.configure(dial_in(user)) for user in range(1, 9)]
    with pytest.raises(H248Error) as caught:
        mrfp.configure(dial_in(9))
    assert caught.value.code == 510
    mrfp.release(held[3])
    assert local_of(mrfp.configure(dial_in(9))) == local_of(held[3])
    mrfp.gateway.handle(ReleaseBfcpTermination(ALL_CONTEXTS, ALL))
    assert mrfp.left_over() == {}


async def test_a_port_that_another_program_has_is_passed_over(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp()
    first = mrfp.configure(dial_in(1))
    host, port = local_of(first)
    other = await asyncio.start_server(lambda *_: None, host, port + 1)
    assert local_of(mrfp.configure(dial_in(2))) == (host, port + 2)
    other.close()


async def test_without_the_mrfc_everything_is_released_after_a_grace_time(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp()
    user = await come(local_of(mrfp.configure(dial_in())))
    await user.secure(TlsRole.CLIENT)
    mrfp.gateway.association_lost(0.3)
    mrfp.gateway.association_restored()
    await asyncio.sleep(0.5)
    assert mrfp.gateway.status()["established"] == 1
    mrfp.gateway.association_lost(0.05)
    await user.closed()
    await user.close()
    assert mrfp.left_over() == {}


async def test_the_trace_tells_tcp_tls_and_bfcp_and_no_key(make_mrfp: MakeMrfp) -> None:
    mrfp = make_mrfp()
    configured = mrfp.configure(dial_in())
    user = await come(local_of(configured))
    await user.secure(TlsRole.CLIENT)
    await get_the_floor(user, 1)
    mrfp.release(configured)
    await user.close()
    media = [event for event in mrfp.trace.events if event.protocol != "Mp"]
    told = [(event.kind, event.protocol, event.name) for event in media]
    assert told[:4] == [
        ("received", "TCP", "TCP connect"),
        ("received", "TLS", "ClientHello"),
        ("sent", "TLS", "TLS established"),
        ("received", "BFCP", "FloorRequest"),
    ]
    assert ("sent", "BFCP", "FloorRequestStatus Granted") in told[4:]
    assert {event.correlation for event in mrfp.trace.events} == {"call-1"}
    assert KEY.hex() not in str(mrfp.trace.events)
