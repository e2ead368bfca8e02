"""The steps of a call to us, one method each: for `answer`, and for tests that do them otherwise."""

import asyncio
import secrets
import time

from aiosipua import SipRequest

from mrf_ops.trace import Tracer
from mrf_protocols import mikey, sdp
from mrf_protocols.mikey import Acceptance, CsbSession, MikeyError, TransferResponder
from mrf_protocols.sdp import FloorControlRole, Party, SdpError, SdpRejected, SessionDescription
from mrf_ue.bearer import Bearer, address_text
from mrf_ue.errors import KmsFailed, OfferRefused
from mrf_ue.key_errors import body_of, unreadable, unresolved
from mrf_ue.keys import resolve_ticket
from mrf_ue.options import AnswerOptions
from mrf_ue.show import Show, quiet
from mrf_ue.sip import SipEndpoint
from mrf_ue.sip_live_call import AnsweringCall
from mrf_ue.talk import TalkSteps

WARN_AGENT = "mrf-ue"
"""The warn-agent of our Warning headers (RFC 3261 20.43)."""


class AnswerScript(TalkSteps):
    """One call to us, step by step: the steps up to the ACK here, those of bearer and floor in TalkSteps.

    The usual order is that of the methods. Each can be left out; `credentials`, `user_id` and
    `transfer_response` can be overridden, to play a UE that misbehaves.
    """

    party = Party.ANSWERER
    call: AnsweringCall
    _transfer: TransferResponder

    def __init__(
        self,
        options: AnswerOptions,
        endpoint: SipEndpoint,
        call: AnsweringCall,
        tracer: Tracer | None = None,
        show: Show = quiet,
    ) -> None:
        super().__init__(options, tracer or Tracer("UE-B"), show)
        self.options = options
        self.endpoint = endpoint
        self.call = call
        self.bearer = Bearer(self.tracer, call.call_id)
        self.identity = mikey.kms_user_identity(options.sip.identity)
        self.invite: SipRequest = call.machine.invite
        self.offer: SessionDescription
        self.answer: SessionDescription
        self._user_id = 0

    async def ring(self) -> None:
        """180, and as much patience as the options say."""
        self.show("SIP", f"<- INVITE from {self.invite.get_header('From') or ''}")
        await self.call.ring()
        await self.call.while_up(asyncio.sleep(self.options.ring))

    def check_offer(self) -> TransferResponder:
        """The offer has a stream for us, and a ticket that may be ours. Raises OfferRefused."""
        try:
            self.offer = sdp.parse(self.invite.body)
            policy = sdp.AnswerPolicy(role=FloorControlRole.C_ONLY, setup=self.options.setup)
            self.agreement = sdp.evaluate_offer(self.offer, policy)
            message = self.agreement.key_mgmt
            if message is None:
                raise SdpRejected(sdp.RejectReason.KEY_MGMT_MISSING)
            acceptance = Acceptance(responders=(self.identity,), psk_identity=self.options.keys.psk_identity)
            transfer = TransferResponder(message.data, time.time(), acceptance)
        except SdpError as error:
            raise OfferRefused(str(error), error.status, error.warning) from None
        except MikeyError as error:
            raise unreadable(error, b"" if message is None else message.data) from None
        peer = self.agreement.peer
        if peer.conference_id is None or peer.user_id is None or self.agreement.tls_client is None:
            raise OfferRefused("the offer opens no secured connection of ours", 488, 399)
        self.conference_id, self._user_id = peer.conference_id, peer.user_id
        self.floor_ids = tuple(floor.floor_id for floor in peer.floors)
        return transfer

    async def resolve(self, transfer: TransferResponder) -> None:
        """Ask the KMS for the keys of the ticket, and prove the offer with them. Raises OfferRefused."""
        try:
            self.keys = await resolve_ticket(
                self.options.keys, transfer, self.identity, self.call.call_id, self.tracer, self.accepted
            )
        except (KmsFailed, MikeyError) as error:
            raise unresolved(error, transfer) from None
        self._transfer = transfer
        self.show("KMS", f"ticket of {self.keys.initiator} resolved")

    async def accept(self) -> None:
        """Listen, when the far end is to open TCP, and send the 200 with the answer."""
        address = sdp.Address(self.bearer_host(), 9)
        if self.agreement.tcp_opener is Party.OFFERER:
            address = sdp.Address(*await self.bearer.listen(self.bearer_host()))
            self.show("TCP", f"listening on {address_text((address.host, address.port))}")
        message = self.transfer_response()
        key_mgmt = (sdp.KeyMgmt(sdp.MIKEY, message),) if message else ()
        origin = sdp.Origin.of(address.host, secrets.randbits(62))
        self.answer = sdp.answer_bfcp(self.offer, self.agreement, sdp.ClientMedia(address, key_mgmt), origin)
        self.show("SIP", f"-> 200 OK, setup {self.agreement.setup.value}")
        await self.call.accept(sdp.encode(self.answer))

    def transfer_response(self) -> bytes:
        """TRANSFER_RESP; to override in order to send another one."""
        return self.keys.message

    async def refuse(self, refusal: OfferRefused) -> None:
        """Answer with the failure that `refusal` names."""
        reason = {480: "Temporarily Unavailable", 488: "Not Acceptable Here"}.get(
            refusal.status, "Bad Request"
        )
        text = str(refusal).replace("\\", "").replace('"', "'")
        self.show("SIP", f"-> {refusal.status} {reason}")
        warning = ("Warning", f'{refusal.warning} {WARN_AGENT} "{text}"')
        await self.call.refuse(refusal.status, reason, warning, sdp=body_of(refusal, self.bearer_host()))

    async def wait_ack(self) -> None:
        """The ACK of our 200."""
        await self.call.wait_ack(self.options.timeouts.answer)
        self.show("SIP", "<- ACK")

    def user_id(self) -> int:
        """The BFCP User ID that the offer gave us; to override in order to use somebody else's."""
        return self._user_id

    @property
    def own(self) -> str:
        """Our KMS user identity."""
        return self.identity

    @property
    def peer(self) -> str:
        """The caller's, as the ticket has it."""
        return self.keys.initiator

    def session(self) -> CsbSession:
        """What the ticket and our answer have left."""
        return self._transfer.session()

    def exchange(self) -> sdp.Exchange:
        """Our answer and its offer."""
        return sdp.Exchange(self.answer, self.offer)

    async def close(self) -> None:
        """Give everything of this call back; sends no SIP."""
        await self.end_renewals()
        self.close_connection()
        await self.bearer.close()
        self.call.close()
