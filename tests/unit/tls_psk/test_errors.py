"""What is read out of OpenSSL's errors, in the words of its several versions."""

from __future__ import annotations

import ssl

import pytest

from mrf_protocols.tls_psk.errors import TlsFailure, failure_reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] decryption failed or bad record mac",
            TlsFailure.WRONG_KEY,
        ),
        ("[SSL: RECORD_LAYER_FAILURE] record layer failure", TlsFailure.WRONG_KEY),
        ("[SSL: BINDER_DOES_NOT_VERIFY] binder does not verify", TlsFailure.WRONG_KEY),
        ("[SSL: PSK_IDENTITY_NOT_FOUND] psk identity not found", TlsFailure.UNKNOWN_IDENTITY),
        ("[SSL: NO_SHARED_CIPHER] no shared cipher", TlsFailure.NO_COMMON_PARAMETERS),
        ("[SSL: UNEXPECTED_MESSAGE] unexpected message", TlsFailure.PROTOCOL),
    ],
)
def test_reason(text: str, reason: TlsFailure) -> None:
    error = ssl.SSLError(1, text)
    error.reason = text[len("[SSL: ") :].partition("]")[0]
    assert failure_reason(error) is reason
