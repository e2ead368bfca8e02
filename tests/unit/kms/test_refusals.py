"""What a refusal of the KMS is worth to whoever asked: its Error message is verified, not only read."""

from collections.abc import Callable

import pytest
from certificates import NOW
from mikey_pair import KMS, ROOM, Pair

from mrf_kms.client import KmsProtocolError, KmsRefused, judged
from mrf_protocols.mikey import (
    ErrorNumber,
    KmsRules,
    MikeyError,
    TicketRequestExchange,
    TransferInitiator,
    TransferResponder,
    error_message,
    issue_ticket,
    resolve_ticket,
)


@pytest.fixture
def pair() -> Pair:
    return Pair()


def request(pair: Pair) -> TicketRequestExchange:
    """A request in the name of somebody else, which is refused with error 7."""
    return TicketRequestExchange(
        psk=pair.user.psk,
        psk_id="alice-psk",
        initiator="sip:alice@home.example",
        kms=KMS,
        responders=[ROOM] * 65,
        csb_id=3,
        rand=pair.rand,
        now=NOW,
    )


def refusal(pair: Pair, exchange: TicketRequestExchange) -> KmsRefused:
    with pytest.raises(MikeyError) as caught:
        issue_ticket(
            exchange.request(),
            rules=KmsRules(KMS),
            find_credential=pair.credential,
            ticket_key=pair.tpk,
            rand=pair.rand,
            now=NOW,
        )
    error = caught.value
    message = error_message(exchange.request(), error.number, NOW, protector=error.protector)
    return KmsRefused(403, error.number, message)


def test_of_a_request(pair: Pair) -> None:
    exchange = request(pair)
    found = judged(refusal(pair, exchange), exchange.reported)
    assert isinstance(found, KmsRefused)
    assert found.number == ErrorNumber.INVALID_TPPAR
    assert found.authenticated
    assert str(found) == "refused with status 403, MIKEY error 15, authenticated"


def test_of_a_resolution(pair: Pair) -> None:
    offer = TransferInitiator(pair.ticket, pair.initiator, ROOM, csb_id=9, rand=pair.rand, now=NOW)
    transfer = TransferResponder(offer.init(), NOW)
    init = transfer.resolve_init(
        psk=pair.mrfc.psk, psk_id="mrfc-psk", identity=ROOM, kms=KMS, rand=pair.rand, now=NOW
    )
    with pytest.raises(MikeyError) as caught:
        resolve_ticket(
            init,
            rules=KmsRules(KMS),
            find_credential=pair.credential,
            find_ticket_key=lambda name: None,
            rand=pair.rand,
            now=NOW,
        )
    error = caught.value
    message = error_message(init, error.number, NOW, protector=error.protector)
    found = judged(KmsRefused(400, error.number, message), transfer.reported)
    assert isinstance(found, KmsRefused)
    assert (found.number, found.authenticated) == (ErrorNumber.AUTH_FAILURE, True)
    assert not pair.responder.reported(message).reported, "another Responder did not ask"


def test_a_hint(pair: Pair) -> None:
    exchange = request(pair)
    message = error_message(exchange.request(), ErrorNumber.INVALID_ID, NOW)
    found = judged(KmsRefused(403, 7, message), exchange.reported)
    assert isinstance(found, KmsRefused)
    assert (found.number, found.authenticated) == (7, False)
    silent = KmsRefused(403, None)
    assert judged(silent, exchange.reported) is silent


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda message: message[:-1] + bytes([message[-1] ^ 1]), id="wrong MAC"),
        pytest.param(lambda message: message[:4] + b"\0\0\0\0" + message[8:], id="another exchange"),
        pytest.param(lambda message: message[:-5], id="cut"),
        pytest.param(lambda message: bytes([1, 18]) + message[2:], id="another kind of message"),
    ],
)
def test_what_says_nothing(pair: Pair, change: Callable[[bytes], bytes]) -> None:
    exchange = request(pair)
    refused = refusal(pair, exchange)
    found = judged(KmsRefused(403, refused.number, change(refused.message)), exchange.reported)
    assert isinstance(found, KmsProtocolError)
