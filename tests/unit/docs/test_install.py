"""INSTALL.md fits the files that come with the program; script/install-trial follows it to a dial-in."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

import install_trial
from lab import ROOT
from mrf_kms.config import KmsConfig
from mrfc.config import MrfcConfig
from mrfp_agent.config import MrfpConfig

STEPS = list(install_trial.steps((ROOT / "INSTALL.md").read_text()))
CONFIGS: dict[str, type[msgspec.Struct]] = {
    "kms.toml": KmsConfig,
    "mrfc.toml": MrfcConfig,
    "mrfp.toml": MrfpConfig,
}


def value_of(kind: type[Any], value: str) -> Any:
    """A path, or a secret in the place of the file that is named."""
    return Path(value) if kind is Path else kind(b"00" * 16)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_to_be_written_into_a_file_has_its_place_there(name: str) -> None:
    [wanted] = [step.text for step in STEPS if step.kind == "toml" and Path(step.file).name == name]
    edited = install_trial.edit((ROOT / "configs" / name).read_text(), wanted)
    configuration = msgspec.convert(tomllib.loads(edited), CONFIGS[name], dec_hook=value_of)
    written = tomllib.loads(edited)
    for table, keys in tomllib.loads(wanted).items():
        assert {key: written[table][key] for key in keys} == keys
        assert getattr(configuration, table) is not None


def test_every_block_says_what_it_is() -> None:
    """Commands, or what a file holds; nothing is left that the trial could not follow."""
    assert {step.kind for step in STEPS} == {"sh", "toml", ""}
    assert [step.file for step in STEPS if step.kind == ""] == ["/etc/ims-floor-control/kamailio-local.cfg"]


@pytest.mark.parametrize(
    "step", [step for step in STEPS if step.kind == "sh"], ids=lambda step: step.part[3:]
)
def test_commands_are_shell(step: install_trial.Step) -> None:
    done = subprocess.run(["/bin/sh", "-n"], input=step.text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_files_that_are_installed_are_there() -> None:
    words = " ".join(step.text for step in STEPS).split()
    named = [word for word in words if word.startswith(("kamailio/", "configs/"))]
    assert len(named) >= 7
    for word in named:
        assert list(ROOT.glob(word)), word
