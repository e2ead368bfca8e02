"""Ask a KMS for tickets over HTTP: the one module of mrf_kms that other elements use."""

import asyncio
import ssl
from pathlib import Path

import aiohttp

from mrf_protocols.mikey import read_error

CONTENT_TYPE = "application/mikey"
CORRELATION_HEADER = "X-Correlation-ID"
DEFAULT_PATH = "/keymanagement"
MAX_RESPONSE = 65536
"""Octets of the longest response read."""


class KmsError(Exception):
    """The KMS did not give what was asked for."""


class KmsUnavailable(KmsError):
    """No answer: connection refused, deadline passed, or a server error (5xx). Another attempt may work."""


class KmsRefused(KmsError):
    """The KMS said no: `status` of HTTP and `number` of the MIKEY Error message in it, None without one."""

    def __init__(self, status: int, number: int | None) -> None:
        super().__init__(
            f"refused with status {status}" + ("" if number is None else f", MIKEY error {number}")
        )
        self.status = status
        self.number = number


class KmsProtocolError(KmsError):
    """The answer is no MIKEY message: wrong content type or status, or too long."""


class KmsClient:
    """Client of one KMS, with connections kept alive between calls.

    `base_url` is http(s)://host:port; a path in it stands instead of "/keymanagement". `timeout` is the
    deadline of a call in seconds, whatever it waits for. `ca_file` has the CA certificates to trust for https
    (default: the system's). `connections` may be open at once, more calls wait for one. Use it within one
    event loop.
    """

    def __init__(
        self, base_url: str, *, timeout: float = 3.0, ca_file: Path | None = None, connections: int = 100
    ) -> None:
        scheme, _, rest = base_url.rstrip("/").partition("://")
        self._url = f"{scheme}://{rest}" + ("" if "/" in rest else DEFAULT_PATH)
        self._timeout = timeout
        self._ca_file = ca_file
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

    async def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            tls: ssl.SSLContext | bool = True
            if self._ca_file is not None:
                tls = ssl.create_default_context(cafile=self._ca_file)
            # Connections rest for less time here than with the KMS, so that a call seldom meets one being closed.
            connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=30.0, ssl=tls)
            # The deadline is ours, for the whole call: aiohttp's own counts the wait for a connection apart.
            timeout = aiohttp.ClientTimeout(total=None)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def _post(self, request_type: str, body: bytes, correlation: str) -> bytes:
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await self._post_once(request_type, body, correlation)
                except aiohttp.ClientConnectorError:
                    raise
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    # A kept-alive connection ended under us. If the KMS had worked on the message, its replay cache
                    # refuses the second copy, so nothing happens twice.
                    return await self._post_once(request_type, body, correlation)
        except TimeoutError:
            raise KmsUnavailable(f"no answer within {self._timeout:g} s") from None
        except aiohttp.ClientPayloadError as error:
            raise KmsUnavailable("the answer broke off") from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise KmsUnavailable(str(error) or type(error).__name__) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise KmsProtocolError(str(error) or type(error).__name__) from error

    async def _post_once(self, request_type: str, body: bytes, correlation: str) -> bytes:
        headers = {"Content-Type": CONTENT_TYPE, CORRELATION_HEADER: header_text(correlation)}
        async with self._opened().post(
            f"{self._url}?requesttype={request_type}",
            data=body,
            headers=headers,
            allow_redirects=False,
        ) as response:
            status, kind = response.status, response.content_type
            if status >= 500:
                raise KmsUnavailable(f"the KMS failed with status {status}")
            data = await _read(response)
        if status >= 400:
            raise KmsRefused(status, read_error(data))
        if status != 200 or kind != CONTENT_TYPE:
            raise KmsProtocolError(f"status {status} with content type {kind}")
        return data


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
