"""The SIP side of the UE on asyncio: one address, its transport, and the calls at it.

Hands messages to their calls, finds the way of requests and responses, answers strangers.
"""

import asyncio
import contextlib
import secrets
import ssl
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from aiosipua import SipDigestAuth, SipRequest, SipResponse, parse_address

from mrf_ops.trace import Tracer
from mrf_ue.errors import SipRefused
from mrf_ue.show import Show, quiet
from mrf_ue.sip_address import DEFAULT_PORTS, local_host_towards, resolve, uri_address
from mrf_ue.sip_call import Callee, OutgoingCall
from mrf_ue.sip_dialog import LocalEnd, header_tag, new_response
from mrf_ue.sip_incoming_call import IncomingCall
from mrf_ue.sip_live_call import AnsweringCall, Call
from mrf_ue.sip_trace import message_fields, message_key, message_name
from mrf_ue.sip_transactions import cseq_method
from mrf_ue.sip_transport import Address, StreamTransport, Transport, UdpTransport

_REMEMBERED = 64
"""Transactions whose response is kept for a repeated request."""
_FLUSH_SECONDS = 1.0
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class SipSettings:
    """How the UE speaks SIP.

    `identity`: its SIP URI. `transport`: udp, tcp or tls. `proxy`: where requests go first; without one the
    host of the callee. `local`: address to bind, an empty host for the one that leads to the next hop and
    port 0 for any. `tls`: the client context when the transport is tls, `tls_server` the one for connections of
    others, if we listen. `display_name` goes into From.
    """

    identity: str
    transport: str = "udp"
    proxy: Address | None = None
    local: Address = ("", 0)
    login: SipDigestAuth | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    tls_server: ssl.SSLContext | None = None
    peer_name: str = "MRFC"
    display_name: str = ""


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
        self.on_keep_alive: Callable[[], None] = lambda: None
        """Called for each answer to a keep-alive on TCP and TLS (RFC 5626 3.5.1)."""
        self.on_lost: Callable[[str], None] = lambda reason: None
        """Called when the far end closes a TCP or TLS connection, or it breaks. Both are set before `open`."""
        self._tracer = tracer or Tracer("UE-A")
        self._transport: Transport | None = None
        self._calls: dict[str, Participant] = {}
        self._next_hop: Address | None = None
        self._responses: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()
        self._sources: OrderedDict[str, Address] = OrderedDict()
        self._hops: OrderedDict[str, Address] = OrderedDict()
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
        self._reached_at(transport.local_addr)

    async def listen(self) -> None:
        """Start the transport for calls of others. Raises SipRefused."""
        settings = self.settings
        self._next_hop = await resolve(settings.proxy) if settings.proxy else None
        transport = await self._start(
            (settings.local[0] or "127.0.0.1", settings.local[1] or DEFAULT_PORTS[settings.transport])
        )
        self._reached_at(transport.local_addr)

    def _reached_at(self, address: Address) -> None:
        settings = self.settings
        self.end = LocalEnd(settings.identity, *address, settings.transport, settings.display_name)

    async def _start(self, local: Address) -> Transport:
        transport: Transport
        if self.settings.transport == "udp":
            transport = UdpTransport(local_addr=local)
        else:
            settings = self.settings
            transport = StreamTransport(local_addr=local, tls=settings.tls, tls_server=settings.tls_server)
            transport.on_keep_alive = self.on_keep_alive
            transport.on_lost = self.on_lost
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
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await self._outbox.join()
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

    def call(self, uri: str) -> Call:
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

    def answering(self, invite: SipRequest) -> AnsweringCall:
        """The call that an INVITE from outside opens; nothing is sent but 100 Trying."""
        machine = IncomingCall(invite, self.end, lambda: secrets.token_hex(8), reliable=self.reliable)
        call = AnsweringCall(machine, self)
        self.send(new_response(invite, 100, "Trying"))
        return call

    def attach(self, call_id: str, participant: Participant) -> None:
        """Hand the messages of a Call-ID to somebody."""
        self._calls[call_id] = participant

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

    def send_octets(self, octets: bytes) -> None:
        """Send to the next hop what is no message, a keep-alive for instance."""
        if self._transport is not None and self._next_hop is not None:
            self._transport.send_octets(octets, self._next_hop)

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
        """Where a request goes. The ACK of a failure and a CANCEL have the branch of their INVITE, and go where it went
        (RFC 3261 17.1.1.3, 9.1)."""
        branch = request.via[0].branch or ""
        if request.method in ("ACK", "CANCEL") and branch in self._hops:
            return self._hops[branch]
        hop = await self._new_hop(request)
        if request.method == "INVITE":
            _remember(self._hops, branch, hop)
        return hop

    async def _new_hop(self, request: SipRequest) -> Address:
        routes = request.get_header_values("Route")
        if routes:
            address = parse_address(routes[0])
            return await resolve(
                uri_address(_uri_text(address.uri.host, address.uri.port), self.settings.transport)
            )
        outside = request.method == "INVITE" and not header_tag(request, "To")
        if self._next_hop is not None and (self.settings.proxy or outside):
            return self._next_hop
        return await resolve(uri_address(request.uri, self.settings.transport))

    def _respond(self, response: SipResponse) -> None:
        key = _transaction_key(response)
        _remember(self._responses, key, bytes(response))
        source = self._sources.get(key[0])
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
            _remember(self._sources, _transaction_key(message)[0], source)
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


def _uri_text(host: str, port: int | None) -> str:
    return f"sip:{host}" if port is None else f"sip:{host}:{port}"


def _transaction_key(message: SipRequest | SipResponse) -> tuple[str, str, str]:
    """Branch, method, and who made the branch up: host and port of Via (RFC 3261 17.2.3)."""
    via = message.via[0]
    return via.branch or "", cseq_method(message), f"{via.host}:{via.port or ''}"


def _remember(memory: "OrderedDict[_Key, _Value]", key: _Key, value: _Value) -> None:
    """Keep the last few entries."""
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > _REMEMBERED:
        memory.popitem(last=False)
