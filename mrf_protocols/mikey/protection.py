"""What protects a message: V over its octets, and the KEMAC that carries keys (RFC 6043 5.1.2, 5.5; RFC 3830
4.2.3).
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.headers import Header
from mrf_protocols.mikey.message import Message, decode, encode
from mrf_protocols.mikey.numbers import DataType, ErrorNumber, MacAlg
from mrf_protocols.mikey.payloads import (
    ErrorPayload,
    Kemac,
    KeyData,
    Payload,
    SecurityPolicy,
    Timestamp,
    Verification,
    decode_keys,
    encode_keys,
)
from mrf_protocols.mikey.prf import AUTHENTICATION, ENCRYPTION, SALT, Purpose, message_label
from mrf_protocols.mikey.suite import SALT_LENGTH, Suite
from mrf_protocols.mikey.timestamps import iv_octets

Label = Callable[[int], bytes]
"""A derivation label once its constant is given."""


@dataclass(frozen=True, slots=True)
class Protector:
    """One inkey and label: the authentication key, and on demand encryption key and salt.

    `csb_id` goes into the IV; in a ticket it is 0xFFFFFFFF.
    """

    suite: Suite
    inkey: bytes = field(repr=False)
    label: Label
    csb_id: int

    def auth_key(self) -> bytes:
        """Give the authentication key, as long as the MAC."""
        return self.suite.derive(self.inkey, self.label(AUTHENTICATION), self.suite.mac_length)

    def seal(self, timestamp: Timestamp, keys: Sequence[KeyData]) -> Kemac:
        """Encrypt key data into a KEMAC whose IV takes `timestamp`."""
        return Kemac(self.suite.encr_alg, self._crypt(timestamp, encode_keys(keys)))

    def open(self, timestamp: Timestamp, kemac: Kemac) -> tuple[KeyData, ...]:
        """Decrypt a KEMAC.

        Raises MikeyError for another algorithm (4, 3) or key data that make no sense (12).
        """
        if kemac.encr_alg != self.suite.encr_alg:
            raise MikeyError(ErrorNumber.INVALID_EA, f"Encr alg {kemac.encr_alg} is not of this suite")
        if kemac.mac_alg != MacAlg.NULL:
            raise MikeyError(ErrorNumber.INVALID_MAC, "a KEMAC of MIKEY-TICKET has the NULL MAC")
        keys = decode_keys(self._crypt(timestamp, kemac.encr_data))
        if any(not key.spi or len(key.key) < 16 for key in keys):
            raise MikeyError(ErrorNumber.UNSPECIFIED, "a key has no SPI or less than 128 bits")
        return keys

    def _crypt(self, timestamp: Timestamp, data: bytes) -> bytes:
        suite = self.suite
        key = suite.derive(self.inkey, self.label(ENCRYPTION), suite.key_length)
        salt = suite.derive(self.inkey, self.label(SALT), SALT_LENGTH)
        mask = self.csb_id << 64 | int.from_bytes(iv_octets(timestamp))
        iv = (int.from_bytes(salt) ^ mask) << 16
        return suite.aes_cm(key, iv.to_bytes(16), data)


def message_protector(
    suite: Suite, inkey: bytes, csb_id: int, purpose: Purpose, *, rand_i: bytes = b"", rand_r: bytes = b""
) -> Protector:
    """Protector of a message, from PSK, envelope key, MPKi or MPKr' (RFC 6043 5.1.2)."""
    return Protector(suite, inkey, lambda c: message_label(c, csb_id, purpose, rand_i, rand_r), csb_id)


def authenticate(header: Header, payloads: Sequence[Payload], protector: Protector, tail: bytes) -> bytes:
    """Give the octets of a message with V added; the MAC covers the message and then `tail` (RFC 6043 5.5)."""
    suite = protector.suite
    unsigned = encode(Message(header, (*payloads, Verification(suite.mac_alg, bytes(suite.mac_length)))))
    covered = unsigned[: -suite.mac_length]
    return covered + suite.mac(protector.auth_key(), covered + tail)


def verify(message: Message, protector: Protector, tail: bytes, covered: bytes | None = None) -> None:
    """Check V of a message; `covered` stands for its octets when not all count (TRANSFER_INIT).

    Raises MikeyError: 3 when the algorithm is not of the suite, 0 when the MAC is wrong.
    """
    suite = protector.suite
    verification = message.verification
    check_mac_alg(verification, suite)
    data = (message.raw if covered is None else covered)[: -suite.mac_length]
    if not hmac.compare_digest(suite.mac(protector.auth_key(), data + tail), verification.mac):
        raise MikeyError(ErrorNumber.AUTH_FAILURE, "the MAC of the message is wrong")


def reported_error(
    message: Message, initial: Header, protectors: Sequence[Protector | None] = ()
) -> MikeyError:
    """Give what an Error message says (RFC 6043 5.4): proof only when ``authenticated``, else no more than a hint.

    It covers itself alone, with the key of the message that was in error. One about another exchange, or with
    a wrong V, is a fault by itself (12, 0).
    """
    if (message.header.csb_id, message.header.prf) != (initial.csb_id, initial.prf):
        return MikeyError(ErrorNumber.UNSPECIFIED, "an Error message about another exchange")
    authentic = False
    if isinstance(message.payloads[-1] if message.payloads else None, Verification):
        for protector in protectors:
            if protector is not None and not authentic:
                authentic = _is_authentic(message, protector)
        if not authentic and any(protectors):
            return MikeyError(ErrorNumber.AUTH_FAILURE, "the MAC of an Error message is wrong")
    error = message.first(ErrorPayload)
    return MikeyError(
        ErrorNumber.UNSPECIFIED if error is None else error.error,
        "reported in an Error message" + ("" if authentic else ", which nobody proved"),
        reported=True,
        authenticated=authentic,
        supported=tuple(payload for payload in message.payloads if isinstance(payload, SecurityPolicy)),
    )


def read_report(data: bytes, initial: Header, protectors: Sequence[Protector | None]) -> MikeyError:
    """Give what an Error message says that came beside the protocol, as `reported_error` does.

    What is no Error message becomes a MikeyError that is not ``reported``.
    """
    try:
        message = decode(data)
    except MikeyError as error:
        return error
    if message.header.data_type != DataType.ERROR:
        return MikeyError(ErrorNumber.INVALID_DT, "another message where an Error message should be")
    return reported_error(message, initial, protectors)


def _is_authentic(message: Message, protector: Protector) -> bool:
    try:
        verify(message, protector, b"")
    except MikeyError:
        return False
    return True


def check_mac_alg(verification: Verification, suite: Suite) -> None:
    """Refuse a MAC algorithm that is not of the suite (error 3)."""
    if verification.mac_alg != suite.mac_alg:
        raise MikeyError(ErrorNumber.INVALID_MAC, f"Auth alg {verification.mac_alg} is not of this suite")


def check_response(
    response: Message, initial: Header, data_type: int, protectors: Sequence[Protector | None] = ()
) -> None:
    """Refuse a response whose HDR does not answer the initial message (RFC 6043 4.2.1.5).

    An Error message becomes the MikeyError that it reports; `protectors`, of messages that it may be about,
    tell whether it is the peer's.
    """
    header = response.header
    if header.data_type == DataType.ERROR:
        raise reported_error(response, initial, protectors)
    if header.data_type != data_type:
        raise MikeyError(ErrorNumber.INVALID_DT, f"data type {header.data_type} where {data_type} should be")
    if (header.csb_id, header.prf) != (initial.csb_id, initial.prf):
        raise MikeyError(ErrorNumber.UNSPECIFIED, "CSB ID or PRF func of the response is another")
