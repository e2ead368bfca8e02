"""Dial-in in memory: what the focus answers, asks of the MRFP, and gives back."""

import asyncio
import time
from pathlib import Path

import pytest
from focus_world import MEETING, Caller, MrfpRefused, MrfpTimeout, World, make_world

from mrf_protocols import sdp
from mrf_protocols.h248.mp import BearerReleased, ConfigureBfcpTermination, TlsEstablishmentFailed, UserNames
from mrfc import jobs
from mrfc.sip.dialog import DialogState


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


async def joined(world: World, caller: Caller) -> sdp.AcceptedAnswer:
    """A caller whose INVITE was answered and who has acknowledged."""
    world.focus.on_invite(caller.invite())
    await world.settle()
    response = world.sip.answers[caller.transaction]
    assert response.status == 200, response
    world.focus.on_ack(caller.ack())
    return sdp.accept_answer(sdp.parse(caller.offer()), sdp.parse(response.body))


async def test_the_answer_and_the_termination_fit_together(world: World) -> None:
    caller = Caller(world.kms)
    world.focus.on_invite(caller.invite())
    await world.settle()
    response = world.sip.answers[caller.transaction]
    assert dict(response.headers)["Contact"] == "<sip:meeting@192.0.2.7:5060>;isfocus"
    [configure] = world.mrfp.procedures
    assert isinstance(configure, ConfigureBfcpTermination)
    answer = sdp.accept_answer(sdp.parse(caller.offer()), sdp.parse(response.body))
    assert answer.key_mgmt is not None
    assert caller.transfer.response(answer.key_mgmt.data, time.time()).tek == configure.psk
    assert (answer.conference_id, answer.user_id) == (4321, configure.user_id)
    assert (answer.tcp_opener, configure.start_tcp) == (sdp.Party.ANSWERER, True)
    assert (answer.tls_client, configure.start_tls) == (sdp.Party.OFFERER, False)
    assert configure.remote == ("192.0.2.1", 5000)
    world.focus.on_ack(caller.ack())
    world.focus.on_bye(caller.bye())
    await world.settle()
    assert not any(world.busy().values())


@pytest.mark.parametrize("privacy", [(), (("privacy", "id"),)], ids=["seen", "anonymous"])
async def test_others_learn_names_unless_a_participant_wants_privacy(
    world: World, privacy: tuple[tuple[str, str], ...]
) -> None:
    caller = Caller(world.kms)
    world.focus.on_invite(caller.invite(from_display='"Alice"', headers=privacy))
    await world.settle()
    [configure] = world.mrfp.procedures
    assert isinstance(configure, ConfigureBfcpTermination)
    number = configure.user_id
    hidden = UserNames(f"Anonymous {number}", f"sip:anonymous-{number}@anonymous.invalid")
    assert configure.names == (hidden if privacy else UserNames("Alice", caller.uri))


async def test_a_congested_mrfp_gets_nobody_new_even_in_a_standing_conference(world: World) -> None:
    first, second = Caller(world.kms), Caller(world.kms)
    await joined(world, first)
    world.mrfp.congested = True
    world.focus.on_invite(second.invite())
    await world.settle()
    refused = world.sip.answers[second.transaction]
    assert (refused.status, dict(refused.headers)["Retry-After"]) == (503, "5")
    assert len(world.store.calls()) == 1
    world.mrfp.congested = False
    third = Caller(world.kms)
    await joined(world, third)
    for caller in (first, third):
        world.focus.on_bye(caller.bye())
    await world.settle()
    assert not any(world.busy().values())


async def test_one_context_for_a_conference_however_many_come_at_once(world: World) -> None:
    callers = [Caller(world.kms) for _ in range(20)]
    for caller in callers:
        world.focus.on_invite(caller.invite())
    await world.settle()
    assert len(world.mrfp.contexts) == 1
    assert len({world.sip.answers[caller.transaction].body for caller in callers}) == 20
    for caller in callers:
        world.focus.on_ack(caller.ack())
        world.focus.on_bye(caller.bye())
    await world.settle()
    assert not any(world.busy().values())


async def test_who_gets_no_seat_leaves_no_conference_of_the_factory(world: World) -> None:
    before = world.store.conferences()
    world.store.draining = True
    caller = Caller(world.kms, callee="sip:conf-factory@conf.example")
    world.focus.on_invite(caller.invite())
    await world.settle()
    assert world.sip.answers[caller.transaction].status == 503
    assert world.store.conferences() == before
    assert not any(world.busy().values())


async def test_a_conference_of_the_factory_lives_as_long_as_its_call(world: World) -> None:
    factory = "sip:conf-factory@conf.example"
    caller = Caller(world.kms, callee=factory)
    world.focus.on_invite(caller.invite())
    await world.settle()
    contact = dict(world.sip.answers[caller.transaction].headers)["Contact"]
    assert contact.startswith("<sip:conf-")
    assert contact.endswith(";isfocus")
    assert len(world.store.conferences()) == 2
    world.focus.on_bye(caller.bye())
    await world.settle()
    assert len(world.store.conferences()) == 1


async def test_a_ticket_for_somebody_else_is_refused(world: World) -> None:
    caller = Caller(world.kms, callee="sip:other@conf.example")
    world.focus.on_invite(caller.invite(request_uri=MEETING, to_uri=MEETING))
    await world.settle()
    response = world.sip.answers[caller.transaction]
    assert response.status == 488
    assert "somebody else" in dict(response.headers)["Warning"]
    assert not any(world.busy().values())


async def test_a_replayed_offer_is_refused_also_while_the_first_is_under_way(world: World) -> None:
    caller = Caller(world.kms)
    body = caller.offer()
    again = jobs.TransactionId(99, 99)
    world.focus.on_invite(caller.invite(body))
    world.focus.on_invite(
        caller.invite(body, transaction=again, dialog=jobs.DialogId("replay", "l", "r"), cseq=1)
    )
    await world.settle()
    assert world.sip.answers[caller.transaction].status == 200
    assert world.sip.answers[again].status == 488
    world.focus.on_bye(caller.bye())
    await world.settle()
    assert not any(world.busy().values())


@pytest.mark.parametrize("error", [MrfpTimeout("silent"), MrfpRefused(510, "Insufficient resources")])
async def test_without_the_mrfp_the_caller_may_come_again(world: World, error: Exception) -> None:
    caller = Caller(world.kms)
    world.mrfp.fail = lambda procedure: error
    world.focus.on_invite(caller.invite())
    await world.settle()
    response = world.sip.answers[caller.transaction]
    assert (response.status, dict(response.headers)["Retry-After"]) == (503, "5")
    assert not any(world.busy().values())


async def test_an_address_that_the_mrfp_cannot_reach_is_not_acceptable(world: World) -> None:
    """To come again would not help (RFC 3261 20.43)."""
    caller = Caller(world.kms)
    world.mrfp.fail = lambda procedure: MrfpRefused(531, "no IPv6 media address for this peer")
    world.focus.on_invite(caller.invite())
    await world.settle()
    response = world.sip.answers[caller.transaction]
    headers = dict(response.headers)
    assert (response.status, headers["Warning"].split()[0]) == (488, "301")
    assert "Retry-After" not in headers
    assert not any(world.busy().values())


@pytest.mark.parametrize("where", ["kms", "mrfp"])
async def test_a_cancelled_call_leaves_nothing_wherever_it_was(world: World, where: str) -> None:
    caller, gate = Caller(world.kms), asyncio.Event()
    if where == "kms":
        world.kms.hold = gate
    else:
        world.mrfp.hold = gate
    world.focus.on_invite(caller.invite())
    await world.settle()
    world.focus.on_cancel(jobs.CancelJob(caller.dialog.call_id, caller.dialog.remote_tag, 1))
    await world.settle()
    assert world.store.calls() == []
    gate.set()  # the KMS or the MRFP answers after all
    await world.settle()
    assert caller.transaction not in world.sip.answers
    assert not any(world.busy().values())


async def test_a_transaction_that_went_away_before_the_answer_leaves_nothing(world: World) -> None:
    caller = Caller(world.kms)
    world.sip.gone.add(caller.transaction)
    world.focus.on_invite(caller.invite())
    await world.settle()
    assert not any(world.busy().values())


async def test_a_call_without_ack_is_ended(world: World) -> None:
    caller = Caller(world.kms)
    world.focus.on_invite(caller.invite())
    await world.settle(0.08)
    [bye] = world.sip.sent("BYE")
    assert ("Reason", 'SIP;cause=408;text="no ACK"') in bye.headers
    assert not any(world.busy().values())


async def test_bye_overtakes_ack(world: World) -> None:
    caller = Caller(world.kms)
    world.focus.on_invite(caller.invite())
    await world.settle()
    world.focus.on_bye(caller.bye())
    world.focus.on_ack(caller.ack())
    await world.settle(0.08)
    assert world.sip.sent("BYE") == []
    assert not any(world.busy().values())


async def test_a_bye_of_another_dialog_is_refused(world: World) -> None:
    caller = Caller(world.kms)
    await joined(world, caller)
    stranger = jobs.ByeJob(jobs.TransactionId(5, 5), caller.dialog.__class__("x", "y", "z"), 2)
    world.focus.on_bye(stranger)
    forged = jobs.ByeJob(
        jobs.TransactionId(6, 6), jobs.DialogId(caller.dialog.call_id, caller.dialog.local_tag, "forged"), 2
    )
    world.focus.on_bye(forged)
    assert world.sip.answers[jobs.TransactionId(5, 5)].status == 481
    assert world.sip.answers[jobs.TransactionId(6, 6)].status == 481
    assert len(world.store.calls()) == 1


async def test_a_failed_handshake_ends_the_call(world: World) -> None:
    caller = Caller(world.kms)
    await joined(world, caller)
    [call] = world.store.calls()
    [context] = world.mrfp.contexts
    assert call.termination is not None
    world.focus.on_indication("mrfp", TlsEstablishmentFailed(context, call.termination, "wrong-psk"))
    [bye] = world.sip.sent("BYE")
    assert any("TLS session establishment failed: wrong-psk" in value for _, value in bye.headers)
    await world.settle()
    assert not any(world.busy().values())


async def test_a_closed_connection_waits_a_moment_for_the_bye(world: World) -> None:
    caller = Caller(world.kms)
    await joined(world, caller)
    [call] = world.store.calls()
    [context] = world.mrfp.contexts
    assert call.termination is not None
    world.focus.on_indication("mrfp", BearerReleased(context, call.termination, "closed by peer"))
    assert world.sip.sent("BYE") == []
    world.focus.on_bye(caller.bye())
    await world.settle(0.05)
    assert world.sip.sent("BYE") == []
    assert not any(world.busy().values())


async def test_a_lost_mrfp_ends_its_calls_and_no_others(world: World) -> None:
    caller = Caller(world.kms)
    await joined(world, caller)
    world.mrfp.lose_everything()
    world.focus.on_mrfp_lost("another")
    assert world.sip.sent("BYE") == []
    world.focus.on_mrfp_lost("mrfp")
    await world.settle()
    assert len(world.sip.sent("BYE")) == 1
    assert not any(world.busy().values())
    again = Caller(world.kms)  # it comes back, and the conference starts anew there
    await joined(world, again)
    assert len(world.mrfp.contexts) == 1


async def test_the_same_session_again_is_confirmed_and_another_refused(world: World) -> None:
    caller = Caller(world.kms)
    body = caller.offer()
    world.focus.on_invite(caller.invite(body))
    await world.settle()
    world.focus.on_ack(caller.ack())
    for number, offer, status in ((21, body, 200), (22, body + "a=x\r\n", 488), (23, body, 200)):
        transaction = jobs.TransactionId(number, number)
        world.focus.on_invite(caller.invite(offer, transaction=transaction, cseq=number, in_dialog=True))
        await world.settle()
        assert world.sip.answers[transaction].status == status
    old = jobs.TransactionId(24, 24)
    world.focus.on_invite(caller.invite(body, transaction=old, cseq=22, in_dialog=True))
    assert world.sip.answers[old].status == 500
    assert len(world.store.calls()) == 1


async def test_no_key_gets_into_a_trace(world: World) -> None:
    caller = Caller(world.kms)
    await joined(world, caller)
    [configure] = world.mrfp.procedures
    assert isinstance(configure, ConfigureBfcpTermination)
    assert configure.psk is not None
    assert configure.psk.hex() not in repr(world.events.events)
    assert configure.psk.hex() not in repr(configure)


async def test_an_indication_that_overtakes_its_call_is_not_lost(world: World) -> None:
    caller = Caller(world.kms)
    world.focus.on_indication(
        "mrfp", TlsEstablishmentFailed(1, "bfcp/2", "early")
    )  # as the MRFP will name them
    world.focus.on_invite(caller.invite())
    await world.settle()
    assert world.mrfp.contexts == {}
    [call] = world.store.calls()
    assert call.state is DialogState.ENDING
    world.focus.on_ack(caller.ack())
    await world.settle()
    assert len(world.sip.sent("BYE")) == 1
    assert not any(world.busy().values())
