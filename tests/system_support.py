"""A whole installation for system tests: the laboratory, relays that make its KMS and MRFP misbehave, scenes."""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import web
from aiosipua import SipRequest, SipResponse

from lab import CALLER, KMS_IDENTITY, Lab, Settings
from loopback_ports import free_ports
from mrf_protocols.bfcp import Message, Primitive
from mrf_protocols.sdp import Setup
from mrf_protocols.tls_psk import PskCredentials, TlsPolicy
from mrf_ue.errors import UeError
from mrf_ue.options import TLS_POLICIES, DialInOptions, KeySettings, TicketMode, Timeouts
from mrf_ue.sip import SipEndpoint, SipSettings
from mrf_ue.sip_call import CallState
from mrf_ue.steps import UeScript

SECONDS = 60.0
"""Longest wait for something that has to happen."""

ACK_TIMEOUT = 2.5
RECONNECT_GRACE = 0.3
ELEMENT_TIMEOUT = 3.0
"""The MRFC's patience with KMS and MRFP."""
RING_TIMEOUT = 4.0
CONNECT_TIMEOUT = 5.0
HELLO_TIMEOUT = 5.0
"""The MRFP's patience with users: well beyond ACK_TIMEOUT, so that what a missing ACK does comes first."""

_Result = TypeVar("_Result")
_TROUBLE = re.compile(r"\b(WARNING|ERROR|CRITICAL|ALERT|BUG|Traceback)\b")
# What the elements say at their start about this host and about the configuration of a lab
_START_UP = ("ports for up to", "open files", "stored in the clear", "bfcp.unsecured")
# What is said of an association or of a message that cannot be read, and what Kamailio says by itself
_OF_NO_CALL = re.compile(
    r"Mp: (association|(the )?MRF[CP]) |no MRFC for too long|is not UTF-8"
    r"|(ERROR|WARNING|ALERT|INFO): (?!.*sr_kemi_core_)\S+ \["
)


async def until(condition: Callable[[], _Result], seconds: float = SECONDS) -> _Result:
    """Wait for something to become true, and give it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.005)
    return found


def settings(**more: dict[str, Any]) -> Settings:
    """A laboratory without long waits. `more` are tables of mrfc.toml, e.g. `mp={...}`."""
    mrfc: dict[str, Any] = {
        "sip": {"ack_timeout": ACK_TIMEOUT, "reconnect_grace": RECONNECT_GRACE},
        "kms": {"timeout": ELEMENT_TIMEOUT},
        "mp": {"timeout": ELEMENT_TIMEOUT, "heartbeat": 600.0, "loss_grace": 0},
        "dial_out": {"ring_timeout": RING_TIMEOUT},
    }
    for name, table in more.items():
        mrfc[name] = {**mrfc.get(name, {}), **table}
    return Settings(
        mrfc=mrfc,
        mrfp={
            "mp": {"silence": 3600.0, "retry": 0.1, "longest_retry": 0.3, "loss_grace": 3.0},
            "media": {"quarantine": 0},
            "termination": {
                "tcp_connect": CONNECT_TIMEOUT,
                "tcp_retry": 0.1,
                "client_hello": HELLO_TIMEOUT,
                "handshake": 3.0,
                "message": 1.5,
            },
            "floor_control": {"grace": 0.3},
            "limits": {"contexts": 100, "terminations": 100},
        },
        trace=False,
    )


# --- what stands between the MRFC and its KMS and MRFP


class Background:
    """An event loop in a thread of its own: what runs there goes on from test to test."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[None, None, _Result]) -> _Result:
        """Run there and wait here."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(SECONDS)

    def call(self, function: Callable[[], object]) -> None:
        """Run a function there, and wait until it has."""

        async def called() -> None:
            function()

        self.run(called())

    def close(self) -> None:
        """End the loop and its thread."""

        async def cancel_all() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.run(cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(SECONDS)
        self.loop.close()


KmsBehaviour = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


class KmsRelay:
    """The KMS as the MRFC sees it: hands everything on, unless told otherwise."""

    def __init__(self, background: Background, kms_port: int) -> None:
        self.port = free_ports(1)[0]
        self.asked = 0
        self.last_answer = b""
        self._background = background
        self._kms = f"http://127.0.0.1:{kms_port}"
        self._behaviour: KmsBehaviour = self.hand_on
        background.run(self._open())

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession()
        application = web.Application()
        application.router.add_post("/keymanagement", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    def close(self) -> None:
        """Stop listening."""
        self._background.run(self._close())

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked += 1
        return await self._behaviour(request, body)

    async def hand_on(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """What the KMS itself answers."""
        async with self._session.post(
            self._kms + request.path_qs, data=body, headers=request.headers
        ) as answer:
            data = await answer.read()
            if answer.status == 200:
                self.last_answer = data
            return web.Response(status=answer.status, body=data, content_type=answer.content_type)

    @contextmanager
    def behaving(self, behaviour: KmsBehaviour) -> Iterator[None]:
        """Another behaviour for a while."""
        self.asked, self._behaviour = 0, behaviour
        try:
            yield
        finally:
            self._behaviour = self.hand_on

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Accepts every request and says nothing; those who waited are handed on at the end."""
        free = asyncio.Event()

        async def wait(request: web.Request, body: bytes) -> web.StreamResponse:
            await free.wait()
            return await self.hand_on(request, body)

        with self.behaving(wait):
            try:
                yield
            finally:
                self._background.call(free.set)


class MpRelay:
    """Mp between MRFP and MRFC: hands everything on; replies and indications can be held back, and it can break."""

    def __init__(self, background: Background) -> None:
        self.port = free_ports(1)[0]
        self.mrfc_port = 0
        self.commands = 0
        """Segments with an Add from the MRFC to the MRFP; answers to late indications do not count."""
        self._background = background
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        background.run(self._listen())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, to_mrfc = await asyncio.open_connection("127.0.0.1", self.mrfc_port)
        except OSError:
            writer.close()
            return
        pair = {writer, to_mrfc}
        self._writers |= pair
        try:
            await asyncio.gather(self._from_mrfp(reader, to_mrfc), self._from_mrfc(upstream, writer))
        finally:
            self._writers -= pair
            for each in pair:
                each.close()

    async def _from_mrfp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
        writer.close()

    async def _from_mrfc(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                self.commands += b"A=$" in data
                writer.write(data)
        writer.close()

    @contextmanager
    def holding_replies(self) -> Iterator[None]:
        """The MRFP carries out what it is told, but what it says arrives at the end only."""
        self._background.call(self._open.clear)
        self.commands = 0
        try:
            yield
        finally:
            self._background.call(self._open.set)

    def cut(self) -> None:
        """Break the association; the MRFP comes back by itself."""
        self._background.call(self._abort)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def close(self) -> None:
        """Stop listening and break what is up."""
        self._background.call(self._server.close)
        self.cut()


@dataclass
class System:
    """A laboratory with relays."""

    lab: Lab
    background: Background
    kms: KmsRelay
    mp: MpRelay

    @classmethod
    @contextmanager
    def running(cls, folder: Path, **more: dict[str, Any]) -> Iterator[System]:
        """Everything up; `more` as for `settings`."""
        background = Background()
        mp = MpRelay(background)
        kms_port = free_ports(1)[0]
        kms = KmsRelay(background, kms_port)
        chosen = settings(kms={"url": f"http://127.0.0.1:{kms.port}"}, **more)
        chosen.kms["http"] = {"port": kms_port}
        chosen.mrfp["mp"]["mrfcs"] = [f"127.0.0.1:{mp.port}"]
        try:
            with Lab(folder, chosen) as lab:
                lab.ports.kms = kms_port
                mp.mrfc_port = lab.ports.mp
                lab.start()
                yield cls(lab, background, kms, mp)
        finally:
            kms.close()
            mp.close()
            background.close()


# --- the UE


class RecordingEndpoint(SipEndpoint):
    """Keeps what came, and changes what goes if it is told to."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.messages: list[SipRequest | SipResponse] = []
        self.edit: Callable[[SipRequest], None] = lambda request: None

    def _received(self, message: SipRequest | SipResponse, source: tuple[str, int]) -> None:
        self.messages.append(message)
        super()._received(message, source)

    def send(self, message: SipRequest | SipResponse, *, first: bool = True) -> None:
        """Send, as it was edited."""
        if isinstance(message, SipRequest):
            self.edit(message)
        super().send(message, first=first)

    def responses(self, method: str) -> list[SipResponse]:
        """The final responses to requests of this method."""
        return [
            each
            for each in self.messages
            if isinstance(each, SipResponse)
            and each.status_code >= 200
            and (each.get_header("CSeq") or "").endswith(f" {method}")
        ]

    def requests(self, method: str) -> list[SipRequest]:
        """Requests of the MRFC, retransmissions included."""
        return [each for each in self.messages if isinstance(each, SipRequest) and each.method == method]


class Ue(UeScript):
    """A UE that can be told to misbehave."""

    endpoint: RecordingEndpoint

    def __init__(self, options: DialInOptions) -> None:
        super().__init__(options)
        self.endpoint = RecordingEndpoint(options.sip, self.tracer)
        self.edit_offer: Callable[[bytes], bytes] = bytes
        self.edit_init: Callable[[bytes], bytes] = bytes
        self.wrong_credentials: PskCredentials | None = None
        self.wrong_user_id: int | None = None

    def offer_sdp(self) -> bytes:
        """The offer, edited."""
        if self.options.unsecured:
            return self.edit_offer(super().offer_sdp())
        init = self.transfer.init()
        body = super().offer_sdp().replace(base64.b64encode(init), base64.b64encode(self.edit_init(init)))
        return self.edit_offer(body)

    def credentials(self) -> PskCredentials:
        """The right ones, or those of the test."""
        return self.wrong_credentials or super().credentials()

    def user_id(self) -> int:
        """The right one, or that of the test."""
        return super().user_id() if self.wrong_user_id is None else self.wrong_user_id

    async def final(self, method: str = "INVITE", number: int = 1) -> SipResponse:
        """The final response to the request, or the `number`th of them."""
        await until(lambda: len(self.endpoint.responses(method)) >= number)
        return self.endpoint.responses(method)[number - 1]

    async def dial(self) -> SipResponse:
        """Ticket and INVITE; gives the final response."""
        if not hasattr(self, "transfer") and not self.options.unsecured:
            await self.get_ticket()
        await self.invite()
        return await self.final()

    async def join(self) -> None:
        """Dial in up to the ACK."""
        response = await self.dial()
        assert response.status_code == 200, response
        await self.wait_answer()
        self.check_answer()
        await self.ack()

    async def join_bfcp(self) -> None:
        """Dial in up to HelloAck."""
        await self.join()
        await self.connect()
        await self.secure()
        await self.hello()

    async def far_end_bye(self) -> str:
        """The Reason of the MRFC's BYE, which is answered by itself."""
        await until(lambda: self.endpoint.requests("BYE"))
        return self.endpoint.requests("BYE")[0].get_header("Reason") or ""

    def send_in_dialog(self, method: str, body: bytes = b"", cseq_step: int = 1) -> None:
        """Send a request of any method within the dialog of the call."""
        machine = self.call.machine
        assert machine.dialog is not None
        machine._cseq += cseq_step
        request = machine.dialog.request(method, machine._cseq, self.endpoint.end, new_branch())
        request.set_header("Contact", self.endpoint.end.contact)
        if body:
            request.set_header("Content-Type", "application/sdp")
            request.body = body
        self.endpoint.send(request)

    async def leave(self) -> None:
        """Acknowledge the 200 and hang up."""
        await self.wait_answer()
        await self.ack()
        await self.bye()


def new_branch() -> str:
    """A Via branch."""
    return f"z9hG4bK{secrets.token_hex(8)}"


def warning_code(response: SipResponse) -> int | None:
    """The warn-code of a response, None without one."""
    value = response.get_header("Warning")
    return int(value.split()[0]) if value else None


# --- a scene: a bystander's call, a fault, and all is as it was


@dataclass
class Log:
    """What an element has logged since a moment."""

    path: Path
    offset: int

    def lines(self) -> list[str]:
        """All lines."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read().decode(errors="replace").splitlines()

    def trouble(self) -> list[str]:
        """Lines of warnings and worse."""
        return [
            line
            for line in self.lines()
            if _TROUBLE.search(line) and not any(known in line for known in _START_UP)
        ]


UNANSWERED = ("mrfp", "did not answer an indication")
"""The MRFP waits for no longer than a laboratory's limit; where the other end is held or slow, it says this."""


@dataclass
class Scene:
    """One test on a laboratory. `expect` what it will log: at the end every expected line has to be there once, and
    no other warning; MRFC and MRFP have to be as they were."""

    lab: Lab
    logs: dict[str, Log] = field(default_factory=dict)
    expected: list[tuple[str, str]] = field(default_factory=list)
    allowed: list[tuple[str, str]] = field(default_factory=lambda: [UNANSWERED])
    before: tuple[dict[str, Any], dict[str, Any]] = field(default_factory=lambda: ({}, {}))
    bystander: Ue | None = None
    ues: list[Ue] = field(default_factory=list)

    def expect(self, element: str, pattern: str) -> None:
        """One line of the log of "kms", "mrfc" or "mrfp", by a regular expression."""
        self.expected.append((element, pattern))

    async def told(self, element: str, pattern: str) -> None:
        """Wait for a line of any level; it comes once."""
        await until(lambda: [line for line in self.logs[element].lines() if re.search(pattern, line)])
        found = [line for line in self.logs[element].lines() if re.search(pattern, line)]
        assert len(found) == 1

    def may_log(self, element: str, pattern: str) -> None:
        """Lines like this may come any number of times."""
        self.allowed.append((element, pattern))

    async def ue(
        self,
        callee: str = "meeting",
        *,
        setup: Setup = Setup.ACTPASS,
        transport: str = "udp",
        mode: TicketMode = TicketMode.REQUEST,
        identity: str = CALLER,
        tls: TlsPolicy = TLS_POLICIES["any"],
        bearer_host: str = "",
        unsecured: bool = False,
        sip: SipSettings | None = None,
    ) -> Ue:
        """A UE that is ready to dial; `sip` says how, if not from loopback by this transport."""
        lab = self.lab
        usual = SipSettings(identity, transport, proxy=("127.0.0.1", lab.ports.sip), local=("127.0.0.1", 0))
        options = DialInOptions(
            callee=lab.conference(callee),
            sip=sip or usual,
            keys=KeySettings(
                f"http://127.0.0.1:{lab.ports.kms}",
                "alice",
                bytes.fromhex(lab.caller_psk),
                KMS_IDENTITY,
                mode=mode,
            ),
            setup=setup,
            tls=tls,
            bearer_host=bearer_host,
            timeouts=Timeouts().at_most(SECONDS),
            unsecured=unsecured,
        )
        ue = Ue(options)
        self.ues.append(ue)
        await ue.open()
        return ue

    async def status(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The figures of MRFC and MRFP."""
        return await asyncio.gather(
            asyncio.to_thread(self.lab.status), asyncio.to_thread(self.lab.mrfp_status)
        )

    async def becomes(self, wanted: tuple[dict[str, Any], dict[str, Any]]) -> None:
        """Wait until MRFC and MRFP show these figures."""
        end = time.monotonic() + SECONDS
        while (found := await self.status()) != wanted:
            if time.monotonic() > end:
                assert found == wanted, f"{found} are not {wanted}"
            await asyncio.sleep(0.03)

    async def nothing_left(self) -> None:
        """MRFC and MRFP are as they were before the test began."""
        await self.becomes(self.before)

    def start_logs(self) -> None:
        """Look at lines from now on."""
        for name in ("kms", "mrfc", "mrfp"):
            path = self.lab.folder / f"{name}.log"
            self.logs[name] = Log(path, path.stat().st_size if path.exists() else 0)

    async def check_logs(self) -> None:
        """Every expected line, once; no other."""
        end = time.monotonic() + SECONDS
        while True:
            trouble = [(name, line) for name, log in self.logs.items() for line in log.trouble()]
            if len(trouble) >= len(self.expected) or time.monotonic() > end:
                break
            await asyncio.sleep(0.02)
        unexpected = list(trouble)
        for name, pattern in self.expected:
            found = next(
                (each for each in unexpected if each[0] == name and re.search(pattern, each[1])), None
            )
            assert found is not None, f"no line {pattern!r} in the log of {name}: {trouble}"
            unexpected.remove(found)
        surplus = [
            (name, line)
            for name, line in unexpected
            if not any(name == element and re.search(pattern, line) for element, pattern in self.allowed)
        ]
        assert not surplus, surplus
        nameless = [line for _, line in trouble if "call=" not in line and not _OF_NO_CALL.search(line)]
        assert not nameless, f"lines about a call that do not name it: {nameless}"

    async def close(self) -> None:
        """End every UE; a call that a failed test has left standing is hung up."""
        for ue in self.ues:
            if ue._opened and ue.call.machine.state in (CallState.ANSWERED, CallState.CONFIRMED):
                with suppress(UeError):
                    await ue.call.bye(1.0)
            await ue.close()


@asynccontextmanager
async def lonely_scene(lab: Lab) -> AsyncIterator[Scene]:
    """A scene without bystander, for faults that no call survives."""
    played = Scene(lab, before=await _stable_status(lab))
    played.start_logs()
    try:
        yield played
        await played.nothing_left()
        await played.check_logs()
    finally:
        await played.close()


@asynccontextmanager
async def scene(lab: Lab) -> AsyncIterator[Scene]:
    """A scene with a bystander who holds floor 1 of "meeting" through all of it."""
    played = Scene(lab, before=await _stable_status(lab))
    played.start_logs()
    try:
        bystander = played.bystander = await played.ue()
        await bystander.join_bfcp()
        await bystander.request_floor()
        with_bystander = await _stable_status(lab)
        yield played
        await played.becomes(with_bystander)
        assert not bystander.call.hung_up.is_set(), "the bystander was hung up"
        await bystander.hello()
        await bystander.release_floor()
        await bystander.bye()
        await played.nothing_left()
        await played.check_logs()
    finally:
        await played.close()


async def _stable_status(lab: Lab) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures once nothing is on its way: two looks agree."""
    empty = Scene(lab)
    found = await empty.status()
    while (again := await empty.status()) != found:
        found = again
        await asyncio.sleep(0.02)
    return found


async def next_error(ue: Ue) -> Message:
    """The next Error message on a UE's BFCP connection."""
    async with asyncio.timeout(SECONDS):
        while True:
            item = await ue.connection.messages.get()
            if isinstance(item, UeError):
                raise item
            if item.primitive is Primitive.ERROR:
                return item
