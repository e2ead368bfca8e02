"""REQUEST_INIT_PK and RESOLVE_INIT_PK once more, from the text alone: the public-key half of naive_mikey.

RSA is done in whole numbers after RFC 8017. Where the texts leave a choice the project has decided: signatures and
CHASH take SHA-256, PKE is RSAES-PKCS1-v1_5 and not cached, the envelope key is as long as the keys of the suite, and
CERT payloads hold X.509 certificates. `padding` is the random string of RSAES-PKCS1-v1_5 (RFC 8017 7.2.1, step 2a).
"""

from __future__ import annotations

import hashlib
from struct import pack
from typing import NamedTuple

import naive_mikey as naive
from naive_mikey import IDRI, IDRKMS, IDRR, RANDRI, RANDRR, TICKET, TP, Id, Policy, Suite, Time

# Data types: RFC 6043 table 6.1.
REQUEST_INIT_PK, RESOLVE_INIT_PK = 12, 17
X509V3, SHA_256, NO_CACHE, RSA_PKCS_1 = 0, 2, 0, 0
# RFC 8017 9.2, note 1: the DER encoding of DigestInfo before a SHA-256 hash.
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


class RsaKey(NamedTuple):
    """An RSA key pair (RFC 8017 3), with its certificate."""

    n: int
    e: int
    d: int
    p: int
    q: int
    certificate: bytes

    @property
    def octets(self) -> int:
        """k, the length of the modulus."""
        return (self.n.bit_length() + 7) // 8


def private(key: RsaKey, c: int) -> int:
    """c to the power of d modulo n, by the two primes (RFC 8017 5.1.2, step 2b)."""
    first, second = pow(c, key.d % (key.p - 1), key.p), pow(c, key.d % (key.q - 1), key.q)
    return second + key.q * ((first - second) * pow(key.q, -1, key.p) % key.p)


def encoded(covered: bytes, octets: int) -> bytes:
    """EMSA-PKCS1-v1_5 (RFC 8017 9.2): 00 01 FF...FF 00 T."""
    t = DIGEST_INFO + hashlib.sha256(covered).digest()
    return b"\0\1" + b"\xff" * (octets - len(t) - 3) + b"\0" + t


def signature(key: RsaKey, covered: bytes) -> bytes:
    """RSASSA-PKCS1-v1_5 (RFC 8017 8.2.1)."""
    return private(key, int.from_bytes(encoded(covered, key.octets), "big")).to_bytes(key.octets, "big")


def check_signature(key: RsaKey, found: bytes, covered: bytes, name: str) -> None:
    """RFC 8017 8.2.2."""
    opened = pow(int.from_bytes(found, "big"), key.e, key.n).to_bytes(key.octets, "big")
    naive.check(opened, encoded(covered, key.octets), name)


def sealed(key: RsaKey, envelope_key: bytes, padding: bytes) -> bytes:
    """RSAES-PKCS1-v1_5 (RFC 8017 7.2.1): 00 02 PS 00 M, PS at least eight octets, none of them zero."""
    if len(padding) != key.octets - len(envelope_key) - 3 or 0 in padding or len(padding) < 8:
        raise ValueError("padding")
    block = b"\0\2" + padding + b"\0" + envelope_key
    return pow(int.from_bytes(block, "big"), key.e, key.n).to_bytes(key.octets, "big")


def opened(key: RsaKey, data: bytes) -> tuple[bytes, bytes]:
    """RFC 8017 7.2.2: the envelope key, and the padding that was before it."""
    block = private(key, int.from_bytes(data, "big")).to_bytes(key.octets, "big")
    end = block.index(0, 2)
    if block[:2] != b"\0\2" or end < 10:
        raise ValueError("padding of PKE")
    return block[end + 1 :], block[2:end]


def signed(
    data_type: int,
    suite: Suite,
    csb_id: int,
    payloads: list[tuple[int, bytes]],
    key: RsaKey,
    identities: bytes,
) -> bytes:
    """HDR, payloads, SIGN, which has no Next Payload (3830 6.5); the signature is over all before it (6043 5.5)."""
    header = pack(">BBBBI", 1, data_type, payloads[0][0], 1 << 7 | suite.prf, csb_id) + naive.EMPTY_MAP
    following = [kind for kind, _ in payloads[1:]] + [naive.SIGN]
    chain = b"".join(pack(">B", after) + body for after, (_, body) in zip(following, payloads, strict=True))
    message = header + chain + pack(">H", RSA_PKCS_1 << 12 | key.octets)
    return message + signature(key, message + identities)


def certificates(chain: tuple[bytes, ...]) -> list[tuple[int, bytes]]:
    """3830 6.7: Cert Type, Cert len (16), DER; 6043 4.2.1.3: each in a payload of its own, the sender's first."""
    return [(naive.CERT, pack(">BH", X509V3, len(der)) + der) for der in chain]


def envelope(kms: RsaKey, envelope_key: bytes, padding: bytes) -> list[tuple[int, bytes]]:
    """CHASH (3830 6.8, 6043 6.7) and PKE (3830 6.3: C in the upper two bits of the length)."""
    fingerprint = pack(">B", SHA_256) + hashlib.sha256(kms.certificate).digest()
    data = sealed(kms, envelope_key, padding)
    return [(naive.CHASH, fingerprint), (naive.PKE, pack(">H", NO_CACHE << 14 | len(data)) + data)]


def request_init_pk(
    suite: Suite,
    csb_id: int,
    t: Time,
    randri: bytes,
    idri: Id,
    idrkms: Id,
    tp: Policy,
    own: RsaKey,
    chain: tuple[bytes, ...],
    kms: RsaKey,
    envelope_key: bytes,
    padding: bytes,
) -> bytes:
    """4.2.1.3: HDR, T, RANDRi, [IDRi], {CERTi}, [IDRkms], TP, [CHASH], PKE, SIGNi."""
    payloads = [
        (naive.T, naive.t_body(t)),
        (naive.RANDR, naive.randr_body(RANDRI, randri)),
        (naive.IDR, naive.idr_body(IDRI, idri)),
        *certificates(chain),
        (naive.IDR, naive.idr_body(IDRKMS, idrkms)),
        (TP, naive.policy_body(tp)),
        *envelope(kms, envelope_key, padding),
    ]
    return signed(REQUEST_INIT_PK, suite, csb_id, payloads, own, idri.data + idrkms.data)


def resolve_init_pk(
    suite: Suite,
    csb_id: int,
    t: Time,
    randrr: bytes,
    idrr: Id,
    idrkms: Id,
    ticket: bytes,
    own: RsaKey,
    chain: tuple[bytes, ...],
    kms: RsaKey,
    envelope_key: bytes,
    padding: bytes,
) -> bytes:
    """4.2.3.3: HDR, T, RANDRr, [IDRr], {CERTr}, [IDRkms], TICKET, [CHASH], PKE, SIGNr."""
    payloads = [
        (naive.T, naive.t_body(t)),
        (naive.RANDR, naive.randr_body(RANDRR, randrr)),
        (naive.IDR, naive.idr_body(IDRR, idrr)),
        *certificates(chain),
        (naive.IDR, naive.idr_body(IDRKMS, idrkms)),
        (TICKET, ticket),
        *envelope(kms, envelope_key, padding),
    ]
    return signed(RESOLVE_INIT_PK, suite, csb_id, payloads, own, idrr.data + idrkms.data)


class Signed(NamedTuple):
    """What the KMS reads in a signed message besides its TP or TICKET."""

    envelope_key: bytes
    padding: bytes
    sender: Id
    chain: tuple[bytes, ...]
    subject: bytes


def open_init_pk(message: bytes, role: int, own: RsaKey, sender: RsaKey) -> Signed:
    """4.2.1.4, 4.2.3.4: verify the signature and open the envelope; `subject` is the body of TP or TICKET."""
    m = naive.parsed(message)
    idr, idrkms = naive.read_id(m.parts, role), naive.read_id(m.parts, IDRKMS)
    sign = m.parts[-1]
    if sign.kind != naive.SIGN or sign.body[0] >> 4 != RSA_PKCS_1 or idr is None or idrkms is None:
        raise ValueError("payloads of a signed message")
    found = sign.body[2:]
    check_signature(sender, found, message[: -len(found)] + idr.data + idrkms.data, "SIGN")
    [chash], [pke] = naive.bodies(m.parts, naive.CHASH), naive.bodies(m.parts, naive.PKE)
    naive.check(chash, pack(">B", SHA_256) + hashlib.sha256(own.certificate).digest(), "CHASH")
    envelope_key, padding = opened(own, pke[2:])
    chain = tuple(body[3:] for body in naive.bodies(m.parts, naive.CERT))
    [subject] = naive.bodies(m.parts, TP if role == IDRI else TICKET)
    return Signed(envelope_key, padding, idr, chain, subject)
