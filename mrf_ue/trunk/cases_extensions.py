"""Cases of extensions: reliable provisional responses, session timers, events, REFER."""

from aiosipua import SipResponse

from mrf_protocols import sdp
from mrf_ue.sip_dialog import ALLOW, dialog_of_answer
from mrf_ue.trunk.actions import Message, Play
from mrf_ue.trunk.cases_alone import NO_SUCH_OPTION
from mrf_ue.trunk.messages import line, method_of, tokens
from mrf_ue.trunk.offers import OfferKind
from mrf_ue.trunk.setting import Leg
from mrf_ue.trunk.stage import Stage
from mrf_ue.trunk.verdict import Verdict

ABSOLUTE_MIN_SE = 90
_SMALL, _USUAL = 20, 1800
_NOTIFY_SECONDS = 3.0
_EXPIRES = 120
_WANTED = (("Event", "conference"), ("Accept", "application/conference-info+xml"))


# --- RFC 3262


def reliable_supported(stage: Stage) -> Play[None]:
    """100rel offered."""
    yield from _reliable(stage, ("Supported", "100rel"))


def reliable_required(stage: Stage) -> Play[None]:
    """100rel demanded."""
    yield from _reliable(stage, ("Require", "100rel"))


def _reliable(stage: Stage, header: tuple[str, str]) -> Play[None]:
    required = header[0] == "Require"
    yield from stage.log_in()
    offer = yield from stage.offer(stage.knowledge.offer or OfferKind.BFCP)
    invite = stage.invite(offer, header)
    yield from stage.transact(invite)
    acknowledged: set[int] = set()
    while True:
        message = yield from stage.until(_of_invite)
        if not isinstance(message, SipResponse):
            stage.stop(Verdict.FAIL, "no final response to the INVITE", "RFC 3261 17.2.1")
        if message.status_code >= 200:
            break
        if message.status_code > 100:
            yield from _provisional(stage, message, acknowledged, required)
    stage.settled(invite, message)
    if message.status_code == 420:
        named = "100rel" in tokens(message, "Unsupported")
        if named:
            stage.unsupported(f"{line(message)}, Unsupported: 100rel", "RFC 3262 3")
        else:
            stage.failed("the 420 does not say in Unsupported what it lacks", "RFC 3261 8.2.2.3")
        return
    if message.status_code >= 300:
        stage.stop(Verdict.NOT_RUN, f"no call came up to try it in: {line(message)}")
    yield from stage.ack()
    if acknowledged:
        stage.passed(
            f"{len(acknowledged)} reliable provisional responses, acknowledged by PRACK", "RFC 3262 3, 4"
        )
    elif required:
        stage.passed(f"{line(message)} without a provisional response: nothing to acknowledge", "RFC 3262 3")
    elif stage.provisionals and "100rel" not in tokens(message, "Supported"):
        stage.unsupported("no provisional response is sent reliably", "RFC 3262 3")
    else:
        stage.passed(
            f"{line(message)}; no provisional response is sent reliably, nor need it be", "RFC 3262 3"
        )


def _of_invite(message: Message) -> bool:
    return isinstance(message, SipResponse) and method_of(message) == "INVITE"


def _provisional(stage: Stage, response: SipResponse, done: set[int], required: bool) -> Play[None]:
    number = (response.get_header("RSeq") or "").strip()
    if "100rel" not in tokens(response, "Require") or not number.isdecimal():
        if required:
            stage.failed(f"{line(response)} is not sent reliably, though that is required", "RFC 3262 3")
        return
    if int(number) in done or stage.leg.invite is None:
        return
    done.add(int(number))
    leg, invite = stage.leg, stage.leg.invite
    leg.dialog = dialog_of_answer(invite, response)
    rack = ("RAck", f"{number} {invite.get_header('CSeq')}")
    answer = yield from stage.ask(stage.request("PRACK", rack, leg=leg))
    stage.judge(answer, (200,), "RFC 3262 3")


# --- RFC 4028


def session_timer(stage: Stage) -> Play[None]:
    """Session timer of half an hour."""
    leg = yield from stage.call(("Supported", "timer"), ("Session-Expires", str(_USUAL)))
    _timer_of(stage, leg.answer)


def _timer_of(stage: Stage, response: SipResponse | None) -> None:
    value = (response.get_header("Session-Expires") or "") if response is not None else ""
    if not value:
        stage.unsupported("the 200 has no Session-Expires", "RFC 4028 9")
        return
    seconds, _, rest = value.partition(";")
    refresher = next(
        (word.partition("=")[2] for word in rest.split(";") if word.strip().startswith("refresher")), ""
    )
    if not refresher:
        stage.failed(f"Session-Expires: {value} in a 200 names no refresher", "RFC 4028 9")
    elif not seconds.strip().isdecimal() or int(seconds) > _USUAL:
        stage.failed(f"Session-Expires: {value}: longer than what was asked for", "RFC 4028 9")
    elif int(seconds) < ABSOLUTE_MIN_SE:
        stage.failed(f"Session-Expires: {value}: below {ABSOLUTE_MIN_SE} s", "RFC 4028 4")
    else:
        stage.passed(f"Session-Expires: {value}", "RFC 4028 9")
        if refresher == "uac" and response is not None and "timer" not in tokens(response, "Require"):
            stage.failed("the caller is to refresh, but the 200 does not require timer", "RFC 4028 9")


def session_timer_small(stage: Stage) -> Play[None]:
    """A session timer shorter than the standard allows."""
    asked = (("Supported", "timer"), ("Session-Expires", str(_SMALL)))
    response = yield from stage.dial(*asked)
    value = (response.get_header("Min-SE") or "").partition(";")[0].strip()
    if response.status_code == 422:
        if not value.isdecimal() or int(value) < ABSOLUTE_MIN_SE:
            stage.failed(
                f"422 with Min-SE: {value or 'none'}, where {ABSOLUTE_MIN_SE} or more is due", "RFC 4028 5, 6"
            )
            return
        stage.passed(f"{line(response)}, Min-SE: {value}", "RFC 4028 9")
        again = yield from stage.dial(("Supported", "timer"), ("Session-Expires", value), ("Min-SE", value))
        if again.status_code >= 300:
            stage.failed(f"{line(again)} to the interval that the 422 asked for", "RFC 4028 7.3")
            return
        yield from stage.ack()
        _timer_of(stage, again)
    elif response.status_code >= 300:
        stage.stop(Verdict.NOT_RUN, f"no call came up to try it in: {line(response)}")
    else:
        yield from stage.ack()
        if response.get_header("Session-Expires"):
            stage.warned(f"Session-Expires: {_SMALL} is taken, where 422 is due", "RFC 4028 4, 9")
        else:
            stage.unsupported("the 200 has no Session-Expires", "RFC 4028 9")


def session_refresh(stage: Stage) -> Play[None]:
    """The session is refreshed: by UPDATE where the trunk has it, by re-INVITE otherwise."""
    leg = yield from stage.call(("Supported", "timer"), ("Session-Expires", f"{_USUAL};refresher=uac"))
    if leg.answer is None or not leg.answer.get_header("Session-Expires"):
        stage.stop(Verdict.NOT_SUPPORTED, "the 200 has no Session-Expires", "RFC 4028 9")
    headers = (("Supported", "timer"), ("Session-Expires", f"{_USUAL};refresher=uac"))
    method = "UPDATE" if "update" in tokens(leg.answer, "Allow") else "INVITE"
    body = sdp.encode(leg.offer) if method == "INVITE" and leg.offer is not None else b""
    response = yield from stage.ask(stage.request(method, *headers, body=body, leg=leg))
    if response.status_code < 300 and method == "INVITE":
        yield from stage.ack(leg)
    if response.status_code >= 300:
        stage.failed(f"refresh by {method}: {line(response)}", "RFC 4028 10")
    elif response.get_header("Session-Expires"):
        told = response.get_header("Session-Expires")
        stage.passed(f"refresh by {method}: {line(response)}, Session-Expires: {told}", "RFC 4028 9")
    else:
        stage.warned(f"refresh by {method}: {line(response)} without Session-Expires", "RFC 4028 9")


# --- RFC 6665, RFC 4575


def subscribe(stage: Stage) -> Play[None]:
    """SUBSCRIBE to the conference package, then its end; where strangers may not, once more as a participant."""
    leg = stage.leg
    response = yield from stage.ask(stage.request("SUBSCRIBE", *_WANTED, ("Expires", str(_EXPIRES))))
    if response.status_code == 403:
        stage.passed(f"{line(response)} to somebody who is in no conference", "RFC 4575 6")
        yield from stage.call()
        leg = stage.new_leg()
        request = stage.request("SUBSCRIBE", *_WANTED, ("Expires", str(_EXPIRES)), leg=leg)
        response = yield from stage.ask(request)
    if response.status_code in (405, 489, 501):
        stage.stop(Verdict.NOT_SUPPORTED, line(response), "RFC 6665 4.2.1.1")
    if response.status_code >= 300:
        stage.stop(Verdict.WARNING, f"the subscription is refused: {line(response)}", "RFC 6665 4.2.1.1")
    granted = (response.get_header("Expires") or "").strip()
    if not granted.isdecimal() or int(granted) > _EXPIRES:
        stage.failed(f"Expires: {granted or 'none'} in the response", "RFC 6665 4.2.1.1")
    leg.dialog = dialog_of_answer(stage.sent, response)
    yield from _subscribed(stage, leg)


def _subscribed(stage: Stage, leg: Leg) -> Play[None]:
    """What follows a subscription: NOTIFY at once, and a last one when it is ended."""
    if not (yield from _notified(stage, 1)):
        stage.stop(Verdict.FAIL, "no NOTIFY follows the subscription at once", "RFC 6665 4.2.1.2")
    notify = stage.notified[0]
    state, kind = notify.get_header("Subscription-State") or "", notify.content_type or "nothing"
    if state:
        stage.passed(f"NOTIFY: {state}, {kind}", "RFC 6665 4.1.3, RFC 4575 3")
    else:
        stage.failed("NOTIFY without Subscription-State", "RFC 6665 4.1.3")
    response = yield from stage.ask(stage.request("SUBSCRIBE", *_WANTED, ("Expires", "0"), leg=leg))
    stage.judge(response, (200, 202), "RFC 6665 4.1.2.3")
    if not _over(stage):
        yield from stage.until(lambda _: _over(stage), _NOTIFY_SECONDS)
    if not _over(stage):
        stage.failed("no NOTIFY says that the subscription is terminated", "RFC 6665 4.2.1.4")


def _over(stage: Stage) -> bool:
    """Whether a NOTIFY has said that the subscription has ended."""
    return any(
        (each.get_header("Subscription-State") or "").startswith("terminated") for each in stage.notified
    )


def _notified(stage: Stage, count: int) -> Play[bool]:
    if len(stage.notified) < count:
        yield from stage.until(lambda _: len(stage.notified) >= count, _NOTIFY_SECONDS)
    return len(stage.notified) >= count


def subscribe_unknown(stage: Stage) -> Play[None]:
    """SUBSCRIBE to a package that nobody has defined."""
    response = yield from stage.ask(stage.request("SUBSCRIBE", ("Event", NO_SUCH_OPTION), ("Expires", "60")))
    if response.status_code in (405, 501):
        stage.unsupported(line(response), "RFC 6665 4.2.1.1")
    elif stage.judge(response, (489,), "RFC 6665 4.2.1.1") and not tokens(response, "Allow-Events"):
        stage.failed("the 489 does not say in Allow-Events what there is", "RFC 6665 8.3.2")


def refer(stage: Stage) -> Play[None]:
    """REFER within the call, to ourselves: whom it calls then is us, and we are busy."""
    leg = yield from stage.call()
    here = stage.setting.end.contact.strip("<>")
    request = stage.request("REFER", ("Refer-To", f"<{here}>"), ("Allow", ALLOW), leg=leg)
    response = yield from stage.ask(request)
    if response.status_code in (405, 501):
        stage.unsupported(line(response), "RFC 3515 2.4.2")
        return
    if response.status_code >= 300:
        stage.passed(f"refused: {line(response)}", "RFC 3515 2.4.2")
        return
    stage.judge(response, (200, 202), "RFC 3515 2.4.2, RFC 7647")
    yield from _referred(stage)


def _referred(stage: Stage) -> Play[None]:
    if not _over(stage):
        yield from stage.until(lambda _: _over(stage))
    if not stage.notified:
        stage.failed("no NOTIFY tells what became of it", "RFC 3515 2.4.4")
        return
    told = [notify.text.strip().splitlines()[0] for notify in stage.notified if notify.text.strip()]
    called = f"called {len(stage.invited)} times" if stage.invited else "not called"
    stage.passed(f"NOTIFY: {', '.join(told)}; we were {called}", "RFC 3515 2.4.4")
    if not _over(stage):
        stage.warned("the subscription of the REFER did not end", "RFC 3515 2.4.7")
