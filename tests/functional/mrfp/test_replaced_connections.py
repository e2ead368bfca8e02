"""A user's connection is replaced: a second termination with the same User ID, and what each of the two may do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from mrfp_support import (
    CONFERENCE,
    IDENTITY,
    KEY,
    QUICK,
    LocalMrfp,
    User,
    come,
    floor_release,
    floor_request,
    until,
)

from mrf_protocols.bfcp import FloorId, FloorRequestInformation, Message, Primitive
from mrf_protocols.h248.errors import H248Error
from mrf_protocols.h248.mp import (
    BearerReleased,
    ConfigureBfcpTermination,
    DesignateFloorChair,
    EventRequest,
    TerminationConfigured,
    TlsEstablished,
    TlsEstablishmentFailed,
)
from mrf_protocols.tls_psk import TlsPolicy, TlsPskError, TlsRole

EVENTS = EventRequest(
    tcp_failure=True, tls_failure=True, released=True, tls_established=True, floor_decisions=True
)
FIRST = ConfigureBfcpTermination(
    ("127.0.0.1", 9), 1, conference=CONFERENCE, psk=KEY, psk_identity=IDENTITY, events=EVENTS
)
NEW_KEY = bytes(reversed(KEY))
NEW_IDENTITY = "99aabbcc.1"
GRANTED = "FloorRequestStatus Granted"


@pytest.fixture
async def mrfp() -> AsyncIterator[LocalMrfp]:
    """A gateway; after the test all is released and nothing may be left."""
    made = LocalMrfp(timers=QUICK)
    yield made
    made.gateway.release_everything()
    assert made.left_over() == {}


def successor(first: TerminationConfigured) -> ConfigureBfcpTermination:
    return replace(FIRST, context=first.context, conference=None, psk=NEW_KEY, psk_identity=NEW_IDENTITY)


def local_of(configured: TerminationConfigured) -> tuple[str, int]:
    assert configured.local is not None
    return configured.local


async def secured(configured: TerminationConfigured, key: bytes = KEY, identity: str = IDENTITY) -> User:
    user = await come(local_of(configured))
    await user.secure(TlsRole.CLIENT, key=key, identity=identity)
    return user


async def until_named(user: User, name: str) -> Message:
    """What comes until a message of this name, which is given."""
    while (message := await user.receive()).name != name:
        pass
    return message


def query(transaction: int) -> Message:
    return Message(Primitive.FLOOR_QUERY, 4321, transaction, 1, (FloorId(1),))


@pytest.mark.parametrize(
    "policy",
    [TlsPolicy(tls13=False), TlsPolicy(ecdhe_psk=False, plain_psk=False)],
    ids=["TLS 1.2", "TLS 1.3"],
)
async def test_floor_and_subscriptions_move_to_the_new_connection(policy: TlsPolicy) -> None:
    mrfp = LocalMrfp(policy=policy)
    first = mrfp.configure(FIRST)
    old = await secured(first)
    old.send(floor_request(1))
    held = (await until_named(old, GRANTED)).floor_request_id
    old.send(floor_request(1, transaction=2, floor=2))
    await until_named(old, GRANTED)
    old.send(query(3))
    await until_named(old, "FloorStatus")

    second = mrfp.configure(successor(first))
    old.send(query(4))  # it serves until the new one is secured
    assert (await until_named(old, "FloorStatus")).transaction_id == 4
    new = await secured(second, NEW_KEY, NEW_IDENTITY)
    told = [await new.receive() for _ in range(3)]
    assert [message.name for message in told] == [GRANTED, GRANTED, "FloorStatus"]
    assert {message.transaction_id for message in told} == {0}
    established = [each for each in mrfp.indications if isinstance(each, TlsEstablished)]
    assert [each.termination for each in established] == [first.termination, second.termination]

    mrfp.release(first)
    await old.closed()
    assert mrfp.gateway.status()["terminations"] == 1
    assert held is not None
    new.send(floor_release(1, held, transaction=5))
    assert (await new.receive()).name == "FloorRequestStatus Released"
    assert (await new.receive()).name == "FloorStatus"
    mrfp.release(second)
    assert mrfp.left_over() == {}


async def test_the_end_of_the_old_connection_touches_nothing(mrfp: LocalMrfp) -> None:
    first = mrfp.configure(FIRST)
    old = await secured(first)
    old.send(floor_request(1))
    request = (await until_named(old, GRANTED)).floor_request_id
    new = await secured(mrfp.configure(successor(first)), NEW_KEY, NEW_IDENTITY)
    await until_named(new, GRANTED)
    await old.close()
    assert (await mrfp.indication(BearerReleased)).termination == first.termination
    assert request is not None
    new.send(Message(Primitive.FLOOR_QUERY, 4321, 6, 1, (FloorId(1),)))
    status = await until_named(new, "FloorStatus")
    assert [each.floor_request_id for each in status.all(FloorRequestInformation)] == [request]


async def test_what_is_still_asked_on_the_old_connection_is_answered_there(mrfp: LocalMrfp) -> None:
    first = mrfp.configure(FIRST)
    old = await secured(first)
    new = await secured(mrfp.configure(successor(first)), NEW_KEY, NEW_IDENTITY)
    await until_count(mrfp, 2)
    old.send(floor_request(1, transaction=9))
    assert (await old.receive()).transaction_id == 9
    new.send(query(10))
    assert (await until_named(new, "FloorStatus")).transaction_id == 10


async def until_count(mrfp: LocalMrfp, count: int) -> None:
    await until(lambda: sum(isinstance(each, TlsEstablished) for each in mrfp.indications) == count)


async def test_the_key_of_one_termination_opens_no_other(mrfp: LocalMrfp) -> None:
    first = mrfp.configure(FIRST)
    old = await secured(first)
    second = mrfp.configure(successor(first))
    with pytest.raises((TlsPskError, EOFError)):
        await secured(second, KEY, IDENTITY)
    failed = await mrfp.indication(TlsEstablishmentFailed)
    assert failed.termination == second.termination
    old.send(floor_request(1))  # and the old connection has not noticed
    assert (await until_named(old, GRANTED)).transaction_id in {0, 1}
    mrfp.release(second)
    old.send(query(2))
    assert (await until_named(old, "FloorStatus")).transaction_id == 2


async def test_a_user_whose_connection_was_lost_finds_his_requests_on_another_termination(
    mrfp: LocalMrfp,
) -> None:
    first = mrfp.configure(FIRST)
    old = await secured(first)
    old.send(floor_request(1))
    request = (await until_named(old, GRANTED)).floor_request_id
    old.writer.transport.abort()
    await mrfp.indication(BearerReleased)
    second = mrfp.configure(successor(first))
    mrfp.release(first)  # not the last termination of the user
    new = await secured(second, NEW_KEY, NEW_IDENTITY)
    assert (await until_named(new, GRANTED)).floor_request_id == request


async def test_the_chair_stays_the_chair(mrfp: LocalMrfp) -> None:
    first = mrfp.configure(FIRST)
    await secured(first)
    mrfp.gateway.handle(DesignateFloorChair(first.context, first.termination, (1,)))
    second = mrfp.configure(successor(first))
    new = await secured(second, NEW_KEY, NEW_IDENTITY)
    mrfp.release(first)
    other = mrfp.configure(replace(successor(first), user_id=2))
    with pytest.raises(H248Error, match="chair"):
        mrfp.gateway.handle(DesignateFloorChair(first.context, other.termination, (1,)))
    await new.close()


async def test_the_new_termination_may_go_before_it_is_secured(mrfp: LocalMrfp) -> None:
    first = mrfp.configure(FIRST)
    old = await secured(first)
    old.send(floor_request(1))
    await until_named(old, GRANTED)
    mrfp.release(mrfp.configure(successor(first)))
    again = mrfp.configure(successor(first))
    mrfp.release(mrfp.configure(successor(first)))
    new = await secured(again, NEW_KEY, NEW_IDENTITY)
    await until_named(new, GRANTED)
