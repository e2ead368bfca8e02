"""Configuration: every fault told, each with its place; secrets only from files that others cannot read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from mrf_ops.config import ConfigError, Count, Port, Seconds, Secret, load, read_secret


class Kms(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    url: str
    psk_file: Secret | None = None
    timeout: Seconds = 2.0


class Floor(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    id: int
    holders: Count = 1


def one_floor() -> list[Floor]:
    return [Floor(1)]


class Element(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    kms: Kms
    port: Port = 2944
    logs: Literal["text", "json"] = "text"
    secure: bool = True
    trace: Path | None = None
    backup: Kms | None = None
    floors: Annotated[list[Floor], msgspec.Meta(min_length=1)] = msgspec.field(default_factory=one_floor)
    realms: dict[str, Floor] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.backup is not None and self.backup.url == self.kms.url:
            raise ValueError("backup.url is the same as kms.url; allowed: another KMS")


def written(folder: Path, text: str) -> Path:
    path = folder / "element.toml"
    path.write_text(text)
    return path


def secret_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "psk"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def faults_of(path: Path) -> dict[str, str]:
    """Key and the rest of the sentence of each fault; each is one line that begins with the file."""
    with pytest.raises(ConfigError) as caught:
        load(path, Element)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.faults)
    assert all(
        line.startswith(f"{path}: {fault.key}")
        for fault, line in zip(caught.value.faults, lines, strict=True)
    )
    return {
        fault.key: line.removeprefix(f"{path}: ")
        for fault, line in zip(caught.value.faults, lines, strict=True)
    }


def test_values_and_defaults(tmp_path: Path) -> None:
    secret_file(tmp_path, b"00ff\n")
    path = written(
        tmp_path,
        'port = 2945\ntrace = "log/trace.jsonl"\n[kms]\nurl = "http://kms"\npsk_file = "psk"\ntimeout = 1\n'
        "[[floors]]\nid = 7\n[realms.core]\nid = 3\n",
    )
    element = load(path, Element)
    assert (element.port, element.logs, element.kms.timeout) == (2945, "text", 1.0)
    assert element.trace == tmp_path / "log/trace.jsonl"
    assert element.floors == [Floor(7)]
    assert element.realms == {"core": Floor(3)}
    assert element.kms.psk_file is not None
    assert element.kms.psk_file.reveal() == b"00ff"
    assert element.kms.psk_file.reveal_hex() == b"\x00\xff"
    assert "00ff" not in repr(element)


def test_absolute_path_stays(tmp_path: Path) -> None:
    path = written(tmp_path, 'trace = "/var/log/trace.jsonl"\nkms.url = "x"\n')
    assert load(path, Element).trace == Path("/var/log/trace.jsonl")


def test_every_fault_is_told_with_place_and_choice(tmp_path: Path) -> None:
    found = faults_of(
        written(
            tmp_path,
            'port = 70000\nlogs = "xml"\nsecure = "yes"\ntrace = 3\ncolour = "red"\n'
            'floors = [{id = 1}, {id = "a", holders = 0}]\nrealms = {core = {ids = 1}}\n'
            "[kms]\ntimeout = -1\nretry = 3\n[backup]\nurl = 1\n",
        )
    )
    assert found == {
        "port": "port: is 70000; allowed: a whole number from 1 to 65535",
        "logs": 'logs: is "xml"; allowed: "json", "text"',
        "secure": 'secure: is "yes"; allowed: true or false',
        "trace": "trace: is 3; allowed: the path of a file",
        "colour": "colour: is not a known key; "
        "allowed: backup, floors, kms, logs, port, realms, secure, trace",
        "floors[1].id": 'floors[1].id: is "a"; allowed: a whole number',
        "floors[1].holders": "floors[1].holders: is 0; allowed: a whole number from 1",
        "realms.core.ids": "realms.core.ids: is not a known key; allowed: holders, id",
        "realms.core.id": "realms.core.id: is missing; allowed: a whole number",
        "kms.timeout": "kms.timeout: is -1; allowed: a number above 0",
        "kms.retry": "kms.retry: is not a known key; allowed: psk_file, timeout, url",
        "kms.url": "kms.url: is missing; allowed: text",
        "backup.url": "backup.url: is 1; allowed: text",
    }


def test_a_value_in_place_of_a_table(tmp_path: Path) -> None:
    assert faults_of(written(tmp_path, 'kms = "http://kms"\n')) == {
        "kms": 'kms: is "http://kms"; allowed: a table with psk_file, timeout, url'
    }


def test_empty_list_where_one_is_needed(tmp_path: Path) -> None:
    found = faults_of(written(tmp_path, 'floors = []\nkms.url = "x"\n'))
    assert found == {
        "floors": "floors: is a list of 0; allowed: a list of at least 1, each a table with holders, id"
    }


def test_rules_across_keys_are_told_in_their_own_words(tmp_path: Path) -> None:
    found = faults_of(written(tmp_path, 'kms.url = "x"\nbackup.url = "x"\n'))
    assert found == {"": "backup.url is the same as kms.url; allowed: another KMS"}


@pytest.mark.parametrize(
    ("content", "what"),
    [("", "kms: is missing"), ("port = ", "is not TOML"), ("port = 1\nport = 2", "is not TOML")],
)
def test_file_without_sense(tmp_path: Path, content: str, what: str) -> None:
    assert any(line.startswith(what) for line in faults_of(written(tmp_path, content)).values())


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "element.toml"
    path.write_bytes(b"\xff\xfe")
    assert faults_of(path)[""].startswith("is not TOML")


def test_no_file(tmp_path: Path) -> None:
    missing = faults_of(tmp_path / "element.toml")[""]
    assert missing.startswith("cannot be read: No such file or directory; name another one, or copy")
    assert faults_of(tmp_path) == {"": "cannot be read: Is a directory"}


@pytest.mark.parametrize("mode", [0o644, 0o602, 0o601])
def test_secret_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    secret = secret_file(tmp_path, b"00ff", mode)
    found = faults_of(written(tmp_path, 'kms = {url = "x", psk_file = "psk"}\n'))
    assert found == {
        "kms.psk_file": f"kms.psk_file: secret file {secret} is open to everybody (mode {mode:04o}); "
        f"run: chmod o= {secret}"
    }


def test_secret_missing_or_empty(tmp_path: Path) -> None:
    path = written(tmp_path, 'kms = {url = "x", psk_file = "psk"}\n')
    assert faults_of(path)["kms.psk_file"].endswith("psk cannot be read: No such file or directory")
    secret_file(tmp_path, b"\n")
    assert faults_of(path)["kms.psk_file"].endswith("psk is empty")


def test_secret_for_owner_and_group_is_read(tmp_path: Path) -> None:
    assert read_secret(secret_file(tmp_path, b"00 ff\r\n", 0o640)).reveal() == b"00 ff"


def test_secret_that_is_not_hexadecimal_does_not_show(tmp_path: Path) -> None:
    secret = read_secret(secret_file(tmp_path, b"hunter2"))
    with pytest.raises(ValueError, match="hexadecimal") as caught:
        secret.reveal_hex()
    assert "hunter2" not in f"{caught.value}{secret!r}{secret}"
