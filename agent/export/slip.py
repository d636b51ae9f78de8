"""The slip of a sealed file: what it holds, for the unit alone (contract, C-10.4)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.export.contents import from_json, to_json

if TYPE_CHECKING:
    from agent.export.contents import Contents

_NONCE = 12
_PAD = 256
_KEY_DIGITS = 64


class Slips:
    """Locks and unlocks slips with a key that follows from that of the store."""

    def __init__(self, store_key: str) -> None:
        raw = bytes.fromhex(store_key[:_KEY_DIGITS])
        key = HKDF(SHA256(), 32, salt=None, info=b"qafila slip 1").derive(raw)
        self._cipher = ChaCha20Poly1305(key)

    def lock(self, home: str, contents: Contents) -> bytes:
        """A slip that says what a file holds, and of which database."""
        said = msgspec.json.encode([home, to_json(contents)])
        said += b" " * (-len(said) % _PAD)
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, said, None)

    def unlock(self, slip: bytes) -> tuple[str, Contents] | None:
        """The database and the contents that a slip names; None for one of another key."""
        try:
            said = self._cipher.decrypt(slip[:_NONCE], slip[_NONCE:], None)
            home, contents = msgspec.json.decode(said)
            return str(home), from_json(contents)
        except (InvalidTag, ValueError):
            return None
