"""Tickets and TRANSFER_INIT that the MRFC must not accept."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from system_support import Scene, Ue, warning_code

from mrf_protocols import mikey
from mrf_protocols.mikey import GrantedTicket, TransferInitiator
from mrf_protocols.mikey.payloads import Payload, RandWithRole, Verification
from mrf_protocols.mikey.policy import Ticket
from mrf_ue.errors import SipRefused
from mrf_ue.options import TicketMode

Change = Callable[[mikey.Message], mikey.Message]


def transfer(
    ticket: GrantedTicket, ue: Ue, *, responder: str = "", initiator: str = "", age: float = 0
) -> None:
    """Let the UE offer this ticket, in this way."""
    ue.transfer = TransferInitiator(
        ticket,
        initiator or ue.initiator,
        responder or ue.responder,
        csb_id=int.from_bytes(os.urandom(4)),
        rand=os.urandom,
        now=time.time() - age,
    )


def own_ticket(ue: Ue, *, responder: str = "", lifetime: float | None = None) -> GrantedTicket:
    """A ticket that the UE makes itself (mode 3)."""
    keys = ue.options.keys
    return mikey.make_ticket(
        tpk=keys.psk,
        tpk_id=keys.psk_id,
        initiator=ue.initiator,
        kms=keys.kms_identity,
        responders=(responder or ue.responder,),
        rand=os.urandom,
        now=time.time(),
        lifetime=lifetime,
    )


def changed(change: Change) -> Callable[[bytes], bytes]:
    """Change a TRANSFER_INIT as a value; its MAC does not fit any more."""
    return lambda init: mikey.encode(change(mikey.decode(init)))


def ticket_type(number: int) -> Change:
    """Another Ticket Type."""

    def change(message: mikey.Message) -> mikey.Message:
        def other(payload: Payload) -> Payload:
            if not isinstance(payload, Ticket):
                return payload
            return replace(payload, policy=replace(payload.policy, ticket_type=number))

        return replace(message, payloads=tuple(map(other, message.payloads)))

    return change


def mac_algorithm(number: int, size: int) -> Change:
    """Another algorithm in V, with a MAC of that many octets."""

    def change(message: mikey.Message) -> mikey.Message:
        *others, last = message.payloads
        assert isinstance(last, Verification)
        return replace(message, payloads=(*others, Verification(number, bytes(size))))

    return change


def prf(number: int) -> Change:
    """Another PRF func in HDR."""
    return lambda message: replace(message, header=replace(message.header, prf=number))


def rand_of_one_octet(message: mikey.Message) -> mikey.Message:
    """RANDRi far too short."""
    shorter = [replace(p, rand=b"x") if isinstance(p, RandWithRole) else p for p in message.payloads]
    return replace(message, payloads=tuple(shorter))


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        pytest.param(ticket_type(2), 399, "ticket type 2", id="3GPP ticket type"),
        pytest.param(ticket_type(77), 399, "ticket type 77", id="unknown ticket type"),
        pytest.param(prf(9), 399, "PRF func 9", id="unknown PRF"),
        pytest.param(prf(1), 399, "another in message and ticket", id="PRF of the other suite"),
        pytest.param(mac_algorithm(0, 0), 399, "Auth alg", id="no MAC"),
        pytest.param(mac_algorithm(2, 32), 399, "Auth alg", id="MAC of the other suite"),
        pytest.param(rand_of_one_octet, 306, "RANDRi", id="short RAND"),
    ],
)
async def test_algorithms_nobody_has(scene: Scene, change: Change, code: int, words: str) -> None:
    ue = await scene.ue()
    ue.edit_init = changed(change)
    scene.expect("mrfc", f"refused: 488 .*{words}")
    response = await ue.dial()
    assert (response.status_code, warning_code(response)) == (488, code)


async def test_ticket_for_another_conference(scene: Scene) -> None:
    ue = await scene.ue()
    other = scene.lab.conference("other")
    transfer(own_ticket(ue, responder=other), ue, responder=other)
    scene.expect("mrfc", "refused: 488 .*for somebody else")
    response = await ue.dial()
    assert (response.status_code, warning_code(response)) == (488, 399)


async def test_ticket_that_does_not_name_us(scene: Scene) -> None:
    """TRANSFER_INIT is for us, the ticket in it is not."""
    ue = await scene.ue()
    transfer(own_ticket(ue, responder=scene.lab.conference("other")), ue)
    scene.expect("mrfc", "refused: 488 ")
    scene.expect("kms", "RESOLVE_INIT_PSK refused")
    response = await ue.dial()
    assert (response.status_code, warning_code(response)) == (488, 399)


async def test_ticket_of_another_caller(scene: Scene) -> None:
    """Mallory got hold of Alice's ticket, or hides behind her name."""
    mallory = await scene.ue(identity="sip:mallory@ue.example")
    mallory.initiator = scene.bystander.initiator if scene.bystander else ""
    scene.expect("mrfc", "refused: 488 .*not made by the caller")
    response = await mallory.dial()
    assert (response.status_code, warning_code(response)) == (488, 399)


async def test_ticket_made_in_the_name_of_another(scene: Scene) -> None:
    """A user may make tickets with the key shared with the KMS, but only in the own name."""
    mallory = await scene.ue(identity="sip:mallory@ue.example", mode=TicketMode.SELF_MADE)
    scene.expect("mrfc", "refused: 488 ")
    scene.expect("kms", "RESOLVE_INIT_PSK refused")
    response = await mallory.dial()
    assert (response.status_code, warning_code(response)) == (488, 399)


async def test_expired_ticket(scene: Scene) -> None:
    ue = await scene.ue()
    transfer(own_ticket(ue, lifetime=-120), ue)
    scene.expect("mrfc", "refused: 488 .*expired")
    response = await ue.dial()
    assert (response.status_code, warning_code(response)) == (488, 399)


async def test_the_person_is_told_what_is_wrong(scene: Scene) -> None:
    """The 488 carries a MIKEY Error message (RFC 4567 4.1.2); once the ticket is resolved it proves whose it is."""
    expired, reused = await scene.ue(), await scene.ue()
    transfer(own_ticket(expired, lifetime=-120), expired)
    scene.expect("mrfc", "refused: 488 .*expired")
    await expired.invite()
    with pytest.raises(SipRefused, match=r"says of the ticket: INVALID_TPPAR \(15\).*nobody proved"):
        await expired.wait_answer()
    await reused.join()
    await reused.bye()
    again = await scene.ue()
    transfer(reused.ticket, again)
    scene.expect("mrfc", "refused: 488 .*only once")
    await again.invite()
    with pytest.raises(SipRefused, match=r"says of the ticket: INVALID_TPPAR \(15\)"):
        await again.wait_answer()


async def test_old_transfer_init(scene: Scene) -> None:
    ue = await scene.ue()
    transfer(own_ticket(ue), ue, age=120)
    scene.expect("mrfc", "refused: 488 .*time")
    response = await ue.dial()
    assert (response.status_code, warning_code(response)) == (488, 399)


async def test_replayed_while_the_call_stands_and_after_it(scene: Scene) -> None:
    ue, thief, late_thief = await scene.ue(), await scene.ue(), await scene.ue()
    await ue.join_bfcp()
    for who, stands in ((thief, True), (late_thief, False)):
        if not stands:
            await ue.bye()
        await who.get_ticket()
        who.transfer = ue.transfer
        scene.expect("mrfc", "refused: 488 .*seen before")
        response = await who.dial()
        assert (response.status_code, warning_code(response)) == (488, 399)


async def test_replayed_at_the_same_time(scene: Scene) -> None:
    """Both copies are under way to the KMS before either has been authenticated: one is served."""
    ues = [await scene.ue(), await scene.ue()]
    await asyncio.gather(*(ue.get_ticket() for ue in ues))
    ues[1].transfer = ues[0].transfer
    scene.expect("mrfc", "refused: 488 .*seen before")
    responses = await asyncio.gather(*(ue.dial() for ue in ues))
    assert sorted(response.status_code for response in responses) == [200, 488]
    served = ues[[response.status_code for response in responses].index(200)]
    await served.leave()


async def test_one_bit_changed_anywhere(scene: Scene) -> None:
    """Every sixth octet of a TRANSFER_INIT with one bit changed, one INVITE each: none is served."""
    model = await scene.ue(mode=TicketMode.SELF_MADE)
    await model.get_ticket()
    size = len(model.transfer.init())
    statuses: list[int] = []
    scene.may_log("kms", "RESOLVE_INIT_PSK refused")

    async def offer(position: int) -> None:
        ue = await scene.ue(mode=TicketMode.SELF_MADE)

        def edit(init: bytes) -> bytes:
            octets = bytearray(init)
            octets[position] ^= 1 << position % 8
            return bytes(octets)

        ue.edit_init = edit
        response = await ue.dial()
        statuses.append(response.status_code)
        assert warning_code(response) in (306, 399), position
        scene.expect("mrfc", f"refused: 488 .*{ue.call_id}")

    for start in range(0, size, 48):
        await asyncio.gather(*(offer(at) for at in range(start, min(start + 48, size), 6)))
    assert set(statuses) == {488}
