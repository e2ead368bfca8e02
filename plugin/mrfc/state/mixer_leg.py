"""What is kept of the dialog with the mixer that serves a participant's media."""

from __future__ import annotations

from dataclasses import dataclass

from mrf_protocols.sdp import MixedStream
from mrfc.sip.sip_dialog import SipDialog


@dataclass(slots=True, kw_only=True)
class MixerLeg(SipDialog):
    """A dialog with the mixer. `offer_sdp` is our last description that it knows, `answer_sdp` its own."""

    streams: tuple[MixedStream, ...] = ()
    offer_sdp: str = ""
    answer_sdp: str = ""
