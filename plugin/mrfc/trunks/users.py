"""Users of a trunk: a file with one `user:realm:HA1` per line, as htdigest(1) writes it (RFC 7616 3.4.2).

HA1 is the hash of `user:realm:password`: with SHA-256 it has 64 hexadecimal digits, with MD5 32. A user may have a
line for each. Whoever reads the file can log in as these users, so it is a secret like a password.
"""

from __future__ import annotations

import re

from mrfc.trunks.digest import HASHES, Algorithm

_LINE = re.compile(r"([^:\s]+):([^:]+):([0-9a-fA-F]+)")
_BY_LENGTH = {hash_().digest_size * 2: algorithm for algorithm, hash_ in HASHES.items()}

Users = dict[tuple[str, str, Algorithm], str]
"""HA1 by user, realm and algorithm."""


def parse(text: str) -> Users:
    """Read the lines; empty ones and those that begin with "#" say nothing. Raises ValueError without the HA1 in it."""
    found: Users = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = _LINE.fullmatch(line.strip())
        algorithm = _BY_LENGTH.get(len(fields[3])) if fields else None
        if fields is None or algorithm is None:
            raise ValueError(
                f"line {number} of a users_file is not user:realm:HA1 with 32 or 64 hexadecimal digits"
            )
        found[fields[1], fields[2], algorithm] = fields[3].lower()
    if not found:
        raise ValueError("a users_file has no users")
    return found
