"""Taking a chunk: bytes that are not held yet, until the blob is whole (contract, part 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync.contract.chunk import BLOB_MAX, CHUNK_MIN
from sync.contract.errors import ContractFault
from sync.contract.ranges import minus

if TYPE_CHECKING:
    from central.blobstore import Blob, Blobstore
    from sync.contract.chunk import Chunk

UNREFERENCED_MAX = 256 << 20
"""The most bytes held of one unit's blobs that no record refers to."""
INCOMPLETE_MAX = 1024
"""The most incomplete blobs of one unit that no record refers to."""
RANGES_MAX = BLOB_MAX // CHUNK_MIN
"""The most separate ranges held of one blob: what whole chunks in any order can't exceed."""


def take_chunk(blobs: Blobstore, unit: str, chunk: Chunk) -> str | None:
    """Keep what is new of a chunk.

    Gives `blob-hash` where the blob is whole now and its hash is wrong: its bytes are dropped,
    to be asked for again. Raises ContractFault `blob-size` or `quota`; nothing is changed then.
    """
    blob = blobs.find(unit, chunk.sha256)
    if blob is not None and blob.size != chunk.size:
        raise ContractFault("blob-size", "the blob is known with another size")
    if blob is None or not blob.referenced:
        _check_burden(blobs, unit, chunk, blob)
    blob = blob or blobs.expect(unit, chunk.sha256, chunk.size)
    before = blob.have
    for first, last in minus(((chunk.offset, chunk.last),), before):
        piece = chunk.content[first - chunk.offset : last + 1 - chunk.offset]
        blob = blobs.add(unit, blob, first, piece)
    if len(blob.have) > RANGES_MAX:
        raise ContractFault("quota", "the blob is sent in too many pieces")
    return _finish(blobs, unit, blob) if blob.have != before else None


def _check_burden(blobs: Blobstore, unit: str, chunk: Chunk, blob: Blob | None) -> None:
    burden = blobs.burden(unit)
    if burden.held + len(chunk.content) > UNREFERENCED_MAX:
        raise ContractFault("quota", "too many bytes are held that no record refers to")
    if blob is None and burden.incomplete >= INCOMPLETE_MAX:
        raise ContractFault("quota", "too many blobs are incomplete that no record refers to")


def _finish(blobs: Blobstore, unit: str, blob: Blob) -> str | None:
    if blob.have != ((0, blob.size - 1),):
        return None
    if blobs.digest(unit, blob.sha256) != blob.sha256:
        blobs.drop(unit, blob, blob.size)
        return "blob-hash"
    blobs.complete(unit, blob)
    return None
