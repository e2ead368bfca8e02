"""Dial-out in memory: every way in which a called participant may answer, or not, and what is left: nothing."""

from pathlib import Path

import pytest
from focus_world import (
    BOB,
    Callee,
    MrfpRefused,
    MrfpTimeout,
    World,
    header,
    make_world,
    response_to,
)

from mrf_protocols import sdp
from mrf_protocols.h248.mp import ConfigureReservedBfcpTermination, ReserveBfcpTermination, UserNames
from mrfc import jobs
from mrfc.calls.dial_out import Outcome
from mrfc.sip.dialog import DialogState
from mrfc.sip.port import OutgoingRequest
from mrfc.sip.refusal import Cause, Refusal


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, dial_out={"ring_timeout": 0.05})


async def invited(world: World, outcomes: list[Outcome] | None = None, uri: str = BOB) -> OutgoingRequest:
    """Ask for a dial-out and wait for its INVITE."""
    conference = world.store.conference("meeting")
    assert conference is not None
    before = len(world.sip.sent("INVITE"))
    world.dial_outs.start(conference, uri, None if outcomes is None else outcomes.append)
    await world.settle()
    invites = world.sip.sent("INVITE")
    assert len(invites) == before + 1
    return invites[-1]


@pytest.mark.parametrize("ticket", ["kms", "self-made"])
@pytest.mark.parametrize("setup", [sdp.Setup.ACTIVE, sdp.Setup.PASSIVE])
async def test_a_participant_joins(tmp_path: Path, ticket: str, setup: sdp.Setup) -> None:
    world = make_world(tmp_path, dial_out={"ticket": ticket})
    callee, outcomes = Callee(world.kms), list[Outcome]()
    invite = await invited(world, outcomes)
    assert [type(procedure) for procedure in world.mrfp.procedures] == [ReserveBfcpTermination]
    world.focus.on_response(response_to(invite, 180, body=""))
    world.focus.on_response(response_to(invite, 200, body=callee.answer(invite.body, setup)))
    await world.settle()
    [configured] = world.mrfp.configured.values()
    assert configured.psk == callee.tek
    assert configured.names == UserNames("", BOB)
    assert configured.start_tls  # the offerer is TLS client, whoever opens TCP
    assert configured.start_tcp == (setup is sdp.Setup.PASSIVE)
    assert [outcome.status for outcome in outcomes] == [180, 200]
    [call] = world.store.calls()
    assert call.state is DialogState.CONFIRMED
    world.calls.end(call, "enough")
    await world.settle()
    [bye] = world.sip.sent("BYE")
    assert header(bye, "To") == f"<{BOB}>;tag=bob-tag"
    assert header(bye, "CSeq") == "2 BYE"
    assert not any(world.busy().values())


async def test_one_key_is_for_one_participant(world: World) -> None:
    """Proxies are asked not to fork (RFC 3841 9.1), and the INVITE is a focus's (RFC 4579 5.1)."""
    invite = await invited(world)
    assert header(invite, "Request-Disposition") == "no-fork"
    assert header(invite, "Contact").endswith(";isfocus")


@pytest.mark.parametrize("status", [301, 401, 404, 480, 486, 488, 503, 603])
async def test_a_refusal_ends_it(world: World, status: int) -> None:
    outcomes = list[Outcome]()
    invite = await invited(world, outcomes)
    world.focus.on_response(response_to(invite, status))
    await world.settle()
    assert outcomes == [Outcome(status, "Reason")]
    assert world.sip.sent("BYE") == []
    assert not any(world.busy().values())


async def test_silence_is_cancelled(world: World) -> None:
    outcomes = list[Outcome]()
    invite = await invited(world, outcomes)
    await world.settle(0.06)
    assert world.sip.cancels == [(header(invite, "Call-ID"), 1)]
    assert world.sip.reasons == [408]
    assert outcomes == [Outcome(408, "Request Timeout")]
    assert world.mrfp.contexts == {}  # the reservation does not wait for the end of the transaction
    world.focus.on_response(response_to(invite, 487))
    await world.settle()
    assert not any(world.busy().values())


async def test_silence_longer_than_the_transaction_ends_at_once(world: World) -> None:
    await invited(world)
    world.sip.transaction_ended = True
    await world.settle(0.06)
    assert not any(world.busy().values())


async def test_no_final_response_even_to_the_cancel(world: World) -> None:
    await invited(world)
    await world.settle(0.15)
    assert not any(world.busy().values())


async def test_an_answer_after_the_cancel_is_hung_up(world: World) -> None:
    callee = Callee(world.kms)
    invite = await invited(world)
    await world.settle(0.06)
    world.focus.on_response(response_to(invite, 200, body=callee.answer(invite.body)))
    await world.settle()
    assert len(world.sip.sent("BYE")) == 1
    assert world.mrfp.configured == {}
    assert not any(world.busy().values())


async def test_an_answer_after_everything_is_hung_up(world: World) -> None:
    callee = Callee(world.kms)
    invite = await invited(world)
    late = response_to(invite, 200, body=callee.answer(invite.body))
    await world.settle(0.15)
    assert world.store.calls() == []
    world.focus.on_response(late)
    [bye] = world.sip.sent("BYE")
    assert header(bye, "To") == f"<{BOB}>;tag=bob-tag"


async def test_the_second_branch_of_a_fork_is_hung_up(world: World) -> None:
    invite = await invited(world)
    answer = Callee(world.kms).answer(invite.body)
    world.focus.on_response(response_to(invite, 200, tag="first", body=answer))
    world.focus.on_response(response_to(invite, 200, tag="second", body=answer))
    world.focus.on_response(response_to(invite, 200, tag="first", body=answer))  # a retransmission
    await world.settle()
    [bye] = world.sip.sent("BYE")
    assert header(bye, "To") == f"<{BOB}>;tag=second"
    [call] = world.store.calls()
    assert call.dialog.remote_tag == "first"
    assert len(world.mrfp.configured) == 1


def without_key_management(answer: str) -> str:
    return "".join(line for line in answer.splitlines(keepends=True) if "key-mgmt" not in line)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (without_key_management, "key-mgmt"),
        (lambda answer: answer.replace("a=setup:active", "a=setup:actpass"), "setup"),
        (lambda answer: answer.replace("TCP/TLS/BFCP", "TCP/BFCP"), "transport protocol"),
        (lambda answer: answer.replace("m=application 9", "m=application 0"), "port 0"),
        (lambda answer: answer.replace("c-only", "s-only"), "role"),
        (lambda answer: answer.replace("a=setup:active", "a=setup:holdconn"), "holds"),
        (lambda answer: "", "no answer"),
        (lambda answer: "v=1\r\n", ""),
    ],
)
async def test_an_answer_that_does_not_fit_ends_with_bye(world: World, spoil: object, word: str) -> None:
    invite = await invited(world)
    assert callable(spoil)
    body = spoil(Callee(world.kms).answer(invite.body))
    world.focus.on_response(response_to(invite, 200, body=body))
    await world.settle()
    [bye] = world.sip.sent("BYE")
    assert word in header(bye, "Reason")
    assert world.mrfp.configured == {}
    assert not any(world.busy().values())


async def test_a_transfer_resp_that_fails_its_mac_configures_nothing(world: World) -> None:
    invite = await invited(world)
    world.focus.on_response(response_to(invite, 200, body=Callee(world.kms).answer(invite.body, spoil=True)))
    await world.settle()
    assert len(world.sip.sent("BYE")) == 1
    assert world.mrfp.configured == {}
    assert not any(world.busy().values())


async def test_the_kms_refuses_and_nobody_is_called(world: World) -> None:
    conference = world.store.conference("meeting")
    assert conference is not None
    world.kms.down = True
    outcomes = list[Outcome]()
    world.dial_outs.start(conference, BOB, outcomes.append)
    await world.settle()
    assert outcomes == [Outcome(503, "Service Unavailable")]
    assert world.sip.requests == []
    assert not any(world.busy().values())


@pytest.mark.parametrize("error", [MrfpTimeout("silent"), MrfpRefused(510, "Insufficient resources")])
async def test_without_reservation_nobody_is_called(world: World, error: Exception) -> None:
    conference = world.store.conference("meeting")
    assert conference is not None
    world.mrfp.fail = lambda procedure: error
    world.dial_outs.start(conference, BOB)
    await world.settle()
    assert world.sip.requests == []
    assert not any(world.busy().values())


async def test_the_mrfp_is_gone_between_reserve_and_configure(world: World) -> None:
    invite = await invited(world)
    body = Callee(world.kms).answer(invite.body)
    world.mrfp.lose_everything()
    world.focus.on_mrfp_lost("mrfp")
    assert world.sip.cancels
    world.focus.on_response(response_to(invite, 200, body=body))
    await world.settle()
    assert len(world.sip.sent("BYE")) == 1
    assert not any(world.busy().values())


async def test_the_mrfp_refuses_to_configure(world: World) -> None:
    invite = await invited(world)
    world.mrfp.fail = lambda procedure: (
        MrfpRefused(430, "Unknown TerminationID")
        if isinstance(procedure, ConfigureReservedBfcpTermination)
        else None
    )
    world.focus.on_response(response_to(invite, 200, body=Callee(world.kms).answer(invite.body)))
    await world.settle()
    assert len(world.sip.sent("BYE")) == 1
    assert not any(world.busy().values())


async def test_an_unreachable_participant(world: World) -> None:
    conference = world.store.conference("meeting")
    assert conference is not None
    world.sip.reachable = False
    outcomes = list[Outcome]()
    world.dial_outs.start(conference, BOB, outcomes.append)
    await world.settle()
    assert outcomes == [Outcome(503, "Service Unavailable")]
    assert not any(world.busy().values())


async def test_what_is_no_sip_uri_is_refused_at_once(world: World) -> None:
    conference = world.store.conference("meeting")
    assert conference is not None
    with pytest.raises(Refusal) as caught:
        world.dial_outs.start(conference, "tel:+4930")
    assert caught.value.cause is Cause.BAD_INVITEE
    assert not any(world.busy().values())


async def test_record_route_of_the_answer_is_turned_round(world: World) -> None:
    invite = await invited(world)
    job = response_to(invite, 200, body=Callee(world.kms).answer(invite.body))
    routed = jobs.ResponseJob(
        job.dialog,
        job.method,
        job.cseq,
        job.status,
        job.reason,
        job.from_uri,
        job.to_uri,
        job.contact_uri,
        ("<sip:p2;lr>", "<sip:p1;lr>"),
        job.content_type,
        job.body,
    )
    world.focus.on_response(routed)
    await world.settle()
    [call] = world.store.calls()
    world.calls.end(call, "enough")
    [bye] = world.sip.sent("BYE")
    assert [value for name, value in bye.headers if name == "Route"] == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert (bye.request_uri, bye.next_hop) == ("sip:bob@192.0.2.2", "sip:p1;lr")


async def test_an_answer_in_a_provisional_response_settles_nothing(world: World) -> None:
    """Only the 2xx carries the answer to an INVITE without reliable provisionals (RFC 3261 13.2.1)."""
    callee = Callee(world.kms)
    invite = await invited(world)
    body = callee.answer(invite.body)
    world.focus.on_response(response_to(invite, 183, body=body))
    await world.settle()
    assert world.mrfp.configured == {}
    world.focus.on_response(response_to(invite, 200, body=body))
    await world.settle()
    assert len(world.mrfp.configured) == 1
