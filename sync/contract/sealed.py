"""Sealed files: messages of a unit that only its centre can read (contract, part 10).

    envelope, signed by the unit | recipient 8 | slip length u16 | slip | HPKE enc 32 | ciphertext

HPKE (RFC 9180) in base mode; `info` binds the ciphertext to everything before it but the
signature, so that nobody can sign another's content as his own.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from sync.contract.entries import FILE_MAX, Entry, pack, unpack
from sync.contract.envelope import (
    ENVELOPE_SIZE,
    HEAD_SIZE,
    KEY_ID_SIZE,
    Codec,
    Magic,
    SigningKey,
    envelope_head,
    sign,
    verify,
)
from sync.contract.errors import ContractFault
from sync.contract.topics import ROOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

SLIP_MAX = 16 << 10
"""The most bytes of a slip (C-10.4)."""
LOAD_MAX = FILE_MAX - (64 << 10)
"""The most bytes of entries that a unit puts into one file."""
PAD = 16 << 10
"""Entries are filled up with zeros to a multiple of this, so that a size tells little."""
LABEL = b"qafila sealed file 1"
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_LENGTH = struct.Struct(">H")
SUFFIXES = {"up": "sealed", "down": "receipts"}
"""How the names of files end that go either way (C-10.1)."""
_FRONT = KEY_ID_SIZE + _LENGTH.size


def recipient(key: X25519PublicKey) -> bytes:
    """The first 8 bytes of SHA-256 over the 32 raw bytes of a sealing key (C-10.3)."""
    return hashlib.sha256(key.public_bytes_raw()).digest()[:KEY_ID_SIZE]


def seal_file(
    entries: Sequence[Entry], slip: bytes, key: SigningKey, centre: X25519PublicKey
) -> bytes:
    """A sealed file; ContractFault `entries` where a centre would not take its size."""
    content = pack(entries)
    content += bytes(-len(content) % PAD)
    head = envelope_head(Magic.SEALED, Codec.PLAIN, key)
    front = recipient(centre) + _LENGTH.pack(len(slip)) + slip
    body = front + _SUITE.encrypt(content, centre, info=LABEL + head + front)
    sealed = sign(head, body, key)
    if len(sealed) > FILE_MAX or len(slip) > SLIP_MAX:
        raise ContractFault("entries", f"a sealed file has at most {FILE_MAX} bytes")
    return sealed


def open_file(
    sealed: bytes, key_of: Callable[[bytes], Ed25519PublicKey | None], secret: X25519PrivateKey
) -> tuple[Entry, ...]:
    """The messages of a sealed file, which are still to be weighed each by its own clauses.

    Raises ContractFault `short`, `magic`, `codec`, `key`, `signature`, `recipient`, `sealed` or
    `entries`.
    """
    to, _, ciphertext = take_apart(sealed, key_of)
    if to != recipient(secret.public_key()):
        raise ContractFault("recipient", "the file is sealed to another centre")
    info = LABEL + sealed[:HEAD_SIZE] + sealed[ENVELOPE_SIZE : len(sealed) - len(ciphertext)]
    try:
        content = _SUITE.decrypt(ciphertext, secret, info=info)
    except (InvalidTag, ValueError):
        raise ContractFault("sealed", "the file can't be opened with this centre's key") from None
    return unpack(content)


def take_apart(
    sealed: bytes, key_of: Callable[[bytes], Ed25519PublicKey | None]
) -> tuple[bytes, bytes, bytes]:
    """Recipient, slip and ciphertext of a file whose signature matches; raises as `open_file`."""
    codec, body = verify(sealed, Magic.SEALED, key_of)
    if codec is not Codec.PLAIN:
        raise ContractFault("codec", "a sealed file is not packed")
    if len(body) <= _FRONT:
        raise ContractFault("short", "the file ends inside its envelope")
    (length,) = _LENGTH.unpack_from(body, KEY_ID_SIZE)
    end = _FRONT + length
    if length > SLIP_MAX or len(body) <= end:
        raise ContractFault("short", "the file ends inside its slip")
    return body[:KEY_ID_SIZE], body[_FRONT:end], body[end:]


def slip_of(content: bytes) -> bytes:
    """The slip of a file whose signature is not looked at; nothing where it has none."""
    if len(content) < ENVELOPE_SIZE + _FRONT:
        return b""
    (length,) = _LENGTH.unpack_from(content, ENVELOPE_SIZE + KEY_ID_SIZE)
    return content[ENVELOPE_SIZE + _FRONT : ENVELOPE_SIZE + _FRONT + min(length, SLIP_MAX)]


def folders(origin: str, unit: str, way: str) -> tuple[str, ...]:
    """The folders, one inside the other, of what goes `up` from a unit or `down` to it (C-10.1)."""
    return (*ROOTS[origin].split("/"), unit, way)
