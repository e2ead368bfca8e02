"""REQUEST_INIT_PK and RESOLVE_INIT_PK once more, from the text alone: the public-key half of naive_mikey.

Written from RFC 6043, RFC 3830 and RFC 8017 without looking at mrf_protocols, whose messages it is compared to; the
payloads of other messages are those of naive_mikey. RSA is done in whole numbers after RFC 8017. Where the texts
leave a choice the project has decided: signatures and CHASH take SHA-256, PKE is RSAES-PKCS1-v1_5 and not cached,
the envelope key is as long as the keys of the suite, and CERT payloads hold X.509 certificates, here taken to be Cert
Type 0 (X.509v3) rather than 2 (for signatures only). `padding` is the random string of RSAES-PKCS1-v1_5 (RFC 8017
7.2.1, step 2a).
"""

from __future__ import annotations

import hashlib
from struct import pack, unpack_from
from typing import NamedTuple

from naive_mikey import (
    CERT,
    CHASH,
    EMPTY_MAP,
    IDRI,
    IDRKMS,
    IDRR,
    PKE,
    RANDR,
    RANDRI,
    RANDRR,
    SIGN,
    SUITES,
    TICKET,
    TP,
    Id,
    Policy,
    Suite,
    T,
    Time,
    bodies,
    identified,
    parsed,
    policy_body,
    randr_body,
    read_id,
    read_rand,
    t_body,
)

# Data types: RFC 6043 table 6.1.
REQUEST_INIT_PK, RESOLVE_INIT_PK = 12, 17
# Values of fields: RFC 3830 tables 6.3, 6.5 and 6.7.b, RFC 6043 table 6.12.
NO_CACHE, RSA_PKCS1, X509V3, SHA_256 = 0, 0, 0, 2
# What is before the hash in the DER of a DigestInfo of SHA-256: RFC 8017 9.2, note 1.
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


# ------------------------------------------------------------------ RFC 8017: RSA


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
    m_1 = pow(c, key.d % (key.p - 1), key.p)
    m_2 = pow(c, key.d % (key.q - 1), key.q)
    h = (m_1 - m_2) * pow(key.q, -1, key.p) % key.p
    return m_2 + key.q * h


def encoded(covered: bytes, octets: int) -> bytes:
    """EMSA-PKCS1-v1_5 (RFC 8017 9.2): 00 01 FF...FF 00 T."""
    t = DIGEST_INFO + hashlib.sha256(covered).digest()
    if octets < len(t) + 11:
        raise ValueError("modulus too short for a signature")
    return b"\x00\x01" + b"\xff" * (octets - len(t) - 3) + b"\x00" + t


def signature(key: RsaKey, covered: bytes) -> bytes:
    """RSASSA-PKCS1-v1_5 (RFC 8017 8.2.1)."""
    m = int.from_bytes(encoded(covered, key.octets), "big")
    return private(key, m).to_bytes(key.octets, "big")


def check_signature(key: RsaKey, found: bytes, covered: bytes, name: str) -> None:
    """RFC 8017 8.2.2."""
    s = int.from_bytes(found, "big")
    if len(found) != key.octets or s >= key.n:
        raise ValueError(f"wrong signature in {name}")
    if pow(s, key.e, key.n).to_bytes(key.octets, "big") != encoded(covered, key.octets):
        raise ValueError(f"wrong signature in {name}")


def sealed(key: RsaKey, envelope_key: bytes, padding: bytes) -> bytes:
    """RSAES-PKCS1-v1_5 (RFC 8017 7.2.1): 00 02 PS 00 M, PS at least eight octets, none of them zero."""
    em = b"\x00\x02" + padding + b"\x00" + envelope_key
    if len(em) != key.octets or len(padding) < 8 or 0 in padding:
        raise ValueError("padding of the envelope key")
    return pow(int.from_bytes(em, "big"), key.e, key.n).to_bytes(key.octets, "big")


def opened(key: RsaKey, data: bytes) -> tuple[bytes, bytes]:
    """RFC 8017 7.2.2: the envelope key, and the padding that was before it."""
    c = int.from_bytes(data, "big")
    if len(data) != key.octets or c >= key.n:
        raise ValueError("decryption error")
    em = private(key, c).to_bytes(key.octets, "big")
    zero = em.find(b"\x00", 2)
    if em[:2] != b"\x00\x02" or zero < 2 + 8:
        raise ValueError("decryption error")
    return em[zero + 1 :], em[2:zero]


# ------------------------------------------------------------------ payloads, and the message around them


def signed(
    data_type: int,
    suite: Suite,
    csb_id: int,
    payloads: list[tuple[int, bytes]],
    key: RsaKey,
    identities: bytes,
) -> bytes:
    """HDR, payloads, SIGN: S type (4), Signature len (12), Signature, and no Next Payload (3830 6.5).

    The signature is over all before it, S type and length included, and over the identities behind that (6043 5.5).
    V flag 1, #CS 0, Empty map (6043 4.2.1.1, 4.2.3.1).
    """
    message = pack(">BBBBI", 1, data_type, payloads[0][0], 1 << 7 | suite.prf, csb_id) + EMPTY_MAP
    following = [*(kind for kind, _ in payloads[1:]), SIGN]
    for after, (_, body) in zip(following, payloads, strict=True):
        message += pack(">B", after) + body
    message += pack(">H", RSA_PKCS1 << 12 | key.octets)
    return message + signature(key, message + identities)


def certificates(chain: tuple[bytes, ...]) -> list[tuple[int, bytes]]:
    """3830 6.7: Cert Type, Cert len (16), DER; 6043 4.2.1.3: each in a payload of its own, the sender's first."""
    return [(CERT, pack(">BH", X509V3, len(der)) + der) for der in chain]


def envelope(kms: RsaKey, envelope_key: bytes, padding: bytes) -> list[tuple[int, bytes]]:
    """CHASH (3830 6.8, 6043 6.7) and PKE (3830 6.3: C in the upper two bits of the length)."""
    data = sealed(kms, envelope_key, padding)
    return [
        (CHASH, pack(">B", SHA_256) + hashlib.sha256(kms.certificate).digest()),
        (PKE, pack(">H", NO_CACHE << 14 | len(data)) + data),
    ]


# ------------------------------------------------------------------ RFC 6043 4.2.1.3 and 4.2.3.3: the two messages


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
    """4.2.1.3: HDR, T, RANDRi, [IDRi], {CERTi}, [IDRkms], TP, [CHASH], PKE, SIGNi; over Identity_i and _kms, too."""
    payloads = [
        (T, t_body(t)),
        (RANDR, randr_body(RANDRI, randri)),
        *identified(((IDRI, idri),), ()),
        *certificates(chain),
        *identified(((IDRKMS, idrkms),), ()),
        (TP, policy_body(tp)),
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
    """4.2.3.3: HDR, T, RANDRr, [IDRr], {CERTr}, [IDRkms], TICKET, [CHASH], PKE, SIGNr; over Identity_r and _kms, too.

    The ticket goes and is signed as it came: 5.5 leaves out the Initiator Data in TRANSFER_INIT only.
    """
    payloads = [
        (T, t_body(t)),
        (RANDR, randr_body(RANDRR, randrr)),
        *identified(((IDRR, idrr),), ()),
        *certificates(chain),
        *identified(((IDRKMS, idrkms),), ()),
        (TICKET, ticket),
        *envelope(kms, envelope_key, padding),
    ]
    return signed(RESOLVE_INIT_PK, suite, csb_id, payloads, own, idrr.data + idrkms.data)


# ------------------------------------------------------------------ 4.2.1.4 and 4.2.3.4: what the KMS does with them


class Signed(NamedTuple):
    """What the KMS reads in a signed message besides its TP or TICKET."""

    envelope_key: bytes
    padding: bytes
    sender: Id
    chain: tuple[bytes, ...]
    subject: bytes


def open_init_pk(message: bytes, role: int, own: RsaKey, sender: RsaKey) -> Signed:
    """4.2.1.4, 4.2.3.4: verify the signature and open the envelope; `subject` is the body of TP or TICKET.

    `role` is IDRI for REQUEST_INIT_PK, IDRR for RESOLVE_INIT_PK; both identities have to be in the message.
    """
    data_type, rand_role, subject_kind, name = {
        IDRI: (REQUEST_INIT_PK, RANDRI, TP, "REQUEST_INIT_PK"),
        IDRR: (RESOLVE_INIT_PK, RANDRR, TICKET, "RESOLVE_INIT_PK"),
    }[role]
    m = parsed(message)
    identity, idrkms = read_id(m.parts, role), read_id(m.parts, IDRKMS)
    rand, last = read_rand(m.parts, rand_role), m.parts[-1]
    if m.data_type != data_type or rand is None or identity is None or idrkms is None or last.kind != SIGN:
        raise ValueError(f"payloads of {name}")
    if m.cs_map != EMPTY_MAP or last.body[0] >> 4 != RSA_PKCS1:
        raise ValueError(f"map or signature algorithm of {name}")
    signature_at = last.at + 2
    check_signature(
        sender, message[signature_at:], message[:signature_at] + identity.data + idrkms.data, name
    )
    found = bodies(m.parts, CERT)
    chain = tuple(body[3:] for body in found)
    if any(body[0] != X509V3 for body in found) or (chain and chain[0] != sender.certificate):
        raise ValueError(f"certificates of {name}")
    right = pack(">B", SHA_256) + hashlib.sha256(own.certificate).digest()
    if any(body != right for body in bodies(m.parts, CHASH)):
        raise ValueError(f"{name} is for another key of the KMS")
    (pke,), (subject,) = bodies(m.parts, PKE), bodies(m.parts, subject_kind)
    envelope_key, padding = opened(own, pke[2:])
    if unpack_from(">H", pke)[0] >> 14 != NO_CACHE or len(envelope_key) != SUITES[m.prf].key_octets:
        raise ValueError(f"envelope key of {name}")
    return Signed(envelope_key, padding, identity, chain, subject)
