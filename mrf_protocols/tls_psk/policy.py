"""What a TLS-PSK session may negotiate, and the OpenSSL context that enforces it."""

import enum
import ssl
from dataclasses import dataclass

from mrf_protocols.tls_psk import openssl
from mrf_protocols.tls_psk.errors import TlsFailure, TlsPskError

# RFC 5489 and RFC 7905: an ephemeral key exchange beside the PSK, so a key that leaks later opens no
# recording.
_FORWARD_SECRET_SUITES = (
    "ECDHE-PSK-CHACHA20-POLY1305",
    "ECDHE-PSK-AES128-CBC-SHA256",
    "ECDHE-PSK-AES256-CBC-SHA384",
)
# RFC 5487 first, RFC 4279 last. No NULL, no CCM8, no RSA-PSK, and no DHE-PSK, which costs a server 16 times
# as much.
_PLAIN_SUITES = (
    "PSK-AES128-GCM-SHA256",
    "PSK-AES256-GCM-SHA384",
    "PSK-AES128-CBC-SHA256",
    "PSK-AES256-CBC-SHA384",
    "PSK-AES128-CBC-SHA",
    "PSK-AES256-CBC-SHA",
)


class TlsRole(enum.Enum):
    """Side of the TLS handshake, independent of who opened the TCP connection (RFC 4583 clause 8)."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """Versions and key exchanges allowed.

    `tls13`: TLS 1.3 with psk_dhe_ke. `ecdhe_psk`: TLS 1.2, RFC 5489 suites. `plain_psk`: TLS 1.2, the suites
    of RFC 4279 and RFC 5487, which TS 23.333 6.2.19.1 asks for and which give no forward secrecy. Switching
    all off is a fault.
    """

    tls13: bool = True
    ecdhe_psk: bool = True
    plain_psk: bool = True

    @property
    def tls12(self) -> bool:
        """True when some TLS 1.2 suite is allowed."""
        return self.ecdhe_psk or self.plain_psk

    def cipher_list(self) -> str:
        """OpenSSL cipher string for TLS 1.2; security level 3 makes OpenSSL itself insist on forward
        secrecy.
        """
        suites = _FORWARD_SECRET_SUITES * self.ecdhe_psk + _PLAIN_SUITES * self.plain_psk
        return ":".join((*(suites or _FORWARD_SECRET_SUITES), f"@SECLEVEL={2 if self.plain_psk else 3}"))


def make_context(role: TlsRole, policy: TlsPolicy) -> ssl.SSLContext:
    """Context to share among all connections of one role and policy; a context of its own costs a connection
    10 kB more.

    It holds no key. Certificates, tickets, session cache, compression and renegotiation are off: each of them
    would let in a peer that has not proved the key of its own termination. Raises TlsPskError when the policy
    allows nothing.
    """
    if not (policy.tls13 or policy.tls12):
        raise TlsPskError(TlsFailure.NO_COMMON_PARAMETERS, "the policy allows no TLS version")
    serving = role is TlsRole.SERVER
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if serving else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # A TLS 1.3 client that does not verify accepts any certificate from a server without the key. The trust
    # store stays empty, so requiring a certificate refuses every certificate and leaves PSK handshakes alone.
    context.verify_mode = ssl.CERT_NONE if serving else ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if policy.tls12 else ssl.TLSVersion.TLSv1_3
    context.maximum_version = ssl.TLSVersion.TLSv1_3 if policy.tls13 else ssl.TLSVersion.TLSv1_2
    context.set_ciphers(policy.cipher_list())
    context.options |= (
        ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    )
    if serving:
        context.num_tickets = 0
    openssl.disable_session_cache(context)
    openssl.prepare_context(context, serving)
    return context
