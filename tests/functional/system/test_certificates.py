"""MRFC and UEs with certificates instead of pre-shared keys at the KMS, and PSK identities of another form."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from callee_support import Callee
from certificates import Certified, certify
from system_support import Scene, Ue, lonely_scene, settings

from lab import CALLEE, CALLER, DOMAIN, ROOT, Lab
from mrf_protocols.mikey import (
    SUITE_128,
    SUITE_256,
    CertifiedAccount,
    EnvelopeKey,
    PskIdentityForm,
    Signer,
    Suite,
)
from mrf_ue.errors import TlsFailed

FORM = "{csb_id:X}-{cs_id:02x}"


def put(folder: Path, name: str, certified: Certified) -> None:
    """Certificate and key as an operator has them."""
    (folder / f"{name}.crt").write_bytes(certified.pem)
    (folder / f"{name}.key").touch(mode=0o600)
    (folder / f"{name}.key").write_bytes(certified.key_pem)


@pytest.fixture(scope="module")
def certified_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The KMS trusts an authority, which has certified the UEs; it knows the MRFC's own certificate."""
    folder = tmp_path_factory.mktemp("certified")
    now = time.time()
    authority = certify("authority", 0, authority=True, now=now)
    put(folder, "authority", authority)
    put(folder, "mrfc", certify("mrfc", 1, now=now))
    put(folder, "alice", certify("alice", 2, uris=(CALLER,), issuer=authority, now=now))
    put(folder, "bob", certify("bob", 4, uris=(CALLEE,), issuer=authority, now=now))
    put(folder, "kms", certify("kms", 3, now=now))
    chosen = settings(
        kms={"user_certificate": "mrfc.crt", "user_key": "mrfc.key", "kms_certificate": "kms.crt"},
        mikey={"psk_identity": FORM},
    )
    chosen.kms["public_key"] = {
        "certificate": "kms.crt",
        "private_key": "kms.key",
        "trusted": "authority.crt",
    }
    lab = Lab(folder, chosen)
    add = ["user", "add", "mrfc", "--identity", f"sip:*@{DOMAIN}", "--certificate", str(folder / "mrfc.crt")]
    config = str(folder / "kms.toml")
    subprocess.run([ROOT / ".venv/bin/mrf-kms", *add, "--replace", "--config", config], check=True)
    with lab:
        lab.start()
        yield lab


@pytest.fixture
async def stage(certified_lab: Lab) -> AsyncIterator[Scene]:
    async with lonely_scene(certified_lab) as scene:
        yield scene


def account(lab: Lab, name: str) -> CertifiedAccount:
    """Somebody's account by certificate."""
    key, chain = (lab.folder / f"{name}.key").read_bytes(), (lab.folder / f"{name}.crt").read_bytes()
    return CertifiedAccount(
        Signer.from_pem(key, chain), EnvelopeKey.from_pem((lab.folder / "kms.crt").read_bytes())
    )


async def caller(scene: Scene, form: str = FORM, suite: Suite = SUITE_128) -> Ue:
    """Alice without any key at the KMS."""
    ue = await scene.ue()
    keys = replace(ue.options.keys, psk=b"", psk_id="", suite=suite)
    keys = replace(keys, certified=account(scene.lab, "alice"), psk_identity=PskIdentityForm(form))
    ue.options = replace(ue.options, keys=keys)
    return ue


@pytest.mark.parametrize("suite", [SUITE_128, SUITE_256], ids=lambda suite: suite.name)
async def test_dial_in(stage: Scene, suite: Suite) -> None:
    ue = await caller(stage, suite=suite)
    await ue.join_bfcp()
    assert ue.keys.psk_identity == f"{ue.transfer.csb_id:X}-01"
    await ue.bye()
    await stage.told("kms", f"REQUEST_INIT_PK answered: {CALLER} .*{ue.call_id}")
    await stage.told("kms", f"RESOLVE_INIT_PK answered: .*{ue.call_id}")


async def test_dial_out(stage: Scene) -> None:
    async with Callee.waiting(stage) as callee:
        keys = replace(callee._options.keys, psk=b"", psk_id="", certified=account(stage.lab, "bob"))
        callee._options = replace(callee._options, keys=replace(keys, psk_identity=PskIdentityForm(FORM)))
        ue = await callee.called()
        await ue.pick_up()
        await ue.connect()
        await ue.secure()
        await ue.hello()
        await ue.call.bye(5.0)
        await stage.told("kms", f"REQUEST_INIT_PK answered: .*{ue.call.call_id}")
        await stage.told("kms", f"RESOLVE_INIT_PK answered: .*{ue.call.call_id}")


async def test_an_identity_of_another_form_is_not_taken(stage: Scene) -> None:
    ue = await caller(stage, form="{csb_id:08x}.{cs_id}")
    stage.expect("mrfp", "unknown-psk-identity")
    await ue.join()
    await ue.connect()
    with pytest.raises(TlsFailed):
        await ue.secure()
    assert "TLS session establishment failed" in await ue.far_end_bye()


def test_the_command(certified_lab: Lab) -> None:
    """`mrf-ue` with certificates in files, as a person calls it."""
    folder = certified_lab.folder
    command = [sys.executable, "-m", "mrf_ue.cli", "dial-in", certified_lab.conference()]
    command += ["--identity", CALLER, "--proxy", certified_lab.sip_address, "--local-address", "127.0.0.1"]
    command += ["--kms", f"http://127.0.0.1:{certified_lab.ports.kms}", "--kms-identity", "kms.example"]
    command += ["--kms-cert", str(folder / "alice.crt"), "--kms-key", str(folder / "alice.key")]
    command += ["--kms-envelope-cert", str(folder / "kms.crt"), "--psk-identity", FORM, "--hold", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
