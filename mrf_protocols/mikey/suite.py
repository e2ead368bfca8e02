"""The two sets of algorithms, which are never mixed (RFC 6043 12.1), and what they do with a derived key."""

import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.numbers import EncrAlg, ErrorNumber, MacAlg, PrfFunc
from mrf_protocols.mikey.prf import prf

SALT_LENGTH = 14
"""Octets of the salting key of AES-CM."""


@dataclass(frozen=True, slots=True)
class Suite:
    """PRF, cipher and MAC that go together; `key_length` and `mac_length` in octets."""

    name: str
    prf_func: int
    encr_alg: int
    mac_alg: int
    digest: str
    key_length: int
    mac_length: int

    def derive(self, inkey: bytes, label: bytes, length: int) -> bytes:
        """Derive `length` octets with this suite's PRF."""
        return prf(self.digest, inkey, label, length)

    def mac(self, key: bytes, data: bytes) -> bytes:
        """MAC over `data`; the authentication key is as long as the MAC."""
        return hmac.digest(key, data, self.digest)

    def aes_cm(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        """AES in counter mode from the initial block `iv` (16 octets); encrypts and decrypts (RFC 3830
        4.2.3).
        """
        return Cipher(AES(key), CTR(iv)).encryptor().update(data)


SUITE_128 = Suite("128", PrfFunc.MIKEY_1, EncrAlg.AES_CM_128, MacAlg.HMAC_SHA_1_160, "sha1", 16, 20)
SUITE_256 = Suite(
    "256", PrfFunc.PRF_HMAC_SHA_256, EncrAlg.AES_CM_256, MacAlg.HMAC_SHA_256_256, "sha256", 32, 32
)


def suite_of(prf_func: int) -> Suite:
    """Give the suite that a PRF func belongs to. Raises MikeyError (error 2)."""
    if prf_func == PrfFunc.MIKEY_1:
        return SUITE_128
    if prf_func == PrfFunc.PRF_HMAC_SHA_256:
        return SUITE_256
    raise MikeyError(ErrorNumber.INVALID_PRF, f"PRF func {prf_func} is not supported")


# The cipher's backend is imported at the first use, which takes as long as some hundred messages: not within a call.
SUITE_128.aes_cm(bytes(16), bytes(16), b"")
