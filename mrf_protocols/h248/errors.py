"""Error codes and ServiceChange reasons with their standard texts (H.248.8), and the one exception of this package."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from mrf_protocols.h248.values import ErrorDescriptor


class ErrorCode(IntEnum):
    """Error codes in use between MGC and MG."""

    SYNTAX_ERROR_IN_MESSAGE = 400
    PROTOCOL_ERROR = 401
    UNAUTHORIZED = 402
    SYNTAX_ERROR_IN_TRANSACTION = 403
    VERSION_NOT_SUPPORTED = 406
    INCORRECT_IDENTIFIER = 410
    UNKNOWN_CONTEXT = 411
    NO_CONTEXT_AVAILABLE = 412
    TOO_MANY_TRANSACTIONS = 413
    UNKNOWN_ACTION = 421
    SYNTAX_ERROR_IN_ACTION = 422
    UNKNOWN_TERMINATION = 430
    NO_TERMINATION_MATCHED = 431
    NO_TERMINATION_AVAILABLE = 432
    TERMINATION_ALREADY_IN_CONTEXT = 433
    TOO_MANY_TERMINATIONS = 434
    TERMINATION_NOT_IN_CONTEXT = 435
    UNKNOWN_PACKAGE = 440
    MISSING_REMOTE_OR_LOCAL = 441
    SYNTAX_ERROR_IN_COMMAND = 442
    UNKNOWN_COMMAND = 443
    UNKNOWN_DESCRIPTOR = 444
    UNKNOWN_PROPERTY = 445
    UNKNOWN_PARAMETER = 446
    DESCRIPTOR_NOT_LEGAL = 447
    DESCRIPTOR_TWICE = 448
    UNKNOWN_VALUE = 449
    NO_SUCH_PROPERTY = 450
    NO_SUCH_EVENT = 451
    NO_SUCH_SIGNAL = 452
    NO_SUCH_STATISTIC = 453
    NO_SUCH_PARAMETER_VALUE = 454
    PROPERTY_ILLEGAL = 455
    PROPERTY_TWICE = 456
    MISSING_PARAMETER = 457
    UNEXPECTED_REQUEST_ID = 458
    UNKNOWN_PROFILE = 459
    IMPLIED_ADD_FAILURE = 471
    REQUIRED_INFORMATION_MISSING = 472
    CONFLICTING_VALUES = 473
    ONE_FLOOR_CHAIR = 479
    INTERNAL_SOFTWARE_FAILURE = 500
    NOT_IMPLEMENTED = 501
    NOT_READY = 502
    SERVICE_UNAVAILABLE = 503
    UNAUTHORIZED_ENTITY = 504
    REQUEST_BEFORE_REGISTRATION = 505
    PENDINGS_EXCEEDED = 506
    INSUFFICIENT_RESOURCES = 510
    TEMPORARILY_BUSY = 511
    UNEQUIPPED_EVENT = 512
    UNEQUIPPED_SIGNAL = 513
    UNEQUIPPED_ANNOUNCEMENT = 514
    UNSUPPORTED_MEDIA_TYPE = 515
    UNSUPPORTED_MODE = 517
    EVENT_BUFFER_FULL = 518
    DIGIT_MAP_SPACE = 519
    DIGIT_MAP_UNDEFINED = 520
    TERMINATION_SERVICE_CHANGING = 521
    UNSUPPORTED_TOPOLOGY = 522
    INSUFFICIENT_BANDWIDTH = 526
    INTERNAL_HARDWARE_FAILURE = 529
    TEMPORARY_NETWORK_FAILURE = 530
    PERMANENT_NETWORK_FAILURE = 531
    AUDITED_ITEM_MISSING = 532
    RESPONSE_TOO_LARGE = 533
    READ_ONLY_PROPERTY = 534
    UNEXPECTED_HOOK_STATE = 540
    COMMAND_NOT_ALLOWED = 542
    DOES_NOT_EXIST = 581


ERROR_TEXTS: Final[dict[int, str]] = {
    400: "Syntax error in message",
    401: "Protocol error",
    402: "Unauthorized",
    403: "Syntax error in transaction request",
    406: "Version not supported",
    410: "Incorrect identifier",
    411: "The transaction refers to an unknown ContextID",
    412: "No ContextIDs available",
    413: "Number of transactions in message exceeds maximum",
    421: "Unknown action or illegal combination of actions",
    422: "Syntax error in action",
    430: "Unknown TerminationID",
    431: "No TerminationID matched a wildcard",
    432: "Out of TerminationIDs or no TerminationID available",
    433: "TerminationID is already in a context",
    434: "Max number of terminations in a context exceeded",
    435: "Termination ID is not in specified context",
    440: "Unsupported or unknown package",
    441: "Missing remote or local descriptor",
    442: "Syntax error in command",
    443: "Unsupported or unknown command",
    444: "Unsupported or unknown descriptor",
    445: "Unsupported or unknown property",
    446: "Unsupported or unknown parameter",
    447: "Descriptor not legal in this command",
    448: "Descriptor appears twice in this command",
    449: "Unsupported or unknown parameter or property value",
    450: "No such property in this package",
    451: "No such event in this package",
    452: "No such signal in this package",
    453: "No such statistic in this package",
    454: "No such parameter value in this package",
    455: "Property illegal in this descriptor",
    456: "Property appears twice in this descriptor",
    457: "Missing parameter in signal or event",
    458: "Unexpected Event/Request ID",
    459: "Unsupported or unknown profile",
    471: "Implied Add for Multiplex failure",
    472: "Required information missing",
    473: "Conflicting property values",
    479: "Only one floor chair per floor is allowed in the context",
    500: "Internal software failure in the MG",
    501: "Not implemented",
    502: "Not ready",
    503: "Service unavailable",
    504: "Command received from unauthorized entity",
    505: "Transaction request received before a ServiceChange reply has been received",
    506: "Number of transaction pendings exceeded",
    510: "Insufficient resources",
    511: "Temporarily busy",
    512: "Media gateway unequipped to detect requested event",
    513: "Media gateway unequipped to generate requested signals",
    514: "Media gateway unequipped to send the specified announcement",
    515: "Unsupported media type",
    517: "Unsupported or invalid mode",
    518: "Event buffer full",
    519: "Out of space to store digit map",
    520: "Digit Map undefined in the MG",
    521: "Termination is ServiceChanging",
    522: "Functionality requested in topology triple not supported",
    526: "Insufficient bandwidth",
    529: "Internal hardware failure in MG",
    530: "Temporary network failure",
    531: "Permanent network failure",
    532: "Audited property, statistic, event or signal does not exist",
    533: "Response exceeds maximum transport PDU size",
    534: "Illegal write of read only property",
    540: "Unexpected initial hook state",
    542: "Command is not allowed on this termination",
    581: "Does not exist",
}


class ServiceChangeMethod:
    """Methods of ServiceChange (RFC 3525 7.2.8)."""

    GRACEFUL: Final = "Graceful"
    FORCED: Final = "Forced"
    RESTART: Final = "Restart"
    DISCONNECTED: Final = "Disconnected"
    HANDOFF: Final = "HandOff"
    FAILOVER: Final = "Failover"


class ServiceChangeReason(IntEnum):
    """Reasons of ServiceChange (H.248.8)."""

    SERVICE_RESTORED = 900
    COLD_BOOT = 901
    WARM_BOOT = 902
    MGC_DIRECTED_CHANGE = 903
    TERMINATION_MALFUNCTIONING = 904
    TERMINATION_OUT_OF_SERVICE = 905
    LOSS_OF_LOWER_LAYER = 906
    TRANSMISSION_FAILURE = 907
    MG_IMPENDING_FAILURE = 908
    MGC_IMPENDING_FAILURE = 909
    MEDIA_CAPABILITY_FAILURE = 910
    SIGNAL_CAPABILITY_FAILURE = 913
    EVENT_CAPABILITY_FAILURE = 914
    STATE_LOSS = 915
    PACKAGES_CHANGE = 916
    CAPABILITIES_CHANGE = 917
    CANCEL_GRACEFUL = 918
    WARM_FAILOVER = 919
    COLD_FAILOVER = 920

    @property
    def text(self) -> str:
        """The form that travels: number and words."""
        return f"{self.value} {self.name.replace('_', ' ').capitalize()}"


class H248Error(Exception):
    """Anything wrong with a message, a transaction or a command.

    `code` is the standard's error code to answer with, `text` the words beside it. Decoding errors that happen inside
    a transaction request whose identifier is known carry it in `transaction_id`, so that a reply can be given.
    `answerable` is False when the faulty message is itself an answer: two sides that answered those would never stop.
    """

    def __init__(
        self, code: int, text: str = "", *, transaction_id: int | None = None, answerable: bool = True
    ) -> None:
        self.code = int(code)
        self.text = text or ERROR_TEXTS.get(self.code, "Error")
        self.transaction_id = transaction_id
        self.answerable = answerable
        super().__init__(f"{self.code} {self.text}")

    @property
    def descriptor(self) -> ErrorDescriptor:
        """The descriptor to answer with."""
        return ErrorDescriptor(self.code, self.text)
