"""TLS PSK identities of crypto sessions: what both ends of TLS call the key that MIKEY gave them (RFC 4279 5).

No standard says how a TEK is named in TLS. Ours is the default; a template says it for peers with another habit.
"""

import string
from dataclasses import dataclass

PSK_IDENTITY_TEMPLATE = "{csb_id:08x}.{cs_id}"
"""CSB ID as 8 lower-case hexadecimal digits, a dot, CS ID in decimal: 55667788.1."""
MAX_PSK_IDENTITY = 128
"""Characters: RFC 4279 5.3 promises that peers take as many."""
NUMBER_FORMS = ("", "x", "X", "08x", "08X", "02x", "02X")
"""How a template may write a number: decimal, hexadecimal, and with leading zeros."""
TICKET_DIGITS = 32


@dataclass(frozen=True, slots=True)
class PskIdentityForm:
    """A template with the fields ``{csb_id}``, ``{cs_id}`` (each with one of `NUMBER_FORMS`) and ``{ticket}``.

    The ticket is the first 32 hexadecimal digits of its name, as operators read it in the KMS's audit log.
    Raises ValueError for what is no such template, and for one that names every call alike.
    """

    template: str = PSK_IDENTITY_TEMPLATE

    def __post_init__(self) -> None:
        if not {"csb_id", "ticket"} & _fields(self.template):
            raise ValueError("a PSK identity tells calls apart: {csb_id} or {ticket} belongs in it")
        longest = self.write(0xFFFFFFFF, 0xFF, b"\xff" * TICKET_DIGITS)
        if len(longest) > MAX_PSK_IDENTITY or not longest.isascii() or not longest.isprintable():
            raise ValueError(f"a PSK identity is at most {MAX_PSK_IDENTITY} printable ASCII characters")

    def write(self, csb_id: int, cs_id: int, ticket_id: bytes) -> str:
        """Give the identity of a crypto session whose TRANSFER_INIT carried this ticket."""
        return self.template.format(csb_id=csb_id, cs_id=cs_id, ticket=ticket_id.hex()[:TICKET_DIGITS])


def _fields(template: str) -> set[str]:
    """Give the names of the fields; no other format than ours is let through to `str.format`."""
    found: set[str] = set()
    for _, name, form, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        allowed = {"csb_id": NUMBER_FORMS, "cs_id": NUMBER_FORMS, "ticket": ("",)}.get(name, ())
        if form not in allowed or conversion:
            raise ValueError(f"a PSK identity knows no {{{name}{':' if form else ''}{form or ''}}}")
        found.add(name)
    return found


DEFAULT_PSK_IDENTITY = PskIdentityForm()
