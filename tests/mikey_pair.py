"""An Initiator and a Responder after one whole exchange through a KMS, all in memory."""

from collections.abc import Sequence
from hashlib import sha256

from certificates import NOW

from mrf_protocols.mikey import (
    DEFAULT_FLAGS,
    SUITE_128,
    Credential,
    CsbSession,
    GrantedTicket,
    KeyData,
    KeyType,
    KmsRules,
    PolicyFlag,
    Suite,
    TicketKey,
    TicketRequestExchange,
    TransferInitiator,
    TransferResponder,
    issue_ticket,
    make_ticket,
    resolve_ticket,
)

ALICE, ROOM, KMS = "sip:alice@home.example", "sip:room@conf.example", "kms.home.example"


class Pair:
    """Both ends with their ticket; everything random is the same in every run."""

    def __init__(
        self,
        suite: Suite = SUITE_128,
        flags: PolicyFlag = DEFAULT_FLAGS,
        *,
        initiator: str = ALICE,
        key_types: Sequence[KeyType] = (KeyType.TGK,),
        self_made: bool = False,
        answer_keys: Sequence[KeyData] = (),
    ) -> None:
        self.count = 0
        self.suite, self.flags, self.initiator, self.key_types = suite, flags, initiator, key_types
        self.user = Credential("alice-psk", self.rand(32), (initiator,))
        self.mrfc = Credential("mrfc-psk", self.rand(32), ("sip:*@conf.example",))
        self.tpk = TicketKey("kms-1", self.rand(32))
        self.ticket = self.make() if self_made else self.request()
        self.offer = TransferInitiator(
            self.ticket, initiator, ROOM, csb_id=0x55667788, rand=self.rand, now=NOW
        )
        self.responder = TransferResponder(self.offer.init(), NOW)
        init = self.responder.resolve_init(
            psk=self.mrfc.psk, psk_id="mrfc-psk", identity=ROOM, kms=KMS, rand=self.rand, now=NOW
        )
        self.responder.resolved(self.resolve(init), NOW)
        answer = self.responder.respond(self.rand, NOW, answer_keys)
        result = self.offer.response(answer.message, NOW)
        assert result.tek == answer.tek
        self.tek = result.tek

    def rand(self, length: int) -> bytes:
        self.count += 1
        return (sha256(self.count.to_bytes(8)).digest() * 3)[:length]

    def credential(self, psk_id: str | None, identity: str | None) -> Credential | None:
        return {"alice-psk": self.user, "mrfc-psk": self.mrfc}.get(psk_id or "")

    def ticket_key(self, name: str | None) -> TicketKey | None:
        if name == "alice-psk":
            return TicketKey(name, self.user.psk, self.user.identities)
        return self.tpk if name == self.tpk.identifier else None

    def request(self) -> GrantedTicket:
        exchange = TicketRequestExchange(
            psk=self.user.psk,
            psk_id="alice-psk",
            initiator=self.initiator,
            kms=KMS,
            responders=[ROOM],
            csb_id=1,
            rand=self.rand,
            now=NOW,
            suite=self.suite,
            flags=self.flags,
            lifetime=600.0,
            key_types=self.key_types,
        )
        issued = issue_ticket(
            exchange.request(),
            rules=KmsRules(KMS),
            find_credential=self.credential,
            ticket_key=self.tpk,
            rand=self.rand,
            now=NOW,
        )
        return exchange.response(issued.response, NOW)

    def make(self) -> GrantedTicket:
        return make_ticket(
            tpk=self.user.psk,
            tpk_id="alice-psk",
            initiator=self.initiator,
            kms=KMS,
            responders=[ROOM],
            rand=self.rand,
            now=NOW,
            suite=self.suite,
            flags=self.flags,
            key_types=self.key_types,
        )

    def resolve(self, init: bytes) -> bytes:
        return resolve_ticket(
            init,
            rules=KmsRules(KMS),
            find_credential=self.credential,
            find_ticket_key=self.ticket_key,
            rand=self.rand,
            now=NOW,
        ).response

    def sessions(self) -> tuple[CsbSession, CsbSession]:
        """The running session as Initiator and Responder see it."""
        return self.offer.session(), self.responder.session()
