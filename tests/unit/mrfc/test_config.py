"""The shipped configuration is valid, and what cannot work is refused with a sentence."""

from pathlib import Path

import pytest

from mrf_ops.config import ConfigError
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
    ],
)
def test_what_cannot_work_is_refused(folder: Path, more: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder, MINIMAL + more)
    assert word in str(caught.value)
