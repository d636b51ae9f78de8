"""Frames in a byte stream, found in whatever pieces they come; every other byte accounted for.

Pure. A protocol says what begins at a place of the stream; how a stream is searched stands here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Skipped:
    """A run of bytes that belongs to no frame, and what was wrong where it began."""

    raw: bytes = field(repr=False)
    reason: str


class Whole(Protocol):
    """One whole frame whose checksum holds."""

    @property
    def raw(self) -> bytes:
        """Its bytes as they came."""


F = TypeVar("F", bound=Whole)


class StreamFramer(ABC, Generic[F]):
    """Finds the frames of one protocol; holds less than one of them between two calls.

    What fails costs as little as its protocol allows, a single byte where nothing tells more:
    the search goes on behind it, so that a frame hidden behind a false start is still found.
    Every byte fed leaves in exactly one event.
    """

    CUT: ClassVar[str]
    """What is wrong with a frame that the stream's end leaves unfinished."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def holds(self) -> bool:
        """Whether the beginning of a frame waits for the rest."""
        return bool(self._buffer)

    def feed(self, chunk: bytes) -> list[F | Skipped]:
        """Take bytes as they came; give what they completed, in order. Raises nothing."""
        self._buffer += chunk
        return self._scan(ended=False)

    def close(self) -> list[F | Skipped]:
        """No more bytes belong to what came before: give what hid behind a cut frame."""
        return self._scan(ended=True)

    @abstractmethod
    def _judge(self, at: int) -> F | str | None:
        """The frame that begins at `at`, why there is none, or None while bytes are missing."""

    def _next_start(self, at: int) -> int:
        """Where the search goes on after nothing began at `at`."""
        return at + 1

    def _scan(self, *, ended: bool) -> list[F | Skipped]:
        events: list[F | Skipped] = []
        at = start = 0
        why = ""
        while at < len(self._buffer):
            found = self._judge(at)
            if found is None and not ended:
                break
            if found is None or isinstance(found, str):
                why = why or found or self.CUT
                at = self._next_start(at)
                continue
            events += self._skipped(start, at, why)
            events.append(found)
            at = start = at + len(found.raw)
            why = ""
        events += self._skipped(start, at, why)
        del self._buffer[:at]
        return events

    def _skipped(self, start: int, end: int, why: str) -> list[F | Skipped]:
        return [Skipped(bytes(self._buffer[start:end]), why)] if end > start else []
