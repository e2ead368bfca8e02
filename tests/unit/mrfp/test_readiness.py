"""Readiness of sockets behind one descriptor."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from mrfp_agent.readiness import READ, WRITE, Readiness


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


async def turns(count: int = 3) -> None:
    """Let the event loop look at its descriptors."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_calls_back_as_long_as_something_can_be_read(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    readiness, seen = Readiness(asyncio.get_running_loop()), list[int]()
    readiness.watch(ours.fileno(), READ, seen.append)
    await turns()
    assert seen == []
    theirs.send(b"x")
    await turns()
    assert len(seen) > 1
    assert set(seen) == {READ}
    ours.recv(1)
    seen.clear()
    await turns()
    assert seen == []
    readiness.close()


async def test_watches_for_what_was_said_last(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    readiness, seen = Readiness(asyncio.get_running_loop()), list[int]()
    theirs.send(b"x")
    readiness.watch(ours.fileno(), READ | WRITE, seen.append)
    await turns()
    assert set(seen) == {READ | WRITE}
    seen.clear()
    readiness.watch(ours.fileno(), WRITE, seen.append)
    await turns()
    assert set(seen) == {WRITE}
    seen.clear()
    readiness.watch(ours.fileno(), 0, seen.append)
    await turns()
    assert seen == []
    readiness.close()


async def test_who_was_closed_by_another_is_not_called(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    readiness, called = Readiness(asyncio.get_running_loop()), list[socket.socket]()

    def close_the_other(this: socket.socket, other: socket.socket) -> None:
        called.append(this)
        for each in (this, other):
            readiness.forget(each.fileno())
        other.close()

    ours.send(b"x")
    theirs.send(b"x")
    readiness.watch(ours.fileno(), READ, lambda events: close_the_other(ours, theirs))
    readiness.watch(theirs.fileno(), READ, lambda events: close_the_other(theirs, ours))
    await turns()
    assert len(called) == 1
    readiness.close()


async def test_a_number_that_comes_back_is_the_new_socket() -> None:
    readiness, seen = Readiness(asyncio.get_running_loop()), list[str]()
    first, peer = socket.socketpair()
    number = first.fileno()
    readiness.watch(number, READ, lambda events: seen.append("first"))
    readiness.forget(number)
    first.close()
    second, other = socket.socketpair()
    assert number in (second.fileno(), other.fileno())
    readiness.watch(number, READ, lambda events: seen.append("second"))
    (other if second.fileno() == number else second).send(b"x")
    await turns()
    assert set(seen) == {"second"}
    readiness.close()
    for each in (peer, second, other):
        each.close()


async def test_nobody_is_called_after_the_end(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    readiness, seen = Readiness(asyncio.get_running_loop()), list[int]()
    readiness.watch(ours.fileno(), READ, seen.append)
    theirs.send(b"x")
    readiness.close()
    readiness.close()
    await turns()
    assert seen == []


async def test_a_fault_at_one_socket_costs_no_other_its_turn(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    loop, told, seen = asyncio.get_running_loop(), list[object](), list[int]()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    fault = RuntimeError("a defect")

    def faulty(events: int) -> None:
        raise fault

    readiness = Readiness(loop)
    others = [socket.socketpair() for _ in range(2)]
    for ours, theirs in (others[0], pair, others[1]):  # the faulty one between two
        theirs.send(b"x")
        readiness.watch(ours.fileno(), READ, faulty if ours is pair[0] else seen.append)
    readiness._serve()
    assert (seen, told) == ([READ, READ], [fault])
    readiness.close()
    for each in (*others[0], *others[1]):
        each.close()
