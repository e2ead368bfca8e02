"""How a trunk is tested, what is known of it, and where a dialog with it stands."""

from dataclasses import dataclass, field

from aiosipua import AuthChallenge, SipDigestAuth, SipRequest, SipResponse

from mrf_protocols.sdp import SessionDescription
from mrf_ue.sip_dialog import Dialog, LocalEnd
from mrf_ue.trunk.offers import Described, OfferKind


@dataclass(frozen=True, slots=True)
class Setting:
    """How the trunk is tested.

    `target`: its URI. `keyed`: whether GetKeys can be answered. `reliable`: TCP or TLS. `seconds`: limit of a case.
    """

    target: str
    identity: str
    end: LocalEnd
    reliable: bool
    keyed: bool = False
    login: SipDigestAuth | None = field(default=None, repr=False)
    seconds: float = 10.0


@dataclass(slots=True)
class Challenged:
    """A challenge (RFC 7616 3.3), and how many requests have answered it. `proxy`: it came in a 407."""

    proxy: bool
    value: AuthChallenge
    used: int = 0


@dataclass(slots=True)
class Knowledge:
    """What earlier cases have found out, for later ones.

    `offer`: the kind of offer that brings a call up. `features`: header fields in which the trunk tells of itself.
    `media`: m-lines of its answers, by kind of offer. `challenge`: the last one, to log in without being asked.
    """

    offer: OfferKind | None = None
    features: dict[str, str] = field(default_factory=dict)
    media: dict[str, tuple[str, ...]] = field(default_factory=dict)
    challenge: Challenged | None = None


@dataclass(slots=True)
class Leg:
    """One Call-ID: where its dialog stands.

    `pending`: the INVITE without final response. `acknowledged`: the ACK of the last 2xx. `up`: there is a call to
    hang up.
    """

    call_id: str
    from_: str
    to: str
    cseq: int = 0
    dialog: Dialog | None = None
    invite: SipRequest | None = None
    offer: SessionDescription | None = None
    answer: SipResponse | None = None
    described: Described = field(default_factory=Described)
    pending: SipRequest | None = None
    acknowledged: SipRequest | None = None
    up: bool = False
