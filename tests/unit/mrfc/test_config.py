"""The shipped configuration is valid, and what cannot work is refused with a sentence."""

from pathlib import Path

import pytest
from certificates import certify

from mrf_ops.config import ConfigError
from mrf_protocols.mikey import CertifiedAccount, PskAccount
from mrfc import config

SHIPPED = Path(__file__).parents[3] / "configs" / "mrfc.toml"
MINIMAL = """
[sip]
domain = "conf.example"
contact = "192.0.2.1:5060"
[kms]
url = "http://127.0.0.1:8088"
identity = "kms.example"
psk_identity = "mrfc"
psk_file = "kms.psk"
[mp]
port = 2944
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    secret = tmp_path / "kms.psk"
    secret.write_text("00" * 16)
    secret.chmod(0o600)
    return tmp_path


def load(folder: Path, text: str) -> config.MrfcConfig:
    path = folder / "mrfc.toml"
    path.write_text(text)
    return config.load(path)


def test_the_shipped_file_is_valid(folder: Path) -> None:
    loaded = load(folder, SHIPPED.read_text())
    assert loaded.conference
    assert loaded.factory is not None


def test_defaults_are_enough(folder: Path) -> None:
    assert load(folder, MINIMAL).mikey.protocol_types == [241]


ACCOUNT = 'psk_identity = "mrfc"\npsk_file = "kms.psk"\n'
CERTIFIED = 'user_certificate = "u.crt"\nuser_key = "u.key"\nkms_certificate = "k.crt"\n'


@pytest.fixture
def certified(folder: Path) -> Path:
    user, kms = certify("mrfc", 1), certify("kms", 3)
    for name, content in (("u.crt", user.pem), ("u.key", user.key_pem), ("k.crt", kms.pem)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(content)
    return folder


def test_an_account_is_a_key_or_a_certificate(certified: Path) -> None:
    key = load(certified, MINIMAL)
    assert isinstance(key.kms.account(), PskAccount)
    assert key.kms.ticket_key() is not None
    certificate = load(certified, MINIMAL.replace(ACCOUNT, CERTIFIED))
    assert isinstance(certificate.kms.account(), CertifiedAccount)
    assert certificate.kms.ticket_key() is None
    both = load(certified, MINIMAL.replace(ACCOUNT, ACCOUNT + CERTIFIED))
    assert isinstance(both.kms.account(), CertifiedAccount)
    assert both.kms.ticket_key() is not None


@pytest.mark.parametrize(
    ("account", "more", "words"),
    [
        ("", "", "an account is psk_identity and psk_file, or user_certificate"),
        ('psk_identity = "mrfc"\n', "", "an account is"),
        (CERTIFIED.replace("k.crt", "none.crt"), "", "none.crt cannot be read: No such file"),
        (CERTIFIED.replace('kms_certificate = "k.crt"\n', ""), "", "kms_certificate go together"),
        (CERTIFIED.replace("u.crt", "k.crt"), "", "private key and certificate do not belong together"),
        (CERTIFIED.replace("k.crt", "u.key"), "", "certificates cannot be read"),
        (CERTIFIED, "[mikey]\nopen_tickets = true\n", "mikey.open_tickets needs kms.psk_file"),
        (CERTIFIED, '[dial_out]\nticket = "self-made"\n', "needs kms.psk_file"),
        (ACCOUNT, '[mikey]\npsk_identity = "{tek}"\n', "mikey: psk_identity: a PSK identity knows no {tek}"),
        (ACCOUNT, '[mikey]\npsk_identity = "all"\n', "tells calls apart"),
    ],
)
def test_accounts_that_cannot_work(certified: Path, account: str, more: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(certified, MINIMAL.replace(ACCOUNT, account) + more)
    assert words in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ('[[conference]]\nuser = "a"\nid = 1\nfloors = []\n', "at least one floor"),
        (
            '[[conference]]\nuser = "a"\nid = 1\nfloors = [{id = 1, streams = ["1"]}]\n'
            '[[conference]]\nuser = "a"\nid = 2\nfloors = [{id = 1, streams = ["1"]}]\n',
            "conference.user is used twice: a",
        ),
        (
            '[[conference]]\nuser = "a"\nid = 1\nfloors = [{id = 1, streams = ["1"]}, {id = 1, streams = ["2"]}]\n',
            "floors.id is used twice: 1",
        ),
        ('[[conference]]\nuser = "a"\nid = 0\nfloors = [{id = 1, streams = ["1"]}]\n', "conference[0].id"),
        ('[[conference]]\nuser = "a"\nid = 1\nfloors = [{id = 1, streams = ["a b"]}]\n', "streams"),
        ("[limits]\nseats = 5\n", "limits.seats"),
        ('[bfcp]\nunsecured = "yes"\n', "bfcp.unsecured"),
        ('[mixer]\nuri = "mixer.example"\n', "mixer: uri: not a SIP URI"),
        ('[mixer]\nuri = "sips:m@mixer.example"\n', "mixer: uri: not a URI to be reached"),
        ('[mixer]\nnext_hop = "sip:m@mixer.example:0"\n', "mixer: next_hop: not a port"),
        ("[mixer]\ntimeout = 11\n", "mixer.timeout"),
        ('[mixer]\nlabels = { audio = "1", video = "1" }\n', "labels is used twice: 1"),
    ],
)
def test_what_cannot_work_is_refused(folder: Path, more: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder, MINIMAL + more)
    assert word in str(caught.value)
