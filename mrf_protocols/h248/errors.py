"""Error codes, ServiceChange methods and reasons (H.248.8), and the one exception of this package."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from mrf_protocols.h248.error_texts import ERROR_TEXTS, REASON_TEXTS
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
    STATISTIC_NOT_SET = 460
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
    TIME_STAMP_NOT_SUPPORTED = 543
    DOES_NOT_EXIST = 581


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
    MODEM_CAPABILITY_FAILURE = 911
    MUX_CAPABILITY_FAILURE = 912
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
        return f"{self.value} {REASON_TEXTS[self.value]}"


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
