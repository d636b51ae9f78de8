"""The signed envelope of hello, batch, receipt, question and answer (contract, part 2).

    magic 4 | codec 1 | key id 8 | Ed25519 signature 64 | body

The signature covers magic, codec, key id and the body as it travels, so a peer verifies before
it inflates. The magic tells the messages apart: one can't be passed off as another.
"""

from __future__ import annotations

import hashlib
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidSignature

from sync.contract.errors import ContractFault

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

KEY_ID_SIZE = 8
SIGNATURE_SIZE = 64
HEAD_SIZE = 4 + 1 + KEY_ID_SIZE
ENVELOPE_SIZE = HEAD_SIZE + SIGNATURE_SIZE
INFLATED_MAX = 1 << 20
"""The most bytes a body may have once inflated (C-2.6)."""
_WINDOW_LOG_MAX = 23
_LEVEL = 9


class Codec(IntEnum):
    """How the body is packed."""

    PLAIN = 0
    ZSTD = 1


class Magic:
    """The first four bytes of each signed message, and of a sealed file."""

    BATCH = b"QFLB"
    HELLO = b"QFLH"
    RECEIPT = b"QFLR"
    SEALED = b"QFLS"
    QUESTION = b"QFLQ"
    ANSWER = b"QFLA"


class SigningKey(Protocol):
    """An Ed25519 private key: `cryptography`'s, or one that stays inside a TPM."""

    def sign(self, data: bytes, /) -> bytes:
        """Give the 64-byte signature (RFC 8032)."""

    def public_key(self) -> Ed25519PublicKey:
        """Give the public half."""


def key_id(key: Ed25519PublicKey) -> bytes:
    """The first 8 bytes of SHA-256 over the 32 raw bytes of a public key (C-2.3)."""
    return hashlib.sha256(key.public_bytes_raw()).digest()[:KEY_ID_SIZE]


def seal(magic: bytes, body: bytes, key: SigningKey, codec: Codec) -> bytes:
    """Pack and sign a body; ContractFault `inflate` where no peer would accept its size."""
    if len(body) > INFLATED_MAX:
        raise ContractFault("inflate", f"the body exceeds {INFLATED_MAX} bytes")
    packed = zstd.compress(body, level=_LEVEL) if codec is Codec.ZSTD else body
    return sign(envelope_head(magic, codec, key), packed, key)


def envelope_head(magic: bytes, codec: Codec, key: SigningKey) -> bytes:
    """The bytes before the signature (C-2.1)."""
    return magic + bytes([codec]) + key_id(key.public_key())


def sign(head: bytes, packed: bytes, key: SigningKey) -> bytes:
    """A frame of a head and a body as it travels (C-2.2)."""
    return head + key.sign(head + packed) + packed


def open_sealed(
    frame: bytes, magic: bytes, key_of: Callable[[bytes], Ed25519PublicKey | None]
) -> bytes:
    """The body of a sealed frame, verified first, then inflated within its bound.

    `key_of` gives the public key for an 8-byte key id, or None for a stranger's.
    Raises ContractFault `short`, `magic`, `codec`, `key`, `signature` or `inflate`.
    """
    codec, packed = verify(frame, magic, key_of)
    return inflate(packed) if codec is Codec.ZSTD else _within(packed)


def verify(
    frame: bytes, magic: bytes, key_of: Callable[[bytes], Ed25519PublicKey | None]
) -> tuple[Codec, bytes]:
    """Codec and body of a frame whose signature matches, not unpacked; raises as `open_sealed`."""
    if len(frame) <= ENVELOPE_SIZE:
        raise ContractFault("short", "the frame ends inside its envelope")
    head, signature = frame[:HEAD_SIZE], frame[HEAD_SIZE:ENVELOPE_SIZE]
    packed = frame[ENVELOPE_SIZE:]
    if head[:4] != magic:
        raise ContractFault("magic", "the frame is not of the kind its topic says")
    codec = _codec(head[4])
    key = key_of(head[5:])
    if key is None:
        raise ContractFault("key", "the frame is signed with a key that is not enrolled")
    try:
        key.verify(signature, head + packed)
    except InvalidSignature:
        raise ContractFault("signature", "the signature does not match") from None
    return codec, packed


def inflate(packed: bytes) -> bytes:
    """Unpack one zstd frame, never holding more than the bound; ContractFault `inflate`."""
    unpacker = zstd.ZstdDecompressor(
        options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX}
    )
    try:
        body = unpacker.decompress(packed, max_length=INFLATED_MAX + 1)
    except zstd.ZstdError:
        raise ContractFault("inflate", "the body is not a zstd frame") from None
    if len(body) > INFLATED_MAX:
        raise ContractFault("inflate", f"the body inflates beyond {INFLATED_MAX} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise ContractFault("inflate", "the zstd frame is torn or followed by other bytes")
    return body


def _codec(number: int) -> Codec:
    try:
        return Codec(number)
    except ValueError:
        raise ContractFault("codec", f"codec {number} is unknown") from None


def _within(body: bytes) -> bytes:
    if len(body) > INFLATED_MAX:
        raise ContractFault("inflate", f"the body exceeds {INFLATED_MAX} bytes")
    return body
