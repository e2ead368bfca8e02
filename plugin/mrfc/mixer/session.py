"""The session of a leg: what was offered to the mixer, what it serves of it, and what both come back to. Sans-IO.

mrf_protocols.sdp.mixing makes descriptions for one side of those from the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from mrf_protocols import sdp
from mrf_protocols.sdp import Mixed, Origin, SessionDescription
from mrfc.sip.bodies import session_description

_Value = TypeVar("_Value")


class LegSession:
    """One leg's session; `labels` names streams. What is asked for before there is such a thing raises LookupError."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels
        self._offered: SessionDescription | None = None
        self._accepted: SessionDescription | None = None
        self._before: tuple[SessionDescription, Mixed] | None = None  # the last change
        self.mixed = Mixed()
        """What the mixer serves."""

    @property
    def stands(self) -> bool:
        """Whether the mixer has ever accepted something."""
        return self._accepted is not None

    @property
    def offered(self) -> SessionDescription:
        """Our last description that is at the mixer, or goes there."""
        return _there(self._offered, "nothing was offered")

    @property
    def accepted(self) -> SessionDescription:
        """The last of ours that counts."""
        return _there(self._accepted, "nothing was accepted")

    # offers of the participant

    def begin(self, offer: SessionDescription, origin: Origin) -> None:
        """His first offer, as it goes to the mixer."""
        self._offered = sdp.offer_to_mixer(offer, origin)

    def is_same(self, offer: SessionDescription) -> bool:
        """Whether an offer is no news for the mixer."""
        if not self.stands:
            return False
        return _as_long_as(self.accepted, sdp.offer_to_mixer(offer, self.accepted.origin)) == self.accepted

    def change(self, offer: SessionDescription) -> None:
        """Another offer of his, as it goes to the mixer."""
        self._before = self.accepted, self.mixed
        self._offered = _after(self.offered, sdp.offer_to_mixer(offer, self.accepted.origin))

    def read(self, content_type: str, body: str) -> Mixed:
        """What the mixer's answer says. Raises Refusal or SdpError."""
        answered = sdp.parse(session_description(content_type, body))
        return sdp.with_labels(sdp.from_mixer(self.offered, answered), self.offered, self._labels)

    def agree(self, mixed: Mixed) -> None:
        """The mixer's answer holds."""
        self._accepted, self.mixed = self.offered, mixed

    def undo(self) -> None:
        """What was agreed on last has come to nothing with the participant."""
        self._accepted, self.mixed = _there(self._before, "nothing was changed")

    def restore(self) -> None:
        """What holds goes to the mixer again."""
        self._offered = _after(self.offered, self.accepted)

    def restored(self) -> None:
        """The mixer has accepted that; it means what it meant before."""
        self._accepted = self.offered

    def repeat(self) -> None:
        """What holds goes to the mixer again, and nobody has changed it (RFC 4028 7.4)."""
        self._offered = self.accepted

    # offers of the mixer

    def reply(self, wanted: SessionDescription, answered: SessionDescription) -> SessionDescription:
        """The participant's answer to what the mixer wants, as it goes to the mixer. Raises SdpError."""
        return sdp.successor(self.accepted, sdp.answer_to_mixer(wanted, answered, self.accepted.origin))

    def adopt(self, wanted: SessionDescription, reply: SessionDescription) -> None:
        """What the mixer wants holds, with our reply."""
        self._accepted = self._offered = reply
        offered = sdp.from_mixer(wanted, wanted)
        taken = {index: each for index, each in offered.media.items() if reply.media[index].port}
        self.mixed = sdp.with_labels(Mixed(taken, offered.attributes), wanted, self._labels)


def _as_long_as(previous: SessionDescription, following: SessionDescription) -> SessionDescription:
    """`following` with what it lacks of the m-lines of `previous`: once there, they stay (RFC 3264 8)."""
    gone = map(sdp.refuse, previous.media[len(following.media) :])
    return replace(following, media=(*following.media, *gone))


def _after(previous: SessionDescription, following: SessionDescription) -> SessionDescription:
    return sdp.successor(previous, _as_long_as(previous, following))


def _there(value: _Value | None, otherwise: str) -> _Value:
    if value is None:
        raise LookupError(otherwise)
    return value
