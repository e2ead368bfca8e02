"""Cases about offer and answer: which streams the trunk takes, and with which codecs (RFC 3264, RFC 8856)."""

from aiosipua import SipResponse

from mrf_protocols.sdp import SdpError
from mrf_ue.trunk.actions import Play
from mrf_ue.trunk.messages import line, method_of
from mrf_ue.trunk.offers import Described, OfferKind, refusing
from mrf_ue.trunk.stage import SDP, Stage
from mrf_ue.trunk.verdict import Verdict

NOT_ACCEPTABLE = (415, 488, 606)
_FAREWELL = 1.0
"""Who gets none of the streams that it offered may hang up itself: seconds in which its BYE may come."""


def bfcp(stage: Stage) -> Play[None]:
    """BFCP over TLS, with a ticket where there are keys."""
    answer = yield from _try(stage, OfferKind.BFCP)
    if answer is None:
        return
    if answer.bfcp:
        stage.passed("; ".join(answer.lines), "RFC 8856")
    else:
        stage.unsupported("the BFCP stream is declined with port 0", "RFC 3264 6")


def bfcp_without_keys(stage: Stage) -> Play[None]:
    """BFCP over TLS, and nothing that says which key."""
    answer = yield from _try(stage, OfferKind.BFCP, keyed=False, refusal_is_good=True)
    if answer is None:
        return
    if answer.bfcp:
        stage.warned(
            "it serves BFCP over TLS to a caller who names neither key nor certificate", "RFC 8856 5"
        )
    else:
        stage.passed("declined with port 0", "RFC 3264 6")


def bfcp_udp(stage: Stage) -> Play[None]:
    """BFCP over UDP alone, which many trunks do not have."""
    answer = yield from _try(stage, OfferKind.BFCP_UDP, refusal_is_good=True)
    if answer is not None and answer.bfcp:
        stage.passed("; ".join(answer.lines), "RFC 8856")
    elif answer is not None:
        stage.passed("declined with port 0", "RFC 3264 6")


def audio(stage: Stage) -> Play[None]:
    """Audio alone."""
    answer = yield from _try(stage, OfferKind.AUDIO)
    if answer is not None and answer.served:
        stage.passed("; ".join(answer.lines), "RFC 3264 6")
    elif answer is not None:
        stage.unsupported("audio is declined with port 0", "RFC 3264 6")


def everything(stage: Stage) -> Play[None]:
    """Audio, video and BFCP in one offer."""
    answer = yield from _try(stage, OfferKind.EVERYTHING)
    if answer is not None:
        for text in answer.lines:
            stage.passed(text, "RFC 3264 6")


def large_offer(stage: Stage) -> Play[None]:
    """An offer too long for one packet."""
    answer = yield from _try(stage, OfferKind.LARGE)
    invite = stage.leg.invite
    if answer is not None and invite is not None:
        stage.passed(f"an INVITE of {len(bytes(invite))} octets is served", "RFC 3261 18.1.1")


def offerless(stage: Stage) -> Play[None]:
    """INVITE without an offer: the 200 has to bring one. Our answer takes none of it."""
    response = yield from stage.ask(stage.invite(None))
    if response.status_code in NOT_ACCEPTABLE:
        stage.stop(Verdict.NOT_SUPPORTED, line(response), "RFC 3261 13.2.1")
    if response.status_code >= 300:
        stage.stop(Verdict.WARNING, f"the call is refused: {line(response)}", "RFC 3261 13.3.1.3")
    reply = b""
    if response.body and (response.content_type or "").lower().startswith(SDP):
        try:
            reply = refusing(response.body, stage.setting.end.host, stage.number())
            stage.passed("the 200 brings an offer", "RFC 3261 13.2.1")
        except SdpError as error:
            stage.failed(f"the offer in the 200 is no session description: {error}", "RFC 3261 13.2.1")
    else:
        stage.failed("the 200 brings no offer", "RFC 3261 13.2.1")
    yield from stage.ack(body=reply)
    yield from stage.until(lambda message: method_of(message) == "BYE", _FAREWELL)


def _try(
    stage: Stage, kind: OfferKind, *, keyed: bool = True, refusal_is_good: bool = False
) -> Play[Described | None]:
    """Offer this and hang up; gives what the answer says, None after a refusal, which is then a finding."""
    offer = yield from stage.offer(kind, keyed=keyed)
    response = yield from stage.ask(stage.invite(offer))
    if response.status_code >= 300:
        _refused(stage, response, refusal_is_good)
        return None
    answer = stage.described(offer, response)
    yield from stage.ack()
    for complaint in answer.complaints:
        stage.failed(complaint, "RFC 3264 6")
    if keyed and kind is not OfferKind.LARGE:
        stage.knowledge.media[kind.value] = answer.lines
    if answer.served and not answer.complaints and stage.knowledge.offer is None and keyed:
        stage.knowledge.offer = kind
    yield from stage.bye()
    return answer


def _refused(stage: Stage, response: SipResponse, good: bool) -> None:
    if response.status_code not in NOT_ACCEPTABLE:
        stage.warned(f"the call is refused: {line(response)}", "RFC 3261 13.3.1.3")
    elif good:
        stage.passed(f"declined: {line(response)}", "RFC 3261 21.4.26")
    else:
        stage.unsupported(line(response), "RFC 3261 21.4.26")
