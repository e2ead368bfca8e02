"""An INVITE without offer is answered by ours, and the answer comes in the ACK (RFC 3261 13.2.1): then the MRFC is the
offerer, with all that follows for ticket, termination and TLS role."""

from __future__ import annotations

from mrf_protocols.mikey import MikeyError, kms_user_identity
from mrfc import jobs
from mrfc.calls.offerer import Offer, Offerer
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state import store


class LateOffers:
    """Offers in our 200s that wait for the ACK."""

    def __init__(self, offerer: Offerer) -> None:
        self._offerer = offerer
        self._waiting: dict[jobs.CallKey, Offer] = {}

    async def make(self, call: store.Call) -> None:
        """Make the offer for a call whose INVITE had none. Raises Refusal."""
        try:
            initiator, responder = kms_user_identity(call.local_uri), kms_user_identity(call.identity.uri)
        except MikeyError as error:
            raise Refusal(Cause.OFFER_REJECTED, error.text) from error
        offer = await self._offerer.make(call, initiator, responder)
        call.answer_sdp = offer.body
        self._waiting[call.dialog.key] = offer

    def expects_answer(self, call: store.Call) -> bool:
        """Whether the ACK of this call has to carry the answer."""
        return call.dialog.key in self._waiting

    async def take(self, call: store.Call, ack: jobs.AckJob) -> None:
        """Take the answer in the ACK. Raises Refusal."""
        await self._offerer.take(call, self._waiting.pop(call.dialog.key), ack.content_type, ack.body)

    def forget(self, call: store.Call) -> None:
        """The call has ended."""
        self._waiting.pop(call.dialog.key, None)
