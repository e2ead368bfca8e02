"""MIKEY-TICKET once more, written from the text alone: an oracle for mrf_protocols.mikey.

A transcript of RFC 6043 (and of RFC 3830 where 6043 refers to it) as plain functions over octets, one clause
after the other, without any code in common with the implementation it is compared to. Every random value, every
time and every identity is an argument; nothing is decided here that the text leaves to the parties. `left_out`
names the roles whose IDR is not sent because the peer knows the identity otherwise, `extra` are payloads nobody
expects there, before V. Whoever opens a message gets ValueError when its MAC is wrong.

Where the texts are silent or contradict themselves the project has decided, and both implementations follow:
* the V flag of HDR is sent as 4.2.x say (not as 6.1 does) and never looked at;
* the T in the IV of a KEMAC is the one of the message or ticket that carries this KEMAC;
* Vi in the Initiator Data has Next Payload 0, as the V payload it copies;
* Vr's key comes from the PRF of the Ticket Policy;
* "identities" under a MAC are the ID Data fields alone;
* the "SDP IDs" extension of RFC 4567 stands immediately before V of TRANSFER_INIT;
* TLS has the private Prot type 241, and its SP no parameters; a TEK is as long as the keys of its suite.
"""

from __future__ import annotations

import hashlib
import hmac
from struct import pack, unpack_from
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

# Numbers of payloads: RFC 3830 table 6.1.b, RFC 6043 table 6.2. THDR has none (A.3): it is always first.
KEMAC, PKE, SIGN, T, ID, CERT, CHASH, V, SP, RAND, ERR = 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12
TR, IDR, RANDR, TP, TICKET, KEY_DATA, EXTENSION = 13, 14, 15, 16, 17, 20, 21
THDR = -1
# Data types: RFC 6043 table 6.1; Error: RFC 3830 table 6.1.a.
REQUEST_INIT_PSK, REQUEST_RESP = 11, 13
TRANSFER_INIT, TRANSFER_RESP = 14, 15
RESOLVE_INIT_PSK, RESOLVE_RESP = 16, 18
ERROR = 6
# Roles: RFC 6043 tables 6.9, 6.11, 6.13.
TRS, TRE, TRR = 2, 3, 4
IDRI, IDRR, IDRKMS, IDRPSK, IDRAPP = 1, 2, 3, 4, 5
RANDRI, RANDRR, RANDRKMS = 1, 2, 3
# Types of timestamps (RFC 3830 table 6.6, RFC 6043 table 6.8) and how many octets their values have.
NTP_UTC, NTP, COUNTER, NTP_UTC_32 = 0, 1, 2, 3
TIME_OCTETS = {NTP_UTC: 8, NTP: 8, COUNTER: 4, NTP_UTC_32: 4}
# Types of keys: RFC 3830 table 6.13.a, RFC 6043 table 6.7. The odd ones below 6 carry a salt.
TGK, TGK_SALT, TEK, TEK_SALT, GTGK, GTGK_SALT, MPK = 0, 1, 2, 3, 4, 5, 6
SALTED = (TGK_SALT, TEK_SALT, GTGK_SALT)
# MAC algorithms and the octets of their tags: RFC 3830 table 6.2.b, RFC 6043 table 6.6.
MAC_OCTETS = {0: 0, 1: 20, 2: 32}
# Hashes of certificates: RFC 3830 table 6.8, RFC 6043 table 6.12.
HASH_OCTETS = {0: 20, 1: 16, 2: 32}
TLS_PROT_TYPE = 241
# Map of a message without crypto sessions (6043 4.2.1.1): #CS 0, type 1 "Empty map" (RFC 4563 table 3), no info.
EMPTY_MAP = b"\x00\x01"


class Suite(NamedTuple):
    """The algorithms of one strength: RFC 3830's own, or the 256-bit ones, never mixed (RFC 6043 12.1)."""

    prf: int
    encr_alg: int
    mac_alg: int
    hash_name: str
    key_octets: int  # of encr_key, and of the TEK
    auth_octets: int  # of auth_key: as long as the hash (RFC 3830 4.2.4, RFC 6043 6.2)


# RFC 3830: MIKEY-1, AES-CM-128, HMAC-SHA-1-160. RFC 6043: PRF-HMAC-SHA-256, AES-CM-256, HMAC-SHA-256-256.
SUITE_128 = Suite(0, 1, 1, "sha1", 16, 20)
SUITE_256 = Suite(1, 3, 2, "sha256", 32, 32)
SUITES = (SUITE_128, SUITE_256)  # by PRF func


class Id(NamedTuple):
    """ID Type (0 NAI, 1 URI, 2 byte string) and ID Data."""

    kind: int
    data: bytes


class Time(NamedTuple):
    """TS Type and TS Value."""

    kind: int
    value: bytes


class Key(NamedTuple):
    """One Key data sub-payload."""

    kind: int
    spi: bytes
    key: bytes
    salt: bytes = b""


class Policy(NamedTuple):
    """A Ticket Policy (6043 6.10); flags are the letters that are 1."""

    flags: str
    prf: int
    responders: tuple[Id, ...]
    kms: Id | None = None
    initiator: Id | None = None
    start: Time | None = None
    end: Time | None = None
    rekey: Time | None = None
    keys: tuple[Key, ...] = ()
    applications: tuple[Id, ...] = ()
    ticket_type: int = 1
    subtype: int = 1
    version: int = 1


class Session(NamedTuple):
    """One block of the GENERIC-ID map (6043 6.1.1)."""

    cs_id: int
    policies: tuple[int, ...]
    spi: bytes
    prot_type: int = TLS_PROT_TYPE
    data: bytes = b""
    s: int = 0


class Part(NamedTuple):
    """A payload found in a message: its number, where it begins and ends, what follows its Next Payload octet."""

    kind: int
    at: int
    end: int
    body: bytes


class Message(NamedTuple):
    """A message taken apart."""

    data_type: int
    v: int
    prf: int
    csb_id: int
    cs_map: bytes
    parts: list[Part]


# ------------------------------------------------------------------ RFC 3830 4.1.2, RFC 6043 6.1: the two PRFs


def p(hash_name: str, s: bytes, label: bytes, m: int) -> bytes:
    """The P-function: m blocks, each an HMAC over A_i and the label; A_0 = label, A_i = HMAC(s, A_(i-1))."""
    a, out = label, b""
    for _ in range(m):
        a = hmac.digest(s, a, hash_name)
        out += hmac.digest(s, a + label, hash_name)
    return out


def prf(number: int, inkey: bytes, label: bytes, outkey_octets: int) -> bytes:
    """PRF func 0 or 1: P for every 256-bit block of the inkey, exclusive-ored, its leftmost octets."""
    hash_name = SUITES[number].hash_name
    blocks = [inkey[i : i + 32] for i in range(0, len(inkey), 32)]  # 256 bits whatever the hash
    m = -(-outkey_octets * 8 // (160, 256)[number])
    out = bytes(m * (20, 32)[number])
    for s in blocks:
        out = bytes(x ^ y for x, y in zip(out, p(hash_name, s, label, m), strict=True))
    return out[:outkey_octets]


# ------------------------------------------------------------------ constants of the labels

# RFC 3830 4.1.4: keys that protect MIKEY messages.
ENCR_KEY, AUTH_KEY, SALT_KEY = b"\x15\x05\x33\xe1", b"\x2d\x22\xac\x75", b"\x29\xb8\x89\x16"
# RFC 3830 4.1.3: keys from a TGK.
TGK_TO_TEK = b"\x2a\xd0\x1c\x64"
TGK_TO_AUTH, TGK_TO_ENCR, TGK_TO_SALT = b"\x1b\x5c\x79\x73", b"\x15\x79\x8c\xef", b"\x39\xa2\xc1\x4b"
# RFC 6043 table 5.1 and table A.1.
FORK_MPKR, FORK_TGK = b"\x2b\x28\x88\x56", b"\x15\x12\xb5\x4a"
MPK_TO_MPKI, MPK_TO_MPKR = b"\x22\x0e\x99\xa2", b"\x1f\x4d\x67\x5b"


def counted(octets: bytes) -> bytes:
    """8-bit length and the octets: how RANDs stand in labels (6043 5.1), length 0 for one left out."""
    return pack(">B", len(octets)) + octets


# ------------------------------------------------------------------ 6043 5.1 and A.2: key derivations


def forked(policy_prf: int, constant: bytes, inkey: bytes, id_data: bytes, randrkms: bytes) -> bytes:
    """5.1.1: MPKr' from MPKr, TGK' from TGK; the modifier is the ID Data of IDRr with RANDRkms."""
    label = constant + b"\xff" + b"\xff\xff\xff\xff" + b"\x00"
    label += pack(">H", len(id_data)) + id_data + counted(randrkms)
    return prf(policy_prf, inkey, label, len(inkey))


def message_key(
    header_prf: int,
    constant: bytes,
    inkey: bytes,
    csb_id: int,
    response: bool,
    randri: bytes,
    randrr: bytes,
    n: int,
) -> bytes:
    """5.1.2: encr_key, auth_key, salt_key for a message, from a PSK or an MPK; n octets long."""
    label = constant + b"\xff" + pack(">I", csb_id) + (b"\x02" if response else b"\x01")
    return prf(header_prf, inkey, label + counted(randri) + counted(randrr), n)


def session_key(
    header_prf: int, constant: bytes, inkey: bytes, cs_id: int, ri: bytes, rr: bytes, n: int
) -> bytes:
    """5.1.3: TEK and other session keys from TGK, TGK' or GTGK; ri is empty unless H, rr unless G."""
    label = constant + pack(">B", cs_id) + b"\xff\xff\xff\xff" + b"\x03" + counted(ri) + counted(rr)
    return prf(header_prf, inkey, label, n)


def vr_key(policy_prf: int, mpkr: bytes) -> bytes:
    """6.10, Initiator Data: auth_key for Vr, from MPKr before any forking."""
    label = AUTH_KEY + b"\xff" + b"\xff\xff\xff\xff" + b"\x04"
    return prf(policy_prf, mpkr, label, SUITES[policy_prf].auth_octets)


def ticket_key(policy_prf: int, constant: bytes, tpk: bytes, rand: bytes, n: int) -> bytes:
    """A.2.1: encr_key, auth_key, salt_key for the Ticket Data, from the TPK."""
    return prf(policy_prf, tpk, constant + b"\xff" + b"\xff\xff\xff\xff" + b"\x05" + counted(rand), n)


def mpk_half(policy_prf: int, constant: bytes, mpk: bytes, rand: bytes) -> bytes:
    """A.2.2: MPKi or MPKr from the MPK of the ticket."""
    return prf(policy_prf, mpk, constant + b"\xff" + b"\xff\xff\xff\xff" + b"\x06" + counted(rand), len(mpk))


# ------------------------------------------------------------------ RFC 3830 4.2.3, 4.2.4: encryption and MAC


def time64(t: Time) -> bytes:
    """A timestamp as 64 bits: COUNTER padded on the left (3830 6.6), NTP-UTC-32 on the right (6043 6.3)."""
    if t.kind == COUNTER:
        return b"\x00\x00\x00\x00" + t.value
    return t.value + b"\x00\x00\x00\x00" if t.kind == NTP_UTC_32 else t.value


def aes_cm(encr_key: bytes, salt: bytes, csb_id: int, t: Time, data: bytes) -> bytes:
    """AES in counter mode; IV = (S xor (0x0000 || CSB ID || T)) || 0x0000. Encrypts and decrypts."""
    whitened = bytes(x ^ y for x, y in zip(salt, b"\x00\x00" + pack(">I", csb_id) + time64(t), strict=True))
    cipher = Cipher(algorithms.AES(encr_key), modes.CTR(whitened + b"\x00\x00")).encryptor()
    return cipher.update(data) + cipher.finalize()


def mac(suite: Suite, auth_key: bytes, covered: bytes) -> bytes:
    """HMAC-SHA-1-160 or HMAC-SHA-256-256, whole tag."""
    return hmac.new(auth_key, covered, getattr(hashlib, suite.hash_name)).digest()


def check(found: bytes, right: bytes, name: str) -> None:
    """Raise ValueError unless the MAC found is the right one."""
    if not hmac.compare_digest(found, right):
        raise ValueError(f"wrong MAC in {name}")


# ------------------------------------------------------------------ payloads, without their Next Payload octet


def t_body(t: Time) -> bytes:
    """3830 6.6: TS type, TS value."""
    return pack(">B", t.kind) + t.value


def tr_body(role: int, t: Time) -> bytes:
    """6043 6.4: TS Role, TS Type, TS Value."""
    return pack(">BB", role, t.kind) + t.value


def idr_body(role: int, identity: Id) -> bytes:
    """6043 6.6: ID Role, ID Type, ID len (16), ID Data."""
    return pack(">BBH", role, identity.kind, len(identity.data)) + identity.data


def randr_body(role: int, rand: bytes) -> bytes:
    """6043 6.8: RAND Role, RAND length (8), RAND."""
    return pack(">BB", role, len(rand)) + rand


def sp_body(number: int, prot_type: int = TLS_PROT_TYPE, parameters: bytes = b"") -> bytes:
    """3830 6.10: Policy no, Prot type, Policy param length (16), parameters."""
    return pack(">BBH", number, prot_type, len(parameters)) + parameters


def extension_body(kind: int, data: bytes) -> bytes:
    """3830 6.15: Type, Length (16), Data. Type 1 is SDP IDs (4567 4.1.4: identifiers with ";" between)."""
    return pack(">BH", kind, len(data)) + data


def key_data(keys: tuple[Key, ...]) -> bytes:
    """3830 6.13, 6.14: sub-payloads, each Next Payload, Type (4) with KV (4), key, salt if the Type says, SPI.

    KV is 1 (SPI) for every key: 6043 6.2.1.
    """
    out = b""
    for number, (kind, spi, key, salt) in enumerate(keys, 1):
        out += pack(">BBH", KEY_DATA if number < len(keys) else 0, kind << 4 | 1, len(key)) + key
        if kind in SALTED:
            out += pack(">H", len(salt)) + salt
        out += pack(">B", len(spi)) + spi
    return out


def kemac_body(encr_alg: int, encr_data: bytes) -> bytes:
    """3830 6.2: Encr alg, Encr data len (16), Encr data, Mac alg; NULL MAC throughout 6043 (4.2.x, 6.10, A.1)."""
    return pack(">BH", encr_alg, len(encr_data)) + encr_data + b"\x00"


def chain(payloads: list[tuple[int, bytes]]) -> bytes:
    """Payloads one after the other, each led by the number of the next, the last by 0."""
    following = [kind for kind, _ in payloads[1:]] + [0]
    return b"".join(pack(">B", after) + body for after, (_, body) in zip(following, payloads, strict=True))


# ------------------------------------------------------------------ 6043 6.10: policy and ticket payloads


def policy_body(policy: Policy) -> bytes:
    """TP without Next Payload, which is also the beginning of TICKET."""
    bits = 0
    for letter in "DEFGHIJKLMNO":
        bits = bits << 1 | (letter in policy.flags)
    out = pack(">HBB", policy.ticket_type, policy.subtype, policy.version)
    out += pack(">I", policy.prf << 25 | bits << 13)[:3]  # 7 bits PRF func, 12 flags, 5 reserved
    inner: list[tuple[int, bytes]] = []
    if policy.kms is not None:
        inner.append((IDR, idr_body(IDRKMS, policy.kms)))
    if policy.initiator is not None:
        inner.append((IDR, idr_body(IDRI, policy.initiator)))
    for role, t in ((TRS, policy.start), (TRE, policy.end), (TRR, policy.rekey)):
        if t is not None:
            inner.append((TR, tr_body(role, t)))
    if policy.keys:
        inner.append((KEMAC, kemac_body(0, key_data(policy.keys))))
    inner += [(IDR, idr_body(IDRAPP, application)) for application in policy.applications]
    inner += [(IDR, idr_body(IDRR, responder)) for responder in policy.responders]
    tp_data = pack(">B", inner[0][0]) + chain(inner)
    return out + pack(">H", len(tp_data)) + tp_data


def flags_consistent(flags: str, tgk_in_ticket: bool) -> bool:
    """6.10: not D implies L, G implies F, not G implies H, not H implies G, I implies E, K implies D, M implies F.

    And F has to be 1 with key forking when the ticket encodes a TGK.
    """
    f = {letter: letter in flags for letter in "DEFGHIJKLMNO"}
    return (
        (f["D"] or f["L"])
        and (not f["G"] or f["F"])
        and (f["G"] or f["H"])
        and (f["H"] or f["G"])
        and (not f["I"] or f["E"])
        and (not f["K"] or f["D"])
        and (not f["M"] or f["F"])
        and (not (f["I"] and tgk_in_ticket) or f["F"])
    )


def ticket_body(policy: bytes, ticket_data: bytes, initiator_data: bytes = b"") -> bytes:
    """TICKET without Next Payload; the Initiator Data length is there even when the data is not."""
    out = policy + pack(">H", len(ticket_data)) + ticket_data
    return out + pack(">H", len(initiator_data)) + initiator_data


def ticket_pieces(body: bytes) -> tuple[bytes, bytes, bytes]:
    """Policy, Ticket Data and Initiator Data of a TICKET without Next Payload."""
    (policy_octets,) = unpack_from(">H", body, 7)
    data_at = 9 + policy_octets
    (data_octets,) = unpack_from(">H", body, data_at)
    initiator_at = data_at + 2 + data_octets
    return body[:data_at], body[data_at + 2 : initiator_at], body[initiator_at + 2 :]


# ------------------------------------------------------------------ reading payloads


def part_end(kind: int, data: bytes, at: int) -> int:
    """Where the payload of this kind that begins at `at` ends."""

    def length16(offset: int) -> int:
        return int(unpack_from(">H", data, at + offset)[0])

    if kind == KEMAC:
        mac_at = at + 4 + length16(2)
        return mac_at + 1 + MAC_OCTETS[data[mac_at]]
    if kind == KEY_DATA:
        end = at + 4 + length16(2)
        if data[at + 1] >> 4 in SALTED:
            end += 2 + int(unpack_from(">H", data, end)[0])
        return end + 1 + data[end]
    if kind in (TP, TICKET):
        end = at + 10 + length16(8)
        for _ in range(0 if kind == TP else 2):
            end += 2 + int(unpack_from(">H", data, end)[0])
        return end
    if kind == V:
        return at + 2 + MAC_OCTETS[data[at + 1]]
    if kind == T:
        return at + 2 + TIME_OCTETS[data[at + 1]]
    if kind == TR:
        return at + 3 + TIME_OCTETS[data[at + 2]]
    if kind == RAND:
        return at + 2 + data[at + 1]
    if kind == RANDR:
        return at + 3 + data[at + 2]
    if kind == ERR:
        return at + 4
    if kind == PKE:
        return at + 3 + (length16(1) & 0x3FFF)
    if kind == SIGN:
        return at + 2 + (length16(0) & 0xFFF)
    if kind == CHASH:
        return at + 2 + HASH_OCTETS[data[at + 1]]
    length_at = {ID: 2, CERT: 2, IDR: 3, SP: 3, EXTENSION: 2, THDR: 1}[kind]
    return at + length_at + 2 + length16(length_at)


def parts_of(first: int, data: bytes, at: int = 0) -> list[Part]:
    """The payloads of a chain, by Next Payload, until 0."""
    found = []
    kind = first
    while kind != 0:
        end = part_end(kind, data, at)
        if kind == SIGN:  # 3830 6.5: always the last, it has no Next Payload
            found.append(Part(kind, at, end, data[at:end]))
            kind, at = 0, end
        else:
            found.append(Part(kind, at, end, data[at + 1 : end]))
            kind, at = data[at], end
    if at != len(data):
        raise ValueError("octets after the last payload")
    return found


def parsed(message: bytes) -> Message:
    """HDR (3830 6.1, 6043 6.1) and the payloads after it."""
    _, data_type, first, v_and_prf, csb_id, count, map_type = unpack_from(">BBBBIBB", message)
    at = 10
    for _ in range(count):
        # The SRTP-ID map (3830 6.1.1) is for messages of RFC 3830 alone: 6043 6.1 forbids it.
        at = at + 9 if (data_type, map_type) in ((0, 0), (1, 0)) else session_end(message, at)
    return Message(
        data_type, v_and_prf >> 7, v_and_prf & 127, csb_id, message[8:at], parts_of(first, message, at)
    )


def bodies(parts: list[Part], kind: int, role: int | None = None) -> list[bytes]:
    """The bodies of the payloads of this kind, of this role if it has roles."""
    return [part.body for part in parts if part.kind == kind and (role is None or part.body[0] == role)]


def read_time(parts: list[Part]) -> Time:
    """The T payload, which every message has."""
    body = bodies(parts, T)[0]
    return Time(body[0], body[1:])


def read_id(parts: list[Part], role: int) -> Id | None:
    """The first IDR of this role."""
    found = bodies(parts, IDR, role)
    return Id(found[0][1], found[0][4:]) if found else None


def read_rand(parts: list[Part], role: int) -> bytes | None:
    """The RANDR of this role."""
    found = bodies(parts, RANDR, role)
    return found[0][2:] if found else None


def read_keys(encr_data: bytes) -> tuple[Key, ...]:
    """Key data sub-payloads in clear."""
    keys = []
    for part in parts_of(KEY_DATA, encr_data) if encr_data else []:
        kind, length = part.body[0] >> 4, int(unpack_from(">H", part.body, 1)[0])
        key, rest, salt = part.body[3 : 3 + length], part.body[3 + length :], b""
        if kind in SALTED:
            length = int(unpack_from(">H", rest)[0])
            salt, rest = rest[2 : 2 + length], rest[2 + length :]
        keys.append(Key(kind, rest[1:], key, salt))
    return tuple(keys)


def read_policy(body: bytes) -> Policy:
    """The Ticket Policy of a TP body, or of the beginning of a TICKET body."""
    ticket_type, subtype, version = unpack_from(">HBB", body)
    bits = int.from_bytes(body[4:7], "big") >> 5 & 0xFFF
    flags = "".join(letter for place, letter in enumerate("DEFGHIJKLMNO") if bits >> (11 - place) & 1)
    (length,) = unpack_from(">H", body, 7)
    tp_data = body[9 : 9 + length]
    inner = parts_of(tp_data[0], tp_data, 1)

    def time_of(role: int) -> Time | None:
        found = bodies(inner, TR, role)
        return Time(found[0][1], found[0][2:]) if found else None

    kemac = bodies(inner, KEMAC)
    return Policy(
        flags=flags,
        prf=body[4] >> 1,
        responders=tuple(Id(found[1], found[4:]) for found in bodies(inner, IDR, IDRR)),
        kms=read_id(inner, IDRKMS),
        initiator=read_id(inner, IDRI),
        start=time_of(TRS),
        end=time_of(TRE),
        rekey=time_of(TRR),
        keys=read_keys(kemac[0][3:-1]) if kemac else (),
        applications=tuple(Id(found[1], found[4:]) for found in bodies(inner, IDR, IDRAPP)),
        ticket_type=ticket_type,
        subtype=subtype,
        version=version,
    )


# ------------------------------------------------------------------ 6043 6.1.1: GENERIC-ID map


def generic_map(sessions: tuple[Session, ...]) -> bytes:
    """#CS, map type 2, and a block for each crypto session."""
    out = pack(">BB", len(sessions), 2)
    for session in sessions:
        out += pack(">BBB", session.cs_id, session.prot_type, session.s << 7 | len(session.policies))
        out += bytes(session.policies)
        out += pack(">H", len(session.data)) + session.data + counted(session.spi)
    return out


def session_end(message: bytes, at: int) -> int:
    """Where the block that begins at `at` ends."""
    data_at = at + 3 + (message[at + 2] & 127)
    spi_at = data_at + 2 + int(unpack_from(">H", message, data_at)[0])
    return spi_at + 1 + message[spi_at]


def read_map(cs_map: bytes) -> tuple[Session, ...]:
    """The crypto sessions of #CS, map type, info."""
    sessions, at = [], 2
    for _ in range(cs_map[0]):
        end, count = session_end(cs_map, at), cs_map[at + 2] & 127
        data_at = at + 3 + count
        (length,) = unpack_from(">H", cs_map, data_at)
        policies, data = tuple(cs_map[at + 3 : data_at]), cs_map[data_at + 2 : data_at + 2 + length]
        spi = cs_map[data_at + 3 + length : end]
        sessions.append(Session(cs_map[at], policies, spi, cs_map[at + 1], data, cs_map[at + 2] >> 7))
        at = end
    return tuple(sessions)


# ------------------------------------------------------------------ whole messages


def identified(identities: tuple[tuple[int, Id], ...], left_out: tuple[int, ...]) -> list[tuple[int, bytes]]:
    """IDR payloads of these roles, less those the peer can know by other means; the MAC covers them all the same."""
    return [(IDR, idr_body(role, identity)) for role, identity in identities if role not in left_out]


def unsigned(
    data_type: int, v: int, prf_number: int, csb_id: int, cs_map: bytes, payloads: list[tuple[int, bytes]]
) -> bytes:
    """HDR and payloads with V as the last, all but its MAC: what 6043 5.5 calls the message in its coverage."""
    payloads = [*payloads, (V, pack(">B", SUITES[prf_number].mac_alg))]
    header = pack(">BBBBI", 1, data_type, payloads[0][0], v << 7 | prf_number, csb_id) + cs_map
    return header + chain(payloads)


def message_mac(
    message_prf: int, inkey: bytes, csb_id: int, response: bool, ri: bytes, rr: bytes, covered: bytes
) -> bytes:
    """The MAC with the auth_key of 5.1.2."""
    suite = SUITES[message_prf]
    auth_key = message_key(message_prf, AUTH_KEY, inkey, csb_id, response, ri, rr, suite.auth_octets)
    return mac(suite, auth_key, covered)


def message_crypt(
    message_prf: int, inkey: bytes, csb_id: int, response: bool, ri: bytes, rr: bytes, t: Time, data: bytes
) -> bytes:
    """Encr data of a KEMAC, from or to clear, with encr_key and salt_key of 5.1.2 (salt 112 bits: 3830 4.2.3)."""
    suite = SUITES[message_prf]
    encr_key = message_key(message_prf, ENCR_KEY, inkey, csb_id, response, ri, rr, suite.key_octets)
    salt_key = message_key(message_prf, SALT_KEY, inkey, csb_id, response, ri, rr, 14)
    return aes_cm(encr_key, salt_key, csb_id, t, data)


def encrypted_keys(
    message_prf: int,
    inkey: bytes,
    csb_id: int,
    response: bool,
    ri: bytes,
    rr: bytes,
    t: Time,
    keys: tuple[Key, ...],
) -> bytes:
    """A KEMAC with these keys."""
    data = message_crypt(message_prf, inkey, csb_id, response, ri, rr, t, key_data(keys))
    return kemac_body(SUITES[message_prf].encr_alg, data)


def decrypted_keys(message: Message, inkey: bytes, response: bool, ri: bytes, rr: bytes) -> tuple[Key, ...]:
    """The keys in the KEMAC of a message, none if it has no KEMAC."""
    kemac = bodies(message.parts, KEMAC)
    if not kemac:
        return ()
    if kemac[0][0] != SUITES[message.prf].encr_alg or kemac[0][-1] != 0:
        raise ValueError("algorithms of KEMAC")
    t = read_time(message.parts)
    return read_keys(message_crypt(message.prf, inkey, message.csb_id, response, ri, rr, t, kemac[0][3:-1]))


def split_mac(message: bytes, prf_number: int) -> tuple[bytes, bytes]:
    """A message up to its MAC, and the MAC; V has to be last and of the algorithm that goes with the PRF."""
    octets = MAC_OCTETS[SUITES[prf_number].mac_alg]
    last = parsed(message).parts[-1]
    if last.kind != V or last.body[0] != SUITES[prf_number].mac_alg:
        raise ValueError("the last payload is no V of this suite")
    return message[:-octets], message[-octets:]


# ------------------------------------------------------------------ Appendix A: MIKEY base ticket


def base_ticket(
    policy: Policy,
    t: Time,
    rand: bytes,
    tpk: bytes,
    keys: tuple[Key, ...],
    idrpsk: Id | None,
    thdr: bytes = b"",
) -> bytes:
    """A ticket around these keys, MPK first, as a TICKET without Next Payload and with empty Initiator Data.

    Ticket Data = THDR, T, RAND, KEMAC, [IDRpsk], V. In the IV the CSB ID is 0xFFFFFFFF. The MAC covers TICKET
    without Next Payload, Initiator Data length, Initiator Data and itself.
    """
    suite = SUITES[policy.prf]
    encr_key = ticket_key(policy.prf, ENCR_KEY, tpk, rand, suite.key_octets)
    salt_key = ticket_key(policy.prf, SALT_KEY, tpk, rand, 14)
    auth_key = ticket_key(policy.prf, AUTH_KEY, tpk, rand, suite.auth_octets)
    encr_data = aes_cm(encr_key, salt_key, 0xFFFFFFFF, t, key_data(keys))
    payloads = [
        (THDR, pack(">H", len(thdr)) + thdr),
        (T, t_body(t)),
        (RAND, counted(rand)),
        (KEMAC, kemac_body(suite.encr_alg, encr_data)),
    ]
    if idrpsk is not None:
        payloads.append((IDR, idr_body(IDRPSK, idrpsk)))
    without_mac = chain([*payloads, (V, pack(">B", suite.mac_alg))])
    length = pack(">H", len(without_mac) + MAC_OCTETS[suite.mac_alg])
    tag = mac(suite, auth_key, policy_body(policy) + length + without_mac)
    return ticket_body(policy_body(policy), without_mac + tag)


class OpenedTicket(NamedTuple):
    """What the party that shares the TPK gets out of a base ticket."""

    policy: Policy
    issued: Time
    idrpsk: Id | None
    mpki: Key
    mpkr: Key
    keys: tuple[Key, ...]


def open_base_ticket(body: bytes, tpk: bytes) -> OpenedTicket:
    """Verify a ticket, decrypt its keys and make MPKi and MPKr of its MPK."""
    policy_octets, ticket_data, _ = ticket_pieces(body)
    policy = read_policy(policy_octets)
    suite = SUITES[policy.prf]
    parts = parts_of(THDR, ticket_data)
    t, rand, kemac = read_time(parts), bodies(parts, RAND)[0][1:], bodies(parts, KEMAC)[0]
    if parts[-1].kind != V or parts[-1].body[0] != suite.mac_alg or kemac[0] != suite.encr_alg:
        raise ValueError("algorithms of the ticket")
    auth_key = ticket_key(policy.prf, AUTH_KEY, tpk, rand, suite.auth_octets)
    covered = policy_octets + pack(">H", len(ticket_data)) + ticket_data[: -MAC_OCTETS[suite.mac_alg]]
    check(ticket_data[-MAC_OCTETS[suite.mac_alg] :], mac(suite, auth_key, covered), "ticket")
    encr_key = ticket_key(policy.prf, ENCR_KEY, tpk, rand, suite.key_octets)
    salt_key = ticket_key(policy.prf, SALT_KEY, tpk, rand, 14)
    mpk, *keys = read_keys(aes_cm(encr_key, salt_key, 0xFFFFFFFF, t, kemac[3:-1]))
    mpki = Key(MPK, mpk.spi, mpk_half(policy.prf, MPK_TO_MPKI, mpk.key, rand))
    mpkr = Key(MPK, mpk.spi, mpk_half(policy.prf, MPK_TO_MPKR, mpk.key, rand))
    return OpenedTicket(policy, t, read_id(parts, IDRPSK), mpki, mpkr, tuple(keys))


def forked_keys(policy: Policy, keys: tuple[Key, ...], idrr: Id, randrkms: bytes) -> tuple[Key, ...]:
    """5.1.1: TGKs forked, TEKs and GTGKs as they are; the salt that comes with a key is not touched."""
    return tuple(
        key._replace(key=forked(policy.prf, FORK_TGK, key.key, idrr.data, randrkms))
        if key.kind in (TGK, TGK_SALT)
        else key
        for key in keys
    )


# ------------------------------------------------------------------ 6043 4.2.1: Ticket Request


def request_init_psk(
    suite: Suite,
    csb_id: int,
    t: Time,
    randri: bytes,
    idri: Id,
    idrkms: Id,
    tp: Policy,
    idrpsk: Id | None,
    psk: bytes,
    left_out: tuple[int, ...] = (),
    extra: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """4.2.1.1, 4.2.1.2: HDR, T, RANDRi, IDRi, IDRkms, TP, [IDRpsk], V; V flag 1; MAC also over Identity_i and _kms."""
    payloads = [
        (T, t_body(t)),
        (RANDR, randr_body(RANDRI, randri)),
        *identified(((IDRI, idri), (IDRKMS, idrkms)), left_out),
        (TP, policy_body(tp)),
    ]
    if idrpsk is not None:
        payloads.append((IDR, idr_body(IDRPSK, idrpsk)))
    payloads += extra
    message = unsigned(REQUEST_INIT_PSK, 1, suite.prf, csb_id, EMPTY_MAP, payloads)
    covered = message + idri.data + idrkms.data
    return message + message_mac(suite.prf, psk, csb_id, False, randri, b"", covered)


class Request(NamedTuple):
    """What the KMS reads in a REQUEST_INIT_PSK."""

    csb_id: int
    t: Time
    randri: bytes
    idri: Id
    idrkms: Id
    tp: Policy
    idrpsk: Id | None


def open_request_init_psk(
    message: bytes, psk: bytes, idri: Id | None = None, idrkms: Id | None = None
) -> Request:
    """4.2.1.4: verify and read; the identities are those to assume when the message leaves them out."""
    m = parsed(message)
    t, randri = read_time(m.parts), read_rand(m.parts, RANDRI)
    idri, idrkms = read_id(m.parts, IDRI) or idri, read_id(m.parts, IDRKMS) or idrkms
    if m.data_type != REQUEST_INIT_PSK or randri is None or idri is None or idrkms is None:
        raise ValueError("payloads of REQUEST_INIT_PSK")
    covered, found = split_mac(message, m.prf)
    right = message_mac(m.prf, psk, m.csb_id, False, randri, b"", covered + idri.data + idrkms.data)
    check(found, right, "REQUEST_INIT_PSK")
    tp = read_policy(bodies(m.parts, TP)[0])
    return Request(m.csb_id, t, randri, idri, idrkms, tp, read_id(m.parts, IDRPSK))


def request_resp(
    init: bytes,
    psk: bytes,
    t: Time,
    idrkms: Id | None,
    ticket: bytes,
    keys: tuple[Key, ...],
    extra: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """4.2.1.5: HDR, T, [IDRkms], TICKET, KEMAC, V; keys are MPKi, [MPKr], {TEK|TGK|GTGK}; MAC also over the init."""
    m = parsed(init)
    randri = read_rand(m.parts, RANDRI) or b""
    payloads = [(T, t_body(t))]
    if idrkms is not None:
        payloads.append((IDR, idr_body(IDRKMS, idrkms)))
    payloads.append((TICKET, ticket))
    payloads.append((KEMAC, encrypted_keys(m.prf, psk, m.csb_id, True, randri, b"", t, keys)))
    payloads += extra
    message = unsigned(REQUEST_RESP, 0, m.prf, m.csb_id, m.cs_map, payloads)
    return message + message_mac(m.prf, psk, m.csb_id, True, randri, b"", message + init)


class Granted(NamedTuple):
    """What the Initiator has after a Ticket Request."""

    ticket: bytes
    mpki: Key
    mpkr: Key | None
    keys: tuple[Key, ...]


def open_request_resp(init: bytes, response: bytes, psk: bytes) -> Granted:
    """4.2.1.6: verify and read."""
    m, asked = parsed(response), parsed(init)
    if (m.data_type, m.prf, m.csb_id, m.cs_map) != (REQUEST_RESP, asked.prf, asked.csb_id, asked.cs_map):
        raise ValueError("HDR of REQUEST_RESP")
    randri = read_rand(asked.parts, RANDRI) or b""
    covered, found = split_mac(response, m.prf)
    check(found, message_mac(m.prf, psk, m.csb_id, True, randri, b"", covered + init), "REQUEST_RESP")
    ticket = bodies(m.parts, TICKET)[0]
    mpki, mpkr, keys = split_mpks(decrypted_keys(m, psk, True, randri, b""), read_policy(ticket))
    return Granted(ticket, mpki, mpkr, keys)


def split_mpks(keys: tuple[Key, ...], policy: Policy) -> tuple[Key, Key | None, tuple[Key, ...]]:
    """4.2.1.5, 4.2.3.5: MPKi first, a second MPK behind it if and only if key forking is used, then session keys."""
    count = 2 if "I" in policy.flags else 1
    if [key.kind for key in keys[:count]] != [MPK] * count or MPK in [key.kind for key in keys[count:]]:
        raise ValueError("MPKs in KEMAC")
    return keys[0], keys[1] if count == 2 else None, keys[count:]


# ------------------------------------------------------------------ 6043 4.2.2: Ticket Transfer


def initiator_data(policy_prf: int, v: bytes, mpkr: bytes) -> bytes:
    """6.10: First Payload, Vi (a copy of V), Vr over the whole of it but its own MAC, with a key from MPKr."""
    suite = SUITES[policy_prf]
    covered = pack(">B", V) + v + b"\x00" + v[1:2]
    return covered + mac(suite, vr_key(policy_prf, mpkr), covered)


def check_initiator_data(ticket: bytes, mpkr: bytes) -> None:
    """4.2.3.4: the KMS verifies Vr."""
    policy_octets, _, data = ticket_pieces(ticket)
    policy_prf = policy_octets[4] >> 1
    v_octets = 2 + MAC_OCTETS[SUITES[policy_prf].mac_alg]
    if len(data) != 1 + 2 * v_octets or data[0] != V:
        raise ValueError("shape of Initiator Data")
    check(data, initiator_data(policy_prf, data[1 : 1 + v_octets], mpkr), "Initiator Data")


def transfer_init(
    suite: Suite,
    csb_id: int,
    t: Time,
    randri: bytes,
    idri: Id,
    idrr: Id,
    sessions: tuple[Session, ...],
    sps: list[bytes],
    ticket: bytes,
    mpki: bytes,
    mpkr: bytes | None,
    keys: tuple[Key, ...] = (),
    sdp_ids: bytes | None = None,
    left_out: tuple[int, ...] = (),
    extra: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """4.2.2.1: HDR, T, RANDRi, IDRi, IDRr, {SP}, TICKET, [KEMAC], [SDP IDs], V.

    The V flag agrees with F. The MAC (5.5) covers the message without Initiator Data length and Initiator Data,
    then Identity_i and Identity_r; therefore it can be computed before the Initiator Data, which contains it.
    """
    policy_octets, ticket_data, _ = ticket_pieces(ticket)
    policy = read_policy(policy_octets)
    before: list[tuple[int, bytes]] = [
        (T, t_body(t)),
        (RANDR, randr_body(RANDRI, randri)),
        *identified(((IDRI, idri), (IDRR, idrr)), left_out),
        *((SP, sp) for sp in sps),
    ]
    after = list(extra)
    if keys:
        after.append((KEMAC, encrypted_keys(suite.prf, mpki, csb_id, False, randri, b"", t, keys)))
    if sdp_ids is not None:
        after.append((EXTENSION, extension_body(1, sdp_ids)))

    def with_ticket(body: bytes) -> bytes:
        f = int("F" in policy.flags)
        return unsigned(
            TRANSFER_INIT, f, suite.prf, csb_id, generic_map(sessions), [*before, (TICKET, body), *after]
        )

    covered = with_ticket(policy_octets + pack(">H", len(ticket_data)) + ticket_data) + idri.data + idrr.data
    tag = message_mac(suite.prf, mpki, csb_id, False, randri, b"", covered)
    data = b""
    if "I" in policy.flags:
        if mpkr is None:
            raise ValueError("key forking needs MPKr")
        data = initiator_data(policy.prf, b"\x00" + pack(">B", suite.mac_alg) + tag, mpkr)
    return with_ticket(ticket_body(policy_octets, ticket_data, data)) + tag


class Transfer(NamedTuple):
    """What anybody reads in a TRANSFER_INIT, not yet verified."""

    prf: int
    csb_id: int
    t: Time
    randri: bytes
    idri: Id | None
    idrr: Id | None
    sessions: tuple[Session, ...]
    sps: list[bytes]
    ticket: bytes
    policy: Policy
    sdp_ids: bytes | None


def read_transfer_init(message: bytes) -> Transfer:
    """4.2.2.2: read before the ticket is resolved."""
    m = parsed(message)
    randri, idri, idrr = read_rand(m.parts, RANDRI), read_id(m.parts, IDRI), read_id(m.parts, IDRR)
    if m.data_type != TRANSFER_INIT or randri is None:
        raise ValueError("payloads of TRANSFER_INIT")
    ticket = bodies(m.parts, TICKET)[0]
    ids = [body[3:] for body in bodies(m.parts, EXTENSION, 1)]
    t, sessions, sps = read_time(m.parts), read_map(m.cs_map), bodies(m.parts, SP)
    policy, sdp_ids = read_policy(ticket), ids[0] if ids else None
    return Transfer(m.prf, m.csb_id, t, randri, idri, idrr, sessions, sps, ticket, policy, sdp_ids)


def verify_transfer_init(
    message: bytes, mpki: bytes, idri: Id | None = None, idrr: Id | None = None
) -> tuple[Key, ...]:
    """4.2.3.6: verify with MPKi; with key forking V's MAC has to stand in Vi, too. Returns the keys of its KEMAC.

    The identities are those to assume when the message leaves them out.
    """
    m, read = parsed(message), read_transfer_init(message)
    idri, idrr = read.idri or idri, read.idrr or idrr
    if idri is None or idrr is None:
        raise ValueError("identities of TRANSFER_INIT")
    place = next(part for part in m.parts if part.kind == TICKET)
    _, _, data = ticket_pieces(place.body)
    without, found = split_mac(message, m.prf)
    cut = place.end - 2 - len(data)  # here the Initiator Data length begins
    covered = without[:cut] + without[place.end :] + idri.data + idrr.data
    check(found, message_mac(m.prf, mpki, m.csb_id, False, read.randri, b"", covered), "TRANSFER_INIT")
    if "I" in read.policy.flags:
        check(data[3 : 3 + len(found)], found, "Vi")
    return decrypted_keys(m, mpki, False, read.randri, b"")


def transfer_resp(
    init: bytes,
    t: Time,
    randrr: bytes | None,
    idrr: Id | None,
    randrkms: bytes | None,
    sessions: tuple[Session, ...],
    sps: list[bytes],
    mpk: bytes,
    keys: tuple[Key, ...] = (),
    extra: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """4.2.2.3: HDR, T, [RANDRr], [IDRr], [RANDRkms], {SP}, [KEMAC], V; mpk is MPKi, or MPKr' with key forking.

    RANDRr is there if and only if G is 1, and then it is also in the labels of 5.1.2. The MAC (5.5) goes on over
    the whole TRANSFER_INIT, Initiator Data and MAC included.
    """
    asked = parsed(init)
    randri, rr = read_rand(asked.parts, RANDRI) or b"", randrr or b""
    payloads = [(T, t_body(t))]
    if randrr is not None:
        payloads.append((RANDR, randr_body(RANDRR, randrr)))
    if idrr is not None:
        payloads.append((IDR, idr_body(IDRR, idrr)))
    if randrkms is not None:
        payloads.append((RANDR, randr_body(RANDRKMS, randrkms)))
    payloads += [(SP, sp) for sp in sps]
    if keys:
        payloads.append((KEMAC, encrypted_keys(asked.prf, mpk, asked.csb_id, True, randri, rr, t, keys)))
    payloads += extra
    message = unsigned(TRANSFER_RESP, 0, asked.prf, asked.csb_id, generic_map(sessions), payloads)
    return message + message_mac(asked.prf, mpk, asked.csb_id, True, randri, rr, message + init)


class Answer(NamedTuple):
    """What the Initiator has after a Ticket Transfer: the keys are forked where the policy says so."""

    sessions: tuple[Session, ...]
    idrr: Id | None
    randrr: bytes | None
    randrkms: bytes | None
    keys: tuple[Key, ...]
    responder_keys: tuple[Key, ...]


def open_transfer_resp(init: bytes, response: bytes, granted: Granted) -> Answer:
    """4.2.2.4, 5.1.1: fork MPKr and the TGKs if I, verify, read."""
    m, asked = parsed(response), parsed(init)
    if (m.data_type, m.prf, m.csb_id) != (TRANSFER_RESP, asked.prf, asked.csb_id):
        raise ValueError("HDR of TRANSFER_RESP")
    policy = read_policy(granted.ticket)
    idrr, randrr, randrkms = read_id(m.parts, IDRR), read_rand(m.parts, RANDRR), read_rand(m.parts, RANDRKMS)
    mpk, keys = granted.mpki.key, granted.keys
    if "I" in policy.flags:
        if idrr is None or randrkms is None or granted.mpkr is None:
            raise ValueError("no modifier in TRANSFER_RESP")
        mpk = forked(policy.prf, FORK_MPKR, granted.mpkr.key, idrr.data, randrkms)
        keys = forked_keys(policy, keys, idrr, randrkms)
    if (randrr is not None) != ("G" in policy.flags):
        raise ValueError("RANDRr goes with G")
    randri, rr = read_rand(asked.parts, RANDRI) or b"", randrr or b""
    covered, found = split_mac(response, m.prf)
    check(found, message_mac(m.prf, mpk, m.csb_id, True, randri, rr, covered + init), "TRANSFER_RESP")
    sent = decrypted_keys(m, mpk, True, randri, rr)
    return Answer(read_map(m.cs_map), idrr, randrr, randrkms, keys, sent)


def traffic_key(init: bytes, randrr: bytes | None, session: Session, keys: tuple[Key, ...]) -> bytes:
    """5.1.3, 6.1.1: the TEK of a crypto session, from the key its SPI names; a TEK is itself.

    RANDRi is in the label if H, RANDRr if G.
    """
    read = read_transfer_init(init)
    (key,) = [key for key in keys if key.spi == session.spi]
    if key.kind in (TEK, TEK_SALT):
        return key.key
    ri = read.randri if "H" in read.policy.flags else b""
    rr = (randrr or b"") if "G" in read.policy.flags else b""
    return session_key(read.prf, TGK_TO_TEK, key.key, session.cs_id, ri, rr, SUITES[read.prf].key_octets)


# ------------------------------------------------------------------ 6043 4.2.3: Ticket Resolve


def resolve_init_psk(
    suite: Suite,
    csb_id: int,
    t: Time,
    randrr: bytes,
    idrr: Id,
    idrkms: Id,
    ticket: bytes,
    idrpsk: Id | None,
    psk: bytes,
    left_out: tuple[int, ...] = (),
    extra: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """4.2.3.1, 4.2.3.2: HDR, T, RANDRr, IDRr, IDRkms, TICKET, [IDRpsk], V; MAC also over Identity_r and _kms.

    The ticket goes as it came, Initiator Data included; RANDRr is the only RAND of this exchange (5.1.2).
    """
    payloads = [
        (T, t_body(t)),
        (RANDR, randr_body(RANDRR, randrr)),
        *identified(((IDRR, idrr), (IDRKMS, idrkms)), left_out),
        (TICKET, ticket),
    ]
    if idrpsk is not None:
        payloads.append((IDR, idr_body(IDRPSK, idrpsk)))
    payloads += extra
    message = unsigned(RESOLVE_INIT_PSK, 1, suite.prf, csb_id, EMPTY_MAP, payloads)
    covered = message + idrr.data + idrkms.data
    return message + message_mac(suite.prf, psk, csb_id, False, b"", randrr, covered)


class Resolve(NamedTuple):
    """What the KMS reads in a RESOLVE_INIT_PSK."""

    csb_id: int
    t: Time
    randrr: bytes
    idrr: Id
    idrkms: Id
    ticket: bytes
    idrpsk: Id | None


def open_resolve_init_psk(
    message: bytes, psk: bytes, idrr: Id | None = None, idrkms: Id | None = None
) -> Resolve:
    """4.2.3.4: verify and read; the Initiator Data is for check_initiator_data, once MPKr is known.

    The identities are those to assume when the message leaves them out.
    """
    m = parsed(message)
    t, randrr = read_time(m.parts), read_rand(m.parts, RANDRR)
    idrr, idrkms = read_id(m.parts, IDRR) or idrr, read_id(m.parts, IDRKMS) or idrkms
    if m.data_type != RESOLVE_INIT_PSK or randrr is None or idrr is None or idrkms is None:
        raise ValueError("payloads of RESOLVE_INIT_PSK")
    covered, found = split_mac(message, m.prf)
    right = message_mac(m.prf, psk, m.csb_id, False, b"", randrr, covered + idrr.data + idrkms.data)
    check(found, right, "RESOLVE_INIT_PSK")
    ticket = bodies(m.parts, TICKET)[0]
    return Resolve(m.csb_id, t, randrr, idrr, idrkms, ticket, read_id(m.parts, IDRPSK))


def resolved_keys(ticket: bytes, tpk: bytes, idrr: Id, randrkms: bytes) -> tuple[Key, ...]:
    """4.2.3.4, 4.2.3.5: what the KMS returns: MPKi, [MPKr'], session keys; with I it verifies Vr and forks."""
    opened = open_base_ticket(ticket, tpk)
    if "I" not in opened.policy.flags:
        return (opened.mpki, *opened.keys)
    check_initiator_data(ticket, opened.mpkr.key)
    mpkr = opened.mpkr._replace(
        key=forked(opened.policy.prf, FORK_MPKR, opened.mpkr.key, idrr.data, randrkms)
    )
    return (opened.mpki, mpkr, *forked_keys(opened.policy, opened.keys, idrr, randrkms))


def resolve_resp(
    init: bytes,
    psk: bytes,
    t: Time,
    idrkms: Id | None,
    keys: tuple[Key, ...],
    idrr: Id | None,
    randrkms: bytes | None,
    extra: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """4.2.3.5: HDR, T, [IDRkms], KEMAC, [IDRr], [RANDRkms], V; MAC also over the RESOLVE_INIT."""
    m = parsed(init)
    randrr = read_rand(m.parts, RANDRR) or b""
    payloads = [(T, t_body(t))]
    if idrkms is not None:
        payloads.append((IDR, idr_body(IDRKMS, idrkms)))
    payloads.append((KEMAC, encrypted_keys(m.prf, psk, m.csb_id, True, b"", randrr, t, keys)))
    if idrr is not None:
        payloads.append((IDR, idr_body(IDRR, idrr)))
    if randrkms is not None:
        payloads.append((RANDR, randr_body(RANDRKMS, randrkms)))
    payloads += extra
    message = unsigned(RESOLVE_RESP, 0, m.prf, m.csb_id, m.cs_map, payloads)
    return message + message_mac(m.prf, psk, m.csb_id, True, b"", randrr, message + init)


class Resolved(NamedTuple):
    """What the Responder has after a Ticket Resolve; mpkr is MPKr'."""

    mpki: Key
    mpkr: Key | None
    keys: tuple[Key, ...]
    idrr: Id | None
    randrkms: bytes | None


def open_resolve_resp(init: bytes, response: bytes, psk: bytes) -> Resolved:
    """4.2.3.6: verify and read."""
    m, asked = parsed(response), parsed(init)
    if (m.data_type, m.prf, m.csb_id, m.cs_map) != (RESOLVE_RESP, asked.prf, asked.csb_id, asked.cs_map):
        raise ValueError("HDR of RESOLVE_RESP")
    randrr = read_rand(asked.parts, RANDRR) or b""
    covered, found = split_mac(response, m.prf)
    check(found, message_mac(m.prf, psk, m.csb_id, True, b"", randrr, covered + init), "RESOLVE_RESP")
    policy = read_policy(bodies(asked.parts, TICKET)[0])
    mpki, mpkr, keys = split_mpks(decrypted_keys(m, psk, True, b"", randrr), policy)
    idrr, randrkms = read_id(m.parts, IDRR), read_rand(m.parts, RANDRKMS)
    if mpkr is not None and (idrr is None or randrkms is None):
        raise ValueError("no modifier in RESOLVE_RESP")
    return Resolved(mpki, mpkr, keys, idrr, randrkms)


# ------------------------------------------------------------------ 6043 5.2: CSB updating


class Last(NamedTuple):
    """What the last message of the initial exchange was protected with: MPKi or MPKr', and the rest of the labels."""

    mpk: bytes
    response: bool
    randri: bytes
    randrr: bytes


def last_protection(init: bytes, response: bytes, mpki: bytes, mpkr: bytes | None) -> Last:
    """Of TRANSFER_RESP, or of TRANSFER_INIT when there was no response; mpkr is MPKr', None without forking."""
    randri = read_transfer_init(init).randri
    if not response:
        return Last(mpki, False, randri, b"")
    randrr = read_rand(parsed(response).parts, RANDRR) or b""
    return Last(mpkr or mpki, True, randri, randrr)


def update_init(
    suite: Suite,
    csb_id: int,
    v: int,
    t: Time,
    sender: tuple[int, Id],
    receiver: tuple[int, Id],
    sessions: tuple[Session, ...],
    sps: list[bytes],
    last: Last,
    keys: tuple[Key, ...],
) -> bytes:
    """HDR, T, [IDRi], [IDRr], {SP}, [KEMAC], V from the Initiator, IDRr before IDRi from the Responder.

    No RANDs and no TICKET. The same derived keys as in the last message of the initial exchange, whoever sends;
    the MAC goes on over Identity_i and Identity_r (5.5). `sender` and `receiver` are role and identity.
    """
    payloads = [(T, t_body(t)), *identified((sender, receiver), ()), *((SP, sp) for sp in sps)]
    if keys:
        kemac = encrypted_keys(suite.prf, last.mpk, csb_id, last.response, last.randri, last.randrr, t, keys)
        payloads.append((KEMAC, kemac))
    message = unsigned(TRANSFER_INIT, v, suite.prf, csb_id, generic_map(sessions), payloads)
    (_, idri), (_, idrr) = sorted((sender, receiver))
    covered = message + idri.data + idrr.data
    return message + message_mac(
        suite.prf, last.mpk, csb_id, last.response, last.randri, last.randrr, covered
    )


def update_resp(
    init: bytes,
    t: Time,
    sender: tuple[int, Id],
    sessions: tuple[Session, ...],
    sps: list[bytes],
    last: Last,
    keys: tuple[Key, ...],
) -> bytes:
    """HDR, T, [IDRr] or [IDRi], {SP}, [KEMAC], V, protected as the update's init; the MAC goes on over that."""
    m = parsed(init)
    payloads = [(T, t_body(t)), *identified((sender,), ()), *((SP, sp) for sp in sps)]
    if keys:
        kemac = encrypted_keys(m.prf, last.mpk, m.csb_id, last.response, last.randri, last.randrr, t, keys)
        payloads.append((KEMAC, kemac))
    message = unsigned(TRANSFER_RESP, 0, m.prf, m.csb_id, generic_map(sessions), payloads)
    covered = message + init
    return message + message_mac(m.prf, last.mpk, m.csb_id, last.response, last.randri, last.randrr, covered)


def open_update(message: bytes, last: Last, followed_by: bytes) -> tuple[Message, tuple[Key, ...]]:
    """Verify a message of an update and decrypt its keys; `followed_by` is what its MAC goes on over."""
    m = parsed(message)
    covered, found = split_mac(message, m.prf)
    right = message_mac(
        m.prf, last.mpk, m.csb_id, last.response, last.randri, last.randrr, covered + followed_by
    )
    check(found, right, "CSB update")
    return m, decrypted_keys(m, last.mpk, last.response, last.randri, last.randrr)


def updated_key(message: Message, session: Session, h: bool, last: Last, keys: tuple[Key, ...]) -> bytes:
    """The TEK of a crypto session from the key its SPI names: the old RANDs, and a new TGK is not forked."""
    (key,) = [key for key in keys if key.spi == session.spi]
    if key.kind in (TEK, TEK_SALT):
        return key.key
    ri = last.randri if h else b""
    return session_key(
        message.prf, TGK_TO_TEK, key.key, session.cs_id, ri, last.randrr, SUITES[message.prf].key_octets
    )


# ------------------------------------------------------------------ 6043 5.4: errors


def error_message(
    failed: bytes, t: Time, numbers: tuple[int, ...], sps: list[bytes], auth_key: bytes | None
) -> bytes:
    """HDR, T, (ERR), {SP}, [V]; version, PRF func and CSB ID of the message that failed, V flag 0.

    The text gives an Error no crypto sessions of its own: #CS 0 with the Empty map. `auth_key` is that of the
    message that failed, None for no V; the MAC covers the Error message alone (5.5).
    """
    payloads = [(T, t_body(t)), *((ERR, pack(">BH", number, 0)) for number in numbers)]
    payloads += [(SP, sp) for sp in sps]
    prf_number, (csb_id,) = failed[3] & 127, unpack_from(">I", failed, 4)
    if auth_key is None:
        header = pack(">BBBBI", failed[0], ERROR, T, prf_number, csb_id)
        return header + EMPTY_MAP + chain(payloads)
    message = unsigned(ERROR, 0, prf_number, csb_id, EMPTY_MAP, payloads)
    return message + mac(SUITES[prf_number], auth_key, message)
