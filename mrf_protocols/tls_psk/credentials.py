"""The pre-shared key of one termination."""

from dataclasses import dataclass, field

from mrf_protocols.tls_psk.errors import TlsFailure, TlsPskError

MAXIMUM_IDENTITY_OCTETS = 255
"""OpenSSL's bound. RFC 4279 5.3 only promises 128: longer ones may fail at the peer."""
MINIMUM_KEY_OCTETS = 16
"""RFC 9257 6: at least 128 bits; OpenSSL itself would take one octet."""
MAXIMUM_KEY_OCTETS = 256


@dataclass(frozen=True, slots=True)
class PskCredentials:
    """Identity and key that both ends of one connection share.

    `identity`: 1..255 octets of UTF-8 without NUL (C would cut the string there). `key`: 16..256 octets.
    `accept_any_identity`: as TLS server take the key for whatever identity the client names. The key must
    still be proved; this only serves peers that build the identity in another way, and is sound because a
    termination has exactly one key. Raises TlsPskError(BAD_CREDENTIALS).
    """

    identity: str
    key: bytes = field(repr=False)
    accept_any_identity: bool = False

    def __post_init__(self) -> None:
        try:
            octets = self.identity.encode()
        except UnicodeEncodeError:
            raise TlsPskError(TlsFailure.BAD_CREDENTIALS, "the identity is not Unicode text") from None
        if not 1 <= len(octets) <= MAXIMUM_IDENTITY_OCTETS or 0 in octets:
            raise TlsPskError(
                TlsFailure.BAD_CREDENTIALS, "the identity needs 1..255 octets of UTF-8 without NUL"
            )
        if not MINIMUM_KEY_OCTETS <= len(self.key) <= MAXIMUM_KEY_OCTETS:
            raise TlsPskError(TlsFailure.BAD_CREDENTIALS, "the key needs 16..256 octets")
