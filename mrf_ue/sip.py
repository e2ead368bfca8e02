"""The SIP side of the UE on asyncio: one endpoint, and the calls it makes.

The machines of `sip_call` decide; this module moves their messages, keeps their timers and turns their events
into awaitable steps.
"""

import asyncio
import contextlib
import ipaddress
import secrets
import socket
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from aiosipua import SipDigestAuth, SipRequest, SipResponse, parse_address, parse_uri

from mrf_ops.trace import Tracer
from mrf_ue.errors import SipRefused, StepTimeout
from mrf_ue.sip_call import (
    Answered,
    Callee,
    CallState,
    HungUp,
    NoAnswer,
    OutgoingCall,
    Output,
    Progress,
    Refused,
    Released,
    Send,
)
from mrf_ue.sip_dialog import LocalEnd, new_response
from mrf_ue.sip_trace import message_fields, message_key, message_name
from mrf_ue.sip_transport import Address, StreamTransport, Transport, UdpTransport

DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}
_REMEMBERED_RESPONSES = 64
_FLUSH_SECONDS = 1.0

Show = Callable[[str, str], None]
"""Takes what happens, for the user: a topic (SIP, KMS, TCP, TLS, BFCP, UE) and a line of text."""

_Result = TypeVar("_Result")


def quiet(topic: str, text: str) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class SipSettings:
    """How the UE speaks SIP.

    `identity`: its SIP URI. `transport`: udp, tcp or tls. `proxy`: where requests go first; without one the
    host of the callee. `local`: address to bind, an empty host for the one that leads to the next hop and
    port 0 for any. `tls`: the client context when the transport is tls.
    """

    identity: str
    transport: str = "udp"
    proxy: Address | None = None
    local: Address = ("", 0)
    login: SipDigestAuth | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    peer_name: str = "MRFC"


class Participant(Protocol):
    """What an endpoint hands the messages of one Call-ID to."""

    def receive(self, message: SipRequest | SipResponse) -> None:
        """A message with this call's Call-ID."""


class SipEndpoint:
    """One SIP address of the UE: owns the transport, hands messages to their calls, answers strangers."""

    def __init__(self, settings: SipSettings, tracer: Tracer | None = None, show: Show = quiet) -> None:
        self.settings = settings
        self.show = show
        self.end = LocalEnd(settings.identity, "", 0, settings.transport)
        self.on_invite: Callable[[SipRequest, Address], Participant | None] | None = None
        self._tracer = tracer or Tracer("UE-A")
        self._transport: Transport | None = None
        self._calls: dict[str, Participant] = {}
        self._next_hop: Address | None = None
        self._responses: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()
        self._sources: dict[str, Address] = {}
        self._outbox: asyncio.Queue[SipRequest] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None

    async def open(self, uri: str) -> None:
        """Start the transport, on a local address that reaches the callee `uri`. Raises SipRefused."""
        settings = self.settings
        target = settings.proxy or uri_address(uri, settings.transport)
        self._next_hop = await resolve(target)
        host = settings.local[0] or local_host_towards(self._next_hop)
        transport = await self._start((host, settings.local[1]))
        if isinstance(transport, StreamTransport):
            transport.names[self._next_hop[0]] = target[0]
        await transport.reach(self._next_hop)
        self.end = LocalEnd(settings.identity, *transport.local_addr, settings.transport)

    async def listen(self) -> None:
        """Start the transport for calls of others. Raises SipRefused."""
        settings = self.settings
        self._next_hop = await resolve(settings.proxy) if settings.proxy else None
        transport = await self._start((settings.local[0] or "127.0.0.1", settings.local[1] or 5060))
        self.end = LocalEnd(settings.identity, *transport.local_addr, settings.transport)

    async def _start(self, local: Address) -> Transport:
        transport: Transport
        if self.settings.transport == "udp":
            transport = UdpTransport(local_addr=local)
        else:
            transport = StreamTransport(local_addr=local, tls=self.settings.tls)
        transport.on_message = self._received
        try:
            await transport.start()
        except OSError as error:
            raise SipRefused(f"cannot use {local[0]}:{local[1]} for SIP: {error.strerror}") from None
        self._transport = transport
        self._sender = asyncio.get_running_loop().create_task(self._send_requests())
        return transport

    async def close(self) -> None:
        """Stop the transport; calls that are still up are left to the far end."""
        if self._sender is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._outbox.join(), _FLUSH_SECONDS)
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
            self._sender = None
        if self._transport is not None:
            await self._transport.stop()
            self._transport = None

    @property
    def reliable(self) -> bool:
        """Whether the transport loses nothing."""
        return self.settings.transport != "udp"

    def call(self, uri: str) -> "Call":
        """A call to `uri`, not yet made."""
        call_id = secrets.token_hex(12)
        machine = OutgoingCall(
            Callee(uri),
            self.end,
            call_id,
            lambda: secrets.token_hex(8),
            reliable=self.reliable,
            login=self.settings.login,
        )
        call = Call(machine, self)
        self._calls[call_id] = call
        return call

    def forget(self, call_id: str) -> None:
        """The call is over: its late messages are a stranger's from now on."""
        self._calls.pop(call_id, None)

    # --- sending

    def send(self, message: SipRequest | SipResponse, *, first: bool = True) -> None:
        """Send a message to where its Route, Request-URI or Via leads; a repeated one is not traced."""
        if first:
            self._trace("sent", message)
        if isinstance(message, SipResponse):
            self._respond(message)
            return
        self._outbox.put_nowait(message)

    async def _send_requests(self) -> None:
        """One after the other, since finding the hop may take a look-up and an ACK must not be overtaken."""
        while True:
            request = await self._outbox.get()
            with contextlib.suppress(SipRefused):  # an unreachable hop shows as a request without response
                hop = await self._hop(request)
                if self._transport is not None:
                    self._transport.send(request, hop)
            self._outbox.task_done()

    async def _hop(self, request: SipRequest) -> Address:
        routes = request.get_header_values("Route")
        if routes:
            address = parse_address(routes[0])
            return await resolve(
                uri_address(_uri_text(address.uri.host, address.uri.port), self.settings.transport)
            )
        if self._next_hop is not None and (self.settings.proxy or request.method in ("INVITE", "CANCEL")):
            return self._next_hop
        return await resolve(uri_address(request.uri, self.settings.transport))

    def _respond(self, response: SipResponse) -> None:
        key = _transaction_key(response)
        self._responses[key] = bytes(response)
        while len(self._responses) > _REMEMBERED_RESPONSES:
            self._responses.popitem(last=False)
        source = self._sources.pop(key[0], None)
        if self._transport is not None:
            self._transport.send(response, self._response_address(response, source))

    def _response_address(self, response: SipResponse, source: Address | None) -> Address:
        """Back on the same connection; on UDP to the Via's port unless it asks for rport (RFC 3581)."""
        via = response.via[0]
        host = via.received or via.host.strip("[]")
        if source is not None and (self.reliable or via.rport is not None):
            return source
        return (
            source[0] if source else host,
            int(via.rport or via.port or DEFAULT_PORTS[self.settings.transport]),
        )

    # --- receiving

    def _received(self, message: SipRequest | SipResponse, source: Address) -> None:
        if not message.via or not message.call_id:
            return
        if isinstance(message, SipRequest):
            if self._repeated(message, source):
                return
            self._sources[_transaction_key(message)[0]] = source
        self._trace("received", message)
        call = self._calls.get(message.call_id)
        if call is not None:
            call.receive(message)
        elif isinstance(message, SipRequest):
            self._stranger(message, source)

    def _repeated(self, request: SipRequest, source: Address) -> bool:
        """A request that was answered already gets the same response again (RFC 3261 17.2)."""
        known = self._responses.get(_transaction_key(request))
        if known is None or request.method == "ACK" or self._transport is None:
            return False
        response = SipResponse.parse(known)
        if isinstance(response, SipResponse):
            self._transport.send(response, self._response_address(response, source))
        return True

    def _stranger(self, request: SipRequest, source: Address) -> None:
        """A request outside every call."""
        if request.method == "ACK":
            return
        if request.method == "INVITE" and self.on_invite is not None:
            call = self.on_invite(request, source)
            if call is not None:
                self._calls[request.call_id or ""] = call
                return
        status, reason = {
            "OPTIONS": (200, "OK"),
            "INVITE": (486, "Busy Here"),
            "BYE": (481, "Call/Transaction Does Not Exist"),
            "CANCEL": (481, "Call/Transaction Does Not Exist"),
            "UPDATE": (481, "Call/Transaction Does Not Exist"),
        }.get(request.method, (405, "Method Not Allowed"))
        contact = self.end.contact if status == 200 else ""
        self.send(new_response(request, status, reason, to_tag=secrets.token_hex(8), contact=contact))

    def _trace(self, kind: str, message: SipRequest | SipResponse) -> None:
        self._tracer.emit(
            message.call_id or "",
            "sent" if kind == "sent" else "received",
            self.settings.peer_name,
            "SIP",
            message_name(message),
            message_key(message),
            **message_fields(message),
        )


class Call:
    """One call of this end, step by step. Every step may be left out: tests call them in any order."""

    def __init__(self, machine: OutgoingCall, endpoint: SipEndpoint) -> None:
        self.machine = machine
        self.hung_up = asyncio.Event()
        """Set when the far end has sent BYE."""
        self._endpoint = endpoint
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._provisional = asyncio.Event()
        self._final: asyncio.Future[SipResponse] = loop.create_future()
        self._released: asyncio.Future[SipResponse | None] = loop.create_future()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def call_id(self) -> str:
        """The Call-ID, which is the correlation id of everything that belongs to the call."""
        return self.machine.call_id

    async def invite(self, sdp: bytes) -> None:
        """Send the INVITE with an SDP offer."""
        self._carry_out(self.machine.invite(sdp, self._loop.time()))

    async def wait_provisional(self, seconds: float) -> None:
        """Wait for the first 1xx. Raises StepTimeout."""
        await within(self._provisional.wait(), seconds, "no provisional response")

    async def wait_answer(self, seconds: float) -> SipResponse:
        """The 2xx. Raises SipRefused, StepTimeout."""
        return await within(asyncio.shield(self._final), seconds, "no answer to the INVITE")

    async def ack(self) -> None:
        """Acknowledge the 2xx."""
        self._carry_out(self.machine.ack())

    async def cancel(self, seconds: float) -> int:
        """Cancel the INVITE and wait for its end; gives the final status. A 2xx that was faster is
        acknowledged and hung up (RFC 3261 9.1). Raises StepTimeout.
        """
        self._carry_out(self.machine.cancel(self._loop.time()))
        try:
            answer = await self.wait_answer(seconds)
        except SipRefused as refusal:
            return refusal.status
        await self.ack()
        await self.bye(seconds)
        return answer.status_code

    async def bye(self, seconds: float) -> None:
        """Hang up and wait for the response; nothing when the call is over. Raises StepTimeout."""
        self._carry_out(self.machine.bye(self._loop.time()))
        if self.machine.state is CallState.ENDING:
            await within(asyncio.shield(self._released), seconds, "no response to BYE")

    async def while_up(self, step: Awaitable[_Result]) -> _Result:
        """Do a step, unless the far end hangs up first. Raises SipRefused then."""
        work = asyncio.ensure_future(step)
        end = asyncio.ensure_future(self.hung_up.wait())
        try:
            await asyncio.wait((work, end), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise SipRefused("the far end hung up")
        finally:
            for task in (work, end):
                task.cancel()
            await asyncio.gather(work, end, return_exceptions=True)

    def close(self) -> None:
        """Stop the timers of the call and forget it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for future in (self._final, self._released):
            if future.done() and not future.cancelled():
                future.exception()  # seen: nobody has to ask for it any more
        self._endpoint.forget(self.call_id)

    def receive(self, message: SipRequest | SipResponse) -> None:
        """A message of this call."""
        self._carry_out(self.machine.receive(message, self._loop.time()))

    def _carry_out(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            match output:
                case Send(message, first):
                    self._endpoint.send(message, first=first)
                case Progress(response):
                    self._provisional.set()
                    self._endpoint.show("SIP", f"<- {response.status_code} {response.reason_phrase}")
                case Answered(response):
                    if not self._final.done():
                        self._final.set_result(response)
                case Refused(response):
                    self._fail(refusal(response))
                case NoAnswer("INVITE"):
                    self._fail(StepTimeout("no response to INVITE"))
                case Released() | NoAnswer():
                    if not self._released.done():
                        self._released.set_result(None)
                case HungUp():
                    self.hung_up.set()
                    self._endpoint.show("SIP", "<- BYE: the far end hung up")
        self._rearm()

    def _fail(self, error: SipRefused | StepTimeout) -> None:
        if not self._final.done():
            self._final.set_exception(error)
            self._final.exception()  # a caller who does not wait need not be warned

    def _rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self.machine.next_deadline()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._carry_out(self.machine.tick(self._loop.time()))


async def within(step: Awaitable[_Result], seconds: float, otherwise: str) -> _Result:
    """Do a step in its time. Raises StepTimeout with the text `otherwise`."""
    try:
        async with asyncio.timeout(seconds):
            return await step
    except TimeoutError:
        raise StepTimeout(f"{otherwise} in {seconds:g} s") from None


def refusal(response: SipResponse) -> SipRefused:
    """What a 3xx-6xx tells the user."""
    warning = "; ".join(response.get_header_values("Warning"))
    text = f"the call was refused: {response.status_code} {response.reason_phrase}"
    return SipRefused(text, response.status_code, warning)


def uri_address(uri: str, transport: str) -> Address:
    """Host and port that a SIP URI names, with the transport's default port."""
    parsed = parse_uri(uri)
    if not parsed.host:
        raise SipRefused(f"{uri!r} names no host")
    return parsed.host.strip("[]"), parsed.port or DEFAULT_PORTS[transport]


async def resolve(address: Address) -> Address:
    """The numeric address of a host; no NAPTR or SRV records are asked. Raises SipRefused."""
    host, port = address
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return host, port
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise SipRefused(f"host {host} is unknown: {error.strerror}") from None
    return str(found[0][4][0]), port


def local_host_towards(remote: Address) -> str:
    """The local address from which packets to `remote` leave. Raises SipRefused."""
    family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(remote)
        except OSError as error:
            raise SipRefused(f"no way to {remote[0]}: {error.strerror}") from None
        return str(probe.getsockname()[0])


def _uri_text(host: str, port: int | None) -> str:
    return f"sip:{host}" if port is None else f"sip:{host}:{port}"


def _transaction_key(message: SipRequest | SipResponse) -> tuple[str, str, str]:
    via = message.via[0]
    return via.branch or "", (message.get_header("CSeq") or "").partition(" ")[2].strip(), via.host
