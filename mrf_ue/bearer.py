"""The BFCP connection of the UE: TCP in either role, TLS-PSK in either role, BFCP messages.

The TCP connection may come up before the SDP answer; it is then kept silent, and what comes on it unread, until
`secure` says that the answer was found good.
"""

import asyncio
import ssl
from collections.abc import Iterable
from typing import cast

from mrf_ops.trace import Tracer
from mrf_protocols import bfcp
from mrf_protocols.bfcp import BfcpError, Deframer, Message
from mrf_protocols.tls_psk import PskCredentials, TlsEngine, TlsPskError, TlsRole
from mrf_ue.bfcp_trace import message_fields, message_key, message_name
from mrf_ue.errors import BearerFailed, TlsFailed

Address = tuple[str, int]

_MAX_WAITING = 8
"""Connections that may wait at the listening port for the answer; more are turned away."""


class BearerClosed(BearerFailed):
    """The far end has closed the connection, or it broke."""


class Moved(BearerFailed):
    """Not lost: another connection has taken the place of this one."""


RETIRED_FOR = 1.0
"""Seconds for which a connection that was replaced is still read."""


class Connection(asyncio.Protocol):
    """One TCP connection: first silent, then TLS, then BFCP messages."""

    def __init__(self, tracer: Tracer, correlation: str, peer_name: str) -> None:
        self.remote: Address = ("", 0)
        self.local: Address = ("", 0)
        self.messages: asyncio.Queue[Message | BearerFailed | TlsFailed] = asyncio.Queue()
        """What came: messages, and one failure as the last item."""
        self._tracer = tracer
        self._correlation = correlation
        self._peer_name = peer_name
        self._transport: asyncio.Transport | None = None
        self._engine: TlsEngine | None = None
        self._plain = False
        self._role = TlsRole.CLIENT
        self._identity = ""
        self._secured: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deframer = Deframer()
        self._over = False
        self._successor: Connection | None = None
        self._heard = False
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.remote = transport.get_extra_info("peername")[:2]
        self.local = transport.get_extra_info("sockname")[:2]

    async def secure(
        self, context: ssl.SSLContext, role: TlsRole, credentials: PskCredentials, seconds: float
    ) -> tuple[str, str]:
        """Do the TLS handshake; gives version and suite. Raises TlsFailed, BearerClosed."""
        if self._transport is None or self._over:
            raise BearerClosed("the TCP connection is gone")
        self._role, self._identity = role, credentials.identity
        self._engine = engine = TlsEngine(context, role, credentials)
        if role is TlsRole.CLIENT:
            self._trace_tls("sent", "ClientHello")
        try:
            engine.start()
            self._flush()
            early, self._early = self._early, b""
            if early:
                self.data_received(early)
                self._transport.resume_reading()
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._secured)
        except TlsPskError as error:
            raise self._fail_tls(error.reason.value) from None
        except TimeoutError:
            raise self._fail_tls("handshake-timeout") from None
        server_sends = "sent" if role is TlsRole.SERVER else "received"
        self._trace_tls(server_sends, "TLS established", version=engine.version, cipher=engine.cipher)
        return engine.version, engine.cipher

    def go_without_tls(self) -> None:
        """BFCP at once, without TLS. Raises BearerClosed."""
        if self._transport is None or self._over:
            raise BearerClosed("the TCP connection is gone")
        self._plain = True
        early, self._early = self._early, b""
        if early:
            self.data_received(early)
            self._transport.resume_reading()

    @property
    def tls_version(self) -> str:
        """The TLS version in use, "" before the handshake."""
        return self._engine.version if self._engine is not None else ""

    def send(self, message: Message) -> None:
        """Send a BFCP message. Raises BearerClosed, TlsFailed."""
        self._tracer.emit(
            self._correlation,
            "sent",
            self._peer_name,
            "BFCP",
            message_name(message),
            message_key(message),
            **message_fields(message),
        )
        self.send_octets(bfcp.encode(message))

    def send_octets(self, octets: bytes) -> None:
        """Send octets inside TLS, where there is TLS, whatever they are. Raises BearerClosed, TlsFailed."""
        if self._plain and self._transport is not None and not self._over:
            self._transport.write(octets)
            return
        if self._engine is None or self._over:
            raise BearerClosed("the BFCP connection is gone")
        try:
            self._engine.write(octets)
        except TlsPskError as error:
            raise TlsFailed(f"TLS failed: {error.reason.value}") from None
        self._flush()

    def retire(self, successor: "Connection") -> None:
        """Another connection has taken the place of this one: what still comes here is told there, for a while."""
        while not self.messages.empty():
            item = self.messages.get_nowait()
            if isinstance(item, Message):
                successor.messages.put_nowait(item)
        self.messages.put_nowait(Moved("replaced"))
        self._successor = successor
        asyncio.get_running_loop().call_later(RETIRED_FOR, self.close)

    @property
    def over(self) -> bool:
        """Whether the connection has ended or was closed."""
        return self._over

    def abort(self) -> None:
        """Break TCP off without a word, as seen by both ends."""
        if self._transport is not None and not self._over:
            self._transport.abort()

    def close(self) -> None:
        """End TLS and TCP."""
        self._over = True
        if self._transport is None:
            return
        if self._engine is not None:
            self._engine.close()
            self._flush()
        if not self._transport.is_closing():
            self._tracer.emit(self._correlation, "local", "", "TCP", "TCP closed", self._tcp_name())
        self._transport.close()

    # --- asyncio's side

    def data_received(self, data: bytes) -> None:
        if self._plain:
            self._deframe([data])
            return
        engine = self._engine
        if engine is None:
            # too early for us; one read is kept, the rest waits in the peer's TCP
            self._early += data
            if self._transport is not None:
                self._transport.pause_reading()
            return
        if self._over:
            return
        if not self._heard and self._role is TlsRole.SERVER:
            self._trace_tls("received", "ClientHello")
        self._heard = True
        try:
            plaintext = engine.feed(data)
        except TlsPskError as error:
            self._flush()
            self._fail(TlsFailed(f"TLS failed: {error.reason.value}"), error)
            return
        self._flush()
        if engine.ready and not self._secured.done():
            self._secured.set_result(None)
        self._deframe(plaintext)
        if engine.closed:
            self._fail(BearerClosed("the far end closed the BFCP connection"))

    def eof_received(self) -> None:
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._plain and not self._over:
            self._fail(BearerClosed("the far end closed the BFCP connection"))
        if self._over or self._engine is None:
            self._over = True
            return
        try:
            self._engine.end_of_stream()
        except TlsPskError as error:
            self._fail(BearerClosed(f"the BFCP connection broke: {error.reason.value}"), error)
        else:
            self._fail(BearerClosed("the far end closed the BFCP connection"))

    # --- inside

    def _deframe(self, chunks: Iterable[bytes]) -> None:
        for chunk in chunks:
            for item in self._deframer.feed(chunk):
                self._took(item)

    def _took(self, item: Message | BfcpError) -> None:
        if isinstance(item, BfcpError):
            if item.fatal:
                self._fail(BearerClosed(f"the far end does not speak BFCP: {item}"))
            return
        name, key = message_name(item), message_key(item)
        fields = message_fields(item)
        self._tracer.emit(self._correlation, "received", self._peer_name, "BFCP", name, key, **fields)
        (self._successor or self).messages.put_nowait(item)

    def _fail(self, failure: BearerFailed | TlsFailed, error: TlsPskError | None = None) -> None:
        if self._over:
            return
        self._over = True
        if not self._secured.done():
            self._secured.set_exception(error or failure)
            self._secured.exception()  # whoever waits gets it; nobody need wait
        if self._successor is None:
            self.messages.put_nowait(failure)
        if self._transport is not None:
            self._transport.close()

    def _fail_tls(self, reason: str) -> TlsFailed:
        self._over = True
        self._flush()
        if self._transport is not None:
            self._transport.close()
        self._tracer.emit(
            self._correlation,
            "local",
            "",
            "TLS",
            "TLS failed",
            self._identity,
            reason=reason,
            role=self._role.value,
        )
        return TlsFailed(f"TLS failed: {reason}")

    def _flush(self) -> None:
        if self._engine is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._engine.take())

    def _trace_tls(self, kind: str, name: str, **fields: str) -> None:
        self._tracer.emit(
            self._correlation,
            "sent" if kind == "sent" else "received",
            self._peer_name,
            "TLS",
            name,
            self._identity,
            psk_identity=self._identity,
            **fields,
        )

    def _tcp_name(self) -> str:
        return f"{address_text(self.local)}->{address_text(self.remote)}"


class Bearer:
    """Brings the BFCP connection up: listens, connects, and picks the connection to use."""

    def __init__(self, tracer: Tracer, correlation: str, peer_name: str = "MRFP") -> None:
        self._tracer = tracer
        self._correlation = correlation
        self._peer_name = peer_name
        self._server: asyncio.Server | None = None
        self._waiting: list[Connection] = []
        self._accepted = asyncio.Event()

    async def listen(self, host: str) -> Address:
        """Listen on a free port; gives the address. Raises BearerFailed."""
        try:
            self._server = await asyncio.get_running_loop().create_server(self._accept, host, 0)
        except OSError as error:
            raise BearerFailed(f"cannot listen on {host}: {error.strerror}") from None
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def accepted(self, remote_host: str, seconds: float) -> Connection:
        """The connection that came in; of several, one from `remote_host` first. Raises BearerFailed."""
        try:
            async with asyncio.timeout(seconds):
                await self._accepted.wait()
        except TimeoutError:
            raise BearerFailed(f"no TCP connection came in {seconds:g} s") from None
        chosen = next((each for each in self._waiting if each.remote[0] == remote_host), self._waiting[0])
        self._waiting.remove(chosen)
        self._close_waiting()
        return chosen

    async def connect(self, remote: Address, local_host: str, seconds: float) -> Connection:
        """Open the connection to `remote`. Raises BearerFailed."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                _, connection = await loop.create_connection(
                    self._new, *remote, local_addr=(local_host, 0) if local_host else None
                )
        except TimeoutError:
            raise BearerFailed(f"no TCP connection to {address_text(remote)} in {seconds:g} s") from None
        except OSError as error:
            raise BearerFailed(f"no TCP connection to {address_text(remote)}: {error}") from None
        self._close_waiting()
        self._trace("sent", connection.local, connection.remote)
        return connection

    async def close(self) -> None:
        """Stop listening and drop what was accepted and not chosen."""
        self._close_waiting()

    def _new(self) -> Connection:
        return Connection(self._tracer, self._correlation, self._peer_name)

    def _accept(self) -> Connection:
        return _Accepted(self)

    def arrived(self, connection: Connection) -> None:
        """A connection came in at the listening port."""
        if len(self._waiting) >= _MAX_WAITING:
            connection.close()
            return
        self._waiting.append(connection)
        self._accepted.set()
        self._trace("received", connection.remote, connection.local)

    def _close_waiting(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in self._waiting:
            connection.close()
        self._waiting.clear()

    def _trace(self, kind: str, active: Address, passive: Address) -> None:
        self._tracer.emit(
            self._correlation,
            "sent" if kind == "sent" else "received",
            self._peer_name,
            "TCP",
            "TCP connect",
            f"{address_text(active)}->{address_text(passive)}",
            active=address_text(active),
            passive=address_text(passive),
        )


class _Accepted(Connection):
    def __init__(self, bearer: Bearer) -> None:
        super().__init__(bearer._tracer, bearer._correlation, bearer._peer_name)
        self._bearer = bearer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._bearer.arrived(self)


def address_text(address: Address) -> str:
    """host:port, with brackets around IPv6."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
