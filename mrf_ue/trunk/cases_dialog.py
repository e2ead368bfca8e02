"""Cases within a call: changes of the session, its order of requests, and its end (RFC 3261 12 to 15)."""

import dataclasses
import itertools

from aiosipua import SipRequest, SipResponse

from mrf_protocols import sdp
from mrf_ue.sip_dialog import header_tag
from mrf_ue.sip_transactions import cancel_of
from mrf_ue.trunk.actions import Emit, Message, Play
from mrf_ue.trunk.messages import line, method_of, tokens
from mrf_ue.trunk.offers import OfferKind, describe, on_hold
from mrf_ue.trunk.setting import Leg
from mrf_ue.trunk.stage import Stage
from mrf_ue.trunk.verdict import Verdict

_T1 = 0.5
_COPIES = 3
_SLOW = 2.5
"""A gap between two copies may be this many times as long as it should: networks and machines are slow."""


def reinvite(stage: Stage) -> Play[None]:
    """The same session once more."""
    leg = yield from stage.call()
    response = yield from _reinvite(stage, leg, leg.offer)
    if response.status_code >= 300:
        stage.failed(f"{line(response)} to an offer that changes nothing", "RFC 3264 8, RFC 3261 14.2")
        return
    stage.passed(line(response), "RFC 3261 14.2")
    if leg.answer is not None and leg.offer is not None:
        for complaint in describe(leg.offer, response.body).complaints:
            stage.failed(complaint, "RFC 3264 8")


def hold(stage: Stage) -> Play[None]:
    """Every stream sendonly, and back."""
    leg = yield from stage.call()
    before = leg.offer
    if before is None:
        return
    held = on_hold(before)
    response = yield from _reinvite(stage, leg, held)
    if response.status_code >= 300:
        stage.unsupported(f"hold: {line(response)}", "RFC 3264 8.4")
        return
    answer = describe(held, response.body)
    told = "; ".join(answer.lines) or "no stream is served"
    if answer.held:
        stage.passed(f"hold: {told}", "RFC 3264 8.4")
    else:
        stage.failed(f"a sendonly stream is not answered recvonly: {told}", "RFC 3264 6.1")
    resumed = dataclasses.replace(
        before, origin=dataclasses.replace(held.origin, version=held.origin.version + 1)
    )
    response = yield from _reinvite(stage, leg, resumed)
    if response.status_code >= 300:
        stage.warned(f"back from hold: {line(response)}", "RFC 3264 8.4")
    else:
        stage.passed(f"back from hold: {line(response)}", "RFC 3264 8.4")


def _reinvite(stage: Stage, leg: Leg, offer: sdp.SessionDescription | None) -> Play[SipResponse]:
    body = sdp.encode(offer) if offer is not None else b""
    response = yield from stage.ask(stage.request("INVITE", body=body, leg=leg))
    if response.status_code < 300:
        yield from stage.ack(leg)
    return response


def update(stage: Stage) -> Play[None]:
    """UPDATE without a body."""
    leg = yield from stage.call()
    response = yield from stage.ask(stage.request("UPDATE", leg=leg))
    if response.status_code in (405, 501):
        announced = leg.answer is not None and "update" in tokens(leg.answer, "Allow")
        if announced:
            stage.failed(f"{line(response)}, but the 200 says that UPDATE is allowed", "RFC 3311 4")
        else:
            stage.unsupported(line(response), "RFC 3311 4")
    else:
        stage.judge(response, (200,), "RFC 3311 5.2")


def glare(stage: Stage) -> Play[None]:
    """A second re-INVITE before the first one has its final response."""
    leg = yield from stage.call()
    body = sdp.encode(leg.offer) if leg.offer is not None else b""
    first = stage.request("INVITE", body=body, leg=leg)
    second = stage.request("INVITE", body=body, leg=leg)
    yield from stage.transact(first)
    yield from stage.transact(second)
    _judge_glare(stage, (yield from stage.finals(first, second)))


def _judge_glare(stage: Stage, responses: list[SipResponse | None]) -> None:
    clause = "RFC 3261 14.2"
    first, second = responses
    if first is None or second is None:
        stage.failed("one of two re-INVITEs got no final response", clause)
        return
    told = f"first {line(first)}, second {line(second)}"
    if second.status_code == 500:
        if second.get_header("Retry-After") is None:
            stage.failed(f"{told}, without Retry-After", clause)
        else:
            stage.passed(f"{told}, Retry-After: {second.get_header('Retry-After')}", clause)
    elif first.status_code == 500:
        stage.passed(f"{told}: they overtook one another", "RFC 3261 12.2.2")
    elif second.status_code < 300 and first.status_code < 300:
        stage.passed(f"{told}: the first was answered before the second came", clause)
    elif second.status_code == 491:
        stage.warned(f"{told}, where 500 with Retry-After is due", clause)
    else:
        stage.failed(f"{told}, where 500 with Retry-After is due", clause)


def options_in_call(stage: Stage) -> Play[None]:
    """OPTIONS within the call."""
    leg = yield from stage.call()
    response = yield from stage.ask(stage.request("OPTIONS", leg=leg))
    stage.judge(response, (200,), "RFC 3261 11.2")


def wrong_cseq(stage: Stage) -> Play[None]:
    """A re-INVITE with a number that was used already."""
    leg = yield from stage.call()
    old = stage.request("INVITE", body=sdp.encode(leg.offer) if leg.offer else b"", leg=leg)
    response = yield from stage.ask(old)
    if response.status_code < 300:
        yield from stage.ack(leg)
    leg.cseq -= 2
    late = stage.request("INVITE", body=old.body, leg=leg)
    yield from stage.transact(late)
    response_to_late = yield from stage.final(late)
    leg.cseq += 1
    if response_to_late is None:
        stage.warned("no response to a CSeq number that is too low", "RFC 3261 12.2.2")
    else:
        if response_to_late.status_code < 300:
            yield from stage.ack(leg)
        stage.judge(response_to_late, (500,), "RFC 3261 12.2.2")


def cancel(stage: Stage) -> Play[None]:
    """CANCEL as soon as a provisional response has come."""
    yield from stage.log_in()
    offer = yield from _known_offer(stage)
    invite = stage.invite(offer)
    yield from stage.transact(invite)
    first = yield from stage.until(
        lambda message: isinstance(message, SipResponse) and method_of(message) == "INVITE"
    )
    if not isinstance(first, SipResponse):
        stage.stop(Verdict.FAIL, "no response to the INVITE", "RFC 3261 17.2.1")
    if first.status_code >= 200:
        _too_late(stage, invite, first)
        return
    request = cancel_of(invite)
    yield from stage.transact(request)
    ended, answer = yield from stage.finals(invite, request)
    too_late = ended is not None and ended.status_code < 300  # then there may be nothing left to cancel
    if answer is None:
        stage.failed("CANCEL has no final response", "RFC 3261 9.2")
    elif answer.status_code != 200 and not (too_late and answer.status_code == 481):
        stage.failed(f"CANCEL: {line(answer)}, where 200 is due", "RFC 3261 9.2")
    if ended is None:
        stage.failed("the INVITE has no final response after CANCEL", "RFC 3261 9.2")
    elif ended.status_code < 300:
        stage.passed(f"{line(ended)} was faster than CANCEL", "RFC 3261 9.1")
    else:
        stage.judge(ended, (487,), "RFC 3261 9.2")


def _too_late(stage: Stage, invite: SipRequest, first: SipResponse) -> None:
    """There was nothing to cancel: the first response was the last."""
    stage.settled(invite, first)
    if first.status_code >= 300:
        stage.stop(Verdict.NOT_RUN, f"the INVITE is refused at once: {line(first)}")
    stage.passed(f"{line(first)} at once: there was no time to cancel", "RFC 3261 9.1")


def _known_offer(stage: Stage) -> Play[sdp.SessionDescription]:
    """An offer that the trunk takes; Stops when it takes none."""
    if stage.knowledge.offer is None:
        leg = yield from stage.call()
        yield from stage.bye(leg)
        stage.leg = stage.new_leg()
    return (yield from stage.offer(stage.knowledge.offer or OfferKind.BFCP))


def lost_ack(stage: Stage) -> Play[None]:
    """The ACK is held back: the 200 has to be repeated, on TCP too, and to stop once the ACK is there."""
    clause = "RFC 3261 13.3.1.4"
    leg = yield from stage.call(ack=False)
    at = [stage.now]
    while len(at) <= _COPIES:
        gap = _T1 * 2 ** (len(at) - 1)
        copy = yield from stage.until(_success, gap * _SLOW)
        if copy is None:
            break
        at.append(stage.now)
    yield from stage.ack(leg)
    gaps = ", ".join(f"{(after - before) * 1000:.0f}" for before, after in itertools.pairwise(at))
    if len(at) == 1:
        stage.failed("the 200 is not repeated while its ACK is missing", clause)
    elif len(at) <= _COPIES:
        stage.warned(f"the 200 is repeated after {gaps} ms, and then no more", clause)
    else:
        stage.passed(f"the 200 is repeated after {gaps} ms", clause)
    came = yield from stage.pause(_T1)
    late = [message for message in came if _success(message)]
    if len(late) > 1:
        stage.failed("the 200 is still repeated after its ACK", clause)


def _success(message: Message) -> bool:
    return (
        isinstance(message, SipResponse)
        and method_of(message) == "INVITE"
        and 200 <= message.status_code < 300
    )


def repeated_invite(stage: Stage) -> Play[None]:
    """The same INVITE again after its 200: one call, not two."""
    leg = yield from stage.call(ack=False)
    if leg.invite is None or leg.answer is None:
        return
    tag = header_tag(leg.answer, "To")
    yield from stage.do(Emit(leg.invite))
    again = yield from stage.until(_success, 2.0)
    yield from stage.ack(leg)
    if again is None:
        stage.warned("no response to the repeated INVITE", "RFC 3261 13.3.1.4")
    elif header_tag(again, "To") == tag:
        stage.passed("the same 200 comes again, with the same To tag", "RFC 3261 17.2.1, 13.3.1.4")
    else:
        stage.failed("the repeated INVITE makes a second dialog", "RFC 3261 17.2.3, 8.2.2.2")


def bye_before_ack(stage: Stage) -> Play[None]:
    """BYE where the ACK should have come first."""
    leg = yield from stage.call(ack=False)
    response = yield from stage.bye(leg)
    yield from stage.ack(leg)  # late, but else the 200 would be repeated for half a minute
    if response is not None:
        stage.judge(response, (200,), "RFC 3261 15")


def second_bye(stage: Stage) -> Play[None]:
    """BYE, and BYE again."""
    leg = yield from stage.call()
    response = yield from stage.bye(leg)
    if response is not None:
        stage.judge(response, (200,), "RFC 3261 15.1.2")
    response = yield from stage.ask(stage.request("BYE", leg=leg))
    stage.judge(response, (481,), "RFC 3261 15.1.2")
