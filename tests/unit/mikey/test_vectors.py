"""Byte-for-byte checks: published PRF outputs, published messages, and every derivation of MIKEY-TICKET."""

import base64
from dataclasses import replace

import pytest

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
from mrf_protocols.mikey.timestamps import NTP_EPOCH, ntp_utc

UNHEX = bytes.fromhex
T0 = 0xE8000000 - NTP_EPOCH
RAND_I, RAND_R = bytes(range(0xA0, 0xB0)), bytes(range(0xB0, 0xC0))
RAND_KMS, RAND_TICKET = bytes(range(0xC0, 0xD0)), bytes(range(0xD0, 0xE0))
CSB_ID = 0x11223344


@pytest.mark.parametrize(
    ("csb", "cs", "constant", "output"),
    [
        (0x05A85C16, 4, 0x15798CEF, "3924935940c154ccbc3c2ad05c8f5181"),
        (0x05A85C16, 4, 0x39A2C14B, "1725869b80f370cc9f24e13b"),
        (0x05A85C16, 0, 0x15798CEF, "f17c80a8d2f9befa47cf712603d7229a"),
        (0x05A85C16, 0, 0x39A2C14B, "c3b7b561a291a1d3abef482b"),
        (0x0633F457, 4, 0x2AD01C64, "59aaa49ebb54813602b7cc165961b4e8"),
        (0x0633F457, 4, 0x39A2C14B, "745eb4df7d155c473114a799"),
    ],
)
def test_prf_hmac_sha_256_gives_published_outputs(csb: int, cs: int, constant: int, output: str) -> None:
    label = constant.to_bytes(4) + bytes([cs]) + csb.to_bytes(4) + UNHEX("4339F62F55AAC86348846A482C893802")
    inkey, wanted = UNHEX("A27B7D578EEB9B1EE7705E385996D300"), UNHEX(output)
    assert prf.prf("sha256", inkey, label, len(wanted)) == wanted


DERIVATIONS = {
    "A": {
        "init encr": "590d065352e455d5be73692820e9f652",
        "init auth": "a1401f8f04422e0df75e62ff3b97aa626514bd2d",
        "init salt": "992977f0f128ad22c35301b71488",
        "resp encr": "7530632181bbe5d5d0e6332c794997d0",
        "resp auth": "849a331c24267d0dd8239b787307656896e59c92",
        "resp salt": "78ad6b3f1b7380b8fb8b6c694bd1",
        "resolve auth": "367387d60b490074d18167f9692fc2f7cc25d9b5",
        "transfer_resp auth": "cda8dc300155d11d909a96aacc89dd1a391b2269",
        "MPKr'": "5edcd8e6a4f439eb1a408c02acf17e52",
        "TGK'": "343b25c1b1e768a0bc26e38b020b5163",
        "TEK i": "0dd98e0ea9a44b360f8d9e03993d63da",
        "TEK i r": "fa34d6f4e989965863bd3f60d1fd2c5a",
        "TPK encr": "841fedaed4e49598cecea7216894173a",
        "TPK auth": "bd58bf1b00e2346a7f5bccb25b3a07845350c56e",
        "TPK salt": "b01a1ba8a2be5c7e67763586052d",
        "MPKi": "6aeb740d206a0f1ebdd37001358397c0",
        "MPKr": "eb7b72ff984713b786268c087b9494b5",
        "Vr auth": "338d43de287d64cb4f7394374a2c9fa5d5a08fea",
    },
    "B": {
        "init encr": "5b70ed87999d88638b3735b3c011520c5a9fa2e572589ecc0786de492671489f",
        "init auth": "2ff9b003fdcdcff683d6cada62c05a21dd0977ae32d9ec27649b7c402e683df5",
        "init salt": "10a3e5eb16ccdbc2b0986cf8c2f4",
        "resp encr": "4fdfe0bdee822ec038ad3c0931e4c93e20489624f72c8d80671a392be033ae19",
        "resp auth": "af7b05901dee3327e902d1e9366e967bfae3f628085c383707befe77f88d4ed9",
        "resp salt": "36da8a9a57928bae66883772f1e8",
        "resolve auth": "9cb16c6462da0d716ab407d3de20968afbd153142d16b134972c46356bb92fea",
        "transfer_resp auth": "9281640b4be48f15132687a8a2a92216af6dae7140dc44c7583b3e2dbd517cd6",
        "MPKr'": "011de5220267c36980ab4ae5e264fb2523307494c445c7fe3cfc2c712755402e",
        "TGK'": "2d30c7c6fbb6a4dad03a144d7c6bed6e9acbb4080213c768f607562d854837b7",
        "TEK i": "6c558a4988f4d1c88c312426b1bfd61bce4ea9732e018c49c7bec0a233991275",
        "TEK i r": "798f6daa6fe69539a29d7607b4dc983add7f57cae2b38de7a3e289d023432394",
        "TPK encr": "057277a026e0909d63f50a3cd9037145f90aa69ad6a6e0c264fd6e6233a0450b",
        "TPK auth": "c8a3e58f9daa514b6d97901fb5861669ca7caf92007c1658a262c5f197a3ec42",
        "TPK salt": "d602cc9ffc924c8a8ff76d08fbc6",
        "MPKi": "c68c2661cf9e85e1b0558cec870bf335b9c3d9214502f43b7fad711b49218cc8",
        "MPKr": "12360aec6092f7879ed574bdd60d4b7d936b6f55fa057a62201bbffbc16e3e51",
        "Vr auth": "79c5be638ec27d94147129f8b667d0411f96918b1bc20c15a4c8085c37e41f78",
    },
}


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


OFFER = (
    "AQAFgM0XflABAAAAAAAAAAAAAAsAyONQ6gAAAAAGEEoo2pee4hp2UaDX8ZE22YwKAAAPZG9uYWxkQGR1Y2suY29tAQAAAAAAAQAk0JKp"
    "gaVkDaawi9whVBtBt0KZ14ymNuu62+Nv3ozPLygwK/GbAV9iemnGUIZ19fWQUOSrzKTAv9zV"
)
ANSWER = "AQEFgM0XflABAAAAAAAAAAAAAAYAyONQ6gAAAAAJAAAQbWlja2V5QG1vdXNlLmNvbQABn8HdGE5BMDXFIuGEga+62AgY5cc="
CAMERA = (
    "AQAFAElq4SIBAAA6zCzrAAAAAAsA7d5mHVUyqcsKEP9Ynnh3rIApS64s5GNDOb4BAAAAHgABAQEBEAIBAQMBFAQBDgUBAAcBAQgBAQoBAQsB"
    "CgAAACcAIQAepnM1qcQLCtXMUZ8imXhhE4K37b1PTMal3WhDgdssBAAAAAEA"
)


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


POLICY = (
    "0001010101d460004e0e0e0301000f6b6d732e696d732e6578616d706c650d010100147369703a6d72666340696d732e6578616d706c65"
    "0e0303e801518000020100147369703a75652d6240696d732e6578616d706c65"
)
TICKET = (
    POLICY
    + "00700500000b00e8000000000000000110d0d1d2d3d4d5d6d7d8d9dadbdcdddedf0e01002ca6ca0c2b16b5f95bdf61806913"
    "c81e05a47ca5337ed3249d00d4e23a85d5973a0cf111b7d3171ac79d23567200090402000574706b2d3100011d65da13f328a213a863c3"
    "77411182349fb89dd0"
)
REQUEST_INIT = (
    "010b05801122334400010f00e8000000000000000e0110a0a1a2a3a4a5a6a7a8a9aaabacadaeaf0e010100147369703a6d72666340696d73"
    "2e6578616d706c65100301000f6b6d732e696d732e6578616d706c650e0001010101d46000690e0e0301000f6b6d732e696d732e6578616d"
    "706c650d010100147369703a6d72666340696d732e6578616d706c65010303e80151800e0000160001001000000000000000000000000000"
    "00000001010000020100147369703a75652d6240696d732e6578616d706c65090402000a6d7266632d70736b2d3100019fd875be99bb758f"
    "c094944b7509fc93c39a926f"
)
REQUEST_RESP = (
    "010d05001122334400010e00e800000100000000110301000f6b6d732e696d732e6578616d706c6501" + TICKET + "0000"
    "0901002c7f629c2a22b2c75016d9a127e83484740a9b332a912e0aa38f2ec3f3f9ce67ea74467e30bc305b1432efd4450000013e39634f67"
    "619700ad6b7f419a581975b9518cee"
)
TRANSFER_INIT = (
    "010e058055667788010201f10100000001010f00e8000001000000000e0110e0e1e2e3e4e5e6e7e8e9eaebecedeeef0e010100147369703a"
    "6d72666340696d732e6578616d706c650a020100147369703a75652d6240696d732e6578616d706c651100f10000"
    + "09"
    + TICKET
    + "00"
    "000001" + "3a9c70aad4fb331f2bf2e09d6be95dbac8b16a86"
)
MRFC, UE_B, KMS = "sip:mrfc@ims.example", "sip:ue-b@ims.example", "kms.ims.example"
PSK, TPK = bytes(range(16)), TicketKey("tpk-1", bytes(range(0x20, 0x30)))
MPK, TGK = bytes(range(0x40, 0x50)), bytes(range(0x80, 0x90))
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
    ticket = seal_ticket(policy, TPK, (mpk, *session), rand=RAND_TICKET, timestamp=ntp_utc(T0))
    return GrantedTicket(ticket, ticket_keys(policy, MPK, RAND_TICKET, session))


def test_request_init_psk() -> None:
    assert exchange().request().hex() == REQUEST_INIT


def test_base_ticket() -> None:
    assert granted().ticket.encode_ticket().hex() == TICKET


def test_base_ticket_opens_to_the_keys_it_was_made_with() -> None:
    opened = open_ticket(granted().ticket, lambda name: TPK if name == "tpk-1" else None)
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
    assert early.tek.hex() == "0208bf8f4051e7e6224ea599139438ae"
    assert early.psk_identity == "55667788.1"


def test_transfer_init_as_received() -> None:
    responder = TransferResponder(UNHEX(TRANSFER_INIT), T0 + 1, Acceptance(responders=("sip:*@ims.example",)))
    assert (responder.initiator, responder.responder, responder.csb_id) == (MRFC, UE_B, 0x55667788)
    cs_map = decode(UNHEX(TRANSFER_INIT)).header.cs_map
    assert cs_map == GenericIdMap((GenericSession(1, 241, (0,), b"\1"),))


@pytest.mark.parametrize("octets", [REQUEST_INIT, REQUEST_RESP, TRANSFER_INIT])
def test_messages_encode_to_what_was_decoded(octets: str) -> None:
    assert encode(decode(UNHEX(octets))).hex() == octets
