"""The chunk: a piece of a content-addressed blob (contract, part 5).

    magic 4 | SHA-256 of the whole blob 32 | size u64 | offset u64 | bytes        (big-endian)

Chunks are not signed: the blob's hash is, inside the record that refers to it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from sync.contract.errors import ContractFault

MAGIC = b"QFLC"
BLOB_MAX = 64 << 20
"""The most bytes of one blob (C-5.2)."""
CHUNK_MAX = 64 << 10
CHUNK_MIN = 16 << 10
"""A unit sends 16 to 64 KiB a chunk, the last of a blob aside (C-5.3)."""
_HEAD = struct.Struct(">4s32sQQ")


@dataclass(frozen=True, slots=True)
class Chunk:
    """`content` stands at `offset` of the blob with this hash and this whole size in bytes."""

    sha256: bytes
    size: int
    offset: int
    content: bytes = field(repr=False)

    @property
    def last(self) -> int:
        """The last byte's place in the blob."""
        return self.offset + len(self.content) - 1


def encode_chunk(chunk: Chunk) -> bytes:
    """The chunk as bytes; ContractFault `chunk` for one that no peer would accept."""
    _check(chunk)
    return _HEAD.pack(MAGIC, chunk.sha256, chunk.size, chunk.offset) + chunk.content


def decode_chunk(message: bytes) -> Chunk:
    """Take a chunk apart; ContractFault `chunk` or `magic`."""
    if len(message) <= _HEAD.size:
        raise ContractFault("chunk", "the chunk ends inside its header")
    magic, sha256, size, offset = _HEAD.unpack_from(message)
    if magic != MAGIC:
        raise ContractFault("magic", "the message is not a chunk")
    chunk = Chunk(sha256, size, offset, message[_HEAD.size :])
    _check(chunk)
    return chunk


def _check(chunk: Chunk) -> None:
    if not 1 <= chunk.size <= BLOB_MAX:
        raise ContractFault("chunk", f"a blob has 1 to {BLOB_MAX} bytes")
    if not 1 <= len(chunk.content) <= CHUNK_MAX:
        raise ContractFault("chunk", f"a chunk has 1 to {CHUNK_MAX} bytes")
    if chunk.offset + len(chunk.content) > chunk.size:
        raise ContractFault("chunk", "the chunk reaches beyond the blob's size")
