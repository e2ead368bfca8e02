"""The client and several KMS instances: fail-over, the circuit breaker, and what is never sent twice."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from loopback_ports import free_ports
from mrf_kms.client import CONTENT_TYPE, KmsBusy, KmsClient, KmsRefused, KmsUnavailable
from mrf_protocols.mikey import ErrorNumber, error_message

MESSAGE = bytes.fromhex("010b0580112233440001") + bytes(20)
Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Instance:
    """A KMS instance that behaves as it is told; `seen` are the bodies it got."""

    seen: list[bytes] = field(default_factory=list)
    url: str = ""
    status: int = 200
    body: bytes = b"answer"
    silent: bool = False
    breaks_off: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(await request.read())
        if self.silent:
            await self.done.wait()
        if self.breaks_off and request.transport is not None:
            request.transport.abort()
        return web.Response(status=self.status, body=self.body, content_type=CONTENT_TYPE)


@asynccontextmanager
async def instances(count: int) -> AsyncIterator[list[Instance]]:
    found, runners = [Instance() for _ in range(count)], []
    for instance in found:
        app = web.Application()
        app.router.add_post("/keymanagement", instance.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        instance.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        runners.append(runner)
    try:
        yield found
    finally:
        for instance in found:
            instance.done.set()
        for runner in runners:
            await runner.cleanup()


@asynccontextmanager
async def client(*urls: str, timeout: float = 30.0) -> AsyncIterator[KmsClient]:
    client = KmsClient(urls, timeout=timeout)
    try:
        yield client
    finally:
        await client.close()


def closed_url() -> str:
    return f"http://127.0.0.1:{free_ports(1)[0]}"


async def test_the_first_that_can_be_reached_is_asked() -> None:
    async with instances(2) as (one, two), client(closed_url(), one.url, two.url) as kms:
        assert await kms.ticket_resolve(MESSAGE, "c") == b"answer"
        assert (len(one.seen), len(two.seen)) == (1, 0)


async def test_an_instance_that_says_it_cannot_serve_is_passed_over() -> None:
    async with instances(2) as (one, two), client(one.url, two.url) as kms:
        one.status = 503
        assert await kms.ticket_request(MESSAGE, "c") == b"answer"
        assert (one.seen, two.seen) == ([MESSAGE], [MESSAGE])
        one.status = 200
        assert await kms.ticket_request(MESSAGE, "c") == b"answer"
        assert len(two.seen) == 2, "who has just failed is asked last"


@pytest.mark.parametrize("fault", ["silent", "breaks_off", "status"])
async def test_what_may_have_been_answered_is_not_sent_again(fault: str) -> None:
    limit = 2.0 if fault == "silent" else 30.0
    async with instances(2) as (one, two), client(one.url, two.url, timeout=limit) as kms:
        setattr(one, fault, 500 if fault == "status" else True)
        with pytest.raises(KmsUnavailable) as caught:
            await kms.ticket_request(MESSAGE, "c")
        assert caught.value.ask_again
        assert (one.seen, two.seen) == ([MESSAGE], [])
        assert await kms.ticket_request(MESSAGE, "c") == b"answer"
        assert two.seen == [MESSAGE]


async def test_refusals_are_final() -> None:
    async with instances(2) as (one, two), client(one.url, two.url) as kms:
        one.status, one.body = 403, error_message(MESSAGE, ErrorNumber.INVALID_ID, 0.0)
        with pytest.raises(KmsRefused) as caught:
            await kms.ticket_request(MESSAGE, "c")
        assert (caught.value.number, two.seen) == (ErrorNumber.INVALID_ID, [])
        one.status = 429
        for _ in range(10):
            with pytest.raises(KmsBusy):
                await kms.ticket_request(MESSAGE, "c")
        assert two.seen == []
        assert kms.in_service == {f"{instance.url}/keymanagement": True for instance in (one, two)}


async def test_a_replay_told_by_the_second_is_no_refusal() -> None:
    """The first wrote the message down and then said 503: nobody refused anything."""
    async with instances(2) as (one, two), client(one.url, two.url) as kms:
        one.status = 503
        two.status, two.body = 403, error_message(MESSAGE, ErrorNumber.INVALID_TS, 0.0)
        with pytest.raises(KmsUnavailable, match="had answered"):
            await kms.ticket_request(MESSAGE, "c")


async def test_a_server_out_of_service_is_left_alone_and_found_again() -> None:
    async with instances(1) as (one,), client(one.url) as kms:
        one.status = 500
        for _ in range(10):
            with pytest.raises(KmsUnavailable):
                await kms.ticket_request(MESSAGE, "c")
        assert not kms.in_service[f"{one.url}/keymanagement"]
        one.status = 200
        with pytest.raises(KmsUnavailable, match="no KMS is in service"):
            await kms.ticket_request(MESSAGE, "c")
        assert len(one.seen) == 10
        await asyncio.sleep(1.05)
        assert await kms.ticket_request(MESSAGE, "c") == b"answer"
        assert kms.in_service[f"{one.url}/keymanagement"]


async def test_the_deadline_is_for_the_whole_call() -> None:
    # Two that do not even accept: their backlogs are full, so connecting hangs.
    full = [socket.create_server(("127.0.0.1", 0), backlog=0) for _ in range(2)]
    callers = [socket.socket() for _ in range(8)]
    for number, caller in enumerate(callers):
        caller.setblocking(False)
        caller.connect_ex(full[number % 2].getsockname())
    urls = [f"http://127.0.0.1:{server.getsockname()[1]}" for server in full]
    loop = asyncio.get_running_loop()
    async with instances(1) as (one,), client(*urls, one.url, timeout=3.0) as kms:
        began = loop.time()
        assert await kms.ticket_request(MESSAGE, "c") == b"answer", "not sent, so the next one is asked"
        assert loop.time() - began > 1.9, "two of three shares of the time went to those before it"
        one.silent = True
        with pytest.raises(KmsUnavailable):
            async with asyncio.timeout(30):
                await kms.ticket_request(MESSAGE, "c")
    for one_socket in (*full, *callers):
        one_socket.close()


async def test_a_connection_that_ended_while_it_rested() -> None:
    """The one case of sending again: on a kept-alive connection nothing came back at all."""
    answers = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"POST" in head
        await reader.readexactly(len(MESSAGE))
        answers += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/mikey\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        await reader.read(1)  # the next request on this connection gets no answer
        writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as kms:
        assert await kms.ticket_request(MESSAGE, "c") == b"ok"
        assert await kms.ticket_request(MESSAGE, "c") == b"ok"
        assert answers == 2
    server.close()


async def test_a_call_given_up_leaves_the_breaker_usable() -> None:
    async with instances(1) as (one,), client(one.url, timeout=5.0) as kms:
        one.silent = True
        task = asyncio.create_task(kms.ticket_request(MESSAGE, "c"))
        while not one.seen:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        one.silent = False
        assert await kms.ticket_request(MESSAGE, "c") == b"answer"


async def test_a_client_needs_a_url() -> None:
    with pytest.raises(ValueError, match="URL"):
        KmsClient([])
