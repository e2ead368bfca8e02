"""Keys that are not in the store: a source asked for a pre-shared key by name, and the one for GBA.

With GBA (TS 33.220) a user's key is Ks_NAF and its name the B-TID, sent as IDRpsk. The KMS is the NAF; an operator's
proxy on the Zn interface (TS 29.109) gives the key over HTTP. docs/kms.md specifies that interface.
"""

import asyncio
import base64
import binascii
import ssl
import time
from collections import OrderedDict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

import aiohttp
import msgspec

from mrf_protocols.mikey import Credential

MAX_ANSWER = 16384
MAX_CACHED = 100_000
UNKNOWN_FOR = 10.0
"""Seconds to remember that a source does not know a name, so that it is not asked again at once."""


class KeySourceError(Exception):
    """The source does not answer, or nothing that makes sense."""


class KeySource(Protocol):
    """Gives pre-shared keys by name."""

    async def find(self, name: str) -> Credential | None:
        """Give the user of a key, None when there is none. Raises KeySourceError."""

    async def close(self) -> None:
        """Let go of connections."""


class _ZnAnswer(msgspec.Struct):
    """What the proxy answers: `ks_naf` in base64, `expires` in Unix seconds, `identities` the user's IMPUs."""

    ks_naf: str
    expires: float
    identities: list[str]


class ZnProxy:
    """Ks_NAF by B-TID from an operator's Zn proxy.

    Asks ``GET url?b_tid=...&naf_id=...`` for names that fit `names` (with ``*``) and keeps an answer until it
    expires. `ca_file`, `certificate` and `private_key` are PEM files for HTTPS.
    """

    def __init__(
        self,
        url: str,
        naf_id: str,
        *,
        names: str = "*@*",
        timeout: float = 2.0,
        ca_file: Path | None = None,
        certificate: Path | None = None,
        private_key: Path | None = None,
    ) -> None:
        self._url, self._naf_id, self._names, self._timeout = url, naf_id, names, timeout
        self._tls: ssl.SSLContext | bool = True
        if ca_file is not None or certificate is not None:
            self._tls = ssl.create_default_context(cafile=ca_file)
            if certificate is not None:
                self._tls.load_cert_chain(certificate, private_key)
        self._session: aiohttp.ClientSession | None = None
        self._known: OrderedDict[str, tuple[float, Credential | None]] = OrderedDict()
        # Names are claimed by anybody: those that nobody has must not drive out the keys of others.
        self._unknown: OrderedDict[str, tuple[float, Credential | None]] = OrderedDict()

    async def find(self, name: str) -> Credential | None:
        if not fnmatchcase(name, self._names):
            return None
        until, credential = self._known.get(name) or self._unknown.get(name) or (0.0, None)
        if time.time() < until:
            return credential
        answer = await self._ask(name)
        self._known.pop(name, None)
        self._unknown.pop(name, None)
        cache = self._unknown if answer[1] is None else self._known
        cache[name] = answer
        if len(cache) > MAX_CACHED:
            cache.popitem(last=False)
        return answer[1]

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(self, name: str) -> tuple[float, Credential | None]:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls))
        parameters = {"b_tid": name, "naf_id": self._naf_id}
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._session.get(self._url, params=parameters, allow_redirects=False) as response,
            ):
                status, body = response.status, await response.content.read(MAX_ANSWER)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise KeySourceError(f"the Zn proxy does not answer: {type(error).__name__}") from None
        if status == 404:
            return time.time() + UNKNOWN_FOR, None
        if status != 200:
            raise KeySourceError(f"the Zn proxy answers with status {status}")
        return _read(name, body)


def _read(name: str, body: bytes) -> tuple[float, Credential]:
    try:
        answer = msgspec.json.decode(body, type=_ZnAnswer)
        key = base64.b64decode(answer.ks_naf, validate=True)
    except (msgspec.MsgspecError, binascii.Error, UnicodeDecodeError):
        # The cause stays out: it may quote the answer, which holds the key.
        raise KeySourceError("the answer of the Zn proxy cannot be read") from None
    if not 16 <= len(key) <= 64 or not answer.identities or not all(answer.identities):
        raise KeySourceError("the answer of the Zn proxy holds no usable key or no identity")
    # A pattern is the operator's to give, not the proxy's.
    identities = tuple(identity for identity in answer.identities if "*" not in identity)
    return answer.expires, Credential(name, key, identities)
