"""The narrow door to OpenSSL's PSK callbacks and session cache, which the ssl module does not fully open.

CPython 3.13 and later have PSK callbacks per context. Before that the C half of sslpsk3 sets them per
connection; its Python classes cannot do a non-blocking server handshake, so they stay unused. The session
cache can only be switched off through ctypes, in the very libssl that the ssl module is linked with.
"""

import _ssl
import ctypes
import ssl
import sys
import threading
from typing import Any, Protocol

from mrf_protocols.tls_psk.errors import TlsFailure, TlsPskError


class PskHandshake(Protocol):
    """What OpenSSL asks of one handshake. The method names are those that sslpsk3 dispatches to."""

    def psk_client_callback(self, hint: str | None) -> tuple[str, bytes]:
        """As TLS client: the identity and the key to use."""

    def psk_server_callback(self, identity: str | None) -> bytes:
        """As TLS server: the key for this identity, b"" to refuse."""


_SSL_CTRL_SET_SESS_CACHE_MODE = 44
_SSL_CTRL_GET_SESS_CACHE_MODE = 45
_SSL_SESS_CACHE_OFF = 0
_SSL_SESS_CACHE_SERVER = 2

_libssl = ctypes.CDLL(_ssl.__file__)  # symbols resolve through the extension to the libssl it was linked with
_libssl.SSL_CTX_ctrl.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p)
_libssl.SSL_CTX_ctrl.restype = ctypes.c_long
_libssl.SSL_set_session_id_context.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint)
_libssl.SSL_set_session_id_context.restype = ctypes.c_int


def disable_session_cache(context: ssl.SSLContext) -> None:
    """Keep no session of any connection: a cached one could be resumed on another termination without its
    key.

    A context starts with CPython's struct `PyObject_HEAD; SSL_CTX *ctx`. The mode is read before it is
    written: when the value is not the one CPython leaves there, the layout is unknown and the process must
    not serve TLS.
    """
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    if _libssl.SSL_CTX_ctrl(pointer, _SSL_CTRL_GET_SESS_CACHE_MODE, 0, None) != _SSL_SESS_CACHE_SERVER:
        raise TlsPskError(TlsFailure.PROTOCOL, "this Python's ssl module is laid out in an unknown way")
    _libssl.SSL_CTX_ctrl(pointer, _SSL_CTRL_SET_SESS_CACHE_MODE, _SSL_SESS_CACHE_OFF, None)


if sys.version_info >= (3, 13):
    _current = threading.local()

    def _client_callback(hint: str | None) -> tuple[str | None, bytes]:
        handshake: PskHandshake = _current.handshake
        return handshake.psk_client_callback(hint)

    def _server_callback(identity: str | None) -> bytes:
        handshake: PskHandshake = _current.handshake
        return handshake.psk_server_callback(identity)

    def prepare_context(context: ssl.SSLContext, serving: bool) -> None:
        """Install the callbacks. They are module functions: a callback that refers to its context would never
        be freed.
        """
        if serving:
            context.set_psk_server_callback(_server_callback)
        else:
            context.set_psk_client_callback(_client_callback)

    def attach(connection: ssl.SSLObject, serving: bool, handshake: PskHandshake) -> int:
        """Tie a handshake to a connection; returns a handle for `detach`."""
        return 0

    def detach(handle: int) -> None:
        """Forget the handshake behind the handle."""

    def do_handshake(connection: ssl.SSLObject, handshake: PskHandshake) -> None:
        """One step of the handshake. Raises ssl.SSLError, ssl.SSLWantReadError."""
        _current.handshake = handshake
        try:
            connection.do_handshake()
        finally:
            _current.handshake = None

else:
    from sslpsk3 import sslpsk3 as _sslpsk3

    _c_half: Any = _sslpsk3._sslpsk3
    _handshakes: dict[int, PskHandshake] = _sslpsk3.psk_contexts  # by SSL*; sslpsk3 never removes an entry

    def prepare_context(context: ssl.SSLContext, serving: bool) -> None:
        """Nothing to do: callbacks are set per connection."""

    def attach(connection: ssl.SSLObject, serving: bool, handshake: PskHandshake) -> int:
        """Tie a handshake to a connection; returns a handle for `detach`."""
        outer: Any = connection
        raw_connection = outer._sslobj  # what sslpsk3's C functions know how to open
        if serving:
            handle: int = _c_half.sslpsk3_set_psk_server_callback(raw_connection)
        else:
            handle = _c_half.sslpsk3_set_psk_client_callback(raw_connection)
            # CPython < 3.13 marks client contexts with "Python"; OpenSSL then takes an external PSK for a
            # foreign session.
            _libssl.SSL_set_session_id_context(handle, b"", 0)
        _handshakes[handle] = handshake
        return handle

    def detach(handle: int) -> None:
        """Forget the handshake behind the handle."""
        _handshakes.pop(handle, None)

    def do_handshake(connection: ssl.SSLObject, handshake: PskHandshake) -> None:
        """One step of the handshake. Raises ssl.SSLError, ssl.SSLWantReadError, SystemError (identity not
        UTF-8).
        """
        connection.do_handshake()
