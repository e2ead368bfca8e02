"""What goes wrong at the far end, and what the UE makes of it; and what a UE can do wrong, on purpose."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mrf_protocols.bfcp import BfcpError, ErrorCode, Message, Primitive, encode
from mrf_protocols.tls_psk import PskCredentials
from mrf_ue.dial_in import dial_in
from mrf_ue.errors import (
    AnswerRefused,
    BearerFailed,
    FloorNotGranted,
    KmsFailed,
    SipRefused,
    StepTimeout,
    TlsFailed,
)
from mrf_ue.options import DialInOptions
from mrf_ue.steps import UeScript
from mrfp_agent.floor_control import Floor

if TYPE_CHECKING:
    from functional.ue.conftest import FakeKms, Focus


def one_bit_changed(message: bytes) -> bytes:
    return message[:-1] + bytes([message[-1] ^ 1])


async def test_a_refusal_is_told_with_its_warning(focus: Focus, options: DialInOptions) -> None:
    focus.refuse = 488
    with pytest.raises(SipRefused, match=r"488 Refused .*no key") as caught:
        await dial_in(options)
    assert caught.value.status == 488
    await focus.saw("ACK")


async def test_a_wrong_transfer_resp_is_acknowledged_and_hung_up(
    focus: Focus, options: DialInOptions
) -> None:
    focus.spoil_answer = one_bit_changed
    with pytest.raises(AnswerRefused, match="TRANSFER_RESP"):
        await dial_in(options)
    assert focus.requests == ["INVITE", "ACK", "BYE"]


async def test_a_wrong_key_at_the_far_end_fails_tls(focus: Focus, options: DialInOptions) -> None:
    focus.wrong_key = True
    with pytest.raises(TlsFailed):
        await dial_in(options)
    assert focus.requests == ["INVITE", "ACK", "BYE"]


async def test_a_kms_that_talks_nonsense(focus: Focus, kms: FakeKms, options: DialInOptions) -> None:
    kms.reply = b"nonsense"
    with pytest.raises(KmsFailed):
        await dial_in(options)
    assert focus.requests == []


async def test_a_kms_that_is_not_there(focus: Focus, options: DialInOptions) -> None:
    with pytest.raises(KmsFailed):
        await dial_in(replace(options, keys=replace(options.keys, kms_url="http://127.0.0.1:9")))
    assert focus.requests == []


async def test_a_denied_floor(focus: Focus, options: DialInOptions) -> None:
    focus.floors = (Floor(1, allowed_users=frozenset({7})),)
    with pytest.raises(FloorNotGranted):
        await dial_in(options)
    assert focus.requests == ["INVITE", "ACK", "BYE"]


async def test_an_unknown_floor(focus: Focus, options: DialInOptions) -> None:
    with pytest.raises(FloorNotGranted, match="INVALID_FLOOR"):
        await dial_in(replace(options, floors=(99,)))


async def test_a_far_end_that_only_rings_is_cancelled(focus: Focus, options: DialInOptions) -> None:
    focus.mute = True
    with pytest.raises(StepTimeout):
        await dial_in(replace(options, timeouts=replace(options.timeouts, answer=0.2)))
    assert focus.requests == ["INVITE", "CANCEL", "ACK"]


async def test_a_far_end_that_does_nothing(focus: Focus, options: DialInOptions) -> None:
    focus.mute, focus.rings = True, False
    with pytest.raises(StepTimeout):
        await dial_in(replace(options, timeouts=replace(options.timeouts, answer=0.1)))


async def test_a_far_end_that_hangs_up(focus: Focus, options: DialInOptions) -> None:
    async with ready(UeScript(options)) as ue:
        await ue.ack()
        await ue.connect()
        await ue.secure()
        focus.send_bye((ue.endpoint.end.host, ue.endpoint.end.port))
        with pytest.raises(SipRefused, match="hung up"):
            await ue.call.while_up(asyncio.sleep(60))
        await focus.saw("200")
        await ue.bye()  # nothing to do any more
    assert "BYE" not in focus.requests


class ready:
    """A UE that has verified the answer and not yet sent ACK."""

    def __init__(self, ue: UeScript) -> None:
        self.ue = ue

    async def __aenter__(self) -> UeScript:
        await self.ue.open()
        await self.ue.get_ticket()
        await self.ue.invite()
        await self.ue.wait_answer()
        self.ue.check_answer()
        return self.ue

    async def __aexit__(self, *_: object) -> None:
        await self.ue.close()


async def until_closed(ue: UeScript) -> None:
    while True:
        await ue.floor.next_event(30.0)


async def talking(ue: UeScript) -> None:
    await ue.ack()
    await ue.connect()
    await ue.secure()


async def test_a_ue_can_keep_back_its_ack(focus: Focus, options: DialInOptions) -> None:
    async with ready(UeScript(options)):
        await asyncio.sleep(0.05)
    assert "ACK" not in focus.requests


async def test_a_ue_can_cancel_while_it_rings(focus: Focus, options: DialInOptions) -> None:
    focus.mute = True
    ue = UeScript(options)
    await ue.open()
    await ue.get_ticket()
    await ue.invite()
    await ue.call.wait_provisional(30.0)
    assert await ue.cancel() == 487
    await focus.saw("ACK")
    await ue.close()


async def test_a_ue_can_use_a_wrong_key(focus: Focus, options: DialInOptions) -> None:
    class WrongKey(UeScript):
        def credentials(self) -> PskCredentials:
            return PskCredentials(super().credentials().identity, bytes(32))

    async with ready(WrongKey(options)) as ue:
        with pytest.raises(TlsFailed):
            await talking(ue)
    assert focus.tls_failures == ["wrong-psk"]


async def test_a_ue_can_use_a_wrong_psk_identity(focus: Focus, options: DialInOptions) -> None:
    class WrongIdentity(UeScript):
        def credentials(self) -> PskCredentials:
            return PskCredentials("00000000.1", super().credentials().key)

    async with ready(WrongIdentity(options)) as ue:
        with pytest.raises(TlsFailed):
            await talking(ue)
    assert focus.tls_failures == ["unknown-psk-identity"]


async def test_a_ue_can_speak_as_another_user(focus: Focus, options: DialInOptions) -> None:
    class Impostor(UeScript):
        def user_id(self) -> int:
            return super().user_id() + 1

    async with ready(Impostor(options)) as ue:
        await talking(ue)
        with pytest.raises(FloorNotGranted, match="Error 5"):
            await ue.hello()


async def test_a_ue_can_send_half_a_message_and_a_length_that_lies(
    focus: Focus, options: DialInOptions
) -> None:
    async with ready(UeScript(options)) as ue:
        await talking(ue)
        hello = encode(Message(Primitive.HELLO, ue.answer.conference_id, 1, ue.answer.user_id))
        ue.connection.send_octets(hello[:6])
        await asyncio.sleep(0.05)
        assert focus.bfcp_received == []
        ue.connection.send_octets(hello[6:])
        await ue.floor.next_event(30.0)
        lying = hello[:2] + b"\xff\xff" + hello[4:]
        ue.connection.send_octets(lying)
        with pytest.raises(BearerFailed):
            await until_closed(ue)
    error = focus.bfcp_received[-1]
    assert isinstance(error, BfcpError)
    assert error.code is ErrorCode.INCORRECT_MESSAGE_LENGTH


async def test_a_ue_can_connect_and_say_nothing(focus: Focus, options: DialInOptions) -> None:
    async with ready(UeScript(options)) as ue:
        await ue.ack()
        await ue.connect()
        await asyncio.sleep(0.05)
    assert focus.tls_failures == []
    assert focus.tls_cipher == ""
