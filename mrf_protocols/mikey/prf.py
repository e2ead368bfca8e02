"""The PRF of MIKEY (RFC 3830 4.1.2) and every key derivation of MIKEY-TICKET (RFC 6043 5.1, A.2)."""

import hmac
import struct
from enum import Enum

ENCRYPTION = 0x150533E1
AUTHENTICATION = 0x2D22AC75
SALT = 0x29B88916
"""Constants of keys that protect a message, from a PSK, envelope key, MPK or TPK (RFC 3830 4.1.4)."""
TGK_TO_TEK = 0x2AD01C64
TGK_TO_SALT = 0x39A2C14B
"""Constants of session keys from a TGK (RFC 3830 4.1.3)."""
FORK_MPKR = 0x2B288856
FORK_TGK = 0x1512B54A
MPK_TO_MPKI = 0x220E99A2
MPK_TO_MPKR = 0x1F4D675B
_ALL = 0xFFFFFFFF


class Purpose(Enum):
    """The octet of the label that tells initial from response messages (RFC 6043 5.1.2)."""

    INITIAL = 1
    RESPONSE = 2


def prf(digest: str, inkey: bytes, label: bytes, length: int) -> bytes:
    """PRF(inkey, label) of `length` octets; `digest` is "sha1" (MIKEY-1) or "sha256" (PRF-HMAC-SHA-256).

    The key goes in by blocks of 256 bits whichever the hash.
    """
    if len(inkey) <= 32:
        return _p(digest, inkey, label, length)
    result = 0
    for at in range(0, len(inkey), 32):
        result ^= int.from_bytes(_p(digest, inkey[at : at + 32], label, length))
    return result.to_bytes(length)


def _p(digest: str, key: bytes, label: bytes, length: int) -> bytes:
    chained = hmac.digest(key, label, digest)
    out = hmac.digest(key, chained + label, digest)
    while len(out) < length:
        chained = hmac.digest(key, chained, digest)
        out += hmac.digest(key, chained + label, digest)
    return out[:length]


def _rands(rand_i: bytes, rand_r: bytes) -> bytes:
    return b"%c%b%c%b" % (len(rand_i), rand_i, len(rand_r), rand_r)


def message_label(constant: int, csb_id: int, purpose: Purpose, rand_i: bytes, rand_r: bytes) -> bytes:
    """Label of the keys that protect a message (RFC 6043 5.1.2); an absent RAND is b""."""
    return struct.pack("!IBIB", constant, 0xFF, csb_id, purpose.value) + _rands(rand_i, rand_r)


def session_label(constant: int, cs_id: int, rand_i: bytes, rand_r: bytes) -> bytes:
    """Label of TEK and salt from TGK, TGK' or GTGK (RFC 6043 5.1.3)."""
    return struct.pack("!IBIB", constant, cs_id, _ALL, 3) + _rands(rand_i, rand_r)


def fork_label(constant: int, identity: bytes, rand_kms: bytes) -> bytes:
    """Label of MPKr' and TGK' (RFC 6043 5.1.1); `identity` is the ID Data of IDRr."""
    modifier = struct.pack("!H", len(identity)) + identity + bytes([len(rand_kms)]) + rand_kms
    return struct.pack("!IBIB", constant, 0xFF, _ALL, 0) + modifier


def initiator_data_label(constant: int) -> bytes:
    """Label of the key that protects Vr of Initiator Data (RFC 6043 6.10)."""
    return struct.pack("!IBIB", constant, 0xFF, _ALL, 4)


def ticket_label(constant: int, rand: bytes) -> bytes:
    """Label of the keys from a TPK (RFC 6043 A.2.1); `rand` is that of the ticket."""
    return struct.pack("!IBIBB", constant, 0xFF, _ALL, 5, len(rand)) + rand


def mpk_label(constant: int, rand: bytes) -> bytes:
    """Label of MPKi and MPKr from the MPK (RFC 6043 A.2.2); `rand` is that of the ticket."""
    return struct.pack("!IBIBB", constant, 0xFF, _ALL, 6, len(rand)) + rand
