"""A subscription of the UE with explicit time, and what it shows of the documents that it gets."""

from __future__ import annotations

import itertools

from aiosipua import SipRequest, SipResponse

from mrf_protocols.conference_info import (
    DisconnectionMethod,
    Endpoint,
    EndpointStatus,
    FloorControl,
    Media,
    User,
)
from mrf_ue.roster import differences
from mrf_ue.sip_dialog import LocalEnd, new_response
from mrf_ue.sip_subscription import EXPIRES, Ended, Output, Subscription, Told
from mrf_ue.sip_transactions import Send

URI = "sip:meeting@conf.example"
END = LocalEnd("sip:alice@ue.example", "192.0.2.1", 5060, "udp")


def subscription() -> Subscription:
    numbers = itertools.count(1)
    return Subscription(URI, END, "call", lambda: f"token{next(numbers)}", reliable=False)


def sent(outputs: list[Output]) -> SipRequest:
    """The only request in them."""
    [request] = [each.message for each in outputs if isinstance(each, Send)]
    assert isinstance(request, SipRequest)
    return request


def answered(outputs: list[Output]) -> int:
    """The status of the only response in them."""
    [response] = [each.message for each in outputs if isinstance(each, Send)]
    assert isinstance(response, SipResponse)
    return response.status_code


def accept(request: SipRequest, expires: int = 100, status: int = 200) -> SipResponse:
    response = new_response(request, status, "X", to_tag="focus", contact="<sip:meeting@192.0.2.7>")
    response.set_header("Expires", str(expires))
    return response


def notify(
    subscribe: SipRequest, cseq: int, body: str = "<a/>", state: str = "active", tag: str = "focus"
) -> SipRequest:
    request = SipRequest(method="NOTIFY", uri="sip:alice@192.0.2.1")
    request.add_header("Via", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKn")
    request.set_header("From", f"<{URI}>;tag={tag}")
    request.set_header("To", subscribe.get_header("From") or "")
    request.set_header("Call-ID", "call")
    request.set_header("CSeq", f"{cseq} NOTIFY")
    request.set_header("Contact", "<sip:meeting@192.0.2.7>")
    request.set_header("Subscription-State", state)
    request.body = body.encode()
    return request


def test_from_subscribe_to_the_end() -> None:
    machine = subscription()
    first = sent(machine.subscribe(0.0))
    assert (first.method, first.uri) == ("SUBSCRIBE", URI)
    assert (first.get_header("Event"), first.get_header("Expires")) == ("conference", str(EXPIRES))
    assert machine.receive(accept(first), 0.1) == []
    told = machine.receive(notify(first, 1), 0.2)
    assert answered(told) == 200
    assert Told("<a/>") in told
    refresh = sent(machine.tick(50.1))
    assert refresh.uri == "sip:meeting@192.0.2.7"
    assert ";tag=focus" in (refresh.get_header("To") or "")
    machine.receive(accept(refresh), 50.2)
    last = sent(machine.unsubscribe(60.0))
    assert last.get_header("Expires") == "0"
    assert machine.unsubscribe(60.1) == []
    machine.receive(accept(last, 0), 60.1)
    ended = machine.receive(notify(first, 2, "", "terminated;reason=timeout"), 60.2)
    assert Ended("timeout") in ended
    assert answered(machine.receive(notify(first, 3), 60.3)) == 481


def test_a_notify_before_the_200() -> None:
    machine = subscription()
    first = sent(machine.subscribe(0.0))
    assert Told("<a/>") in machine.receive(notify(first, 1), 0.1)
    machine.receive(accept(first), 0.2)
    assert sent(machine.subscribe(1.0)).uri == "sip:meeting@192.0.2.7"


def test_what_is_not_for_us() -> None:
    machine = subscription()
    first = sent(machine.subscribe(0.0))
    machine.receive(accept(first), 0.1)
    assert answered(machine.receive(notify(first, 1, tag="other"), 0.2)) == 481
    assert answered(machine.receive(notify(first, 5), 0.3)) == 200
    assert answered(machine.receive(notify(first, 5), 0.4)) == 500


def test_refused_and_silent() -> None:
    refused = subscription()
    first = sent(refused.subscribe(0.0))
    assert refused.receive(accept(first, status=403), 0.1) == [Ended("SUBSCRIBE: 403 X")]
    silent = subscription()
    silent.subscribe(0.0)
    repeated: list[Output] = []
    while (deadline := silent.next_deadline()) is not None:
        repeated += silent.tick(deadline)
    assert repeated[-1] == Ended("no response to SUBSCRIBE")
    assert len(repeated) > 5
    assert silent.ended


def person(
    status: EndpointStatus, holds: tuple[int, ...] = (), method: DisconnectionMethod | None = None
) -> User:
    media = (Media("bfcp", "application", "", FloorControl(1, holds)),)
    endpoint = Endpoint("e", status, disconnection_method=method, media=media)
    return User("sip:a@x", "Alice", (), (endpoint,))


def test_what_is_shown() -> None:
    here, gone = EndpointStatus.CONNECTED, EndpointStatus.DISCONNECTED
    nobody: dict[str, User] = {}
    alone = {"sip:a@x": person(here)}
    speaks = {"sip:a@x": person(here, (1, 2))}
    left = {"sip:a@x": person(gone, method=DisconnectionMethod.BOOTED)}
    assert list(differences(nobody, alone)) == ["+ Alice <sip:a@x>"]
    assert list(differences(alone, speaks)) == ["  Alice <sip:a@x>: holds floor 1, 2"]
    assert list(differences(speaks, alone)) == ["  Alice <sip:a@x> has no floor"]
    assert list(differences(speaks, left)) == ["- Alice <sip:a@x> (booted)"]
    assert list(differences(left, nobody)) == []
    assert list(differences(alone, nobody)) == ["- Alice <sip:a@x>"]
    assert list(differences(alone, alone)) == []
