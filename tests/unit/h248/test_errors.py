"""Every code has its standard text, and every text can be written."""

from __future__ import annotations

import pytest

from mrf_protocols.h248 import ErrorCode, H248Error, ServiceChangeReason, decode, encode
from mrf_protocols.h248 import values as v
from mrf_protocols.h248.error_texts import ERROR_TEXTS, REASON_TEXTS


def test_every_code_and_reason_has_a_text() -> None:
    assert [code for code in ErrorCode if int(code) not in ERROR_TEXTS] == []
    assert sorted(REASON_TEXTS) == [int(reason) for reason in ServiceChangeReason]


@pytest.mark.parametrize("code", ERROR_TEXTS)
def test_an_error_travels_with_its_text(code: int) -> None:
    message = v.Message(3, v.DeviceName("mg"), error=H248Error(code).descriptor)
    assert decode(encode(message)).error == v.ErrorDescriptor(code, ERROR_TEXTS[code])


def test_what_is_said_instead_of_the_text() -> None:
    assert H248Error(510, "no port").text == "no port"
    assert H248Error(999).text == "Error"
    assert str(H248Error(ErrorCode.UNKNOWN_TERMINATION)) == "430 Unknown TerminationID"


def test_a_reason_is_number_and_words() -> None:
    assert ServiceChangeReason.COLD_BOOT.text == "901 Cold Boot"
    assert ServiceChangeReason.TERMINATION_OUT_OF_SERVICE.text == "905 Termination taken out of service"
