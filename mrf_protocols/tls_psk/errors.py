"""Why a TLS session failed, as far as OpenSSL tells."""

import enum
import ssl


class TlsFailure(enum.Enum):
    """Reason of a TLS failure; the value is the word used in logs, metrics and notifications."""

    UNKNOWN_IDENTITY = "unknown-psk-identity"
    WRONG_KEY = "wrong-psk"
    NO_COMMON_PARAMETERS = "no-common-parameters"
    PEER_NOT_PSK = "peer-not-psk"
    """The peer resumed a session or showed a certificate instead of proving the key."""
    PROTOCOL = "tls-protocol-error"
    TRUNCATED = "closed-without-close-notify"
    CLOSED_IN_HANDSHAKE = "closed-in-handshake"
    CLIENT_HELLO_TIMEOUT = "client-hello-timeout"
    HANDSHAKE_TIMEOUT = "handshake-timeout"
    BAD_CREDENTIALS = "bad-credentials"
    """The identity or the key itself is unusable; found before any octet was sent."""


class TlsPskError(Exception):
    """A TLS session that cannot start or go on. `reason` says why; the text never holds key material.

    The alert for the peer, when there is one, is in `TlsEngine.take()`.
    """

    def __init__(self, reason: TlsFailure, text: str = "") -> None:
        super().__init__(f"{reason.value}: {text}" if text else reason.value)
        self.reason = reason


_UNKNOWN_IDENTITY_WORDS = (
    "PSK_IDENTITY_NOT_FOUND",
    "UNKNOWN PSK IDENTITY",
    "UNKNOWN_PSK_IDENTITY",
    "SIGNATURE_ALGORITHM",
)
_WRONG_KEY_WORDS = (
    "BINDER",
    "BAD_RECORD_MAC",
    "BAD RECORD MAC",
    "RECORD_LAYER_FAILURE",  # what OpenSSL 3.2 and later say of a bad record MAC
    "DECRYPT",
    "ILLEGAL_PARAMETER",
    "DIGEST_CHECK",
)
_NO_COMMON_WORDS = (
    "SHARED_CIPHER",
    "HANDSHAKE_FAILURE",
    "VERSION",
    "UNSUPPORTED_PROTOCOL",
    "CIPHER",
    "INSUFFICIENT_SECURITY",
)


def failure_reason(error: ssl.SSLError) -> TlsFailure:
    """Reason behind an OpenSSL error.

    A TLS 1.3 server that does not know the identity falls back to certificates and, having none, complains
    about signature algorithms; its client sees the plain alert handshake_failure, which stays
    NO_COMMON_PARAMETERS.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsFailure.PEER_NOT_PSK
    if isinstance(error, ssl.SSLEOFError):
        return TlsFailure.TRUNCATED
    words = f"{error.reason} {error}".upper()
    for reason, marks in (
        (TlsFailure.UNKNOWN_IDENTITY, _UNKNOWN_IDENTITY_WORDS),
        (TlsFailure.WRONG_KEY, _WRONG_KEY_WORDS),
        (TlsFailure.NO_COMMON_PARAMETERS, _NO_COMMON_WORDS),
    ):
        if any(mark in words for mark in marks):
            return reason
    return TlsFailure.PROTOCOL
