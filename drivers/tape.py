"""What is to be done with a device's stream, in order: pure, time handed in.

Everything that arrives is put into one queue of acts, so that whoever performs them can be
stopped after any of them and go on later without a reading lost or kept twice.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from drivers.errors import ProtocolFault
from drivers.framing import Skipped

if TYPE_CHECKING:
    from collections.abc import Sequence

CHUNK_S = 1.0
"""How much of a recording a power cut may cost: what is younger than this is in memory only."""

QUIET_S = 2.0
"""A device that says nothing for so long has ended its recording."""

STRANGE = 65536
"""This many bytes without one sound frame come from something else than the device."""

SPOILED = 1 << 20
"""Unreadable bytes set aside on one link; a worn cable must not fill the disk."""

R = TypeVar("R")
F = TypeVar("F", bound="SoundFrame")
F_contra = TypeVar("F_contra", bound="SoundFrame", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Ending(Enum):
    """Why a recording is over; the value is the quality it leaves, None where all is well."""

    QUIET = None
    FULL = "continues"
    RESTARTED = "restarted"
    CUT = "cut-short"


class SoundFrame(Protocol):
    """A frame that was found whole; `raw` is exactly its bytes."""

    @property
    def raw(self) -> bytes:
        """The bytes of the frame."""


class Framing(Protocol):
    """Finds frames in a stream; every byte fed leaves in exactly one event.

    An event is a sound frame or a `Skipped`.
    """

    def feed(self, chunk: bytes) -> Sequence[Any]:
        """Take bytes as they came; give what they completed, in order."""

    def close(self) -> Sequence[Any]:
        """No more bytes belong to what came before."""


class Recording(Protocol[F_contra, R_co]):
    """Makes recordings of sound frames; holds at most one that is open."""

    @property
    def recording(self) -> bool:
        """Whether one is open; the frame last taken then belongs to it."""

    def take(self, frame: F_contra, now: float, /) -> Sequence[R_co]:
        """Take a frame; give the recording that ended before it. May raise `ProtocolFault`."""

    def close(self, ending: Ending, /) -> Sequence[R_co]:
        """End the open recording, if there is one."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Whole frames of the recording that is open, to be made durable now."""

    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finish(Generic[R]):
    """A recording is over; every `Keep` since the last `Finish` belongs to it."""

    recording: R


@dataclass(frozen=True, slots=True)
class SetAside:
    """Bytes that say nothing to us, and why."""

    raw: bytes = field(repr=False)
    reason: str


class Tape(Generic[F, R]):
    """One link's stream. `acts` is the queue: perform the first, then remove it.

    `stranger` is the sentence for a peer that never says a sound frame. Whoever opens a port
    joins in the middle: up to `longest` bytes, as many as one frame has at most, may come before
    the first sound frame of the link, and are passed over without a word.
    """

    def __init__(
        self, now: float, framer: Framing, recorder: Recording[F, R], stranger: str, longest: int
    ) -> None:
        self.acts: deque[Keep | Finish[R] | SetAside] = deque()
        self._framer = framer
        self._recorder = recorder
        self._stranger = stranger
        self._longest = longest
        self._head: list[Skipped] | None = []
        self._chunk = bytearray()
        self._spoiled = bytearray()
        self._why: dict[str, None] = {}
        self._strange = 0
        self._set_aside = 0
        self._heard = self._kept = now

    @property
    def recording(self) -> bool:
        """Whether a recording is open."""
        return self._recorder.recording

    @property
    def unreadable(self) -> bool:
        """Whether the last thing heard was no frame of this device."""
        return self._strange > 0

    def feed(self, chunk: bytes, now: float) -> None:
        """Take what the link gave. Raises `ProtocolFault` for a peer that speaks otherwise."""
        self._heard = now
        self._follow(self._framer.feed(chunk), now)
        if now - self._kept >= CHUNK_S:
            self._keep(now)

    def tick(self, now: float) -> None:
        """Notice silence: the link gave nothing up to `now`."""
        if now - self._heard >= QUIET_S:
            self.end(Ending.QUIET, now)
        elif now - self._kept >= CHUNK_S:
            self._keep(now)

    def end(self, ending: Ending, now: float) -> None:
        """Nothing more comes: what is open is over. Raises nothing; again changes nothing."""
        with suppress(ProtocolFault):  # set aside with its reason, and the link is over anyway
            self._follow(self._framer.close(), now)
        self._set_head_aside()
        self._finish(self._recorder.close(ending), now)
        self._keep(now)

    def _follow(self, events: Sequence[F | Skipped], now: float) -> None:
        for place, event in enumerate(events):
            try:
                self._accept(event, now)
            except ProtocolFault as fault:
                for rest in events[place:]:
                    self._spoil(rest.raw, fault.reason)
                raise

    def _accept(self, event: F | Skipped, now: float) -> None:
        if not isinstance(event, Skipped):
            self._head = None
            self._finish(self._recorder.take(event, now), now)
            if self.recording:
                self._chunk += event.raw
            self._strange = 0
            return
        self._strange += len(event.raw)
        if self._strange > STRANGE:
            self._set_head_aside()
            raise ProtocolFault(self._stranger)
        if self._head is None:
            self._spoil(event.raw, _why(event))
            return
        self._head.append(event)
        if self._strange > self._longest:
            self._set_head_aside()

    def _set_head_aside(self) -> None:
        """What came first was no torn frame: more than that, or nothing sound came after it."""
        if self._head:
            for event in self._head:
                self._spoil(event.raw, _why(event))
            self._head = None

    def _finish(self, recordings: Sequence[R], now: float) -> None:
        for recording in recordings:
            self._keep(now)
            self.acts.append(Finish(recording))

    def _keep(self, now: float) -> None:
        self._kept = now
        if self._chunk:
            self.acts.append(Keep(bytes(self._chunk)))
            self._chunk.clear()
        if self._spoiled:
            self.acts.append(SetAside(bytes(self._spoiled), " ".join(self._why)))
            self._spoiled.clear()
            self._why.clear()

    def _spoil(self, raw: bytes, reason: str) -> None:
        room = raw[: SPOILED - self._set_aside]
        self._set_aside += len(room)
        self._spoiled += room
        self._why[reason] = None
        if len(room) < len(raw):
            self._why["More than is set aside for one link."] = None


def _why(skipped: Skipped) -> str:
    return f"The stream held {skipped.reason}."
