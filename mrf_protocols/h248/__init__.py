"""H.248.1 (Megaco): values, text encoding of versions 1 to 3, TPKT framing, transactions, and the Mp procedures.

    message = decode(octets)                 # raises H248Error, whatever the octets
    octets = encode(message, pretty=False)

`mrf_protocols.h248.mp` holds the procedures between MRFC and MRFP.
"""

from mrf_protocols.h248.errors import ErrorCode, H248Error, ServiceChangeMethod, ServiceChangeReason
from mrf_protocols.h248.text_decoder import decode, parse_mid
from mrf_protocols.h248.text_encoder import encode, format_mid
from mrf_protocols.h248.values import Message

__all__ = [
    "ErrorCode",
    "H248Error",
    "Message",
    "ServiceChangeMethod",
    "ServiceChangeReason",
    "decode",
    "encode",
    "format_mid",
    "parse_mid",
]
