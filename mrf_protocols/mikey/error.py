"""Error messages (RFC 3830 5.1.2, RFC 6043 5.4)."""

import struct
from collections.abc import Sequence

from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.headers import EmptyMap, Header
from mrf_protocols.mikey.message import Message, decode, encode
from mrf_protocols.mikey.numbers import VERSION, DataType
from mrf_protocols.mikey.payloads import ErrorPayload, Payload, SecurityPolicy
from mrf_protocols.mikey.protection import Protector, authenticate
from mrf_protocols.mikey.timestamps import ntp_utc


def error_message(
    offending: bytes,
    number: int,
    now: float,
    *,
    supported: Sequence[SecurityPolicy] = (),
    protector: Protector | None = None,
) -> bytes:
    """Build the Error message about `offending` with Error no `number`.

    Gives b"" when there is nothing to answer: the message has no readable HDR, or is itself an Error message.
    `supported` are the security policies to suggest; `protector`, that of the erroneous message, adds V.
    """
    if len(offending) < 10 or offending[0] != VERSION or offending[1] == DataType.ERROR:
        return b""
    _, _, _, v_prf, csb_id = struct.unpack_from("!BBBBI", offending)
    header = Header(DataType.ERROR, csb_id, v_prf & 127, False, EmptyMap())
    payloads: list[Payload] = [ntp_utc(now), ErrorPayload(number), *supported]
    if protector is not None:
        return authenticate(header, payloads, protector, b"")
    return encode(Message(header, tuple(payloads)))


def read_error(data: bytes) -> int | None:
    """Give the Error no of an Error message, None when the octets are anything else.

    It is a hint, not proof.
    """
    try:
        message = decode(data)
    except MikeyError:
        return None
    error = message.first(ErrorPayload)
    return error.error if error is not None and message.header.data_type == DataType.ERROR else None
