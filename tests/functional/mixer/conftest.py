"""A laboratory with a mixer: one end of the tests' own, at a port that the MRFC knows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sip_peer import Answer, SipPeer
from system_support import Scene, lonely_scene, settings

from lab import Lab, free_ports

TIMEOUT = 3.0
"""Seconds that the mixer may take: long for a busy machine, short for a test that waits for it."""


@pytest.fixture(scope="session")
def mixer_port() -> int:
    """Where the MRFC looks for the mixer."""
    return free_ports(1)[0]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, mixer_port: int) -> Iterator[Lab]:
    """KMS, MRFC and MRFP; participants may come without TLS, and those without BFCP for their media."""
    mixer = {
        "uri": f"sip:{{conference}}@127.0.0.1:{mixer_port}",
        "timeout": TIMEOUT,
        "without_floor_control": "join",
        "labels": {"audio": "10", "slides": "11"},
    }
    chosen = settings(bfcp={"unsecured": "allow"}, mixer=mixer, sip={"min_se": 4})
    chosen.mrfp["bfcp"] = {"unsecured": "allow"}
    chosen.mrfp["termination"]["tcp_connect"] = 30.0
    with Lab(tmp_path_factory.mktemp("mixer"), chosen) as running:
        running.start()
        yield running


@pytest.fixture
async def scene(lab: Lab) -> AsyncIterator[Scene]:
    """The laboratory is the same after the test."""
    async with lonely_scene(lab) as played:
        yield played


@pytest.fixture
def mixer(lab: Lab, mixer_port: int) -> Iterator[SipPeer]:
    """The mixer: says yes to BYE and CANCEL, the rest is the test's."""
    yes = {"BYE": Answer(), "CANCEL": Answer()}
    with SipPeer(("127.0.0.1", lab.ports.sip), "mixer", port=mixer_port, answers=yes) as peer:
        yield peer


@pytest.fixture
def room(lab: Lab) -> Iterator[SipPeer]:
    """A device of a meeting room."""
    with SipPeer(("127.0.0.1", lab.ports.sip), "room", answers={"BYE": Answer()}) as peer:
        yield peer


SIPP_SCENARIO = Path(__file__).with_name("sipp_mixer.xml")
