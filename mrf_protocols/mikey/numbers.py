"""The numbers of the MIKEY name spaces (RFC 3830 6, RFC 6043 6, RFC 4563, RFC 4738), under their own names.

Payload values hold plain integers, so a number that is not listed here survives decoding and encoding.
"""

from enum import IntEnum, IntFlag

VERSION = 1
PROT_TYPE_TLS = 241
"""Prot type for TLS: none is registered, so a private-use number is the default."""
SDP_PROTOCOL_IDS = "mikey"
"""What the "SDP IDs" extension lists when MIKEY is the only key management protocol offered (RFC 4567 4.1.4).
"""


class DataType(IntEnum):
    """Type of message, HDR (RFC 3830 6.1, RFC 6043 6.1)."""

    PSK_INIT = 0
    PSK_RESP = 1
    PK_INIT = 2
    PK_RESP = 3
    DH_INIT = 4
    DH_RESP = 5
    ERROR = 6
    REQUEST_INIT_PSK = 11
    REQUEST_INIT_PK = 12
    REQUEST_RESP = 13
    TRANSFER_INIT = 14
    TRANSFER_RESP = 15
    RESOLVE_INIT_PSK = 16
    RESOLVE_INIT_PK = 17
    RESOLVE_RESP = 18


class PayloadType(IntEnum):
    """Next Payload (RFC 3830 6.1, RFC 6043 6.1)."""

    LAST = 0
    KEMAC = 1
    PKE = 2
    DH = 3
    SIGN = 4
    T = 5
    ID = 6
    CERT = 7
    CHASH = 8
    V = 9
    SP = 10
    RAND = 11
    ERR = 12
    TR = 13
    IDR = 14
    RANDR = 15
    TP = 16
    TICKET = 17
    KEY_DATA = 20
    GENERAL_EXT = 21


class PrfFunc(IntEnum):
    """PRF func, HDR and Ticket Policy (RFC 6043 6.1)."""

    MIKEY_1 = 0
    PRF_HMAC_SHA_256 = 1


class MapType(IntEnum):
    """CS ID map type (RFC 3830 6.1, RFC 4563 4, RFC 6043 6.1)."""

    SRTP_ID = 0
    EMPTY = 1
    GENERIC_ID = 2


class EncrAlg(IntEnum):
    """Encr alg of KEMAC (RFC 3830 6.2, RFC 6043 6.2)."""

    NULL = 0
    AES_CM_128 = 1
    AES_KW_128 = 2
    AES_CM_256 = 3


class MacAlg(IntEnum):
    """MAC alg of KEMAC, Auth alg of V (RFC 3830 6.2, RFC 6043 6.2)."""

    NULL = 0
    HMAC_SHA_1_160 = 1
    HMAC_SHA_256_256 = 2


class HashFunc(IntEnum):
    """Hash func of CHASH (RFC 3830 6.8, RFC 6043 6.7)."""

    SHA_1 = 0
    MD5 = 1
    SHA_256 = 2


class CertType(IntEnum):
    """Cert type of CERT (RFC 3830 6.7)."""

    X509V3 = 0
    X509V3_URL = 1
    X509V3_SIGN = 2
    X509V3_ENCR = 3


class SignatureType(IntEnum):
    """S type of SIGN (RFC 3830 6.5)."""

    RSA_PKCS_1 = 0
    RSA_PSS = 1


class PkeCache(IntEnum):
    """C of PKE: whether the envelope key may be kept (RFC 3830 6.3)."""

    NO_CACHE = 0
    CACHE = 1
    CACHE_FOR_CSB = 2


class DhGroup(IntEnum):
    """DH-Group (RFC 3830 6.4)."""

    OAKLEY_5 = 0
    OAKLEY_1 = 1
    OAKLEY_2 = 2


class TsType(IntEnum):
    """TS type of T and TR (RFC 3830 6.6, RFC 6043 6.3)."""

    NTP_UTC = 0
    NTP = 1
    COUNTER = 2
    NTP_UTC_32 = 3


class TsRole(IntEnum):
    """TS Role of TR (RFC 6043 6.4)."""

    TR_I = 1
    TR_S = 2
    TR_E = 3
    TR_R = 4


class IdType(IntEnum):
    """ID Type of ID and IDR (RFC 3830 6.7, RFC 6043 6.5)."""

    NAI = 0
    URI = 1
    BYTE_STRING = 2


class IdRole(IntEnum):
    """ID Role of IDR (RFC 6043 6.6)."""

    INITIATOR = 1
    RESPONDER = 2
    KMS = 3
    PSK = 4
    APPLICATION = 5


class RandRole(IntEnum):
    """RAND Role of RANDR (RFC 6043 6.8)."""

    INITIATOR = 1
    RESPONDER = 2
    KMS = 3


class KeyType(IntEnum):
    """Type of a key data sub-payload (RFC 3830 6.13, RFC 6043 6.2.1)."""

    TGK = 0
    TGK_SALT = 1
    TEK = 2
    TEK_SALT = 3
    GTGK = 4
    GTGK_SALT = 5
    MPK = 6


class KeyValidity(IntEnum):
    """KV of a key data sub-payload (RFC 3830 6.13)."""

    NULL = 0
    SPI = 1
    INTERVAL = 2


class ExtensionType(IntEnum):
    """Type of a general extension payload (RFC 3830 6.15, RFC 4563, RFC 4738)."""

    VENDOR_ID = 0
    SDP_IDS = 1
    TESLA_I_KEY = 2
    KEY_ID = 3
    CSB_ID = 4


class TicketType(IntEnum):
    """Ticket Type (RFC 6043 6.10)."""

    MIKEY_BASE = 1
    THREE_GPP_BASE = 2


class PolicyFlag(IntFlag):
    """The twelve flags of a Ticket Policy (RFC 6043 6.10), D being the highest bit as on the wire.

    D made by the KMS, E resolve is mandatory, F TRANSFER_RESP shall be sent, G the Responder gives RANDRr,
    H RANDRi goes into session keys, I key forking, J reusable, K changed by the KMS, L the Initiator may
    supply session keys, M the Responder may, N and O: nothing beyond RFC 6043 is needed by Initiator and
    Responder.
    """

    D = 0x800
    E = 0x400
    F = 0x200
    G = 0x100
    H = 0x080
    I = 0x040  # noqa: E741 - the name of the flag in the RFC
    J = 0x020
    K = 0x010
    L = 0x008
    M = 0x004
    N = 0x002
    O = 0x001  # noqa: E741 - the name of the flag in the RFC


class ErrorNumber(IntEnum):
    """Error no of ERR (RFC 3830 6.12, RFC 6043 6.9)."""

    AUTH_FAILURE = 0
    INVALID_TS = 1
    INVALID_PRF = 2
    INVALID_MAC = 3
    INVALID_EA = 4
    INVALID_HA = 5
    INVALID_DH = 6
    INVALID_ID = 7
    INVALID_CERT = 8
    INVALID_SP = 9
    INVALID_SPPAR = 10
    INVALID_DT = 11
    UNSPECIFIED = 12
    UNSUPPORTED_MESSAGE = 13
    INVALID_TICKET = 14
    INVALID_TPPAR = 15
