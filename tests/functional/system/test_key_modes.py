"""Every kind of ticket and key through real elements: suites, forking, session keys, modes 1 to 4, reuse, fail-over."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from callee_support import Callee
from system_support import Scene, Ue, lonely_scene, settings, warning_code

from lab import CALLER, DOMAIN, ROOT, Lab
from mrf_protocols.mikey import DEFAULT_FLAGS, SUITE_128, SUITE_256, KeyType, PolicyFlag, Suite
from mrf_ue.options import TicketMode

F = PolicyFlag
SHARED = secrets.token_bytes(32)


@pytest.fixture(scope="module")
def keys_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A laboratory where everything about keys is allowed; the first KMS in the list does not exist."""
    folder = tmp_path_factory.mktemp("keys")
    chosen = settings(
        mikey={
            "reuse_tickets": True,
            "open_tickets": True,
            "replay_file": "replay",
            "shared_key": [{"name": "gate", "file": "gate.key", "peers": [CALLER]}],
        },
        dial_out={"suite": "256", "key_forking": True, "session_key": "TGK"},
    )
    chosen.kms["kms"] = {"allow_reuse": True}
    lab = Lab(folder, chosen)
    (folder / "gate.key").write_text(SHARED.hex())
    (folder / "gate.key").chmod(0o600)
    config = folder / "mrfc.toml"
    nowhere = "http://127.0.0.1:9"
    text = config.read_text()
    written = re.sub(r'^url = ("http://[^"]*")$', rf'url = ["{nowhere}", \1]', text, count=1, flags=re.M)
    assert written != text
    config.write_text(written)
    add = ["user", "add", "mrfc", "--identity", f"sip:*@{DOMAIN}", "--psk-file", str(folder / "mrfc.psk")]
    subprocess.run(
        [ROOT / ".venv/bin/mrf-kms", *add, "--opens-tickets", "--replace", "--config", folder / "kms.toml"],
        check=True,
    )
    with lab:
        lab.start()
        yield lab


@pytest.fixture
async def stage(keys_lab: Lab) -> AsyncIterator[Scene]:
    async with lonely_scene(keys_lab) as scene:
        scene.may_log("mrfc", "KMS at .* is out of service")
        yield scene


async def caller(scene: Scene, **changes: object) -> Ue:
    """A UE with these key settings."""
    ue = await scene.ue()
    keys = replace(ue.options.keys, **changes)  # type: ignore[arg-type] # fields by name
    ue.options = replace(ue.options, keys=keys)
    return ue


def asked_of_kms(lab: Lab) -> int:
    """Messages that the KMS answered so far."""
    return (lab.folder / "kms.log").read_text().count("answered: ")


@pytest.mark.parametrize("suite", [SUITE_128, SUITE_256], ids=lambda suite: suite.name)
@pytest.mark.parametrize("kind", [KeyType.TGK, KeyType.TEK, KeyType.GTGK])
@pytest.mark.parametrize("forking", [False, True], ids=["plain", "forked"])
@pytest.mark.parametrize("mode", [TicketMode.REQUEST, TicketMode.SELF_MADE])
async def test_dial_in(stage: Scene, suite: Suite, kind: KeyType, forking: bool, mode: TicketMode) -> None:
    flags = DEFAULT_FLAGS | (F.I if forking else F(0))
    ue = await caller(stage, suite=suite, session_key=kind, flags=flags, mode=mode)
    await ue.join_bfcp()
    await ue.bye()


@pytest.mark.parametrize("suite", [SUITE_128, SUITE_256], ids=lambda suite: suite.name)
async def test_dial_in_mode_2(stage: Scene, suite: Suite) -> None:
    """The KMS makes the ticket with the MRFC's own key, and the MRFC opens it alone."""
    before = asked_of_kms(stage.lab)
    ue = await caller(stage, suite=suite, flags=DEFAULT_FLAGS & ~F.E)
    await ue.join_bfcp()
    await ue.bye()
    assert asked_of_kms(stage.lab) == before + 1


@pytest.mark.parametrize("suite", [SUITE_128, SUITE_256], ids=lambda suite: suite.name)
async def test_dial_in_mode_4(stage: Scene, suite: Suite) -> None:
    before = asked_of_kms(stage.lab)
    ue = await caller(stage, suite=suite, mode=TicketMode.SHARED_KEY, psk=SHARED, psk_id="gate")
    await ue.join_bfcp()
    await ue.bye()
    assert asked_of_kms(stage.lab) == before


async def test_mode_4_is_for_those_who_share_the_key(stage: Scene) -> None:
    ue = await stage.ue(identity="sip:mallory@ue.example")
    keys = replace(ue.options.keys, mode=TicketMode.SHARED_KEY, psk=SHARED, psk_id="gate")
    ue.options = replace(ue.options, keys=keys)
    response = await ue.dial()
    assert (response.status_code, warning_code(response)) == (488, 399)
    stage.expect("mrfc", "in the name of another")


async def test_a_reusable_ticket_is_resolved_once(stage: Scene) -> None:
    before = asked_of_kms(stage.lab)
    first = await caller(stage, flags=DEFAULT_FLAGS | F.J | F.I)
    await first.join_bfcp()
    await first.bye()
    second = await caller(stage)
    second.ticket = first.ticket
    from mrf_ue.keys import start_transfer

    second.transfer = start_transfer(first.ticket, second.initiator, second.responder)
    await second.join_bfcp()
    await second.bye()
    assert asked_of_kms(stage.lab) == before + 2


async def test_dial_out_forked_with_256_bits(stage: Scene) -> None:
    async with Callee.waiting(stage) as callee:
        ue = await callee.called()
        await ue.pick_up()
        await ue.connect()
        await ue.secure()
        await ue.hello()
        await ue.call.bye(5.0)


async def test_no_transfer_is_accepted_again_after_a_restart(keys_lab: Lab) -> None:
    scene = Scene(keys_lab)
    try:
        first = await caller(scene)
        await first.join_bfcp()
        await first.bye()
        keys_lab.elements["mrfc"].stop()
        keys_lab.start_mrfc()
        keys_lab.wait_for("the MRFP", lambda: keys_lab.mrfp_status()["registered"])
        again = await caller(scene)
        again.ticket, again.transfer = first.ticket, first.transfer
        response = await again.dial()
        assert (response.status_code, warning_code(response)) == (488, 399)
        assert "seen before" in (response.get_header("Warning") or "")
    finally:
        await scene.close()


def test_no_key_is_in_any_log_or_trace(keys_lab: Lab) -> None:
    """Last in this file: what all these calls left behind, against every key that the elements share."""
    folder: Path = keys_lab.folder
    secret = [SHARED] + [bytes.fromhex(path.read_text()) for path in folder.glob("*.psk")]
    secret.append(bytes.fromhex((folder / "master.key").read_text()))
    written = [path for path in folder.iterdir() if path.suffix in (".log", ".jsonl", ".out", ".err")]
    written += [*folder.glob("kms.sqlite*")]
    assert written
    for path in written:
        data = path.read_bytes()
        lower = data.lower()
        for key in secret:
            assert key not in data, path.name
            assert key.hex().encode() not in lower, path.name
