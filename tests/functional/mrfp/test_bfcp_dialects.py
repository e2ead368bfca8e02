"""Clients as they are: other ways to cut the stream, wrong lengths, every attribute mandatory, answers never read."""

from __future__ import annotations

import asyncio
import socket

from floor_support import EVENTS, Participant, meeting
from mrfp_support import CONFERENCE, SECONDS, LocalMrfp, until

from mrf_protocols.bfcp import FloorId, FloorRequestId, Primitive, PriorityAttribute, encode
from mrf_protocols.bfcp.numbers import Priority
from mrf_protocols.h248 import mp
from mrfp_agent.termination_values import TerminationTimers


async def test_two_messages_in_one_segment() -> None:
    async with meeting(users=1) as room:
        [alice] = room.participants
        two = [alice.message(Primitive.HELLO), alice.message(Primitive.FLOOR_REQUEST, FloorId(1))]
        alice.user.send_octets(b"".join(map(encode, two)))
        await alice.hears("HelloAck", "FloorRequestStatus Granted")


async def test_one_message_in_twelve_segments() -> None:
    async with meeting(users=1) as room:
        [alice] = room.participants
        request = alice.message(Primitive.FLOOR_REQUEST, FloorId(1), PriorityAttribute(Priority.HIGH))
        octets = encode(request)
        size = -(-len(octets) // 12)
        pieces = [octets[start : start + size] for start in range(0, len(octets), size)]
        pieces += [b""] * (12 - len(pieces))
        for piece in pieces:
            if piece:
                alice.user.send_octets(piece)  # a TLS record each
                await alice.user.writer.drain()
                await asyncio.sleep(0.005)
        await alice.hears("FloorRequestStatus Granted")
        assert len([piece for piece in pieces if piece]) >= 10


async def test_every_attribute_marked_mandatory() -> None:
    async with meeting(users=1) as room:
        [alice] = room.participants
        octets = bytearray(encode(alice.message(Primitive.FLOOR_REQUEST, FloorId(1))))
        octets[12] |= 1
        alice.user.send_octets(bytes(octets))
        [granted] = await alice.hears("FloorRequestStatus Granted")
        release = bytearray(
            encode(alice.message(Primitive.FLOOR_RELEASE, FloorRequestId(granted.floor_request_id or 0)))
        )
        release[12] |= 1
        alice.user.send_octets(bytes(release))
        await alice.hears("FloorRequestStatus Released")


async def test_a_length_in_octets_instead_of_words() -> None:
    """The server waits for four times as much as will come; in time it gives up on this user, not on others."""
    async with meeting(users=2, timers=TerminationTimers(message=1.5)) as room:
        alice, bob = room.participants
        octets = bytearray(encode(alice.message(Primitive.FLOOR_REQUEST, FloorId(1))))
        octets[3] *= 4
        alice.user.send_octets(bytes(octets))
        await alice.user.closed()
        released = await room.mrfp.indication(mp.BearerReleased)
        assert released.reason == "unfinished-message-timeout"
        bob.say(Primitive.FLOOR_REQUEST, FloorId(1))
        await bob.hears("FloorRequestStatus Granted")


async def test_transaction_ids_wrap() -> None:
    async with meeting(users=1) as room:
        [alice] = room.participants
        alice.transaction = 0xFFFE
        for transaction in (0xFFFF, 1, 2):
            alice.say(Primitive.HELLO)
            [answer] = await alice.hears("HelloAck")
            assert answer.transaction_id == transaction


async def test_request_ids_wrap_end_to_end() -> None:
    async with meeting(users=1) as room:
        [alice] = room.participants
        context = room.mrfp.gateway._contexts[room.context]
        context._server._conference._last_request_id = 0xFFFD
        for expected in (0xFFFE, 0xFFFF, 1):
            alice.say(Primitive.FLOOR_REQUEST, FloorId(1))
            [granted] = await alice.hears("FloorRequestStatus Granted")
            assert granted.floor_request_id == expected
            alice.say(Primitive.FLOOR_RELEASE, FloorRequestId(expected))
            await alice.hears("FloorRequestStatus Released")


async def deaf_subscriber(mrfp: LocalMrfp, context: int, user_id: int) -> socket.socket:
    """A user on plain TCP with the smallest receive buffer, who subscribes and reads nothing after that."""
    place = mrfp.configure(
        mp.ConfigureBfcpTermination(
            ("127.0.0.1", 9), user_id, context, transport=mp.Transport.TCP_BFCP, events=EVENTS
        )
    )
    assert place.local is not None
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    deaf.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(deaf, place.local)
    query = Participant.message(
        Participant(None, user_id, place, None),  # type: ignore[arg-type] # it only writes
        Primitive.FLOOR_QUERY,
        FloorId(1),
    )
    await loop.sock_sendall(deaf, encode(query))
    await loop.sock_recv(deaf, 64)
    return deaf


async def test_a_subscriber_who_does_not_read_is_dropped_and_nobody_waits_for_it() -> None:
    async with meeting(users=1, send_limit=4096) as room:
        [alice] = room.participants
        deaf = await deaf_subscriber(room.mrfp, room.context, 2)
        dropped: list[mp.NotifyIndication] = []

        def is_dropped() -> bool:
            dropped[:] = [each for each in room.mrfp.indications if isinstance(each, mp.BearerReleased)]
            return bool(dropped)

        async with asyncio.timeout(6 * SECONDS):
            while not is_dropped():
                for _ in range(200):
                    alice.say(Primitive.FLOOR_REQUEST, FloorId(1))
                    [granted] = await alice.hears("FloorRequestStatus Granted")
                    alice.say(Primitive.FLOOR_RELEASE, FloorRequestId(granted.floor_request_id or 0))
                    await alice.hears("FloorRequestStatus Released")
        assert dropped[0].reason == "peer-does-not-read"
        deaf.close()
        alice.say(Primitive.HELLO)
        await alice.hears("HelloAck")
        await until(lambda: room.mrfp.gateway.status()["connections"] == 1)
        assert CONFERENCE.conference_id == 4321
