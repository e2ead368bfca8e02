"""MIKEY (RFC 3830) and MIKEY-TICKET (RFC 6043), sans-IO.

An Initiator gets a `GrantedTicket` from `TicketRequestExchange`, or from `make_ticket` (mode 3: it makes the
ticket itself), and offers it with `TransferInitiator`. A Responder answers with `TransferResponder`, which
speaks to the KMS in between. The KMS is `issue_ticket` and `resolve_ticket`.

``rand`` is always a ``Callable[[int], bytes]`` that gives that many random octets (``os.urandom``); ``now``
is Unix time in seconds (float). Every failure is a MikeyError whose ``number`` is the Error no to answer
with.
"""

from mrf_protocols.mikey.authentication import (
    EVERYBODY,
    Account,
    Authority,
    CertifiedAccount,
    Credential,
    FindCertified,
    FindCredential,
    KmsRules,
    PskAccount,
    PublicKeys,
)
from mrf_protocols.mikey.certificates import EnvelopeKey, EnvelopeOpener, Signer, certified_identities
from mrf_protocols.mikey.csb_update import CsbSession, is_csb_update
from mrf_protocols.mikey.error import error_message, read_error
from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.identity import kms_user_identity
from mrf_protocols.mikey.message import Message, decode, encode, message_name
from mrf_protocols.mikey.numbers import (
    PROT_TYPE_TLS,
    SDP_PROTOCOL_IDS,
    DataType,
    ErrorNumber,
    KeyType,
    PolicyFlag,
)
from mrf_protocols.mikey.payloads import KeyData
from mrf_protocols.mikey.psk_identity import (
    DEFAULT_PSK_IDENTITY,
    PSK_IDENTITY_TEMPLATE,
    PskIdentityForm,
)
from mrf_protocols.mikey.request import IssuedTicket, TicketRequestExchange, issue_ticket
from mrf_protocols.mikey.resolve import FindTicketKey, ResolvedTicket, resolve_ticket
from mrf_protocols.mikey.suite import SUITE_128, SUITE_256, Suite, suite_of
from mrf_protocols.mikey.ticket import DEFAULT_FLAGS, GrantedTicket, TicketKey, make_ticket
from mrf_protocols.mikey.transfer import TransferResult
from mrf_protocols.mikey.transfer_initiator import TransferInitiator
from mrf_protocols.mikey.transfer_responder import Acceptance, ResolvedKeys, TransferResponder

__all__ = [
    "DEFAULT_FLAGS",
    "DEFAULT_PSK_IDENTITY",
    "EVERYBODY",
    "PROT_TYPE_TLS",
    "PSK_IDENTITY_TEMPLATE",
    "SDP_PROTOCOL_IDS",
    "SUITE_128",
    "SUITE_256",
    "Acceptance",
    "Account",
    "Authority",
    "CertifiedAccount",
    "Credential",
    "CsbSession",
    "DataType",
    "EnvelopeKey",
    "EnvelopeOpener",
    "ErrorNumber",
    "FindCertified",
    "FindCredential",
    "FindTicketKey",
    "GrantedTicket",
    "IssuedTicket",
    "KeyData",
    "KeyType",
    "KmsRules",
    "Message",
    "MikeyError",
    "PolicyFlag",
    "PskAccount",
    "PskIdentityForm",
    "PublicKeys",
    "ResolvedKeys",
    "ResolvedTicket",
    "Signer",
    "Suite",
    "TicketKey",
    "TicketRequestExchange",
    "TransferInitiator",
    "TransferResponder",
    "TransferResult",
    "certified_identities",
    "decode",
    "encode",
    "error_message",
    "is_csb_update",
    "issue_ticket",
    "kms_user_identity",
    "make_ticket",
    "message_name",
    "read_error",
    "resolve_ticket",
    "suite_of",
]
