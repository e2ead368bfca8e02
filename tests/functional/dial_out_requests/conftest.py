"""One laboratory where everything may be asked for by somebody, and peers that ask and are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sip_peer import SipPeer

from lab import Lab, Settings


def settings(**dial_out: object) -> Settings:
    """A lab without long waits; `dial_out` is that table of mrfc.toml."""
    return Settings(
        mrfc={"dial_out": dial_out, "sip": {"reconnect_grace": 0.2}, "limits": {"participants": 50}},
        trace=False,
    )


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Open for @ue.example, closed for others."""
    wanted = settings(
        ring_timeout=4.0,
        allow_refer=["sip:*@ue.example"],
        allow_uri_list=["sip:*@ue.example"],
        callees=["sip:*@127.0.0.1"],
        uri_list_entries=3,
    )
    with Lab(tmp_path_factory.mktemp("requests"), wanted) as running:
        running.start()
        yield running


@pytest.fixture(scope="session")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab in which no participant may ask for anything."""
    with Lab(tmp_path_factory.mktemp("closed"), settings()) as running:
        running.start()
        yield running


@pytest.fixture
def peer(lab: Lab) -> Iterator[Callable[..., SipPeer]]:
    """Makes peers of the open lab; they answer what the test has them answer."""
    with ExitStack() as stack:

        def make(user: str, domain: str = "ue.example") -> SipPeer:
            made = SipPeer(("127.0.0.1", lab.ports.sip), user, domain)
            return stack.enter_context(made)

        yield make


@pytest.fixture(autouse=True)
def nothing_left(lab: Lab) -> Iterator[None]:
    """Calls, terminations and seats are given back."""
    yield
    lab.wait_for("the end of all calls", lambda: _rest(lab) == (0, 0, 0))


def _rest(lab: Lab) -> tuple[int, int, int]:
    status = lab.status()
    return status["calls"], status["terminations"], status["releasing"]


@pytest.fixture
def token_file(lab: Lab) -> Path:
    """The operator's token, which the lab has made."""
    return lab.folder / "operator.token"


@pytest.fixture
def token(token_file: Path) -> str:
    """What is in it."""
    return token_file.read_text().strip()
