"""Byte-for-byte checks: published PRF outputs, published messages, and every derivation of MIKEY-TICKET."""

import base64
from dataclasses import replace

import pytest
from mikey_vectors import (
    ANSWER,
    CAMERA,
    CSB_ID,
    DERIVATIONS,
    KMS,
    MPK,
    MRFC,
    OFFER,
    PRF_INKEY,
    PRF_OUTPUTS,
    PRF_RAND,
    PSK,
    RAND_I,
    RAND_KMS,
    RAND_R,
    RAND_TICKET,
    REQUEST_INIT,
    REQUEST_RESP,
    T0,
    TEK,
    TGK,
    TICKET,
    TPK,
    TRANSFER_INIT,
    UE_B,
    UNHEX,
)

from mrf_protocols.mikey import (
    SUITE_128,
    SUITE_256,
    Acceptance,
    Credential,
    DataType,
    GrantedTicket,
    KmsRules,
    PolicyFlag,
    Suite,
    TicketKey,
    TicketRequestExchange,
    TransferInitiator,
    TransferResponder,
    decode,
    encode,
    prf,
)
from mrf_protocols.mikey.authentication import authenticate_init
from mrf_protocols.mikey.headers import GenericIdMap, GenericSession, SrtpIdMap
from mrf_protocols.mikey.numbers import EncrAlg, IdRole, KeyType, MacAlg, TsType
from mrf_protocols.mikey.payloads import (
    Identity,
    Kemac,
    KeyData,
    Rand,
    SecurityPolicy,
    Timestamp,
    Verification,
    decode_keys,
)
from mrf_protocols.mikey.policy import TpPayload
from mrf_protocols.mikey.prf import Purpose
from mrf_protocols.mikey.request import request_response
from mrf_protocols.mikey.ticket import open_ticket, seal_ticket, session_tek, ticket_keys
from mrf_protocols.mikey.timestamps import ntp_utc


@pytest.mark.parametrize(
    ("csb", "cs", "constant", "output"),
    PRF_OUTPUTS,
)
def test_prf_hmac_sha_256_gives_published_outputs(csb: int, cs: int, constant: int, output: str) -> None:
    label = constant.to_bytes(4) + bytes([cs]) + csb.to_bytes(4) + PRF_RAND
    inkey, wanted = PRF_INKEY, UNHEX(output)
    assert prf.prf("sha256", inkey, label, len(wanted)) == wanted


@pytest.mark.parametrize(("suite", "name"), [(SUITE_128, "A"), (SUITE_256, "B")])
def test_derivations(suite: Suite, name: str) -> None:
    n = suite.key_length
    psk, mpk, mpkr, tgk, tpk = (bytes(range(at, at + n)) for at in (0x00, 0x40, 0x60, 0x80, 0x20))
    keys = (
        ("encr", prf.ENCRYPTION, n),
        ("auth", prf.AUTHENTICATION, suite.mac_length),
        ("salt", prf.SALT, 14),
    )

    def message(constant: int, purpose: Purpose, rand_i: bytes, rand_r: bytes) -> bytes:
        return prf.message_label(constant, CSB_ID, purpose, rand_i, rand_r)

    got: dict[str, bytes] = {}
    for what, constant, length in keys:
        got[f"init {what}"] = suite.derive(psk, message(constant, Purpose.INITIAL, RAND_I, b""), length)
        got[f"resp {what}"] = suite.derive(psk, message(constant, Purpose.RESPONSE, RAND_I, b""), length)
        got[f"TPK {what}"] = suite.derive(tpk, prf.ticket_label(constant, RAND_TICKET), length)
    auth, mac = prf.AUTHENTICATION, suite.mac_length
    got["resolve auth"] = suite.derive(psk, message(auth, Purpose.INITIAL, b"", RAND_R), mac)
    got["transfer_resp auth"] = suite.derive(mpkr, message(auth, Purpose.RESPONSE, RAND_I, RAND_R), mac)
    identity = b"sip:user1@example.com"
    got["MPKr'"] = suite.derive(mpkr, prf.fork_label(prf.FORK_MPKR, identity, RAND_KMS), n)
    got["TGK'"] = suite.derive(tgk, prf.fork_label(prf.FORK_TGK, identity, RAND_KMS), n)
    key = KeyData(KeyType.TGK, tgk, spi=b"\1")
    got["TEK i"] = session_tek(suite, key, 1, rand_i=RAND_I, rand_r=b"")
    got["TEK i r"] = session_tek(suite, key, 1, rand_i=RAND_I, rand_r=RAND_R)
    got["MPKi"] = suite.derive(mpk, prf.mpk_label(prf.MPK_TO_MPKI, RAND_TICKET), n)
    got["MPKr"] = suite.derive(mpk, prf.mpk_label(prf.MPK_TO_MPKR, RAND_TICKET), n)
    got["Vr auth"] = suite.derive(mpkr, prf.initiator_data_label(auth), mac)
    assert {what: octets.hex() for what, octets in got.items()} == DERIVATIONS[name]


def test_prf_takes_a_long_key_by_blocks_of_256_bits() -> None:
    one, two, label = bytes(range(32)), bytes(range(32, 40)), b"label"
    for digest in ("sha1", "sha256"):
        pieces = [int.from_bytes(prf.prf(digest, piece, label, 50)) for piece in (one, two)]
        assert prf.prf(digest, one + two, label, 50) == (pieces[0] ^ pieces[1]).to_bytes(50)


def test_published_offer_with_pre_shared_key() -> None:
    message = decode(base64.b64decode(OFFER))
    timestamp, rand, identity, policy, kemac = message.payloads
    assert (message.header.data_type, message.header.v_flag, message.header.csb_id) == (0, True, 0xCD177E50)
    assert isinstance(message.header.cs_map, SrtpIdMap)
    assert timestamp == Timestamp(TsType.NTP_UTC, 0xC8E350EA << 32)
    assert isinstance(rand, Rand)
    assert rand.rand.hex() == "4a28da979ee21a7651a0d7f19136d98c"
    assert identity == Identity(0, b"donald@duck.com")
    assert policy == SecurityPolicy(0, 0)
    assert isinstance(kemac, Kemac)
    assert (kemac.encr_alg, len(kemac.encr_data), kemac.mac_alg) == (1, 36, MacAlg.HMAC_SHA_1_160)
    assert encode(message) == base64.b64decode(OFFER)


def test_published_answer() -> None:
    message = decode(base64.b64decode(ANSWER))
    assert message.header.data_type == DataType.PSK_RESP
    assert message.payloads[1] == Identity(0, b"mickey@mouse.com")
    assert isinstance(message.payloads[2], Verification)
    assert encode(message) == base64.b64decode(ANSWER)


def test_published_camera_message_with_a_clear_key() -> None:
    message = decode(base64.b64decode(CAMERA))
    kemac = message.need(Kemac)
    (key,) = decode_keys(kemac.encr_data)
    assert kemac.encr_alg == EncrAlg.NULL
    assert (key.type, len(key.key), key.kv, key.spi) == (KeyType.TEK, 30, 1, UNHEX("00000001"))
    assert len(message.need(SecurityPolicy).parameters) == 10
    assert encode(message) == base64.b64decode(CAMERA)


TICKET_KEY = TicketKey("tpk-1", TPK)
F = PolicyFlag
FLAGS = F.D | F.E | F.F | F.H | F.J | F.N | F.O


def exchange() -> TicketRequestExchange:
    return TicketRequestExchange(
        psk=PSK,
        psk_id="mrfc-psk-1",
        initiator=MRFC,
        kms=KMS,
        responders=[UE_B],
        csb_id=CSB_ID,
        rand=lambda n: RAND_I[:n],
        now=T0,
        flags=FLAGS,
        lifetime=86400,
    )


def granted() -> GrantedTicket:
    wanted = decode(exchange().request()).need(TpPayload).policy
    policy = replace(wanted, payloads=tuple(p for p in wanted.payloads if not isinstance(p, Kemac)))
    session = (KeyData(KeyType.TGK, TGK, spi=b"\1"),)
    mpk = KeyData(KeyType.MPK, MPK, spi=b"\x10")
    ticket = seal_ticket(policy, TICKET_KEY, (mpk, *session), rand=RAND_TICKET, timestamp=ntp_utc(T0))
    return GrantedTicket(ticket, ticket_keys(policy, MPK, RAND_TICKET, session))


def test_request_init_psk() -> None:
    assert exchange().request().hex() == REQUEST_INIT


def test_base_ticket() -> None:
    assert granted().ticket.encode_ticket().hex() == TICKET


def test_base_ticket_opens_to_the_keys_it_was_made_with() -> None:
    opened = open_ticket(granted().ticket, lambda name: TICKET_KEY if name == "tpk-1" else None)
    assert opened.keys == granted().keys
    assert opened.keys.mpki.hex() == DERIVATIONS["A"]["MPKi"]


def test_request_resp() -> None:
    init = authenticate_init(
        decode(UNHEX(REQUEST_INIT)),
        rules=KmsRules(KMS),
        find_credential=lambda psk_id, _: Credential("mrfc-psk-1", PSK, (MRFC,)),
        data_types=(DataType.REQUEST_INIT_PSK, DataType.REQUEST_INIT_PK),
        rand=bytes,
        role=IdRole.INITIATOR,
        now=T0,
    )
    response = request_response(init, granted(), KMS, T0 + 1)
    assert response.hex() == REQUEST_RESP
    ticket = exchange().response(response, T0 + 1)
    assert ticket == granted()
    assert ticket.expires == T0 + 86400


def test_transfer_init_and_tek() -> None:
    initiator = TransferInitiator(
        granted(),
        MRFC,
        UE_B,
        csb_id=0x55667788,
        rand=lambda n: bytes(range(0xE0, 0xE0 + n)),
        now=T0 + 1,
        sdp_ids=None,
    )
    assert initiator.init().hex() == TRANSFER_INIT
    early = initiator.early_result()
    assert early is not None
    assert early.tek == TEK
    assert early.psk_identity == "55667788.1"


def test_transfer_init_as_received() -> None:
    responder = TransferResponder(UNHEX(TRANSFER_INIT), T0 + 1, Acceptance(responders=("sip:*@ims.example",)))
    assert (responder.initiator, responder.responder, responder.csb_id) == (MRFC, UE_B, 0x55667788)
    cs_map = decode(UNHEX(TRANSFER_INIT)).header.cs_map
    assert cs_map == GenericIdMap((GenericSession(1, 241, (0,), b"\1"),))


@pytest.mark.parametrize("octets", [REQUEST_INIT, REQUEST_RESP, TRANSFER_INIT])
def test_messages_encode_to_what_was_decoded(octets: str) -> None:
    assert encode(decode(UNHEX(octets))).hex() == octets
