"""The answer tables of RFC 4145."""

import pytest

from mrf_protocols.sdp.transport import (
    CONNECTION_ANSWERS,
    SETUP_ANSWERS,
    ConnectionUse,
    Setup,
    answer_connection,
    answer_setup,
)


@pytest.mark.parametrize(
    ("offered", "preferred", "answered"),
    [
        (Setup.ACTIVE, Setup.ACTIVE, Setup.PASSIVE),
        (Setup.ACTIVE, Setup.PASSIVE, Setup.PASSIVE),
        (Setup.PASSIVE, Setup.ACTIVE, Setup.ACTIVE),
        (Setup.PASSIVE, Setup.PASSIVE, Setup.ACTIVE),
        (Setup.ACTPASS, Setup.ACTIVE, Setup.ACTIVE),
        (Setup.ACTPASS, Setup.PASSIVE, Setup.PASSIVE),
        (Setup.HOLDCONN, Setup.ACTIVE, Setup.HOLDCONN),
        (Setup.HOLDCONN, Setup.PASSIVE, Setup.HOLDCONN),
    ],
)
def test_setup(offered: Setup, preferred: Setup, answered: Setup) -> None:
    assert answer_setup(offered, preferred) is answered


@pytest.mark.parametrize(
    ("offered", "connected", "answered"),
    [
        (ConnectionUse.NEW, False, ConnectionUse.NEW),
        (ConnectionUse.NEW, True, ConnectionUse.NEW),
        (ConnectionUse.EXISTING, True, ConnectionUse.EXISTING),
        (ConnectionUse.EXISTING, False, ConnectionUse.NEW),
    ],
)
def test_connection(offered: ConnectionUse, connected: bool, answered: ConnectionUse) -> None:
    assert answer_connection(offered, connected) is answered


def test_tables_are_those_of_the_standard() -> None:
    assert {o.value: {a.value for a in answers} for o, answers in SETUP_ANSWERS.items()} == {
        "active": {"passive", "holdconn"},
        "passive": {"active", "holdconn"},
        "actpass": {"active", "passive", "holdconn"},
        "holdconn": {"holdconn"},
    }
    assert {o.value: {a.value for a in answers} for o, answers in CONNECTION_ANSWERS.items()} == {
        "new": {"new"},
        "existing": {"existing", "new"},
    }
