"""The KMS in operation: floods, faults of its store, certificates, GBA, a graceful stop, what the audit log tells."""

import asyncio
import base64
import os
import re
import resource
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from certificates import Certified, certify
from kernel_tables import connections
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

from mrf_kms.client import KmsBusy, KmsClient, KmsUnavailable
from mrf_kms.config import load
from mrf_kms.server import KmsServer
from mrf_protocols.mikey import (
    CertifiedAccount,
    EnvelopeKey,
    ErrorNumber,
    Signer,
    TicketRequestExchange,
    TransferInitiator,
    TransferResponder,
    make_ticket,
)

CONTENT = {"Content-Type": "application/mikey"}


async def metrics(kms: Kms) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{kms.url}/metrics") as response:
        return await response.text()


def sample(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found[1])


# --- floods


async def test_ten_thousand_requests_at_once_from_one_user(kms: Kms) -> None:
    """One user floods; the KMS stays up, answers others, and keeps its size."""
    kms.stop()
    kms.configure(tables="[limits]\nuser_rate = 20\nuser_burst = 50\n")
    kms.start()
    assert kms.process is not None
    bodies = [request(kms).request() for _ in range(500)]
    statuses: Counter[int] = Counter()
    connector = aiohttp.TCPConnector(limit=400)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        client_of(kms, timeout=60.0) as other,
    ):

        async def post(number: int) -> None:
            body = bodies[number % len(bodies)]
            parameters = {"requesttype": "ticketrequest"}
            url = f"{kms.url}/keymanagement"
            async with session.post(url, data=body, params=parameters, headers=CONTENT) as response:
                await response.read()
                statuses[response.status] += 1

        before = _memory(kms.process.pid)
        flood = asyncio.gather(*(post(number) for number in range(10_000)))
        ticket = make_ticket(
            tpk=kms.keys["alice-psk"],
            tpk_id="alice-psk",
            initiator=ALICE,
            kms=KMS,
            responders=[ROOM],
            rand=os.urandom,
            now=time.time(),
        )
        others, began = 0, time.monotonic()
        while not flood.done():
            _, _, init = resolution(kms, ticket)
            assert await other.ticket_resolve(init, "c")
            others += 1
            await asyncio.sleep(0.1)
        await flood
        took = time.monotonic() - began
    assert sum(statuses.values()) == 10_000
    assert set(statuses) <= {200, 403, 429, 503}
    assert 50 <= statuses[200] <= 50 + 20 * (took + 1)
    assert statuses[429] > 0
    assert others
    assert _memory(kms.process.pid) - before < 60_000_000
    shown = await metrics(kms)
    assert sample(shown, "kms_rate_limited_total") == statuses[429]
    assert len(kms.run("audit", "list", "--limit", "20000").splitlines()) < 2_000
    async with client_of(kms) as client:
        outcomes = await asyncio.gather(
            *(client.ticket_request(request(kms).request(), "c") for _ in range(60)), return_exceptions=True
        )
    assert any(isinstance(outcome, KmsBusy) for outcome in outcomes)


def _memory(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def test_a_flood_of_strangers_fills_nothing(kms: Kms) -> None:
    kms.stop()
    kms.configure(tables="[audit]\nrefusal_rate = 5\nrefusal_burst = 10\n")
    kms.start()
    kms.keys["alice-psk"] = bytes(32)
    async with client_of(kms) as client:
        for _ in range(200):
            await refused(ErrorNumber.AUTH_FAILURE, 403, lambda: ticket_from(kms, client))
    assert len(kms.run("audit", "list").splitlines()) <= 10 + 5 * 5
    assert sample(await metrics(kms), 'kms_refused_total{reason="auth_failure",type="ticketrequest"}') == 200


HEAD = (
    b"POST /keymanagement?requesttype=ticketrequest HTTP/1.1\r\nHost: kms\r\n"
    b"Content-Type: application/mikey\r\nContent-Length: 500\r\n\r\n"
)


async def test_who_sends_nothing_keeps_nobody_out(kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose body does not come is not under way, and is ended after a while."""
    kms.stop()
    kms.configure(extra_http="pending_limit = 1")
    server = KmsServer(load(kms.folder / "kms.toml"))
    kms.url = (await server.start()).removesuffix("/keymanagement")
    host, _, port = kms.url.removeprefix("http://").partition(":")
    try:
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        for _, writer in silent:
            writer.write(HEAD + b"half of it")
            await writer.drain()
        async with client_of(kms) as client:
            await use(kms, client, await ticket_from(kms, client))
        monkeypatch.setattr("mrf_kms.server.SENDING", 0.1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(HEAD)
        async with asyncio.timeout(30.0):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
            await reader.read()  # to its end: the connection is closed
        for _, one in (*silent, (reader, writer)):
            one.close()
    finally:
        await server.stop()


# --- a store that is locked or gone


async def test_a_store_that_is_locked(kms: Kms) -> None:
    other = sqlite3.connect(kms.folder / "kms.sqlite", isolation_level=None)
    async with client_of(kms) as client:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(KmsUnavailable, match="503"):
            await ticket_from(kms, client)
        other.execute("ROLLBACK")
        assert await ticket_from(kms, client)
    other.close()
    assert "locked" in kms.log()
    assert sample(await metrics(kms), "kms_store_failures_total") == 1


async def test_a_store_that_is_gone_and_back(kms: Kms) -> None:
    store, hidden = kms.folder / "kms.sqlite", kms.folder / "hidden"
    async with client_of(kms) as client:
        assert await ticket_from(kms, client)
        store.rename(hidden)
        with pytest.raises(KmsUnavailable, match="503"):
            await ticket_from(kms, client)
        async with aiohttp.ClientSession() as session, session.get(f"{kms.url}/health") as response:
            assert response.status == 503
            assert (await response.json())["status"] == "failing"
        assert not store.exists()
        hidden.rename(store)
        assert await ticket_from(kms, client)
    assert kms.stop() == 0


async def test_requests_under_way_are_answered_when_it_stops(kms: Kms) -> None:
    """Ten requests that wait for the store at SIGTERM."""
    assert kms.process is not None
    other = sqlite3.connect(kms.folder / "kms.sqlite", isolation_level=None)
    async with client_of(kms) as client:
        other.execute("BEGIN EXCLUSIVE")
        waiting = asyncio.gather(*(ticket_from(kms, client) for _ in range(10)))
        async with asyncio.timeout(30):
            while connections(int(kms.url.rpartition(":")[2])) < 10:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)  # nothing tells when the requests on them wait for the store
        kms.process.terminate()
        await asyncio.sleep(0.3)
        assert kms.process.poll() is None
        other.execute("ROLLBACK")
        assert len(await waiting) == 10
    other.close()
    assert await asyncio.to_thread(kms.process.wait, 30) == 0
    assert kms.run("audit", "list").count("granted") == 10


async def test_a_request_that_comes_just_then_is_answered_when_it_stops(kms: Kms) -> None:
    """It waits to be accepted, or to be read, when SIGTERM comes: the KMS stands still meanwhile."""
    assert kms.process is not None
    host, port = kms.url.removeprefix("http://").split(":")

    def post() -> bytes:
        body = request(kms).request()
        head = f"POST /keymanagement?requesttype=ticketrequest HTTP/1.1\r\nHost: {host}\r\n"
        return f"{head}Content-Type: application/mikey\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            assert length
            await reader.readexactly(int(length[1]))
            return head.partition(b"\r\n")[0], head

    kept, to_kept = await asyncio.open_connection(host, int(port))
    to_kept.write(post())
    assert (await answer(kept))[0] == b"HTTP/1.1 200 OK"
    kms.process.send_signal(signal.SIGSTOP)
    new, to_new = await asyncio.open_connection(host, int(port))
    for writer in (to_kept, to_new):
        writer.write(post())
        await writer.drain()
    kms.process.terminate()
    kms.process.send_signal(signal.SIGCONT)
    for reader in (kept, new):
        line, head = await answer(reader)
        assert line == b"HTTP/1.1 200 OK"
        assert b"connection: close" in head.lower()
        assert await reader.read() == b""
    assert await asyncio.to_thread(kms.process.wait, 30) == 0
    for writer in (to_kept, to_new):
        writer.close()


async def test_a_disk_that_fills_up_while_it_runs(kms: Kms) -> None:
    """What the KMS writes beyond the first 16 KiB of a file fails, as on a disk without room; then there is room."""
    assert kms.process is not None
    pid, before = kms.process.pid, resource.prlimit(kms.process.pid, resource.RLIMIT_FSIZE)
    async with client_of(kms) as client:
        while (kms.folder / "kms.sqlite-wal").stat().st_size < 40_000:
            assert await ticket_from(kms, client)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (16384, before[1]))
        for _ in range(5):
            with pytest.raises(KmsUnavailable, match="503"):
                await ticket_from(kms, client)
        assert kms.process.poll() is None
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        ticket = await ticket_from(kms, client)
        await use(kms, client, ticket)
    troubles = [line for line in kms.log().splitlines() if " ERROR " in line]
    assert 1 <= len(troubles) <= 7, "one line for each, and one of the keeper at most"
    assert all("cannot be" in line for line in troubles)
    assert "Traceback" not in kms.log()
    assert sample(await metrics(kms), "kms_store_failures_total") >= 5
    assert kms.stop() == 0
    assert "granted" in kms.run("audit", "list")


# --- keys: by time, at rest, in words


async def test_ticket_keys_are_rotated_by_time(kms: Kms) -> None:
    kms.stop()
    kms.configure(tables="[ticket_keys]\nrotate_after = 0.8\n")
    kms.start()
    async with client_of(kms) as client:
        before = await ticket_from(kms, client)
        first = re.findall(rb"kms-key-\d+", before.ticket.ticket_data)
        after = before
        async with asyncio.timeout(30):
            while re.findall(rb"kms-key-\d+", after.ticket.ticket_data) == first:
                await asyncio.sleep(0.1)
                after = await ticket_from(kms, client)
        await use(kms, client, before)
        await use(kms, client, after)
    assert len(kms.run("ticket-key", "list").splitlines()) >= 2


async def test_no_key_in_store_log_trace_audit_or_metrics(kms: Kms) -> None:
    kms.stop()
    master = os.urandom(32)
    (kms.folder / "master.key").write_text(master.hex())
    (kms.folder / "master.key").chmod(0o600)
    kms.run("master-key", "change", "--new-file", str(kms.folder / "master.key"))
    kms.configure(
        store='file = "kms.sqlite"\nmaster_key_file = "master.key"', tables='[log]\nlevel = "debug"\n'
    )
    kms.start()
    secrets = [master, *kms.keys.values()]
    async with client_of(kms) as client:
        ticket = await ticket_from(kms, client)
        await use(kms, client, ticket)
        secrets += [ticket.keys.mpki, ticket.keys.mpkr, *(key.key for key in ticket.keys.session)]
        good = request(kms).request()
        for at in range(0, len(good), 5):
            with pytest.raises(Exception, match="refused"):
                await client.ticket_request(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], "c")
        _, _, init = resolution(kms, ticket)
        for at in range(0, len(init), 5):
            with pytest.raises(Exception, match="refused"):
                await client.ticket_resolve(init[:at] + bytes([init[at] ^ 1]) + init[at + 1 :], "c")
    written = [
        kms.log(),
        await metrics(kms),
        kms.run("audit", "list"),
        (kms.folder / "trace.jsonl").read_text(),
    ]
    kms.stop()
    for secret in secrets:
        for text in written:
            assert secret.hex() not in text.lower()
            assert base64.b64encode(secret).decode().rstrip("=") not in text
            assert repr(secret)[2:-1] not in text
        for file in kms.folder.glob("kms.sqlite*"):
            assert secret not in file.read_bytes()
    assert "alice-psk" in written[2]


# --- certificates


def put(folder: Path, name: str, certified: Certified) -> None:
    (folder / f"{name}.crt").write_bytes(certified.pem)
    (folder / f"{name}.key").write_bytes(certified.key_pem)


@pytest.fixture
def certified(kms: Kms) -> tuple[Kms, Certified, Certified]:
    """A KMS with an RSA certificate that trusts an authority; the authority; the KMS's certificate."""
    now = time.time()
    authority = certify("authority", 0, authority=True, now=now)
    own = certify("kms", 3, now=now)
    put(kms.folder, "kms-rsa", own)
    put(kms.folder, "authority", authority)
    kms.stop()
    kms.configure(
        tables='[public_key]\ncertificate = "kms-rsa.crt"\nprivate_key = "kms-rsa.key"\ntrusted = "authority.crt"\n'
    )
    kms.start()
    return kms, authority, own


async def test_users_with_certificates(certified: tuple[Kms, Certified, Certified]) -> None:
    kms, authority, own = certified
    now = time.time()
    carol, room = "sip:carol@home.example", "sip:room9@conf.example"
    carol_cert = certify("carol", 1, uris=(carol,), issuer=authority, now=now)
    room_cert = certify("room9", 2, now=now)  # registered, not of the authority
    put(kms.folder, "room9", room_cert)
    kms.run("user", "add", "room9", "--identity", room, "--certificate", str(kms.folder / "room9.crt"))
    envelope = EnvelopeKey(own.der)
    carols = CertifiedAccount(Signer(carol_cert.key, (carol_cert.der,)), envelope)
    rooms = CertifiedAccount(Signer(room_cert.key, (room_cert.der,), send_chain=False), envelope)
    async with client_of(kms) as client:

        async def ask() -> TransferInitiator:
            exchange = TicketRequestExchange(
                account=carols,
                initiator=carol,
                kms=KMS,
                responders=[room],
                csb_id=1,
                rand=os.urandom,
                now=time.time(),
            )
            body = exchange.request()
            ticket = exchange.response(await client.ticket_request(body, "c"), time.time())
            await refused(ErrorNumber.INVALID_TS, 403, lambda: client.ticket_request(body, "c"))
            return TransferInitiator(ticket, carol, room, csb_id=2, rand=os.urandom, now=time.time())

        offer = await ask()
        responder = TransferResponder(offer.init(), time.time())
        init = responder.resolve_init(account=rooms, identity=room, kms=KMS, rand=os.urandom, now=time.time())
        responder.resolved(await client.ticket_resolve(init, "c"), time.time())
        answer = responder.respond(os.urandom, time.time())
        assert offer.response(answer.message, time.time()).tek == answer.tek
        kms.run("certificate", "revoke", "--file", str(kms.folder / "room9.crt"))
        init = responder.resolve_init(account=rooms, identity=room, kms=KMS, rand=os.urandom, now=time.time())
        await refused(ErrorNumber.INVALID_CERT, 403, lambda: client.ticket_resolve(init, "c"))
        kms.run("certificate", "restore", "--file", str(kms.folder / "room9.crt"))
        serial = re.search(r"certificate ([0-9a-f]+) of sip:carol", kms.run("audit", "list"))
        assert serial
        kms.run("certificate", "revoke", "--serial", serial[1])
        await refused(ErrorNumber.INVALID_CERT, 403, ask)
        kms.run("certificate", "restore", "--serial", serial[1])
        assert await ask()
        kms.run("user", "revoke", "room9")
        init = responder.resolve_init(account=rooms, identity=room, kms=KMS, rand=os.urandom, now=time.time())
        await refused(ErrorNumber.INVALID_CERT, 403, lambda: client.ticket_resolve(init, "c"))
        assert await ticket_from(kms, client), "users with keys are served as before"


@pytest.mark.parametrize("required", [False, True])
async def test_client_certificates_of_https(kms: Kms, required: bool) -> None:
    now = time.time()
    authority = certify("clients", 0, authority=True, now=now)
    put(kms.folder, "clients", authority)
    put(kms.folder, "mrfc", certify("mrfc", 1, issuer=authority, now=now))
    put(kms.folder, "stranger", certify("stranger", 2, now=now))
    server_certificate(kms.folder)
    kms.stop()
    http = 'certificate = "kms.crt"\nprivate_key = "kms.key"\nclient_ca = "clients.crt"\n'
    kms.configure(extra_http=http + f"require_client_certificate = {str(required).lower()}")
    kms.start()

    @asynccontextmanager
    async def showing(name: str) -> AsyncIterator[KmsClient]:
        certificate, key = (kms.folder / f"{name}.crt", kms.folder / f"{name}.key") if name else (None, None)
        client = KmsClient(kms.url, ca_file=kms.folder / "kms.crt", certificate=certificate, private_key=key)
        try:
            yield client
        finally:
            await client.close()

    async with showing("mrfc") as client:
        assert await ticket_from(kms, client)
    async with showing("stranger") as client:
        with pytest.raises(KmsUnavailable):
            await ticket_from(kms, client)
    async with showing("") as client:
        if required:
            with pytest.raises(KmsUnavailable):
                await ticket_from(kms, client)
        else:
            assert await ticket_from(kms, client)


# --- GBA


@dataclass
class ZnDouble:
    """An operator's Zn proxy as the KMS sees it."""

    keys: dict[str, tuple[bytes, list[str]]] = field(default_factory=dict)
    lifetime: float = 3600.0
    asked: list[tuple[str, str]] = field(default_factory=list)
    behaviour: str = ""
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        name, naf = request.query["b_tid"], request.query["naf_id"]
        self.asked.append((name, naf))
        if self.behaviour == "silent":
            await asyncio.sleep(5)
        if self.behaviour in ("500", "302"):
            return web.Response(status=int(self.behaviour), headers={"Location": "/"})
        if self.behaviour == "nonsense":
            return web.Response(text='{"ks_naf": 5}')
        if self.behaviour == "short":
            return web.json_response({"ks_naf": "AAAA", "expires": 1e12, "identities": [ALICE]})
        if name not in self.keys:
            return web.Response(status=404)
        key, identities = self.keys[name]
        return web.json_response(
            {
                "ks_naf": base64.b64encode(key).decode(),
                "expires": time.time() + self.lifetime,
                "identities": identities,
            }
        )


@pytest.fixture
async def zn() -> AsyncIterator[ZnDouble]:
    double = ZnDouble()
    app = web.Application()
    app.router.add_get("/ks_naf", double.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    double.url = f"http://127.0.0.1:{runner.addresses[0][1]}/ks_naf"
    yield double
    await runner.cleanup()


B_TID = "cmFuZA==@bsf.home.example"


async def start_with(kms: Kms, zn: ZnDouble) -> None:
    await asyncio.to_thread(kms.stop)
    kms.configure(
        tables=f'[gba]\nurl = "{zn.url}"\nnaf_id = "{KMS}"\nnames = "*@bsf.home.example"\ntimeout = 2.0\n'
    )
    await asyncio.to_thread(kms.start)


def gba_request(psk: bytes, initiator: str = ALICE, psk_id: str = B_TID) -> TicketRequestExchange:
    return TicketRequestExchange(
        psk=psk,
        psk_id=psk_id,
        initiator=initiator,
        kms=KMS,
        responders=[ROOM],
        csb_id=int.from_bytes(os.urandom(4)),
        rand=os.urandom,
        now=time.time(),
    )


async def test_keys_from_gba(kms: Kms, zn: ZnDouble) -> None:
    await start_with(kms, zn)
    key = os.urandom(32)
    zn.keys[B_TID] = (key, [ALICE, "sip:*@home.example"])
    async with client_of(kms) as client:
        for _ in range(3):
            exchange = gba_request(key)
            ticket = exchange.response(await client.ticket_request(exchange.request(), "c"), time.time())
        assert zn.asked == [(B_TID, KMS)], "an answer is kept"
        await use(kms, client, ticket)
        made = make_ticket(
            tpk=key,
            tpk_id=B_TID,
            initiator=ALICE,
            kms=KMS,
            responders=[ROOM],
            rand=os.urandom,
            now=time.time(),
        )
        await use(kms, client, made)

        async def ask(psk: bytes, **other: str) -> bytes:
            return await client.ticket_request(gba_request(psk, **other).request(), "c")

        await refused(ErrorNumber.AUTH_FAILURE, 403, lambda: ask(os.urandom(32)))
        await refused(ErrorNumber.INVALID_ID, 403, lambda: ask(key, initiator="sip:bob@home.example"))
        await refused(ErrorNumber.AUTH_FAILURE, 403, lambda: ask(key, psk_id="unknown@bsf.home.example"))
        await refused(ErrorNumber.AUTH_FAILURE, 403, lambda: ask(key, psk_id="x@elsewhere.example"))
        assert len(zn.asked) == 2, "names that do not fit are not asked for"
    assert key.hex() not in kms.log()


@pytest.mark.parametrize("behaviour", ["silent", "500", "302", "nonsense", "short"])
async def test_a_proxy_out_of_order(kms: Kms, zn: ZnDouble, behaviour: str) -> None:
    await start_with(kms, zn)
    key = os.urandom(32)
    zn.keys[B_TID] = (key, [ALICE])
    zn.behaviour = behaviour
    async with client_of(kms) as client:
        with pytest.raises(KmsUnavailable, match="503"):
            await client.ticket_request(gba_request(key).request(), "c")
        assert await ticket_from(kms, client), "users of the store do not need the proxy"
        zn.behaviour = ""
        assert await client.ticket_request(gba_request(key).request(), "c")


async def test_keys_from_gba_end(kms: Kms, zn: ZnDouble) -> None:
    await start_with(kms, zn)
    zn.lifetime = 1.5
    old, new = os.urandom(32), os.urandom(32)
    async with client_of(kms) as client:
        zn.keys[B_TID] = (old, [ALICE])
        assert await client.ticket_request(gba_request(old).request(), "c")
        await asyncio.sleep(1.6)
        zn.keys[B_TID] = (new, [ALICE])
        body = gba_request(old).request()
        await refused(ErrorNumber.AUTH_FAILURE, 403, lambda: client.ticket_request(body, "c"))
        assert await client.ticket_request(gba_request(new).request(), "c")
