"""The one exception of the MIKEY package."""

from typing import Any

from mrf_protocols.mikey.numbers import ErrorNumber


class MikeyError(Exception):
    """A message, ticket or key that cannot be accepted or built.

    ``number`` is the Error no to answer with (RFC 3830 6.12, RFC 6043 6.9); ``text`` says what is wrong in
    plain words and never holds key material. ``reported`` tells that the peer said so in an Error message:
    then ``authenticated`` whether the message proved to be the peer's, and ``supported`` are the security
    policies it would take. ``protector`` is what an Error message of our own about it is protected with,
    where sender and message are authentic.
    """

    def __init__(
        self,
        number: int,
        text: str,
        *,
        reported: bool = False,
        authenticated: bool = False,
        supported: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(f"{_name(number)} ({number}): {text}")
        self.number = number
        self.text = text
        self.reported = reported
        self.authenticated = authenticated
        self.supported = supported
        self.protector: Any = None


def _name(number: int) -> str:
    try:
        return ErrorNumber(number).name
    except ValueError:
        return "error"
