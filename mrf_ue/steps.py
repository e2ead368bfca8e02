"""The steps of a call of ours, one method each: for `dial_in`, and for tests that do them otherwise."""

import secrets
import time

from mrf_ops.trace import Tracer
from mrf_protocols import mikey, sdp
from mrf_protocols.mikey import CsbSession, GrantedTicket, MikeyError, TransferInitiator
from mrf_protocols.sdp import AcceptedAnswer, Party, SdpError, SessionDescription, Setup
from mrf_ue.bearer import Bearer, address_text
from mrf_ue.errors import AnswerRefused, SipRefused
from mrf_ue.key_errors import explained
from mrf_ue.keys import get_ticket, start_transfer
from mrf_ue.options import DialInOptions
from mrf_ue.roster import RosterWatch
from mrf_ue.show import Show, quiet
from mrf_ue.sip import SipEndpoint
from mrf_ue.sip_call import Callee
from mrf_ue.sip_live_call import Call
from mrf_ue.talk import TalkSteps


class UeScript(TalkSteps):
    """One dial-in, step by step: the steps up to the ACK here, those of the bearer and the floor in TalkSteps.

    The usual order is that of the methods. Each step can be left out, and `offer_sdp`, `credentials` and
    `user_id` can be overridden, to play a UE that misbehaves. Every step raises UeError when it fails.
    """

    party = Party.OFFERER

    def __init__(self, options: DialInOptions, tracer: Tracer | None = None, show: Show = quiet) -> None:
        super().__init__(options, tracer or Tracer("UE-A"), show)
        self.options = options
        self.endpoint = SipEndpoint(options.sip, self.tracer, show)
        self.initiator = mikey.kms_user_identity(options.sip.identity)
        self.responder = mikey.kms_user_identity(Callee(options.callee).address)
        self.call: Call
        self.ticket: GrantedTicket
        self.transfer: TransferInitiator
        self.offer: SessionDescription
        self.answer_body = b""
        self.answer: AcceptedAnswer
        self._opened = False
        self._roster: RosterWatch | None = None

    @property
    def call_id(self) -> str:
        """The Call-ID: the correlation id of everything that belongs to this call."""
        return self.call.call_id

    async def open(self) -> None:
        """Get ready: SIP transport and call object; nothing is sent but a TCP connection for SIP."""
        await self.endpoint.open(self.options.callee)
        self.call = self.endpoint.call(self.options.callee)
        self.bearer = Bearer(self.tracer, self.call.call_id)
        self._opened = True

    async def get_ticket(self) -> None:
        """Step 1: a ticket for the callee, from the KMS or self-made; then TRANSFER_INIT."""
        mode = self.options.keys.mode
        self.ticket = await get_ticket(
            self.options.keys, self.initiator, self.responder, self.call_id, self.tracer
        )
        self.show("KMS", f"ticket for {self.responder} ({mode.value})")
        self.transfer = start_transfer(
            self.ticket, self.initiator, self.responder, self.options.keys.psk_identity
        )
        self.tracer.emit(
            self.call_id,
            "local",
            "",
            "MIKEY",
            "TRANSFER_INIT",
            "",
            initiator=self.initiator,
            responder=self.responder,
            ticket=mode.value,
        )

    async def invite(self) -> None:
        """Step 2: listen (unless the TCP role is active) and send the INVITE with the offer."""
        host = self.bearer_host()
        address = (host, 0)
        if self.options.setup is not Setup.ACTIVE:
            address = await self.bearer.listen(host)
            self.show("TCP", f"listening on {address_text(address)}")
        self.offer = self.make_offer(sdp.Address(*address))
        body = self.offer_sdp()
        self.show("SIP", f"-> INVITE {self.options.callee} ({len(body)} octets of SDP)")
        await self.call.invite(body)

    def make_offer(self, address: sdp.Address) -> SessionDescription:
        """The offer: TCP/TLS/BFCP, floorctrl c-only, connection new, key-mgmt with TRANSFER_INIT; or TCP/BFCP."""
        number = secrets.randbits(62)
        if self.options.unsecured:
            return sdp.offer_bfcp(
                sdp.Origin.of(address.host, number),
                sdp.ClientMedia(address),
                setup=self.options.setup,
                proto=sdp.BfcpProto.TCP,
            )
        key_mgmt = sdp.KeyMgmt(sdp.MIKEY, self.transfer.init())
        local = sdp.ClientMedia(address, (key_mgmt,))
        return sdp.offer_bfcp(sdp.Origin.of(address.host, number), local, setup=self.options.setup)

    def offer_sdp(self) -> bytes:
        """The body of the INVITE; to override in order to send another one."""
        return sdp.encode(self.offer)

    async def wait_answer(self) -> None:
        """Step 9, first half: the 200 to the INVITE."""
        try:
            response = await self.call.wait_answer(self.options.timeouts.answer)
        except SipRefused as refused:
            raise explained(refused, getattr(self, "transfer", None)) from None
        self.answer_body = response.body
        self.show("SIP", f"<- {response.status_code} {response.reason_phrase}")

    def check_answer(self) -> None:
        """Step 9, second half: the answer fits the offer and TRANSFER_RESP proves the far end's key.

        Raises AnswerRefused; the call is then up and has to be acknowledged and hung up.
        """
        secured = not self.options.unsecured
        early = self.transfer.early_result() if secured and not self.transfer.awaits_response else None
        try:
            received = sdp.parse(self.answer_body)
            self.answer = sdp.accept_answer(
                self.offer, received, (sdp.MIKEY,) if secured and not early else ()
            )
            message = self.answer.key_mgmt
            if message is not None:
                self.keys = self.transfer.response(message.data, time.time())
            elif early is not None:
                self.keys = early
        except SdpError as error:
            raise AnswerRefused(f"the answer is not acceptable: {error}") from None
        except MikeyError as error:
            raise AnswerRefused(f"TRANSFER_RESP is not acceptable: {error}") from None
        if self.answer.tcp_opener is None or (secured and self.answer.tls_client is None):
            raise AnswerRefused("the answer opens no connection")
        self.agreement = self.answer
        self.conference_id = self.answer.conference_id
        self.floor_ids = tuple(floor.floor_id for floor in self.answer.floors)
        self.show("SDP", self._answer_text())

    def _answer_text(self) -> str:
        answer = self.answer
        floors = ", ".join(map(str, self.floor_ids)) or "none"
        where = address_text((answer.peer.address.host, answer.peer.address.port))
        return (
            f"answer verified: conference {answer.conference_id}, user {answer.user_id}, floors {floors}, "
            f"setup {answer.setup.value}, {where}"
        )

    async def ack(self) -> None:
        """Acknowledge the 200."""
        self.show("SIP", "-> ACK")
        await self.call.ack()

    def user_id(self) -> int:
        """The BFCP User ID to use; to override in order to use somebody else's."""
        return self.answer.user_id

    def watch_roster(self) -> None:
        """Show from now on who is in the conference, as its focus tells."""
        dialog = self.call.machine.dialog
        target = dialog.target if dialog is not None else self.options.callee
        self._roster = RosterWatch(target, self.endpoint, self.show)
        self._roster.start()

    async def bye(self) -> None:
        """Watch no more, and hang up."""
        if self._roster is not None:
            await self._roster.close(self.options.timeouts.bye)
        await super().bye()

    async def cancel(self) -> int:
        """Cancel the INVITE; gives the final status."""
        self.show("SIP", "-> CANCEL")
        return await self.call.cancel(self.options.timeouts.bye)

    @property
    def own(self) -> str:
        """Our KMS user identity."""
        return self.initiator

    @property
    def peer(self) -> str:
        """The callee's."""
        return self.responder

    def session(self) -> CsbSession | None:
        """What TRANSFER_INIT and TRANSFER_RESP have left."""
        return None if self.options.unsecured else self.transfer.session()

    def exchange(self) -> sdp.Exchange:
        """Our offer and its answer."""
        return sdp.Exchange(sdp.parse(self.offer_sdp()), sdp.parse(self.answer_body))

    async def close(self) -> None:
        """Give everything back; sends no SIP."""
        await self.end_renewals()
        if self._opened:
            self.close_connection()
            await self.bearer.close()
            self.call.close()
        await self.endpoint.close()
