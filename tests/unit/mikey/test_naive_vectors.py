"""The naive MIKEY against the known octets: the same that mrf_protocols.mikey is held against."""

import base64
import struct

import mikey_vectors as known
import naive_mikey as naive
import pytest

UNHEX = bytes.fromhex


def uri(text: str) -> naive.Id:
    return naive.Id(1, text.encode())


def seconds(later: int) -> naive.Time:
    return naive.Time(naive.NTP_UTC, (0xE8000000 + later).to_bytes(4, "big") + bytes(4))


MRFC, UE_B, KMS = uri(known.MRFC), uri(known.UE_B), uri(known.KMS)
POLICY = naive.Policy(
    flags="DEFHJNO",
    prf=0,
    responders=(UE_B,),
    kms=KMS,
    initiator=MRFC,
    end=naive.Time(naive.NTP_UTC_32, UNHEX("e8015180")),
)
TGK = naive.Key(naive.TGK, b"\x01", known.TGK)
TICKET = UNHEX(known.TICKET) + b"\0\0"


@pytest.mark.parametrize(("csb", "cs", "constant", "output"), known.PRF_OUTPUTS)
def test_published_outputs_of_prf_hmac_sha_256(csb: int, cs: int, constant: int, output: str) -> None:
    label = constant.to_bytes(4, "big") + bytes([cs]) + csb.to_bytes(4, "big") + known.PRF_RAND
    assert naive.prf(1, known.PRF_INKEY, label, len(output) // 2).hex() == output


def test_published_outputs_use_the_constants_for_keys_from_a_tgk() -> None:
    constants = {constant.to_bytes(4, "big") for _, _, constant, _ in known.PRF_OUTPUTS}
    assert constants == {naive.TGK_TO_TEK, naive.TGK_TO_ENCR, naive.TGK_TO_SALT}


@pytest.mark.parametrize(("suite", "title"), [(naive.SUITE_128, "A"), (naive.SUITE_256, "B")])
def test_derivations(suite: naive.Suite, title: str) -> None:
    func, n, wanted = suite.prf, suite.key_octets, known.DERIVATIONS[title]
    psk, mpk, mpkr, tgk, tpk = (bytes(range(at, at + n)) for at in (0x00, 0x40, 0x60, 0x80, 0x20))
    ri, rr, identity = known.RAND_I, known.RAND_R, b"sip:user1@example.com"
    kinds = (
        ("encr", naive.ENCR_KEY, n),
        ("auth", naive.AUTH_KEY, suite.auth_octets),
        ("salt", naive.SALT_KEY, 14),
    )
    got = {
        "MPKr'": naive.forked(func, naive.FORK_MPKR, mpkr, identity, known.RAND_KMS),
        "TGK'": naive.forked(func, naive.FORK_TGK, tgk, identity, known.RAND_KMS),
        "TEK i": naive.session_key(func, naive.TGK_TO_TEK, tgk, 1, ri, b"", n),
        "TEK i r": naive.session_key(func, naive.TGK_TO_TEK, tgk, 1, ri, rr, n),
        "MPKi": naive.mpk_half(func, naive.MPK_TO_MPKI, mpk, known.RAND_TICKET),
        "MPKr": naive.mpk_half(func, naive.MPK_TO_MPKR, mpk, known.RAND_TICKET),
        "Vr auth": naive.vr_key(func, mpkr),
    }
    for kind, constant, octets in kinds:
        got[f"init {kind}"] = naive.message_key(func, constant, psk, known.CSB_ID, False, ri, b"", octets)
        got[f"resp {kind}"] = naive.message_key(func, constant, psk, known.CSB_ID, True, ri, b"", octets)
        got[f"TPK {kind}"] = naive.ticket_key(func, constant, tpk, known.RAND_TICKET, octets)
    auth, octets = naive.AUTH_KEY, suite.auth_octets
    got["resolve auth"] = naive.message_key(func, auth, psk, known.CSB_ID, False, b"", rr, octets)
    got["transfer_resp auth"] = naive.message_key(func, auth, mpkr, known.CSB_ID, True, ri, rr, octets)
    assert {what: key.hex() for what, key in got.items()} == wanted


def test_published_offer_with_pre_shared_key() -> None:
    offer = base64.b64decode(known.OFFER)
    message = naive.parsed(offer)
    kinds = [naive.T, naive.RAND, naive.ID, naive.SP, naive.KEMAC]
    assert [part.kind for part in message.parts] == kinds
    assert (message.data_type, message.v, message.prf, message.csb_id) == (0, 1, 0, 0xCD177E50)
    t, rand, identity, sp, kemac = (part.body for part in message.parts)
    assert t == naive.t_body(naive.Time(naive.NTP_UTC, UNHEX("c8e350ea00000000")))
    assert rand == naive.counted(UNHEX("4a28da979ee21a7651a0d7f19136d98c"))
    assert identity == b"\0\0\x0fdonald@duck.com"
    assert sp == naive.sp_body(0, 0)
    assert (kemac[0], len(kemac[3:-21]), kemac[-21]) == (1, 36, 1)
    assert offer == offer[:8] + message.cs_map + naive.chain(
        [(part.kind, part.body) for part in message.parts]
    )


def test_published_answer() -> None:
    answer = base64.b64decode(known.ANSWER)
    message = naive.parsed(answer)
    assert (message.data_type, message.csb_id) == (1, 0xCD177E50)
    t, identity, v = (part.body for part in message.parts)
    assert t == naive.t_body(naive.Time(naive.NTP_UTC, UNHEX("c8e350ea00000000")))
    assert identity == b"\0\0\x10mickey@mouse.com"
    assert (v[0], len(v)) == (1, 21)
    assert naive.split_mac(answer, 0) == (answer[:-20], v[1:])


def test_published_camera_message_with_a_clear_key() -> None:
    camera = base64.b64decode(known.CAMERA)
    message = naive.parsed(camera)
    (kemac,) = naive.bodies(message.parts, naive.KEMAC)
    (key,) = naive.read_keys(kemac[3:-1])
    assert (key.kind, len(key.key), key.spi) == (naive.TEK, 30, UNHEX("00000001"))
    assert naive.kemac_body(0, naive.key_data((key,))) == kemac
    assert camera == camera[:8] + message.cs_map + naive.chain(
        [(part.kind, part.body) for part in message.parts]
    )


def test_request_init_psk() -> None:
    zero = naive.Key(naive.TGK, b"\x01", bytes(16))
    init = naive.request_init_psk(
        naive.SUITE_128,
        known.CSB_ID,
        seconds(0),
        known.RAND_I,
        MRFC,
        KMS,
        POLICY._replace(keys=(zero,)),
        naive.Id(2, b"mrfc-psk-1"),
        known.PSK,
    )
    assert init.hex() == known.REQUEST_INIT


def test_base_ticket() -> None:
    mpk = naive.Key(naive.MPK, b"\x10", known.MPK)
    ticket = naive.base_ticket(
        POLICY, seconds(0), known.RAND_TICKET, known.TPK, (mpk, TGK), naive.Id(2, b"tpk-1")
    )
    assert ticket == TICKET
    opened = naive.open_base_ticket(ticket, known.TPK)
    assert opened.mpki.key.hex() == known.DERIVATIONS["A"]["MPKi"]
    assert opened.mpkr.key.hex() == known.DERIVATIONS["A"]["MPKr"]
    assert opened.keys == (TGK,)


def test_request_resp() -> None:
    init, mpki = UNHEX(known.REQUEST_INIT), UNHEX(known.DERIVATIONS["A"]["MPKi"])
    keys = (naive.Key(naive.MPK, b"\x10", mpki), TGK)
    response = naive.request_resp(init, known.PSK, seconds(1), KMS, TICKET, keys)
    assert response.hex() == known.REQUEST_RESP
    assert naive.open_request_resp(init, response, known.PSK) == naive.Granted(TICKET, keys[0], None, (TGK,))


def test_transfer_init_and_tek() -> None:
    mpki = UNHEX(known.DERIVATIONS["A"]["MPKi"])
    session = naive.Session(1, (0,), b"\x01")
    init = naive.transfer_init(
        naive.SUITE_128,
        0x55667788,
        seconds(1),
        bytes(range(0xE0, 0xF0)),
        MRFC,
        UE_B,
        (session,),
        [naive.sp_body(0)],
        TICKET,
        mpki,
        None,
    )
    assert init.hex() == known.TRANSFER_INIT
    assert naive.verify_transfer_init(init, mpki) == ()
    assert naive.traffic_key(init, None, session, (TGK,)) == known.TEK


@pytest.mark.parametrize("at", range(0, len(UNHEX(known.TRANSFER_INIT)), 7))
def test_a_changed_octet_is_noticed(at: int) -> None:
    init = bytearray(UNHEX(known.TRANSFER_INIT))
    init[at] ^= 0x20
    with pytest.raises((ValueError, LookupError, struct.error)):
        naive.verify_transfer_init(bytes(init), UNHEX(known.DERIVATIONS["A"]["MPKi"]))
