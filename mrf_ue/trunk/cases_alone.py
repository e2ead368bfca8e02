"""Cases without a call: what the trunk says of itself, and what it answers to requests that make no sense."""

from aiosipua import SipResponse

from mrf_ue.sip_dialog import new_request
from mrf_ue.sip_transactions import cancel_of
from mrf_ue.trunk.actions import Emit, Octets, Play, Pong, Transact, Wait
from mrf_ue.trunk.messages import branch_of, line, tokens
from mrf_ue.trunk.offers import OfferKind
from mrf_ue.trunk.stage import Stage
from mrf_ue.trunk.verdict import Verdict

NO_SUCH_OPTION = "no-such-extension"
_PING_SECONDS = 2.0
_PINGS = 3


def options(stage: Stage) -> Play[None]:
    """What the trunk says that it can do."""
    response = yield from stage.ask(stage.request("OPTIONS", ("Accept", "application/sdp")))
    clause = "RFC 3261 11.2"
    if response.status_code in (405, 501):
        stage.stop(Verdict.FAIL, f"{line(response)}: every user agent answers OPTIONS", "RFC 3261 11")
    if response.status_code >= 300:
        stage.stop(Verdict.WARNING, f"{line(response)}: as it would answer an INVITE now", clause)
    for name in ("Allow", "Accept", "Supported"):
        values = response.get_header_values(name)
        if values:
            stage.passed(f"{name}: {', '.join(values)}", clause)
        else:
            stage.warned(f"no {name} in the {response.status_code}", clause)
    server = response.get_header("Server") or response.get_header("User-Agent")
    stage.passed(f"Server: {server}" if server else "it does not say what it is", "RFC 3261 20.35")


def keep_alive(stage: Stage) -> Play[None]:
    """A double CRLF, then OPTIONS three times on the same flow."""
    began = stage.now
    yield from stage.do(Octets(b"\r\n\r\n"))
    if stage.setting.reliable:
        event = yield from stage.do(Wait(_PING_SECONDS))
        if isinstance(event, Pong):
            stage.passed(f"pong after {(event.at - began) * 1000:.1f} ms", "RFC 5626 4.4.1")
        else:
            stage.unsupported(
                "no pong to a double CRLF: use OPTIONS to keep the connection", "RFC 5626 4.4.1"
            )
    took = []
    for _ in range(_PINGS):
        began = stage.now
        yield from stage.ask(stage.request("OPTIONS"))
        took.append((stage.now - began) * 1000)
    stage.passed(
        f"OPTIONS answered in {min(took):.1f} to {max(took):.1f} ms",
        "RFC 3261 7.5" if not stage.findings else "",
    )


def rport(stage: Stage) -> Play[None]:
    """Whether responses come to where the request came from, through a NAT."""
    response = yield from stage.ask(stage.request("OPTIONS"))
    via = response.via[0]
    if stage.setting.reliable:
        stage.stop(Verdict.NOT_RUN, "matters on UDP only")
    if via.params.get("rport") and via.received:
        stage.passed(f"received={via.received};rport={via.params['rport']}", "RFC 3581 4")
    else:
        stage.unsupported("Via comes back without received and rport", "RFC 3581 4")


def unknown_method(stage: Stage) -> Play[None]:
    """A method that nobody has defined."""
    response = yield from stage.ask(stage.request("UNHEARDOF"))
    if response.status_code == 501:
        stage.passed(line(response), "RFC 3261 21.5.2")
    elif stage.judge(response, (405,), "RFC 3261 8.2.1") and not tokens(response, "Allow"):
        stage.failed("a 405 names the methods that are allowed, this one has no Allow", "RFC 3261 8.2.1")


def unknown_require(stage: Stage) -> Play[None]:
    """An extension that nobody has defined, required in OPTIONS and in INVITE."""
    clause = "RFC 3261 8.2.2.3"
    for method in ("OPTIONS", "INVITE"):
        stage.leg = stage.new_leg()
        required = ("Require", NO_SUCH_OPTION)
        if method == "INVITE":
            offer = yield from stage.offer(OfferKind.BFCP)
            request = stage.invite(offer, required)
        else:
            request = stage.request(method, required)
        response = yield from stage.ask(request)
        if response.status_code != 420:
            stage.failed(f"{method}: {line(response)}, where 420 is due", clause)
        elif NO_SUCH_OPTION not in tokens(response, "Unsupported"):
            stage.failed(f"{method}: the 420 does not say in Unsupported what it lacks", clause)
        else:
            stage.passed(f"{method}: {line(response)}, Unsupported: {NO_SUCH_OPTION}", clause)


def max_forwards(stage: Stage) -> Play[None]:
    """No hop is left."""
    response = yield from stage.ask(stage.request("OPTIONS", ("Max-Forwards", "0")))
    if response.status_code < 300:
        stage.passed(f"{line(response)}: it is the last hop itself", "RFC 3261 16.3")
    else:
        stage.judge(response, (483,), "RFC 3261 16.3")


def unknown_user(stage: Stage) -> Play[None]:
    """A conference that does not exist."""
    scheme, _, rest = stage.setting.target.partition(":")
    nobody = f"{scheme}:nobody-{stage.branch()[-8:]}@{rest.rpartition('@')[2]}"
    stage.leg = stage.new_leg(nobody)
    offer = yield from stage.offer(OfferKind.BFCP)
    response = yield from stage.ask(stage.invite(offer, uri=nobody))
    if response.status_code < 300:
        yield from stage.ack()
        stage.warned(f"{line(response)}: it takes calls for any name", "RFC 3261 21.4.5")
    elif response.status_code in (404, 604, 410, 484):
        stage.passed(line(response), "RFC 3261 21.4.5")
    else:
        stage.warned(f"{line(response)}, where 404 would say why", "RFC 3261 21.4.5")


def bye_no_dialog(stage: Stage) -> Play[None]:
    """BYE to a dialog that there is not."""
    yield from _within_nothing(stage, "BYE", "RFC 3261 15.1.2")


def invite_no_dialog(stage: Stage) -> Play[None]:
    """INVITE with a To tag that the trunk never gave: 481, or a dialog is recreated."""
    yield from _within_nothing(stage, "INVITE", "RFC 3261 12.2.2")


def update_no_dialog(stage: Stage) -> Play[None]:
    """UPDATE to a dialog that there is not."""
    yield from _within_nothing(stage, "UPDATE", "RFC 3261 12.2.2")


def _within_nothing(stage: Stage, method: str, clause: str) -> Play[None]:
    stage.leg.to = f"{stage.leg.to};tag={stage.branch()}"
    if method == "INVITE":
        offer = yield from stage.offer(OfferKind.BFCP)
        request = stage.invite(offer)
    else:
        request = stage.request(method)
    response = yield from stage.ask(request)
    if method == "UPDATE" and response.status_code in (405, 501):
        stage.unsupported(line(response), "RFC 3311 5.2")
    else:
        stage.judge(response, (481,), clause)


def cancel_nothing(stage: Stage) -> Play[None]:
    """CANCEL of an INVITE that was never sent."""
    ids = (stage.leg.call_id, stage.leg.from_, stage.leg.to)
    invite = new_request(
        "INVITE", stage.setting.target, cseq=1, end=stage.setting.end, branch=stage.branch(), ids=ids
    )
    response = yield from stage.ask(cancel_of(invite))
    stage.judge(response, (481,), "RFC 3261 9.2")


def cseq_mismatch(stage: Stage) -> Play[None]:
    """OPTIONS whose CSeq speaks of another method."""
    request = stage.request("OPTIONS", ("CSeq", "1 INVITE"))
    branch = request.via[0].branch
    yield from stage.do(Emit(request))
    found = yield from stage.until(
        lambda message: (
            isinstance(message, SipResponse) and branch_of(message) == branch and message.status_code >= 200
        ),
        seconds=stage.setting.seconds / 2,
    )
    if isinstance(found, SipResponse):
        if found.status_code < 300:
            stage.failed(f"{line(found)}: the method in CSeq must be that of the request", "RFC 3261 8.1.1.5")
        else:
            stage.judge(found, (400, 405, 501), "RFC 3261 8.1.1.5, RFC 4475 3.1.2.17")
    else:
        stage.warned("no response: it was dropped", "RFC 3261 8.2")


def unknown_body(stage: Stage) -> Play[None]:
    """INVITE with a body of a type that nobody has defined."""
    request = stage.invite(None)
    request.set_header("Content-Type", "application/x-unheard-of")
    request.body = b"nothing"
    response = yield from stage.ask(request)
    if response.status_code < 300:
        yield from stage.ack()
        stage.failed(f"{line(response)}: it took a body that it cannot understand", "RFC 3261 8.2.3")
    elif stage.judge(response, (415,), "RFC 3261 8.2.3") and not tokens(response, "Accept"):
        stage.failed("a 415 says in Accept what is understood, this one does not", "RFC 3261 21.4.13")


def long_headers(stage: Stage) -> Play[None]:
    """OPTIONS with header fields of 4 kB in all on UDP, 32 kB on TCP and TLS; then OPTIONS as usual."""
    count, clause = (32, "RFC 3261 18.1.1") if stage.setting.reliable else (4, "RFC 3261 18.1.1")
    padding = [(f"X-Padding-{number}", "p" * 1000) for number in range(count)]
    request = stage.request("OPTIONS", *padding)
    yield from stage.do(Transact(request))
    response = yield from stage.final(request, stage.setting.seconds / 2)
    size = len(bytes(request))
    if response is None:
        why = f", the connection is gone: {stage.closed}" if stage.closed else ""
        stage.warned(f"no response to {size} octets{why}", clause)
    elif response.status_code < 300:
        stage.passed(f"{size} octets: {line(response)}", clause)
    elif response.status_code in (400, 413, 513):
        stage.passed(f"{size} octets are refused: {line(response)}", "RFC 3261 21.5.7")
    else:
        stage.warned(f"{size} octets: {line(response)}", clause)
    stage.leg = stage.new_leg()
    again = yield from stage.ask(stage.request("OPTIONS"))
    stage.passed(f"then OPTIONS: {line(again)}")
