"""How much goes into a batch: its frame keeps within the broker's packets and the pace. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync.contract.batch import encode_batch
from sync.contract.envelope import ENVELOPE_SIZE

if TYPE_CHECKING:
    from sync.contract.batch import Batch
    from sync.contract.envelope import SigningKey

BATCH_BUDGET = 192 << 10
"""Bytes of record lines in one batch, before compression."""
_HEADER_ROOM = 8 << 10
"""What a batch may have beside its lines: header, newlines, what zstd adds to noise."""
_PACKED = 0.4
"""What a batch weighs packed, for each byte of its lines, before any was measured."""
_WEIGHED_MIN = 8 << 10
"""Bytes of lines below which a batch says nothing of how well others can be packed."""


class Packing:
    """Encodes batches for a broker that takes `packet_max` bytes, and learns what they weigh."""

    def __init__(self, packet_max: int, key: SigningKey) -> None:
        self._key = key
        self._budget = max(1, min(BATCH_BUDGET, packet_max - ENVELOPE_SIZE - _HEADER_ROOM))
        self._packed = _PACKED

    def lines_max(self, size: int) -> int:
        """Bytes of lines that will weigh about `size` bytes, packed."""
        return max(1, min(self._budget, int(size / self._packed)))

    def pack(self, batch: Batch) -> tuple[bytes, int]:
        """The batch as a frame, and how many bytes that is more than its lines, or less."""
        frame = encode_batch(batch, self._key)
        lines = sum(map(len, batch.lines))
        if lines >= _WEIGHED_MIN:
            self._packed = len(frame) / lines
        return frame, len(frame) - lines
