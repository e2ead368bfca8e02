"""The telling part of a session description with BFCP, for logs and traces: nothing of what key-mgmt carries."""

from __future__ import annotations

import base64
import binascii

from mrf_protocols.mikey.numbers import DataType

_SHOWN_ATTRIBUTES = frozenset({"setup", "floorctrl", "confid", "userid"})


def summary(text: str) -> dict[str, str]:
    """Address, proto, port and telling attributes of the BFCP m-line, as far as they are there.

    Takes any text and never fails: what is traced need not be well-formed.
    """
    found: dict[str, str] = {}
    in_bfcp = False
    for line in text.splitlines():
        if line.startswith("m="):
            parts = line[2:].split()
            in_bfcp = len(parts) > 2 and parts[2].endswith("/BFCP")
            if in_bfcp:
                found |= {"proto": parts[2], "port": parts[1]}
        elif line.startswith("c=") and (in_bfcp or "address" not in found):
            found["address"] = (line.split() or [""])[-1]
        elif line.startswith("a=key-mgmt:"):
            found["key_mgmt"] = _key_mgmt(line.partition(":")[2].split())
        elif in_bfcp and line.startswith("a="):
            name, _, value = line[2:].partition(":")
            if name in _SHOWN_ATTRIBUTES:
                found[name] = value
    return found


def _key_mgmt(words: list[str]) -> str:
    """`mikey TRANSFER_INIT`: the protocol and the kind of message."""
    if len(words) != 2:
        return "malformed"
    try:
        return f"{words[0]} {DataType(base64.b64decode(words[1])[1]).name}"
    except (binascii.Error, IndexError, ValueError):
        return words[0]
