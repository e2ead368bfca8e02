"""One laboratory with a short session timer, and raw SIP participants whose BFCP goes without TLS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from raw_participant import Participant, lab_settings

from lab import Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """KMS, MRFC and MRFP."""
    with Lab(tmp_path_factory.mktemp("dialogs"), lab_settings()) as running:
        running.start()
        yield running


@pytest.fixture
def participant(lab: Lab) -> Iterator[Callable[[], Participant]]:
    """Makes participants; in the end nothing is left of their calls."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Participant(("127.0.0.1", lab.ports.sip), "alice"))
    lab.wait_for("the end of all calls", lambda: _rest(lab) == (0, 0, 0))


def _rest(lab: Lab) -> tuple[int, int, int]:
    status = lab.status()
    return status["calls"], status["terminations"], status["releasing"]
