"""Keys at rest: each sealed under a master key that is not in the store (AES-256-GCM)."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mrf_kms.database import StoreError

MASTER_KEY_LENGTH = 32
_PLAIN, _SEALED = b"\0", b"\1"
_NONCE = 12


class Vault:
    """Seals keys for the store. Without a master key they are kept as they are."""

    def __init__(self, master: bytes | None = None) -> None:
        if master is not None and len(master) != MASTER_KEY_LENGTH:
            raise StoreError(f"the master key has {MASTER_KEY_LENGTH} octets, not {len(master)}")
        self._cipher = None if master is None else AESGCM(master)

    @property
    def seals(self) -> bool:
        """Whether there is a master key."""
        return self._cipher is not None

    def seal(self, name: str, key: bytes) -> bytes:
        """Give what to store for the key of that name; it opens under that name only."""
        if self._cipher is None:
            return _PLAIN + key
        nonce = os.urandom(_NONCE)
        return _SEALED + nonce + self._cipher.encrypt(nonce, key, name.encode())

    def open(self, name: str, stored: bytes) -> bytes:
        """Give the key again. Raises StoreError."""
        if stored[:1] == _PLAIN:
            return stored[1:]
        if self._cipher is None:
            raise StoreError("the keys in the store are sealed; the master key is missing")
        try:
            return self._cipher.decrypt(stored[1 : 1 + _NONCE], stored[1 + _NONCE :], name.encode())
        except (InvalidTag, ValueError):
            raise StoreError("the master key is not the one that the store was sealed with") from None
