"""Ask a KMS for tickets over HTTP: the one module of mrf_kms that other elements use."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import aiohttp

from mrf_kms.breaker import Breaker
from mrf_protocols.mikey import ErrorNumber, MikeyError, read_error

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/mikey"
CORRELATION_HEADER = "X-Correlation-ID"
DEFAULT_PATH = "/keymanagement"
REFUSALS = frozenset({400, 403})
"""How a KMS refuses a message even where it sends no Error message with it; others are faults of HTTP."""
MAX_RESPONSE = 65536
"""Octets of the longest response read."""


class KmsError(Exception):
    """The KMS did not give what was asked for."""


class KmsUnavailable(KmsError):
    """No answer: connection refused, deadline passed, or a server error (5xx). Another attempt may work.

    `ask_again`: the message may have been answered, so it was not sent to another instance of the KMS; a new one
    would go there.
    """

    def __init__(self, text: str, *, ask_again: bool = False) -> None:
        super().__init__(text)
        self.ask_again = ask_again


class KmsBusy(KmsUnavailable):
    """We ask more often than the KMS allows (429)."""


_HINTS: dict[int, str] = {ErrorNumber.INVALID_TS: " (the time: are both clocks set by NTP?)"}
"""What a person can do about an error, where there is one thing."""


class KmsRefused(KmsError):
    """The KMS said no: `status` of HTTP and `number` of the MIKEY Error message in it, None without one.

    `message` is that Error message. It is a hint until `judged` has verified it: then `authenticated`.
    """

    def __init__(
        self, status: int, number: int | None, message: bytes = b"", *, authenticated: bool = False
    ) -> None:
        words = "" if number is None else f", MIKEY error {number}{_HINTS.get(number, '')}"
        super().__init__(f"refused with status {status}{words}{', authenticated' if authenticated else ''}")
        self.status = status
        self.number = number
        self.message = message
        self.authenticated = authenticated


class KmsProtocolError(KmsError):
    """The answer is no MIKEY message (content type, status, length), or one that cannot be verified."""


def judged(refused: KmsRefused, read: Callable[[bytes], MikeyError]) -> KmsError:
    """What a refusal is worth, for whoever sent the message in error: `read` is the `reported` of its exchange.

    A refusal without Error message stays one; an Error message about something else, or with a wrong MAC, says
    nothing.
    """
    if refused.number is None:
        return refused
    error = read(refused.message)
    if not error.reported:
        return KmsProtocolError(f"refused with status {refused.status} and what is no answer: {error.text}")
    return KmsRefused(refused.status, error.number, refused.message, authenticated=error.authenticated)


@dataclass(slots=True)
class _Server:
    url: str
    breaker: Breaker


class _Unsent(Exception):
    """The message did not get to the server, or the server says that it did nothing with it."""


class KmsClient:
    """Client of a KMS, at one URL or several of instances that share a store, in order of preference.

    Connections are kept alive between calls. A URL is http(s)://host:port; a path in it stands instead of
    "/keymanagement". `timeout` is the deadline of a call in seconds, whatever it waits for and whoever it asks.
    `ca_file` has the CA certificates to trust for https (default: the system's), `certificate` and `private_key`
    are what we show there ourselves (PEM). `connections` may be open at once, more calls wait for one. Use it
    within one event loop.

    A message goes to another instance only if the one before cannot have answered it: no connection, or a status
    that says so. One that may have been answered is never sent again: the KMS would refuse it as a replay. The
    caller may try with a new message.
    """

    def __init__(
        self,
        base_url: str | Sequence[str],
        *,
        timeout: float = 3.0,
        ca_file: Path | None = None,
        certificate: Path | None = None,
        private_key: Path | None = None,
        connections: int = 100,
    ) -> None:
        urls = [base_url] if isinstance(base_url, str) else list(base_url)
        if not urls:
            raise ValueError("a client needs the URL of a KMS")
        self._servers = [_Server(_with_path(url), Breaker()) for url in urls]
        self._timeout = timeout
        self._ca_file, self._certificate, self._private_key = ca_file, certificate, private_key
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def ticket_request(self, body: bytes, correlation: str) -> bytes:
        """Send REQUEST_INIT and give the REQUEST_RESP.

        Raises KmsUnavailable, KmsRefused, KmsProtocolError.
        """
        return await self._post("ticketrequest", body, correlation)

    async def ticket_resolve(self, body: bytes, correlation: str) -> bytes:
        """Send RESOLVE_INIT and give the RESOLVE_RESP.

        Raises KmsUnavailable, KmsRefused, KmsProtocolError.
        """
        return await self._post("ticketresolve", body, correlation)

    @property
    def in_service(self) -> dict[str, bool]:
        """Which URLs answer, as far as is known."""
        return {server.url: not server.breaker.is_open for server in self._servers}

    async def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            tls: ssl.SSLContext | bool = True
            if self._ca_file is not None or self._certificate is not None:
                tls = ssl.create_default_context(cafile=self._ca_file)
                if self._certificate is not None:
                    tls.load_cert_chain(self._certificate, self._private_key)
            # Connections rest for less time here than with the KMS, so that a call seldom meets one being closed.
            connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=30.0, ssl=tls)
            # The deadline is ours, for the whole call: aiohttp's own counts the wait for a connection apart.
            timeout = aiohttp.ClientTimeout(total=None)
            watch = aiohttp.TraceConfig()
            watch.on_connection_reuseconn.append(_note_reuse)
            watch.on_request_headers_sent.append(_note_sent)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                trace_configs=[watch],
                cookie_jar=aiohttp.DummyCookieJar(),  # no KMS has a use for cookies
            )
        return self._session

    async def _post(self, request_type: str, body: bytes, correlation: str) -> bytes:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        reason, sent_before = "no KMS is in service", False
        now = loop.time()
        order = sorted(self._servers, key=lambda server: server.breaker.is_suspect(now))
        for place, server in enumerate(order):
            if not server.breaker.admits(loop.time()):
                continue
            # What is left is shared with those still to be asked, so that a silent one leaves them some.
            share = (deadline - loop.time()) / (len(order) - place)
            try:
                return await self._ask(server, share, request_type, body, correlation)
            except _Unsent as unsent:
                reason, sent_before = str(unsent), True
            except KmsUnavailable as error:
                error.ask_again = place + 1 < len(order) and not isinstance(error, KmsBusy)
                raise
            except KmsRefused as refused:
                if sent_before and refused.number == ErrorNumber.INVALID_TS:
                    raise KmsUnavailable("an instance that failed had answered the message") from None
                raise
        raise KmsUnavailable(reason)

    async def _ask(
        self, server: _Server, share: float, request_type: str, body: bytes, correlation: str
    ) -> bytes:
        """Ask one server, and take note of how it did. Raises _Unsent when another one may be asked."""
        loop, breaker = asyncio.get_running_loop(), server.breaker
        probe, use = breaker.is_open, _Use()
        try:
            async with asyncio.timeout(share):
                data = await self._send(server.url, request_type, body, correlation, use)
        except (KmsRefused, KmsProtocolError, KmsBusy):
            breaker.succeeded()
            raise
        except (KmsUnavailable, _Unsent, TimeoutError, aiohttp.ClientError, OSError) as error:
            if breaker.failed(loop.time(), probe=probe):
                log.warning("KMS at %s is out of service: %s", server.url, str(error) or type(error).__name__)
            raise _as_ours(error, share, use) from error
        except BaseException:
            breaker.gave_up(probe=probe)
            raise
        breaker.succeeded()
        if probe:
            log.info("KMS at %s is back in service", server.url)
        return data

    async def _send(self, url: str, request_type: str, body: bytes, correlation: str, use: "_Use") -> bytes:
        try:
            return await self._post_once(url, request_type, body, correlation, use)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not use.reused:
                raise
        # A kept-alive connection ended under us, most likely while it rested.
        try:
            return await self._post_once(url, request_type, body, correlation, use)
        except KmsRefused as refused:
            if refused.number == ErrorNumber.INVALID_TS:
                raise KmsUnavailable("the connection ended with the answer") from None
            raise

    async def _post_once(
        self, url: str, request_type: str, body: bytes, correlation: str, use: "_Use"
    ) -> bytes:
        headers = {"Content-Type": CONTENT_TYPE, CORRELATION_HEADER: header_text(correlation)}
        async with self._opened().post(
            f"{url}?requesttype={request_type}",
            data=body,
            headers=headers,
            allow_redirects=False,
            trace_request_ctx=use,
        ) as response:
            status, kind = response.status, response.content_type
            if status == 503:
                raise _Unsent("the KMS cannot serve at present, status 503")
            if status >= 500:
                raise KmsUnavailable(f"the KMS failed with status {status}")
            data = await _read(response)
        if status == 429:
            raise KmsBusy("we ask the KMS too often")
        number = read_error(data)
        if (number is not None and status >= 400) or status in REFUSALS:
            raise KmsRefused(status, number, data)
        if status != 200 or kind != CONTENT_TYPE:
            raise KmsProtocolError(f"status {status} with content type {kind}")
        return data


@dataclass(slots=True)
class _Use:
    """How one request was sent."""

    reused: bool = False
    sent: bool = False


async def _note_sent(session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
    context.trace_request_ctx.sent = True


async def _note_reuse(session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
    context.trace_request_ctx.reused = True


def _as_ours(error: Exception, share: float, use: _Use) -> Exception:
    """Give what to raise for a failed attempt."""
    if isinstance(error, KmsUnavailable | _Unsent):
        return error
    text = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return _Unsent(text)
    if isinstance(error, TimeoutError):
        text = f"no answer within {share:.3g} s"
        return KmsUnavailable(text) if use.sent else _Unsent(text)
    if isinstance(error, aiohttp.ClientPayloadError):
        return KmsUnavailable("the answer broke off")
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return KmsUnavailable(text)
    return KmsProtocolError(text)


def _with_path(base_url: str) -> str:
    scheme, _, rest = base_url.rstrip("/").partition("://")
    return f"{scheme}://{rest}" + ("" if "/" in rest else DEFAULT_PATH)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(16384):
        data += chunk
        if len(data) > MAX_RESPONSE:
            raise KmsProtocolError("the answer is too long")
    return bytes(data)


def header_text(correlation: str) -> str:
    """Give a correlation id as a header can carry it: printable ASCII, at most 256 characters."""
    return "".join(c if " " <= c <= "~" else "?" for c in correlation[:256]).strip()
