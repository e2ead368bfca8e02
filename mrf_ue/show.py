"""How steps tell the user what happens."""

from collections.abc import Callable

Show = Callable[[str, str], None]
"""Takes what happens, for the user: a topic (SIP, KMS, TCP, TLS, BFCP, FLOOR, UE) and a line of text."""


def quiet(topic: str, text: str) -> None:
    """Show nothing."""
