"""The scenarios of the trunk test against trunks that keep the rules, and trunks that break one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiosipua import SipDigestAuth, SipRequest
from fake_trunk import ALLOW, END, TARGET, Answer, FakeTrunk, Handler, says, silent, try_case

from mrf_ue.sip_dialog import header_tag
from mrf_ue.trunk.actions import Message
from mrf_ue.trunk.cases import CASES
from mrf_ue.trunk.offers import OfferKind
from mrf_ue.trunk.setting import Knowledge, Setting
from mrf_ue.trunk.verdict import Verdict, worst

NOT_IN_A_PLAIN_TRUNK = {
    "rport": Verdict.NOT_RUN,
    "update-no-dialog": Verdict.PASS,
    "audio": Verdict.NOT_SUPPORTED,
    "bfcp-without-keys": Verdict.WARNING,
    "100rel-required": Verdict.NOT_SUPPORTED,
    "session-timer": Verdict.NOT_SUPPORTED,
    "session-timer-small": Verdict.NOT_SUPPORTED,
    "session-refresh": Verdict.NOT_SUPPORTED,
    "update": Verdict.NOT_SUPPORTED,
    "subscribe": Verdict.NOT_SUPPORTED,
    "subscribe-unknown": Verdict.NOT_SUPPORTED,
    "refer": Verdict.NOT_SUPPORTED,
}


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_a_plain_trunk_that_keeps_the_rules(name: str) -> None:
    trunk = FakeTrunk()
    stage = try_case(name, trunk)
    assert worst(stage.findings) is NOT_IN_A_PLAIN_TRUNK.get(name, Verdict.PASS), stage.findings
    assert not trunk.up  # every call was hung up


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_a_silent_trunk_fails_within_the_time_and_harms_nobody(name: str) -> None:
    trunk = FakeTrunk({"OPTIONS": silent, "INVITE": silent, "BYE": silent, "CANCEL": silent})
    for method in ("UNHEARDOF", "SUBSCRIBE", "UPDATE"):
        trunk.handlers[method] = silent
    stage = try_case(name, trunk)
    assert worst(stage.findings) in (Verdict.FAIL, Verdict.WARNING)
    assert stage.now <= 100.0 + stage.setting.seconds + 4.0 * 2
    if "INVITE" in trunk.methods():
        assert "CANCEL" in trunk.methods()


def ok_with(*headers: tuple[str, str]) -> Handler:
    """A plain trunk's answers to INVITE, with more header fields in the 200."""
    plain = FakeTrunk()

    def handle(request: SipRequest) -> list[Answer]:
        answers = plain._by_the_book(request)
        return [
            Answer(each.status, each.reason, headers, each.body) if each.status == 200 else each
            for each in answers
        ]

    return handle


def in_dialog(outside: Handler, inside: Handler) -> Handler:
    """One answer outside of dialogs, another one within."""
    return lambda request: (inside if header_tag(request, "To") else outside)(request)


PLAIN = FakeTrunk()

BROKEN: dict[str, tuple[str, dict[str, Handler], Verdict, str]] = {
    "OPTIONS is not known": ("options", {"OPTIONS": says(405)}, Verdict.FAIL, "every user agent"),
    "OPTIONS says nothing": ("options", {"OPTIONS": says(200)}, Verdict.WARNING, "no Allow"),
    "OPTIONS while busy": ("options", {"OPTIONS": says(486)}, Verdict.WARNING, "as it would answer"),
    "405 without Allow": ("unknown-method", {"UNHEARDOF": says(405)}, Verdict.FAIL, "no Allow"),
    "unknown method is served": ("unknown-method", {"UNHEARDOF": says(200)}, Verdict.FAIL, "405 is due"),
    "unknown method, 501": ("unknown-method", {"UNHEARDOF": says(501)}, Verdict.PASS, "501"),
    "Require is overlooked": ("unknown-require", {"OPTIONS": says(200)}, Verdict.FAIL, "420 is due"),
    "420 names nothing": (
        "unknown-require",
        {"OPTIONS": says(420)},
        Verdict.FAIL,
        "does not say in Unsupported",
    ),
    "any body is taken": ("unknown-body", {"INVITE": says(200)}, Verdict.FAIL, "cannot understand"),
    "415 without Accept": ("unknown-body", {"INVITE": says(415)}, Verdict.FAIL, "says in Accept"),
    "the last hop itself": ("max-forwards", {"OPTIONS": says(200)}, Verdict.PASS, "last hop itself"),
    "another hop anyway": ("max-forwards", {"OPTIONS": says(404)}, Verdict.FAIL, "483 is due"),
    "CSeq is overlooked": ("cseq-mismatch", {"OPTIONS": says(200)}, Verdict.FAIL, "must be that"),
    "any name is taken": ("unknown-user", {"INVITE": ok_with()}, Verdict.PASS, "404"),
    "no name, no reason": ("unknown-user", {"INVITE": says(403, "Forbidden")}, Verdict.WARNING, "404 would"),
    "BYE to nothing is taken": ("bye-no-dialog", {"BYE": says(200)}, Verdict.FAIL, "481 is due"),
    "CANCEL of nothing is taken": ("cancel-nothing", {"CANCEL": says(200)}, Verdict.FAIL, "481 is due"),
    "long headers are refused": (
        "long-headers",
        {"OPTIONS": says(513, "Message Too Large")},
        Verdict.PASS,
        "refused",
    ),
    "BFCP is not known": ("bfcp", {"INVITE": says(488)}, Verdict.NOT_SUPPORTED, "488"),
    "the caller is not known": ("bfcp", {"INVITE": says(403)}, Verdict.WARNING, "call is refused"),
    "keys are missed": ("bfcp-without-keys", {"INVITE": says(488)}, Verdict.PASS, "declined"),
    "200 without an offer": ("offerless", {"INVITE": says(200)}, Verdict.FAIL, "brings no offer"),
    "no late offers": ("offerless", {"INVITE": says(488)}, Verdict.NOT_SUPPORTED, "488"),
    "no session again": (
        "re-invite",
        {"INVITE": in_dialog(FakeTrunk()._by_the_book, says(488))},
        Verdict.FAIL,
        "changes nothing",
    ),
    "no hold": (
        "hold",
        {"INVITE": in_dialog(FakeTrunk()._by_the_book, says(488))},
        Verdict.NOT_SUPPORTED,
        "hold: 488",
    ),
    "UPDATE is announced, and refused": (
        "update",
        {"INVITE": ok_with(("Allow", f"{ALLOW}, UPDATE")), "UPDATE": says(405)},
        Verdict.FAIL,
        "says that UPDATE is allowed",
    ),
    "UPDATE": ("update", {"UPDATE": says(200)}, Verdict.PASS, "200"),
    "Session-Expires without refresher": (
        "session-timer",
        {"INVITE": ok_with(("Session-Expires", "1800"))},
        Verdict.FAIL,
        "names no refresher",
    ),
    "Session-Expires longer than asked": (
        "session-timer",
        {"INVITE": ok_with(("Session-Expires", "7200;refresher=uas"))},
        Verdict.FAIL,
        "longer",
    ),
    "the caller refreshes unasked": (
        "session-timer",
        {"INVITE": ok_with(("Session-Expires", "1800;refresher=uac"))},
        Verdict.FAIL,
        "does not require timer",
    ),
    "session timer": (
        "session-timer",
        {"INVITE": ok_with(("Session-Expires", "1800;refresher=uac"), ("Require", "timer"))},
        Verdict.PASS,
        "1800",
    ),
    "a tiny session timer is taken": (
        "session-timer-small",
        {"INVITE": ok_with(("Session-Expires", "20;refresher=uas"))},
        Verdict.WARNING,
        "422 is due",
    ),
    "422 without Min-SE": ("session-timer-small", {"INVITE": says(422)}, Verdict.FAIL, "Min-SE: none"),
    "refresh by re-INVITE": (
        "session-refresh",
        {"INVITE": ok_with(("Session-Expires", "1800;refresher=uac"), ("Require", "timer"))},
        Verdict.PASS,
        "refresh by INVITE",
    ),
    "old CSeq is served": (
        "wrong-cseq",
        {"INVITE": lambda request: [Answer(200, "OK", body=PLAIN.answer(request.body) or b"")]},
        Verdict.FAIL,
        "500 is due",
    ),
    "second BYE is taken": ("second-bye", {"BYE": says(200)}, Verdict.FAIL, "481 is due"),
    "another package": ("subscribe-unknown", {"SUBSCRIBE": says(489)}, Verdict.FAIL, "Allow-Events"),
    "no NOTIFY": ("subscribe", {"SUBSCRIBE": says(200, "OK", ("Expires", "60"))}, Verdict.FAIL, "no NOTIFY"),
    "REFER, and nothing more": ("refer", {"REFER": says(202)}, Verdict.FAIL, "no NOTIFY"),
    "REFER is forbidden": ("refer", {"REFER": says(403, "Forbidden")}, Verdict.PASS, "refused: 403"),
    "PRACK": (
        "100rel-required",
        {
            "INVITE": lambda request: [
                Answer(180, "Ringing", (("Require", "100rel"), ("RSeq", "7"))),
                Answer(200, "OK", body=PLAIN.answer(request.body) or b"", after=0.5),
            ],
            "PRACK": says(200, "OK"),
        },
        Verdict.PASS,
        "1 reliable provisional",
    ),
    "ringing is not reliable": (
        "100rel-supported",
        {
            "INVITE": lambda request: [
                Answer(180, "Ringing"),
                Answer(200, "OK", body=PLAIN.answer(request.body) or b"", after=0.5),
            ]
        },
        Verdict.NOT_SUPPORTED,
        "no provisional response",
    ),
    "100rel is required and forgotten": (
        "100rel-required",
        {
            "INVITE": lambda request: [
                Answer(180, "Ringing"),
                Answer(200, "OK", body=PLAIN.answer(request.body) or b"", after=0.5),
            ]
        },
        Verdict.FAIL,
        "not sent reliably",
    ),
    "CANCEL is answered, the INVITE goes on": (
        "cancel",
        {"INVITE": lambda _: [Answer(180, "Ringing")], "CANCEL": says(200)},
        Verdict.FAIL,
        "no final response after CANCEL",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_breaks_a_rule_is_seen(fault: str) -> None:
    name, handlers, verdict, words = BROKEN[fault]
    stage = try_case(name, FakeTrunk(dict(handlers)), knowledge=Knowledge(offer=OfferKind.BFCP))
    assert worst(stage.findings) is verdict, stage.findings
    assert any(words in finding.text for finding in stage.findings), stage.findings
    assert all(finding.clause for finding in stage.findings if finding.verdict is Verdict.FAIL)


def test_a_200_that_is_not_repeated() -> None:
    stage = try_case("lost-ack", FakeTrunk(repeats=()))
    assert worst(stage.findings) is Verdict.FAIL
    stage = try_case("lost-ack", FakeTrunk(repeats=(0.5,)))
    assert worst(stage.findings) is Verdict.WARNING
    stage = try_case("lost-ack", FakeTrunk())
    assert "450, 1000, 2000 ms" in stage.findings[0].text


def test_a_trunk_without_pong() -> None:
    stage = try_case("keep-alive", FakeTrunk(pong=False))
    assert worst(stage.findings) is Verdict.NOT_SUPPORTED


def test_an_answer_that_does_not_fit_the_offer() -> None:
    trunk = FakeTrunk()
    fitting = trunk.answer
    trunk.answer = lambda offer: (fitting(offer) or b"").partition(b"m=video")[0]  # type: ignore[method-assign]
    stage = try_case("everything", trunk)
    assert worst(stage.findings) is Verdict.FAIL
    assert "1 m-lines answer 3" in stage.findings[0].text


def test_codecs_of_the_answer_are_told() -> None:
    knowledge = Knowledge()
    stage = try_case("audio", FakeTrunk(takes=frozenset({"audio"})), knowledge=knowledge)
    assert worst(stage.findings) is Verdict.PASS
    assert knowledge.media["audio"] == (
        "audio RTP/AVP: PCMA/8000, PCMU/8000, G722/8000, telephone-event/8000",
    )
    assert knowledge.offer is OfferKind.AUDIO


def test_calls_come_up_by_the_offer_that_is_taken() -> None:
    knowledge = Knowledge()
    trunk = FakeTrunk(takes=frozenset({"audio"}))
    stage = try_case("re-invite", trunk, knowledge=knowledge)
    assert worst(stage.findings) is Verdict.PASS
    assert knowledge.offer is OfferKind.EVERYTHING
    assert trunk.methods() == ["INVITE", "INVITE", "ACK", "INVITE", "ACK", "BYE"]


def challenged(request: SipRequest) -> list[Answer]:
    """Wants credentials."""
    if request.get_header("Authorization"):
        return PLAIN._by_the_book(request)
    return [
        Answer(401, "Unauthorized", (("WWW-Authenticate", 'Digest realm="trunk", nonce="n", qop="auth"'),))
    ]


def test_a_challenge_is_answered_once() -> None:
    login = SipDigestAuth("kit", "secret")
    setting = Setting(TARGET, "sip:kit@ue.example", END, reliable=True, login=login)
    trunk = FakeTrunk({"OPTIONS": challenged})
    stage = try_case("options", trunk, setting)
    assert worst(stage.findings) is Verdict.PASS
    assert [each.get_header("CSeq") for each in trunk.seen] == ["1 OPTIONS", "2 OPTIONS"]
    assert "secret" not in repr(setting)


@pytest.mark.parametrize("login", [None, SipDigestAuth("kit", "wrong")])
def test_credentials_that_do_not_help_make_no_verdict(login: SipDigestAuth | None) -> None:
    setting = Setting(TARGET, "sip:kit@ue.example", END, reliable=True, login=login)
    refused = says(401, "Unauthorized", ("WWW-Authenticate", 'Digest realm="trunk", nonce="n"'))
    stage = try_case("options", FakeTrunk({"OPTIONS": refused}), setting)
    assert worst(stage.findings) is Verdict.NOT_RUN


def test_without_a_ticket_nothing_is_said_of_the_trunk() -> None:
    setting = Setting(TARGET, "sip:kit@ue.example", END, reliable=True, keyed=True)
    trunk = FakeTrunk()
    stage = try_case("bfcp", trunk, setting)
    assert worst(stage.findings) is Verdict.NOT_RUN
    assert trunk.seen == []


class Notifying(FakeTrunk):
    """A trunk with events: NOTIFY follows each SUBSCRIBE and REFER; `strangers` is what it tells who is in no call."""

    strangers = 200
    last = "terminated;reason=timeout"

    def receive(self, message: Message) -> Iterator[tuple[float, Message]]:
        if not isinstance(message, SipRequest) or message.method not in ("SUBSCRIBE", "REFER"):
            yield from super().receive(message)
            return
        status = 200 if self.up else self.strangers
        ends = message.method == "REFER" or message.get_header("Expires") == "0"
        expires = message.get_header("Expires") or "60"
        yield 0.01, self.respond(message, Answer(status, "OK", (("Expires", expires),)))
        if status == 200:
            yield 0.02, self.notify(message, "active")
            if ends:
                yield 0.03, self.notify(message, self.last)

    def notify(self, request: SipRequest, state: str) -> SipRequest:
        made = SipRequest(method="NOTIFY", uri="sip:kit@192.0.2.1:5070")
        made.set_header("Via", f"SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK{len(self.seen)}{state[:3]}")
        made.set_header("From", f"{request.get_header('To')};tag=trunk-{request.call_id}")
        made.set_header("To", request.get_header("From") or "")
        made.set_header("Call-ID", request.call_id or "")
        made.set_header("CSeq", "1 NOTIFY")
        made.set_header("Subscription-State", state)
        made.set_header("Content-Type", "message/sipfrag")
        made.body = b"SIP/2.0 486 Busy Here\r\n"
        return made


@pytest.mark.parametrize("strangers", [200, 403])
def test_a_subscription_and_its_end(strangers: int) -> None:
    trunk = Notifying()
    trunk.strangers = strangers
    stage = try_case("subscribe", trunk)
    assert worst(stage.findings) is Verdict.PASS, stage.findings
    assert any(finding.text.startswith("NOTIFY: active") for finding in stage.findings)
    assert not trunk.up
    answered = [each for each in trunk.seen if not isinstance(each, SipRequest)]
    assert {each.status_code for each in answered} == {200}


def test_a_subscription_without_an_end() -> None:
    trunk = Notifying()
    trunk.last = "active"
    stage = try_case("subscribe", trunk)
    assert worst(stage.findings) is Verdict.FAIL
    assert "terminated" in stage.findings[-1].text


def test_a_referral_is_followed_to_its_end() -> None:
    trunk = Notifying()
    stage = try_case("refer", trunk)
    assert worst(stage.findings) is Verdict.PASS
    assert "SIP/2.0 486 Busy Here; we were not called" in stage.findings[-1].text
