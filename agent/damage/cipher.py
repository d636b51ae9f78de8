"""A page of SQLCipher 4, read without SQLite: whether it is sound, and what it holds.

Sources: zetetic.net/sqlcipher/design and the constants of SQLCipher 4: pages of 4096 bytes that
end with 16 of IV and 64 of HMAC-SHA512 over ciphertext, IV and page number; AES-256-CBC. The
first 16 bytes of page 1 are the salt, in place of SQLite's own mark.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PAGE: Final = 4096
"""Bytes of a page on disk."""
USABLE: Final = PAGE - 80
"""Bytes of a page that SQLite uses; what follows is IV and HMAC."""
_IV, _MAC, _SALT = 16, 64, 16
_KEY_DIGITS = 64
_SALT_MASK = 0x3A
_ROUNDS = 2
_MARK = b"SQLite format 3\0"


class PageKey:
    """The store's key (96 hex digits: key and salt) as it seals single pages."""

    def __init__(self, key: str) -> None:
        self._key = bytes.fromhex(key[:_KEY_DIGITS])
        salt = bytes(each ^ _SALT_MASK for each in bytes.fromhex(key[_KEY_DIGITS:]))
        self._mac = hashlib.pbkdf2_hmac("sha512", self._key, salt, _ROUNDS, 32)

    def sound(self, number: int, page: bytes) -> bool:
        """Whether this page was sealed with this key, as this page; it is counted from 1."""
        if len(page) != PAGE:
            return False
        said = page[_head(number) : -_MAC] + number.to_bytes(4, "little")
        return hmac.compare_digest(hmac.digest(self._mac, said, "sha512"), page[-_MAC:])

    def decrypt(self, number: int, page: bytes) -> bytes:
        """The USABLE bytes of a sound page, as SQLite sees them."""
        head = _head(number)
        box = Cipher(algorithms.AES(self._key), modes.CBC(page[USABLE : USABLE + _IV]))
        plain = box.decryptor().update(page[head:USABLE])
        return _MARK + plain if head else plain


def _head(number: int) -> int:
    return _SALT if number == 1 else 0
