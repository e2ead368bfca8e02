"""Who a participant is: what trusted neighbours assert, what others say, and what nobody is to know."""

from __future__ import annotations

import pytest

from mrfc import jobs
from mrfc.sip import charging
from mrfc.sip.identity import Identities, is_trusted, networks

TRUSTED = networks(["192.0.2.0/28", "2001:db8::/32"])
ALICE, PROXY = "sip:alice@ue.example", "192.0.2.5"


def job(from_uri: str = ALICE, source: str = PROXY, display: str = "", **headers: str) -> jobs.InviteJob:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return jobs.InviteJob(
        jobs.TransactionId(1, 1), jobs.DialogId("c", "l", "r"), 1, "sip:m@x", from_uri, "sip:m@x", "", (), "", "",
        False, "", fields, source, display,
    )  # fmt: skip


def test_without_more_it_is_from() -> None:
    found = Identities(TRUSTED).of(job(display='"Alice \\"A\\" \x07"'))
    assert (found.uri, found.display, found.anonymous, found.asserted) == (ALICE, 'Alice "A"', False, False)
    assert found.shown_uri(3) == ALICE


@pytest.mark.parametrize(
    ("value", "uri", "display"),
    [
        ('"Al, ice" <sip:al@home.example>', "sip:al@home.example", "Al, ice"),
        ("<tel:+4930>, <sip:al@home.example>", "sip:al@home.example", ""),
        ("sip:al@home.example", "sip:al@home.example", ""),
        ("<tel:+4930>", ALICE, ""),
        ("<<<", ALICE, ""),
        ("", ALICE, ""),
    ],
)
def test_what_a_trusted_neighbour_asserts(value: str, uri: str, display: str) -> None:
    found = Identities(TRUSTED).of(job(p_asserted_identity=value))
    assert (found.uri, found.display, found.asserted) == (uri, display, uri != ALICE)


@pytest.mark.parametrize("source", ["198.51.100.1", "", "nonsense", "2001:db9::1"])
def test_what_others_assert_counts_nothing(source: str) -> None:
    found = Identities(TRUSTED).of(job(source=source, p_asserted_identity="<sip:ceo@home.example>"))
    assert (found.uri, found.asserted) == (ALICE, False)


def test_trust() -> None:
    assert is_trusted("[2001:db8::7]", TRUSTED)
    assert not is_trusted("192.0.2.16", TRUSTED)
    assert not is_trusted(PROXY, ())


@pytest.mark.parametrize(
    ("privacy", "anonymous"),
    [
        ("id", True),
        ("critical; ID", True),
        ("user,none", True),
        ("header", True),
        ("none", False),
        ("session", False),
    ],
)
def test_privacy(privacy: str, anonymous: bool) -> None:
    found = Identities().of(job(display="Alice", privacy=privacy))
    assert found.anonymous is anonymous
    if anonymous:
        assert found.shown_uri(7) == found.operators_uri(7) == "sip:anonymous-7@anonymous.invalid"
        assert found.shown_display(7) == "Anonymous 7"
    told = Identities(operators_know=True).of(job(privacy=privacy))
    assert told.operators_uri(7) == ALICE


def test_an_anonymous_from_hides_what_is_asserted() -> None:
    asserted = job("sip:anonymous@anonymous.invalid", p_asserted_identity=f"<{ALICE}>")
    found = Identities(TRUSTED).of(asserted)
    assert (found.uri, found.anonymous) == (ALICE, True)


def test_who_answers_anonymously() -> None:
    response = jobs.ResponseJob(
        jobs.DialogId("c", "l", "r"), "INVITE", 1, 200, "OK", headers=(("privacy", "id"),)
    )
    found = Identities().of_callee(response, ALICE)
    assert (found.uri, found.anonymous) == (ALICE, True)


@pytest.mark.parametrize(
    ("values", "vector", "icid"),
    [
        (["icid-value=abc;icid-generated-at=192.0.2.1"], "icid-value=abc;icid-generated-at=192.0.2.1", "abc"),
        (['ICID-Value = "a b" ;orig-ioi=x'], 'ICID-Value = "a b" ;orig-ioi=x', "a b"),
        (["orig-ioi=x"], "", ""),
        (["icid-value=a", "icid-value=b"], "", ""),
        (["icid-value=" + "a" * 600], "", ""),
        (["icid-value=a\x00b"], "", ""),
        ([], "", ""),
    ],
)
def test_charging_vectors(values: list[str], vector: str, icid: str) -> None:
    found = charging.received(values)
    assert (found, charging.icid(found)) == (vector, icid)


def test_a_charging_vector_of_our_own() -> None:
    made = charging.made("conf.example", lambda count: "ab" * count)
    assert made == f"icid-value={'ab' * 16};icid-generated-at=conf.example"
    assert charging.received([made]) == made
