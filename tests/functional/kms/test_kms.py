"""A real KMS process, asked over real HTTP by the client that other elements use."""

import asyncio
import json
import os
import time

import aiohttp
import pytest
from kms_support import (
    ALICE,
    KMS,
    ROOM,
    Kms,
    client_of,
    refused,
    request,
    resolution,
    server_certificate,
    ticket_from,
    use,
)

from mrf_kms.client import KmsClient, KmsProtocolError, KmsUnavailable
from mrf_protocols.mikey import (
    SUITE_128,
    SUITE_256,
    ErrorNumber,
    Suite,
    TransferInitiator,
    TransferResponder,
    make_ticket,
    read_error,
)


@pytest.mark.parametrize("suite", [SUITE_128, SUITE_256])
async def test_request_transfer_resolve(kms: Kms, suite: Suite) -> None:
    async with client_of(kms) as client:
        await use(kms, client, await ticket_from(kms, client, suite))
    events = [json.loads(line) for line in (kms.folder / "trace.jsonl").read_text().splitlines()]
    assert [(event["kind"], event["peer"], event["name"]) for event in events] == [
        ("received", "UE-A", "REQUEST_INIT_PSK"),
        ("sent", "UE-A", "REQUEST_RESP"),
        ("received", "MRFC", "RESOLVE_INIT_PSK"),
        ("sent", "MRFC", "RESOLVE_RESP"),
    ]
    assert {event["correlation"] for event in events} == {"call-1"}
    assert "call-1" in kms.log()
    for key in kms.keys.values():
        assert key.hex() not in kms.log()
    assert kms.stop() == 0


async def test_ticket_made_by_its_user(kms: Kms) -> None:
    ticket = make_ticket(
        tpk=kms.keys["alice-psk"],
        tpk_id="alice-psk",
        initiator=ALICE,
        kms=KMS,
        responders=[ROOM],
        rand=os.urandom,
        now=time.time(),
        lifetime=60.0,
    )
    async with client_of(kms) as client:
        await use(kms, client, ticket)


async def test_wrong_keys_replays_and_old_tickets_are_refused(kms: Kms) -> None:
    async with client_of(kms) as client:
        forged = bytearray(request(kms).request())
        forged[-1] ^= 1
        await refused(ErrorNumber.AUTH_FAILURE, 403, lambda: client.ticket_request(bytes(forged), "c"))

        once = request(kms).request()
        assert await client.ticket_request(once, "c")
        await refused(ErrorNumber.INVALID_TS, 403, lambda: client.ticket_request(once, "c"))

        ticket = await ticket_from(kms, client)
        _, _, init = resolution(kms, ticket)
        assert await client.ticket_resolve(init, "c")
        kms.stop()
        kms.start()
    async with client_of(kms) as client:
        await refused(ErrorNumber.INVALID_TS, 403, lambda: client.ticket_resolve(init, "c"))


async def test_expired_ticket_is_refused(kms: Kms) -> None:
    kms.stop()
    kms.configure("clock_skew = 2.0")
    kms.start()
    async with client_of(kms) as client:
        exchange = request(kms, lifetime=1.0)
        ticket = exchange.response(await client.ticket_request(exchange.request(), "c"), time.time())
        assert ticket.expires is not None
        offer_time = ticket.expires - 0.1
        await asyncio.sleep(ticket.expires + 2.2 - time.time())
        offer = TransferInitiator(ticket, ALICE, ROOM, csb_id=1, rand=os.urandom, now=offer_time)
        responder = TransferResponder(offer.init(), offer_time)
        init = responder.resolve_init(
            psk=kms.keys["mrfc-psk"],
            psk_id="mrfc-psk",
            identity=ROOM,
            kms=KMS,
            rand=os.urandom,
            now=time.time(),
        )
        await refused(ErrorNumber.INVALID_TPPAR, 403, lambda: client.ticket_resolve(init, "c"))


async def test_rotation_keeps_old_tickets_good(kms: Kms) -> None:
    async with client_of(kms) as client:
        before = await ticket_from(kms, client)
        name = kms.run("ticket-key", "rotate")
        after = await ticket_from(kms, client)
        assert name.encode() in after.ticket.ticket_data
        assert name.encode() not in before.ticket.ticket_data
        await use(kms, client, before)
        await use(kms, client, after)
    lines = kms.run("ticket-key", "list").splitlines()
    assert [line.split("\t")[0] for line in lines] == ["kms-key-2", "kms-key-1"]
    assert "in use" in lines[0]


async def test_users_change_while_the_kms_serves(kms: Kms) -> None:
    async with client_of(kms) as client:
        assert await ticket_from(kms, client)
        kms.run("user", "remove", "alice-psk")
        await refused(ErrorNumber.AUTH_FAILURE, 403, lambda: ticket_from(kms, client))
        key = os.urandom(32)
        kms.run("user", "add", "alice-psk", "--identity", ALICE, "--psk-stdin", stdin=key.hex() + "\n")
        kms.keys["alice-psk"] = key
        assert await ticket_from(kms, client)
    users = kms.run("user", "list")
    assert users.splitlines() == [f"alice-psk\t{ALICE}", "mrfc-psk\tsip:*@conf.example"]
    assert key.hex() not in users


async def test_http_of_it(kms: Kms) -> None:
    url = f"{kms.url}/keymanagement"
    mikey = {"Content-Type": "application/mikey"}
    async with aiohttp.ClientSession() as session:

        async def post(query: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
            async with session.post(f"{url}{query}", data=body, headers=headers) as response:
                return response.status, await response.read()

        asked = "?requesttype=ticketrequest"
        assert (await post(asked, b"x", {"Content-Type": "text/plain"}))[0] == 415
        assert (await post(asked, bytes(20000), mikey))[0] == 413
        assert (await post(asked, b"noise", mikey))[0] == 400
        assert (await post("", b"x", mikey))[0] == 400
        status, body = await post(asked, request(kms).request()[:-1], mikey)
        assert (status, read_error(body)) == (400, ErrorNumber.UNSPECIFIED)
        async with session.get(f"{kms.url}/health") as response:
            assert await response.json() == {"status": "ok", "users": 2, "ticket_keys": 1}
        async with session.get(f"{kms.url}/metrics") as response:
            assert 'kms_requests_total{status="400",type="ticketrequest"} 2.0' in await response.text()


async def test_https(kms: Kms) -> None:
    kms.stop()
    server_certificate(kms.folder)
    kms.configure(extra_http='certificate = "kms.crt"\nprivate_key = "kms.key"')
    kms.start()
    assert kms.url.startswith("https://")
    async with client_of(kms, ca_file=kms.folder / "kms.crt") as client:
        await use(kms, client, await ticket_from(kms, client))
    async with client_of(kms) as client:
        with pytest.raises(KmsUnavailable):
            await client.ticket_request(request(kms).request(), "c")


async def test_client_and_a_kms_that_is_not_well() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\nx")
        if reply:
            writer.write(reply)
            await writer.drain()
            writer.close()
        else:
            await hang.wait()
            writer.close()

    hang = asyncio.Event()
    reply = b""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = KmsClient(f"http://127.0.0.1:{port}", timeout=2.0)
    with pytest.raises(KmsUnavailable, match="no answer within"):
        await client.ticket_request(b"x", "c")
    hang.set()
    reply = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(KmsUnavailable, match="503"):
        await client.ticket_request(b"x", "c")
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"
    with pytest.raises(KmsProtocolError, match="text/html"):
        await client.ticket_request(b"x", "c")
    reply = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(KmsProtocolError, match="302"):
        await client.ticket_request(b"x", "c\r\nInjected: 1")
    long = b"HTTP/1.1 200 OK\r\nContent-Type: application/mikey\r\nContent-Length: 70000\r\n\r\n"
    reply = long + bytes(70000)
    with pytest.raises(KmsProtocolError, match="too long"):
        await client.ticket_request(b"x", "c")
    reply = b"SSH-2.0-not http\r\n\r\n"
    with pytest.raises((KmsProtocolError, KmsUnavailable)):
        await client.ticket_request(b"x", "c")
    server.close()
    await server.wait_closed()
    with pytest.raises(KmsUnavailable):
        await client.ticket_request(b"x", "c")
    await client.close()
