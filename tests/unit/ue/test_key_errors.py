"""What one UE says of the other's ticket in a refusal, and what the other reads there."""

import pytest
from certificates import NOW
from mikey_pair import Pair

from mrf_protocols.mikey import ErrorNumber, MikeyError, TransferResponder, error_message
from mrf_ue.errors import KmsFailed, OfferRefused, SipRefused
from mrf_ue.key_errors import body_of, explained, unreadable, unresolved


@pytest.fixture
def pair() -> Pair:
    return Pair()


def read(refusal: OfferRefused, pair: Pair, host: str = "192.0.2.2") -> str:
    """What the caller is told."""
    refused = SipRefused("refused: 488", 488, "399 ue", body_of(refusal, host))
    return str(explained(refused, pair.offer))


@pytest.mark.parametrize("host", ["192.0.2.2", "2001:db8::2"])
def test_a_ticket_that_cannot_be_read(pair: Pair, host: str) -> None:
    refusal = unreadable(MikeyError(ErrorNumber.INVALID_TICKET, "ticket type 2"), pair.offer.init())
    assert refusal.status == 488
    told = read(refusal, pair, host)
    assert told.startswith(
        "refused: 488 (Warning: 399 ue); the far end says of the ticket: INVALID_TICKET (14)"
    )
    assert told.endswith("which nobody proved")


def test_a_ticket_that_the_kms_refuses(pair: Pair) -> None:
    offer = TransferResponder(pair.offer.init(), NOW)
    refusal = unresolved(KmsFailed("the KMS says no", ErrorNumber.INVALID_ID), offer)
    assert refusal.status == 488
    assert "INVALID_ID (7)" in read(refusal, pair)


def test_once_it_is_resolved_the_error_proves_whose_it_is(pair: Pair) -> None:
    refusal = unresolved(MikeyError(ErrorNumber.INVALID_SP, "no"), pair.responder)
    assert "INVALID_SP (9)" in read(refusal, pair)
    assert "nobody proved" not in read(refusal, pair)


def test_a_kms_that_is_silent_is_nobodys_fault(pair: Pair) -> None:
    refusal = unresolved(KmsFailed("no answer"), pair.responder)
    assert (refusal.status, refusal.mikey, body_of(refusal, "h")) == (480, b"", b"")
    assert read(refusal, pair) == "refused: 488 (Warning: 399 ue)"


def test_what_is_about_another_offer_is_told_as_such(pair: Pair) -> None:
    other = error_message(bytes([1, 14, 0, 0, 1, 2, 3, 4, 0, 1]), ErrorNumber.INVALID_ID, NOW)
    refusal = OfferRefused("no", 488, 399, other)
    assert "with no proper Error" in read(refusal, pair)
    assert str(explained(SipRefused("refused", 488, "", b"nonsense"), pair.offer)) == "refused"
    assert str(explained(SipRefused("refused", 488, "", body_of(refusal, "h")), None)) == "refused"
