"""The configuration file that operators start from, and faults in theirs."""

from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest

from mrf_kms.config import KmsConfig, load
from mrf_ops.config import ConfigError

EXAMPLE = Path(__file__).parents[3] / "configs" / "kms.toml"
MINIMAL = '[kms]\nidentity = "kms.home.example"\n[http]\nport = 8088\n%s\n[store]\nfile = "kms.sqlite"\n'


def test_example_tells_of_every_key_and_its_default(tmp_path: Path) -> None:
    load(EXAMPLE)
    lines = EXAMPLE.read_text().splitlines()
    for table, hint in get_type_hints(KmsConfig).items():
        struct = next((choice for choice in get_args(hint) if choice is not type(None)), hint)
        assert f"[{table}]" in [line.removeprefix("# ") for line in lines]
        for field in msgspec.structs.fields(struct):
            assert any(line.removeprefix("# ").startswith(f"{field.name} = ") for line in lines), field.name
            plain = isinstance(field.default, str | float | int) and not get_args(field.type)
            if plain:
                shown = str(field.default).lower() if isinstance(field.default, bool) else field.default
                shown = f'"{shown}"' if isinstance(field.default, str) else shown
                assert f"{field.name} = {shown}" in [line.removeprefix("# ") for line in lines]


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "kms.toml").write_text(MINIMAL % "")
    assert load(tmp_path / "kms.toml").store.file == tmp_path / "kms.sqlite"


@pytest.mark.parametrize(
    "http",
    [
        'certificate = "kms.crt"',
        'private_key = "kms.key"',
        'path = "keymanagement"',
        "unknown = 1",
        'client_ca = "ca.crt"',
        "require_client_certificate = true",
    ],
)
def test_faults(tmp_path: Path, http: str) -> None:
    (tmp_path / "kms.toml").write_text(MINIMAL % http)
    with pytest.raises(ConfigError, match="http"):
        load(tmp_path / "kms.toml")


@pytest.mark.parametrize(
    "store", ["", 'file = "kms.sqlite"\nurl = "postgresql://db/kms"', 'url = "mysql://db/kms"', 'file = ""']
)
def test_one_store(tmp_path: Path, store: str) -> None:
    (tmp_path / "kms.toml").write_text(
        f'[kms]\nidentity = "kms.home.example"\n[http]\nport = 8088\n[store]\n{store}\n'
    )
    with pytest.raises(ConfigError, match="store"):
        load(tmp_path / "kms.toml")


@pytest.mark.parametrize("suites", ["[]", '["512"]'])
def test_suites(tmp_path: Path, suites: str) -> None:
    text = (MINIMAL % "").replace("[http]", f"suites = {suites}\n[http]")
    (tmp_path / "kms.toml").write_text(text)
    with pytest.raises(ConfigError, match="suites"):
        load(tmp_path / "kms.toml")
