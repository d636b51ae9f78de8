"""Readings for the harnesses that cut power: each knows its own bytes, so a ledger can be kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from agent.capture import Capture
from drivers.base import Blob, Device, Measurement, Value

if TYPE_CHECKING:
    from random import Random

    from agent.clock import Stamp

CUFF = Device("ble:F1:F1:F1:F1:F1:F1", "blood-pressure", "box1-cuff")
_PICTURES = 9
_SMALL, _LARGE = 3_000, 90_000


@dataclass(frozen=True, slots=True)
class Written:
    """What a ledger knows of a reading: hex hashes of its raw bytes and blobs, and its value."""

    raw: str
    value: str
    blobs: tuple[str, ...]

    def words(self) -> str:
        """One line of a ledger."""
        return " ".join((self.raw, self.value, *self.blobs))

    @classmethod
    def read(cls, words: list[str]) -> Written:
        """Take such a line apart."""
        return cls(words[0], words[1], tuple(words[2:]))


def take_reading(name: str, chance: Random, stamp: Stamp, origin: str) -> Capture:
    """A temperature whose raw bytes are its name; one in nine comes with a picture.

    Half of them carry a sequence, as a cuff's do that tells its memory again.
    """
    raw = name.encode()
    blobs: tuple[Blob, ...] = ()
    if chance.randrange(_PICTURES) == 0:
        content = chance.randbytes(chance.randrange(_SMALL, _LARGE))
        blobs = (Blob(content, "image/jpeg", "photograph"),)
    measurement = Measurement(
        kind="body-temperature",
        raw=raw,
        values=(Value("150364", Decimal(chance.randrange(300, 420)) / 10, "Cel"),),
        repeatable=chance.randrange(2) == 0,
        blobs=blobs,
    )
    return Capture(measurement, CUFF, stamp, "1", origin, "1")


def written(capture: Capture) -> Written:
    """How a ledger notes a reading down."""
    said = capture.measurement
    return Written(
        raw=capture.raw_sha256.hex(),
        value=str(said.values[0].value),
        blobs=tuple(hashlib.sha256(blob.content).hexdigest() for blob in said.blobs),
    )
