"""One laboratory whose conferences may be watched, and peers who watch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from sip_peer import Answer, SipPeer

from lab import Lab, Settings


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Everybody @ops.example may watch; NOTIFYs follow one another without a pause."""
    settings = Settings(
        mrfc={
            "roster": {
                "allow_subscribe": ["sip:*@ops.example"],
                "min_expires": 1,
                "interval": 0.0,
                "departed_kept": 0.0,
            },
            "sip": {"reconnect_grace": 0.2},
            "identity": {"trusted_peers": ["127.0.0.1"]},
            "control": {"owners_remove": True},
        },
        trace=False,
    )
    with Lab(tmp_path_factory.mktemp("roster"), settings) as running:
        running.start()
        yield running


@pytest.fixture
def peer(lab: Lab) -> Iterator[Callable[..., SipPeer]]:
    """Makes peers, who answer NOTIFYs."""
    with ExitStack() as stack:

        def make(user: str = "watcher", domain: str = "ops.example") -> SipPeer:
            made = SipPeer(("127.0.0.1", lab.ports.sip), user, domain)
            made.answers = {"NOTIFY": Answer()}
            return stack.enter_context(made)

        yield make


@pytest.fixture(autouse=True)
def nothing_left(lab: Lab) -> Iterator[None]:
    """Calls and subscriptions are given back."""
    yield
    lab.wait_for("the end of all calls", lambda: not lab.status()["calls"], 30)
    lab.wait_for("the end of all subscriptions", lambda: not lab.status()["subscriptions"], 30)
