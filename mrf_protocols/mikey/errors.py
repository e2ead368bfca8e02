"""The one exception of the MIKEY package."""

from mrf_protocols.mikey.numbers import ErrorNumber


class MikeyError(Exception):
    """A message, ticket or key that cannot be accepted or built.

    ``number`` is the Error no to answer with (RFC 3830 6.12, RFC 6043 6.9); ``text`` says what is wrong in
    plain words and never holds key material.
    """

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{_name(number)} ({number}): {text}")
        self.number = number
        self.text = text


def _name(number: int) -> str:
    try:
        return ErrorNumber(number).name
    except ValueError:
        return "error"
