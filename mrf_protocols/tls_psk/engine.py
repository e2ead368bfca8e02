"""One TLS-PSK connection without a socket."""

import contextlib
import ssl

from mrf_protocols.tls_psk import openssl
from mrf_protocols.tls_psk.credentials import PskCredentials
from mrf_protocols.tls_psk.errors import TlsFailure, TlsPskError, failure_reason
from mrf_protocols.tls_psk.policy import TlsRole

_RECORD_PLAINTEXT_OCTETS = 16384


class _PskHandshake:
    """The key while a handshake needs it, and what the handshake did with it. Refers to no context and no
    connection.
    """

    __slots__ = ("credentials", "key_was_asked_for", "peer_identity")

    def __init__(self, credentials: PskCredentials) -> None:
        self.credentials = credentials
        self.key_was_asked_for = False
        self.peer_identity = ""

    def psk_client_callback(self, hint: str | None) -> tuple[str, bytes]:
        self.key_was_asked_for = True
        return self.credentials.identity, self.credentials.key

    def psk_server_callback(self, identity: str | None) -> bytes:
        self.peer_identity = identity or ""
        if self.peer_identity != self.credentials.identity and not self.credentials.accept_any_identity:
            return b""
        self.key_was_asked_for = True
        return self.credentials.key


class TlsEngine:
    """Octets in, plaintext out, and the reverse; no socket, no clock.

    After every call send what `take()` gives. `context` comes from `make_context` with the same `role`. The
    key is dropped as soon as the handshake has ended, either way. Every method raises nothing but
    TlsPskError.
    """

    __slots__ = (
        "_connection",
        "_handle",
        "_handshake",
        "_incoming",
        "_outgoing",
        "closed",
        "peer_identity",
        "ready",
    )

    def __init__(self, context: ssl.SSLContext, role: TlsRole, credentials: PskCredentials) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        serving = role is TlsRole.SERVER
        self._connection = context.wrap_bio(self._incoming, self._outgoing, server_side=serving)
        self._handshake: _PskHandshake | None = _PskHandshake(credentials)
        self._handle = openssl.attach(self._connection, serving, self._handshake)
        self.ready = False
        """The handshake is complete and the peer has proved the key."""
        self.closed = False
        """The peer has sent close_notify."""
        self.peer_identity = ""
        """As TLS server: the identity that the client named."""

    def __del__(self) -> None:
        self._forget_key()

    @property
    def version(self) -> str:
        """Negotiated version, "TLSv1.2" or "TLSv1.3"; "" before the handshake is complete."""
        return (self._connection.version() or "") if self.ready else ""

    @property
    def cipher(self) -> str:
        """Name of the negotiated suite; "" before the handshake is complete."""
        suite = self._connection.cipher() if self.ready else None
        return suite[0] if suite else ""

    def start(self) -> None:
        """As TLS client: write the ClientHello. As TLS server: nothing."""
        self._advance_handshake()

    def feed(self, octets: bytes | bytearray | memoryview) -> list[bytes]:
        """Take octets from the peer; returns the plaintext they complete. May turn `ready` or `closed`
        True.
        """
        self._incoming.write(octets)
        if not self.ready:
            if not self._advance_handshake():
                return []
            if not self._incoming.pending and not self._connection.pending():
                return []  # mostly nothing follows the last flight, and to be told so costs an exception
        return self._read_plaintext()

    def write(self, plaintext: bytes) -> None:
        """Encrypt for the peer. Raises TlsPskError before `ready`, so that nothing leaves in a half-made
        session.
        """
        if not self.ready:
            raise TlsPskError(TlsFailure.PROTOCOL, "no session to write to yet")
        try:
            self._connection.write(plaintext)
        except ssl.SSLError as error:
            raise TlsPskError(failure_reason(error), error.reason or "") from None

    def take(self) -> bytes:
        """Octets for the peer, b"" when there are none."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def end_of_stream(self) -> None:
        """The TCP connection has ended. Raises TlsPskError when TLS had not ended before it (truncation)."""
        self._forget_key()
        if not self.closed:
            raise TlsPskError(TlsFailure.TRUNCATED if self.ready else TlsFailure.CLOSED_IN_HANDSHAKE)

    def close(self) -> None:
        """Write close_notify and forget the key; the engine is of no use afterwards."""
        self._forget_key()
        if not self.ready:
            return
        # the peer's own close_notify is not waited for (RFC 8446 6.1)
        with contextlib.suppress(ssl.SSLError):
            self._connection.unwrap()

    def _advance_handshake(self) -> bool:
        handshake = self._handshake
        if handshake is None:
            raise TlsPskError(TlsFailure.PROTOCOL, "the handshake has already failed")
        try:
            openssl.do_handshake(self._connection, handshake)
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self._forget_key()
            raise TlsPskError(failure_reason(error), error.reason or "") from None
        except SystemError:
            self._forget_key()
            raise TlsPskError(TlsFailure.UNKNOWN_IDENTITY, "the peer's identity is not UTF-8") from None
        self._forget_key()
        # A resumed session or a certificate would have reached this point without the key of this very
        # termination. An external PSK shows as a reused session in TLS 1.3, and only there.
        if (
            not handshake.key_was_asked_for
            or (self._connection.version() == "TLSv1.3") != self._connection.session_reused
        ):
            raise TlsPskError(TlsFailure.PEER_NOT_PSK)
        self.peer_identity = handshake.peer_identity
        self.ready = True
        return True

    def _read_plaintext(self) -> list[bytes]:
        plaintext: list[bytes] = []
        read, incoming, pending = self._connection.read, self._incoming, self._connection.pending
        try:
            while True:
                chunk = read(_RECORD_PLAINTEXT_OCTETS)
                if not chunk:
                    self.closed = True
                    break
                plaintext.append(chunk)
                if not incoming.pending and not pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.closed = True
        except ssl.SSLError as error:
            raise TlsPskError(failure_reason(error), error.reason or "") from None
        return plaintext

    def _forget_key(self) -> None:
        if self._handshake is not None:
            self._handshake = None
            openssl.detach(self._handle)
