"""What every framer of a byte stream says of the bytes that belong to no frame. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Skipped:
    """A run of bytes that belongs to no frame, and what was wrong where it began."""

    raw: bytes = field(repr=False)
    reason: str
