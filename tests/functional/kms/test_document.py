"""docs/kms.md: every command in it does what it says, in the order it stands there, on a KMS that serves."""

import asyncio
import re
import shlex
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import certify
from kms_support import Kms, client_of, ticket_from

from mrf_kms.server import KmsServer

DOCUMENT = (Path(__file__).parents[3] / "docs" / "kms.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL) for line in block.splitlines()
]
SEALED = 'file = "kms.sqlite"\nmaster_key_file = "master.key"'


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[Kms]:
    """A KMS whose configuration is written, and nothing else done."""
    kms = Kms(tmp_path)
    kms.configure(store=SEALED)
    (tmp_path / "bob.crt").write_bytes(certify("bob", 1, now=time.time()).pem)
    (tmp_path / "stolen.crt").write_bytes(certify("stolen", 2, now=time.time()).pem)
    yield kms
    kms.end()


def run(kms: Kms, line: str) -> str:
    """One command as a shell would run it in the KMS's folder."""
    command, _, target = (part.strip() for part in line.partition(" > "))
    words = shlex.split(command)
    here = [str(kms.folder / word) if re.search(r"\.(key|crt|sqlite)$", word) else word for word in words]
    if words[0] == "chmod":
        Path(here[2]).chmod(int(words[1], 8))
        return ""
    assert words[0] == "mrf-kms", line
    if words[1] == "serve":
        kms.start()
        return ""
    output = kms.run(*here[1:])
    if target:
        (kms.folder / target).write_text(output + "\n")
    return output


async def test_every_command(kms: Kms) -> None:
    said: dict[str, str] = {}
    for line in COMMANDS:
        said[line] = run(kms, line)
        if line.startswith("mrf-kms user add alice"):
            kms.keys["alice-psk"] = bytes.fromhex(said[line])
    assert "no faults" in said["mrf-kms check"]
    assert [row.split("\t")[0] for row in said["mrf-kms user list"].splitlines()] == ["alice", "bob", "mrfc"]
    assert "(certificate)" in said["mrf-kms user list"]
    assert "(5000/s)" in said["mrf-kms user list"]
    assert said["mrf-kms allow list"].splitlines() == [
        "1\t@staff\tsip:*@conf.example\t3600 s",
        "2\tsip:*@guests.example\tsip:lobby@conf.example\tany life",
    ]
    assert said["mrf-kms group list"] == "@staff\tsip:*@office.example\tsip:alice@home.example"
    revoked = said["mrf-kms ticket revoked"]
    assert "ticket\t0123456789abcdef0123456789abcdef" in revoked
    for initiator in ("sip:alice@home.example", "sip:bob@home.example", "sip:*@guests.example"):
        assert f"initiator\t{initiator}\tmade until" in revoked
    certificates = said["mrf-kms certificate revoked"].splitlines()
    assert [row.split("\t")[0] for row in certificates] == ["fingerprint", "serial"]
    assert certificates[1].split("\t")[1] == "5d2f"
    assert [row.split("\t")[0] for row in said["mrf-kms ticket-key list"].splitlines()] == [
        "kms-key-2",
        "kms-key-1",
    ]
    # The new master key opens what is there now, the old one the backup.
    assert kms.stop() == 0
    kms.configure(store=SEALED.replace("master.key", "new-master.key"))
    assert "alice" in kms.run("user", "list")
    assert len(kms.run("certificate", "revoked").splitlines()) == 1, "the other one was restored"
    kms.configure(store=SEALED.replace("kms.sqlite", "kms-backup.sqlite"))
    assert "alice" in kms.run("user", "list")
    assert stat.S_IMODE((kms.folder / "kms-backup.sqlite").stat().st_mode) == 0o600


async def test_restored_from_the_backup(kms: Kms) -> None:
    kms.configure()
    kms.keys["alice-psk"] = bytes.fromhex(
        kms.run("user", "add", "alice-psk", "--identity", "sip:alice@home.example", "--generate")
    )
    kms.start()
    kms.run("backup", str(kms.folder / "copy"))
    async with client_of(kms) as client:
        assert await ticket_from(kms, client)
    kms.run("user", "remove", "alice-psk")
    assert kms.stop() == 0
    (kms.folder / "copy").replace(kms.folder / "kms.sqlite")
    for beside in ("kms.sqlite-wal", "kms.sqlite-shm"):
        (kms.folder / beside).unlink(missing_ok=True)
    kms.start()
    async with client_of(kms) as client:
        assert await ticket_from(kms, client)


def test_every_metric_of_the_document_is_exported(kms: Kms) -> None:
    kms.configure()
    named = set(re.findall(r"`(kms_[a-z_]+?)(?:_total)?[{`]", DOCUMENT)) | set(
        re.findall(r"`(kms_[a-z_]+?)(?:_total)?`", DOCUMENT)
    )
    from mrf_kms.config import load

    server = KmsServer(load(kms.folder / "kms.toml"))
    exported = {family.name for family in server._metrics.registry.collect()}
    assert len(named) > 8
    assert named <= exported
    asyncio.run(server.stop())
