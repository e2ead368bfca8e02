"""What is kept of each pair while it is there, and the register of all of them."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass

from mrf_protocols.sdp import Mixed, SessionDescription
from mrfc import jobs
from mrfc.mixer.pair import PairState
from mrfc.mixer.session import LegSession
from mrfc.sip.refusal import Refusal
from mrfc.state.mixer_leg import MixerLeg
from mrfc.state.store import Call


class Change(enum.Enum):
    """What the last offer of the participant has changed at the mixer, until it is settled."""

    NONE = "none"
    NEW = "new leg"
    OTHER = "other media"
    END = "no media"  # the leg ends when that is settled


@dataclass(slots=True, eq=False)
class MixerOffer:
    """An INVITE or UPDATE of the mixer with an offer, under way: it is the participant's turn.

    He answers `reply`, as it goes to the mixer, or it is refused.
    """

    job: jobs.RequestJob
    method: str
    wanted: SessionDescription
    reply: SessionDescription | None = None
    refusal: Refusal | None = None


@dataclass(slots=True, eq=False)
class Pair:
    """A participant's call and its leg.

    `invite` is the number of our INVITE under way, `waiter` who waits for its answer on the participant's side, `glare`
    whether the mixer's last word was 491: it offers something itself. `why` says what ended the last thing that ended.
    """

    call: Call
    leg: MixerLeg
    session: LegSession
    state: PairState = PairState.ASKING
    change: Change = Change.NONE
    invite: int = 0
    waiter: asyncio.Future[Mixed] | None = None
    timer: asyncio.TimerHandle | None = None
    asked: MixerOffer | None = None
    task: asyncio.Task[None] | None = None
    why: str = ""
    glare: bool = False


class Pairs:
    """All pairs: a call has one at most, and may have had others whose legs are about to end."""

    def __init__(self) -> None:
        self._by_call: dict[jobs.CallKey, Pair] = {}
        self._by_leg: dict[jobs.CallKey, Pair] = {}

    def __len__(self) -> int:
        return len(self._by_leg)

    def add(self, pair: Pair) -> None:
        """A leg is begun."""
        self._by_call[pair.call.dialog.key] = self._by_leg[pair.leg.dialog.key] = pair

    def of_call(self, call: Call) -> Pair | None:
        """The pair that serves a call."""
        return self._by_call.get(call.dialog.key)

    def of_leg(self, key: jobs.CallKey) -> Pair | None:
        """The pair of a dialog with the mixer, by what names the dialog on our side."""
        return self._by_leg.get(key)

    def of_dialog(self, dialog: jobs.DialogId) -> Pair | None:
        """The pair of an established dialog with the mixer: the mixer's tag has to be right, too."""
        pair = self._by_leg.get(dialog.key)
        return pair if pair is not None and pair.leg.dialog.remote_tag == dialog.remote_tag else None

    def detach(self, pair: Pair) -> None:
        """The participant has this leg no more; it may take a while to end, and he may get another."""
        if self._by_call.get(pair.call.dialog.key) is pair:
            del self._by_call[pair.call.dialog.key]
        if pair.call.mixer is pair.leg:
            pair.call.mixer = None

    def forget(self, pair: Pair) -> None:
        """The leg has ended."""
        self._by_leg.pop(pair.leg.dialog.key, None)
