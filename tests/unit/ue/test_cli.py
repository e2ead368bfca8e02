import ssl
from pathlib import Path

import pytest
from certificates import certify

from mrf_protocols.mikey import (
    DEFAULT_FLAGS,
    SUITE_128,
    SUITE_256,
    CertifiedAccount,
    KeyType,
    PolicyFlag,
    PskAccount,
    PskIdentityForm,
)
from mrf_protocols.sdp import Setup
from mrf_ue.cli import answer_options, dial_in_options, parser
from mrf_ue.options import TLS_POLICIES, DialInOptions, TicketMode, Timeouts

ALICE, KMS = certify("alice", 1), certify("kms", 3)


@pytest.fixture
def psk_file(tmp_path: Path) -> Path:
    path = tmp_path / "psk"
    path.write_text("00112233445566778899aabbccddeeff")
    path.chmod(0o600)
    return path


def options(psk_file: Path, *more: str, callee: str = "sip:conf@host.example") -> DialInOptions:
    least = ["dial-in", callee, "--identity", "sip:Alice@Example", "--psk-file", str(psk_file)]
    return dial_in_options(parser().parse_args([*least, "--kms", "http://kms", *more]))


def test_the_defaults(psk_file: Path) -> None:
    result = options(psk_file)
    assert (result.sip.transport, result.sip.proxy, result.sip.local) == ("udp", None, ("", 0))
    assert (result.setup, result.tls, result.floors, result.hold) == (
        Setup.ACTPASS,
        TLS_POLICIES["any"],
        (),
        1.0,
    )
    assert (result.keys.psk_id, result.keys.kms_identity) == ("sip:Alice@example", "kms.example")
    assert (result.keys.suite, result.keys.mode) == (SUITE_128, TicketMode.REQUEST)
    assert len(result.keys.psk) == 16
    assert result.timeouts == Timeouts()


def certified_options(folder: Path, *more: str) -> DialInOptions:
    for name, content in (("a.crt", ALICE.pem), ("a.key", ALICE.key_pem), ("k.crt", KMS.pem)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(content)
    named = ["--kms-cert", "a.crt", "--kms-key", "a.key", "--kms-envelope-cert", "k.crt"]
    words = [str(folder / word) if "." in word else word for word in named]
    least = ["dial-in", "sip:conf@host.example", "--identity", "sip:alice@example", "--kms", "http://kms"]
    return dial_in_options(parser().parse_args([*least, *words, *more]))


def test_a_certificate_instead_of_a_key(tmp_path: Path, psk_file: Path) -> None:
    keys = certified_options(tmp_path).keys
    assert isinstance(keys.account, CertifiedAccount)
    assert keys.account.signer.chain == (ALICE.der,)
    assert keys.account.kms.certificate == KMS.der
    assert isinstance(options(psk_file).keys.account, PskAccount)
    assert keys.psk_identity == PskIdentityForm()
    assert certified_options(tmp_path, "--psk-identity", "{csb_id}").keys.psk_identity.template == "{csb_id}"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--kms-key", "/nowhere"), "cannot be read"),
        (("--kms-cert", "/nowhere"), "/nowhere cannot be read: No such file"),
        (("--mode", "self-made"), "needs --psk-file"),
        (("--psk-identity", "me"), "tells calls apart"),
    ],
)
def test_certificates_that_cannot_work(tmp_path: Path, more: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        certified_options(tmp_path, *more)


def test_one_account_is_needed(tmp_path: Path, psk_file: Path) -> None:
    least = ["dial-in", "sip:c@h", "--identity", "sip:a@h", "--kms", "http://kms"]
    with pytest.raises(ValueError, match="--psk-file, or --kms-cert"):
        dial_in_options(parser().parse_args(least))
    with pytest.raises(ValueError, match="go together"):
        dial_in_options(parser().parse_args([*least, "--kms-cert", "a.crt"]))


def test_everything_said(psk_file: Path) -> None:
    result = options(
        psk_file,
        *("--proxy", "[::1]:5080", "--transport", "tcp", "--local-address", "127.0.0.2:5070"),
        *("--tcp-role", "passive", "--tls", "1.2", "--floor", "2", "--floor", "1", "--hold", "0"),
        *("--timeout", "5", "--suite", "256", "--psk-id", "a", "--kms-identity", "k"),
    )
    assert (result.sip.transport, result.sip.proxy, result.sip.local) == (
        "tcp",
        ("::1", 5080),
        ("127.0.0.2", 5070),
    )
    assert (result.setup, result.floors, result.bearer_host) == (Setup.PASSIVE, (2, 1), "127.0.0.2")
    assert (result.keys.suite, result.keys.psk_id, result.keys.kms_identity) == (SUITE_256, "a", "k")
    assert (result.timeouts.answer, result.timeouts.tls) == (5.0, 5.0)


@pytest.mark.parametrize(
    ("callee", "transport"),
    [("sip:c@h;transport=TCP", "tcp"), ("sips:c@h", "tls"), ("sip:c@h", "udp")],
)
def test_the_transport_may_stand_in_the_uri(psk_file: Path, callee: str, transport: str) -> None:
    result = options(psk_file, callee=callee)
    assert result.sip.transport == transport
    assert (result.sip.tls is not None) == (transport == "tls")


@pytest.mark.parametrize(
    ("more", "callee", "text"),
    [
        ((), "tel:123", "SIP URI"),
        (("--floor", "0"), "sip:c@h", "floor"),
        (("--proxy", "h:port"), "sip:c@h", "HOST:PORT"),
        (("--username", "alice"), "sip:c@h", "password-file"),
        (("--kms", ""), "sip:c@h", "--kms"),
        (("--kms", "kms.example:80"), "sip:c@h", "http"),
        ((), "sip:c@h;transport=sctp", "sctp"),
        (("--psk-file", "/nowhere"), "sip:c@h", "/nowhere"),
    ],
)
def test_nonsense_is_refused_in_words(psk_file: Path, more: tuple[str, ...], callee: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        options(psk_file, *more, callee=callee)


def test_a_self_made_ticket_needs_no_kms(psk_file: Path) -> None:
    assert options(psk_file, "--kms", "", "--mode", "self-made").keys.mode is TicketMode.SELF_MADE


def test_keys_and_passwords_do_not_show(psk_file: Path, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("hush\n")
    password.chmod(0o600)
    shown = repr(options(psk_file, "--username", "alice", "--password-file", str(password)))
    assert "hush" not in shown
    assert "\\x11" not in shown
    assert "112233" not in shown


def test_answer_waits_where_it_is_told(psk_file: Path) -> None:
    least = ["answer", "--identity", "sip:bob@example", "--psk-file", str(psk_file), "--kms", "http://kms"]
    more = [
        "--local-address",
        "127.0.0.1:5080",
        "--tcp-role",
        "passive",
        "--ring",
        "0.5",
        "--transport",
        "tcp",
    ]
    result = answer_options(parser().parse_args([*least, *more]))
    assert (result.sip.local, result.sip.transport, result.bearer_host) == (
        ("127.0.0.1", 5080),
        "tcp",
        "127.0.0.1",
    )
    assert (result.setup, result.ring) == (Setup.PASSIVE, 0.5)
    with pytest.raises(ValueError, match="--tls-cert"):
        answer_options(parser().parse_args([*least, "--transport", "tls"]))
    with pytest.raises(ValueError, match="--kms"):
        answer_options(parser().parse_args([*least, "--kms", ""]))


def test_tickets_of_every_kind(psk_file: Path) -> None:
    result = options(
        psk_file, *("--ticket-flags", "dfghijno", "--session-key", "GTGK", "--mode", "shared-key")
    )
    assert result.keys.flags == (DEFAULT_FLAGS | PolicyFlag.I | PolicyFlag.J) & ~PolicyFlag.E
    assert (result.keys.session_key, result.keys.mode) == (KeyType.GTGK, TicketMode.SHARED_KEY)
    assert options(psk_file).keys.flags == DEFAULT_FLAGS
    assert options(psk_file, "--kms", "http://a,https://b").keys.kms_url == ("http://a", "https://b")


@pytest.mark.parametrize(
    "more", [("--ticket-flags", "XYZ"), ("--ticket-flags", ""), ("--session-key", "MPK")]
)
def test_tickets_of_no_kind(
    psk_file: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        options(psk_file, *more)
    assert more[0] in capsys.readouterr().err


def test_answering_on_tls_wants_a_certificate_of_who_calls(psk_file: Path, tmp_path: Path) -> None:
    held = certify("bob.example", 1)
    for name, octets in (("cert.pem", held.pem), ("key.pem", held.key_pem)):
        (tmp_path / name).write_bytes(octets)
    files = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    least = ["answer", "--identity", "sip:bob@home.example", "--kms", "http://k", "--psk-file", str(psk_file)]
    least += ["--transport", "tls", *files]
    open_to_all = answer_options(parser().parse_args(least)).sip.tls_server
    assert open_to_all is not None
    assert open_to_all.verify_mode is ssl.CERT_NONE
    certain = answer_options(parser().parse_args([*least, "--tls-ca", str(tmp_path / "cert.pem")])).sip
    assert certain.tls_server is not None
    assert certain.tls_server.verify_mode is ssl.CERT_REQUIRED
    assert certain.tls is not None
    assert certain.tls.verify_mode is ssl.CERT_REQUIRED
