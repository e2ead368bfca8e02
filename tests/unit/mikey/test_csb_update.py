"""CSB updates from both ends, session keys of the Responder, kinds of session keys, and Error messages with V."""

import itertools
from collections.abc import Callable

import pytest
from certificates import NOW
from mikey_pair import ALICE, ROOM, Pair

from mrf_protocols.mikey import (
    DEFAULT_FLAGS,
    SUITE_128,
    SUITE_256,
    ErrorNumber,
    KeyData,
    KeyType,
    MikeyError,
    PolicyFlag,
    Suite,
    TransferResponder,
    decode,
    error_message,
)
from mrf_protocols.mikey.payloads import Kemac, RandWithRole, SecurityPolicy, Timestamp
from mrf_protocols.mikey.policy import Ticket

F = PolicyFlag
SUITES = (SUITE_128, SUITE_256)
SUPPLY = DEFAULT_FLAGS | F.L | F.M


def refused(number: int, call: Callable[[], object]) -> MikeyError:
    with pytest.raises(MikeyError) as caught:
        call()
    assert caught.value.number == number, str(caught.value)
    return caught.value


def new_key(suite: Suite, kind: KeyType = KeyType.TGK, spi: bytes = b"\x42") -> KeyData:
    return KeyData(kind, bytes(range(100, 100 + suite.key_length)), spi=spi)


@pytest.mark.parametrize(("suite", "forking"), list(itertools.product(SUITES, (F(0), F.I))))
@pytest.mark.parametrize("starter", ["initiator", "responder"])
@pytest.mark.parametrize("supplier", ["starter", "other", "both"])
def test_update_brings_a_new_key(suite: Suite, forking: F, starter: str, supplier: str) -> None:
    pair = Pair(suite, SUPPLY | forking)
    one, other = pair.sessions() if starter == "initiator" else reversed(pair.sessions())
    assert one.result.tek == other.result.tek == pair.tek
    ours, theirs = new_key(suite), new_key(suite, KeyType.TEK, b"\x43")
    init = one.start(now=NOW + 5, keys=(ours,) if supplier != "other" else ())
    answer = other.receive(init, now=NOW + 5, keys=(theirs,) if supplier != "starter" else ())
    result = one.finish(answer.message, NOW + 5)
    assert result.tek == answer.tek == one.result.tek == other.result.tek
    assert result.tek != pair.tek
    assert (result.tek == theirs.key) == (supplier != "starter")
    assert result.psk_identity == "55667788.1"
    message = decode(init)
    assert message.header.csb_id == 0x55667788
    assert not any(isinstance(payload, Ticket | RandWithRole) for payload in message.payloads)


def test_update_without_response() -> None:
    pair = Pair(flags=SUPPLY)
    one, other = pair.sessions()
    init = one.start(now=NOW + 1, keys=(new_key(SUITE_128),), response=False)
    assert not decode(init).header.v_flag
    answer = other.receive(init, now=NOW + 1)
    assert answer.message == b""
    assert answer.tek == one.result.tek != pair.tek
    refused(ErrorNumber.UNSPECIFIED, lambda: one.start(now=NOW + 2, response=False))


def test_no_initialization_vector_comes_twice() -> None:
    """Keys stay the same, so T must not: even when all happens within one tick of the clock."""
    pair = Pair(flags=SUPPLY)
    one, other = pair.sessions()
    stamps = []
    for number in range(1, 6):
        key = new_key(SUITE_128, spi=bytes([number + 10]))
        init = one.start(now=NOW, keys=(key,))
        answer = other.receive(init, now=NOW, keys=(new_key(SUITE_128, spi=bytes([number + 100])),))
        one.finish(answer.message, NOW)
        stamps += [decode(data).need(Timestamp).value for data in (init, answer.message)]
        assert decode(answer.message).first(Kemac) is not None
        one, other = other, one
    assert stamps == sorted(set(stamps))


def test_replayed_and_stale_updates_are_refused() -> None:
    one, other = Pair(flags=SUPPLY).sessions()
    init = one.start(now=NOW + 1, keys=(new_key(SUITE_128),))
    refused(ErrorNumber.INVALID_TS, lambda: other.receive(init, now=NOW + 70))
    answer = other.receive(init, now=NOW + 1)
    refused(ErrorNumber.INVALID_TS, lambda: other.receive(init, now=NOW + 1))
    one.finish(answer.message, NOW + 1)
    refused(ErrorNumber.UNSPECIFIED, lambda: one.finish(answer.message, NOW + 1))


def test_policy_says_who_supplies_keys() -> None:
    one, other = Pair(flags=DEFAULT_FLAGS).sessions()
    refused(ErrorNumber.INVALID_TPPAR, lambda: one.start(now=NOW, keys=(new_key(SUITE_128),)))
    allowed, _ = Pair(flags=DEFAULT_FLAGS | F.L).sessions()
    forged = allowed.start(now=NOW + 1, keys=(new_key(SUITE_128),))
    refused(ErrorNumber.INVALID_TPPAR, lambda: other.receive(forged, now=NOW + 1))
    before = other.result.tek
    init = one.start(now=NOW + 2)
    assert one.finish(other.receive(init, now=NOW + 2).message, NOW + 2).tek == before


def test_changed_updates_change_nothing() -> None:
    pair = Pair(flags=SUPPLY | F.I)
    one, other = pair.sessions()
    init = one.start(now=NOW + 1, keys=(new_key(SUITE_128),))
    for at in range(len(init)):
        for wrong in (init[:at] + bytes([init[at] ^ 1 << at % 8]) + init[at + 1 :], init[:at]):
            with pytest.raises(MikeyError):
                other.receive(wrong, now=NOW + 1)
    assert other.result.tek == pair.tek
    answer = other.receive(init, now=NOW + 1).message
    for at in range(len(answer)):
        for wrong in (answer[:at] + bytes([answer[at] ^ 1 << at % 8]) + answer[at + 1 :], answer[:at]):
            with pytest.raises(MikeyError):
                one.finish(wrong, NOW + 1)
    assert one.finish(answer, NOW + 1).tek == other.result.tek


def test_both_start_at_once() -> None:
    one, other = Pair(flags=SUPPLY).sessions()
    mine = one.start(now=NOW + 1, keys=(new_key(SUITE_128),))
    theirs = other.start(now=NOW + 1.5, keys=(new_key(SUITE_128),))
    refused(ErrorNumber.UNSPECIFIED, lambda: other.receive(mine, now=NOW + 2))
    refused(ErrorNumber.UNSPECIFIED, lambda: one.receive(theirs, now=NOW + 2))
    refused(ErrorNumber.UNSPECIFIED, lambda: one.start(now=NOW + 2))
    other.abandon()
    one.abandon()
    again = one.start(now=NOW + 3, keys=(new_key(SUITE_128),))
    assert one.finish(other.receive(again, now=NOW + 3).message, NOW + 3).tek == other.result.tek


def test_error_instead_of_a_response() -> None:
    one, _ = Pair(flags=SUPPLY).sessions()
    init = one.start(now=NOW + 1, keys=(new_key(SUITE_128),))
    error = refused(
        ErrorNumber.INVALID_SP, lambda: one.finish(error_message(init, ErrorNumber.INVALID_SP, NOW), NOW)
    )
    assert (error.reported, error.authenticated) == (True, False)


@pytest.mark.parametrize(("suite", "forking"), list(itertools.product(SUITES, (F(0), F.I))))
@pytest.mark.parametrize("kind", [KeyType.TEK, KeyType.TGK, KeyType.GTGK])
def test_responder_supplies_the_key(suite: Suite, forking: F, kind: KeyType) -> None:
    pair = Pair(suite, DEFAULT_FLAGS | F.M | forking, answer_keys=(new_key(suite, kind),))
    one, other = pair.sessions()
    assert one.result.tek == other.result.tek
    assert (one.result.tek == new_key(suite).key) == (kind is KeyType.TEK)


def test_responder_supplies_no_key_without_m() -> None:
    refused(ErrorNumber.INVALID_TPPAR, lambda: Pair(answer_keys=(new_key(SUITE_128),)))


@pytest.mark.parametrize(("suite", "forking"), list(itertools.product(SUITES, (F(0), F.I))))
@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in KeyType if kind is not KeyType.MPK])
def test_kinds_of_session_keys(suite: Suite, forking: F, made: bool, kind: KeyType) -> None:
    pair = Pair(suite, DEFAULT_FLAGS | forking, key_types=(kind, KeyType.TGK), self_made=made)
    assert [key.type for key in pair.ticket.keys.session] == [kind, KeyType.TGK]
    assert [key.spi for key in pair.ticket.keys.session] == [b"\1", b"\2"]
    first = pair.ticket.keys.session[0]
    assert len(first.salt) == (14 if kind in (KeyType.TGK_SALT, KeyType.TEK_SALT, KeyType.GTGK_SALT) else 0)
    assert (pair.tek == first.key) == (kind in (KeyType.TEK, KeyType.TEK_SALT))
    assert len(pair.tek) == suite.key_length


def test_errors_about_an_offer_carry_v_once_the_key_is_known() -> None:
    pair = Pair()
    early = TransferResponder(pair.offer.init(), NOW).error(ErrorNumber.INVALID_SP, NOW)
    late = pair.responder.error(ErrorNumber.INVALID_SP, NOW)
    error = refused(ErrorNumber.INVALID_SP, lambda: pair.offer.response(early, NOW))
    assert (error.reported, error.authenticated) == (True, False)
    error = refused(ErrorNumber.INVALID_SP, lambda: pair.offer.response(late, NOW))
    assert (error.reported, error.authenticated) == (True, True)
    for at in range(len(late)):
        with pytest.raises(MikeyError) as caught:
            pair.offer.response(late[:at] + bytes([late[at] ^ 1]) + late[at + 1 :], NOW)
        assert not caught.value.authenticated


def test_error_names_what_would_be_taken() -> None:
    pair = Pair()
    data = error_message(pair.offer.init(), ErrorNumber.INVALID_SP, NOW, supported=(SecurityPolicy(0, 242),))
    error = refused(ErrorNumber.INVALID_SP, lambda: pair.offer.response(data, NOW))
    assert error.supported == (SecurityPolicy(0, 242),)


def test_identities_of_an_update_are_those_of_the_session() -> None:
    one, _ = Pair(flags=SUPPLY).sessions()
    _, other = Pair(flags=SUPPLY, initiator="sip:bob@home.example").sessions()
    init = one.start(now=NOW + 1, keys=(new_key(SUITE_128),))
    with pytest.raises(MikeyError):
        other.receive(init, now=NOW + 1)
    assert (one.result.initiator, one.result.responder) == (ALICE, ROOM)
