"""What is to be done with a stream, in order: pure, time handed in.

Everything that arrives is put into one queue of acts, so that whoever performs them can be
stopped after any of them and go on later without a reading lost or kept twice.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from drivers.errors import ProtocolFault
from drivers.healthypi6.framing import Block, Event, Framer
from drivers.healthypi6.recording import QUIET_MS, Ending, Recorder, Recording

CHUNK_S = 1.0
"""How much of a recording a power cut may cost: what is younger than this is in memory only."""

STRANGE = 65536
"""This many bytes without one sound block come from something that is no HealthyPi 6."""

SPOILED = 1 << 20
"""Unreadable bytes set aside on one link; a worn cable must not fill the disk."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Whole blocks of the recording that is open, to be made durable now."""

    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finish:
    """A recording is over; every `Keep` since the last `Finish` belongs to it."""

    recording: Recording


@dataclass(frozen=True, slots=True)
class SetAside:
    """Bytes that say nothing to us, and why."""

    raw: bytes = field(repr=False)
    reason: str


Act = Keep | Finish | SetAside


class Tape:
    """One link's stream. `acts` is the queue: perform the first, then remove it."""

    def __init__(self, now: float) -> None:
        self.acts: deque[Act] = deque()
        self._framer = Framer()
        self._recorder = Recorder()
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

    def feed(self, chunk: bytes, now: float) -> None:
        """Take what the link gave. Raises `ProtocolFault` for a peer that speaks otherwise."""
        self._heard = now
        self._follow(self._framer.feed(chunk), now)
        if now - self._kept >= CHUNK_S:
            self._keep(now)

    def tick(self, now: float) -> None:
        """Notice silence: the link gave nothing up to `now`."""
        if now - self._heard >= QUIET_MS / 1000:
            self.end(Ending.QUIET, now)
        elif now - self._kept >= CHUNK_S:
            self._keep(now)

    def end(self, ending: Ending, now: float) -> None:
        """Nothing more comes: what is open is over. Raises nothing; again changes nothing."""
        with suppress(ProtocolFault):  # set aside with its reason, and the link is over anyway
            self._follow(self._framer.close(), now)
        self._finish(self._recorder.close(ending), now)
        self._keep(now)

    def _follow(self, events: list[Event], now: float) -> None:
        for place, event in enumerate(events):
            try:
                self._accept(event, now)
            except ProtocolFault as fault:
                for rest in events[place:]:
                    self._spoil(rest.raw, fault.reason)
                raise

    def _accept(self, event: Event, now: float) -> None:
        if isinstance(event, Block):
            self._finish(self._recorder.take(event, now), now)
            if self.recording:
                self._chunk += event.raw
            self._strange = 0
            return
        self._strange += len(event.raw)
        if self._strange > STRANGE:
            raise ProtocolFault("What is plugged into this port is not a HealthyPi 6.")
        self._spoil(event.raw, f"The stream held {event.reason}.")

    def _finish(self, recordings: list[Recording], now: float) -> None:
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
