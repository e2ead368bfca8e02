"""The state of the focus: conferences and calls, as plain values in one place.

Everything that has to survive lives here and can be serialised: no sockets, tasks or locks. Today the store is
memory; machines and procedures only see this interface.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mrf_protocols.mikey import CsbSession
from mrfc import config
from mrfc.config import NO_TERMS, Floor, Terms
from mrfc.jobs import CallKey, DialogId
from mrfc.sip.dialog import DialogState
from mrfc.sip.identity import Identity
from mrfc.sip.sip_dialog import SipDialog
from mrfc.state.floor_state import FloorState
from mrfc.state.mixer_leg import MixerLeg

MAX_USER_ID = 65_535
MAX_CONFERENCE_ID = 2**32 - 1
FIRST_FACTORY_NUMBER = 1_000_000  # BFCP conference ids below are left to configured conferences


@dataclass(slots=True)
class Conference:
    """A conference: its URI user part, its numbers on BFCP, and where it runs once somebody is in it.

    `context` is the H.248 context at the MRFP `mrfp`; both are None while nobody has a termination. `events` counts
    what the media hook was told. `terms` is its table of the configuration; `owner` is the URI of who has
    created it, or a pattern of URIs from the configuration.
    """

    user: str
    conference_id: int
    floors: tuple[Floor, ...]
    permanent: bool
    mrfp: str | None = None
    context: int | None = None
    next_user_id: int = 1
    seats: dict[int, CallKey] = field(default_factory=dict)
    floor_state: FloorState = field(default_factory=FloorState)
    events: int = 0
    terms: Terms = NO_TERMS
    owner: str = ""
    owner_shown: str = ""
    """To operators: an owner may want to be anonymous."""

    @classmethod
    def configured(cls, settings: config.Conference) -> Conference:
        """A conference as mrfc.toml has it."""
        floors = tuple(settings.floors)
        return cls(
            settings.user,
            settings.id,
            floors,
            permanent=True,
            terms=settings,
            owner=settings.owner,
            owner_shown=settings.owner,
        )


@dataclass(slots=True, kw_only=True)
class Call(SipDialog):
    """One participant's dialog with the focus and what hangs on it.

    `terminations` are all that it has, also one that is not in use yet; `successor` is the one that is to replace
    `termination` as soon as its connection is secured; `bearer_lost`: the connection of `termination` has ended;
    `key_expires`: when its key has to be renewed, as Unix time, 0 for never. `identity` is who he is for rosters and
    rules, From without one; `joined` is when, as Unix time; `booted`: somebody has had him removed.
    """

    conference_user: str
    user_id: int
    conference_id: int = 0
    state: DialogState = DialogState.PROCEEDING
    termination: str | None = None
    successor: str | None = None
    terminations: set[str] = field(default_factory=set)
    bearer_lost: bool = False
    key_expires: float = 0.0
    answer_sdp: str = ""
    offer_sdp: str = ""
    end_reason: str = ""
    end_status: int = 503
    invite_cseq: int = 0
    """Of an INVITE of ours that creates the dialog."""
    secured: bool = True  # BFCP over TLS
    csb: CsbSession | None = None
    """What a CSB update of the participant brings new keys to (RFC 6043 5.2)."""
    mixer: MixerLeg | None = None
    identity: Identity = field(default_factory=Identity)
    dialed_out: bool = False
    joined: float = 0.0
    booted: bool = False

    def __post_init__(self) -> None:
        if not self.identity.uri:
            self.identity = Identity(self.remote_uri)

    @property
    def operators_uri(self) -> str:
        """Under which URI operators see him."""
        return self.identity.operators_uri(self.user_id)


class NoFreeNumber(Exception):
    """The conference has no BFCP user id left."""


class Store:
    """Conferences by URI user part, calls by dialog."""

    def __init__(self) -> None:
        self._conferences: dict[str, Conference] = {}
        self._numbers: set[int] = set()
        self._owned: dict[str, set[str]] = {}
        self._calls: dict[CallKey, Call] = {}
        self._by_termination: dict[tuple[str, int, str], CallKey] = {}
        self.floor_grace: int | None = None
        """Seconds for which MRFPs keep the floor requests of who has lost his connection; None: as they have it."""
        self.draining = False
        """No new participants: an operator wants to stop this MRFC when the last one has left."""

    # conferences

    def add_conference(self, conference: Conference) -> None:
        """Put a conference in."""
        self._conferences[conference.user] = conference
        self._numbers.add(conference.conference_id)
        if not conference.permanent:
            self._owned.setdefault(conference.owner, set()).add(conference.user)

    def conference(self, user: str) -> Conference | None:
        """The conference with this URI user part."""
        return self._conferences.get(user)

    def conferences(self) -> list[Conference]:
        """All conferences."""
        return list(self._conferences.values())

    def new_conference_number(self, draw: Callable[[int], int]) -> int:
        """A free BFCP conference id that nobody can guess (RFC 8855 5.1); `draw(n)` gives a number below n."""
        while True:
            number = FIRST_FACTORY_NUMBER + draw(MAX_CONFERENCE_ID + 1 - FIRST_FACTORY_NUMBER)
            if number not in self._numbers:
                return number

    def remove_conference(self, user: str) -> None:
        """Take a conference out."""
        conference = self._conferences.pop(user, None)
        if conference is not None:
            self._numbers.discard(conference.conference_id)
            owned = self._owned.get(conference.owner, set())
            owned.discard(user)
            if not owned:
                self._owned.pop(conference.owner, None)

    # calls

    def take_seat(self, conference: Conference, key: CallKey) -> int:
        """A BFCP user id for a new participant, not one that was in use a moment ago. Raises NoFreeNumber."""
        if len(conference.seats) >= MAX_USER_ID:
            raise NoFreeNumber
        number = conference.next_user_id
        while number in conference.seats:
            number = number % MAX_USER_ID + 1
        conference.next_user_id = number % MAX_USER_ID + 1
        conference.seats[number] = key
        return number

    def add_call(self, call: Call) -> None:
        """Put a call in; its seat was taken before."""
        self._calls[call.dialog.key] = call

    def call(self, dialog: DialogId) -> Call | None:
        """The call with this dialog, both tags right."""
        call = self._calls.get(dialog.key)
        return call if call is not None and call.dialog.remote_tag == dialog.remote_tag else None

    def call_with(self, key: CallKey) -> Call | None:
        """The call with this Call-ID and local tag, whatever the remote tag."""
        return self._calls.get(key)

    @property
    def call_count(self) -> int:
        """How many calls there are."""
        return len(self._calls)

    def owned_by(self, owner: str) -> int:
        """How many conferences of the factory somebody has."""
        return len(self._owned.get(owner, ()))

    def calls(self) -> list[Call]:
        """All calls."""
        return list(self._calls.values())

    def calls_on(self, mrfp: str) -> Iterator[Call]:
        """The calls whose conference runs on this MRFP."""
        for call in self.calls():
            conference = self.conference(call.conference_user)
            if conference is not None and conference.mrfp == mrfp:
                yield call

    def bind_termination(self, call: Call, mrfp: str, context: int, termination: str) -> None:
        """Note that this termination is of that call."""
        self._by_termination[mrfp, context, termination] = call.dialog.key
        call.terminations.add(termination)

    def unbind_termination(self, mrfp: str, context: int, termination: str) -> None:
        """Forget a termination that is given back."""
        key = self._by_termination.pop((mrfp, context, termination), None)
        if key in self._calls:
            self._calls[key].terminations.discard(termination)

    def call_on(self, mrfp: str, context: int, termination: str) -> Call | None:
        """The call whose bearer is this termination."""
        key = self._by_termination.get((mrfp, context, termination))
        return None if key is None else self._calls.get(key)

    def remove_call(self, call: Call) -> None:
        """Take a call out and free its seat; a conference made for the occasion goes with its last participant."""
        self._calls.pop(call.dialog.key, None)
        conference = self._conferences.get(call.conference_user)
        if conference is None:
            return
        conference.seats.pop(call.user_id, None)
        if not conference.seats and not conference.permanent:
            self.remove_conference(conference.user)
