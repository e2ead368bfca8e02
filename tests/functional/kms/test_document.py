"""docs/kms.md: every command in it does what it says, in the order it stands there, on a KMS that serves."""

import asyncio
import os
import re
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import certify
from kms_support import KMS, ROOM, Kms, client_of, ticket_from

from mrf_kms.server import KmsServer
from mrf_protocols.mikey import CertifiedAccount, EnvelopeKey, Signer, TicketRequestExchange

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
    """One command in a shell in the KMS's folder, where mrf-kms finds its configuration."""
    if line.startswith("mrf-kms serve"):
        kms.start()
        return ""
    programs = kms.folder / "bin"
    if not programs.exists():
        programs.mkdir()
        command = shlex.join([sys.executable, "-m", "mrf_kms.cli"])
        config = shlex.quote(str(kms.folder / "kms.toml"))
        (programs / "mrf-kms").write_text(f'#!/bin/sh\nexec {command} "$@" --config {config}\n')
        (programs / "mrf-kms").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=kms.folder,
        env=dict(os.environ, PATH=f"{programs}:{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{line}: {done.stderr}"
    return done.stdout.strip()


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


async def test_certificates_as_the_page_makes_them(kms: Kms) -> None:
    for line in COMMANDS:
        if line.startswith("openssl") or "users-ca.key" in line:
            run(kms, line)
    files = {path.name: path.read_bytes() for path in kms.folder.glob("*.[ck]*")}
    assert stat.S_IMODE((kms.folder / "carol.key").stat().st_mode) == 0o600
    kms.configure(
        tables='[public_key]\ncertificate = "kms-rsa.crt"\nprivate_key = "kms-rsa.key"\ntrusted = "users-ca.crt"\n'
    )
    assert "no faults" in kms.run("check")
    kms.start()
    signer = Signer.from_pem(files["carol.key"], files["carol.crt"])
    exchange = TicketRequestExchange(
        account=CertifiedAccount(signer, EnvelopeKey.from_pem(files["kms-rsa.crt"])),
        initiator="sip:carol@home.example",
        kms=KMS,
        responders=[ROOM],
        csb_id=1,
        rand=os.urandom,
        now=time.time(),
    )
    async with client_of(kms) as client:
        response = await client.ticket_request(exchange.request(), "c")
    assert exchange.response(response, time.time()).keys.session


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
