"""Requests of ours through trunks: the way they take, challenges, and CSeq numbers on both sides of them."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from mrf_ops.config import Secret
from mrfc import jobs
from mrfc.config import Contacts, Sip
from mrfc.sip.port import OutgoingRequest, Response
from mrfc.trunks import paths
from mrfc.trunks.digest import Algorithm, Challenge, Credentials, ha1
from mrfc.trunks.outgoing import SWEEP, Outgoing
from mrfc.trunks.settings import Trunk

SIP = Sip(
    "conf.example", "conf.example:5060", contacts=Contacts(tls="conf.example:5061", udp6="[2001:db8::5]")
)
CALLEE = "sip:bob@carrier.example"
HOP = "sip:sbc.carrier.example;transport=tls"


class Kamailio:
    """The port below."""

    def __init__(self) -> None:
        self.sent: list[OutgoingRequest] = []
        self.cancelled: list[tuple[str, int]] = []
        self.renewals = 0

    def answer(self, transaction: jobs.TransactionId, response: Response) -> bool:
        return True

    def send(self, request: OutgoingRequest) -> bool:
        self.sent.append(request)
        return True

    def cancel(self, call_id: str, cseq: int, status: int) -> bool:
        self.cancelled.append((call_id, cseq))
        return True

    def provisional(self, transaction: jobs.TransactionId, response: Response) -> bool:
        return True

    def publish(self, event: str) -> bool:
        return True

    def counted(self, trunk: str, result: str) -> int:
        return 7

    def renewed(self) -> None:
        self.renewals += 1


class World:
    """A port in front of it, and what a trunk would see."""

    def __init__(self, *trunks: Trunk) -> None:
        self.kamailio = Kamailio()
        self.standing = {("c1", "f1")}
        randoms = itertools.count(1)
        self.port = Outgoing(
            self.kamailio, SIP, trunks, self.standing.__contains__, lambda: f"{next(randoms):x}"
        )

    def send(
        self, method: str, cseq: int, *more: tuple[str, str], to_tag: str = "", uri: str = CALLEE
    ) -> None:
        to = f"<{uri}>" + (f";tag={to_tag}" if to_tag else "")
        fields = (
            ("From", "<sip:m@conf.example>;tag=f1"),
            ("To", to),
            ("Call-ID", "c1"),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", "<sip:m@conf.example:5060>;isfocus"),
            *more,
        )
        assert self.port.send(OutgoingRequest(method, uri, "", fields))

    @property
    def last(self) -> dict[str, str]:
        """The fields of the last request on the wire."""
        return dict(self.kamailio.sent[-1].headers)

    def respond(self, status: int, cseq: int, *fields: tuple[str, str], method: str = "INVITE") -> int | None:
        """The CSeq number with which the focus sees a response, None when it does not."""
        dialog = jobs.DialogId("c1", "f1", "t1")
        seen = self.port.on_response(jobs.ResponseJob(dialog, method, cseq, status, "R", headers=fields))
        return None if seen is None else seen.cseq

    def hear(
        self, status: int, cseq: int, *names: str, method: str = "INVITE", by: str = "tls"
    ) -> tuple[int, str] | None:
        """Status and body with which the focus sees a response of who has a certificate with these names."""
        job = jobs.ResponseJob(
            jobs.DialogId("c1", "f1", "t1"),
            method,
            cseq,
            status,
            "R",
            body="b",
            transport=by,
            certified=names,
        )
        seen = self.port.on_response(job)
        return None if seen is None else (seen.status, seen.body)


def trunk(name: str = "a", **more: object) -> Trunk:
    values: dict[str, object] = {
        "networks": ["192.0.2.0/24"],
        "callees": ["sip:*@carrier.example"],
        "next_hop": HOP,
        "username": "mrfc",
        "password_file": Secret(b"secret"),
        **more,
    }
    return msgspec.convert({"name": name, **values}, Trunk, dec_hook=lambda _, value: value)


def challenge(nonce: str, *, stale: bool = False, proxy: bool = False) -> tuple[str, str]:
    name = "proxy-authenticate" if proxy else "www-authenticate"
    return name, Challenge("r", nonce, Algorithm.SHA_256, stale=stale).header()


def proven(value: str, method: str, nonce: str, count: int) -> bool:
    found = Credentials.parse(value)
    return found.proves(ha1(Algorithm.SHA_256, "mrfc", "r", "secret"), method) and (
        found.nonce,
        found.count,
        found.uri,
    ) == (nonce, count, CALLEE)


def test_a_trunk_is_chosen_by_whom_we_call() -> None:
    world = World(trunk("a", callees=["sip:*@other.example"], next_hop="sip:192.0.2.9"), trunk("b"))
    world.send("INVITE", 1)
    assert world.kamailio.sent[-1].next_hop == HOP
    assert world.last["Contact"] == "<sip:m@conf.example:5061;transport=tls>;isfocus"
    stranger = World(trunk("b"))
    stranger.send("INVITE", 1, uri="sip:bob@elsewhere.example")
    assert stranger.kamailio.sent[-1].next_hop == ""
    assert stranger.last["Contact"] == "<sip:m@conf.example:5060>;isfocus"
    assert stranger.respond(401, 1, challenge("n")) == 1, (
        "whom we call directly gets no answer to a challenge"
    )


def test_a_challenge_is_answered_and_the_focus_sees_its_own_numbers() -> None:
    world = World(trunk())
    world.send("INVITE", 1)
    assert world.respond(100, 1) == 1
    assert world.respond(401, 1, challenge("n1")) is None
    assert world.last["CSeq"] == "2 INVITE"
    assert proven(world.last["Authorization"], "INVITE", "n1", 1)
    assert world.kamailio.sent[-1].next_hop == HOP
    assert world.respond(401, 1, challenge("n1")) is None, "a retransmission"
    assert world.respond(180, 2) == 1
    assert world.respond(200, 2) == 1
    world.send("BYE", 2, to_tag="t1")
    assert world.last["CSeq"] == "3 BYE"
    assert world.kamailio.sent[-1].next_hop == "", "requests in a dialog go where the dialog says"
    assert proven(world.last["Authorization"], "BYE", "n1", 2)
    assert world.respond(200, 3, method="BYE") == 2


def test_proxy_and_server_may_both_ask() -> None:
    world = World(trunk())
    world.send("INVITE", 1)
    assert world.respond(407, 1, challenge("n1", proxy=True)) is None
    assert world.respond(401, 2, challenge("n2")) is None
    assert world.last["CSeq"] == "3 INVITE"
    assert proven(world.last["Proxy-Authorization"], "INVITE", "n1", 2)
    assert proven(world.last["Authorization"], "INVITE", "n2", 1)
    assert world.respond(200, 3) == 1


def test_wrong_passwords_end_after_one_attempt() -> None:
    world = World(trunk())
    world.send("INVITE", 1)
    assert world.respond(401, 1, challenge("n1")) is None
    assert world.respond(401, 2, challenge("n2")) == 1
    assert len(world.kamailio.sent) == 2


def test_an_old_nonce_is_replaced_but_not_for_ever() -> None:
    world = World(trunk())
    world.send("INVITE", 1)
    answered = [world.respond(401, number, challenge(f"n{number}", stale=True)) for number in range(1, 6)]
    assert answered[:4] == [None, None, None, 1]


def test_challenges_that_cannot_be_answered_reach_the_focus() -> None:
    world = World(trunk())
    world.send("INVITE", 1)
    assert world.respond(401, 1) == 1
    assert world.respond(401, 1, ("www-authenticate", 'Digest realm="r", nonce="n", algorithm=X')) == 1
    assert World(trunk(username="", password_file=None)).respond(401, 1, challenge("n")) == 1


def test_a_cancelled_invite_is_not_sent_again() -> None:
    world = World(trunk())
    world.send("INVITE", 1)
    assert world.respond(407, 1, challenge("n1", proxy=True)) is None
    assert world.port.cancel("c1", 1, 408)
    assert world.kamailio.cancelled == [("c1", 2)]
    assert world.respond(407, 2, challenge("n2", stale=True, proxy=True)) == 1
    assert world.port.cancel("nobodys", 4, 408)
    assert world.kamailio.cancelled[-1] == ("nobodys", 4)


def test_prack_names_the_invite_by_its_number_on_the_wire() -> None:
    world = World(trunk())
    world.send("INVITE", 1)
    world.respond(401, 1, challenge("n1"))
    world.send("PRACK", 2, ("RAck", "77 1 INVITE"), to_tag="t1")
    assert (world.last["CSeq"], world.last["RAck"]) == ("3 PRACK", "77 2 INVITE")


def test_legs_of_ended_calls_are_thrown_away() -> None:
    world = World(trunk())
    for number in range(3 * SWEEP):
        sender = f"<sip:m@conf.example>;tag={number}"
        fields = (("From", sender), ("To", "<sip:b@x>"), ("Call-ID", "c"), ("CSeq", "1 INVITE"))
        world.port.send(OutgoingRequest("INVITE", CALLEE, "", fields))
    assert len(world.port._legs) <= SWEEP


@pytest.mark.parametrize(
    ("names", "by", "seen"),
    [
        (("sbc.carrier.example",), "tls", (200, "b")),
        (("sip:sbc.carrier.example", "x"), "tls", (200, "b")),
        (("sip:carrier.example",), "tls", (200, "b")),
        (("carrier.example",), "tls", (503, "")),
        (("sbc.carrier.example.evil.example",), "tls", (503, "")),
        ((), "tls", (503, "")),
        (("sbc.carrier.example",), "udp", (503, "")),
    ],
)
def test_the_server_of_a_trunk_is_named_by_its_certificate(
    names: tuple[str, ...], by: str, seen: tuple[int, str]
) -> None:
    """By one of the subjects of the trunk, or the host of next_hop."""
    world = World(trunk(transports=["tls"], subjects=["sip:Carrier.example"]))
    told: list[str] = []
    world.port.on_impostor = told.append
    world.send("INVITE", 1)
    assert world.hear(200, 1, *names, by=by) == seen
    assert told == (["a"] if seen[0] == 503 else [])


def test_an_impostor_gets_no_proof_of_ours_and_is_heard_once() -> None:
    world = World(trunk())
    world.send("INVITE", 1)
    assert world.hear(180, 1, "other.example") == (503, "")
    assert world.kamailio.cancelled == [("c1", 1)]
    assert world.hear(200, 1, "other.example") is None
    again = World(trunk())
    again.send("INVITE", 1)
    job = jobs.ResponseJob(
        jobs.DialogId("c1", "f1", "t1"), "INVITE", 1, 401, "R", headers=(challenge("n1"),), transport="tls"
    )
    assert (answered := again.port.on_response(job)) is not None
    assert (answered.status, len(again.kamailio.sent)) == (503, 1)


def test_the_server_of_a_call_without_a_trunk_is_named_by_its_certificate() -> None:
    world = World()
    world.send("INVITE", 1, uri="sip:bob@[2001:DB8:0::7]:5061;transport=tls")
    assert world.hear(180, 1, "2001:db8::7") == (180, "b")
    world.send("UPDATE", 2, to_tag="t1", uri="sip:bob@other.example;transport=tls")
    assert world.hear(200, 2, "other.example", method="UPDATE") == (200, "b"), "he said himself where he is"
    world.send("UPDATE", 3, to_tag="t1", uri="sip:bob@192.0.2.1")
    assert world.hear(200, 3, method="UPDATE", by="udp") == (200, "b")
    world.send("BYE", 4, to_tag="t1", uri="sip:bob@other.example;transport=tls")
    assert world.hear(200, 4, "elsewhere.example", method="BYE") == (503, "")


def test_names_that_nobody_wants_to_see() -> None:
    world = World(trunk())
    world.port = Outgoing(world.kamailio, SIP, [trunk()], lambda _: True, lambda: "1", verify=False)
    world.send("INVITE", 1)
    assert world.hear(200, 1, "elsewhere.example") == (200, "b")


def test_other_trunks_hold_for_calls_to_come() -> None:
    world = World(trunk())
    world.send("INVITE", 1)
    world.port.take_over([], verify=True)
    assert world.kamailio.renewals == 1
    assert world.respond(401, 1, challenge("n1")) is None, "a call keeps the trunk that it has"
    other = World(trunk())
    other.port.take_over([], verify=True)
    other.send("INVITE", 1)
    assert other.kamailio.sent[-1].next_hop == ""


def test_what_else_the_port_does_is_handed_on() -> None:
    port = World(trunk()).port
    assert port.answer(jobs.TransactionId(1, 2), Response(200, "OK"))
    assert port.publish("{}")
    assert port.counted("a", "served") == 7


@pytest.mark.parametrize(
    ("uri", "name", "contact"),
    [
        ("sip:bob@192.0.2.1", "udp", "conf.example:5060"),
        ("sip:[2001:db8::1]:5070", "udp6", "[2001:db8::5]"),
        ("sip:bob@host;transport=TCP", "tcp", "conf.example:5060;transport=tcp"),
        ("sip:bob@[2001:db8::1];transport=tcp", "tcp6", "conf.example:5060;transport=tcp"),
        ("sip:host;transport=tls;lr", "tls", "conf.example:5061;transport=tls"),
        ("sips:bob@host", "tls", "conf.example:5061;transport=tls"),
    ],
)
def test_paths(uri: str, name: str, contact: str) -> None:
    path = paths.of_uri(uri)
    assert (path.name, paths.contact(SIP, path)) == (name, contact)


def test_all_our_addresses() -> None:
    assert paths.own_addresses(SIP) == {"conf.example:5060", "conf.example:5061", "[2001:db8::5]"}
