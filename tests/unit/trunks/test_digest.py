"""Digest authentication: known answers, both sides against each other, and values that are none."""

from __future__ import annotations

import hashlib

import pytest

from mrfc.trunks import users
from mrfc.trunks.digest import (
    Algorithm,
    Challenge,
    Credentials,
    DigestError,
    Login,
    Nonces,
    best,
    ha1,
    parameters,
)

URI = "sip:conf@conf.example"


def test_the_example_of_rfc_7616() -> None:
    """RFC 7616 3.9.1: the same client, nonce and counts with both algorithms."""
    name, realm, password = "Mufasa", "http-auth@example.org", "Circle of Life"
    nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    for algorithm, response in (
        (Algorithm.MD5, "8ca523f5e9506fed4657c9700eebdbec"),
        (Algorithm.SHA_256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ):
        answer = Login(name, password).answer(
            Challenge(realm, nonce, algorithm), "GET", "/dir/index.html", 1, cnonce
        )
        assert parameters(answer)["response"] == response
        assert Credentials.parse(answer).proves(ha1(algorithm, name, realm, password), "GET")


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_what_a_login_answers_is_proven_for_this_request_alone(algorithm: Algorithm) -> None:
    challenge = Challenge.parse(Challenge('a "b" \\c', "n1", algorithm).header())
    answer = Login('al"ice', "secret").answer(challenge, "INVITE", URI, 7, "c1")
    credentials = Credentials.parse(answer)
    known = ha1(algorithm, 'al"ice', 'a "b" \\c', "secret")
    assert (credentials.username, credentials.realm, credentials.count) == ('al"ice', 'a "b" \\c', 7)
    assert credentials.proves(known, "INVITE")
    assert not credentials.proves(known, "BYE")
    assert not credentials.proves(ha1(algorithm, 'al"ice', 'a "b" \\c', "another"), "INVITE")
    assert not Credentials.parse(answer.replace(URI, URI + "x")).proves(known, "INVITE")


def test_a_server_of_rfc_2069_is_answered_without_counts() -> None:
    challenge = Challenge.parse('Digest realm="r", nonce="n"')
    fields = parameters(Login("u", "p").answer(challenge, "INVITE", URI, 1, "c"))
    inner = ":".join(hashlib.md5(part.encode()).hexdigest() for part in ("u:r:p", f"INVITE:{URI}"))
    first, second = inner.split(":")
    assert fields["response"] == hashlib.md5(f"{first}:n:{second}".encode()).hexdigest()
    assert "nc" not in fields


def test_the_first_challenge_that_can_be_answered_counts() -> None:
    values = [
        'Digest realm="r", nonce="1", algorithm=SHA-512-256, qop="auth"',
        'Digest realm="r", nonce="2", algorithm=MD5, qop="auth-int"',
        'Digest realm="r", nonce="3", algorithm=sha-256, qop="auth,auth-int", opaque="o"',
        'Digest realm="r", nonce="4", qop="auth"',
    ]
    assert best(values) == Challenge("r", "3", Algorithm.SHA_256, "o")
    with pytest.raises(DigestError):
        best(values[:2])
    with pytest.raises(DigestError):
        best([])


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Basic dTpw",
        "Digest",
        "Digest username",
        'Digest username="u',
        'Digest username="u", username="v"',
        'Digest username="u", realm="r", nonce="n", uri="sip:a", response="x", cnonce="c", nc=1, qop=auth',
        'Digest username="u", realm="r", nonce="n", uri="sip:a", response="x"',
        'Digest username="u", realm="r", nonce="n", uri="a", response="x", cnonce="c", nc=00000001, qop=auth-int',
        'Digest username="' + "u" * 3000 + '"',
    ],
)
def test_what_is_no_authorization(value: str) -> None:
    with pytest.raises(DigestError):
        Credentials.parse(value)


def test_nonces_are_ours_for_one_realm_and_some_time() -> None:
    nonces = Nonces(b"secret", 300)
    nonce = nonces.new("a", 1000.0, "5e55")
    assert nonces.ours(nonce, "a")
    assert nonces.fresh(nonce, 1300.0)
    assert not nonces.fresh(nonce, 1301.0)
    assert not nonces.ours(nonce, "b")
    assert not Nonces(b"another", 300).ours(nonce, "a")
    assert not nonces.ours(nonce[1:], "a")
    for nobodys in ("", ".", "..", "zz.1.2", "\u00e4.1.2"):
        assert not nonces.ours(nobodys, "a")


def test_users_of_a_file() -> None:
    md5, sha = ha1(Algorithm.MD5, "pbx", "r", "p"), ha1(Algorithm.SHA_256, "pbx", "r", "p")
    assert users.parse(f"# ours\n\npbx:r:{md5.upper()}\npbx:r:{sha}\n") == {
        ("pbx", "r", Algorithm.MD5): md5,
        ("pbx", "r", Algorithm.SHA_256): sha,
    }


@pytest.mark.parametrize(
    "text", ["", "# nobody", "pbx", "pbx:r", "pbx:r:secret", "a b:r:" + "0" * 32, "pbx:r:" + "0" * 40]
)
def test_what_is_no_file_of_users(text: str) -> None:
    with pytest.raises(ValueError, match="users_file") as refused:
        users.parse(text)
    assert "secret" not in str(refused.value)
