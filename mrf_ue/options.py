"""What a user tells the UE, as values."""

import dataclasses
import enum
from dataclasses import dataclass, field
from pathlib import Path

from mrf_protocols.mikey import (
    DEFAULT_FLAGS,
    DEFAULT_PSK_IDENTITY,
    SUITE_128,
    SUITE_256,
    Account,
    CertifiedAccount,
    KeyType,
    PolicyFlag,
    PskAccount,
    PskIdentityForm,
    Suite,
)
from mrf_protocols.sdp import Setup
from mrf_protocols.tls_psk import TlsPolicy
from mrf_ue.console import ConsoleOptions
from mrf_ue.sip import SipSettings

SUITES: dict[str, Suite] = {"128": SUITE_128, "256": SUITE_256}

TLS_POLICIES: dict[str, TlsPolicy] = {
    "any": TlsPolicy(),
    "1.3": TlsPolicy(ecdhe_psk=False, plain_psk=False),
    "1.2": TlsPolicy(tls13=False),
    "1.2-plain": TlsPolicy(tls13=False, ecdhe_psk=False),
}
"""What `--tls` allows; 1.2-plain is RFC 4279 alone, which tshark can decrypt with the key."""


class TicketMode(enum.Enum):
    """Who makes the ticket: the KMS on request (RFC 6043 modes 1 and 2), or the UE itself with its key at the KMS (mode
    3) or with a key that it shares with the far end (mode 4).
    """

    REQUEST = "ticket-request"
    SELF_MADE = "self-made"
    SHARED_KEY = "shared-key"


@dataclass(frozen=True, slots=True)
class KeySettings:
    """The UE's standing with its KMS.

    `kms_url`: base URL; `psk_id`, `psk`: the key that the UE shares with the KMS, and its name there;
    `kms_identity`: the KMS as MIKEY names it; `kms_timeout`: seconds for one answer of it. `kms_url` may also be
    several, in order of preference. `flags` is the Ticket Policy asked for, `session_key` the kind of key in it.
    `certified` stands instead of the key where the UE has a certificate; `psk_identity` is how TLS names the key of
    the call.
    """

    kms_url: str | tuple[str, ...]
    psk_id: str
    psk: bytes = field(repr=False)
    kms_identity: str
    suite: Suite = SUITE_128
    mode: TicketMode = TicketMode.REQUEST
    ca_file: Path | None = None
    kms_timeout: float = 5.0
    flags: PolicyFlag = DEFAULT_FLAGS
    session_key: KeyType = KeyType.TGK
    certified: CertifiedAccount | None = None
    psk_identity: PskIdentityForm = DEFAULT_PSK_IDENTITY

    @property
    def account(self) -> Account:
        """What the KMS knows the UE by."""
        return self.certified or PskAccount(self.psk, self.psk_id)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that each kind of step may take."""

    answer: float = 30.0
    connect: float = 10.0
    tls: float = 10.0
    floor: float = 30.0
    bye: float = 10.0

    def at_most(self, seconds: float) -> "Timeouts":
        """The same, none beyond `seconds`."""
        limited = {each.name: min(getattr(self, each.name), seconds) for each in dataclasses.fields(self)}
        return Timeouts(**limited)


@dataclass(frozen=True, slots=True)
class DialInOptions:
    """Everything that `mrf-ue dial-in` does is settled here.

    `callee`: SIP URI of the conference. `floors`: floor identifiers to ask for; empty: the first one of the
    answer. `hold`: seconds to keep the floor. `bearer_host`: address of the BFCP connection, empty for SIP's.
    `console`: floor control by hand or by script instead of asking, holding and releasing once. `unsecured`: BFCP
    without TLS, and no ticket. `reconnect`: come back when the BFCP connection is lost. `roster`: subscribe to the
    conference, and show who is in it.
    """

    callee: str
    sip: SipSettings
    keys: KeySettings
    setup: Setup = Setup.ACTPASS
    tls: TlsPolicy = TLS_POLICIES["any"]
    floors: tuple[int, ...] = ()
    hold: float = 1.0
    bearer_host: str = ""
    timeouts: Timeouts = Timeouts()
    console: ConsoleOptions | None = None
    unsecured: bool = False
    reconnect: bool = False
    roster: bool = False


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """Everything that `mrf-ue answer` does is settled here.

    `setup`: ACTIVE or PASSIVE, our choice where the offer leaves one. `ring`: seconds between 180 and 200.
    Other fields as in DialInOptions; `keys.mode` means nothing here.
    """

    sip: SipSettings
    keys: KeySettings
    setup: Setup = Setup.ACTIVE
    tls: TlsPolicy = TLS_POLICIES["any"]
    floors: tuple[int, ...] = ()
    hold: float = 1.0
    ring: float = 0.0
    bearer_host: str = ""
    timeouts: Timeouts = Timeouts()
    console: ConsoleOptions | None = None
    reconnect: bool = False
